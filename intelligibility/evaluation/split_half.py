"""How much of a score comes from which scenes happened to be dev: the mapping of random halves."""

import logging
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from intelligibility.evaluation.mapping import Mapping
from intelligibility.evaluation.scoring import score
from intelligibility.evaluation.tables import rows_of
from intelligibility.runs import RecipeError, is_whole

logger = logging.getLogger(__name__)


def checked_seeds(seeds: Any) -> list[int]:
    """Return the seeds in the configuration.

    Raises
    ------
    RecipeError
        They are no list of at least two different whole numbers.
    """
    listed = list(seeds) if not isinstance(seeds, str | int | float) else []
    whole = all(is_whole(seed) for seed in listed)
    if len(listed) < 2 or not whole or len(set(listed)) < len(listed):
        raise RecipeError(f"seeds={seeds}: expected different whole numbers, such as [1,2]")
    return listed


def spread_over_halves(
    dev: pd.DataFrame,
    test: pd.DataFrame,
    seeds: list[int],
    fit: Callable[[pd.DataFrame], Mapping],
    predict: Callable[[pd.DataFrame, Mapping], list[str]],
) -> dict[str, Any]:
    """Fit the mapping on random halves of the dev scenes, and score the test with each.

    The recogniser and its similarities stay the same: what varies comes from the split alone.

    Parameters
    ----------
    dev, test : DataFrame
        From `read_signals`; test labelled.
    seeds : list of int
        One half each.
    fit : callable
        From dev signals to a mapping.
    predict : callable
        Adds predictions to the test signals; returns the measures.

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
    whole = len(defined) == len(values)
    return {
        "values": values,
        "mean": float(np.mean(defined)) if whole else None,
        "sd": float(np.std(defined, ddof=1)) if whole else None,
    }
