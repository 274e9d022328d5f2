"""Reduced frequency selectivity: the short-term spectrum smeared by broad auditory filters.

Baer and Moore (1993), J. Acoust. Soc. Am. 94, 1229-1241.
"""

from functools import cache

import numpy as np
import scipy.fft
from numpy.lib.stride_tricks import sliding_window_view

from msbg.constants import SAMPLE_RATE
from msbg.erb import ERB_AT_0_HZ, erb

FFT_SIZE = 512
FRAME_SIZE = 256  # samples, 5.8 ms
SHIFT = 64  # samples
OVERLAPS = FRAME_SIZE // SHIFT
N_BINS = FFT_SIZE // 2  # the Nyquist bin is set to zero
FRAMES_AT_ONCE = 128  # keeps the working set in the cache

# Factors by which the auditory filters are broader on their lower and upper side.
BROADENING = {"SEVERE": (4.0, 2.0), "MODERATE": (2.4, 1.6), "MILD": (1.6, 1.1)}

# A Hann window applied twice, scaled so that frames 64 samples apart add up to one.
WINDOW = (0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(FRAME_SIZE) + 0.5) / FRAME_SIZE)) / 1.5**0.5


def auditory_filters(lower: float, upper: float, n_columns: int = N_BINS) -> np.ndarray:
    """Rounded-exponential filters centred on each bin, broadened on either side.

    Row i is (1 + g) exp(-g), with g the distance from bin i in units that shrink with the
    equivalent rectangular bandwidth (Glasberg and Moore, 1990), divided by that bandwidth so that
    the excitation pattern of a flat spectrum is flat (Baer and Moore, 1993, eqs 1 and 2).

    Returns
    -------
    ndarray, (256, n_columns)
    """
    centre = np.arange(1, N_BINS)[:, np.newaxis]
    column = np.arange(n_columns)[np.newaxis, :]
    hertz = centre * SAMPLE_RATE / FFT_SIZE
    width = erb(hertz)
    broadening = np.where(column < centre, lower, upper)
    g = np.abs(column - centre) / centre * (4 * hertz / (width * broadening))
    filters = np.zeros((N_BINS, n_columns))
    filters[0, 0] = 2 / (lower + upper)  # at 0 Hz the filter is a single bin
    filters[1:] = (1 + g) * np.exp(-g) / (width * (lower + upper) / (2 * ERB_AT_0_HZ))
    return filters


@cache
def smearing_matrix(severity: str) -> np.ndarray:
    """Matrix S with normal filters times S = broad filters, for power spectra in columns.

    The condition number is 3e5. Another number of BLAS threads, or another processor, moves what
    is smeared by some 1e-12 of its peak.

    Returns
    -------
    ndarray, (256, 256)
    """
    n_columns = N_BINS + FFT_SIZE // 4
    normal = auditory_filters(1, 1, n_columns)
    # Columns above Nyquist help the least squares. They hold the mirror image of the lower
    # skirt, which ends two bins above 0 Hz.
    centre, column = np.ogrid[:N_BINS, :n_columns]
    normal[(column >= N_BINS) & (2 * centre - column < 2)] = 0
    broad = auditory_filters(*BROADENING[severity])
    return np.linalg.lstsq(normal, broad, rcond=-1)[0][:N_BINS]


def smear(signal: np.ndarray, severity: str) -> np.ndarray:
    """Smear the power spectrum of overlapping frames; keep each bin's phase.

    The first frame holds samples 0 to 255. The next one starts 64 samples on and should end with
    samples 256 to 319, but holds 64 to 127 again: all later sound is 192 samples late. In the last
    192 samples, the overlapping ends of the last three frames are mixed up with the fourth last.
    Published results rest on both, so they stay.

    Parameters
    ----------
    signal : ndarray, (n_samples,)
        Sound at the cochlea, 44.1 kHz.
    severity : str
        "SEVERE", "MODERATE" or "MILD".

    Returns
    -------
    ndarray, (64 * (ceil(n_samples / 64) + 3),)
        Between 192 and 255 samples longer.
    """
    n_frames = -(-len(signal) // SHIFT)
    # Always as many frames at once: an odd number would round otherwise with more BLAS threads.
    n_rounds = -(-n_frames // FRAMES_AT_ONCE)
    repeated = np.zeros(FRAME_SIZE + (n_rounds * FRAMES_AT_ONCE - 1) * SHIFT)
    repeated[: min(FRAME_SIZE, len(signal))] = signal[:FRAME_SIZE]
    repeated[FRAME_SIZE : FRAME_SIZE + max(0, len(signal) - SHIFT)] = signal[SHIFT:]
    frames = sliding_window_view(repeated, FRAME_SIZE)[::SHIFT]

    overlap_added = np.zeros((n_frames + OVERLAPS - 1, SHIFT))
    matrix = smearing_matrix(severity)
    for start in range(0, n_frames, FRAMES_AT_ONCE):
        smeared = _smear_frames(frames[start : start + FRAMES_AT_ONCE], matrix)[: n_frames - start]
        for part in range(OVERLAPS):
            overlap_added[start + part : start + part + len(smeared)] += smeared[:, part]

    last = np.zeros((OVERLAPS, OVERLAPS, SHIFT))
    last[-n_frames:] = _smear_frames(frames[max(0, n_frames - OVERLAPS) : n_frames], matrix)
    overlap_added[-3] = last[-4, 0] + last[-1, 1] + last[-2, 2]
    overlap_added[-2] = last[-4, 1] + last[-1, 2]
    overlap_added[-1] = last[-4, 2]
    return overlap_added.ravel()


def _smear_frames(frames: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Smear frames: (n, 256) to (n, 4, 64), the last two axes being one frame in time."""
    spectrum = scipy.fft.rfft(frames * WINDOW, FFT_SIZE)
    spectrum[:, N_BINS] = 0
    bins = spectrum[:, :N_BINS]
    power = bins.real**2 + bins.imag**2
    smeared = power @ matrix.T
    # Least squares may leave a power below zero. Its root is imaginary and turns the phase.
    bins[smeared < 0] *= 1j
    power[power == 0] = 1  # a bin without phase stays zero
    bins *= np.sqrt(np.abs(smeared) / power)
    smeared_frames = scipy.fft.irfft(spectrum, FFT_SIZE)[:, :FRAME_SIZE] * WINDOW
    return smeared_frames.reshape(-1, OVERLAPS, SHIFT)
