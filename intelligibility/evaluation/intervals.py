"""Prediction intervals of words correct for one sentence, and for the mean of twenty.

Split conformal prediction (V. Vovk, A. Gammerman & G. Shafer 2005, Algorithmic Learning in a Random
World): the residuals of the dev signals, observed less predicted, tell how far the answers to new
signals lie from their predictions. Residuals differ along the scale (a listener gets few words or
all of them more often than half), so each tenth of the predictions has its own. No distribution is
assumed, but dev and test must be drawn alike.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from intelligibility.evaluation.scoring import group_means, interval
from intelligibility.evaluation.tables import NAMES, Table, with_ends
from intelligibility.pages import number

PROBABILITY = 0.8  # of the answers are expected within the interval: four of five sentences
MAX_BINS = 10
MIN_PER_BIN = 30  # dev signals: the third lowest and the third highest residual are its ends
SENTENCES = 20  # in a mean, all through one hearing aid
MIN_SYSTEMS = 3  # with that many sentences
DRAWS = 200  # sets of sentences per system
SEED = 1  # of these draws
FAR = 0.1  # of the answers: a coverage so far below the promise is said


@dataclass(frozen=True)
class PredictionInterval:
    """The interval around a prediction, percent words correct."""

    at: tuple[float, ...]  # predictions, ascending: the median of each bin
    low: tuple[float, ...]  # what to add to each of these for the lower end of its interval
    high: tuple[float, ...]  # the same for the upper end; both are interpolated linearly

    @classmethod
    def of_residuals(cls, predicted: np.ndarray, observed: np.ndarray) -> "PredictionInterval":
        """Take the intervals of bins of equal size from dev signals, (n_signals,), in percent."""
        n_bins = max(1, min(MAX_BINS, len(predicted) // MIN_PER_BIN))
        edges = np.unique(np.quantile(predicted, np.linspace(0, 1, n_bins + 1)[1:-1]))
        which = np.searchsorted(edges, predicted, side="right")
        bins = [np.flatnonzero(which == k) for k in sorted(set(which.tolist()))]
        ends = [conformal_ends(observed[one] - predicted[one]) for one in bins]
        low, high = zip(*ends, strict=True)
        return cls(tuple(float(np.median(predicted[one])) for one in bins), low, high)

    @classmethod
    def of_all(cls, residuals: np.ndarray) -> "PredictionInterval":
        """Take one interval for all predictions."""
        low, high = conformal_ends(residuals)
        return cls((50.0,), (low,), (high,))

    def around(self, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the lower and the upper end for predictions of any shape, 0..100."""
        predicted = np.asarray(predicted, float)
        ends = (predicted + np.interp(predicted, self.at, one) for one in (self.low, self.high))
        low, high = (np.clip(end, 0, 100) for end in ends)
        return low, high

    def as_json(self) -> dict[str, Any]:
        """Return what `from_json` reads."""
        return {name: list(values) for name, values in vars(self).items()}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "PredictionInterval":
        """Read what `as_json` gave; ValueError for anything else."""
        try:
            at, low, high = (tuple(float(x) for x in content[key]) for key in ("at", "low", "high"))
        except (KeyError, TypeError):
            raise ValueError(
                f"prediction interval {content!r:.80}, expected at, low and high"
            ) from None
        whole = 0 < len(at) == len(low) == len(high) and sorted(at) == list(at)
        if not whole or not np.isfinite([*at, *low, *high]).all():
            raise ValueError(
                f"prediction interval {content!r:.80}, expected a low and a high at each place"
            )
        return cls(at, low, high)


def conformal_ends(residuals: np.ndarray) -> tuple[float, float]:
    """Return the ends between which a new residual lies in `PROBABILITY` of all cases, or more.

    With too few residuals for that, the ends are those of the scale, -100 and 100.
    """
    ordered = np.sort(residuals)
    n, tail = len(ordered), (1 - PROBABILITY) / 2
    rank = math.floor(tail * (n + 1) + 1e-9)  # from either end, counted from 1
    if rank < 1:
        return -100.0, 100.0
    return float(ordered[rank - 1]), float(ordered[n - rank])


def mean_residuals(
    predicted: np.ndarray, observed: np.ndarray, system: np.ndarray
) -> np.ndarray | None:
    """Return residuals of means of twenty signals, drawn within one hearing aid (`system`) each.

    What a hearing aid does to all of its sentences does not average out, so means of signals drawn
    from all systems alike would look too certain. None where too few systems have enough signals.
    """
    residual = observed - predicted
    groups = [np.flatnonzero(system == name) for name in sorted(set(system[pd.notna(system)]))]
    groups = [group for group in groups if len(group) >= SENTENCES]
    if len(groups) < MIN_SYSTEMS:
        return None
    rng = np.random.default_rng(SEED)
    drawn = [rng.choice(group, SENTENCES, replace=False) for group in groups for _ in range(DRAWS)]
    return np.array([residual[one].mean() for one in drawn])


