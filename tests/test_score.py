"""score.py, from a terminal and from Python, on a small experiment with a random recogniser."""

import csv
import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from omegaconf import OmegaConf

import score
from benchmarks.made.recogniser import SETTINGS, make_recogniser
from benchmarks.made.release import make_release
from intelligibility.corpora.audiograms import listener_of
from intelligibility.corpora.presentation import read_presentations
from intelligibility.prediction.model import open_model
from intelligibility.prediction.prediction import Conditions, EarSignals, Prediction
from intelligibility.prediction.predictor import Predictor
from intelligibility.prediction.recording import read_recording
from intelligibility.prediction.rows import Row, read_folder, read_rows
from intelligibility.runs import RecipeError
from tests.conftest import run_script
from tests.intelligibility.prediction.speech import syllables
from tests.intelligibility.recognisers.hub_server import COMMIT, Hub, asked_by_all

AS_CPC1 = Conditions(align=False, start=2.0)


@pytest.fixture(scope="module")
def experiment(tmp_path_factory) -> Path:
    """Return an experiment folder after prepare_data.py, infer.py and evaluate.py."""
    folder = tmp_path_factory.mktemp("score")
    make_release(folder / "cpc1", n_train=8, n_test=3, seconds=2.6)
    exp = folder / "exp"
    make_recogniser(exp / "transformer_cpc1")
    where, model = f"path.exp_folder={exp}", [f"asr_overrides.{k}={v}" for k, v in SETTINGS.items()]
    for script, more in (
        ("prepare_data.py", [f"path.root={folder}/cpc1", "dev_percent=0.5", "n_jobs=1"]),
        ("infer.py", [*model, "n_jobs=1", "device=cpu"]),
        ("evaluate.py", [f"bundle={folder}/bundle"]),
    ):
        result = run_script(script, where, *more)
        assert result.returncode == 0, result.stdout + result.stderr
    return exp


@pytest.fixture(scope="module")
def tested(experiment) -> list:
    """Return the presentations of the test archive."""
    return read_presentations(experiment / "presentations.json")["test"]


@pytest.fixture(scope="module")
def predictor(experiment) -> Predictor:
    """Return the experiment as a predictor."""
    return Predictor.load(experiment, device="cpu")


@pytest.fixture
def pair(tmp_path) -> tuple[Path, Path]:
    """Write a sentence, and the same 50 ms later in noise."""
    rng = np.random.default_rng(0)
    clean = syllables(1, 2.0, 44100)
    noisy = np.pad(clean, ((2205, 0), (0, 0))) + 0.005 * rng.standard_normal((90405, 2))
    sf.write(tmp_path / "clean.wav", clean, 44100, subtype="PCM_16")
    sf.write(tmp_path / "ha.wav", noisy, 44100, subtype="PCM_16")
    return tmp_path / "ha.wav", tmp_path / "clean.wav"


def measures_of(experiment: Path, name: str) -> dict[str, float]:
    with (experiment / "predictions.csv").open() as stream:
        (row,) = [row for row in csv.DictReader(stream) if row["signal"] == name]
    return {key: float(value) for key, value in row.items() if "_" in key and key != "signal"}


def test_it_gives_the_numbers_of_the_stages(experiment, tested, predictor):
    for one in tested:
        sounds = read_recording(one.processed), read_recording(one.reference)
        found = predictor.predict(*sounds, None, one.listener, one.prompt, AS_CPC1)
        expected = measures_of(experiment, one.name)
        for measure, similarity in found.similarities.items():
            assert similarity == pytest.approx(expected[f"{measure}_similarity"], abs=1e-6)
            if measure in found.percents:
                percent = expected[f"{measure}_prediction"]
                assert found.percents[measure] == pytest.approx(percent, abs=1e-3)
        assert found.percent == found.percents[found.by] and found.rmse > 0
        assert set(found.by_ear) == {"left", "right"}


def test_a_bundle_predicts_as_the_experiment_it_came_from(experiment, tested, predictor):
    bundle = experiment.parent / "bundle"
    card = (bundle / "README.md").read_text()
    assert "license: # fill in" in card and re.search(r"\| enc \| [\d.]+ \(\d+ signals\)", card)
    one = tested[0]
    sounds = read_recording(one.processed), read_recording(one.reference)
    percents = [
        model.predict(*sounds, None, one.listener, one.prompt, AS_CPC1).percents
        for model in (predictor, Predictor.load(bundle, device="cpu"))
    ]
    assert percents[0] == pytest.approx(percents[1], abs=1e-9)
    assert str(experiment.parent) not in (bundle / "inference.json").read_text()


