"""Loudness recruitment: each auditory channel expanded so that soft sounds are lost.

Moore and Glasberg (1993), J. Acoust. Soc. Am. 94, 2050-2062: a channel is multiplied by its own
envelope, relative to that at the catch-up level, to the power of (expansion ratio - 1).

All channels are filtered side by side. The two compiled loops keep the coefficients and the
states of all filters in one flat array, the registers: rows of LANES numbers, one per channel.
With a single array and constant distances between its rows the compiler can tell that nothing
overlaps, and works on eight channels per instruction.
"""

import numpy as np

from msbg.compiling import compiled
from msbg.filterbank import Filterbank

MIN_ENVELOPE = 1e-9  # full scale is 1; limits the attenuation of soft sounds
EDGE = 8  # samples by which the envelope is extended at either end before it is smoothed
BLOCK = 2048  # samples; a block of all channels stays in the processor's cache

LANES = 40  # the largest bank has 36 channels; a multiple of eight

# The registers, one row per symbol, one lane per channel:
#
#   symbol        meaning
#   X             the sample that passes through
#   G0 G1         gammatone section, b0 b1; there are four equal ones
#   C1 C2         gammatone section, a1 a2
#   P1 Q1 ... Q4  gammatone sections 1 to 4, both states of each
#   END           number of samples until the delayed channel ends
#   H0 H1 H2      high-pass, b0 b1 b2
#   D1 D2         high-pass, a1 a2
#   HP HQ         high-pass, both states
#   E0 E1 E2      smoother of the envelope, b0 b1 b2
#   F1 F2         smoother, a1 a2
#   EP EQ         smoother, both states
#   ENVELOPE      the smoothed envelope
#
# A symbol's value is the place of its first lane.
N_ROWS = 29
# fmt: off
(
    X,
    G0, G1, C1, C2, P1, Q1, P2, Q2, P3, Q3, P4, Q4,
    END,
    H0, H1, H2, D1, D2, HP, HQ,
    E0, E1, E2, F1, F2, EP, EQ,
    ENVELOPE,
) = range(0, N_ROWS * LANES, LANES)
# fmt: on


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
    states, backward = sweep_forwards(padded, reads, blocks, bank)

    heard = np.empty(n_samples)
    exponent = _lanes(expansion - 1)
    buffers = np.empty((2, BLOCK + EDGE, len(reads)))
    for (start, stop), state in zip(blocks[::-1], states[::-1], strict=True):
        channels, gain = buffers[:, : stop - start]
        filter_forwards(padded, reads, start, state, channels, gain)
        smooth_backwards(gain, backward)
        # The envelope becomes the gain in place: fresh memory for each block would take longer.
        np.clip(gain, MIN_ENVELOPE, max_envelope, out=gain)
        gain *= 1 / max_envelope
        gain **= exponent
        heard[start:stop] = np.einsum("tc,tc->t", channels, gain)
    return heard[: len(signal)]


def sweep_forwards(
    padded: np.ndarray, reads: np.ndarray, blocks: list[tuple[int, int]], bank: Filterbank
) -> tuple[np.ndarray, np.ndarray]:
    """Registers at the start of each block, and those for the way back.

    The ends are treated as in `scipy.signal.filtfilt`: the envelope goes on as its point
    reflection, and the smoother starts in the steady state of the first sample.
    """
    registers, steady = bank_registers(bank, n_samples=blocks[-1][1])
    buffers = np.empty((2, BLOCK + EDGE, len(reads)))
    longest = bank.delays.max()

    # What lies before the first sample; and the smoother on the reflection there.
    filter_forwards(padded, reads, -longest, registers, *buffers[:, :longest])
    channels, envelopes = buffers[:, : EDGE + 1]
    filter_forwards(padded, reads, 0, registers.copy(), channels, envelopes)
    opening = np.abs(channels)
    _settle(registers, steady, (2 * opening[0] - opening[:0:-1])[::-1])

    states = np.empty((len(blocks), len(registers)))
    for state, (start, stop) in zip(states, blocks, strict=True):
        state[:] = registers
        channels, envelopes = buffers[:, : stop - start]
        filter_forwards(padded, reads, start, registers, channels, envelopes)

    # The reflection behind the last sample, there and back, ready for the way back.
    ending = np.abs(channels[-EDGE - 1 :])
    ending = (2 * ending[-1] - ending[-2::-1])[::-1].copy()
    smooth_backwards(ending, registers)
    _settle(registers, steady, ending[::-1])
    return states, registers


def _settle(registers: np.ndarray, steady: np.ndarray, envelope: np.ndarray) -> None:
    """Bring the smoother into the steady state of the last row, then run it back to the first.

    Where the smoother should run forwards, the rows are handed over in reverse.
    """
    n_lanes = envelope.shape[1]
    registers[EP : EP + n_lanes], registers[EQ : EQ + n_lanes] = steady * envelope[-1]
    smooth_backwards(envelope.copy(), registers)


