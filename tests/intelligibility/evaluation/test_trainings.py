"""Table 2: the runs of one experiment folder beside each other and beside the paper."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

import evaluate
from benchmarks.made.experiment import make_experiment
from benchmarks.made.release import dump
from intelligibility.evaluation.trainings import TRAININGS
from tests.conftest import configure

RUNS = {"ls": 0.15, "ls_cls": 0.05}  # and the noise on their similarities


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """Return the experiment folder of the usual run and two further ones."""
    exp = make_experiment(tmp_path_factory.mktemp("runs"), n_scenes=48)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(evaluate, "all_figures", lambda *_: {})
        for run, noise in RUNS.items():
            (exp / run).mkdir()
            shutil.copy(exp / "inference.json", exp / run)
            rng = np.random.default_rng(0)
            for path in exp.glob("*_similarity.json"):
                values = json.loads(path.read_text())
                noisy = np.clip(
                    np.array([*values.values()]) + noise * rng.normal(size=len(values)), 0, 1
                )
                dump(exp / run / path.name, dict(zip(values, noisy.tolist(), strict=True)))
            evaluate.run(configure(exp.parent, exp, f"run={run}"))
        evaluate.run(configure(exp.parent, exp))
    return exp


def test_every_training_has_a_row_and_a_dash_where_it_was_not_run(evaluated):
    table = pd.read_csv(evaluated / "tables/table2.csv").set_index("training")
    assert list(table.index) == [one.title for one in TRAININGS]
    assert list(table["RMSE"].notna()) == [True, True, True, False, False]
    assert table["paper_RMSE"].tolist() == [26.4, 24.3, 23.3, 23.1, 23.4]
    shown = (evaluated / "tables/table2.md").read_text().splitlines()
    assert [cell.strip() for cell in shown[-1].split("|")[1:5]] == ["LS+CLS+CPC1, no MSBG", *"–––"]


def test_a_row_has_the_numbers_of_its_own_run(evaluated):
    table = pd.read_csv(evaluated / "tables/table2.csv").set_index("training")
    for title, run in (("LS", "ls"), ("LS+CLS", "ls_cls"), ("LS+CPC1", "")):
        own = json.loads((evaluated / run / "results.json").read_text())["dec_results"]
        assert table.loc[title, ["RMSE", "NCC", "KT"]].tolist() == pytest.approx(
            [own[name] for name in ("RMSE", "NCC", "KT")]
        )
    assert table["RMSE"]["LS"] > table["RMSE"]["LS+CLS"] > table["RMSE"]["LS+CPC1"]


def test_each_two_runs_are_compared(evaluated):
    compared = pd.read_csv(evaluated / "tables/table2_comparisons.csv")
    pairs = set(zip(compared["a"], compared["b"], strict=True))
    assert pairs == {("LS+CPC1", "LS+CLS"), ("LS+CPC1", "LS"), ("LS+CLS", "LS")}
    worst = compared[(compared["b"] == "LS") & (compared["score"] == "RMSE")]
    assert set(worst["better"]) == {"LS+CPC1", "LS+CLS"}


def test_a_run_of_other_answers_is_left_out(evaluated, tmp_path, caplog, no_figures):
    shutil.copytree(evaluated.parent, tmp_path / "copy")
    exp = tmp_path / "copy/exp"
    predictions = pd.read_csv(exp / "ls/predictions.csv")
    predictions["correctness"] = 100 - predictions["correctness"]
    predictions.to_csv(exp / "ls/predictions.csv", index=False)
    evaluate.run(configure(tmp_path / "copy", exp))
    assert "run evaluate.py there again" in caplog.text
    assert pd.read_csv(exp / "tables/table2.csv")["RMSE"].notna().sum() == 2