def test_a_run_below_an_experiment_is_a_model(experiment, predictor, tmp_path):
    """Its level is that of the experiment's ear signals, which infer.py's record may not know."""
    folder = tmp_path / "exp/ls"
    shutil.copytree(experiment, folder, ignore=shutil.ignore_patterns("*.wav"))
    (folder / "presentations.json").rename(tmp_path / "exp/presentations.json")
    record = json.loads((folder / "inference.json").read_text())
    record["provenance"]["config"] |= {"run": "ls", "MSBGEar": {"ahr": 0}}
    (folder / "inference.json").write_text(json.dumps(record))
    opened = open_model(folder)
    assert opened.experiment.asr_folder == folder / "transformer_cpc1"
    assert opened.msbg_settings == predictor.msbg_settings and opened.msbg_settings["ahr"] == 20


def test_one_recording_from_a_terminal(experiment, pair):
    result = run_script(
        "score.py",
        *(
            f"processed={pair[0]}",
            f"reference={pair[1]}",
            "audiogram=left=250:20;right=500:30,2000:60",
        ),
        *("text=I don't know, really", f"model={experiment}", "device=cpu"),
        *(f"path.exp_folder={experiment.parent}/logs",),
    )
    assert result.returncode == 0, result.stderr
    assert re.match(r"\d+ % of the words correct, by decoder \(RMSE of a single", result.stdout)
    assert "sentence (given): I don't know, really" in result.stdout
    assert "delay 50.0 ms" in result.stdout


def test_a_similarity_above_both_ears_is_explained(capsys):
    heard = EarSignals(np.zeros((1, 2)), np.zeros((1, 2)), 0.0, 65.0, [])
    ears = {"left": {"enc": 0.7}, "right": {"enc": 0.8}}
    for similarity, said in ((0.8, False), (0.85, True)):
        score.say(
            Prediction(50.0, "enc", 20.0, {}, {"enc": similarity}, ears, {}, "a", True, heard, None)
        )
        assert ("above both ears alone" in capsys.readouterr().out) == said


def test_without_a_text_the_transcript_of_the_reference_stands_in(predictor, pair, tested):
    sounds = [read_recording(path) for path in pair]
    found = predictor.predict(*sounds, None, tested[0].listener)
    assert not found.text_given
    assert len(found.course) == pytest.approx(25 * len(found.heard.processed) / 16000, abs=2)


@pytest.mark.parametrize("ear", ["left", "right"])
def test_one_ear_listens_alone(predictor, pair, tested, ear):
    sounds = [read_recording(path) for path in pair]
    found = predictor.predict(
        *sounds, None, tested[0].listener, "two old boats", Conditions(ear=ear)
    )
    assert found.by_ear["left"] == found.by_ear["right"]


def test_levels_are_set_and_warned_of(predictor, pair, tested):
    sounds = [read_recording(path) for path in pair]
    listener = tested[0].listener
    at_65 = predictor.predict(*sounds, None, listener, "two", Conditions(speech_level=65)).heard
    assert at_65.level == pytest.approx(65)
    assert not any("dB SPL" in warning for warning in at_65.warnings)
    low = predictor.predict(*sounds, None, listener, "two", Conditions(full_scale_db_spl=50)).heard
    assert any("dB SPL" in warning for warning in low.warnings)
    loud = np.clip(50 * sounds[0].signal, -1, 1), 50 * sounds[1].signal / 50
    clipped = predictor.predict(*loud, 44100, listener, "two").heard
    assert any("probably clipped" in warning for warning in clipped.warnings)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ear": "third"}, "ear=third"),
        ({"start": -1}, "start=-1"),
        ({"speech_level": "loud"}, "speech_level=loud: expected a number"),
        ({"speech_level": 65, "full_scale_db_spl": 100}, "give one of the two"),
        ({"align": "perhaps"}, "align=perhaps"),
    ],
)
def test_conditions_that_cannot_be(options, message):
    with pytest.raises(RecipeError, match=message):
        Conditions(**options)


def test_a_number_of_rows_is_looked_at_before_any_work(tmp_path):
    words = [f"path.exp_folder={tmp_path}/logs", f"model={tmp_path}", "report_rows=-1"]
    refused = run_script("score.py", *words)
    assert refused.returncode == 1
    assert "report_rows=-1: expected a whole number of rows" in refused.stderr


def write_table(path: Path, rows: list[dict]) -> Path:
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(rows[0])
        writer.writerows([[*row.values()] for row in rows])
    return path


def entries(tested: list, folder: Path) -> list[dict]:
    return [
        {
            "name": one.name,
            "processed": os.path.relpath(one.processed, folder),
            "reference": os.path.relpath(one.reference, folder),
            "audiogram": "N3",
            "text": one.prompt,
            "system": one.system,
            "listener": one.listener.id,
            "correctness": one.correctness,
        }
        for one in tested
    ]


