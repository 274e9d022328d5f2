"""All four scripts in order, from a terminal, on a few signals: a smoke run for both tracks."""

import hashlib
import json

import pytest

from benchmarks.made.recogniser import SETTINGS
from benchmarks.made.release import make_release
from tests.conftest import run_script

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


@pytest.fixture(scope="module", params=["closed", "open"])
def finished(request, tmp_path_factory):
    """Return (arguments, experiment) after the four scripts went through."""
    folder = tmp_path_factory.mktemp(request.param)
    make_release(folder / "cpc1", n_train=8, n_test=3)
    arguments = [f"cpc1_track={request.param}", f"path.exp_folder={folder}/exp", "n_jobs=1"]
    arguments += ["from_scratch=true", *(f"asr_overrides.{k}={v}" for k, v in TRAINING.items())]
    for script in SCRIPTS:
        first = [f"path.root={folder}/cpc1"] if script == "prepare_data.py" else []
        result = run_script(script, *first, *arguments, cwd=folder)
        assert result.returncode == 0, f"{script}: {result.stdout}{result.stderr}"
    assert sorted(path.name for path in folder.iterdir()) == ["cpc1", "exp"]
    return arguments, folder / "exp"


def digest(exp):
    kinds = (".csv", ".json", ".jsonl", ".html", ".md", ".png", ".pdf", ".txt", ".wav", ".ckpt")
    return {
        str(path.relative_to(exp)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in exp.rglob("*")
        if path.suffix in kinds
    }


def test_results_are_written_and_say_how_they_were_made(finished):
    arguments, exp = finished
    track = "_indep" if "cpc1_track=open" in arguments else ""
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
    arguments, exp = finished
    before = digest(exp)
    for script in SCRIPTS:
        first = [f"path.root={exp.parent}/cpc1"] if script == "prepare_data.py" else []
        result = run_script(script, *first, *arguments)
        assert result.returncode == 0, f"{script}: {result.stdout}{result.stderr}"
    assert digest(exp) == before


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
    result = run_script(script, f"path.exp_folder={tmp_path}", "from_scratch=true")
    assert result.returncode == 1
    assert message in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_misspelt_track_is_named_by_every_stage(tmp_path, script):
    result = run_script(script, f"path.exp_folder={tmp_path}", "cpc1_track=opne")
    assert result.returncode == 1
    assert "cpc1_track=opne: expected closed or open" in result.stderr
