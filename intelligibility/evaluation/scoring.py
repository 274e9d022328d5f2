"""The scores of predictions, and their intervals.

The scores are those of the first Clarity Prediction Challenge: root mean square error (RMSE),
standard error of the error (Std), normalised cross-correlation (NCC, Pearson's) and Kendall's tau-b
(KT). Intervals come from a bootstrap that resamples scenes, because the signals of one scene share
its sentence and its noise and are not independent (cluster bootstrap: Davison & Hinkley 1997,
Bootstrap Methods and their Application, 3.8).

Predictions and observations are percent words correct everywhere. The scores are those of Tu, Ma &
Barker (2022), Section 4.3, which numbers no equation; docs/method.md writes them out.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import kendalltau

from intelligibility.runs import RecipeError
from msbg.compiling import compiled

SCORES = {"RMSE": (0, np.inf), "Std": (0, np.inf), "NCC": (-1, 1), "KT": (-1, 1)}  # and range
N_RESAMPLES = 1000
CONFIDENCE = 0.95
CONSTANT = 1e-9  # percent squared: a variance below it is rounding


def score(predicted: ArrayLike, observed: ArrayLike) -> dict[str, float | None]:
    """Return the published scores of predictions (Section 4.3).

    Parameters
    ----------
    predicted, observed : (n,) array_like
        Percent words correct.

    Returns
    -------
    dict
        RMSE and Std in percent; NCC and KT, which are None where nothing varies or n is 1: a
        correlation is not defined then.

    Examples
    --------
    >>> scores = score(predicted=[10, 40, 65, 90], observed=[0, 40, 80, 100])
    >>> {name: round(value, 3) for name, value in scores.items()}
    {'RMSE': 10.308, 'Std': 4.801, 'NCC': 0.993, 'KT': 1.0}
    """
    predicted, observed = np.asarray(predicted, float), np.asarray(observed, float)
    if predicted.size == 0 or predicted.shape != observed.shape:
        raise RecipeError(f"scores: {predicted.size} predictions for {observed.size} responses")
    error = predicted - observed
    varies = predicted.var() > CONSTANT and observed.var() > CONSTANT
    return {
        "RMSE": float(np.sqrt(np.mean(error**2))),
        "Std": float(np.std(error) / np.sqrt(error.size)),
        "NCC": float(np.corrcoef(predicted, observed)[0, 1]) if varies else None,
        "KT": float(kendalltau(predicted, observed).statistic) if varies else None,
    }


# The bootstrap. `scene` numbers the scene of each signal, `counts` says how often each resample
# drew each scene: (n_resamples, n_scenes). The same counts for every score make all comparisons
# paired.


def draw_scenes(n_scenes: int, seed: int, n_resamples: int = N_RESAMPLES) -> np.ndarray:
    """Draw scenes with replacement; return (n_resamples, n_scenes) int32, how often each came.

    A single scene says nothing of the spread between scenes: there are no resamples of it, (0, 1).
    """
    rng = np.random.default_rng(seed)
    counts = np.zeros((n_resamples if n_scenes > 1 else 0, n_scenes), dtype=np.int32)
    for resample in counts:
        resample += np.bincount(rng.integers(n_scenes, size=n_scenes), minlength=n_scenes)
    return counts


def bootstrap_scores(
    predicted: np.ndarray, observed: np.ndarray, scene: np.ndarray, counts: np.ndarray
) -> dict[str, np.ndarray]:
    """Return every score in every resample of scenes.

    Parameters
    ----------
    predicted, observed : (n_signals,) array
        Percent words correct.
    scene : (n_signals,) int array
        The column of `counts` that each signal belongs to.
    counts : (n_resamples, n_scenes) int array
        From `draw_scenes`.

    Returns
    -------
    dict
        (n_resamples,) arrays, exact; NaN in resamples where a score is not defined.
    """
    shift = np.mean(observed)  # sums of squares lose no digits near zero
    p, y = np.asarray(predicted, float) - shift, np.asarray(observed, float) - shift
    sums = scene_sums(np.column_stack([np.ones_like(p), p, y, p * p, y * y, p * y]), scene, counts)
    with np.errstate(invalid="ignore", divide="ignore"):
        n = sums[:, 0]
        mean_p, mean_y, mean_pp, mean_yy, mean_py = (sums[:, 1:] / n[:, None]).T
        mean_square = np.maximum(mean_pp + mean_yy - 2 * mean_py, 0)
        variance_p, variance_y = mean_pp - mean_p**2, mean_yy - mean_y**2
        ncc = (mean_py - mean_p * mean_y) / np.sqrt(variance_p * variance_y)
        std = np.sqrt(np.maximum(mean_square - (mean_p - mean_y) ** 2, 0) / n)
        undefined = (n == 0) | (variance_p < CONSTANT) | (variance_y < CONSTANT)
    return {
        "RMSE": np.sqrt(mean_square),
        "Std": std,
        "NCC": np.where(undefined, np.nan, np.clip(ncc, -1, 1)),
        "KT": np.where(undefined, np.nan, kendall_in_resamples(p, y, scene, counts)),
    }


def scene_sums(values: np.ndarray, scene: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Sum values, (n_signals, n), over the signals of each resample: (n_resamples, n)."""
    n_scenes = counts.shape[1]
    per_scene = [np.bincount(scene, column, minlength=n_scenes) for column in values.T]
    return in_resamples(np.column_stack(per_scene), counts)


