"""Does a measure know anything of the listener, or of the hearing aid? Correlations within groups.

Signals are averaged per listener and system. Within a listener, predicted and observed means are
correlated over systems, and the correlations averaged over listeners; within a system, the same
with the two exchanged. One score over all signals hides the difference: a measure that ignores who
listens can do well within listeners and fails within systems (Saddler & McDermott, Clarity workshop
2025).

The observed means are uncertain themselves, so no correlation of 1 can be expected. Their
repeatability is the ceiling: means over one random half of the scenes correlated with means over
the other half, averaged over many halvings, and corrected to all scenes (Spearman 1910; Brown
1910). It is the share of the observed variance that can be explained; the correlation squared,
divided by it, is the share of that which the measure explains.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context

from intelligibility.evaluation.drawing import BLUE, GREY, STYLE, Drawing, legend_below, panels_of
from intelligibility.evaluation.scoring import correlations, group_means, interval
from intelligibility.evaluation.tables import INTERVAL, NAMES, OURS, Table, between, with_ends
from intelligibility.pages import number

WITHIN = {"listener": "system", "system": "listener"}  # the means within the first vary over these
MIN_PER_MEAN = 4  # signals: a mean of each half then has about two
MIN_MEANS = 3  # in a correlation
MIN_CORRELATIONS = 3  # in an average of them
N_HALVINGS = 100  # of the scenes
N_HALVINGS_RESAMPLED = 4  # in each resample: they are averaged over many resamples anyway
SHOWN = {"correlation": 3, "explained": 2}  # in the table, and their digits


def within_scores(
    signals: pd.DataFrame, measures: list[str], counts: np.ndarray, seed: int
) -> dict[str, dict[str, Any]]:
    """Correlate predicted and observed means within listeners and within systems.

    Parameters
    ----------
    signals, measures
        Labelled test signals with listener, system, `scene_number` and predictions by the measures.
    counts : (n_resamples, n_scenes) int array
        From `draw_scenes`.
    seed : int
        Of the halvings.

    Returns
    -------
    dict
        Per "listener" and "system": `reason` why there is nothing, or None; `n_groups`, how many
        correlations were averaged; `n_means`, in all; `ceiling`, and per measure in `measures`
        `correlation` and `explained` (share of the explainable variance), each with its value and
        its 95 % interval.
    """
    rows = signals.dropna(subset=["listener", "system"])
    found: dict[str, dict[str, Any]] = {}
    for by, over in WITHIN.items():
        grid = Grid.of(rows[by], rows[over])
        if grid.n_groups < MIN_CORRELATIONS:
            reason = (
                f"{grid.n_groups} {by}s have {MIN_MEANS} {over}s with {MIN_PER_MEAN} signals each "
                f"(of {grid.shape[0]} {by}s, {grid.shape[1]} {over}s and {len(rows)} signals); it "
                f"takes {MIN_CORRELATIONS}"
            )
            found[by] = {"reason": reason, "ceiling": None, "measures": {}}
        else:
            found[by] = _scored(rows, grid, measures, counts, seed)
    return found


@dataclass(frozen=True)
class Grid:
    """Which mean each signal enters: groups (rows) by what varies within them (columns)."""

    cell: np.ndarray  # (n_signals,) int, counted row by row; -1 for signals that are in no mean
    shape: tuple[int, int]
    n_groups: int  # rows with enough cells
    n_means: int  # their cells with enough signals

    @classmethod
    def of(cls, by: pd.Series, over: pd.Series) -> "Grid":
        """Lay out the means of signals that belong to groups (`by`) and vary within them."""
        group, names = pd.factorize(by, sort=True)
        column, others = pd.factorize(over, sort=True)
        shape = len(names), len(others)
        cell = group * shape[1] + column
        size = np.bincount(cell, minlength=shape[0] * shape[1]).reshape(shape)
        kept = size >= MIN_PER_MEAN
        kept &= (kept.sum(axis=1) >= MIN_MEANS)[:, None]
        cell = np.where(kept.ravel()[cell], cell, -1)
        return cls(cell, shape, int(kept.any(axis=1).sum()), int(kept.sum()))

    def means(self, values: np.ndarray, scene: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Return the means in every resample, (n_resamples, *shape); NaN where there is none."""
        flat = group_means(values, self.cell, scene, counts, self.shape[0] * self.shape[1])
        return flat.reshape(len(counts), *self.shape)


def mean_of(r: np.ndarray) -> np.ndarray:
    """Average correlations, (n_resamples, n_groups), over the groups; NaN where none is defined."""
    there = np.isfinite(r)
    with np.errstate(invalid="ignore"):
        return np.where(there, r, 0.0).sum(axis=1) / there.sum(axis=1)


def spearman_brown(r: np.ndarray) -> np.ndarray:
    """Return the repeatability of the whole from that of its halves, 0..1; below 0 counts as 0."""
    r = np.maximum(r, 0.0)
    return 2 * r / (1 + r)


