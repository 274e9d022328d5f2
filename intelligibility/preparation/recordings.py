"""Your own recordings, aligned and cut to the sentence as score.py does it; and what was found."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from intelligibility.prediction.alignment import bulk_delay, in_time, span_of
from intelligibility.prediction.recording import (
    LOUD,
    QUIET,
    active_level,
    at_rate,
    quality_warnings,
    read_recording,
)
from intelligibility.preparation.check import Source
from intelligibility.runs import RecipeError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cut:
    """A sound in time with its reference, of which `lead_in` seconds at the start are to go.

    Attributes
    ----------
    signal : ndarray, (n_samples, 2), float64
        Left and right, full scale 1.
    rate : int
        Hz.
    lead_in : float
        Seconds before the speech.
    delay : float
        Seconds by which it was later than its reference.
    odd : str or None
        What is strange about it.
    """

    signal: np.ndarray
    rate: int
    lead_in: float
    delay: float = 0.0
    odd: str | None = None


def cut_own(source: Source, msbg_settings: dict[str, Any]) -> Cut:
    """Read an own recording, remove its delay, and find the sentence in its reference.

    Raises
    ------
    ValueError
        It cannot be used: silent, or not of the same sentence as its reference.
    """
    try:
        recording = read_recording(source.path)
        reference = read_recording(source.cut_by or source.path)
        start, stop = span_of(reference) if source.lead_in is None else (source.lead_in, None)
        if source.delay is None:
            delay, doubt = bulk_delay(recording, reference)
        else:
            delay, doubt = source.delay, None
        odd = [doubt] if doubt else []
        told = [one.removeprefix(f"{recording.name}: ") for one in quality_warnings(recording)]
        odd += [one for one in told if "clipped" in one]
        if source.kind == "ref":
            level = active_level(reference) + msbg_settings["equiv_0db_spl"] + msbg_settings["ahr"]
            if not QUIET <= level <= LOUD:
                odd.append(
                    f"speech at {level:.0f} dB SPL, expected {QUIET:g} to {LOUD:g}; 0 dB FS is "
                    "MSBGEar.equiv_0db_spl + MSBGEar.ahr"
                )
    except RecipeError as error:
        raise ValueError(str(error)) from None
    if source.listener is not None:  # as score.py, which removes the delay at this rate
        recording = at_rate(recording, msbg_settings["sample_rate"])
    signal = in_time(recording, delay, stop)
    return Cut(signal, recording.rate, start, delay, "; ".join(odd) or None)


def log_delays(delays: Iterable[float]) -> None:
    """Log by how much own recordings were later than their references."""
    found = 1000 * np.array([*delays])
    if len(found):
        logger.info(
            "%d recordings are %.0f to %.0f ms later than their references, half of them %.0f ms "
            "or more; presentations.json has each",
            *(len(found), found.min(), found.max(), np.median(found)),
        )
