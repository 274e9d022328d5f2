"""From the source to the cochlea and back: outer and middle ear as one linear-phase filter.

Stone and Moore (1999), Ear Hear. 20, 182-192, filter the sound with the response from its
reference point to the eardrum, less the loss of the middle ear. Tables are in dB.
"""

from functools import cache

import numpy as np
from scipy.signal import firwin, oaconvolve
from scipy.signal.windows import kaiser

from msbg.constants import SAMPLE_RATE

# fmt: off
FREQUENCIES_HZ = np.array([
    0, 20, 25, 31.5, 40, 50, 63, 80, 100, 125, 160, 200, 250, 315, 400, 500, 630, 750, 800, 1000,
    1250, 1500, 1600, 2000, 2500, 3000, 3150, 4000, 5000, 6000, 6300, 8000, 9000, 10000, 11200,
    12500, 14000, 15000, 16000, 20000, 48000])

# Loss of the middle ear at FREQUENCIES_HZ.
MIDDLE_EAR_DB = np.array([
    50, 39.6, 32, 25.85, 21.4, 18.5, 15.9, 14.1, 12.4, 11, 9.6, 8.3, 7.4, 6.2, 4.8, 3.8, 3.3, 2.9,
    2.6, 2.6, 4.5, 5.4, 6.1, 8.5, 10.4, 7.3, 7, 6.6, 7, 9.2, 10.2, 12.2, 10.8, 10.1, 12.7, 15,
    18.2, 23.8, 32.3, 50, 50])

# Free field, frontal, to eardrum at FREQUENCIES_HZ (Shaw, 1974, J. Acoust. Soc. Am. 56, 1848).
FREE_FIELD_DB = np.array([
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0.1, 0.3, 0.5, 0.9, 1.4, 1.6, 1.7, 2.5, 2.7, 2.6, 2.6, 3.2, 5.2,
    6.6, 12, 16.8, 15.3, 15.2, 14.2, 10.7, 7.1, 6.4, 1.8, -0.9, -1.6, 1.9, 4.9, 2, -2, 2.5, 2.5,
    2.5])

# Diffuse field to eardrum at FREQUENCIES_HZ.
DIFFUSE_FIELD_DB = np.array([
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0.1, 0.3, 0.4, 0.5, 1, 1.6, 1.7, 2.2, 2.7, 2.9, 3.8, 5.3, 6.8, 7.2,
    10.2, 14.9, 14.5, 14.4, 12.7, 10.8, 8.9, 8.7, 8.5, 6.2, 5, 4.5, 4, 3.3, 2.6, 2, 2, 2])

# Ear reference point to eardrum reference point: ITU-T Rec. P.58, table 14a, held above 10 kHz.
ITU_HZ = np.array([
    0, 100, 125, 160, 200, 250, 315, 400, 500, 630, 800, 1000, 1250, 1600, 2000, 2500, 3150, 4000,
    5000, 6300, 8000, 10000, 20000, 48000])
ITU_DB = np.array([
    0, 0, 0, 0, 0, 0.3, 0.2, 0.5, 0.6, 0.7, 1.1, 1.7, 2.6, 4.2, 6.5, 9.4, 10.3, 6.6, 3.2, 3.3, 16,
    14.4, 14.4, 14.4])
# fmt: on

EARDRUM_DB = {
    "ff": FREE_FIELD_DB,
    "df": DIFFUSE_FIELD_DB,
    "ITU": np.interp(FREQUENCIES_HZ, ITU_HZ, ITU_DB),
}
N_TAPS = 1015  # 23 ms, long enough for the response down to about 100 Hz
N_GRID = 512  # frequency steps up to Nyquist on which a response is sampled
PIECE = 2**16  # samples that are filtered at once
UPPER_CUTOFF_HZ = 18_000  # the way back would exaggerate what processing left above


@cache
def source_to_cochlea(src_pos: str) -> np.ndarray:
    """Design the filter from a source ("ff", "df" or "ITU") to the cochlea: (1015,) taps."""
    return _ear_filter(EARDRUM_DB[src_pos] - MIDDLE_EAR_DB)


@cache
def cochlea_to_source(src_pos: str) -> np.ndarray:
    """Design the way back: the inverse response, then a low-pass at 18 kHz: (1147,) taps."""
    inverse = _ear_filter(MIDDLE_EAR_DB - EARDRUM_DB[src_pos])
    low_pass = firwin(133, UPPER_CUTOFF_HZ / (SAMPLE_RATE / 2), window=("kaiser", 8))
    return np.convolve(inverse, low_pass)


def fir_filter(signal: np.ndarray, taps: np.ndarray) -> np.ndarray:
    """Filter a signal, (n_samples,) to (n_samples,), in pieces that spare memory and time."""
    filtered = np.zeros(len(signal) + len(taps) - 1)
    for start in range(0, len(signal), PIECE):
        piece = oaconvolve(signal[start : start + PIECE], taps)
        filtered[start : start + len(piece)] += piece
    return filtered[: len(signal)]


def _ear_filter(response_db: np.ndarray) -> np.ndarray:
    """Linear-phase filter with `response_db` at FREQUENCIES_HZ below Nyquist."""
    nyquist = SAMPLE_RATE / 2
    below = FREQUENCIES_HZ < nyquist
    frequencies = np.append(FREQUENCIES_HZ[below], nyquist)
    response_db = np.append(response_db[below], np.interp(nyquist, FREQUENCIES_HZ, response_db))
    gains = 10 ** (0.05 * response_db)
    return frequency_sampling_fir(frequencies / nyquist, gains, kaiser(N_TAPS, 4))


def frequency_sampling_fir(
    frequencies: np.ndarray, gains: np.ndarray, window: np.ndarray
) -> np.ndarray:
    """Design a linear-phase FIR filter by frequency sampling, as MATLAB's fir2 does.

    Parameters
    ----------
    frequencies : ndarray, (n_points,)
        Ascending from 0 to 1, where 1 is the Nyquist frequency.
    gains : ndarray, (n_points,)
        Linear gain at these frequencies.
    window : ndarray, (n_taps,)
        Window on the impulse response; odd length below 1024.

    Returns
    -------
    ndarray, (n_taps,)
    """
    # Points are moved to the grid first, so scipy.signal.firwin2 would give other taps: where
    # several fall between two grid frequencies, only the last counts.
    response = np.empty(N_GRID + 1)
    start = 0
    for upper, gain_below, gain_above in zip(frequencies[1:], gains[:-1], gains[1:], strict=True):
        stop = int(upper * (N_GRID + 1))
        response[start:stop] = np.linspace(gain_below, gain_above, stop - start)
        start = stop
    impulse = np.fft.irfft(response)
    return np.roll(impulse, len(window) // 2)[: len(window)] * window