def _scored(
    rows: pd.DataFrame, grid: Grid, measures: list[str], counts: np.ndarray, seed: int
) -> dict[str, Any]:
    """Return one entry of `within_scores`; the first row of `at_once` is the data themselves."""
    scene, observed = rows["scene_number"].to_numpy(), rows["correctness"].to_numpy()
    once = np.ones((1, counts.shape[1]), dtype=np.int32)
    at_once = np.concatenate([once, counts])
    rng = np.random.default_rng(seed)
    ceiling = _ceilings(grid, observed, scene, once, N_HALVINGS, rng)
    resampled = _ceilings(grid, observed, scene, counts, N_HALVINGS_RESAMPLED, rng)
    ceilings = np.concatenate([ceiling, resampled])
    observed_means = grid.means(observed, scene, at_once)
    scored = {}
    for measure in measures:
        predicted = rows[f"{measure}_prediction"].to_numpy()
        predicted_means = grid.means(predicted, scene, at_once)
        r = mean_of(correlations(predicted_means, observed_means, MIN_MEANS))
        with np.errstate(invalid="ignore", divide="ignore"):
            explained = np.maximum(r, 0) ** 2 / ceilings
        scored[measure] = {
            "correlation": _with_interval(r, (-1, 1)),
            "explained": _with_interval(explained, (0, np.inf)),
        }
    return {
        "reason": None,
        "n_groups": int(np.isfinite(observed_means[0]).any(axis=1).sum()),
        "n_means": grid.n_means,
        "ceiling": _with_interval(ceilings, (0, 1)),
        "measures": scored,
    }


def _with_interval(values: np.ndarray, limits: tuple[float, float]) -> dict[str, Any]:
    """Return the first value with the interval of the others, its resamples."""
    value = float(values[0]) if np.isfinite(values[0]) else None
    return {"value": value, "interval": interval(values[1:], value, limits)}


def _ceilings(
    grid: Grid,
    observed: np.ndarray,
    scene: np.ndarray,
    counts: np.ndarray,
    n_halvings: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return the corrected split-half repeatability in every resample, averaged over the groups."""
    n_scenes = counts.shape[1]
    of_groups = np.zeros((2, len(counts), grid.shape[0]))  # sums and numbers of correlations
    for _ in range(n_halvings):
        rank = np.argsort(np.argsort(rng.random(counts.shape), axis=1), axis=1)
        first = counts * (rank < n_scenes // 2)
        one, other = (grid.means(observed, scene, half) for half in (first, counts - first))
        r = correlations(one, other, MIN_MEANS)
        of_groups += np.where(np.isfinite(r), r, 0.0), np.isfinite(r)
    with np.errstate(invalid="ignore", divide="ignore"):
        repeatability = spearman_brown(of_groups[0] / of_groups[1])
    return mean_of(repeatability)


def within_table(within: Mapping[str, Any]) -> Table:
    """Lay out the output of `within_scores`: correlations below their ceilings."""
    rows, shown = [], []
    measures = next((list(one["measures"]) for one in within.values() if one["measures"]), [])
    for measure in ("ceiling", *measures):
        row: dict[str, Any] = {"measure": measure}
        name = NAMES.get(measure, "ceiling (the answers)")
        values, bounds = {"measure": name, "source": OURS}, {"measure": "", "source": INTERVAL}
        for by, one in within.items():
            scored = {"ceiling": {"correlation": one["ceiling"]}} | one["measures"]
            for score, digits in SHOWN.items():
                part = scored.get(measure, {}).get(score) or {"value": None, "interval": None}
                row |= with_ends(f"within_{by}_{score}", part)
                values[f"within {by}: {score}"] = number(part["value"], digits)
                bounds[f"within {by}: {score}"] = between(part["interval"], 2)
        rows.append(row)
        shown += [values, bounds]
    caption = (
        f"Means of at least {MIN_PER_MEAN} signals per listener and system. Within listener: "
        "correlation of predicted and observed means over systems, averaged over listeners; within "
        "system: the other way round. Ceiling: what the answers themselves allow, the split-half "
        "repeatability of the observed means (Spearman-Brown), and so the share of their variance "
        "that can be explained; explained: the squared correlation as a share of it. It can exceed "
        "1 where listeners and systems were heard in other scenes each, and a measure knows which "
        "of these are hard."
    )
    for by, one in within.items():
        if one["reason"]:
            caption += f" Nothing within {by}: {one['reason']}."
    return Table("Within listener, within system", caption, pd.DataFrame(rows), pd.DataFrame(shown))


@rc_context(STYLE)
def within_drawing(within: Mapping[str, Any]) -> Drawing:
    """Draw the output of `within_scores`: each measure's correlations, below the ceilings."""
    there = {by: one for by, one in within.items() if one["measures"]}
    figure, panels = panels_of(len(there), height=2.6, sharey=True)
    for axes, (by, one) in zip(panels, there.items(), strict=True):
        names = list(one["measures"])
        at = np.arange(len(names))
        if (ceiling := one["ceiling"])["value"] is not None:
            axes.axhline(ceiling["value"], color=GREY, linestyle="--", linewidth=1, label="ceiling")
            if ceiling["interval"]:
                axes.axhspan(*ceiling["interval"], color=GREY, alpha=0.16, linewidth=0)
        for place, name in zip(at, names, strict=True):
            r = one["measures"][name]["correlation"]
            if r["value"] is None:
                continue
            ends = r["interval"] or [r["value"]] * 2
            axes.plot([place, place], ends, color=BLUE, linewidth=1)
            axes.plot(place, r["value"], "o", color=BLUE, ms=4)
        axes.set_xticks(at, [NAMES[name] for name in names], rotation=60, ha="right")
        axes.set_xlim(-0.6, len(names) - 0.4)
        axes.set(title=f"within {by}", ylabel="correlation of means")
        axes.grid(axis="y", color="0.9")
        axes.set_axisbelow(True)
    panels[0].set_ylim(top=1.03)
    legend_below(figure, panels[0], columns=1)
    return Drawing(
        "Within listener and within system",
        "Correlations of predicted and observed means, with 95 % intervals. Dashed, with its "
        "interval: the ceiling that the answers themselves allow.",
        figure,
    )
