"""Similarities of a split matched with what the listeners answered, one row per signal."""

import logging
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from intelligibility.corpora.listeners import STAND_INS
from intelligibility.corpora.presentation import Presentation, Response
from intelligibility.evaluation.curve import MIN_SIGNALS
from intelligibility.experiment import Experiment
from intelligibility.measures import BASELINES, MEASURES
from intelligibility.runs import RecipeError, is_number, listed, read_json
from msbg import Listener
from msbg.audiogram import SEVERITIES

logger = logging.getLogger(__name__)

FIELDS = ["signal", "scene", "listener", "system", "correctness"]
WHO_GRADES = {  # dB HL that each stays below
    "none": 20, "mild": 35, "moderate": 50, "moderately severe": 65, "severe": 80, "profound": 95,
    "complete": np.inf,
}  # fmt: skip
WHO_HZ = (500, 1000, 2000, 4000)
SNR_CLASS = 6  # dB
UNMATCHED = {  # what read_signals warns of, and counts
    "missing": "with a response, but with no similarity",
    "double": "with more than one response",
    "unknown": "with a similarity, but not among the {split} signals: left out",
}
IN_NATS = {measure.name for measure in MEASURES if measure.unit == "nats"}


def read_signals(
    experiment: Experiment,
    split: str,
    presentations: Mapping[str, list[Presentation]],
    late: list[Response] | None = None,
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Read what is known of a split's signals, "dev" or "test".

    `presentations` are by archive, of which "train" holds dev as well. Test responses that were
    released separately, `late`, replace those in the archive. Refused: no similarities, none that
    matches, or two responses to a signal that contradict each other.

    Returns
    -------
    signals : DataFrame
        Sorted by signal: signal, scene, listener, system, correctness (percent, NaN where it is not
        released) and `{measure}_similarity` (0..1) for every measure and layer that was computed.
    counts : dict
        Numbers of signals: matched, unlabelled (no response), and those of `UNMATCHED`.
    """
    left_out = _left_out_by_baselines(experiment, split)
    similarities = read_similarities(experiment, split, left_out)
    archive = presentations.get("train" if split == "dev" else "test", [])
    listed_ones = [Response.of(one) for one in archive]
    if split == "dev":
        scenes = _dev_scenes(experiment)
        listed_ones = [one for one in listed_ones if one.scene in scenes]
    known, double = _one_response_each(listed_ones if late is None else late)
    # Late responses can be released for a part of the signals only.
    known = {one.signal: one for one in listed_ones} | known
    found = [vars(known[name]) for name in similarities.index if name in known]
    if not found and len(similarities):
        raise RecipeError(
            f"{split}: none of the {len(similarities)} signals with a similarity is among the "
            f"{len(known)} that the release lists; give cpc1_track and the paths as for infer.py"
        )
    rows = pd.DataFrame(found, columns=FIELDS)
    signals = rows.astype({"correctness": float}).join(similarities, on="signal")
    labelled = {name for name, one in known.items() if one.correctness is not None}
    return signals, {
        "matched": int(signals["correctness"].notna().sum()),
        "unlabelled": int(signals["correctness"].isna().sum()),
        **_count_unmatched(
            split,
            missing=labelled - set(similarities.index) - left_out,
            double=double,
            unknown=set(similarities.index) - set(known),
        ),
    }


def _count_unmatched(split: str, **unmatched: set[str]) -> dict[str, int]:
    """Return how many signals there are of each kind of `UNMATCHED`, and log their names."""
    for what, names in unmatched.items():
        if names:
            message = UNMATCHED[what].format(split=split)
            logger.warning(
                "%s: %d signals %s: %s", split, len(names), message, listed(sorted(names))
            )
    return {what: len(names) for what, names in unmatched.items()}


def _dev_scenes(experiment: Experiment) -> set[str]:
    path = experiment.scene_list("dev")
    if not path.is_file():
        raise RecipeError(
            f"{path}: no such file, so there are no dev signals to fit the logistic on; prepare "
            "training data too, or give calibration=other/calibration.json of another run"
        )
    scenes = set(read_json(path, list))
    if not scenes:
        raise RecipeError(
            f"{path}: dev is empty, so there is nothing to fit the logistic on; "
            f"it needs at least {MIN_SIGNALS} dev signals with a response. Use more training "
            "scenes or a larger dev_percent, or calibration=other/calibration.json of another run"
        )
    return scenes


def read_similarities(experiment: Experiment, split: str, left_out: set[str]) -> pd.DataFrame:
    """Read what infer.py and baselines.py measured: one row per signal, sorted, 0..1.

    No measure is read of the signals in `left_out`.
    """
    files = {one.name: experiment.measure_file(split, one.name) for one in MEASURES}
    files |= {one.name: experiment.baseline_file(split, one.name) for one in BASELINES}
    columns = {
        f"{measure}_similarity": _values(path, read_json(path, dict), measure in IN_NATS)
        for measure, path in files.items()
        if path.is_file()
    }
    if not columns:
        raise RecipeError(
            f"{files['enc']}: no such file; run infer.py first, with the same config, so that each "
            f"{split} signal has a similarity"
        )
    if (path := experiment.layers_file(split)).is_file():
        layers = read_json(path, dict).items()
        columns |= {f"{layer}_similarity": _values(path, values) for layer, values in layers}
    for name in columns:
        columns[name] = columns[name][~columns[name].index.isin(left_out)]
    _check_same_signals(split, columns)
    return pd.DataFrame(columns).sort_index()


def _left_out_by_baselines(experiment: Experiment, split: str) -> set[str]:
    """Return, and log, the signals for which an index of baselines.py is not defined."""
    record = read_json(experiment.baselines, dict) if experiment.baselines.is_file() else {}
    left_out = {
        name
        for baseline, made in record.get("baselines", {}).items()
        if experiment.baseline_file(split, baseline).is_file()
        for name in made.get("left_out", {}).get(split, [])
    }
    if left_out:
        what = "%s: %d signals count for no measure, for baselines.py left an index out: %s"
        logger.warning(what, split, len(left_out), listed(sorted(left_out)))
    return left_out


def _values(path: Path, values: Mapping[str, Any], nats: bool = False) -> pd.Series:
    """Check one number per signal: nats, or similarities from -1 to 1, give or take rounding."""
    limit = sys.float_info.max if nats else 1.001
    if wrong := [
        f"{name}: {one!r}"
        for name, one in values.items()
        if not (is_number(one) and abs(one) <= limit)
    ]:
        expected = "nats" if nats else "similarities, -1 to 1"
        raise RecipeError(f"{path}: {listed(wrong)}; expected {expected}; run infer.py again")
    return pd.Series(values, dtype=float)


def _check_same_signals(split: str, columns: dict[str, pd.Series]) -> None:
    """Refuse measures of different signals: one table would score them on different data."""
    everything = set().union(*(column.index for column in columns.values()))
    lacking = {name: sorted(everything.difference(one.index)) for name, one in columns.items()}
    if faults := [
        f"{name} lacks {len(names)} of {len(everything)} signals ({listed(names, 2)})"
        for name, names in lacking.items()
        if names
    ]:
        raise RecipeError(
            f"{split}: the measures are not of the same signals: {', '.join(faults)}; run infer.py "
            "again, and baselines.py, or remove the files of the measure that is old"
        )


def _one_response_each(responses: list[Response]) -> tuple[dict[str, Response], set[str]]:
    """Return the responses by signal, and the signals that are listed more than once."""
    known = {response.signal: response for response in responses}
    contradicted = [
        f"{one.signal} ({one.correctness} and {known[one.signal].correctness} %)"
        for one in responses
        if one.correctness != known[one.signal].correctness
    ]
    if contradicted:
        raise RecipeError(
            f"signals with responses that contradict each other: {listed(contradicted)}; "
            "keep one entry of each in the response file"
        )
    times = Counter(response.signal for response in responses)
    return known, {name for name, n in times.items() if n > 1}


def better_ear(listeners: Mapping[str, Listener], names: pd.Series) -> pd.DataFrame:
    """Return each listener's hearing loss in the better ear, indexed by listener.

    The better ear stands for the listener, as in the WHO's grades of hearing loss: with signals at
    both ears, speech is understood mostly through it, and the similarity takes the better of both
    ears too.

    Columns: level, the mean threshold from 2 to 8 kHz in dB HL, the range that MSBG grades by;
    severity, MSBG's category of that ear; grade, the WHO's of 2021.
    """
    if unknown := sorted(set(names) - set(listeners)):
        logger.warning(
            "Nothing by severity for %d listeners without audiograms: %s",
            *(len(unknown), listed(unknown)),
        )
    rows = {}
    for name in sorted(set(names) & set(listeners)):
        ear = listeners[name].better_ear
        rows[name] = ear.mean_level, str(ear.severity), who_grade(listeners[name])
    columns = ["level", "severity", "grade"]
    ordered = {
        "severity": pd.CategoricalDtype(list(SEVERITIES), ordered=True),
        "grade": pd.CategoricalDtype(list(WHO_GRADES), ordered=True),
    }
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).astype(ordered)


def who_grade(listener: Listener) -> str:
    """Return the WHO's grade of hearing loss (World report on hearing, 2021).

    From the mean threshold at 0.5, 1, 2 and 4 kHz in the better ear. Where an audiogram of CPC3
    only stands in for a grade, it is that grade.
    """
    for grade, stand_in in STAND_INS.items():
        if all(tuple(ear.levels) == stand_in for ear in listener.ears):
            return grade.lower()
    mean = min(np.interp(WHO_HZ, one.frequencies, one.levels).mean() for one in listener.ears)
    return next(grade for grade, limit in WHO_GRADES.items() if mean < limit)


def with_conditions(test: pd.DataFrame, presentations: Iterable[Presentation]) -> pd.DataFrame:
    """Add `CEC`, the enhancement challenge of each signal, and `SNR`, its class, where known.

    Where several challenges are mixed, their systems are others under the same names.
    """
    presentations = list(presentations)
    cecs = test["signal"].map({one.name: one.cec for one in presentations if one.cec})
    test = test.assign(CEC=cecs)
    if cecs.nunique() > 1:
        test["system"] = cecs.str.cat(test["system"], " ").where(cecs.notna(), test["system"])
    snr = test["signal"].map({one.name: one.snr for one in presentations}).astype(float)
    if snr.notna().any():
        edges = SNR_CLASS * np.arange(
            np.floor(snr.min() / SNR_CLASS), np.floor(snr.max() / SNR_CLASS) + 2
        )
        names = [f"{low:g} to {high:g} dB" for low, high in pairwise(edges)]
        test["SNR"] = pd.cut(snr, list(edges), right=False, labels=names)
    return test
