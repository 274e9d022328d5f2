"""A prediction: what it is made of, and how the recordings behind it were made and played."""

import math
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from intelligibility.experiment import EARS
from intelligibility.prediction.recording import Recording, active_level
from intelligibility.runs import RecipeError, is_number
from msbg import Listener
from msbg.audiogram import TRUSTED_DB_HL

LATEST_START = 60.0  # s


@dataclass(frozen=True)
class Conditions:
    """How the recordings were made, and how they are prepared."""

    align: bool = True  # whether the delay of the processed recording is found and removed
    # Seconds to drop at the start of both, 2.0 in CPC1, and none at the end. None: the sentence is
    # found in the reference.
    start: float | None = None
    # The level of 0 dB FS; None: as in the data of the model.
    full_scale_db_spl: float | None = None
    speech_level: float | None = None  # the level of the reference's speech in dB SPL, instead
    ear: str = "both"  # which ears listen: "both", "left" or "right"

    def __post_init__(self) -> None:
        """Refuse values that are not valid, alone or together."""
        if self.ear not in ("both", *EARS):
            raise RecipeError(f"ear={self.ear}: expected both, left or right")
        if not isinstance(self.align, bool):
            raise RecipeError(f"align={self.align}: expected true or false")
        for name in ("start", "full_scale_db_spl", "speech_level"):
            value = getattr(self, name)
            if value is not None and not (is_number(value) and math.isfinite(value)):
                raise RecipeError(f"{name}={value}: expected a number")
        if self.full_scale_db_spl is not None and self.speech_level is not None:
            raise RecipeError("full_scale_db_spl and speech_level: give one of the two")
        if self.start is not None and not 0 <= self.start < LATEST_START:
            raise RecipeError(f"start={self.start}: expected seconds, 0 to {LATEST_START:g}")

    @property
    def delay(self) -> float | None:
        """The delay in s; None where it is searched."""
        return None if self.align else 0.0

    def listening(self, signal: np.ndarray) -> np.ndarray:
        """Return a signal (n_samples, 2) at the ears that listen: one alone stands for both."""
        if self.ear == "both":
            return signal
        number = EARS.index(self.ear)
        return signal[:, [number, number]]


AS_IT_COMES = Conditions()


@dataclass(frozen=True)
class EarSignals:
    """What the recogniser receives, and how it was made."""

    # (n, 2) float32: at 16 kHz, left and right; `processed` after the hearing loss.
    processed: np.ndarray
    reference: np.ndarray
    delay: float  # seconds by which the processed recording was late
    level: float  # of the reference's speech, dB SPL
    warnings: list[str]  # what may make the prediction worse


@dataclass(frozen=True)
class Prediction:
    """The predicted intelligibility of one sentence in two recordings.

    Attributes
    ----------
    percent : float
        Predicted words correct, 0..100, by the measure `by`.
    by : str
        The measure that was chosen.
    rmse : float or None
        Of the mapping on the signals that it was fitted on, in percent words correct; None where
        there is no mapping: `percent` is uncalibrated then.
    interval : tuple of float, or None
        Between which percentages four of five answers to one sentence are expected.
    percents : dict of str to float
        The prediction by every measure.
    similarities : dict of str to float
        Every measure, 0..1, of the better ear as published.
    by_ear : dict of str to dict
        The same of the left and of the right ear alone.
    words : dict of str to str or None
        What was recognised at the left and at the right ear; None from a recogniser without words;
        empty without a recogniser.
    text : str
        The sentence.
    text_given : bool
        False where the recogniser's transcript of the reference is used as the sentence.
    heard : EarSignals
        Signals, delay, level and warnings.
    course : ndarray, (frames,), or None
        Similarity of the encoder's frames over time: 25 per second, 50 with recognisers from the
        hub; None without a recogniser.
    modulations : dict of str to dict
        Of HASPI, by ear: correlation of the envelopes, by modulation rate in Hz; empty without it.
    compared : dict of str to list of tuple
        Of each ear with words, those of the sentence as they are scored, True where one was lost.
    fitted_on : str
        What the mapping was fitted on, where that is built in.
    reference_wcs : float or None
        The share of a given text's words that the recogniser understands in the clean reference.
    """

    percent: float
    by: str
    rmse: float | None
    percents: dict[str, float]
    similarities: dict[str, float]
    by_ear: dict[str, dict[str, float]]
    words: dict[str, str | None]
    text: str
    text_given: bool
    heard: EarSignals = field(repr=False)
    course: np.ndarray | None = field(repr=False)
    interval: tuple[float, float] | None = None
    modulations: dict[str, dict[float, float]] = field(default_factory=dict)
    compared: dict[str, list[tuple[str, bool]]] = field(default_factory=dict, repr=False)
    fitted_on: str = ""
    reference_wcs: float | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the numbers and texts, without the signals and the course."""
        shown = [one.name for one in fields(self) if one.repr]
        more = ("delay", "level", "warnings")
        return {name: getattr(self, name) for name in shown} | {
            name: getattr(self.heard, name) for name in more
        }


def full_scale_of(reference: Recording, conditions: Conditions, as_fitted: float) -> float:
    """Return the level of 0 dB FS in dB SPL; `as_fitted` where the conditions do not say."""
    if conditions.speech_level is not None:
        return conditions.speech_level - active_level(reference)
    if conditions.full_scale_db_spl is not None:
        return float(conditions.full_scale_db_spl)
    return as_fitted


def loss_warnings(listener: Listener) -> list[str]:
    """Return what the simulation of a listener's hearing loss was not designed for."""
    highest = max(float(ear.levels.max()) for ear in listener.ears)
    if highest <= TRUSTED_DB_HL:
        return []
    return [
        f"a loss of {highest:g} dB HL: above {TRUSTED_DB_HL:g} dB HL simulation and HASPI are "
        "not to be trusted"
    ]