def bank_registers(bank: Filterbank, n_samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Registers of a filterbank at rest, and its smoothers' states for a steady envelope of one.

    Returns
    -------
    registers : ndarray, (N_ROWS * LANES,)
    steady : ndarray, (2, n_lanes)
    """
    n_channels = len(bank.delays)
    registers = np.zeros(N_ROWS * LANES)
    rows = (G0, G1, C1, C2, H0, H1, H2, D1, D2, E0, E1, E2, F1, F2, END)
    b0, b1, b2, _, a1, a2 = range(6)
    values = np.column_stack(
        [
            bank.gammatone[:, [b0, b1, a1, a2]],
            bank.high_pass[:, [b0, b1, b2, a1, a2]],
            bank.smoother[:, [b0, b1, b2, a1, a2]],
            n_samples - bank.delays,
        ]
    )
    for row, value in zip(rows, values.T, strict=True):
        registers[row : row + n_channels] = value
    gain = bank.smoother[:, :3].sum(axis=1) / bank.smoother[:, 3:].sum(axis=1)
    steady = [gain - bank.smoother[:, b0], bank.smoother[:, b2] - bank.smoother[:, a2] * gain]
    return registers, np.array([_lanes(state) for state in steady])


def _lanes(values: np.ndarray) -> np.ndarray:
    """Append zeros up to the next multiple of eight."""
    return np.pad(values, (0, -len(values) % 8))


@compiled(error_model="numpy", fastmath={"contract"})
def filter_forwards(
    padded: np.ndarray,
    reads: np.ndarray,
    start: int,
    r: np.ndarray,
    channels: np.ndarray,
    envelopes: np.ndarray,
) -> None:
    """Filter the sound from sample `start` on into channels, and smooth their envelopes.

    Fills both (n_samples, n_lanes). The registers `r` give the filters' states at the start, and
    take those at the end.
    """
    n_samples, n_lanes = channels.shape
    for t in range(start, start + n_samples):
        for c in range(n_lanes):
            r[X + c] = padded[t + reads[c]]
        for c in range(n_lanes):
            # Gammatone: four equal sections, transposed direct form II.
            g0, g1, c1, c2 = r[G0 + c], r[G1 + c], r[C1 + c], r[C2 + c]
            x = r[X + c]
            y = g0 * x + r[P1 + c]
            r[P1 + c], r[Q1 + c] = (g1 * x + r[Q1 + c]) - c1 * y, -c2 * y
            x, y = y, g0 * y + r[P2 + c]
            r[P2 + c], r[Q2 + c] = (g1 * x + r[Q2 + c]) - c1 * y, -c2 * y
            x, y = y, g0 * y + r[P3 + c]
            r[P3 + c], r[Q3 + c] = (g1 * x + r[Q3 + c]) - c1 * y, -c2 * y
            x, y = y, g0 * y + r[P4 + c]
            r[P4 + c], r[Q4 + c] = (g1 * x + r[Q4 + c]) - c1 * y, -c2 * y
            # What lies outside the signal once the channel is advanced counts as silence.
            x = y if 0 <= t < r[END + c] else 0.0
            y = r[H0 + c] * x + r[HP + c]
            r[HP + c] = (r[H1 + c] * x + r[HQ + c]) - r[D1 + c] * y
            r[HQ + c] = r[H2 + c] * x - r[D2 + c] * y
            r[X + c] = y
            x = abs(y)
            y = r[E0 + c] * x + r[EP + c]
            r[EP + c] = (r[E1 + c] * x + r[EQ + c]) - r[F1 + c] * y
            r[EQ + c] = r[E2 + c] * x - r[F2 + c] * y
            r[ENVELOPE + c] = y
        for c in range(n_lanes):
            channels[t - start, c] = r[X + c]
            envelopes[t - start, c] = r[ENVELOPE + c]


@compiled(error_model="numpy", fastmath={"contract"})
def smooth_backwards(envelopes: np.ndarray, r: np.ndarray) -> None:
    """Smooth all rows in place, from the last to the first."""
    n_samples, n_lanes = envelopes.shape
    for t in range(n_samples - 1, -1, -1):
        for c in range(n_lanes):
            r[X + c] = envelopes[t, c]
        for c in range(n_lanes):
            x = r[X + c]
            y = r[E0 + c] * x + r[EP + c]
            r[EP + c] = (r[E1 + c] * x + r[EQ + c]) - r[F1 + c] * y
            r[EQ + c] = r[E2 + c] * x - r[F2 + c] * y
            r[X + c] = y
        for c in range(n_lanes):
            envelopes[t, c] = r[X + c]
