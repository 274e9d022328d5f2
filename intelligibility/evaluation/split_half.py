"""How much of a score comes from which scenes happened to be dev: the mapping of random halves."""

import random
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from intelligibility.evaluation.curve import CURVE
from intelligibility.evaluation.mapping import FittedMapping
from intelligibility.evaluation.scoring import score
from intelligibility.evaluation.tables import NAMES, Table, rows_of
from intelligibility.pages import number
from intelligibility.runs import RecipeError, is_whole

SHOWN = {"RMSE": 2, "NCC": 4, "KT": 4}  # in the table, and their digits


def checked_seeds(seeds: Any) -> list[int]:
    """Return the configured seeds; RecipeError unless they are two or more different integers."""
    listed = list(seeds) if not isinstance(seeds, str | int | float) else []
    whole = all(is_whole(seed) for seed in listed)
    if len(listed) < 2 or not whole or len(set(listed)) < len(listed):
        raise RecipeError(f"seeds={seeds}: expected different whole numbers, such as [1,2]")
    return listed


def spread_over_halves(
    dev: pd.DataFrame,
    test: pd.DataFrame,
    seeds: list[int],
    fit: Callable[[pd.DataFrame], FittedMapping],
    predict: Callable[[pd.DataFrame, FittedMapping], list[str]],
) -> dict[str, Any]:
    """Fit the mapping on random halves of the dev scenes, and score the test with each.

    The recogniser and its similarities stay the same: what varies comes from the split alone. `dev`
    and labelled `test` are from `read_signals`; each seed draws a half. `fit` makes a mapping of
    dev signals, `predict` adds a mapping's predictions to test signals and returns the measures.

    Returns
    -------
    dict
        `seeds`, `n_dev_scenes` of each half, and per measure and score `values`, `mean` and `sd`
        (None where a score is not defined).
    """
    scenes = sorted(dev["scene"].unique())
    values: dict[str, dict[str, list[float | None]]] = {}
    for seed in seeds:
        half = random.Random(seed).sample(scenes, len(scenes) // 2)
        tested = test.copy()
        for measure in ["prior", *predict(tested, fit(dev[dev["scene"].isin(half)]))]:
            rows = rows_of(tested, measure)
            pair = rows[f"{measure}_prediction"].to_numpy(), rows["correctness"].to_numpy()
            for name, value in score(*pair).items():
                values.setdefault(measure, {}).setdefault(name, []).append(value)
    return {
        "seeds": seeds,
        "n_dev_scenes": len(scenes) // 2,
        "measures": {
            measure: {name: _spread(of_seeds) for name, of_seeds in scores.items()}
            for measure, scores in values.items()
        },
    }


def _spread(values: list[float | None]) -> dict[str, Any]:
    defined = [value for value in values if value is not None]
    mean = sd = None
    if len(defined) == len(values):
        mean, sd = float(np.mean(defined)), float(np.std(defined, ddof=1))
    return {"values": values, "mean": mean, "sd": sd}


def split_half_table(halves: Mapping[str, Any], scores: Mapping[str, Any]) -> Table:
    """Lay out the scores of mappings that were fitted on random halves of the dev scenes."""
    rows, shown = [], []
    for measure, spread in halves["measures"].items():
        line = {"measure": NAMES[measure]}
        for name, digits in SHOWN.items():
            one, whole = spread[name], scores[measure][name]["value"]
            defined = [value for value in one["values"] if value is not None]
            rows.append(
                {"measure": measure, "score": name, "all_of_dev": whole}
                | {"mean": one["mean"], "sd": one["sd"]}
                | {"lowest": min(defined, default=None), "highest": max(defined, default=None)}
            )
            mean, sd = (number(one[part], digits) for part in ("mean", "sd"))
            line[f"{name}, all of dev"] = number(whole, digits)
            line[f"{name}, halves: mean ± sd"] = "–" if mean == "–" else f"{mean} ± {sd}"
        shown.append(line)
    caption = (
        f"The mapping fitted on {len(halves['seeds'])} random halves of the dev scenes "
        f"({halves['n_dev_scenes']} each); the recogniser and its similarities stay the same. What "
        f"differs comes from the split alone. KT hardly can: a {CURVE} keeps the order of signals."
    )
    return Table(
        "What the choice of dev scenes changes", caption, pd.DataFrame(rows), pd.DataFrame(shown)
    )
