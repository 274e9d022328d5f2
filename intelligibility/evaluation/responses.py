"""Similarities of a split matched with what the listeners answered, one row per signal."""

import logging
from collections import Counter
from dataclasses import replace

import numpy as np
import pandas as pd

from intelligibility.corpora.cpc1 import MEASURES, Cpc1, Response, listed
from intelligibility.evaluation.scoring import MIN_SIGNALS
from intelligibility.runs import RecipeError, read_json

logger = logging.getLogger(__name__)

FIELDS = ["signal", "scene", "listener", "system", "correctness"]
SEVERITIES = ("NOTHING", "MILD", "MODERATE", "SEVERE")  # as MSBG grades, in this order


def read_signals(cpc1: Cpc1, split: str) -> tuple[pd.DataFrame, dict[str, int]]:
    """Read what is known of a split's signals.

    Parameters
    ----------
    cpc1 : Cpc1
        Where the files are.
    split : str
        "dev" or "test".

    Returns
    -------
    signals : DataFrame
        Sorted by signal: signal, scene, listener, system, correctness (percent, NaN where it is not
        released) and `{measure}_similarity` (0..1) for every measure that was computed.
    counts : dict
        Numbers of signals: matched, unlabelled (no response), missing (a response, but no
        similarity), double (more than one response) and unknown (a similarity, but not listed in
        the release).

    Raises
    ------
    RecipeError
        No similarities, none that matches, or two responses to a signal that contradict each other.
    """
    responses = _dev_responses(cpc1) if split == "dev" else cpc1.responses("test")
    similarities = read_similarities(cpc1, split)
    known, double = _one_response_each(responses)
    if cpc1.test_responses and split == "test" and not similarities.index.isin(list(known)).all():
        known = _listed_test_signals(cpc1) | known
    labelled = [name for name in sorted(known) if known[name].correctness is not None]
    missing = [name for name in labelled if name not in similarities.index]
    unknown = sorted(name for name in similarities.index if name not in known)
    _warn(split, "with a response, but with no similarity", missing)
    _warn(split, "with more than one response", double)
    _warn(split, "with a similarity, but not among the release's: left out", unknown)

    found = [vars(known[name]) for name in similarities.index if name in known]
    if not found and len(similarities):
        raise RecipeError(
            f"{split}: none of the {len(similarities)} signals with a similarity is among the "
            f"{len(known)} that the release lists; give cpc1_track and the paths as for infer.py"
        )
    rows = pd.DataFrame(found, columns=FIELDS)
    signals = rows.astype({"correctness": float}).join(similarities, on="signal")
    return signals, {
        "matched": int(signals["correctness"].notna().sum()),
        "unlabelled": int(signals["correctness"].isna().sum()),
        "missing": len(missing),
        "double": len(double),
        "unknown": len(unknown),
    }


def _listed_test_signals(cpc1: Cpc1) -> dict[str, Response]:
    """Return all that the release lists: responses can be released for a part of them only."""
    release = replace(cpc1, test_responses=None)
    return {signal.signal: signal for signal in release.responses("test")}


def _dev_responses(cpc1: Cpc1) -> list[Response]:
    if not cpc1.scene_list("dev").is_file():
        raise RecipeError(f"{cpc1.scene_list('dev')}: no such file; run prepare_data.py first")
    scenes = set(read_json(cpc1.scene_list("dev"), list))
    if not scenes:
        raise RecipeError(
            f"{cpc1.scene_list('dev')}: dev is empty, so there is nothing to fit the logistic on; "
            f"it needs at least {MIN_SIGNALS} dev signals with a response. Use more training "
            "scenes or a larger dev_percent, or calibration=other/calibration.json of another run"
        )
    return [response for response in cpc1.responses("train") if response.scene in scenes]


def read_similarities(cpc1: Cpc1, split: str) -> pd.DataFrame:
    """Read every measure of a split that infer.py wrote: one row per signal, sorted, 0..1."""
    files = {measure: cpc1.measure_file(split, measure) for measure in MEASURES}
    columns = {}
    for measure, path in files.items():
        if path.is_file():
            values = read_json(path, dict)
            wrong = [f"{name}: {one!r}" for name, one in values.items() if not _is_similarity(one)]
            if wrong:
                raise RecipeError(
                    f"{path}: {listed(wrong)}; expected similarities, -1 to 1; run infer.py again"
                )
            columns[f"{measure}_similarity"] = pd.Series(values, dtype=float)
    if not columns:
        raise RecipeError(
            f"{files['enc']}: no such file; run infer.py first, with the same config, so that each "
            f"{split} signal has a similarity"
        )
    _check_same_signals(split, columns)
    return pd.DataFrame(columns).sort_index()


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
            "again, which writes all of them, or remove the files of the measure that is old"
        )


def _is_similarity(value: object) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and -1.001 <= value <= 1.001  # a cosine, give or take rounding


def _one_response_each(responses: list[Response]) -> tuple[dict[str, Response], list[str]]:
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
    return known, sorted(name for name, n in times.items() if n > 1)


def _warn(split: str, what: str, names: list[str]) -> None:
    if names:
        logger.warning("%s: %d signals %s: %s", split, len(names), what, listed(names))


def better_ear(cpc1: Cpc1, names: pd.Series) -> pd.DataFrame:
    """Return each listener's hearing loss in the better ear, indexed by listener.

    The better ear stands for the listener, as in the WHO's grades of hearing loss: with signals at
    both ears, speech is understood mostly through it, and the similarity takes the better of both
    ears too.

    Returns
    -------
    DataFrame
        level: mean threshold from 2 to 8 kHz, dB HL, the range that MSBG grades by; severity:
        MSBG's category of that ear. Empty, with a warning, where the release's audiograms are not
        at hand.
    """
    try:
        listeners = cpc1.listeners("test")
    except RecipeError as error:
        logger.warning("Nothing by severity of hearing loss: %s", error)
        return pd.DataFrame(columns=["level", "severity"])
    unheard = sorted(set(names) - set(listeners))
    if unheard:
        raise RecipeError(f"{cpc1.listeners_file('test')}: no audiogram of {listed(unheard)}")
    rows = {}
    for name in sorted(set(names)):
        ears = [listeners[name].audiogram_left, listeners[name].audiogram_right]
        ear = min(ears, key=_mean_level)
        rows[name] = {"level": _mean_level(ear), "severity": str(ear.severity)}
    table = pd.DataFrame.from_dict(rows, orient="index")
    return table.astype({"severity": pd.CategoricalDtype(SEVERITIES, ordered=True)})


def _mean_level(audiogram) -> float:
    frequencies = np.asarray(audiogram.frequencies)
    high = (frequencies >= 2000) & (frequencies <= 8000)
    return float(np.mean(np.asarray(audiogram.levels)[high]))
