"""What a challenge adds to an evaluation: sets with a mapping each, leaks, submissions.

CPC2 has three tests, each mapped on its own training and pooled afterwards; CPC3 has two, dev and
eval, with one mapping. CPC1 has one of each, and nothing here changes it.
"""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from intelligibility.corpora.presentation import Presentation
from intelligibility.evaluation.compare import SUBMISSION
from intelligibility.evaluation.leaks import Seen, in_words
from intelligibility.evaluation.mapping import FittedMapping
from intelligibility.evaluation.tables import Resampler, rows_of, scores_of
from intelligibility.experiment import Experiment
from intelligibility.runs import RecipeError, listed, read_json, write_text

logger = logging.getLogger(__name__)


def set_of_each(signals: pd.Series, test: Iterable[Presentation]) -> pd.Series:
    """Return the set of the challenge that each test signal is of, "" where it has one test."""
    known = {one.name: one.sets[0] for one in test if one.sets}
    return signals.map(lambda name: known.get(name, "")).astype(str)


def scores_by_set(
    test: pd.DataFrame, measures: list[str], resampler: Resampler
) -> dict[str, dict[str, Any]]:
    """Score each set of a challenge by itself; empty where there is one test only."""
    names = sorted(set(test["set"]))
    if len(names) < 2 and names == [""]:
        return {}
    scored = {}
    for name in names:
        rows = test[test["set"] == name]
        able = [measure for measure in measures if len(rows_of(rows, measure)) > 1]
        scored[name] = {"n_signals": len(rows), "scores": scores_of(rows, able, resampler)}
    return scored


def where_known(test: pd.DataFrame, presentations: Iterable[Presentation]) -> pd.DataFrame:
    """Take back listeners, systems and scenes that are stand-ins: of opaque names none is known.

    Signals of one sentence count as one scene then, which is what the bootstrap resamples.
    """
    opaque = {one.name: one.prompt for one in presentations if not one.cec and one.sets}
    rows = test["signal"].isin(opaque)
    if not rows.any():
        return test
    test = test.copy()
    test.loc[rows, ["listener", "system"]] = None
    test.loc[rows, "scene"] = test.loc[rows, "signal"].map(opaque)
    return test


# What was fitted or trained on, met again in the test


def guard(
    mapping: FittedMapping,
    test: pd.DataFrame,
    presentations: Iterable[Presentation],
    trained_on: Path | None,
    allow_leak: bool,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Keep the mapping from being tested on what it was fitted on, and say what else was seen.

    Parameters
    ----------
    mapping : FittedMapping
        With what it was fitted on, if it remembers.
    test : DataFrame
        The test signals, with their `set`.
    presentations : iterable of Presentation
        Those of the test.
    trained_on : Path or None
        The record of the recogniser's training; None for one that others trained.
    allow_leak : bool
        Whether to leave such signals out of the test, in place of stopping.

    Returns
    -------
    test : DataFrame
        What may be scored.
    leaks : dict
        How many signals were left out; per kind what the mapping and the recogniser saw.

    Raises
    ------
    RecipeError
        The mapping was fitted on a signal of the test.
    """
    names = set(test["signal"])
    tested = [one for one in presentations if one.name in names]
    fitted_on = _seen_by_mapping(mapping, tested)
    met = {name for seen, ones in fitted_on for name in seen.signals_in(ones)}
    if met:
        test = _without(test, met, allow_leak)
    left = [(seen, [one for one in ones if one.name not in met]) for seen, ones in fitted_on]
    seen = _seen_in_training(trained_on)
    overlaps = {
        "mapping": _added(seen.overlap(ones) for seen, ones in left) if left else None,
        "recogniser": seen and seen.overlap(one for one in tested if one.name not in met),
    }
    if overlaps["mapping"] is None:
        logger.warning("The mapping does not say what it was fitted on: leaks cannot be told")
    for who, verb in (("mapping", "fitted"), ("recogniser", "trained")):
        if words := in_words(overlaps[who] or {}):
            logger.warning("The %s was %s on some of the test: %s", who, verb, words)
    return test, {"left_out": len(met)} | overlaps


def _without(test: pd.DataFrame, met: set[str], allow_leak: bool) -> pd.DataFrame:
    """Leave the signals that the mapping was fitted on out of the test, if that is allowed."""
    if not allow_leak:
        raise RecipeError(
            f"the mapping was fitted on {len(met)} of the {len(test)} test signals "
            f"({listed(sorted(met), 3)}): scores of them say nothing. Use a mapping that was "
            "fitted elsewhere, or leave them out of the test with allow_leak=true"
        )
    logger.warning(
        "%d of %d test signals are left out: the mapping knows them", len(met), len(test)
    )
    if met >= set(test["signal"]):
        raise RecipeError("no test signal is left that the mapping was not fitted on")
    return test[~test["signal"].isin(met)]


def _seen_by_mapping(
    mapping: FittedMapping, test: list[Presentation]
) -> list[tuple[Seen, list[Presentation]]]:
    """Return what each set's mapping saw, with the test signals that it is for."""
    names = sorted({k for one in test for k in one.sets}) or [""]
    pairs = []
    for name in names:
        seen = mapping.of_set(name).seen
        if seen is not None:
            pairs.append((seen, [one for one in test if not one.sets or name in one.sets]))
    return pairs


def _added(overlaps: Iterable[dict[str, dict[str, int]]]) -> dict[str, dict[str, int]]:
    """Add up what the mappings of several sets saw."""
    total: dict[str, dict[str, int]] = {}
    for overlap in overlaps:
        for kind, count in overlap.items():
            sums = total.setdefault(kind, {"seen": 0, "known": 0})
            for key, number in count.items():
                sums[key] += number
    return total


def _seen_in_training(trained_on: Path | None) -> Seen | None:
    """Return what a recogniser's record says that it was trained on; None without one."""
    record = read_json(trained_on, dict) if trained_on and trained_on.is_file() else {}
    if "presentations" not in record:
        logger.info("No record of what the recogniser was trained on")
        return None
    try:
        return Seen.of_records(record["presentations"])
    except (KeyError, TypeError, AttributeError):
        raise RecipeError(
            f"{trained_on}: not as train_asr.py writes it; restore the file"
        ) from None


# Submissions


def write_submissions(experiment: Experiment, test: pd.DataFrame, measure: str) -> None:
    """Write the predictions in the challenge's columns: all, and each set by itself."""
    sets = {"": test} | {str(name): rows for name, rows in test.groupby("set") if name}
    for name, rows in sets.items():
        submission = rows[["signal", f"{measure}_prediction"]].dropna()
        submission.columns = list(SUBMISSION)
        write_text(experiment.submission_of(name), submission.to_csv(index=False))
