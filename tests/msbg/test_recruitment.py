"""Filterbank, envelope and recruitment, against the plain version.

Tolerance 1e-10 of the peak; 3e-12 was measured.
"""

import numpy as np
import pytest

from msbg.filterbank import filterbank
from msbg.recruitment import BLOCK, EDGE, expand_channels
from tests.msbg import msbg_oracle as oracle

TOLERANCE = 1e-10


def expansion(severity: str) -> np.ndarray:
    """Expansion ratios that differ from channel to channel."""
    return oracle.expansion_ratios(severity, oracle.LEVELS[severity], oracle.FREQUENCIES)


@pytest.mark.parametrize("severity", ["SEVERE", "MODERATE", "MILD", "NOTHING"])
def test_equals_the_plain_version(severity: str) -> None:
    """Several blocks, envelopes above and below both limits."""
    signal = oracle.speech_like(2 * BLOCK + 700)[:, 0]
    signal[3000:3400] *= 100
    expected = oracle.recruit(signal, oracle.sections(severity), expansion(severity), 0.1)
    heard = expand_channels(signal, filterbank(severity), expansion(severity), 0.1)
    assert np.abs(heard - expected).max() < TOLERANCE * np.abs(expected).max()


@pytest.mark.parametrize(
    "n_samples", [EDGE + 1, 100, 500, BLOCK - 1, BLOCK, BLOCK + 1, BLOCK + EDGE, BLOCK + EDGE + 1]
)
def test_lengths_around_edges_and_blocks(n_samples: int) -> None:
    """No block is left with fewer samples than the extension of the envelope needs."""
    signal = oracle.speech_like(5000)[400 : 400 + n_samples, 0]
    expected = oracle.recruit(signal, oracle.sections("SEVERE"), expansion("SEVERE"), 0.1)
    heard = expand_channels(signal, filterbank("SEVERE"), expansion("SEVERE"), 0.1)
    assert heard.shape == expected.shape
    assert np.abs(heard - expected).max() < TOLERANCE * np.abs(expected).max()


@pytest.mark.parametrize("n_samples", range(1, EDGE + 1))
def test_signals_too_short_for_the_extension(n_samples: int) -> None:
    """They count as followed by silence."""
    signal = oracle.speech_like()[3000 : 3000 + n_samples, 0]
    padded = np.pad(signal, (0, EDGE + 1 - n_samples))
    heard = expand_channels(signal, filterbank("MILD"), expansion("MILD"), 0.1)
    expected = expand_channels(padded, filterbank("MILD"), expansion("MILD"), 0.1)
    assert np.array_equal(heard, expected[:n_samples])


def test_without_expansion_the_channels_add_up_linearly() -> None:
    """Expansion ratio one: the sum of two signals gives the sum of both outputs."""
    bank = filterbank("MODERATE")
    none = np.ones(28)
    first, second = oracle.speech_like().T
    both = expand_channels(first + second, bank, none, 0.1)
    apart = expand_channels(first, bank, none, 0.1) + expand_channels(second, bank, none, 0.1)
    assert np.abs(both - apart).max() < 1e-14


def test_soft_sounds_lose_more() -> None:
    """A fall of 20 dB at the input becomes 20 dB times the expansion ratio at the output."""
    bank = filterbank("SEVERE")
    ratio = np.full(19, 2.5)
    tone = np.sin(2 * np.pi * 1000 * np.arange(20_000) / 44100)
    loud = expand_channels(1e-2 * tone, bank, ratio, 1.0)[8000:12_000]
    soft = expand_channels(1e-3 * tone, bank, ratio, 1.0)[8000:12_000]
    fall_db = 10 * np.log10(np.mean(loud**2) / np.mean(soft**2))
    assert fall_db == pytest.approx(50, abs=1e-6)


def test_above_the_catch_up_level_nothing_changes() -> None:
    """Envelopes at or above the limit give a gain of one, whatever the ratio."""
    bank = filterbank("SEVERE")
    tone = np.sin(2 * np.pi * 1000 * np.arange(20_000) / 44100)
    kept = slice(8000, 12_000)
    expanded = expand_channels(tone, bank, np.full(19, 3.0), 1e-9)[kept]
    plain = expand_channels(tone, bank, np.ones(19), 1e-9)[kept]
    assert np.abs(expanded - plain).max() < 1e-14


def test_silence_stays_silence() -> None:
    """Not even a rounding error appears."""
    assert not expand_channels(np.zeros(3000), filterbank("MILD"), np.full(36, 5.0), 0.1).any()
