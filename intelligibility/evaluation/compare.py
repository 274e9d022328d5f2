"""Is one prediction better than another? Of this run's measures, another run's, or a submission.

Differences of scores are tested by a paired bootstrap: both predictions are scored over the signals
that both predict, in the same resamples of scenes.
"""

import itertools
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from intelligibility.corpora.presentation import are_shares
from intelligibility.evaluation.scoring import interval, paired_p
from intelligibility.evaluation.tables import DIGITS, NAMES, Resampler, Table, rows_of
from intelligibility.pages import number
from intelligibility.runs import RecipeError

logger = logging.getLogger(__name__)

SUBMISSION = ("signal_ID", "intelligibility_score")  # the columns that the challenges ask for
SUBMITTED = "submission"  # its name among the measures


def read_other(path: str | Path) -> pd.DataFrame:
    """Read another run's predictions.csv, or a submission to a challenge, headed or not.

    Refused is a file that is neither, names a signal twice, or holds anything but 0 to 100.

    Returns
    -------
    DataFrame
        Indexed by signal, all in percent words correct: `{measure}_prediction` and, of another run,
        `correctness`.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise RecipeError(
            f"compare={path}: no such file; expected a predictions.csv of this recipe, or a "
            "submission"
        )
    try:
        table = pd.read_csv(file, header=None, dtype=str, skipinitialspace=True)
        other = _submission(table) if table.shape[1] == 2 else _predictions(file)
        if not other.index.is_unique:
            raise ValueError("signals in it more than once")
        other = other.apply(pd.to_numeric).astype(float)
        if ((other < 0) | (other > 100)).any(axis=None):
            raise ValueError("values that are not percent, 0 to 100")
        if are_shares(other.stack().dropna()):
            raise ValueError("shares, 0 to 1, where percent, 0 to 100, are expected")
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RecipeError(
            f"compare={path}: neither a predictions.csv of this recipe nor a submission "
            f"({error!s:.300})"
        ) from None
    return other


def _submission(table: pd.DataFrame) -> pd.DataFrame:
    if tuple(table.iloc[0].str.strip()) == SUBMISSION:
        table = table.iloc[1:]
    table.columns = ["signal", f"{SUBMITTED}_prediction"]
    return table.set_index(table.pop("signal").str.strip().str.removesuffix(".wav"))


def _predictions(file: Path) -> pd.DataFrame:
    table = pd.read_csv(file, dtype={"signal": str}).set_index("signal")
    predicted = [f"{measure}_prediction" for measure in NAMES]
    return table[["correctness", *(name for name in predicted if name in table)]]


def joined_with(
    test: pd.DataFrame, measures: list[str], other: pd.DataFrame | None
) -> tuple[pd.DataFrame, list[tuple[str, str]]]:
    """Join the predictions from `read_other`, if any, to the labelled test signals.

    Returns them with the other's `{name}_prediction`, and the pairs of names to compare: those in
    `measures` with each other and with the other's. Refused where there is nothing to compare.
    """
    pairs = list(itertools.combinations(reversed(measures), 2))
    if other is None:
        return test, pairs
    if f"{SUBMITTED}_prediction" in other:
        joined = test.join(other, on="signal")
        n = int(joined[f"{SUBMITTED}_prediction"].notna().sum())
        if n == 0:
            raise RecipeError("compare: none of its signals is in this test")
        logger.info("The submission predicts %d of the %d test signals", n, len(test))
        return joined, [*pairs, *((measure, SUBMITTED) for measure in measures)]
    shared = [measure for measure in measures if f"{measure}_prediction" in other]
    if not shared:
        raise RecipeError(f"compare: holds no prediction by {', '.join(measures)}")
    joined = test.join(other.add_prefix("other "), on="signal")
    observed = joined["other correctness"]
    differ = observed.notna() & (np.abs(observed - joined["correctness"]) > 1e-6)
    if differ.any():
        raise RecipeError(
            f"compare: {differ.sum()} signals have another response there, such as "
            f"{joined['signal'][differ].iloc[0]}; both runs have to be of the same answers"
        )
    return joined, [*pairs, *((measure, f"other {measure}") for measure in shared)]


def comparisons(
    signals: pd.DataFrame, pairs: list[tuple[str, str]], resampler: Resampler
) -> list[dict[str, Any]]:
    """Compare predictions in pairs, over the signals that both predict, in the same resamples.

    `signals` have `{name}_prediction` for each name in `pairs`.

    Returns
    -------
    list of dict
        a, b, score, n_signals, the scores of a and b, difference (a less b), its interval, p, and
        `better`: the name whose score is better, or None where the interval of the difference holds
        zero.
    """
    rows = []
    for a, b in pairs:
        both = rows_of(rows_of(signals, a), b)
        if both.empty:
            raise RecipeError(f"{a} and {b} predict no signal in common; nothing to compare")
        (scores_a, resamples_a), (scores_b, resamples_b) = (
            resampler.scores(both, name) for name in (a, b)
        )
        for name in DIGITS:
            value_a, value_b = scores_a[name], scores_b[name]
            difference = None if value_a is None or value_b is None else value_a - value_b
            resamples = resamples_a[name] - resamples_b[name]
            bounds = interval(resamples, difference)
            p = better = None
            if bounds and difference is not None:
                p = paired_p(resamples, difference)
                if not bounds[0] <= 0 <= bounds[1]:
                    better = a if (bounds[1] < 0) == (name == "RMSE") else b
            rows.append(
                {"a": a, "b": b, "score": name, "n_signals": len(both)}
                | {"value_a": value_a, "value_b": value_b, "difference": difference}
                | {"interval": bounds, "p": p, "better": better}
            )
    return rows


def comparison_table(compared: list[Mapping[str, Any]], names: str) -> Table:
    """Lay the output of `comparisons` out; `names` explains the short names of the measures."""
    rows, shown = [], []
    for one in compared:
        low, high = one["interval"] or (None, None)
        row = {key: value for key, value in one.items() if key != "interval"}
        rows.append(row | {"difference_low": low, "difference_high": high})
        numbers = (one["value_a"], one["value_b"], one["difference"], low, high)
        a, b, *difference = (number(value, DIGITS[one["score"]]) for value in numbers)
        shown.append(
            {"a": one["a"], "b": one["b"], "signals": one["n_signals"], "score": one["score"]}
            | {"of a": a, "of b": b, "a less b (95 %)": "{} ({} to {})".format(*difference)}
            | {"p": number(one["p"], 3), "better": one["better"] or "not distinguishable"}
        )
    caption = (
        "Paired bootstrap over the same scenes; p is two-sided and not corrected for the number of "
        f"comparisons. {names}."
    )
    return Table("Which is better?", caption, pd.DataFrame(rows), pd.DataFrame(shown))
