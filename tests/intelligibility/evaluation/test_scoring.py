"""The scores and their intervals, against scipy, plain loops and simulation.

Tolerances: scores 1e-12 of their formulas; resampled scores 1e-9 of scoring each resample written
out.
"""

import numpy as np
import pytest
from scipy.stats import pearsonr

from intelligibility.evaluation.scoring import (
    SCORES,
    bootstrap_averaged_scores,
    bootstrap_scores,
    correlations,
    draw_scenes,
    group_means,
    interval,
    paired_p,
    score,
)
from intelligibility.runs import RecipeError


def made(rng, n=300, n_scenes=30, levels=7):
    """Return similarities, responses with few distinct values, and scenes with an effect."""
    scene = rng.integers(0, n_scenes, n)
    ease = rng.standard_normal(n_scenes)[scene] + rng.standard_normal(n)
    observed = np.round(levels / (1 + np.exp(-1.5 * ease))) / levels * 100
    similarity = 0.75 + 0.1 * np.tanh(0.7 * ease + 0.7 * rng.standard_normal(n))
    return similarity, observed, scene


# The scores


def tau_b(x, y):
    """Count Kendall's tau-b pair by pair."""
    dx, dy = np.sign(np.subtract.outer(x, x)), np.sign(np.subtract.outer(y, y))
    return np.sum(dx * dy) / np.sqrt(np.sum(dx * dx) * np.sum(dy * dy))


def test_scores_are_the_published_formulas():
    similarity, observed, _ = made(np.random.default_rng(3))
    predicted = np.round(100 * similarity)  # ties on both sides
    scores = score(predicted, observed)
    error = predicted - observed
    assert tuple(scores) == tuple(SCORES)
    assert scores["RMSE"] == pytest.approx(np.sqrt(np.mean(error**2)), abs=1e-12)
    assert scores["Std"] == pytest.approx(np.std(error) / np.sqrt(len(error)), abs=1e-12)
    assert scores["NCC"] == pytest.approx(pearsonr(predicted, observed)[0], abs=1e-12)
    assert scores["KT"] == pytest.approx(tau_b(predicted, observed), abs=1e-12)


def test_correlations_of_a_constant_are_absent_not_nan():
    scores = score(np.full(4, 60.0), np.array([0.0, 50, 100, 100]))
    assert scores["NCC"] is None and scores["KT"] is None
    assert scores["RMSE"] == pytest.approx(np.sqrt((60**2 + 10**2 + 2 * 40**2) / 4))


def test_nothing_to_score_is_an_error():
    with pytest.raises(RecipeError, match="0 predictions"):
        score(np.array([]), np.array([]))


# The bootstrap


def test_draws_are_seeded_and_as_many_as_there_are_scenes():
    counts = draw_scenes(40, seed=5, n_resamples=200)
    assert counts.shape == (200, 40) and (counts.sum(axis=1) == 40).all()
    np.testing.assert_array_equal(counts, draw_scenes(40, seed=5, n_resamples=200))
    assert (counts != draw_scenes(40, seed=6, n_resamples=200)).any()
    assert counts.mean(axis=0) == pytest.approx(1, abs=0.4)  # 5 standard errors of a Poisson mean


@pytest.mark.parametrize("digits", [0, 9], ids=["tied predictions", "distinct predictions"])
def test_resampled_scores_are_those_of_the_resamples_written_out(digits):
    similarity, observed, scene = made(np.random.default_rng(7))
    predicted = np.round(100 * similarity, digits)
    counts = draw_scenes(30, seed=1, n_resamples=25)
    resampled = bootstrap_scores(predicted, observed, scene, counts)
    for row, times in enumerate(counts):
        drawn = np.repeat(np.arange(len(scene)), times[scene])
        expected = score(predicted[drawn], observed[drawn])
        for name in SCORES:
            assert resampled[name][row] == pytest.approx(expected[name], abs=1e-9), name


def test_resamples_of_a_constant_have_no_correlation():
    _, observed, scene = made(np.random.default_rng(8))
    resampled = bootstrap_scores(np.full(300, 60.0), observed, scene, draw_scenes(30, 1, 20))
    assert np.isnan(resampled["NCC"]).all() and np.isnan(resampled["KT"]).all()
    assert np.isfinite(resampled["RMSE"]).all()


