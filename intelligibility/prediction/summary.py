"""Summary of a table of rows: means with intervals, differences between systems, scores.

A single sentence says little about a hearing aid. Intervals are 95 % intervals of a bootstrap over
rows; those of paired differences over the pairs of listener and reference that both systems have.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from intelligibility.evaluation.scoring import CONFIDENCE, N_RESAMPLES, score

FEW_ROWS = 20  # fewer give no reliable interval
TAIL = 50 * (1 - CONFIDENCE)


def as_frame(results: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return the table for the CSV, a line per result: a row's and its prediction's `as_json`."""
    lines = []
    for one in results:
        line = {key: one[key] for key in ("name", "listener", "system", "correctness")}
        line |= {"predicted": one["percent"], "by": one["by"], "rmse_on_dev": one["rmse"]}
        line |= dict(zip(("low", "high"), one["interval"] or (None, None), strict=True))
        line |= {f"{name}_prediction": value for name, value in one["percents"].items()}
        line |= {f"{name}_similarity": value for name, value in one["similarities"].items()}
        for ear, similarities in one["by_ear"].items():
            line |= {f"{ear}_{name}_similarity": value for name, value in similarities.items()}
        line |= {f"{ear}_words": words for ear, words in one["words"].items()}
        line |= {"text": one["text"], "text_given": one["text_given"]}
        line |= {"delay_ms": 1000 * one["delay"], "level_db_spl": one["level"]}
        line |= {key: one[key] for key in ("processed", "reference", "audiogram")}
        lines.append(line | {"warnings": "; ".join(one["warnings"])})
    return pd.DataFrame(lines)


def summarise(results: Sequence[Mapping[str, Any]], seed: int) -> dict[str, Any]:
    """Return means per system and listener, paired differences, and scores of known answers.

    Returns
    -------
    dict
        rows; mean and means: of all rows, and by system and listener, each with n, mean and, given
        enough rows, interval; differences: between systems, paired; scores: RMSE and so on, where
        correctness is known.
    """
    columns = ["listener", "system", "correctness", "percent", "pair"]
    frame = pd.DataFrame(results, columns=columns)
    rng = np.random.default_rng(seed)
    summary: dict[str, Any] = {"rows": len(frame), "mean": _mean(frame["percent"], rng)}
    summary["means"] = {
        by: {
            str(name): _mean(group["percent"], rng)
            for name, group in frame[frame[by] != ""].groupby(by)
        }
        for by in ("system", "listener")
    }
    summary["differences"] = _differences(frame[frame["system"] != ""], rng)
    known = frame.dropna(subset=["correctness"])
    if len(known):
        summary["scores"] = {"rows": len(known)} | score(known["percent"], known["correctness"])
    return summary


def _mean(values: pd.Series, rng: np.random.Generator) -> dict[str, Any]:
    interval = None
    if len(values) >= FEW_ROWS:
        drawn = rng.choice(values.to_numpy(), (N_RESAMPLES, len(values)))
        interval = np.percentile(drawn.mean(axis=1), [TAIL, 100 - TAIL]).tolist()
    return {"n": len(values), "mean": float(values.mean()), "interval": interval}


def _differences(frame: pd.DataFrame, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Compare systems over the pairs of listener and reference that both have."""
    wide = frame.pivot_table(index="pair", columns="system", values="percent")
    found = []
    for a, b in combinations(wide.columns, 2):
        less = (wide[a] - wide[b]).dropna()
        if len(less):
            mean = _mean(less, rng)
            ends = mean["interval"]
            better = None if ends is None or ends[0] <= 0 <= ends[1] else (a if ends[0] > 0 else b)
            found.append({"a": a, "b": b, "a_less_b": mean, "better": better})
    return found
