"""Speech in noise at a speech-weighted signal-to-noise ratio, as CEC1 defines it."""

from functools import cache
from pathlib import Path

import numpy as np
import soundfile as sf
from scipy.signal import fftconvolve, firwin2

from intelligibility.ears import ASR_RATE, resample

# The speech weighting of CEC1's scenes: Hz and the magnitude of the filter there.
WEIGHTS = {
    0: 0.0001,
    150: 0.0103,
    250: 0.0261,
    350: 0.0419,
    450: 0.0577,
    4000: 0.0577,
    4800: 0.046,
    5800: 0.0343,
    7000: 0.0226,
    8500: 0.0110,
    9500: 0.0001,
    22050: 0.0001,
}
N_TAPS = 513  # at 16 kHz: a resolution of 31 Hz
PEAK = 0.999  # of a mixture that 16 bits would clip otherwise


@cache
def speech_weighting(rate: int) -> np.ndarray:
    """Return the impulse response of the speech weighting, (N_TAPS,), at `rate` in Hz."""
    nyquist = rate / 2
    frequencies = [frequency for frequency in WEIGHTS if frequency < nyquist] + [nyquist]
    magnitudes = np.interp(frequencies, list(WEIGHTS), list(WEIGHTS.values()))
    return firwin2(N_TAPS, frequencies, magnitudes, fs=rate)


def weighted_level(signal: np.ndarray, rate: int) -> float:
    """Return the level of a signal (n_samples,) after the speech weighting, dB re 1."""
    weighted = fftconvolve(signal, speech_weighting(rate), mode="same")
    return 10 * np.log10(np.mean(weighted**2) + 1e-30)


def mix(speech: np.ndarray, noise: np.ndarray, snr: float, rate: int = ASR_RATE) -> np.ndarray:
    """Add noise to speech, both (n_samples,), at a speech-weighted signal-to-noise ratio in dB.

    The speech keeps its level unless the mixture would clip: full scale is 1. `rate` is in Hz.
    Silence, which has no such ratio, is a ValueError.
    """
    for name, signal in (("speech", speech), ("noise", noise)):
        if not np.any(signal):
            raise ValueError(f"the {name} is silent")
    gain = weighted_level(speech, rate) - weighted_level(noise, rate) - snr
    mixture = speech + 10 ** (gain / 20) * noise
    return mixture * min(1.0, PEAK / np.abs(mixture).max())


def excerpt(path: Path, start: float, n_samples: int) -> np.ndarray:
    """Return part of a sound, (n_samples,) at 16 kHz; one that is too short is repeated.

    The file has any rate; of several channels the first is taken. The excerpt begins at `start`, 0
    to 1, as a share of the places where it fits.
    """
    info = sf.info(path)
    n_needed = -(-n_samples * info.samplerate // ASR_RATE)
    first = int(start * max(0, info.frames - n_needed))
    sound, rate = sf.read(path, n_needed, first, dtype="float64", always_2d=True)
    sound = np.resize(sound[:, :1], (n_needed, 1))
    return resample(sound, rate, ASR_RATE)[:n_samples, 0]
