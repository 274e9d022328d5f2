"""From what was heard of every utterance to the rows of the table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

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
    """One signal after its way through a layer, as the judge heard it; without text until then."""

    name: str  # of the ear signal
    condition: str
    listener: str
    severity: str
    prompt: str  # once heard, written as it is scored
    text: str = ""  # what the judge wrote down, as it is scored
    errors: int = 0  # wrong words
    n_words: int = 0  # of the prompt
    mel_l1: float | None = None  # nats: mean absolute error of the log-mel; None of the original
    mean_l1: float | None = None  # nats: that of the condition's band mean


def rows_of(
    heard: Sequence[Transcript],
    about: Mapping[str, Any],
    original: Sequence[Transcript],
    copy: Sequence[Transcript],
    seed: int,
) -> list[dict[str, Any]]:
    """Score one layer: a row per condition for all, for each severity and for each listener.

    `original` and `copy` are the same signals untouched, and after analysis and vocoder alone.
    `about` holds the columns that say which layer and inverter this is, and mel_l1_train; `seed` is
    that of the bootstrap.
    """
    rows = []
    for condition in CONDITIONS:
        for group, members in groups([one for one in heard if one.condition == condition]).items():
            names = {one.name for one in members}
            untouched, copied = (
                wer([one for one in some if one.condition == condition and one.name in names])
                for some in (original, copy)
            )
            row = {
                **about,
                "condition": condition,
                "listener": group,
                **group_scores(members, seed),
            }
            row |= {"wer_original": untouched, "wer_copy": copied}
            rows.append(row | {"excess_wer": row["wer"] - copied})
    return rows


def groups(heard: Sequence[Transcript]) -> dict[str, list[Transcript]]:
    """Group signals of one condition: all, by severity of the ear's loss, and by listener."""
    found = {ALL: list(heard)}
    for severity in SEVERITIES:
        if members := [one for one in heard if one.severity == severity]:
            found[severity] = members
    for listener in sorted({one.listener for one in heard}):
        found[listener] = [one for one in heard if one.listener == listener]
    return found


def group_scores(heard: Sequence[Transcript], seed: int) -> dict[str, Any]:
    """Return n_words, mel_l1, skill and wer with its interval, for some signals."""
    low, high = wer_interval(heard, seed)
    scores: dict[str, Any] = {"n_words": sum(one.n_words for one in heard)}
    scores |= {"mel_l1": None, "skill": None}
    if all(one.mel_l1 is not None for one in heard):
        mel_l1 = float(np.mean([one.mel_l1 for one in heard]))
        mean_l1 = float(np.mean([one.mean_l1 for one in heard]))
        scores |= {"mel_l1": mel_l1, "skill": 1 - mel_l1 / mean_l1 if mean_l1 > 0 else None}
    return scores | {"wer": wer(heard), "wer_ci_lo": low, "wer_ci_hi": high}


def wer(heard: Sequence[Transcript]) -> float:
    """Return the word error rate in percent; insertions may take it above 100."""
    return 100 * sum(one.errors for one in heard) / sum(one.n_words for one in heard)


def wer_interval(heard: Sequence[Transcript], seed: int) -> tuple[float, float]:
    """Return a 95 % interval of the word error rate: bootstrap over utterances."""
    errors, words = np.array([(one.errors, one.n_words) for one in heard]).T
    drawn = np.random.default_rng(seed).integers(len(heard), size=(RESAMPLES, len(heard)))
    rates = 100 * errors[drawn].sum(1) / words[drawn].sum(1)
    low, high = np.percentile(rates, [2.5, 97.5])
    return float(low), float(high)
