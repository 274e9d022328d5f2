"""The numbers behind the figures: all that a figure shows beside single signals.

results.json keeps them; figures.py draws them. Bars are standard errors of the mean.
"""

from typing import Any

import numpy as np
import pandas as pd

from intelligibility.evaluation.tables import rows_of

MAX_BINS = 10
MIN_PER_BIN = 8  # signals
DECADES = np.arange(10, 100, 10)  # percent: edges of the bins of predictions


def figure_numbers(test: pd.DataFrame, measures: list[str]) -> dict[str, dict[str, Any]]:
    """Return the numbers of the scatter, reliability and residual figures, per measure.

    Parameters
    ----------
    test : DataFrame
        Labelled test signals with predictions and the columns of `hearing_losses`.
    measures : list of str
        Which predictions.
    """
    numbers: dict[str, dict[str, Any]] = {"scatter": {}, "reliability": {}, "residuals": {}}
    for measure in measures:
        rows = rows_of(test, measure)
        numbers["scatter"][measure] = _bins(rows, f"{measure}_similarity", _tenths(rows, measure))
        decade = np.searchsorted(DECADES, rows[f"{measure}_prediction"], side="right")
        numbers["reliability"][measure] = _bins(rows, f"{measure}_prediction", decade)
        error = rows[f"{measure}_prediction"] - rows["correctness"]
        numbers["residuals"][measure] = _residuals(rows.assign(error=error))
    return numbers


def _tenths(rows: pd.DataFrame, measure: str) -> pd.Series:
    """Number up to ten bins of equal size."""
    n_bins = max(1, min(MAX_BINS, len(rows) // MIN_PER_BIN))
    return pd.qcut(rows[f"{measure}_similarity"], n_bins, labels=False, duplicates="drop")


def _bins(rows: pd.DataFrame, column: str, bins: Any) -> list[dict[str, float]]:
    """Return the means of a column (x) and of the responses (y, with se) per bin, with its size."""
    grouped = rows.groupby(bins)
    return [
        {
            "n": len(one),
            "x": float(one[column].mean()),
            "y": float(one["correctness"].mean()),
            "se": _standard_error(one["correctness"]),
        }
        for _, one in grouped
    ]


def _residuals(rows: pd.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """Return the mean error of each listener with a known hearing loss, and of each category."""
    rows = rows.dropna(subset=["level"])
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