def test_group_means_are_those_of_the_resamples_written_out():
    similarity, observed, scene = made(np.random.default_rng(9))
    group = np.random.default_rng(9).integers(0, 5, 300)
    counts = draw_scenes(30, seed=2, n_resamples=10)
    means = group_means(observed, group, scene, counts)
    scores = bootstrap_averaged_scores(100 * similarity, observed, group, scene, counts)
    for row, times in enumerate(counts):
        drawn = np.repeat(np.arange(300), times[scene])
        pairs = [
            [values[drawn][group[drawn] == one].mean() for one in range(5)]
            for values in (100 * similarity, observed)
        ]
        np.testing.assert_allclose(means[row], pairs[1], atol=1e-9)
        expected = score(*map(np.array, pairs))
        for name in SCORES:
            assert scores[name][row] == pytest.approx(expected[name], abs=1e-9), name


def test_correlations_are_scipys_along_each_row():
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((2, 5, 9))
    x[0, 2], y[1, :7], x[2] = np.nan, np.nan, 4.0
    r = correlations(x, y, at_least=3)
    for row in (0, 3, 4):
        there = np.isfinite(x[row] + y[row])
        assert r[row] == pytest.approx(pearsonr(x[row, there], y[row, there])[0], abs=1e-9)
    assert np.isnan(r[1]) and np.isnan(r[2])  # two pairs; no spread


@pytest.mark.parametrize(
    ("values", "group", "scene"),
    [
        ([10, 20, 60], [0, 0, 1], [0, 0, 1]),  # the first resample misses the second group
        ([10, 90, 20, 90, 60], [0, -1, 0, -1, 1], [0, 0, 0, 1, 1]),  # signals of no group
    ],
)
def test_groups_that_a_resample_misses_and_signals_of_no_group(values, group, scene):
    means = group_means(*map(np.array, (values, group, scene)), np.array([[2, 0], [1, 1]]))
    np.testing.assert_array_equal(means, [[15, np.nan], [15, 60]])


def test_the_interval_is_centred_on_the_estimate():
    resamples = np.random.default_rng(0).normal(3.0, 1.0, 200_000)  # biased by 1
    low, high = interval(resamples, estimate=2.0)
    assert (low, high) == (pytest.approx(2 - 1.96, abs=0.02), pytest.approx(2 + 1.96, abs=0.02))
    assert interval(resamples, 2.0, limits=(0.5, 3.0)) == [0.5, 3.0]


def test_no_interval_where_a_score_is_often_undefined():
    resamples = np.append(np.full(6, np.nan), np.linspace(0, 1, 94))
    assert interval(resamples, 0.5) is None
    assert interval(resamples[3:], 0.5) is not None
    assert interval(resamples, None) is None
    assert interval(np.array([]), 0.5) is None  # a single scene


def test_intervals_cover_the_truth_where_scenes_differ():
    """The signals of a scene err alike; 95 % must mean 95 % all the same."""
    rng = np.random.default_rng(11)
    covered, naive = [], []
    for _ in range(200):
        scene = np.repeat(np.arange(40), 8)
        error = 10 * rng.standard_normal(40)[scene] + 10 * rng.standard_normal(320)
        for scenes, hits in ((scene, covered), (np.arange(320), naive)):
            counts = draw_scenes(scenes.max() + 1, seed=1, n_resamples=200)
            bias = group_means(error, np.zeros(320, int), scenes, counts)[:, 0]
            low, high = interval(bias, error.mean())
            hits.append(low <= 0 <= high)
    assert 0.90 <= np.mean(covered) <= 0.98
    assert np.mean(naive) < 0.85  # as if signals were independent: too narrow


def test_p_is_one_for_equals_and_small_for_a_clear_difference():
    rng = np.random.default_rng(12)
    assert paired_p(np.zeros(1000), 0.0) == 1.0
    assert paired_p(rng.normal(5, 1, 999), 5.0) == pytest.approx(2 / 1000)
    assert paired_p(rng.normal(1, 1, 9999), 1.0) == pytest.approx(2 * 0.1587, abs=0.03)
