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


@pytest.mark.parametrize(
    ("severity", "n_samples"),
    [
        *((severity, 2 * BLOCK + 700) for severity in ("MODERATE", "MILD", "NOTHING")),
        *(("SEVERE", n) for n in (EDGE + 1, 100, 500, BLOCK - 1, BLOCK, BLOCK + 1)),
        *(("SEVERE", n) for n in (BLOCK + EDGE, BLOCK + EDGE + 1, 2 * BLOCK + 700)),
    ],
)
def test_equals_the_plain_version(severity: str, n_samples: int) -> None:
    """Envelopes above and below both limits; no block too short for the envelope's extension."""
    signal = oracle.speech_like(2 * BLOCK + 1100)[400 : 400 + n_samples, 0]
    signal[3000:3400] *= 100
    expected = oracle.recruit(signal, oracle.sections(severity), expansion(severity), 0.1)
    heard = expand_channels(signal, filterbank(severity), expansion(severity), 0.1)
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


def test_soft_sounds_lose_more_and_loud_ones_nothing() -> None:
    """A fall of 20 dB at the input becomes 20 dB times the expansion ratio at the output.

    Envelopes at or above the catch-up level give a gain of one, whatever the ratio.
    """
    bank, kept = filterbank("SEVERE"), slice(8000, 12_000)
    tone = np.sin(2 * np.pi * 1000 * np.arange(20_000) / 44100)
    loud, soft = (expand_channels(a * tone, bank, np.full(19, 2.5), 1.0) for a in (1e-2, 1e-3))
    fall_db = 10 * np.log10(np.mean(loud[kept] ** 2) / np.mean(soft[kept] ** 2))
    assert fall_db == pytest.approx(50, abs=1e-6)
    expanded, plain = (expand_channels(tone, bank, np.full(19, k), 1e-9) for k in (3.0, 1.0))
    assert np.abs(expanded - plain)[kept].max() < 1e-14
