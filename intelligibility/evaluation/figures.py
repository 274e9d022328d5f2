"""The figures: similarity and response, means, residuals and hearing loss, reliability.

One panel per measure. Bars are standard errors of the mean. results.json keeps all numbers that a
figure shows, apart from those of single signals.
"""

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes

from intelligibility.evaluation.curve import CURVE
from intelligibility.evaluation.drawing import (
    BLUE,
    GREY,
    ORANGE,
    STYLE,
    Drawing,
    legend_below,
    note_above,
    panels_of,
    percent_axis,
)
from intelligibility.evaluation.intervals import PROBABILITY
from intelligibility.evaluation.layers import layers_drawing
from intelligibility.evaluation.mapping import FittedMapping
from intelligibility.evaluation.responses import IN_NATS
from intelligibility.evaluation.tables import NAMES, rows_of
from intelligibility.evaluation.within import within_drawing
from msbg.audiogram import SEVERITIES, SEVERITY_LIMITS_DB_HL

PERCENT_CORRECT = "words correct (%)"
NARROW = 12  # groups up to which two panels fit beside each other
MAX_LABELS = 45  # group names along one axis before they touch
MANY = 3000  # dots in one cloud; with more, nothing can be told apart
JITTER = 1.5  # percent: values that are few would hide each other
FEW_VALUES = 60
MAX_BINS = 10
MIN_PER_BIN = 8  # signals
DECADES = np.arange(10, 100, 10)  # percent: edges of the bins of predictions


# The numbers


