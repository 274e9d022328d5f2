"""The layers of a recogniser: a logistic for each, and a choice on dev alone."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from intelligibility.evaluation.curve import fit_curve
from intelligibility.evaluation.layers import layer_scores, layers_drawing, layers_table
from intelligibility.evaluation.scoring import score
from intelligibility.experiment import Experiment
from intelligibility.runs import RecipeError

N_SIGNALS = 60
NOISE = {"cnn": 0.3, "encoder.0": 0.1, "encoder.1": 0.02, "decoder.1": 0.2}  # encoder.1 is best


@pytest.fixture
def planted(tmp_path):
    """Return an experiment with layers of known worth, and its dev and test signals."""
    rng = np.random.default_rng(0)
    experiment = Experiment(tmp_path, tmp_path)
    signals = {}
    for split in ("dev", "test"):
        similarity = rng.uniform(0.5, 0.9, N_SIGNALS)
        names = [f"{split}{n:03d}" for n in range(N_SIGNALS)]
        correctness = 100 * expit(20 * (similarity - 0.7))
        layers = {
            layer: dict(
                zip(names, similarity + noise * rng.standard_normal(N_SIGNALS), strict=True)
            )
            for layer, noise in NOISE.items()
        }
        layers["decoder.0"] = dict.fromkeys(names, 1.0)
        experiment.layers_file(split).write_text(json.dumps(layers))
        frame = pd.DataFrame({"signal": names, "correctness": correctness})
        signals[split] = frame.sample(frac=1, random_state=1).reset_index(drop=True)
    return experiment, signals["dev"], signals["test"]


def change(experiment, split, edit):
    """Change a file of layers."""
    path = experiment.layers_file(split)
    layers = json.loads(path.read_text())
    edit(layers)
    path.write_text(json.dumps(layers))


def test_the_best_layer_on_dev_is_chosen(planted):
    found = layer_scores(*planted)
    assert found["chosen"] == "encoder.1"
    assert list(found["scores"]) == [*NOISE, "decoder.0"]


def test_scores_are_those_of_a_logistic_fitted_on_dev(planted):
    experiment, dev, test = planted
    found = layer_scores(*planted)["scores"]["cnn"]
    layers = {s: json.loads(experiment.layers_file(s).read_text())["cnn"] for s in ("dev", "test")}
    logistic = fit_curve([layers["dev"][name] for name in dev["signal"]], dev["correctness"])
    for split, rows in (("dev", dev), ("test", test)):
        predicted = logistic.predict(np.array([layers[split][name] for name in rows["signal"]]))
        expected = score(predicted, rows["correctness"])
        assert found[split] == pytest.approx({name: expected[name] for name in ("RMSE", "NCC")})


def test_no_test_score_enters_the_choice(planted):
    experiment, dev, test = planted
    before = layer_scores(*planted)

    def spoil(layers):
        layers["encoder.1"] = dict(
            zip(layers["encoder.1"], reversed(layers["encoder.1"].values()), strict=True)
        )
        layers["cnn"] = dict(zip(test["signal"], test["correctness"] / 100, strict=True))

    change(experiment, "test", spoil)
    after = layer_scores(*planted)
    assert after["scores"]["encoder.1"]["test"]["NCC"] < after["scores"]["cnn"]["test"]["NCC"]
    assert after["chosen"] == before["chosen"] == "encoder.1"
    assert all(after["scores"][layer]["dev"] == before["scores"][layer]["dev"] for layer in NOISE)


def test_a_layer_that_says_nothing_has_no_scores(planted):
    found = layer_scores(*planted)
    assert found["scores"]["decoder.0"] is None
    table = layers_table(found)
    assert table.shown.iloc[-1].tolist() == ["decoder.0", "–", "–", "–", "–"]


def test_signals_without_a_response_do_not_count(planted):
    experiment, dev, test = planted
    dev.loc[:9, "correctness"] = np.nan
    fewer = layer_scores(experiment, dev, test)
    assert fewer == layer_scores(experiment, dev[10:], test)


@pytest.mark.parametrize("spoil", ["no file", "every layer is constant"])
def test_without_layers_there_is_nothing(planted, spoil):
    experiment = planted[0]
    if spoil == "no file":
        experiment.layers_file("dev").unlink()
    else:
        for split in ("dev", "test"):
            change(experiment, split, lambda layers: [layers.pop(layer) for layer in NOISE])
    assert layer_scores(*planted) is None


@pytest.mark.parametrize(
    ("split", "edit", "says"),
    [
        ("test", lambda layer: layer.pop("test004"), "lacks test004.*layers=all"),
        ("dev", lambda layer: layer.update(dev000="much"), ".*run infer.py again"),
    ],
)
def test_a_damaged_file_is_named(planted, split, edit, says):
    change(planted[0], split, lambda layers: edit(layers["cnn"]))
    with pytest.raises(RecipeError, match=f"{split}_layers_similarity.json: {says}"):
        layer_scores(*planted)


def test_the_table_and_the_figure_say_what_was_chosen_and_how(planted):
    found = layer_scores(*planted)
    table, drawing = layers_table(found), layers_drawing(found)
    assert "lowest RMSE on dev is encoder.1" in table.caption
    assert "encoder.1, the test scores had no part" in drawing.caption.replace(";", ",")
    assert table.long.loc[table.long["chosen"], "layer"].tolist() == ["encoder.1"]
    assert "encoder.1 (chosen)" in table.shown["layer"].tolist()
    for axes in drawing.figure.axes:
        assert [tick.get_text() for tick in axes.get_xticklabels()] == list(found["scores"])
        drawn = [line for line in axes.lines if line.get_label() == "test"]
        assert sum(len(line.get_xdata()) for line in drawn) == len(NOISE)