def in_resamples(per_scene: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Sum values per scene, (n_scenes, n), over the scenes of each resample: (n_resamples, n)."""
    return np.concatenate([block @ per_scene for block in np.array_split(counts, 20)])


def kendall_in_resamples(
    predicted: np.ndarray, observed: np.ndarray, scene: np.ndarray, counts: np.ndarray
) -> np.ndarray:
    """Return Kendall's tau-b in every resample, (n_resamples,); arguments as `bootstrap_scores`.

    A signal drawn w times stands for w tied signals, so tau-b of a resample is tau-b with integer
    weights. Knight's (1966) algorithm counts it in n log m steps for m distinct observations;
    sorting and ranking are done once, for all resamples.
    """
    if np.ptp(predicted) == 0:
        return np.full(len(counts), np.nan)
    order = np.argsort(predicted, kind="stable")
    x_rank = np.unique(predicted[order], return_inverse=True)[1]
    y_values, y_rank = np.unique(observed[order], return_inverse=True)
    return _weighted_tau_b(x_rank, y_rank, y_values.size, np.asarray(scene)[order], counts)


@compiled()
def _weighted_tau_b(x_rank, y_rank, n_ranks, scene, counts):
    taus = np.empty(counts.shape[0])
    for resample in range(counts.shape[0]):
        weight = counts[resample].astype(np.int64)[scene]
        tree = np.zeros(n_ranks + 1, np.int64)  # Fenwick tree over y: the weight with a lower x
        at_y = np.zeros(n_ranks, np.int64)  # the same, per y
        total = tied_x = surplus = 0  # surplus: concordant less discordant pairs
        start = 0
        while start < x_rank.size:
            end, tied = start, 0
            while end < x_rank.size and x_rank[end] == x_rank[start]:
                if weight[end]:
                    below, equal = _below(tree, y_rank[end]), at_y[y_rank[end]]
                    above = total - below - equal
                    surplus += weight[end] * (below - above)
                    tied += weight[end]
                end += 1
            for signal in range(start, end):
                at_y[y_rank[signal]] += weight[signal]
                _add(tree, y_rank[signal], weight[signal])
            total += tied
            tied_x += tied * tied
            start = end
        tied_y = np.sum(at_y * at_y)
        untied = np.float64(total * total - tied_x) * np.float64(total * total - tied_y)
        taus[resample] = 2 * surplus / np.sqrt(untied) if untied > 0 else np.nan
    return taus


@compiled()
def _below(tree, rank):
    weight = 0
    while rank > 0:
        weight += tree[rank]
        rank -= rank & -rank
    return weight


@compiled()
def _add(tree, rank, weight):
    rank += 1
    while rank < tree.size:
        tree[rank] += weight
        rank += rank & -rank


def interval(
    resamples: np.ndarray, estimate: float | None, limits: tuple[float, float] = (-np.inf, np.inf)
) -> list[float] | None:
    """Return the 95 % interval of an estimate, [low, high].

    The percentiles of the resamples, moved by the bootstrap's bias so that their mean is the
    estimate. Resampling adds its noise to means that hold the same noise already, so that scores of
    group means (Table 3) look worse in resamples than in the data; without the move their intervals
    can miss the estimate itself. Scores of signals have next to no bias.

    Parameters
    ----------
    resamples : (n_resamples,) array
        NaN where undefined. None is returned where more than one in twenty is: the rest would
        look better than it is.
    estimate, limits
        The score of the data, None where undefined, and the range of such scores.
    """
    defined = resamples[np.isfinite(resamples)]
    if estimate is None or defined.size < max(1, CONFIDENCE * resamples.size):
        return None
    tail = 50 * (1 - CONFIDENCE)
    ends = np.percentile(defined, [tail, 100 - tail]) - (defined.mean() - estimate)
    return [float(end) for end in np.clip(ends, *limits)]


def paired_p(resamples: np.ndarray, difference: float) -> float:
    """Return the two-sided p of a difference between scores, from its paired resamples.

    Twice the smaller share of resamples on one side of zero, at least 2 / (n_resamples + 1). The
    resamples, (n_resamples,) with NaN where undefined, are moved to the difference in the data, as
    in `interval`.
    """
    defined = resamples[np.isfinite(resamples)]
    moved = defined - (defined.mean() - difference)
    smaller = min(np.sum(moved <= 0), np.sum(moved >= 0))
    return float(min(1.0, 2 * (smaller + 1) / (moved.size + 1)))


def group_means(
    values: np.ndarray,
    group: np.ndarray,
    scene: np.ndarray,
    counts: np.ndarray,
    n_groups: int | None = None,
) -> np.ndarray:
    """Return each group's mean in every resample, (n_resamples, n_groups); NaN where it is empty.

    `group`, (n_signals,) int, counts from 0, -1 for none; `n_groups` defaults to those that occur;
    `scene` and `counts` are as for `bootstrap_scores`.
    """
    n_scenes, n_groups = counts.shape[1], n_groups or group.max() + 1
    there = group >= 0
    cell = scene[there] * n_groups + group[there]  # per scene and group
    sums = np.bincount(cell, np.asarray(values, float)[there], n_scenes * n_groups)
    sizes = np.bincount(cell, minlength=n_scenes * n_groups).astype(float)
    total, size = (in_resamples(one.reshape(n_scenes, n_groups), counts) for one in (sums, sizes))
    return np.where(size > 0, total / np.maximum(size, 1), np.nan)


def bootstrap_averaged_scores(
    predicted: np.ndarray,
    observed: np.ndarray,
    group: np.ndarray,
    scene: np.ndarray,
    counts: np.ndarray,
) -> dict[str, np.ndarray]:
    """Return the scores of group means in every resample, (n_resamples,) each, NaN if undefined.

    The arguments are those of `bootstrap_scores` and `group_means`.
    """
    p = group_means(predicted, group, scene, counts)
    y = group_means(observed, group, scene, counts)
    error = p - y
    n = np.sum(np.isfinite(error), axis=1)  # a resample can miss a group
    ncc = correlations(p, y)
    once = np.ones((1, p.shape[1]), dtype=np.int32)
    kt = np.full(len(p), np.nan)
    for resample in np.flatnonzero(np.isfinite(ncc)):
        there = np.isfinite(error[resample])
        pair = p[resample, there], y[resample, there]
        kt[resample] = kendall_in_resamples(*pair, np.arange(n[resample]), once)[0]
    return {
        "RMSE": np.sqrt(np.nanmean(error**2, axis=1)),
        "Std": np.nanstd(error, axis=1) / np.sqrt(n),
        "NCC": ncc,
        "KT": kt,
    }


def correlations(x: np.ndarray, y: np.ndarray, at_least: int = 2) -> np.ndarray:
    """Correlate (..., n) arrays along the last axis, over the places where both are finite.

    Returns (...), NaN where there are fewer than `at_least` such places or no spread.
    """
    there = np.isfinite(x) & np.isfinite(y)
    n = there.sum(axis=-1)
    x, y = np.where(there, x, 0.0), np.where(there, y, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        x = np.where(there, x - (x.sum(axis=-1) / n)[..., None], 0.0)
        y = np.where(there, y - (y.sum(axis=-1) / n)[..., None], 0.0)
        squares = (x**2).sum(axis=-1) * (y**2).sum(axis=-1)
        r = (x * y).sum(axis=-1) / np.sqrt(squares)
    return np.where((n >= at_least) & (squares > (n * CONSTANT) ** 2), r, np.nan)
