"""Recordings as people have them: any rate, any sample format, mono or stereo; and their levels.

Levels are in dB re full scale unless a name says dB SPL.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
from scipy.signal import resample_poly

from intelligibility.runs import KAISER_BEST, SPEECH_SECONDS, RecipeError
from msbg.ear import gated_rms

LOWEST_RATE = 8000  # Hz
LONGEST = SPEECH_SECONDS[1] - 1  # s, with room for rounding
SHORTEST = 0.2  # s
CLIPPED = 0.999  # of full scale
QUIET, LOUD = 40.0, 100.0  # dB SPL: speech outside is unusual


@dataclass(frozen=True)
class Recording:
    """A recording of both ears.

    Attributes
    ----------
    signal : ndarray, (n_samples, 2), float64
        Left and right, full scale 1.
    rate : int
        Hz.
    name : str
        Its name in messages.
    """

    signal: np.ndarray
    rate: int
    name: str


def read_recording(path: str | Path) -> Recording:
    """Read a WAV or FLAC file; a mono one is the same at both ears."""
    signal, rate = _read(sf.read, path, dtype="float64", always_2d=True)
    return recording_of(signal, rate, str(Path(path).expanduser()))


def check_header(path: str | Path) -> None:
    """Check that a file can be read as audio, without reading its samples."""
    if not _read(sf.info, path).frames:
        raise RecipeError(f"{path}: has no samples")


def _read(read: Callable, path: str | Path, **options: Any) -> Any:
    path = Path(path).expanduser()
    try:
        return read(path, **options)
    except (sf.SoundFileError, OSError) as error:
        what = f"cannot be read as audio ({error})" if path.is_file() else "no such file"
        raise RecipeError(f"{path}: {what}; give a WAV or FLAC file") from None


def recording_of(signal: np.ndarray, rate: int, name: str) -> Recording:
    """Check samples, (n_samples,) or (n_samples, 1 or 2), full scale 1; return both ears."""
    signal = np.asarray(signal, dtype=np.float64)
    signal = signal[:, None] if signal.ndim == 1 else signal
    if signal.ndim != 2 or signal.shape[1] not in (1, 2):
        raise RecipeError(
            f"{name}: shape {signal.shape}, expected one channel or two (left, right)"
        )
    if rate < LOWEST_RATE:
        raise RecipeError(f"{name}: {rate} Hz, expected at least {LOWEST_RATE} Hz")
    seconds = len(signal) / rate
    if not SHORTEST <= seconds <= LONGEST:
        raise RecipeError(
            f"{name}: {seconds:.2f} s, expected one sentence of {SHORTEST} to {LONGEST:g} s"
        )
    if not np.isfinite(signal).all():
        raise RecipeError(f"{name}: holds samples that are not finite; write the file again")
    if np.abs(signal).max() == 0:
        raise RecipeError(f"{name}: is silent; there is nothing to score")
    return Recording(np.repeat(signal, 2, axis=1) if signal.shape[1] == 1 else signal, rate, name)


def recordings_of(
    processed: np.ndarray | Recording, reference: np.ndarray | Recording, rate: int | None
) -> tuple[Recording, Recording]:
    """Return two recordings as they are, or two arrays of one rate in Hz as recordings."""
    first, second = (
        one if isinstance(one, Recording) else recording_of(one, rate or 0, name)
        for name, one in (("processed", processed), ("reference", reference))
    )
    return first, second


def at_rate(recording: Recording, rate: int) -> Recording:
    """Return the recording at another rate in Hz, as the stages resample."""
    from intelligibility.ears import resample

    return Recording(resample(recording.signal, recording.rate, rate), rate, recording.name)


def resampled(recording: Recording, rate: int) -> Recording:
    """Return the recording at another rate in Hz, for what needs no recogniser.

    The filter is that of `intelligibility.ears.resample`, in double precision and without torch:
    what predicts by HASPI alone runs where torch is not installed, and starts in less time.
    """
    if rate == recording.rate:
        return recording
    zeros, beta = KAISER_BEST["lowpass_filter_width"], KAISER_BEST["beta"]
    common = math.gcd(rate, recording.rate)
    old, new = recording.rate // common, rate // common
    cutoff = min(old, new) * KAISER_BEST["rolloff"]
    half = math.floor(zeros * old * new / cutoff)
    time = np.arange(-half, half + 1) * cutoff / (old * new)  # in zeros of the sinc
    window = np.i0(beta * np.sqrt(1 - (time / zeros) ** 2)) / np.i0(beta)
    taps = np.sinc(time) * window * cutoff / (old * new)
    return Recording(resample_poly(recording.signal, new, old, 0, taps), rate, recording.name)


def active_level(recording: Recording) -> float:
    """Return the level of the louder ear, without pauses, in dB re full scale."""
    rms = max(gated_rms(channel) for channel in recording.signal.T)
    if rms == 0:
        raise RecipeError(f"{recording.name}: nothing in it is loud enough to be heard")
    return float(20 * np.log10(rms))


def quality_warnings(recording: Recording) -> list[str]:
    """Return what about a recording may make the prediction worse."""
    name, rate = recording.name, recording.rate
    warnings = []
    if clipped := int(np.sum(np.abs(recording.signal) >= CLIPPED)):
        warnings.append(f"{name}: {clipped} samples at full scale, probably clipped")
    if rate < 44100:
        warnings.append(f"{name}: {rate} Hz, so it holds nothing above {rate / 2000:g} kHz")
    return warnings
