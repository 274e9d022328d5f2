"""Prediction intervals: their ends against plain counting, their coverage against the promise.

Tolerance: coverage of 2,000 new signals within 0.04 of 80 %, in every tenth within 0.12.
"""

import json

import numpy as np
import pandas as pd
import pytest

from intelligibility.evaluation.curve import fit_curve
from intelligibility.evaluation.intervals import (
    PROBABILITY,
    PredictionInterval,
    conformal_ends,
    coverages,
    intervals_table,
    mean_residuals,
)
from intelligibility.evaluation.scoring import draw_scenes


def answers(n, seed):
    """Return predictions, and answers of 0, 20 .. 100 % that scatter least at the ends."""
    rng = np.random.default_rng(seed)
    predicted = 100 * rng.beta(0.8, 0.8, n)
    return predicted, 20.0 * rng.binomial(5, predicted / 100)


def test_the_ends_leave_a_tenth_out_on_either_side():
    residuals = np.random.default_rng(0).permutation(np.arange(99.0))
    assert conformal_ends(residuals) == (9.0, 89.0)  # the 10th lowest and highest of 99
    assert conformal_ends(np.arange(9.0)) == (0.0, 8.0)
    assert conformal_ends(np.arange(8.0)) == (-100.0, 100.0)  # too few to say anything


def test_a_range_covers_what_it_promises_everywhere():
    expected = PredictionInterval.of_residuals(*answers(3000, 1))
    predicted, observed = answers(2000, 2)
    low, high = expected.around(predicted)
    inside = (observed >= low - 1e-9) & (observed <= high + 1e-9)
    assert inside.mean() >= PROBABILITY - 0.04
    for tenth in np.array_split(np.argsort(predicted), 10):
        assert inside[tenth].mean() >= PROBABILITY - 0.12
    assert (high - low)[predicted < 5].mean() < (high - low)[abs(predicted - 50) < 10].mean()
    assert low.min() >= 0 and high.max() <= 100


def test_few_signals_have_one_bin_and_no_signal_is_lost():
    expected = PredictionInterval.of_residuals(*answers(40, 3))
    assert len(expected.at) == len(expected.low) == 1
    alike = PredictionInterval.of_residuals(np.full(200, 60.0), answers(200, 3)[1])
    assert alike.around([10.0, 60.0, 90.0])


def test_a_range_survives_its_file():
    expected = PredictionInterval.of_residuals(*answers(200, 4))
    assert PredictionInterval.from_json(json.loads(json.dumps(expected.as_json()))) == expected
    with pytest.raises(ValueError, match="expected at, low and high"):
        PredictionInterval.from_json({"at": []})


def signals(seed, n=600, bias=0.0):
    predicted, observed = answers(n, seed)
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "system": rng.choice(["E001", "E002", "E003", "E004"], n),
            "scene_number": rng.integers(0, 50, n),
            "dec_prediction": np.clip(predicted + bias, 0, 100),
            "correctness": observed,
        }
    )


def test_coverage_is_counted_on_test_and_falls_with_a_bias():
    dev = signals(5)
    columns = dev["dec_prediction"].to_numpy(), dev["correctness"].to_numpy()
    expected = PredictionInterval.of_residuals(*columns)
    of_means = PredictionInterval.of_all(mean_residuals(*columns, dev["system"].to_numpy()))
    assert -15 < of_means.low[0] < 0 < of_means.high[0] < 15
    counts = draw_scenes(50, 1, 100)
    shares, captions = [], []
    for bias in (0.0, 30.0):
        test = signals(6, bias=bias)
        test[["dec_low", "dec_high"]] = np.column_stack(expected.around(test["dec_prediction"]))
        results = coverages(test, ["dec"], {"dec": of_means}, counts)
        captions.append(intervals_table(results).caption)
        one = results["measures"]["dec"]
        inside = test["correctness"].between(test["dec_low"], test["dec_high"])
        assert one["one"]["coverage"]["value"] == pytest.approx(inside.mean())
        low, high = one["one"]["coverage"]["interval"]
        assert low < inside.mean() < high
        shares.append((one["one"]["coverage"]["value"], one["means"]["coverage"]))
    assert shares[0][0] > 0.74 and shares[0][1] > 0.6
    assert shares[1][0] < 0.7 and shares[1][1] < 0.05
    assert "fewer answers than promised" not in captions[0].partition("mean of 20")[0]
    few = [f"far fewer answers than promised (decoder {100 * share:.0f} %)" for share in shares[1]]
    assert all(one in captions[1] for one in few)


def test_means_of_twenty_need_twenty_signals_of_three_systems():
    few = signals(7, n=60)
    columns = [few[name].to_numpy() for name in ("dec_prediction", "correctness", "system")]
    assert mean_residuals(*columns) is None
    one = coverages(few.assign(dec_low=0.0, dec_high=100.0), ["dec"], {"dec": None},
                    draw_scenes(50, 1, 5))["measures"]  # fmt: skip
    assert one["dec"]["means"] is None and one["dec"]["one"]["coverage"]["value"] == 1.0
    assert coverages(few, ["dec"], {"dec": None}, draw_scenes(50, 1, 5))["measures"] == {}


def test_the_real_answers_of_cpc3_are_covered(real_answers):
    dev = real_answers["scene"].isin(sorted(real_answers["scene"].unique())[::3])
    similarity, observed = real_answers[["haspi", "correctness"]].to_numpy().T
    logistic = fit_curve(similarity[dev], observed[dev])
    predicted = logistic.predict(similarity)
    expected = PredictionInterval.of_residuals(predicted[dev], observed[dev])
    low, high = expected.around(predicted[~dev])
    inside = (observed[~dev] >= low - 1e-9) & (observed[~dev] <= high + 1e-9)
    # Many answers are 0 or 100 %, in or out as one.
    assert PROBABILITY - 0.02 <= inside.mean() <= 0.9
