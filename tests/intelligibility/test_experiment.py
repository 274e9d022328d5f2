"""Where everything is kept, and the tables that SpeechBrain reads."""

import ast
import os
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.made.recogniser import small_settings
from intelligibility.experiment import AsrFolder, Experiment, SaveFolder, read_table, write_table
from intelligibility.measures import MEASURES
from intelligibility.runs import RecipeError, write_json
from tests.conftest import RECIPE, configure

FOLDERS = {"exp_folder", "prepared_folder", "results_folder"}
# What only bears the same name: pretrained files, a folder of the release, templates of pages.
NAMED_ELSEWHERE = {
    ("intelligibility/cls/sources.py", "/train"),  # of CEC1
    ("intelligibility/preparation/readiness.py", "tokenizer.ckpt"),
    ("intelligibility/corpora/cpc3.py", "/train"),
    ("intelligibility/evaluation/report.py", "report.html"),
}
SHARED_BY_TRACKS = FOLDERS  # and Table 1, which is of both


def all_paths(experiment: Experiment) -> dict[str, Path]:
    """Return every path of an experiment by the name that code gives it."""
    named = paths_of(experiment)
    del named["save_folder"]  # AsrFolder's
    beside = SaveFolder(experiment.save_folder)
    for kept in (experiment.asr, beside):
        own = paths_of(kept)
        del own["path"]
        named |= {f"{type(kept).__name__}.{name}": path for name, path in own.items()}
    for split in ("dev", "test"):
        for measure in MEASURES:
            key = f"measure_file {split} {measure.name}"
            named[key] = experiment.measure_file(split, measure.name)
        named[f"scene_list {split}"] = experiment.scene_list(split)
        for ear in ("left", "right"):
            for kind in ("msbg", "ref"):
                named[f"table {ear} {split} {kind}"] = experiment.table(ear, split, kind)
                named[f"wav {ear} {split} {kind}"] = experiment.ear_wav(split, kind, ear, "S1")
    named["result_table"] = experiment.result_table("table3")
    named["figure"] = experiment.figure("scatter")
    return named


def paths_of(kept: object) -> dict[str, Path]:
    """Return the paths that an object has for attributes."""
    names = [name for name in dir(kept) if not name.startswith("_")]
    return {name: getattr(kept, name) for name in names if isinstance(getattr(kept, name), Path)}


