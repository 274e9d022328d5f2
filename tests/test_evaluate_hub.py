"""The evaluate stage on what recognisers of others measured."""

import json
import shutil

import numpy as np
import pytest

import evaluate
from benchmarks.made.experiment import make_experiment
from intelligibility.runs import read_json
from tests.conftest import configure

HUB = "somebody/small"


def spread(path, values):
    """Write json."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values))


@pytest.fixture
def planted(tmp_path):
    """Return the paths of an experiment with our recogniser's measures and those of another.

    The other has no decoder and no words, but a log-probability, and layers.
    """
    root, exp = make_experiment(tmp_path, measures=("enc", "dec", "pre", "wcs"))
    folder = exp / HUB.replace("/", "--")
    rng = np.random.default_rng(0)
    for split in ("dev", "test"):
        enc = read_json(exp / f"{split}_enc_similarity.json")
        for name in ("enc", "pre"):
            spread(folder / f"{split}_{name}_similarity.json", enc)
        prob = {name: 8 * (value - 0.9) for name, value in enc.items()}  # down to -1.6 nats
        spread(folder / f"{split}_prob_similarity.json", prob)
        noisy = {name: value + 0.2 * rng.standard_normal() for name, value in enc.items()}
        layers = {"cnn": noisy, "encoder.0": enc, "decoder.0": dict.fromkeys(enc, 1.0)}
        spread(folder / f"{split}_layers_similarity.json", layers)
    record = {"checkpoint_sha256": "ab" * 32, "checkpoints": ["0123"], "recogniser": HUB}
    spread(folder / "inference.json", record)
    return root, exp, folder


def run(root, exp, *overrides):
    """Run the stage in this process; return the results."""
    cfg = configure(root, exp, *overrides)
    evaluate.run(cfg)
    named = "" if cfg.recogniser is None else cfg.recogniser.replace("/", "--")
    return read_json(exp / named / "results.json", dict)


def test_its_results_lie_in_a_folder_of_their_own(planted):
    root, exp, folder = planted
    run(root, exp, f"recogniser={HUB}")
    for name in ("results.json", "predictions.csv", "calibration.json", "report.html"):
        assert (folder / name).is_file()
        assert not (exp / name).exists()
    assert (folder / "figures/scatter.png").is_file() and (folder / "tables/table1.md").is_file()


def test_measures_that_it_does_not_have_are_absent_everywhere(planted):
    root, exp, folder = planted
    results = run(root, exp, f"recogniser={HUB}")
    assert set(results["scores"]) == {"prior", "enc", "pre", "prob"}
    assert set(results["calibration"]["measures"]) == {"enc", "pre", "prob"}
    header = (folder / "predictions.csv").read_text().splitlines()[0].split(",")
    assert "prob_prediction" in header
    assert not [name for name in header if name.startswith(("dec_", "wcs_"))]
    lines = (folder / "tables/table1.md").read_text().splitlines()
    ours = [line for line in lines if "this run" in line]
    assert len(ours) >= 4
    assert not [line for line in ours if "decoder" in line or "word correctness" in line]


def test_a_log_probability_is_mapped_as_a_similarity_is(planted):
    """It is a straight line of enc here, and so is the logistic of it."""
    root, exp, _ = planted
    scores = run(root, exp, f"recogniser={HUB}")["scores"]
    for name in ("RMSE", "NCC"):
        values = [scores[measure][name]["value"] for measure in ("enc", "prob")]
        assert values[0] == pytest.approx(values[1], abs=1e-4)


def test_layers_are_in_results_tables_and_figures(planted):
    root, exp, folder = planted
    results = run(root, exp, f"recogniser={HUB}")
    assert results["layers"]["chosen"] == "encoder.0"
    expected = results["scores"]["enc"]["RMSE"]["value"]
    assert results["layers"]["scores"]["encoder.0"]["test"]["RMSE"] == pytest.approx(expected)
    table = (folder / "tables/layers.md").read_text()
    assert "encoder.0 (chosen)" in table
    assert (folder / "figures/layers.png").is_file()
    assert "Layers of the recogniser" in (folder / "report.html").read_text()


def test_without_layers_there_is_no_word_of_them(planted):
    root, exp, _ = planted
    assert "layers" not in run(root, exp)
    assert not (exp / "tables/layers.md").exists()


def test_layers_of_our_own_recogniser_count_as_well(planted):
    root, exp, folder = planted
    for split in ("dev", "test"):
        shutil.copy(folder / f"{split}_layers_similarity.json", exp)
    assert run(root, exp)["layers"]["chosen"] == "encoder.0"


def test_two_recognisers_are_compared_without_preparing_twice(planted):
    root, exp, folder = planted
    run(root, exp)
    results = run(root, exp, f"recogniser={HUB}", f"compare='{exp}/predictions.csv'")
    pairs = {(one["a"], one["b"]) for one in results["comparisons"]}
    assert {("enc", "other enc"), ("pre", "other pre")} <= pairs
    assert not [pair for pair in pairs if "dec" in " ".join(pair)]
