"""Loudness recruitment: each auditory channel expanded so that soft sounds are lost.

Moore and Glasberg (1993), J. Acoust. Soc. Am. 94, 2050-2062: a channel is multiplied by its own
envelope, relative to that at the catch-up level, to the power of (expansion ratio - 1).

All channels are filtered side by side. The two compiled loops keep the coefficients and the
states of all filters in one flat array, the registers: rows of LANES numbers, one per channel.
With a single array and constant distances between its rows the compiler can tell that nothing
overlaps, and works on eight channels per instruction.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from scipy.signal import ellip, lfilter_zi

from msbg.constants import SAMPLE_RATE
from msbg.filterbank import Filterbank

MIN_ENVELOPE = 1e-9  # full scale is 1; limits the attenuation of soft sounds
EDGE = 8  # samples by which the envelope is extended at either end before it is smoothed
BLOCK = 1024  # samples; a block of all channels stays in the processor's cache

LANES = 40  # the largest bank has 36 channels; a multiple of eight
X = 0  # row of the sample that passes through
B0, B1, B2, A1, A2, Z1, Z2 = range(1 * LANES, 8 * LANES, LANES)  # one second-order section
G0, G1, C1, C2 = range(8 * LANES, 12 * LANES, LANES)  # gammatone section: b0, b1, a1, a2
P1, Q1, P2, Q2, P3, Q3, P4, Q4 = range(12 * LANES, 20 * LANES, LANES)  # its states, four times
END = 20 * LANES  # row with the number of samples that a channel yields before it ends


def expand_channels(
    signal: np.ndarray, bank: Filterbank, expansion: np.ndarray, max_envelope: float
) -> np.ndarray:
    """Split a signal into channels, multiply each by a gain from its envelope, and add them up.

    The envelope is smoothed forwards, then backwards. To hold no channel in memory as a whole, a
    sweep forwards only notes the state of all filters at the start of each block. A sweep
    backwards takes the blocks from the last to the first, and computes each one from there.

    Parameters
    ----------
    signal : ndarray, (n_samples,)
        Sound at the cochlea.
    bank : Filterbank
        Channels to split it into.
    expansion : ndarray, (n_channels,)
        Expansion ratio of each channel; 1 is none.
    max_envelope : float
        Envelope at the catch-up level; full scale is 1.

    Returns
    -------
    ndarray, (n_samples,)
    """
    n_samples = max(len(signal), EDGE + 1)
    starts = range(0, n_samples - EDGE, BLOCK)  # so that the last block is longer than EDGE
    blocks = list(zip(starts, [*starts[1:], n_samples], strict=True))
    longest = bank.delays.max()
    padded = np.pad(signal, (longest, longest + EDGE))
    reads = _lanes(bank.delays + longest)  # where each channel reads its first sample
    states, backward = _sweep_forwards(padded, reads, blocks, bank)

    heard = np.empty(n_samples)
    exponent = _lanes(expansion - 1)
    for (start, stop), (splitter, forward) in zip(blocks[::-1], states[::-1], strict=True):
        channels = split(padded, reads, start, stop, splitter)
        envelope = np.abs(channels)
        smooth(envelope, forward, False)
        smooth(envelope, backward, True)
        gain = (np.clip(envelope, MIN_ENVELOPE, max_envelope) / max_envelope) ** exponent
        heard[start:stop] = np.einsum("tc,tc->t", channels, gain)
    return heard[: len(signal)]


def _sweep_forwards(
    padded: np.ndarray, reads: np.ndarray, blocks: list[tuple[int, int]], bank: Filterbank
) -> tuple[list[tuple[np.ndarray, np.ndarray]], np.ndarray]:
    """Filters' states at the start of each block, and the smoother's state for the way back.

    The ends are treated as in `scipy.signal.filtfilt`: the envelope goes on as its point
    reflection, and the smoother starts in the steady state of the first sample.
    """
    n_samples = blocks[-1][1]
    splitter = splitting_registers(bank, n_samples)
    split(padded, reads, -bank.delays.max(), 0, splitter)
    opening = np.abs(split(padded, reads, 0, EDGE + 1, splitter.copy()))
    smoother, steady = smoothing_registers(bank)
    _start_at(2 * opening[0] - opening[:0:-1], smoother, steady)

    states = []
    for start, stop in blocks:
        states.append((splitter.copy(), smoother.copy()))
        envelope = np.abs(split(padded, reads, start, stop, splitter))
        closing = envelope[-EDGE - 1 :].copy()
        smooth(envelope, smoother, False)
    closing = 2 * closing[-1] - closing[-2::-1]
    smooth(closing, smoother, False)
    _start_at(closing[::-1].copy(), smoother, steady)
    return states, smoother


def _start_at(envelope: np.ndarray, smoother: np.ndarray, steady: np.ndarray) -> None:
    """Bring the smoother into the steady state of the first row, then run through all rows."""
    n_lanes = envelope.shape[1]
    smoother[Z1 : Z1 + n_lanes], smoother[Z2 : Z2 + n_lanes] = steady * envelope[0]
    smooth(envelope, smoother, False)


def splitting_registers(bank: Filterbank, n_samples: int) -> np.ndarray:
    """Registers for `split`, at rest."""
    registers = np.zeros((21, LANES))
    channels = slice(len(bank.delays))
    registers[[row // LANES for row in (B0, B1, B2)], channels] = bank.high_pass[:, :3].T
    registers[[row // LANES for row in (A1, A2)], channels] = bank.high_pass[:, 4:].T
    registers[[row // LANES for row in (G0, G1)], channels] = bank.gammatone[:, :2].T
    registers[[row // LANES for row in (C1, C2)], channels] = bank.gammatone[:, 4:].T
    registers[END // LANES, channels] = n_samples - bank.delays
    return registers.ravel()


def smoothing_registers(bank: Filterbank) -> tuple[np.ndarray, np.ndarray]:
    """Registers for `smooth`, and its states per unit of a steady input: (2, n_lanes).

    The envelope is low-passed at three quarters of the channel's ERB, but at 75 Hz at most.
    """
    registers = np.zeros((8, LANES))
    steady = np.zeros((2, len(_lanes(bank.erbs_hz))))
    for channel, erb in enumerate(bank.erbs_hz):
        b, a = ellip(2, 0.25, 35, 0.75 * min(100, erb) / (SAMPLE_RATE / 2))
        registers[1:6, channel] = *b, *a[1:]
        steady[:, channel] = lfilter_zi(b, a)
    return registers.ravel(), steady


def _lanes(values: np.ndarray) -> np.ndarray:
    """Append zeros up to the next multiple of eight."""
    return np.pad(values, (0, -len(values) % 8))


@njit(cache=True, error_model="numpy", fastmath={"contract"})
def split(
    padded: np.ndarray, reads: np.ndarray, start: int, stop: int, registers: np.ndarray
) -> np.ndarray:
    """Filter samples start to stop into all channels; leave the filters' states in `registers`.

    Returns
    -------
    ndarray, (stop - start, n_lanes)
    """
    n_lanes = len(reads)
    channels = np.empty((stop - start, n_lanes))
    for t in range(start, stop):
        for c in range(n_lanes):
            registers[X + c] = padded[t + reads[c]]
        for c in range(n_lanes):
            g0, g1 = registers[G0 + c], registers[G1 + c]
            c1, c2 = registers[C1 + c], registers[C2 + c]
            x = registers[X + c]
            y = g0 * x + registers[P1 + c]
            registers[P1 + c] = (g1 * x + registers[Q1 + c]) - c1 * y
            registers[Q1 + c] = -c2 * y
            x, y = y, g0 * y + registers[P2 + c]
            registers[P2 + c] = (g1 * x + registers[Q2 + c]) - c1 * y
            registers[Q2 + c] = -c2 * y
            x, y = y, g0 * y + registers[P3 + c]
            registers[P3 + c] = (g1 * x + registers[Q3 + c]) - c1 * y
            registers[Q3 + c] = -c2 * y
            x, y = y, g0 * y + registers[P4 + c]
            registers[P4 + c] = (g1 * x + registers[Q4 + c]) - c1 * y
            registers[Q4 + c] = -c2 * y
            x = y if 0 <= t < registers[END + c] else 0.0
            y = registers[B0 + c] * x + registers[Z1 + c]
            registers[Z1 + c] = (registers[B1 + c] * x + registers[Z2 + c]) - registers[A1 + c] * y
            registers[Z2 + c] = registers[B2 + c] * x - registers[A2 + c] * y
            registers[X + c] = y
        for c in range(n_lanes):
            channels[t - start, c] = registers[X + c]
    return channels


@njit(cache=True, error_model="numpy", fastmath={"contract"})
def smooth(block: np.ndarray, registers: np.ndarray, backwards: bool) -> None:
    """Filter all rows of a block in place, first to last or last to first."""
    n_samples, n_lanes = block.shape
    for i in range(n_samples):
        t = n_samples - 1 - i if backwards else i
        for c in range(n_lanes):
            registers[X + c] = block[t, c]
        for c in range(n_lanes):
            x = registers[X + c]
            y = registers[B0 + c] * x + registers[Z1 + c]
            registers[Z1 + c] = (registers[B1 + c] * x + registers[Z2 + c]) - registers[A1 + c] * y
            registers[Z2 + c] = registers[B2 + c] * x - registers[A2 + c] * y
            registers[X + c] = y
        for c in range(n_lanes):
            block[t, c] = registers[X + c]
