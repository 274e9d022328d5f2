"""All four scripts in order, on a few signals: from a terminal for both tracks, and in here."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest

import evaluate
import infer
import prepare_data
from benchmarks.made.recogniser import SETTINGS, make_recogniser
from benchmarks.made.release import make_release
from tests import faults
from tests.conftest import configure, edit, run_script

SCRIPTS = ("prepare_data.py", "train_asr.py", "infer.py", "evaluate.py")
TRAINING = SETTINGS | {
    "output_neurons": 40,
    "number_of_epochs": 2,
    "stage_one_epochs": 1,
    "batch_size": 4,
    "gradient_accumulation": 1,
    "valid_search_interval": 2,
    "valid_beam_size": 2,
}


def arguments_of(script, exp, track):
    """Return the words of a command line; what a script does not read is not given."""
    sizes = [f"asr_overrides.{key}={value}" for key, value in TRAINING.items()]
    own = {
        "prepare_data.py": [f"path.root={exp.parent}/cpc1", "from_scratch=true", "n_jobs=1"],
        "train_asr.py": ["from_scratch=true", *sizes],
        "infer.py": ["n_jobs=1", *sizes],
        "evaluate.py": [],
    }
    return [f"cpc1_track={track}", f"path.exp_folder={exp}", *own[script]]


@pytest.fixture(scope="module", params=["closed", "open"])
def finished(request, tmp_path_factory):
    """Return (track, experiment) after the four scripts went through."""
    folder = tmp_path_factory.mktemp(request.param)
    make_release(folder / "cpc1", n_train=8, n_test=3)
    for script in SCRIPTS:
        arguments = arguments_of(script, folder / "exp", request.param)
        result = run_script(script, *arguments, cwd=folder)
        assert result.returncode == 0, f"{script}: {result.stdout}{result.stderr}"
    assert sorted(path.name for path in folder.iterdir()) == ["cpc1", "exp"]
    return request.param, folder / "exp"


def digest(exp):
    kinds = (".csv", ".json", ".jsonl", ".html", ".md", ".png", ".pdf", ".txt", ".wav", ".ckpt")
    return {
        str(path.relative_to(exp)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in exp.rglob("*")
        if path.suffix in kinds
    }


def test_results_are_written_and_say_how_they_were_made(finished):
    track, exp = finished
    track = {"closed": "", "open": "_indep"}[track]
    results = json.loads((exp / f"results{track}.json").read_text())
    for measure in ("enc", "dec"):
        assert set(results[f"{measure}_results"]) >= {"RMSE", "Std", "NCC", "KT"}
        for split, count in (("dev", 4), ("test", 6)):
            values = json.loads((exp / f"{split}_{measure}_similarity{track}.json").read_text())
            assert len(values) == count
            assert all(-1 <= value <= 1 for value in values.values())
    assert results["provenance"]["seed"] == 1
    assert results["provenance"]["versions"]["speechbrain"] == "1.1.2"
    assert (exp / f"transformer_cpc1{track}" / "train_log.txt").is_file()


def test_the_second_run_changes_no_byte(finished):
    track, exp = finished
    before = digest(exp)
    for script in SCRIPTS:
        result = run_script(script, *arguments_of(script, exp, track))
        assert result.returncode == 0, f"{script}: {result.stdout}{result.stderr}"
    assert digest(exp) == before


# The stages one after another in this process, with a recogniser that was made and not trained


SIZES = [f"asr_overrides.{key}={value}" for key, value in SETTINGS.items()]


@pytest.fixture(scope="module")
def measured(tmp_path_factory) -> tuple[Path, Path]:
    """Return a release and an experiment that waits for evaluate.py; read only."""
    folder = tmp_path_factory.mktemp("measured")
    release, exp = make_release(folder / "cpc1", n_train=8, n_test=3), folder / "exp"
    prepare_data.run(configure(release, exp))
    make_recogniser(exp / "transformer_cpc1")
    infer.run(configure(release, exp, *SIZES))
    return release, exp


@pytest.fixture
def copied(measured, tmp_path, monkeypatch) -> tuple[Path, Path]:
    """Return copies of both to change."""
    monkeypatch.setattr(evaluate, "all_figures", lambda *_: {})
    release, exp = (shutil.copytree(folder, tmp_path / folder.name) for folder in measured)
    return release, exp


def test_similarities_of_an_audiogram_of_before_are_refused(copied, caplog):
    release, exp = copied
    cfg = configure(release, exp)
    evaluate.run(cfg)
    before = json.loads((exp / "results.json").read_text())
    edit(
        release / faults.TEST_LISTENERS,
        lambda people: people["L0001"].update(audiogram_levels_l=[50] * 8),
    )
    evaluate.run(cfg)  # nothing was made from it yet, so nothing is wrong
    prepare_data.run(cfg)
    caplog.clear()
    with pytest.raises(SystemExit):
        evaluate.run(cfg)
    assert f"{exp}/inference.json: the similarities are of other ear signals" in caplog.text
    assert caplog.records[-1].getMessage().endswith("run infer.py again")
    assert json.loads((exp / "results.json").read_text()) == before
    infer.run(configure(release, exp, *SIZES))
    evaluate.run(cfg)
    assert json.loads((exp / "results.json").read_text())["dec_results"] != before["dec_results"]


def test_answers_that_changed_need_no_second_measurement(copied):
    release, exp = copied
    cfg = configure(release, exp)
    evaluate.run(cfg)
    before = json.loads((exp / "results.json").read_text())
    edit(
        release / faults.TEST_LIST,
        lambda entries: [entry.update(correctness=100 - entry["correctness"]) for entry in entries],
    )
    prepare_data.run(cfg)
    evaluate.run(cfg)
    after = json.loads((exp / "results.json").read_text())
    assert after["calibration"] == before["calibration"]
    assert after["dec_results"] != before["dec_results"]


def test_test_signals_alone_go_through_with_a_mapping_of_another_run(copied, tmp_path, caplog):
    release, whole = copied
    evaluate.run(configure(release, whole))
    (whole / "calibration.json").rename(tmp_path / "kept.json")
    shutil.rmtree(release / "clarity_CPC1_data_train")
    alone, exp = "path.cpc1_train_data=null", tmp_path / "alone"
    prepare_data.run(configure(release, exp, alone))
    shutil.copytree(whole / "transformer_cpc1", exp / "transformer_cpc1")
    infer.run(configure(release, exp, *SIZES))
    with pytest.raises(SystemExit):
        evaluate.run(configure(release, exp))
    assert "give calibration=, another run's calibration.json, where test signals" in caplog.text
    evaluate.run(configure(release, exp, f"calibration='{tmp_path}/kept.json'"))
    assert (exp / "predictions.csv").read_bytes() == (whole / "predictions.csv").read_bytes()
    results = [json.loads((folder / "results.json").read_text()) for folder in (whole, exp)]
    assert results[0]["dec_results"] == results[1]["dec_results"]
    assert results[1]["counts"]["test"]["matched"] == 6


def test_a_copy_on_another_disk_is_worth_the_original(copied, tmp_path, caplog):
    """With cp -r the times change and so do the places; nothing is made or measured anew."""
    release, exp = (
        shutil.copytree(folder, tmp_path / f"other/{folder.name}", copy_function=shutil.copyfile)
        for folder in copied
    )
    before = {path.name: path.read_bytes() for path in exp.glob("*_similarity.json")}
    with caplog.at_level("INFO"):
        prepare_data.run(configure(release, exp))
        assert "33 of 33 files are done already" in caplog.text
        infer.run(configure(release, exp, *SIZES))
    assert "10 of 10 signals are done already" in caplog.text
    assert {path.name: path.read_bytes() for path in exp.glob("*_similarity.json")} == before
    evaluate.run(configure(release, exp))


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_is_the_manual_and_the_configuration(script):
    result = run_script(script, "--help")
    assert result.returncode == 0
    assert result.stdout.startswith("Stage")
    assert "cpc1_track: closed" in result.stdout


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("train_asr.py", "run prepare_data.py"),
        ("infer.py", "run prepare_data.py"),
        ("evaluate.py", "run prepare_data.py"),
    ],
)
def test_a_stage_out_of_order_tells_which_comes_first(tmp_path, script, message):
    result = run_script(script, f"path.exp_folder={tmp_path}")
    assert result.returncode == 1
    assert message in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_misspelt_track_is_named_by_every_stage(tmp_path, script):
    result = run_script(script, f"path.exp_folder={tmp_path}", "cpc1_track=opne")
    assert result.returncode == 1
    assert "cpc1_track=opne: expected closed or open" in result.stderr
