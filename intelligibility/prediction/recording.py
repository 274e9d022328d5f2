"""Recordings as people have them: any rate, any sample format, mono or stereo; and their levels.

Levels are in dB re full scale unless a name says dB SPL.
"""

import io
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
from scipy.signal import resample_poly

from intelligibility.experiment import EARS
from intelligibility.runs import ASR_RATE, KAISER_BEST, SPEECH_SECONDS, RecipeError
from msbg.ear import gated_rms

LOWEST_RATE = 8000  # Hz
LONGEST = SPEECH_SECONDS[1] - 1  # s, with room for rounding
SHORTEST = 0.2  # s
CLIPPED = 0.999  # of full scale, where three samples in a row have the same value
UNSCALED = 8.0  # samples beyond it were never scaled: full scale is 1
# A constant offset, of full scale, in parts of a recording of which none has twice that of another.
# A thousandth changes what a recogniser makes of speech. Aids that turn loud sound into an offset,
# a real one and one of the miniature's among them, have 2.5 times that of another and more.
OFFSET, OFFSET_PARTS, OFFSET_VARIES = 0.0003, 8, 2.0
QUIET, LOUD = 40.0, 100.0  # dB SPL: speech in a reference outside is unusual
FAINT = 30.0  # dB SPL: speech in a processed recording below it is hardly heard by anyone
STREAMED = 2_000_000_000  # bytes: a size beyond it was written before the sound was known


@dataclass(frozen=True)
class Recording:
    """A recording of both ears."""

    signal: np.ndarray  # (n_samples, 2) float64: left and right, full scale 1, without an offset
    rate: int  # Hz
    name: str  # its name in messages
    warnings: tuple[str, ...] = ()  # what about it may make the prediction worse


def read_recording(path: str | Path) -> Recording:
    """Read a WAV or FLAC file; a mono one is the same at both ears."""
    path = Path(path).expanduser()
    signal, rate = _checked(read_audio, path)
    return recording_of(signal, rate, str(path))


def check_header(path: str | Path) -> None:
    """Check that a file can be read as audio, without reading its samples."""
    _checked(header_of, Path(path).expanduser())


def _checked(read: Callable[[Path], Any], path: Path) -> Any:
    try:
        return read(path)
    except ValueError as error:
        raise RecipeError(f"{path}: {error}; give a whole WAV or FLAC file") from None


def header_of(path: Path) -> Any:
    """Return what the header of a sound file promises: `frames`, `samplerate` and `channels`.

    Raises
    ------
    ValueError
        What is wrong with the file, without its name.
    """
    try:
        if path.stat().st_size == 0:
            raise ValueError("empty file")
        header = sf.info(_with_sizes(path), verbose=True)
    except FileNotFoundError:
        raise ValueError("missing file") from None
    except (OSError, sf.SoundFileError):
        raise ValueError("file that cannot be read as audio") from None
    # libsndfile says of a chunk that is cut off what its size should be.
    if any(int(size) < STREAMED for size in re.findall(r": (\d+) \(should", header.extra_info)):
        raise ValueError("truncated file")
    if not header.frames:
        raise ValueError("file without samples")
    return header


def read_audio(path: Path) -> tuple[np.ndarray, int]:
    """Read a sound file whole: (n_samples, n_channels), float64, and its rate in Hz.

    Raises
    ------
    ValueError
        What is wrong with the file, without its name.
    """
    header = header_of(path)
    try:
        signal, rate = sf.read(_with_sizes(path), dtype="float64", always_2d=True)
    except (OSError, sf.SoundFileError):
        raise ValueError("damaged or truncated file") from None
    if len(signal) != header.frames:
        raise ValueError("damaged or truncated file")
    if not np.isfinite(signal).all():
        raise ValueError("samples that are not finite")
    return signal, rate


def _with_sizes(path: Path) -> Path | io.BytesIO:
    """Return a file, or its content with the size of the sound where a stream left that 0."""
    with path.open("rb") as stream:
        head = stream.read(4096)
    at = head.find(b"data") + 4
    if head[:4] != b"RIFF" or at < 4 or any(head[at : at + 4]):
        return path
    content = bytearray(path.read_bytes())
    content[at : at + 4] = (len(content) - at - 4).to_bytes(4, "little")
    return io.BytesIO(content)


def recording_of(signal: np.ndarray, rate: int, name: str) -> Recording:
    """Check samples, (n_samples,) or (n_samples, 1 or 2), full scale 1; return both ears.

    A constant offset is removed.
    """
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
    if (peak := np.abs(signal).max()) > UNSCALED:
        raise RecipeError(
            f"{name}: samples up to {peak:.0f} where full scale is 1; divide whole numbers by "
            "their full scale, 32768 with 16 bits"
        )
    warnings = oddities(signal)
    if clipped := _clipped(signal):
        warnings.append(f"{clipped} samples at full scale, probably clipped")
    signal = signal - _offsets(signal)
    if np.abs(signal).max() == 0:
        raise RecipeError(f"{name}: is silent; there is nothing to score")
    if rate < ASR_RATE:
        warnings.append(f"{rate} Hz, so it holds nothing above {rate / 2000:g} kHz")
    both = np.repeat(signal, 2, axis=1) if signal.shape[1] == 1 else signal
    return Recording(both, rate, name, tuple(f"{name}: {one}" for one in warnings))


def oddities(signal: np.ndarray) -> list[str]:
    """Return what is strange about a sound, (n_samples, n_channels), that can be processed."""
    peaks = np.abs(signal).max(axis=0)
    if not peaks.any():
        return ["silent"]
    found = [f"silent at the {ear} ear" for ear, peak in zip(EARS, peaks, strict=False) if not peak]
    if peaks.max() > UNSCALED:
        found.append("samples far beyond full scale (1)")
    if (offsets := _offsets(signal)).any():
        found.append(
            f"a constant offset of {np.abs(offsets).max():.4f} of full scale (removed from your "
            "own recordings, left in those of a challenge)"
        )
    return found


def _offsets(signal: np.ndarray) -> np.ndarray:
    """Return the offset of each channel, 0 where it cannot be told from the sound.

    Low noise and clipping of one half of the waves move the mean too, but not everywhere.
    """
    parts = np.array([np.median(part, axis=0) for part in np.array_split(signal, OFFSET_PARTS)])
    least, most = np.abs(parts).min(axis=0), np.abs(parts).max(axis=0)
    one_sign = np.abs(np.sign(parts).sum(axis=0)) == OFFSET_PARTS
    is_constant = one_sign & (least > OFFSET) & (most < OFFSET_VARIES * least)
    return np.where(is_constant, signal.mean(axis=0), 0.0)


def _clipped(signal: np.ndarray) -> int:
    """Count samples at full scale whose two predecessors have the same value."""
    level = (signal[2:] == signal[1:-1]) & (signal[1:-1] == signal[:-2])
    return int(np.sum(level & (np.abs(signal[2:]) >= CLIPPED)))


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

    return replace(recording, signal=resample(recording.signal, recording.rate, rate), rate=rate)


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
    return replace(recording, signal=resample_poly(recording.signal, new, old, 0, taps), rate=rate)


def active_level(recording: Recording) -> float:
    """Return the level of the louder ear, without pauses, in dB re full scale."""
    rms = max(gated_rms(channel, recording.rate) for channel in recording.signal.T)
    if rms == 0:
        raise RecipeError(f"{recording.name}: nothing in it is loud enough to be heard")
    return float(20 * np.log10(rms))
