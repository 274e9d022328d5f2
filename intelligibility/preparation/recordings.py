"""Your own recordings, aligned and cut to the sentence as score.py does it; and what was found."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from intelligibility.prediction.alignment import find_sentence, in_time, level_and_warnings
from intelligibility.prediction.recording import at_rate, read_recording
from intelligibility.preparation.check import Source
from intelligibility.runs import RecipeError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cut:
    """A sound in time with its reference, of which `lead_in` seconds at the start are to go."""

    signal: np.ndarray  # (n_samples, 2) float64: left and right, full scale 1
    rate: int  # Hz
    lead_in: float  # seconds before the speech
    delay: float = 0.0  # seconds by which it was later than its reference
    odd: str | None = None  # what is strange about it


def cut_own(source: Source, msbg_settings: dict[str, Any]) -> Cut:
    """Read an own recording, remove its delay, and find the sentence in its reference.

    ValueError where it cannot be used: silent, or not of the same sentence as its reference.
    """
    full_scale = msbg_settings["equiv_0db_spl"] + msbg_settings["ahr"]
    try:
        recording = read_recording(source.path)
        reference = read_recording(source.cut_by or source.path)
        sentence = find_sentence(recording, reference, source.delay, source.lead_in)
        _, warnings = level_and_warnings(recording, reference, sentence, full_scale)
    except RecipeError as error:
        raise ValueError(str(error)) from None
    named = f"{recording.name}: "  # what is odd about the reference is said of the reference
    odd = [one.removeprefix(named) for one in dict.fromkeys(warnings) if one.startswith(named)]
    if source.listener is not None:  # as score.py, which removes the delay at this rate
        recording = at_rate(recording, msbg_settings["sample_rate"])
    signal = in_time(recording, sentence.delay, sentence.stop)
    return Cut(signal, recording.rate, sentence.start, sentence.delay, "; ".join(odd) or None)


def log_delays(delays: Iterable[float]) -> None:
    """Log by how much own recordings were later than their references."""
    found = 1000 * np.array([*delays])
    if len(found):
        logger.info(
            "%d recordings are %.0f to %.0f ms later than their references, half of them %.0f ms "
            "or more; presentations.json has each",
            *(len(found), found.min(), found.max(), np.median(found)),
        )
