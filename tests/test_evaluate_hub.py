"""The evaluate stage on what a recogniser from the hub measured."""

import json
import shutil

import numpy as np
import pytest

import evaluate
from benchmarks.made.experiment import make_experiment
from intelligibility.runs import read_json
from tests.conftest import configure

HUB = "somebody/small"


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """Return the paths of an experiment, evaluated with our recogniser's measures and another's.

    The other has no decoder and no words, but a log-probability, and layers.
    """
    root, exp = make_experiment(
        tmp_path_factory.mktemp("hub"), measures=("enc", "dec", "pre", "wcs")
    )
    folder = exp / HUB.replace("/", "--")
    folder.mkdir()
    rng = np.random.default_rng(0)
    files = {"inference": {"checkpoint_sha256": "ab" * 32, "checkpoints": ["0123"]}}
    files["inference"]["recogniser"] = HUB
    for split in ("dev", "test"):
        enc = read_json(exp / f"{split}_enc_similarity.json")
        noisy = {name: value + 0.2 * rng.standard_normal() for name, value in enc.items()}
        measured = {"enc": enc, "pre": enc}
        measured["prob"] = {name: 8 * (value - 0.9) for name, value in enc.items()}  # nats
        measured["layers"] = {"cnn": noisy, "encoder.0": enc, "decoder.0": dict.fromkeys(enc, 1.0)}
        files |= {f"{split}_{name}_similarity": values for name, values in measured.items()}
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    evaluate.run(configure(root, exp, f"recogniser={HUB}"))
    assert not list(exp.glob("*results*")) and not list(exp.glob("report*"))
    evaluate.run(configure(root, exp))
    return root, exp, folder


@pytest.fixture
def results(evaluated):
    """Return the results of the other recogniser."""
    return read_json(evaluated[2] / "results.json", dict)


def test_its_results_lie_in_a_folder_of_their_own(evaluated):
    _, _, folder = evaluated
    names = ("results.json", "predictions.csv", "calibration.json", "report.html")
    for name in (*names, "figures/scatter.png", "tables/table1.md"):
        assert (folder / name).is_file()


def test_measures_that_it_does_not_have_are_absent_everywhere(evaluated, results):
    _, _, folder = evaluated
    assert set(results["scores"]) == {"prior", "enc", "pre", "prob"}
    assert set(results["calibration"]["measures"]) == {"enc", "pre", "prob"}
    header = (folder / "predictions.csv").read_text().splitlines()[0].split(",")
    assert "prob_prediction" in header
    assert not [name for name in header if name.startswith(("dec_", "wcs_"))]
    lines = (folder / "tables/table1.md").read_text().splitlines()
    ours = [line for line in lines if "this run" in line]
    assert len(ours) >= 4
    assert not [line for line in ours if "decoder" in line or "word correctness" in line]


def test_a_log_probability_is_mapped_as_a_similarity_is(results):
    """It is a straight line of enc here, and so is the logistic of it."""
    for name in ("RMSE", "NCC"):
        one, other = (results["scores"][measure][name]["value"] for measure in ("enc", "prob"))
        assert one == pytest.approx(other, abs=1e-4)


def test_layers_are_in_results_tables_and_figures(evaluated, results):
    _, exp, folder = evaluated
    assert results["layers"]["chosen"] == "encoder.0"
    expected = results["scores"]["enc"]["RMSE"]["value"]
    assert results["layers"]["scores"]["encoder.0"]["test"]["RMSE"] == pytest.approx(expected)
    assert "encoder.0 (chosen)" in (folder / "tables/layers.md").read_text()
    assert (folder / "figures/layers.png").is_file()
    assert "Layers of the recogniser" in (folder / "report.html").read_text()
    assert "layers" not in read_json(exp / "results.json")  # ours were not measured
    assert not (exp / "tables/layers.md").exists()


def test_our_own_recognisers_layers_count_and_two_recognisers_are_compared(
    evaluated, tmp_path, monkeypatch
):
    """Neither needs the signals to be prepared twice."""
    monkeypatch.setattr(evaluate, "all_figures", lambda *_: {})
    root, _, _ = evaluated
    root = shutil.copytree(root, tmp_path / "root")
    exp = root / evaluated[1].relative_to(evaluated[0])
    for path in exp.glob("somebody--small/*_layers_similarity.json"):
        shutil.copy(path, exp)
    evaluate.run(configure(root, exp))
    assert read_json(exp / "results.json")["layers"]["chosen"] == "encoder.0"
    compare = f"compare='{exp}/predictions.csv'"
    evaluate.run(configure(root, exp, f"recogniser={HUB}", compare))
    compared = read_json(exp / "somebody--small/results.json")["comparisons"]
    pairs = {(one["a"], one["b"]) for one in compared}
    assert {("enc", "other enc"), ("pre", "other pre")} <= pairs
    assert not [pair for pair in pairs if "dec" in " ".join(pair)]
