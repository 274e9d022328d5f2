"""The layers of a recogniser: a logistic for each, and a choice on dev alone."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from intelligibility.evaluation.curve import fit_curve
from intelligibility.evaluation.layers import (
    choose_layer,
    layer_scores,
    layers_drawing,
    layers_table,
)
from intelligibility.evaluation.mapping import FittedMapping, fit_mapping
from intelligibility.evaluation.scoring import score

N_SIGNALS = 60
NOISE = {"cnn": 0.3, "encoder.0": 0.1, "encoder.1": 0.02, "decoder.1": 0.2}  # encoder.1 is best


@pytest.fixture
def planted():
    """Return dev and test signals with layers of known worth."""
    rng = np.random.default_rng(0)
    return [signals_of(rng, split) for split in ("dev", "test")]


def signals_of(rng, split):
    similarity = rng.uniform(0.5, 0.9, N_SIGNALS)
    layers = {
        f"{layer}_similarity": similarity + noise * rng.standard_normal(N_SIGNALS)
        for layer, noise in NOISE.items()
    }
    layers["decoder.0_similarity"] = 1 - 1e-7 * rng.random(N_SIGNALS)  # rounding
    layers["enc_similarity"] = similarity  # a measure, and no layer
    known = {"signal": [f"{split}{n:03d}" for n in range(N_SIGNALS)], "system": "E1"}
    return pd.DataFrame(known | {"correctness": 100 * expit(20 * (similarity - 0.7))} | layers)


def scores_of(planted):
    return layer_scores(*planted, choose_layer(planted[0]))


def test_the_best_layer_on_dev_is_chosen(planted):
    found = scores_of(planted)
    assert found["chosen"] == "encoder.1"
    assert list(found["scores"]) == [*NOISE, "decoder.0"]


def test_scores_are_those_of_a_logistic_fitted_on_dev(planted):
    dev, test = planted
    found = scores_of(planted)["scores"]["cnn"]
    logistic = fit_curve(dev["cnn_similarity"], dev["correctness"])
    for split, rows in (("dev", dev), ("test", test)):
        expected = score(logistic.predict(rows["cnn_similarity"]), rows["correctness"])
        assert found[split] == pytest.approx({name: expected[name] for name in ("RMSE", "NCC")})


def test_no_test_score_enters_the_choice(planted):
    dev, test = planted
    before = scores_of(planted)
    test["encoder.1_similarity"] = test["encoder.1_similarity"].to_numpy()[::-1]
    test["cnn_similarity"] = test["correctness"] / 100
    after = scores_of(planted)
    assert after["scores"]["encoder.1"]["test"]["NCC"] < after["scores"]["cnn"]["test"]["NCC"]
    assert after["chosen"] == before["chosen"] == "encoder.1"
    assert all(after["scores"][layer]["dev"] == before["scores"][layer]["dev"] for layer in NOISE)


def test_a_layer_that_says_nothing_has_no_scores(planted):
    found = scores_of(planted)
    assert found["scores"]["decoder.0"] is None
    table = layers_table(found)
    assert table.shown.iloc[-1].tolist() == ["decoder.0", "–", "–", "–", "–"]


def test_signals_without_a_response_do_not_count(planted):
    dev, test = planted
    dev.loc[:9, "correctness"] = np.nan
    assert scores_of(planted) == scores_of([dev[10:], test])


def test_without_layers_that_say_anything_none_is_chosen(planted):
    assert choose_layer(planted[0][["signal", "correctness", "decoder.0_similarity"]]) is None


def test_the_chosen_layer_is_a_measure_of_the_mapping(planted, tmp_path):
    """It is stored with its name, and read from other signals by it."""
    dev, test = planted
    fit_mapping(dev, []).write(tmp_path / "calibration.json")
    mapping = FittedMapping.read(tmp_path / "calibration.json")
    assert mapping.layer == mapping.fits["layer"].layer == "encoder.1"
    assert mapping.fits["enc"].layer is None
    mapping.add_layer(test)
    assert test["layer_similarity"].tolist() == test["encoder.1_similarity"].tolist()
    expected = scores_of(planted)["scores"]["encoder.1"]["test"]["RMSE"]
    predicted = mapping.predict("layer", test["layer_similarity"])
    assert score(predicted, test["correctness"])["RMSE"] == pytest.approx(expected)
    without = test[["signal", "enc_similarity"]].copy()
    mapping.add_layer(without)
    assert "layer_similarity" not in without


def test_the_table_and_the_figure_say_what_was_chosen_and_how(planted):
    found = scores_of(planted)
    table, drawing = layers_table(found), layers_drawing(found)
    assert "lowest RMSE on dev is encoder.1" in table.caption
    assert "encoder.1, the test scores had no part" in drawing.caption.replace(";", ",")
    assert table.long.loc[table.long["chosen"], "layer"].tolist() == ["encoder.1"]
    assert "encoder.1 (chosen)" in table.shown["layer"].tolist()
    for axes in drawing.figure.axes:
        assert [tick.get_text() for tick in axes.get_xticklabels()] == list(found["scores"])
        drawn = [line for line in axes.lines if line.get_label() == "test"]
        assert sum(len(line.get_xdata()) for line in drawn) == len(NOISE)