def test_a_table_goes_on_and_leaves_bad_rows_out_when_told(experiment, tested, tmp_path):
    rows = entries(tested, tmp_path)
    (tmp_path / "notes.wav").write_text("to be recorded")
    bad = rows[0] | {"name": "bad", "processed": "notes.wav"}
    table = write_table(tmp_path / "signals.csv", [*rows, bad])
    words = [f"table={table}", f"output={tmp_path}/scores.csv", f"model={experiment}", "n_jobs=1"]
    words += ["device=cpu", "start=2.0", "align=false", f"path.exp_folder={tmp_path}/logs"]
    refused = run_script("score.py", *words)
    assert refused.returncode == 1
    message = "signals.csv cannot be scored, line 8: .*notes.wav: file that cannot be read as audio"
    assert re.search(message, refused.stderr)
    assert not (tmp_path / "scores.csv").exists()

    done = run_script("score.py", *words, "skip_bad=true", "report=true", "report_rows=2")
    assert done.returncode == 0, done.stderr
    content = json.loads((tmp_path / "scores.json").read_text())
    assert [row["name"] for row in content["rows"]] == [row["name"] for row in rows]
    assert content["summary"]["scores"]["rows"] == len(rows)
    assert content["provenance"]["versions"]["speechbrain"] == "1.1.2"
    page = (tmp_path / "scores.html").read_text()
    assert page.count("<audio") == 8 and "http" not in re.sub(r"data:[^\"]*", "", page)

    before = (tmp_path / "scores.csv").read_bytes(), (tmp_path / "scores.html").read_bytes()
    again = run_script("score.py", *words, "skip_bad=true", "report=true", "report_rows=2")
    assert "6 of 6 rows are done already" in again.stderr
    assert before == (
        (tmp_path / "scores.csv").read_bytes(),
        (tmp_path / "scores.html").read_bytes(),
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reference": ""}, "no reference"),
        ({"audiogram": "heavy"}, "no such audiogram"),
        ({"audiogram": ""}, "no audiogram: give a column"),
        ({"correctness": "many"}, "correctness is 'many'"),
        ({None: [" paul and mary"]}, "9 fields, expected 8 as in the header; put a text that"),
    ],
)
def test_a_bad_row_is_named_by_its_line(tested, tmp_path, change, message):
    rows = entries(tested, tmp_path)
    table = write_table(tmp_path / "signals.csv", [rows[0], rows[1] | change])
    good, (problem,) = read_rows(table, None, None)
    assert len(good) == 1 and problem.where == "line 3"
    assert re.search(message, problem.fault)


def test_a_row_that_ends_early_and_columns_that_are_not_read(tested, tmp_path, caplog):
    rows = [one | {"listner": "L0001"} for one in entries(tested, tmp_path)[:2]]
    table = write_table(tmp_path / "signals.csv", rows)
    table.write_text(table.read_text().rsplit(",", 2)[0] + "\n")
    good, (problem,) = read_rows(table, None, None)
    assert len(good) == 1 and "7 fields, expected 9" in problem.fault
    assert "columns that are not read: listner" in caplog.text


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("table.csv", "table.csv is an input; give another name"),
        ("mine.wav", "expected a file that ends in .csv"),
        ("mine.csv", None),
        ("folder.csv", "expected a file that ends in .csv"),
        ("listeners.csv", "listeners.json is an input"),
    ],
)
def test_results_go_over_no_input(tmp_path, output, message):
    (tmp_path / "folder.csv").mkdir()
    given = {"table": f"{tmp_path}/table.csv", "audiogram": f"{tmp_path}/listeners.json"}
    cfg = OmegaConf.create(given | {"output": f"{tmp_path}/{output}"})
    rows = [Row(2, "mine", tmp_path / "mine.wav", tmp_path / "clean.wav", listener_of("mild"))]
    if message is None:
        assert score.output_of(cfg, rows) == tmp_path / output
        return
    with pytest.raises(RecipeError, match=message):
        score.output_of(cfg, rows)


def test_pairs_are_of_one_listener_and_one_content(pair, tmp_path):
    processed, clean = pair
    (tmp_path / "other").mkdir()
    other = shutil.copy(processed, tmp_path / "other" / "clean.wav")
    copied = shutil.copy(clean, tmp_path / "copy.wav")

    def pair_of(reference: Path, audiogram: str = "N1") -> str:
        return Row(0, "a", processed, Path(reference), listener_of(audiogram)).pair

    assert pair_of(clean) == pair_of(copied)
    assert len({pair_of(clean), pair_of(other), pair_of(clean, "N5")}) == 3


