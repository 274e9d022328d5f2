"""MSBG + MBSTOI, as the baseline of the first Clarity Prediction Challenge defines it.

The hearing-aid output goes through the hearing-loss simulation at 44.1 kHz; the clean reference
does not, but is shifted by the delay that each ear's simulation has. Then pyclarity's MBSTOI (A. H.
Andersen, J. M. de Haan, Z.-H. Tan & J. Jensen 2018, Speech Communication 102, 1-13) compares them.

pyclarity evaluates the equalisation and cancellation of both ears (its equations 7 and 8) with
matrices of every short frame at each of 4,000 trial delays and gains. Most of that is waste: the
sums over frames do not depend on the trial, and the cross term is needed at one trial only. Ours
takes it out; it stands in for pyclarity's function, and the index stays the same.
"""

import functools
import importlib
import logging
from collections.abc import Mapping
from typing import Any
from unittest import mock

import numpy as np

from msbg import Audiogram, Listener, simulate
from msbg.compiling import compiled
from msbg.ear import Ear

# The package's attribute of this name is the function in it.
pyclarity = importlib.import_module("clarity.evaluator.mbstoi.mbstoi")

quiet = logging.getLogger("pyclarity")  # it tells the root logger about each step of each signal
quiet.setLevel(logging.WARNING)

RATE = 44100  # Hz, of MSBG and of the challenge's baseline
IMPULSE_AT = RATE // 2  # samples
LONGEST_DELAY = 4410  # samples, of a simulation: 1,300 are usual
GRID = 1  # gridcoarseness: all trial delays and gains
LN_10 = np.log(10)


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
    # The challenge's buffers; it stops where they are too short for the hearing-aid output.
    n_samples = max(len(reference) + max(delays), len(heard))
    buffers = np.zeros((2, n_samples, 2))
    for ear, delay in enumerate(delays):
        buffers[0, delay : delay + len(reference), ear] = reference[:, ear]
    buffers[1, : len(heard)] = heard
    with (
        mock.patch.object(pyclarity, "equalisation_cancellation", equalisation_cancellation),
        mock.patch.object(pyclarity, "logging", quiet),
    ):
        return float(pyclarity.mbstoi(*buffers[0].T, *buffers[1].T, RATE, GRID))


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
    ears = listener.audiogram_left, listener.audiogram_right
    left, right = (
        _delay(tuple(ear.levels), tuple(ear.frequencies), n_samples, settings) for ear in ears
    )
    return left, right


@functools.lru_cache(maxsize=10_000)
def _delay(levels: tuple, frequencies: tuple, n_samples: int, settings: tuple) -> int:
    impulse = np.zeros(min(n_samples, IMPULSE_AT + LONGEST_DELAY))
    impulse[IMPULSE_AT] = np.sqrt(len(impulse) / n_samples)
    ear = Ear(**dict(settings))
    ear.set_audiogram(Audiogram(levels, frequencies))
    return int(np.argmax(ear.process(impulse)[0])) - IMPULSE_AT


def equalisation_cancellation(
    left_clean: np.ndarray,
    right_clean: np.ndarray,
    left_noisy: np.ndarray,
    right_noisy: np.ndarray,
    n_bands: int,
    n_frames: int,
    band_edges: np.ndarray,
    centre_frequencies: np.ndarray,
    taus: np.ndarray,
    n_taus: int,
    gammas: np.ndarray,
    n_gammas: int,
    correlations: np.ndarray,
    powers: np.ndarray,
    sigma_epsilon: np.ndarray,
    sigma_delta: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Do what pyclarity's function of this name does, with its arguments.

    Parameters
    ----------
    left_clean, right_clean, left_noisy, right_noisy : (n_bins, n_frames_in_all) complex array
        Short-time spectra.
    n_bands, n_frames : int
        Third-octave bands, and frames per segment.
    band_edges : (n_bands, 2) array
        First and last bin of each band, from 1.
    centre_frequencies : (n_bands,) array
        rad/s.
    taus, gammas : array
        Trial delays in s and gains in units of 20 dB.
    n_taus, n_gammas : int
        How many.
    correlations, powers : (n_bands, n_segments) array
        Where the results go.
    sigma_epsilon, sigma_delta : array
        Jitter of gains and delays.

    Returns
    -------
    correlations, powers : (n_bands, n_segments) array
        Correlation of clean and noisy at the trial with the highest clean-to-noisy ratio, and it.
    """
    gain_jitter = np.exp(2 * LN_10**2 * sigma_epsilon**2)
    for band in range(n_bands):
        rows = slice(int(band_edges[band, 0] - 1), int(band_edges[band, 1]))
        omega = centre_frequencies[band]
        jitter = np.exp(0.5 * (LN_10**2 * sigma_epsilon**2 - omega**2 * sigma_delta[:, None] ** 2))
        _search(
            *_band_powers(left_clean[rows], right_clean[rows]),
            *_band_powers(left_noisy[rows], right_noisy[rows]),
            n_frames,
            np.exp(-1j * omega * taus),
            np.exp(-2 * omega**2 * sigma_delta**2) * np.exp(-2j * omega * taus),
            10.0**gammas,
            gain_jitter,
            jitter,
            correlations[band],
            powers[band],
        )
    return correlations, powers


def _band_powers(left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the power of each ear and their cross power, per frame: (n_frames_in_all,)."""
    squares = [np.sum(one.real**2 + one.imag**2, axis=0) for one in (left, right)]
    return *squares, np.sum(np.conj(right) * left, axis=0)


@compiled()
def _search(
    left_x, right_x, cross_x, left_y, right_y, cross_y, n_frames, shift, shift_twice, gain,
    gain_jitter, jitter, correlations, powers,
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
        if _any_zero(xx, yy):
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
        powers[start] = best
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


@compiled()
def _any_zero(xx, yy):
    for one in range(xx.size):
        if xx.flat[one] * yy.flat[one] == 0:
            return True
    return False
