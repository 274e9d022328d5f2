"""MSBG + MBSTOI, as the baseline of the first Clarity Prediction Challenge defines it.

The hearing-aid output goes through the hearing-loss simulation at 44.1 kHz. The clean reference
does not, but is shifted by the delay that the simulation has at each ear. Then MBSTOI compares
them (A. H. Andersen, J. M. de Haan, Z.-H. Tan & J. Jensen 2018, Speech Communication 102, 1-13).

Frames, bands and parameters are pyclarity's, and the index is the same as that of its `mbstoi`.
The search for equalisation and cancellation (equations 7 and 8) is our own and faster: the sums
over frames do not depend on the trial, and the cross term is needed at the best trial only.
"""

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
from clarity.evaluator.mbstoi.mbstoi_utils import remove_silent_frames, stft, thirdoct
from scipy.signal import resample

from msbg import Audiogram, Listener, simulate
from msbg.compiling import compiled
from msbg.ear import Ear

RATE = 44100  # Hz, of MSBG and of the challenge's baseline
IMPULSE_AT = RATE // 2  # samples
LONGEST_DELAY = 4410  # samples, of a simulation: 1,300 are usual
MBSTOI_RATE = 10000.0  # Hz
WINDOW, N_FFT = 256, 512  # samples of a frame, which advances by half of it
N_BANDS, LOWEST_BAND = 15, 150  # third-octave bands; Hz, the centre of the first
SPEECH_RANGE = 40  # dB below the loudest frame: weaker ones count as silent
N_FRAMES = 30  # of a segment
TAUS = np.linspace(-0.001, 0.001, 100)  # s, trial delays between the ears
GAMMAS_DB = np.linspace(-20, 20, 40)  # trial gains between the ears
LN_10 = np.log(10)
# Jitter of gains and delays, equations 5 and 6.
SIGMA_EPSILON = np.sqrt(2) * 1.5 * (1 + (abs(GAMMAS_DB) / 13) ** 1.6) / 20
SIGMA_DELTA = np.sqrt(2) * 65e-6 * (1 + abs(TAUS) / 1.6e-3)  # s


def mbstoi(
    processed: np.ndarray,
    reference: np.ndarray,
    listener: Listener,
    ear_settings: Mapping[str, Any],
) -> float:
    """Return the challenge baseline's index of one signal, -1..1.

    Parameters
    ----------
    processed, reference : (n_samples, 2) array
        Hearing-aid output and clean target, 44.1 kHz, full scale 1.
    listener : Listener
        Whose ears to simulate.
    ear_settings : mapping
        Settings of MSBG.
    """
    heard = simulate(processed, listener, **ear_settings)
    delays = impulse_delays(listener, len(processed), ear_settings)
    # Both are padded to one length. The challenge's baseline stops where `heard` is the longer.
    clean, noisy = np.zeros((2, max(len(reference) + max(delays), len(heard)), 2))
    for ear, delay in enumerate(delays):
        clean[delay : delay + len(reference), ear] = reference[:, ear]
    noisy[: len(heard)] = heard
    return compare_binaural(clean, noisy)


def impulse_delays(
    listener: Listener, n_samples: int, ear_settings: Mapping[str, Any]
) -> tuple[int, int]:
    """Return by how many samples the simulation delays the left and the right ear.

    The challenge's baseline sends an impulse as long as the signal through it with every signal.
    The delay is the filters', but for a few listeners the expansion of the impulse moves it by a
    sample with its level, and MSBG scales an impulse by the length of the silence around it. So an
    impulse of that level in a short silence is sent, once per audiogram and length.
    """
    if n_samples <= IMPULSE_AT:
        raise ValueError(f"{n_samples / RATE:.2f} s of signal; the baseline takes 0.5 s and more")
    settings = tuple(sorted(ear_settings.items()))
    left, right = (
        _delay(tuple(ear.levels), tuple(ear.frequencies), n_samples, settings)
        for ear in listener.ears
    )
    return left, right


