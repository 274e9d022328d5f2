"""Filters between source and cochlea, against the plain version.

Tolerance 1e-12 of the largest tap; 6e-15 was measured.
"""

import numpy as np
import pytest
from scipy.signal import firwin, freqz, lfilter

from msbg import transfer
from msbg.transfer import cochlea_to_source, fir_filter, source_to_cochlea
from tests.msbg import msbg_oracle as oracle

TOLERANCE = 1e-12


@pytest.mark.parametrize("src_pos", ["ff", "df", "ITU"])
def test_filters_equal_the_plain_design(src_pos: str) -> None:
    """Forwards, and backwards with the low-pass filter."""
    expected = oracle.ear_filter(src_pos, backward=False)
    assert np.abs(source_to_cochlea(src_pos) - expected).max() < TOLERANCE * expected.max()
    expected = oracle.ear_filter(src_pos, backward=True)
    expected = np.convolve(expected, firwin(133, 18000, window=("kaiser", 8), fs=44100))
    assert np.abs(cochlea_to_source(src_pos) - expected).max() < TOLERANCE * expected.max()


@pytest.mark.parametrize("src_pos", ["ff", "df", "ITU"])
def test_the_way_back_undoes_the_way_there(src_pos: str) -> None:
    """In the median from 250 Hz to 12 kHz, to 0.1 dB (0.075 measured); without phase."""
    hertz = np.linspace(250, 12_000, 500)
    both = np.convolve(source_to_cochlea(src_pos), cochlea_to_source(src_pos))
    _, response = freqz(both, worN=hertz, fs=44100)
    assert np.median(np.abs(20 * np.log10(np.abs(response)))) < 0.1
    assert np.allclose(both, both[::-1], atol=1e-12)


@pytest.mark.parametrize("n_samples", [1, 1000, 2999, 3000, 3001, 10_000])
def test_filtering_in_pieces(n_samples: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Less than a piece, just one, and several; shorter and longer than the filter."""
    monkeypatch.setattr(transfer, "PIECE", 3000)
    signal = np.random.default_rng(0).standard_normal(n_samples)
    taps = source_to_cochlea("ff")
    assert np.abs(fir_filter(signal, taps) - lfilter(taps, 1, signal)).max() < TOLERANCE
