"""Within groups: plain loops, planted ceilings, and the published numbers of CPC3's real answers.

Tolerances: correlations 1e-9 of scipy's; published ceilings 0.01 (within listener) and 0.03 (within
system), HASPI's correlations 0.01 and 0.02 (published as about 0.90 and 0.26).
"""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import pearsonr

from intelligibility.evaluation.curve import fit_curve
from intelligibility.evaluation.scoring import draw_scenes
from intelligibility.evaluation.within import spearman_brown, within_scores


def planted(per_cell, n_scenes=200, noise=30.0, seed=0, n_listeners=8, n_systems=6):
    """Return signals whose means per listener and system are known, and these."""
    rng = np.random.default_rng(seed)
    truth = 50 + 12 * rng.standard_normal((n_listeners, 1)) + 15 * rng.standard_normal(n_systems)
    truth = truth + 5 * rng.standard_normal(truth.shape)
    cell = np.repeat(np.arange(truth.size), per_cell)
    frame = pd.DataFrame(
        {
            "listener": [f"L{i:02d}" for i in cell // n_systems],
            "system": [f"E{i:02d}" for i in cell % n_systems],
            "scene_number": rng.integers(0, n_scenes, len(cell)),
            "correctness": truth.ravel()[cell] + noise * rng.standard_normal(len(cell)),
            "true_prediction": truth.ravel()[cell],
            "flat_prediction": 50.0,
        }
    )
    return frame, truth


def test_a_correlation_is_the_mean_of_each_groups():
    signals, _ = planted(12)
    signals["true_prediction"] += 10 * np.random.default_rng(2).standard_normal(len(signals))
    counts = draw_scenes(200, seed=1, n_resamples=50)
    scored = within_scores(signals, ["true"], counts, seed=1)
    for by, over in (("listener", "system"), ("system", "listener")):
        means = signals.groupby([by, over])[["true_prediction", "correctness"]].mean()
        expected = np.mean([pearsonr(*g.to_numpy().T)[0] for _, g in means.groupby(by)])
        one = scored[by]["measures"]["true"]["correlation"]
        assert one["value"] == pytest.approx(expected, abs=1e-9)
        assert one["interval"][0] < one["value"] < one["interval"][1]
        assert scored[by]["n_means"] == 48


def test_the_ceiling_is_the_share_of_variance_that_is_not_noise():
    """Means of n signals with noise sd: repeatability is var / (var + sd^2 / n), on average."""
    found, expected = [], []
    for seed in range(6):
        signals, truth = planted(40, seed=seed, n_listeners=12)
        scored = within_scores(signals, ["true"], draw_scenes(200, 1, 2), seed=1)
        found.append(scored["listener"]["ceiling"]["value"])
        variance = truth.var(axis=1, ddof=1)
        expected.append(np.mean(variance / (variance + 30**2 / 40)))
    assert np.mean(found) == pytest.approx(np.mean(expected), abs=0.02)


def test_perfect_predictions_explain_all_that_can_be():
    signals, _ = planted(60, n_listeners=12)
    scored = within_scores(signals, ["true", "flat"], draw_scenes(200, 1, 100), seed=1)
    for by in ("listener", "system"):
        measures = scored[by]["measures"]
        assert measures["true"]["explained"]["value"] == pytest.approx(1, abs=0.06)
        low, high = measures["true"]["explained"]["interval"]
        assert low < 1 < high
        nothing = {"value": None, "interval": None}
        assert measures["flat"] == {"correlation": nothing, "explained": nothing}


@pytest.mark.parametrize(("per_cell", "systems"), [(3, 6), (12, 2)])
def test_too_few_signals_or_systems_is_a_reason(per_cell, systems):
    signals, _ = planted(per_cell, n_systems=systems)
    scored = within_scores(signals, ["true"], draw_scenes(200, 1, 5), seed=1)
    assert scored["listener"]["ceiling"] is None and scored["listener"]["measures"] == {}
    assert "0 listeners have 3 systems with 4 signals each" in scored["listener"]["reason"]
    assert json.loads(json.dumps(scored)) == scored


def test_signals_of_nobody_known_are_left_out():
    signals, _ = planted(12)
    more = signals.head(5).assign(listener=None, correctness=0.0)
    counts = draw_scenes(200, 1, 5)
    both = within_scores(pd.concat([signals, more]), ["true"], counts, seed=1)
    assert both == within_scores(signals, ["true"], counts, seed=1)


def test_halves_worse_than_chance_count_as_no_repeatability():
    np.testing.assert_allclose(spearman_brown(np.array([-0.9, 0.0, 0.5, 1.0])), [0, 0, 2 / 3, 1])


def test_the_published_ceilings_of_cpc3(real_answers):
    numbers, scenes = pd.factorize(real_answers["scene"], sort=True)
    signals = real_answers.assign(scene_number=numbers)
    logistic = fit_curve(signals["haspi"], signals["correctness"])
    signals["haspi_prediction"] = logistic.predict(signals["haspi"])
    scored = within_scores(signals, ["haspi"], draw_scenes(len(scenes), 1, 20), seed=1)
    assert scored["listener"]["ceiling"]["value"] == pytest.approx(0.968, abs=0.01)
    assert scored["system"]["ceiling"]["value"] == pytest.approx(0.735, abs=0.03)
    r = {by: one["measures"]["haspi"]["correlation"]["value"] for by, one in scored.items()}
    assert r["listener"] == pytest.approx(0.90, abs=0.01)
    assert r["system"] == pytest.approx(0.26, abs=0.02)