@functools.lru_cache(maxsize=10_000)
def _delay(levels: tuple, frequencies: tuple, n_samples: int, settings: tuple) -> int:
    impulse = np.zeros(min(n_samples, IMPULSE_AT + LONGEST_DELAY))
    impulse[IMPULSE_AT] = np.sqrt(len(impulse) / n_samples)
    ear = Ear(**dict(settings))
    ear.set_audiogram(Audiogram(levels, frequencies))
    return int(np.argmax(ear.process(impulse)[0])) - IMPULSE_AT


def compare_binaural(clean: np.ndarray, noisy: np.ndarray) -> float:
    """Return the MBSTOI of two signals, each (n_samples, 2) at 44.1 kHz: -1..1.

    It is not defined, a ValueError, for less than one segment of speech.
    """
    n_samples = int(len(clean) * (MBSTOI_RATE / RATE) + 1)
    ears = [resample(ear, n_samples) for ear in (*clean.T, *noisy.T)]
    ears = remove_silent_frames(*ears, SPEECH_RANGE, WINDOW, WINDOW // 2)
    spectra = [stft(ear, WINDOW, N_FFT).T[: N_FFT // 2 + 1] for ear in ears]
    n_frames = spectra[0].shape[1]
    if n_frames < N_FRAMES:
        raise ValueError(f"{n_frames} frames of speech, expected at least {N_FRAMES}")
    bands, centres, edges, _, _ = thirdoct(MBSTOI_RATE, N_FFT, N_BANDS, LOWEST_BAND)
    correlations, ratios = _equalise_and_cancel(spectra, edges.astype(int), 2 * np.pi * centres[0])
    # Where one ear alone has the higher clean-to-noisy ratio, its correlation counts. pyclarity
    # does not do so in the last segment.
    powers = np.apply_along_axis(bands.dot, 1, np.abs(spectra) ** 2)
    of_ear, ratios_of_ear = _better_ear(np.ascontiguousarray(powers))
    better = ratios_of_ear > ratios
    better[:, -1] = False
    correlations[better] = of_ear[better]
    return float(correlations.mean())


def _better_ear(powers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compare the ears one by one, as STOI does, and choose the better in every segment.

    From the powers in bands, (4, N_BANDS, n_frames), of left and right clean, left and right noisy,
    to the correlation of clean and noisy, 0 where one is constant, and the clean-to-noisy ratio,
    (N_BANDS, n_segments) each.
    """
    segments = np.lib.stride_tricks.sliding_window_view(powers, N_FRAMES, axis=2)
    deviations = segments - segments.sum(axis=-1, keepdims=True) / N_FRAMES
    sums = (deviations**2).sum(axis=-1)
    norms = np.sqrt(deviations[..., None, :] @ deviations[..., None])[..., 0, 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = sums[:2] / sums[2:]
        found = (deviations[:2] * deviations[2:]).sum(axis=-1) / (norms[:2] * norms[2:])
    found[~np.isfinite(found)] = 0
    return np.where(ratios[0] > ratios[1], *found), np.maximum(*ratios)


def _equalise_and_cancel(
    spectra: list[np.ndarray], edges: np.ndarray, centres: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Find the delay and gain between the ears that leave the most speech (equations 7 and 8).

    From the spectra, (n_bins, n_frames) each, of left and right clean, left and right noisy, the
    first and last bin of each band, from 1, and the bands' centres in rad/s, to the correlation of
    clean and noisy at the trial with the highest clean-to-noisy ratio, and that ratio, (N_BANDS,
    n_segments) each.
    """
    correlations, ratios = np.zeros((2, N_BANDS, spectra[0].shape[1] - N_FRAMES + 1))
    gain_jitter = np.exp(2 * LN_10**2 * SIGMA_EPSILON**2)
    for band, (omega, (first, last)) in enumerate(zip(centres, edges, strict=True)):
        jitter = np.exp(0.5 * (LN_10**2 * SIGMA_EPSILON**2 - omega**2 * SIGMA_DELTA[:, None] ** 2))
        left_clean, right_clean, left_noisy, right_noisy = (s[first - 1 : last] for s in spectra)
        _search(
            *_band_powers(left_clean, right_clean),
            *_band_powers(left_noisy, right_noisy),
            N_FRAMES,
            np.exp(-1j * omega * TAUS),
            np.exp(-2 * omega**2 * SIGMA_DELTA**2) * np.exp(-2j * omega * TAUS),
            10.0 ** (GAMMAS_DB / 20),
            gain_jitter,
            jitter,
            correlations[band],
            ratios[band],
        )
    return correlations, ratios


def _band_powers(left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the power of each ear and their cross power, per frame: (n_frames_in_all,)."""
    squares = [np.sum(one.real**2 + one.imag**2, axis=0) for one in (left, right)]
    return *squares, np.sum(np.conj(right) * left, axis=0)


@compiled()
def _search(
    left_x, right_x, cross_x, left_y, right_y, cross_y, n_frames, shift, shift_twice, gain,
    gain_jitter, jitter, correlations, ratios,
):  # fmt: skip
    """Search the trial delays and gains of every segment of one band; x is clean, y is noisy."""
    xx, yy = np.empty(jitter.shape), np.empty(jitter.shape)
    for start in range(correlations.size):
        end = start + n_frames
        lx = left_x[start:end] - left_x[start:end].mean()
        rx = right_x[start:end] - right_x[start:end].mean()
        cx = cross_x[start:end] - cross_x[start:end].mean()
        ly = left_y[start:end] - left_y[start:end].mean()
        ry = right_y[start:end] - right_y[start:end].mean()
        cy = cross_y[start:end] - cross_y[start:end].mean()
        _moments(lx, rx, cx, lx, rx, cx, shift, shift_twice, gain, gain_jitter, jitter, xx)
        _moments(ly, ry, cy, ly, ry, cy, shift, shift_twice, gain, gain_jitter, jitter, yy)
        if (xx * yy == 0).any():
            correlations[start] = -1  # as pyclarity has it
            continue
        best, tau, gamma = -np.inf, 0, 0
        for g in range(gain.size):
            for t in range(shift.size):
                ratio = xx[t, g] / yy[t, g]
                if ratio > best:
                    best, tau, gamma = ratio, t, g
        one = slice(tau, tau + 1), slice(gamma, gamma + 1)
        xy = np.empty((1, 1))
        _moments(
            lx, rx, cx, ly, ry, cy, shift[one[0]], shift_twice[one[0]], gain[one[1]],
            gain_jitter[one[1]], jitter[one[0], one[1]], xy,
        )  # fmt: skip
        ratios[start] = best
        correlations[start] = xy[0, 0] / np.sqrt(xx[tau, gamma] * yy[tau, gamma])


@compiled()
def _moments(l1, r1, c1, l2, r2, c2, shift, shift_twice, gain, gain_jitter, jitter, out):
    """Write the expected product of two equalised and cancelled signals at each trial to `out`."""
    ll, rr, lr = np.sum(l1 * l2), np.sum(r1 * r2), np.sum(l1 * r2) + np.sum(r1 * l2)
    lc, rc = np.sum(l1 * c2) + np.sum(l2 * c1), np.sum(r1 * c2) + np.sum(r2 * c1)
    cc_conjugate, cc = np.sum(c1 * np.conj(c2)), np.sum(c1 * c2)
    for t in range(shift.size):
        of_left, of_right = 2 * (lc * shift[t]).real, 2 * (rc * shift[t]).real
        fourth = 2 * (cc_conjugate.real + (cc * shift_twice[t]).real)
        for g in range(gain.size):
            square = gain[g] * gain[g]
            first = (square * ll + rr / square) * gain_jitter[g] + lr
            middle = (of_left * gain[g] + of_right / gain[g]) * jitter[t, g]
            out[t, g] = first - middle + fourth
