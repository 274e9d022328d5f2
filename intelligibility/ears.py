"""From a stereo sound and a listener to what each ear hears, at the recogniser's rate."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
import torch
from torchaudio.transforms import Resample

from intelligibility.runs import ASR_RATE, KAISER_BEST, RecipeError
from msbg import Listener, simulate


def resample(signal: np.ndarray, rate: int, new_rate: int) -> np.ndarray:
    """Bring a signal (n_samples, n_channels) from one rate in Hz to another."""
    if rate == new_rate:
        return signal
    wave = torch.from_numpy(np.ascontiguousarray(signal.T))
    return _resampler(rate, new_rate, wave.dtype)(wave).numpy().T


@lru_cache(maxsize=4)
def _resampler(rate: int, new_rate: int, dtype: torch.dtype) -> Resample:
    """Return the filter between two rates: to design it takes longer than to apply it."""
    return Resample(rate, new_rate, **KAISER_BEST, dtype=dtype)


def ear_signals(
    signal: np.ndarray,
    rate: int,
    listener: Listener | None,
    msbg_settings: dict[str, Any],
    lead_in: float,
) -> np.ndarray:
    """Return what the two ears hear.

    ValueError where the simulation is not defined for this signal or listener.

    Parameters
    ----------
    signal : ndarray, (n_samples, 2)
        Left and right, full scale 1.
    rate : int
        Hz. What the simulation takes comes to its own rate first.
    listener : Listener or None
        Whose hearing loss to simulate; None for the clean reference, which gets no hearing-loss
        simulation.
    msbg_settings : dict
        `MSBGEar` of config.yaml.
    lead_in : float
        Seconds at the start that are dropped.

    Returns
    -------
    ndarray, (n_out, 2), float32
        At 16 kHz.
    """
    if listener is not None:
        signal = resample(signal, rate, msbg_settings["sample_rate"])
        signal = simulate(signal, listener, **msbg_settings)
        rate = msbg_settings["sample_rate"]
    return resample(signal, rate, ASR_RATE)[int(lead_in * ASR_RATE) :].astype(np.float32)


def read_speech(path: Path, lengths: tuple[int, int]) -> torch.Tensor:
    """Read one ear signal as prepare_data.py wrote it: (n_samples,), float32, 16 kHz.

    `lengths` are the samples of the shortest and of the longest signal that can be used. A file
    that cannot be read, or holds anything else, is refused.
    """
    try:
        samples, rate = sf.read(path, dtype="float32")
    except (sf.SoundFileError, OSError) as error:
        raise RecipeError(f"{path}: {error}; run prepare_data.py again") from None
    if samples.ndim != 1 or rate != ASR_RATE or not np.isfinite(samples).all():
        raise RecipeError(
            f"{path}: {samples.shape} samples at {rate} Hz, expected one channel of finite samples "
            f"at {ASR_RATE} Hz; run prepare_data.py again"
        )
    shortest, longest = lengths
    if not shortest <= len(samples) <= longest:
        raise RecipeError(
            f"{path}: {len(samples) / rate:.2f} s of speech; the recogniser takes "
            f"{shortest / rate:.3g} to {longest / rate:g} s: leave the signal out, or take another"
        )
    return torch.from_numpy(samples)