def figure_numbers(test: pd.DataFrame, measures: list[str]) -> dict[str, dict[str, Any]]:
    """Return the numbers of the scatter, reliability and residual figures, per measure.

    `test` are labelled test signals with predictions and the columns of `better_ear`.
    """
    numbers: dict[str, dict[str, Any]] = {"scatter": {}, "reliability": {}, "residuals": {}}
    for measure in measures:
        rows = rows_of(test, measure)
        similarity, prediction = f"{measure}_similarity", f"{measure}_prediction"
        n_bins = max(1, min(MAX_BINS, len(rows) // MIN_PER_BIN))
        tenth = pd.qcut(rows[similarity], n_bins, labels=False, duplicates="drop")
        decade = np.searchsorted(DECADES, rows[prediction], side="right")
        rows = rows.assign(error=rows[prediction] - rows["correctness"])
        numbers["scatter"][measure] = _bins(rows, similarity, tenth)
        numbers["reliability"][measure] = _bins(rows, prediction, decade)
        numbers["residuals"][measure] = _residuals(rows.dropna(subset=["level"]))
    return numbers


def _bins(rows: pd.DataFrame, column: str, bins: Any) -> list[dict[str, float]]:
    """Return the means of a column (x) and of the responses (y, with se) per bin, with its size."""
    return [
        {
            "n": len(one),
            "x": float(one[column].mean()),
            "y": float(one["correctness"].mean()),
            "se": _standard_error(one["correctness"]),
        }
        for _, one in rows.groupby(bins)
    ]


def _residuals(rows: pd.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """Return the mean error of each listener, and of each category of hearing loss."""
    listeners = [
        {
            "listener": name,
            "level": float(one["level"].iloc[0]),
            "n": len(one),
            "mean": float(one["error"].mean()),
            "se": _standard_error(one["error"]),
        }
        for name, one in rows.groupby("listener")
    ]
    categories = [
        {"severity": str(name), "n": len(one), "mean": float(one["error"].mean())}
        for name, one in rows.groupby("severity", observed=True)
    ]
    return {"listeners": listeners, "categories": categories}


def _standard_error(values: pd.Series) -> float:
    return float(np.std(values) / np.sqrt(len(values)))


# The drawings


def all_figures(
    test: pd.DataFrame,
    dev: pd.DataFrame | None,
    measures: list[str],
    groups: dict[str, pd.DataFrame],
    mapping: FittedMapping,
    results: dict[str, Any],
) -> dict[str, Drawing]:
    """Draw every figure, by the name of its file.

    Parameters
    ----------
    test, dev : DataFrame
        From `read_signals`, test with predictions and the columns of `better_ear`; dev is None
        where the mapping was fitted elsewhere.
    measures, mapping
        One panel per measure, with its fitted curve.
    groups : dict
        The output of `by_group`, by listener, system, and severity where audiograms are known.
    results : dict
        What results{track}.json holds.
    """
    numbers = results["figures"]
    drawings = {"scatter": _scatter(test, dev, measures, mapping, numbers["scatter"])}
    for by in (by for by in ("listener", "system") if by in groups):
        drawings[f"by_{by}"] = _means_of_groups(groups[by], measures)
    if any(one["measures"] for one in results["within"].values()):
        drawings["within"] = within_drawing(results["within"])
    if groups.keys() >= {"severity", "listener"}:
        drawings["residuals"] = _draw_residuals(measures, numbers["residuals"])
    drawings["reliability"] = _reliability(measures, numbers["reliability"])
    if "layers" in results:
        drawings["layers"] = layers_drawing(results["layers"])
    return drawings


@rc_context(STYLE)
def _scatter(
    test: pd.DataFrame,
    dev: pd.DataFrame | None,
    measures: list[str],
    mapping: FittedMapping,
    bins: dict[str, list[dict[str, float]]],
) -> Drawing:
    """Draw similarity, percent correct and the fitted curve, dev and test marked (Fig. 2)."""
    figure, panels = panels_of(len(measures))
    for axes, measure in zip(panels, measures, strict=True):
        column = f"{measure}_similarity"
        rows = rows_of(test, measure)
        _cloud(axes, rows, column, "test", BLUE, "o")
        if dev is not None:
            _cloud(axes, dev.dropna(subset=["correctness", column]), column, "dev", ORANGE, "^")
        x = np.linspace(*axes.get_xlim(), 300)
        for number, own in enumerate(mapping.by_set.values() or [mapping]):
            label = None if number else f"fitted {CURVE}"  # one per set
            axes.plot(x, own.predict(measure, x / 100), color="black", label=label)
        if (expected := mapping.fits[measure].prediction_interval) is not None:
            axes.fill_between(
                x, *expected.around(mapping.predict(measure, x / 100)), color=GREY, alpha=0.16,
                linewidth=0, zorder=0, label=f"{100 * PROBABILITY:.0f} % prediction interval",
            )  # fmt: skip
        means = pd.DataFrame(bins[measure])
        axes.errorbar(
            100 * means["x"], means["y"], means["se"], fmt="s", ms=4, color="white", mec="black",
            ecolor="black", elinewidth=1, label="test, binned means", zorder=4,
        )  # fmt: skip
        percent_axis(axes.yaxis)
        what = "words recognised" if measure == "wcs" else "similarity"
        axes.set(title=NAMES[measure], xlabel=f"{what} (%)", ylabel=PERCENT_CORRECT)
        if measure in IN_NATS:
            axes.set_xlabel("processed less reference (nats per token)")
            axes.xaxis.set_major_formatter(lambda x, _: f"{x / 100:g}")
    legend_below(figure, panels[0], columns=2 if len(panels) == 1 else 4)
    return Drawing(
        "Similarity and percent words correct",
        f"One mark per signal, up to {MANY} of each split; values that are few, such as the "
        f"responses', are spread by up to {JITTER} %. Squares: means of up to ten bins of "
        f"equal size, with standard errors. Shaded: the {100 * PROBABILITY:.0f} % prediction "
        "interval of one sentence at that similarity, from the residuals on dev.",
        figure,
    )


def _cloud(
    axes: Axes, rows: pd.DataFrame, column: str, label: str, colour: str, marker: str
) -> None:
    """Draw one dot per signal, the paler the more there are."""
    rng = np.random.default_rng(0)
    rows = rows.sample(min(len(rows), MANY), random_state=0)
    x, y = (
        values + rng.uniform(-JITTER, JITTER, len(rows)) * (values.nunique() < FEW_VALUES)
        for values in (100 * rows[column], rows["correctness"])
    )
    alpha = float(np.clip(20 / np.sqrt(len(rows) + 1), 0.04, 0.8))
    axes.scatter(x, y, s=9, marker=marker, color=colour, linewidths=0, alpha=alpha, label=label)


@rc_context(STYLE)
def _means_of_groups(groups: pd.DataFrame, measures: list[str]) -> Drawing:
    """Draw the mean response of each listener or system beside the predicted one (Fig. 3)."""
    by = groups.columns[0]
    order = groups.groupby(by)["observed"].mean().sort_values(kind="stable").index
    narrow = len(order) <= NARROW
    figure, panels = panels_of(
        len(measures), columns=2 if narrow else 1, height=2.1, sharex=True, sharey=True
    )
    at = np.arange(len(order))
    for axes, measure in zip(panels, measures, strict=True):
        rows = groups[groups["measure"] == measure].set_index(by).reindex(order)
        for what, label, shift, colour, marker in (
            ("observed", "listeners", -0.16, "black", "o"),
            ("predicted", "predicted", 0.16, BLUE, "D"),
        ):
            axes.errorbar(
                at + shift, rows[what], rows[f"{what}_se"], fmt=marker, ms=4, color=colour,
                elinewidth=1, label=label,
            )  # fmt: skip
        axes.set(title=NAMES[measure], ylabel=PERCENT_CORRECT)
        axes.grid(axis="y", color="0.9")
        axes.set_axisbelow(True)
        axes.set_xlim(-0.6, len(order) - 0.4)
        step = math.ceil(len(order) / MAX_LABELS)
        names = [name if i % step == 0 else "" for i, name in enumerate(order)]
        axes.set_xticks(at, names, rotation=90 if len(order) > 6 else 0)
    for axes in panels[-2 if narrow else -1 :]:
        axes.set_xlabel(f"{by}, ordered by the listeners' mean")
    low = (groups[["observed", "predicted"]].min().min()) - 8
    panels[0].set_ylim(max(0.0, math.floor(low / 10) * 10), 103)
    legend_below(figure, panels[0], columns=2)
    title = f"Responses and predictions per {by}"
    return Drawing(title, "Means with their standard errors.", figure)


@rc_context(STYLE)
def _draw_residuals(measures: list[str], numbers: dict[str, Any]) -> Drawing:
    """Draw each listener's mean residual against the hearing loss in the better ear."""
    figure, panels = panels_of(len(measures), sharey=True)
    for axes, measure in zip(panels, measures, strict=True):
        listeners = pd.DataFrame(numbers[measure]["listeners"])
        axes.axhline(0, color="black", linewidth=0.8)
        axes.errorbar(
            listeners["level"], listeners["mean"], listeners["se"], fmt="o", ms=4, color=BLUE,
            elinewidth=1, label="one listener, mean over signals",
        )  # fmt: skip
        low, high = listeners["level"].min() - 6, listeners["level"].max() + 4
        _mean_per_severity(axes, numbers[measure]["categories"], low, high)
        axes.set_xlim(low, high)
        axes.set_xlabel("better-ear threshold, 2 to 8 kHz (dB HL)")
        axes.set_title(NAMES[measure], pad=14)
        axes.set_ylabel("predicted − observed (%)")
    legend_below(figure, panels[0], columns=2)
    return Drawing(
        "Residuals and hearing loss",
        "One dot per listener, with standard errors. Hearing loss is the mean threshold from "
        "2 to 8 kHz in the better ear; dotted: the limits of MSBG's categories. Above zero, "
        "intelligibility is overestimated.",
        figure,
    )


def _mean_per_severity(
    axes: Axes, categories: list[dict[str, Any]], low: float, high: float
) -> None:
    """Mark MSBG's categories of hearing loss and the mean residual within each."""
    limits = [SEVERITY_LIMITS_DB_HL[name] for name in SEVERITIES[1:]]
    edges = np.clip([-np.inf, *limits, np.inf], low, high)
    means = {one["severity"]: one["mean"] for one in categories}
    label: str | None = "mean of a category"
    for name, left, right in zip(SEVERITIES, edges[:-1], edges[1:], strict=True):
        if right <= left:
            continue
        if left > low:
            axes.axvline(left, color=GREY, linewidth=0.8, linestyle=":")
        if name in means:
            axes.plot([left, right], [means[name]] * 2, color=ORANGE, linewidth=2.5, label=label)
            label = None
        if right - left > 0.1 * (high - low):
            name = name.lower().replace("nothing", "none")
            note_above(axes, (left + right) / 2, name, 7)


@rc_context(STYLE)
def _reliability(measures: list[str], bins: dict[str, list[dict[str, float]]]) -> Drawing:
    """Draw mean observed against mean predicted percent correct, per ten percent of predictions."""
    figure, panels = panels_of(len(measures), sharex=True, sharey=True)
    figure.set_layout_engine("compressed")
    for axes, measure in zip(panels, measures, strict=True):
        means = pd.DataFrame(bins[measure])
        axes.plot(
            [0, 100], [0, 100], color=GREY, linewidth=0.8, linestyle="--", label="right on average"
        )
        axes.errorbar(
            means["x"], means["y"], means["se"], fmt="o-", ms=4, color=BLUE, linewidth=0.8,
            elinewidth=1, label="mean of a bin",
        )  # fmt: skip
        for bin_ in bins[measure]:
            note_above(axes, 10 * min(bin_["x"] // 10, 9) + 5, f"{bin_['n']}", 5.5)
        axes.set_aspect("equal")
        percent_axis(axes.xaxis)
        percent_axis(axes.yaxis)
        axes.set_title(NAMES[measure], pad=12)
        axes.set(xlabel="predicted words correct (%)", ylabel="observed words correct (%)")
    legend_below(figure, panels[0], columns=2)
    return Drawing(
        "Reliability",
        "Mean observed per ten percent of predictions, with standard errors; above, the number of "
        "signals in each bin. On the dashed line predictions are right on average.",
        figure,
    )
