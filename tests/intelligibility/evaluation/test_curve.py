"""The fitted logistic, against scipy and grids.

Tolerances: 1e-6 of planted parameters, 1e-5 (relative) of scipy's.
"""

import numpy as np
import pytest
from scipy.optimize import OptimizeWarning, curve_fit

from intelligibility.evaluation.curve import Curve, fit_curve
from intelligibility.runs import RecipeError


def squared_error(logistic, similarity, correctness):
    return np.sum((logistic.predict(similarity) - correctness) ** 2)


def grid_minimum(similarity, correctness):
    """Return the least squared error over a dense grid that needs no gradient."""
    x = 100 * similarity
    spread = x.std()
    midpoints = np.linspace(x.min() - 6 * spread, x.max() + 6 * spread, 200)
    slopes = np.geomspace(0.05, 60, 120) / spread
    return min(
        squared_error(Curve(x0, k), similarity, correctness)
        for x0 in midpoints
        for k in np.concatenate([-slopes, slopes])
    )


def published_fit(similarity, correctness):
    """Return x0 and k by scipy's fit from the published start."""
    return curve_fit(
        lambda x, x0, k: 100 / (1 + np.exp(-k * (x - x0))), 100 * similarity, correctness, [50, 1]
    )[0]


def test_predicts_half_at_the_midpoint():
    logistic = Curve(x0=60.0, k=0.2)
    predicted = logistic.predict(np.array([0.6, 0.6 + np.log(3) / 20, -50.0, 50.0]))
    np.testing.assert_allclose(predicted, [50, 75, 0, 100], atol=1e-12)


@pytest.mark.parametrize("planted", [Curve(50, 0.1), Curve(97.5, 4.0), Curve(30, -0.3)])
def test_recovers_planted_parameters(planted):
    similarity = planted.x0 / 100 + np.linspace(-3, 2, 40) / (100 * abs(planted.k))
    fit = fit_curve(similarity, planted.predict(similarity))
    assert fit.x0 == pytest.approx(planted.x0, abs=1e-6)
    assert fit.k == pytest.approx(planted.k, abs=1e-6)


def test_agrees_with_scipy_where_the_published_start_converges():
    rng = np.random.default_rng(1)
    similarity = rng.uniform(0.2, 0.8, 200)
    correctness = np.clip(Curve(50, 0.12).predict(similarity) + 15 * rng.normal(size=200), 0, 100)
    fit = fit_curve(similarity, correctness)
    published = published_fit(similarity, correctness)
    np.testing.assert_allclose([fit.x0, fit.k], published, rtol=1e-5)


def test_finds_the_optimum_where_the_published_start_stalls():
    rng = np.random.default_rng(2)
    similarity = rng.uniform(0.985, 0.995, 150)
    correctness = np.round(5 / (1 + np.exp(-8 * (100 * similarity - 99)))) * 20
    with np.errstate(over="ignore"), pytest.warns(OptimizeWarning):
        stalled = published_fit(similarity, correctness)
    ours = squared_error(fit_curve(similarity, correctness), similarity, correctness)
    assert ours < 0.5 * squared_error(Curve(*stalled), similarity, correctness)
    assert ours <= grid_minimum(similarity, correctness) * (1 + 1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_no_grid_point_fits_better(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(3, 60))
    similarity = rng.uniform(0, 1) + rng.uniform(0.001, 0.2) * rng.random(n)
    correctness = rng.choice([0.0, 20, 40, 60, 80, 100], n)
    correctness[:2] = 0, 100
    ours = squared_error(fit_curve(similarity, correctness), similarity, correctness)
    assert ours <= grid_minimum(similarity, correctness) * (1 + 1e-9)


def test_separated_responses_give_a_finite_step():
    similarity = np.array([0.9, 0.91, 0.92, 0.95, 0.96])
    fit = fit_curve(similarity, np.array([0.0, 0, 0, 100, 100]))
    assert np.isfinite([fit.x0, fit.k]).all() and 92 < fit.x0 < 95
    np.testing.assert_allclose(fit.predict(similarity), [0, 0, 0, 100, 100], atol=0.1)


@pytest.mark.parametrize(
    ("similarity", "correctness", "says"),
    [
        ([], [], "0 dev signals.*at least 3.*dev_percent"),
        ([0.5, 0.6], [20, 40], "2 dev signals.*at least 3"),
        ([0.9, 0.9, 0.9], [20, 40, 60], "all 3 similarities are 90 %"),
        ([0.7, 0.8, 0.9], [40, 40, 40], "all 3 responses are 40 %"),
        ([0.7, np.nan, 0.9], [40, 50, 60], "not finite"),
        ([0.7, 0.8, 0.9], [40, 50], "3.*similarities for.*2.*responses"),
    ],
)
def test_says_why_nothing_can_be_fitted(similarity, correctness, says):
    with pytest.raises(RecipeError, match=says):
        fit_curve(np.array(similarity, float), np.array(correctness, float))
