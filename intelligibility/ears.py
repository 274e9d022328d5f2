"""From a stereo sound and a listener to what each ear hears, at the recogniser's rate."""

from typing import Any

import numpy as np
import torch
import torchaudio.functional

from intelligibility.runs import ASR_RATE
from msbg import Listener, simulate

# Windowed sinc under a Kaiser window, as librosa's "kaiser_best" (resampy, R. Lee & B. McFee).
KAISER_BEST = {
    "lowpass_filter_width": 64,
    "rolloff": 0.9475937167399596,
    "resampling_method": "sinc_interp_kaiser",
    "beta": 14.769656459379492,
}


def resample(signal: np.ndarray, rate: int, new_rate: int) -> np.ndarray:
    """Bring a signal (n_samples, n_channels) from one rate in Hz to another."""
    if rate == new_rate:
        return signal
    wave = torch.from_numpy(np.ascontiguousarray(signal.T))
    return torchaudio.functional.resample(wave, rate, new_rate, **KAISER_BEST).numpy().T


def ear_signals(
    signal: np.ndarray,
    rate: int,
    listener: Listener | None,
    msbg_settings: dict[str, Any],
    lead_in: float,
) -> np.ndarray:
    """Return what the two ears hear.

    Parameters
    ----------
    signal : ndarray, (n_samples, 2)
        Left and right, full scale 1.
    rate : int
        Hz. What the simulation takes comes to its own rate first.
    listener : Listener or None
        Whose hearing loss to simulate; None for the clean reference, which nobody's touches.
    msbg_settings : dict
        `MSBGEar` of config.yaml.
    lead_in : float
        Seconds at the start that are dropped.

    Returns
    -------
    ndarray, (n_out, 2), float32
        At 16 kHz.

    Raises
    ------
    ValueError
        The simulation is not defined for this signal or listener.
    """
    if listener is not None:
        signal = resample(signal, rate, msbg_settings["sample_rate"])
        signal = simulate(signal, listener, **msbg_settings)
        rate = msbg_settings["sample_rate"]
    return resample(signal, rate, ASR_RATE)[int(lead_in * ASR_RATE) :].astype(np.float32)