def coverages(
    signals: pd.DataFrame,
    measures: list[str],
    of_means: Mapping[str, PredictionInterval | None],
    counts: np.ndarray,
) -> dict[str, Any]:
    """Return the share of the test answers within the intervals, which should be `PROBABILITY`.

    Parameters
    ----------
    signals, measures
        Labelled test signals with `scene_number`, system, and per measure predictions, low, high.
    of_means : mapping of str to PredictionInterval or None
        Per measure, the interval of means of twenty.
    counts : (n_resamples, n_scenes) int array
        From `draw_scenes`.

    Returns
    -------
    dict
        `level`, the share that is expected; `sentences`, how many a mean is of; and in `measures`,
        per measure that has intervals: `one`, with `coverage` (its value and 95 % interval) and
        `width` in percent words correct; `means` with coverage, width and the number of sets, or
        None.
    """
    covered = {}
    for measure in measures:
        if f"{measure}_low" not in signals:
            continue
        columns = (f"{measure}_prediction", "correctness", "system", f"{measure}_low")
        predicted, observed, system, low = (signals[name].to_numpy() for name in columns)
        high, scene = signals[f"{measure}_high"].to_numpy(), signals["scene_number"].to_numpy()
        inside = _inside(observed, low, high)
        resampled = group_means(inside, np.zeros(len(inside), int), scene, counts)[:, 0]
        share, residuals = float(inside.mean()), mean_residuals(predicted, observed, system)
        covered[measure] = {
            "one": {
                "coverage": {"value": share, "interval": interval(resampled, share, (0, 1))},
                "width": float(np.mean(high - low)),
            },
            "means": _coverage_of_means(residuals, of_means[measure]),
        }
    return {"level": PROBABILITY, "sentences": SENTENCES, "measures": covered}


def _coverage_of_means(
    residuals: np.ndarray | None, expected: PredictionInterval | None
) -> dict[str, Any] | None:
    if residuals is None or expected is None:
        return None
    low, high = expected.low[0], expected.high[0]
    inside = _inside(residuals, low, high)
    return {"coverage": float(inside.mean()), "width": high - low, "n_sets": len(residuals)}


def _inside(values: np.ndarray, low: np.ndarray | float, high: np.ndarray | float) -> np.ndarray:
    return (values >= low - 1e-9) & (values <= high + 1e-9)


def intervals_table(results: Mapping[str, Any]) -> Table:
    """Lay out the output of `coverages`: the share of answers inside, and the widths."""
    rows, shown = [], []
    for measure, one in results["measures"].items():
        single, means = one["one"], one["means"] or {"coverage": None, "width": None}
        row = with_ends("coverage", single["coverage"])
        shares = [_percent(share) for share in (*row.values(), means["coverage"])]
        rows.append(
            {"measure": measure, **row, "width": single["width"]}
            | {"coverage_of_means": means["coverage"], "width_of_means": means["width"]}
        )
        shown.append(
            {
                "measure": NAMES[measure],
                "one sentence: within (95 %)": "{} ({} to {})".format(*shares),
                "mean width": number(single["width"], 0),
                f"mean of {results['sentences']}: within": shares[-1],
                "width": number(means["width"], 0),
            }
        )
    caption = (
        "The share of test answers within their prediction intervals, which should be "
        f"{_percent(results['level'])} % or more (many answers are 0 or 100 %, and all of these "
        "are inside or all outside), and the width of the intervals in percent words correct. The "
        "intervals come from the residuals on dev (split conformal), per tenth of the predictions. "
        "Means are of sentences through one hearing aid, heard by any listener. A dash: too few "
        "signals per hearing aid on dev or test."
    )
    caption += "".join(_far_below(results, kind) for kind in ("one", "means"))
    title = "Prediction interval for one sentence"
    return Table(title, caption, pd.DataFrame(rows), pd.DataFrame(shown))


def _far_below(results: Mapping[str, Any], kind: str) -> str:
    """Return a sentence on the intervals that hold far fewer answers than promised, if any do."""
    few = []
    for measure, by_kind in results["measures"].items():
        found: dict[str, Any] = by_kind[kind] or {"coverage": None}
        share = found["coverage"]["value"] if kind == "one" else found["coverage"]
        if share is not None and share <= results["level"] - FAR + 1e-9:
            few.append(f"{NAMES[measure]} {_percent(share)} %")
    if not few:
        return ""
    what = "one sentence" if kind == "one" else f"the mean of {results['sentences']}"
    return (
        f" The intervals of {what} hold far fewer answers than promised ({', '.join(few)}): the "
        "test's listeners, hearing aids or scenes differ from those of dev, or dev has too few of "
        "them. Do not rely on these intervals."
    )


def _percent(share: float | None) -> str:
    return number(None if share is None else 100 * share, 0)