def test_a_folder_is_paired_by_its_names(pair, tmp_path):
    folder = tmp_path / "lying around"
    for kind in ("processed", "reference"):
        (folder / kind).mkdir(parents=True)
        shutil.copy(pair[0], folder / f"boat_{kind}.wav")
        shutil.copy(pair[0], folder / kind / "late.wav")
    shutil.copy(pair[0], folder / "alone_processed.wav")
    rows, (problem,) = read_folder(folder, "moderate", None)
    assert [row.name for row in rows] == ["boat", "late"]
    assert rows[1].reference == folder / "reference" / "late.wav"
    assert (problem.where, problem.fault) == ("alone", "no reference recording of this name")
    with pytest.raises(RecipeError, match="give audiogram="):
        read_folder(folder, None, None)
    with pytest.raises(RecipeError, match="no recordings to pair; expected NAME_processed.wav"):
        read_folder(folder / "processed", "moderate", None)


def test_without_a_model_a_folder_is_scored_by_haspi(pair, tmp_path):
    folder = tmp_path / "recordings"
    folder.mkdir()
    for name in ("one", "two"):
        for kind, wav in zip(("processed", "reference"), pair, strict=True):
            shutil.copy(wav, folder / f"{name}_{kind}.wav")
    words = [f"table={folder}", f"output={tmp_path}/scores.csv", "audiogram=moderate", "n_jobs=1"]
    done = run_script("score.py", *words, "report=true", f"path.exp_folder={tmp_path}/logs")
    assert done.returncode == 0, done.stderr
    one, two = json.loads((tmp_path / "scores.json").read_text())["rows"]
    assert one["by"] == "haspi" and one["percent"] == two["percent"]
    assert one["interval"][0] < one["percent"] < one["interval"][1]
    page = (tmp_path / "scores.html").read_text()
    assert page.count("<audio") == 4 and "15520 answers of 26 people" in page
    assert "dB SPL; delay of the processed recording 50.0 ms" in page and "<th>250 Hz</th>" in page
    with (tmp_path / "scores.csv").open() as stream:
        line = next(csv.DictReader(stream))
    assert line["processed"] == str(folder / "one_processed.wav")
    assert line["audiogram"].startswith("250:20,")


def test_tables_that_are_none(tmp_path):
    path = tmp_path / "signals.csv"
    path.write_text("processed,clean\na.wav,b.wav\n")
    with pytest.raises(RecipeError, match="no column reference; its columns are processed, clean"):
        read_rows(path, None, None)
    path.write_text("processed,reference\n")
    with pytest.raises(RecipeError, match="has no rows"):
        read_rows(path, None, None)
    with pytest.raises(RecipeError, match="no such file"):
        read_rows(tmp_path / "none.csv", None, None)


def test_a_model_that_is_none(experiment, tmp_path):
    with pytest.raises(RecipeError, match="no such folder; give an experiment folder, a bundle"):
        Predictor.load("/none/at/all")
    with pytest.raises(RecipeError, match="no inference.json here"):
        Predictor.load(tmp_path)


def test_a_bundle_from_the_hub(experiment, tmp_path, monkeypatch):
    hub = Hub()
    hub.models["somebody/aid"] = experiment.parent / "bundle"
    with asked_by_all(hub, tmp_path / "cache", monkeypatch):
        fetched = open_model("somebody/aid", "v1")
        assert COMMIT in str(fetched.experiment.exp_folder)
        own = open_model(experiment.parent / "bundle")
        assert fetched.made_by == own.made_by
        with pytest.raises(RecipeError, match="could not be fetched from the hub, revision v9"):
            open_model("somebody/aid", "v9")
        with pytest.raises(RecipeError, match="nobody/aid: could not be fetched"):
            open_model("nobody/aid")


def test_a_bundle_runs_no_code_of_its_own(experiment, tmp_path):
    bundle = shutil.copytree(experiment.parent / "bundle", tmp_path / "bundle")
    with (bundle / "transformer_cpc1.yaml").open("a") as stream:
        stream.write(f"harmless: !apply:os.mkdir\n    - {tmp_path}/ran\n")
    with pytest.raises(RecipeError, match="!apply:os.mkdir: not among the objects of"):
        Predictor.load(bundle)
    assert not (tmp_path / "ran").exists()


def test_a_mapping_that_is_missing_or_of_another_recogniser(experiment, tmp_path):
    bundle = tmp_path / "bundle"
    os.makedirs(bundle)
    for path in (experiment.parent / "bundle").iterdir():
        if path.name != "calibration.json":
            (bundle / path.name).symlink_to(path)
    with pytest.raises(RecipeError, match="no mapping to percent words correct; run evaluate.py"):
        Predictor.load(bundle)
    content = json.loads((experiment / "calibration.json").read_text())
    content["checkpoint_sha256"] = "00" * 32
    (bundle / "calibration.json").write_text(json.dumps(content))
    with pytest.raises(RecipeError, match="fitted with recogniser 000000000000, but the one in"):
        Predictor.load(bundle)


def test_a_measure_that_the_mapping_does_not_have(experiment):
    with pytest.raises(RecipeError, match="by=xyz: the mapping has"):
        Predictor.load(experiment, device="cpu", by="xyz")