def spelt_in(path: Path) -> Iterator[str]:
    """Return the strings that a module puts behind a slash, or that have no space; no docstring."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            yield from (f"/{part}" for part in literal(node.right).split("/"))
        elif isinstance(node, ast.Constant | ast.JoinedStr) and " " not in literal(node):
            yield literal(node).rpartition("/")[2]


def literal(node: ast.AST) -> str:
    """Return a string of a module, without what an f-string fills in; "" for what is none."""
    if isinstance(node, ast.JoinedStr):
        return "".join(literal(part) for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def test_no_other_module_spells_a_path(tmp_path):
    known = all_paths(Experiment(tmp_path, tmp_path / "asr"))
    relative = [path.relative_to(tmp_path) for path in known.values()]
    files = {path.name for path in relative if path.suffix}
    folders = {f"/{part}" for path in relative for part in path.parts[:-1]}
    assert {"tokenizer.ckpt", "trained_on.json", "prepared.jsonl", "left_out.json"} < files
    assert {"/save", "/data_split"} < folders
    spelt = {
        (str(path.relative_to(RECIPE)), name)
        for path in (*RECIPE.glob("*.py"), *RECIPE.glob("intelligibility/**/*.py"))
        if path.name != "experiment.py"
        for name in spelt_in(path)
        if name in files or name in folders or name.removeprefix("/") in files
    }
    assert spelt == NAMED_ELSEWHERE


def test_the_settings_file_names_the_same_places(tmp_path):
    settings = small_settings(output_folder=str(tmp_path))
    places = {"save_folder": "save", "train_log": "train_log.txt", "wer_file": "wer.txt"}
    assert {key: settings[key] for key in places} == {
        key: str(tmp_path / name) for key, name in places.items()
    }
    assert AsrFolder(tmp_path).save_folder == tmp_path / "save"


def test_the_tracks_have_files_of_their_own(tmp_path):
    closed = Experiment.from_config(configure(tmp_path, tmp_path / "exp"))
    open_ = Experiment.from_config(configure(tmp_path, tmp_path / "exp", "cpc1_track=open"))
    ours, theirs = all_paths(closed), all_paths(open_)
    assert set(ours) == set(theirs) and len(ours) > 25
    assert {name for name in ours if ours[name] == theirs[name]} == SHARED_BY_TRACKS
    files = [path for name, path in ours.items() if name not in FOLDERS]
    assert len(set(files)) == len(files)  # no two things in one file
    train, dev, test = (
        closed.ear_wav(split, "ref", "left", "S1") for split in ("train", "dev", "test")
    )
    assert train == dev != test
    assert closed.of_track("open").results == open_.results
    assert closed.result_table("table1") == open_.result_table("table1")
    assert closed.measure_file("dev", "enc").name == "dev_enc_similarity.json"
    assert open_.measure_file("test", "wcs").name == "test_wcs_correctness_indep.json"


def test_everything_lies_below_the_two_folders(tmp_path):
    cfg = configure(tmp_path, tmp_path / "exp", f"path.asr_folder='{tmp_path}/asr'")
    for path in all_paths(Experiment.from_config(cfg)).values():
        assert path.is_relative_to(tmp_path / "exp") or path.is_relative_to(tmp_path / "asr")


def test_folders_may_be_relative_or_in_the_home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    cfg = configure(tmp_path, "~/exp", "path.asr_folder=asr")
    experiment = Experiment.from_config(cfg)
    assert experiment.exp_folder == tmp_path / "home/exp"
    assert experiment.asr_folder == tmp_path / "asr"


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("cpc1_track=closd", "cpc1_track=closd: expected closed or open"),
        ("hearing_loss=some", "hearing_loss=some: expected msbg or none"),
        *(
            (f"recogniser={name}", "expected a hub id, or a folder with a name")
            for name in ("/", "tables", "data_split")  # which would lie on other files
        ),
    ],
)
def test_a_setting_that_names_no_place_is_refused(tmp_path, word, message):
    with pytest.raises(RecipeError, match=message):
        Experiment.from_config(configure(tmp_path, tmp_path, word))


def row(folder: Path, name: str = "a") -> dict:
    return {
        "ID": name,
        "duration": 1.25,
        "wav": folder / "test/left_msbg" / f"{name}.wav",
        "spk_id": "L0001",
        "wrd": 'ANNA KEEPS, AND "SELLS"',
    }


def test_tables_hold_relative_paths_and_can_be_moved(tmp_path):
    folder = tmp_path / "left ref msbg"
    write_table(folder / "left_dev_msbg.csv", [row(folder)])
    assert "$data_root/test/left_msbg/a.wav" in (folder / "left_dev_msbg.csv").read_text()
    assert read_table(folder / "left_dev_msbg.csv") == [row(folder)]
    moved = folder.rename(tmp_path / "moved")
    assert read_table(moved / "left_dev_msbg.csv") == [row(moved)]


@pytest.mark.parametrize(
    "row",
    [
        None,
        "a,1.0,$data_root/../../secret.wav,L1,A",
        "a,1.0,/etc/passwd,L1,A",
        "a,long,$data_root/a.wav,L1,A",
        "a,nan,$data_root/a.wav,L1,A",
        "a,-1,$data_root/a.wav,L1,A",
        "a,1.0",
        "a,1.0,$data_root/a.wav,L1," + "A" * 200_000,
        "a,1.0,$data_root/a\x00.wav,L1,A",
    ],
)
def test_a_damaged_table_is_named(tmp_path, row):
    path = tmp_path / "left_dev_msbg.csv"
    path.write_text("ID,wav\n" if row is None else f"ID,duration,wav,spk_id,wrd\n{row}\n")
    with pytest.raises(RecipeError, match="left_dev_msbg.csv"):
        read_table(path)


def test_a_table_that_is_missing_empty_or_of_absurd_size_is_named(tmp_path):
    path = tmp_path / "left_dev_msbg.csv"
    with pytest.raises(RecipeError, match=r"run prepare_data\.py first"):
        read_table(path)
    path.touch()
    with pytest.raises(RecipeError, match="left_dev_msbg.csv"):
        read_table(path)
    os.truncate(path, 10**12)  # refused unread
    with pytest.raises(RecipeError, match="1000000 MB where at most 500 MB.*prepare_data.py again"):
        read_table(path)


@pytest.mark.parametrize(
    ("place", "sha256", "refused"),
    [
        ("/b/mine", "2", True),  # another recogniser in a folder of the same name
        ("/a/mine", "2", False),  # trained further
        ("/b/mine", "1", False),  # moved
        ("5c1d", "2", True),  # of the hub: models--mine has the name of a hub's models/mine
    ],
)
def test_results_of_another_recogniser_are_not_written_over(tmp_path, place, sha256, refused):
    experiment = Experiment(tmp_path, tmp_path / "asr", recogniser="mine")
    write_json(experiment.inference, {"checkpoints": ["/a/mine"], "checkpoint_sha256": "1"})
    now = {"checkpoints": [place], "checkpoint_sha256": sha256}
    expected = pytest.raises(RecipeError, match=f"/a/mine; rename {place}, or give")
    with expected if refused else nullcontext():
        experiment.refuse_other_recogniser(now)
    replace(experiment, recogniser="").refuse_other_recogniser(now)  # trained here: one place


def test_recognisers_share_what_is_prepared_and_nothing_else(tmp_path):
    (tmp_path / "models/mine").mkdir(parents=True)
    ours, theirs, others = (
        Experiment.from_config(configure(tmp_path, tmp_path / "exp", f"recogniser={recogniser}"))
        for recogniser in ("null", "openai/whisper-small.en", f"'{tmp_path}/models/mine/'")
    )
    assert ours.data_folder == theirs.data_folder == others.data_folder
    assert theirs.results_folder == tmp_path / "exp/openai--whisper-small.en"
    assert others.results_folder == tmp_path / "exp/mine"  # a folder gives its last part
    measured = ("inference", "inference_journal", "results", "predictions", "calibration", "report")
    for name in measured:
        paths = {getattr(one, name) for one in (ours, theirs, others)}
        assert len(paths) == 3
        assert getattr(theirs, name).parent == theirs.results_folder
    assert theirs.measure_file("dev", "prob").parent == theirs.results_folder
    assert theirs.figure("scatter") == theirs.results_folder / "figures/scatter"


def test_without_a_hearing_loss_all_lies_apart_but_the_scenes(tmp_path):
    with_, without = (
        Experiment.from_config(configure(tmp_path, tmp_path / "exp", f"hearing_loss={kind}"))
        for kind in ("msbg", "none")
    )
    ours, theirs = all_paths(with_), all_paths(without)
    same = {name for name in ours if ours[name] == theirs[name]}
    lists = {"split_record", "scene_list dev", "scene_list test"}
    assert lists <= same <= lists | {"exp_folder", "baselines", "baselines_journal"}
    assert without.data_folder == tmp_path / "exp/no_hearing_loss/cpc1_asr_data"
    assert without.asr_folder == tmp_path / "exp/no_hearing_loss/transformer_cpc1"
