"""What a challenge adds to an evaluation: sets with a mapping each, and test data seen before.

CPC2 has three tests, each mapped on its own training and pooled afterwards; CPC3 has two, dev and
eval, with one mapping. CPC1 has one of each, and nothing here changes it.
"""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from intelligibility.corpora.presentation import Presentation
from intelligibility.evaluation.leaks import COUNTED, Seen, in_words
from intelligibility.evaluation.mapping import FittedMapping
from intelligibility.evaluation.tables import Resampler, rows_of, scores_of
from intelligibility.runs import RecipeError, listed, read_json

logger = logging.getLogger(__name__)


def set_of_each(signals: pd.Series, test: Iterable[Presentation]) -> pd.Series:
    """Return the set of the challenge that each test signal is of, "" where it has one test."""
    known = {one.name: one.sets[0] for one in test if one.sets}
    return signals.map(lambda name: known.get(name, "")).astype(str)


def scores_by_set(
    test: pd.DataFrame, measures: list[str], resampler: Resampler
) -> dict[str, dict[str, Any]]:
    """Score each set of a challenge by itself; empty where there is one test only."""
    scored = {}
    for name, rows in test.groupby("set") if set(test["set"]) != {""} else ():
        able = [measure for measure in measures if len(rows_of(rows, measure)) > 1]
        scored[str(name)] = {"n_signals": len(rows), "scores": scores_of(rows, able, resampler)}
    return scored


def where_known(test: pd.DataFrame, presentations: Iterable[Presentation]) -> pd.DataFrame:
    """Clear listeners and systems of signals with opaque names, and systems without a name.

    With opaque names, signals of one sentence count as one scene, which the bootstrap resamples.
    """
    test = test.assign(system=test["system"].where(test["system"] != "", None))
    opaque = {one.name: one.prompt for one in presentations if not one.cec and one.sets}
    rows = test["signal"].isin(opaque)
    test.loc[rows, ["listener", "system"]] = None
    test.loc[rows, "scene"] = test.loc[rows, "signal"].map(opaque)
    return test


# Test data seen in fitting or training


def guard(
    mapping: FittedMapping,
    test: pd.DataFrame,
    presentations: Iterable[Presentation],
    trained_on: Path | None,
    allow_leak: bool,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Refuse to test the mapping on signals that it was fitted on; count what else was seen.

    `trained_on` is the record of the recogniser's training, None for a third-party recogniser; with
    `allow_leak` signals that the mapping was fitted on are left out of the test instead. Returns
    what may be scored, and the leaks: how many signals were left out, and per kind what the mapping
    and the recogniser saw.
    """
    names = set(test["signal"])
    tested = [one for one in presentations if one.name in names]
    fitted_on = [  # per set, with the test signals that its mapping predicts
        (seen, [one for one in tested if not one.sets or name in one.sets])
        for name in sorted({name for one in tested for name in one.sets}) or [""]
        if (seen := mapping.of_set(name).seen) is not None
    ]
    known = {name for seen, ones in fitted_on for name in seen.signals_in(ones)}
    if known:
        test = _without(test, known, allow_leak)
    overlaps = [
        seen.overlap(one for one in ones if one.name not in known) for seen, ones in fitted_on
    ]
    trained = _seen_in_training(trained_on)
    by_mappings = {  # what those of several sets saw, added up
        kind: {key: sum(one[kind][key] for one in overlaps) for key in ("seen", "known")}
        for kind in COUNTED
    }
    leaks = {
        "left_out": len(known),
        "mapping": by_mappings if overlaps else None,
        "recogniser": trained and trained.overlap(one for one in tested if one.name not in known),
    }
    if not overlaps:
        logger.warning("The mapping does not say what it was fitted on: leaks cannot be detected")
    for sentence in in_words(leaks):
        logger.warning("%s", sentence)
    return test, leaks


def _without(test: pd.DataFrame, known: set[str], allow_leak: bool) -> pd.DataFrame:
    """Leave the signals that the mapping was fitted on out of the test, if that is allowed."""
    if not allow_leak:
        raise RecipeError(
            f"the mapping was fitted on {len(known)} of the {len(test)} test signals "
            f"({listed(sorted(known), 3)}): scores of them say nothing. Use a mapping that was "
            "fitted elsewhere, or leave them out of the test with allow_leak=true"
        )
    logger.warning(
        "%d of %d test signals are left out: the mapping was fitted on them", len(known), len(test)
    )
    if known >= set(test["signal"]):
        raise RecipeError("no test signal is left that the mapping was not fitted on")
    return test[~test["signal"].isin(known)]


def _seen_in_training(trained_on: Path | None) -> Seen | None:
    """Read what the recogniser was trained on; None where there is no record."""
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
