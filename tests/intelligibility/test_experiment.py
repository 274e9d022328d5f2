"""Where everything is kept, and the tables that SpeechBrain reads."""

from pathlib import Path

import pytest

from intelligibility.experiment import Experiment, read_table, write_table
from intelligibility.measures import MEASURES
from intelligibility.runs import RecipeError
from tests.conftest import configure

FOLDERS = {"exp_folder", "prepared_folder", "results_folder"}
SHARED_BY_TRACKS = FOLDERS  # and Table 1, which is of both


def all_paths(experiment: Experiment) -> dict[str, Path]:
    """Return every path of an experiment by the name that code gives it."""
    named = {
        name: getattr(experiment, name)
        for name in dir(experiment)
        if not name.startswith("_") and isinstance(getattr(experiment, name), Path)
    }
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


def test_the_tracks_have_files_of_their_own(tmp_path):
    closed = Experiment.from_config(configure(tmp_path, tmp_path / "exp"))
    open_ = Experiment.from_config(configure(tmp_path, tmp_path / "exp", "cpc1_track=open"))
    ours, theirs = all_paths(closed), all_paths(open_)
    assert set(ours) == set(theirs) and len(ours) > 35
    assert {name for name in ours if ours[name] == theirs[name]} == SHARED_BY_TRACKS
    files = [path for name, path in ours.items() if name not in FOLDERS]
    assert len(set(files)) == len(files)  # no two things in one file
    assert closed.of_track("open").results == open_.results
    assert closed.result_table("table1") == open_.result_table("table1")
    assert closed.measure_file("dev", "enc").name == "dev_enc_similarity.json"
    assert open_.measure_file("test", "wcs").name == "test_wcs_correctness_indep.json"


def test_everything_lies_below_the_two_folders(tmp_path):
    cfg = configure(tmp_path, tmp_path / "exp", f"path.asr_folder='{tmp_path}/asr'")
    for path in all_paths(Experiment.from_config(cfg)).values():
        assert path.is_relative_to(tmp_path / "exp") or path.is_relative_to(tmp_path / "asr")


def test_dev_signals_lie_with_the_training_signals(tmp_path):
    experiment = Experiment(tmp_path, tmp_path)
    assert experiment.ear_wav("dev", "ref", "left", "S1") == experiment.ear_wav(
        "train", "ref", "left", "S1"
    )
    assert experiment.ear_wav("test", "ref", "left", "S1") != experiment.ear_wav(
        "train", "ref", "left", "S1"
    )


def test_folders_may_be_relative_or_in_the_home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    cfg = configure(tmp_path, "~/exp", "path.asr_folder=asr")
    experiment = Experiment.from_config(cfg)
    assert experiment.exp_folder == tmp_path / "home/exp"
    assert experiment.asr_folder == tmp_path / "asr"


def test_a_misspelt_track_is_named(tmp_path):
    with pytest.raises(RecipeError, match="cpc1_track=closd: expected closed or open"):
        Experiment.from_config(configure(tmp_path, tmp_path, "cpc1_track=closd"))


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
    "text",
    [
        "ID,wav\n",
        "",
        "ID,duration,wav,spk_id,wrd\na,1.0,$data_root/../../secret.wav,L1,A\n",
        "ID,duration,wav,spk_id,wrd\na,1.0,/etc/passwd,L1,A\n",
        "ID,duration,wav,spk_id,wrd\na,long,$data_root/a.wav,L1,A\n",
        "ID,duration,wav,spk_id,wrd\na,nan,$data_root/a.wav,L1,A\n",
        "ID,duration,wav,spk_id,wrd\na,-1,$data_root/a.wav,L1,A\n",
        "ID,duration,wav,spk_id,wrd\na,1.0\n",
        "ID,duration,wav,spk_id,wrd\na,1.0,$data_root/a.wav,L1," + "A" * 200_000 + "\n",
        "ID,duration,wav,spk_id,wrd\na,1.0,$data_root/a\x00.wav,L1,A\n",
    ],
)
def test_a_damaged_table_is_named(tmp_path, text):
    path = tmp_path / "left_dev_msbg.csv"
    path.write_text(text)
    with pytest.raises(RecipeError, match="left_dev_msbg.csv"):
        read_table(path)


def test_a_table_of_absurd_size_is_refused_unread(tmp_path):
    with (tmp_path / "left_dev_msbg.csv").open("wb") as stream:
        stream.truncate(10**12)
    with pytest.raises(RecipeError, match="1000000 MB where at most 500 MB.*prepare_data.py again"):
        read_table(tmp_path / "left_dev_msbg.csv")


def test_a_missing_table_tells_which_script_makes_it(tmp_path):
    with pytest.raises(RecipeError, match=r"run prepare_data\.py first"):
        read_table(tmp_path / "left_dev_msbg.csv")


def test_recognisers_share_what_is_prepared_and_nothing_else(tmp_path):
    ours, theirs, others = (
        Experiment.from_config(configure(tmp_path, tmp_path / "exp", f"recogniser={recogniser}"))
        for recogniser in ("null", "openai/whisper-small.en", "openai/whisper-base.en")
    )
    assert ours.data_folder == theirs.data_folder == others.data_folder
    assert theirs.results_folder == tmp_path / "exp/openai--whisper-small.en"
    measured = ("inference", "inference_journal", "results", "predictions", "calibration", "report")
    for name in measured:
        paths = {getattr(one, name) for one in (ours, theirs, others)}
        assert len(paths) == 3
        assert getattr(theirs, name).parent == theirs.results_folder
    assert theirs.measure_file("dev", "prob").parent == theirs.results_folder
    assert theirs.figure("scatter") == theirs.results_folder / "figures/scatter"


def test_a_folder_gives_its_last_part(tmp_path):
    (tmp_path / "models/mine").mkdir(parents=True)
    cfg = configure(tmp_path, tmp_path / "exp", f"recogniser='{tmp_path}/models/mine/'")
    assert Experiment.from_config(cfg).results_folder == tmp_path / "exp/mine"


@pytest.mark.parametrize("name", ["/", "tables", "data_split"])
def test_a_recogniser_that_would_lie_on_other_files_is_refused(tmp_path, name):
    cfg = configure(tmp_path, tmp_path / "exp", f"recogniser={name}")
    with pytest.raises(RecipeError, match="expected a hub id, or a folder with a name"):
        Experiment.from_config(cfg)


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
    cfg = configure(tmp_path, tmp_path / "exp", "hearing_loss=some")
    with pytest.raises(RecipeError, match="hearing_loss=some: expected msbg or none"):
        Experiment.from_config(cfg)
