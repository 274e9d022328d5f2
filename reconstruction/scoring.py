"""From what was heard of every utterance to the rows of the table."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from msbg.audiogram import SEVERITIES
from reconstruction.utterances import CONDITIONS

ALL = "ALL"
RESAMPLES = 1000
COLUMNS = (
    *("source", "layer", "depth", "floats_per_s", "params", "inverter", "condition", "listener"),
    *("n_words", "mel_l1", "mel_l1_train", "skill", "wer", "wer_ci_lo", "wer_ci_hi"),
    *("wer_original", "wer_copy", "excess_wer"),
)


@dataclass(frozen=True)
class Transcript:
    """One signal after its way through a layer, as the judge heard it.

    Attributes
    ----------
    name, condition, listener, severity, prompt, text : str
        Which ear signal, and what was made of it.
    errors, n_words : int
        Wrong words, and words of the prompt.
    mel_l1, mean_l1 : float or None
        Mean absolute error of the log-mel spectrogram in nats, and that of the condition's band
        mean; None where there is no spectrogram (the original).
    """

    name: str
    condition: str
    listener: str
    severity: str
    prompt: str
    text: str
    errors: int
    n_words: int
    mel_l1: float | None = None
    mean_l1: float | None = None


def rows_of(
    heard: Sequence[Transcript],
    about: Mapping[str, Any],
    original: Sequence[Transcript],
    copy: Sequence[Transcript],
    seed: int,
) -> list[dict[str, Any]]:
    """Score one layer: a row per condition for all, for each severity and for each listener.

    Parameters
    ----------
    heard : sequence of Transcript
        All of its signals.
    about : mapping
        The columns that say which layer and inverter this is, and mel_l1_train.
    original, copy : sequence of Transcript
        The same signals untouched, and after analysis and vocoder alone.
    seed : int
        Of the bootstrap.
    """
    rows = []
    for condition in CONDITIONS:
        part, whole, ceiling = (
            [one for one in some if one.condition == condition] for some in (heard, original, copy)
        )
        for group, names in groups(part).items():
            members, untouched, copied = (
                [one for one in some if one.name in names] for some in (part, whole, ceiling)
            )
            row = {**about, "condition": condition, "listener": group}
            row |= group_scores(members, seed)
            row |= {"wer_original": wer(untouched), "wer_copy": wer(copied)}
            row["excess_wer"] = row["wer"] - row["wer_copy"]
            rows.append(row)
    return rows


def groups(heard: Iterable[Transcript]) -> dict[str, set[str]]:
    """Return names of signals: all, by severity of the ear's loss, and by listener."""
    heard = list(heard)
    found = {ALL: {one.name for one in heard}}
    for severity in SEVERITIES:
        if names := {one.name for one in heard if one.severity == severity}:
            found[severity] = names
    for listener in sorted({one.listener for one in heard}):
        found[listener] = {one.name for one in heard if one.listener == listener}
    return found


def group_scores(heard: Sequence[Transcript], seed: int) -> dict[str, Any]:
    """Return n_words, mel_l1, skill and wer with its interval, for some signals."""
    low, high = wer_interval(heard, seed)
    scores = {"n_words": sum(one.n_words for one in heard), "mel_l1": None, "skill": None}
    if all(one.mel_l1 is not None for one in heard):
        mel_l1 = float(np.mean([one.mel_l1 for one in heard]))
        mean_l1 = float(np.mean([one.mean_l1 for one in heard]))
        scores |= {"mel_l1": mel_l1, "skill": 1 - mel_l1 / mean_l1 if mean_l1 > 0 else None}
    return scores | {"wer": wer(heard), "wer_ci_lo": low, "wer_ci_hi": high}


def wer(heard: Iterable[Transcript]) -> float:
    """Return the word error rate in percent; insertions may take it above 100."""
    heard = list(heard)
    return 100 * sum(one.errors for one in heard) / sum(one.n_words for one in heard)


def wer_interval(heard: Sequence[Transcript], seed: int) -> tuple[float, float]:
    """Return a 95 % interval of the word error rate: bootstrap over utterances."""
    errors, words = np.array([(one.errors, one.n_words) for one in heard]).T
    drawn = np.random.default_rng(seed).integers(len(heard), size=(RESAMPLES, len(heard)))
    rates = 100 * errors[drawn].sum(1) / words[drawn].sum(1)
    low, high = np.percentile(rates, [2.5, 97.5])
    return float(low), float(high)


def table_of(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Return rows as a table, columns in the order of `COLUMNS`, then what else they hold."""
    table = pd.DataFrame(list(rows))
    return table[[*COLUMNS, *(name for name in table.columns if name not in COLUMNS)]]


def records(heard: Iterable[Transcript]) -> list[dict[str, Any]]:
    """Return signals as they are written to a file."""
    return [asdict(one) for one in heard]
