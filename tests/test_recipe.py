"""All four scripts in order, on a few signals: from a terminal for both tracks, and in here."""

import shutil
from pathlib import Path

import pytest

import evaluate
import infer
import prepare_data
from benchmarks.made.release import make_release
from intelligibility.runs import read_json
from tests import faults
from tests.conftest import configure, contents, edit, run_script
from tests.prepared_data import SIZES, TRAINING_SIZES

SCRIPTS = ("prepare_data.py", "train_asr.py", "infer.py", "evaluate.py")


def arguments_of(script, exp, track):
    """Return the words of a command line; what a script does not read is not given."""
    own = {
        "prepare_data.py": [f"path.root={exp.parent}/cpc1", "from_scratch=true", "n_jobs=1"],
        "train_asr.py": ["from_scratch=true", *TRAINING_SIZES],
        "infer.py": ["n_jobs=1", *TRAINING_SIZES],
        "evaluate.py": [],
    }
    return [f"cpc1_track={track}", f"path.exp_folder={exp}", *own[script]]


def run_all(exp, track):
    """Run the four scripts from a terminal."""
    for script in SCRIPTS:
        result = run_script(script, *arguments_of(script, exp, track), cwd=exp.parent)
        assert result.returncode == 0, f"{script}: {result.stdout}{result.stderr}"


@pytest.fixture(scope="module", params=["closed", "open"])
def finished(request, tmp_path_factory):
    """Return (track, experiment) after the four scripts went through."""
    folder = tmp_path_factory.mktemp(request.param)
    make_release(folder / "cpc1", n_train=8, n_test=3)
    run_all(folder / "exp", request.param)
    assert sorted(path.name for path in folder.iterdir()) == ["cpc1", "exp"]
    return request.param, folder / "exp"


def test_results_are_written_and_say_how_they_were_made(finished):
    track, exp = finished
    track = {"closed": "", "open": "_indep"}[track]
    results = read_json(exp / f"results{track}.json")
    for measure in ("enc", "dec"):
        assert set(results[f"{measure}_results"]) >= {"RMSE", "Std", "NCC", "KT"}
        for split, count in (("dev", 4), ("test", 6)):
            values = read_json(exp / f"{split}_{measure}_similarity{track}.json")
            assert len(values) == count
            assert all(-1 <= value <= 1 for value in values.values())
    assert results["provenance"]["seed"] == 1
    assert results["provenance"]["versions"]["speechbrain"] == "1.1.2"
    assert (exp / f"transformer_cpc1{track}" / "train_log.txt").is_file()


def test_the_second_run_changes_no_byte(finished):
    track, exp = finished
    before = {name: sha for name, sha in contents(exp).items() if "logs/" not in name}
    run_all(exp, track)
    assert before.items() <= contents(exp).items()


# The stages one after another in this process, with a recogniser that was made and not trained


@pytest.fixture
def copied(inferred, tmp_path, no_figures) -> tuple[Path, Path]:
    """Return copies of a release and of an experiment that waits for evaluate.py, to change."""
    release, exp = (shutil.copytree(folder, tmp_path / folder.name) for folder in inferred)
    return release, exp


@pytest.fixture
def evaluated(copied):
    """Return release, experiment, configuration and results."""
    cfg = configure(*copied)
    evaluate.run(cfg)
    return *copied, cfg, read_json(copied[1] / "results.json")


def test_similarities_of_an_audiogram_of_before_are_refused(evaluated, refused):
    release, exp, cfg, before = evaluated
    edit(
        release / faults.TEST_LISTENERS,
        lambda people: people["L0001"].update(audiogram_levels_l=[50] * 8),
    )
    evaluate.run(cfg)  # nothing was made from it yet, so nothing is wrong
    prepare_data.run(cfg)
    message = refused(evaluate.run, cfg)
    assert f"{exp}/inference.json: the similarities are of other ear signals" in message
    assert message.strip().endswith("run infer.py again")
    assert read_json(exp / "results.json") == before
    infer.run(configure(release, exp, *SIZES))
    evaluate.run(cfg)
    assert read_json(exp / "results.json")["dec_results"] != before["dec_results"]


def test_answers_that_changed_need_no_second_measurement(evaluated):
    release, exp, cfg, before = evaluated
    edit(
        release / faults.TEST_LIST,
        lambda entries: [entry.update(correctness=100 - entry["correctness"]) for entry in entries],
    )
    prepare_data.run(cfg)
    evaluate.run(cfg)
    after = read_json(exp / "results.json")
    assert after["calibration"] == before["calibration"]
    assert after["dec_results"] != before["dec_results"]


def test_test_signals_alone_go_through_with_a_mapping_of_another_run(evaluated, tmp_path, refused):
    release, whole, _, before = evaluated
    (whole / "calibration.json").rename(tmp_path / "kept.json")
    shutil.rmtree(release / "clarity_CPC1_data_train")
    alone, exp = "path.cpc1_train_data=null", tmp_path / "alone"
    prepare_data.run(configure(release, exp, alone))
    shutil.copytree(whole / "transformer_cpc1", exp / "transformer_cpc1")
    infer.run(configure(release, exp, *SIZES))
    message = refused(evaluate.run, configure(release, exp))
    assert "no dev signals" in message and "give calibration=other/calibration.json" in message
    evaluate.run(configure(release, exp, f"calibration='{tmp_path}/kept.json'"))
    assert (exp / "predictions.csv").read_bytes() == (whole / "predictions.csv").read_bytes()
    results = read_json(exp / "results.json")
    assert results["dec_results"] == before["dec_results"]
    assert results["counts"]["test"]["matched"] == 6


def test_a_copy_on_another_disk_is_worth_the_original(copied, tmp_path, caplog):
    """With cp -r the times change and so do the places; nothing is made or measured anew."""
    release, exp = (
        shutil.copytree(folder, tmp_path / f"other/{folder.name}", copy_function=shutil.copyfile)
        for folder in copied
    )
    before = contents(exp, "_similarity.json")
    prepare_data.run(configure(release, exp))
    assert "33 of 33 files are done already" in caplog.text
    infer.run(configure(release, exp, *SIZES))
    assert "10 of 10 signals are done already" in caplog.text
    assert contents(exp, "_similarity.json") == before
    evaluate.run(configure(release, exp))


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_is_the_manual_and_the_configuration(script):
    short, long = (run_script(script, flag) for flag in ("-h", "--help"))
    assert short.returncode == 0 and short.stdout == long.stdout
    assert long.stdout.startswith("Stage") and "cpc1_track: closed" in long.stdout


@pytest.mark.parametrize(
    ("script", "word", "message"),
    [
        *((script, "seed=1", "run prepare_data.py") for script in SCRIPTS[1:]),  # out of order
        *((script, "cpc1_track=opne", "cpc1_track=opne: expected closed") for script in SCRIPTS),
    ],
)
def test_what_a_stage_cannot_do_is_named(tmp_path, script, word, message):
    result = run_script(script, f"path.exp_folder={tmp_path}", word)
    assert result.returncode == 1
    assert message in result.stderr
    assert "Traceback" not in result.stderr
