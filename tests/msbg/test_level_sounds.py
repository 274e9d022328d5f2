"""Sounds of known level, against the plain version.

Tolerance 1e-10 of the peak; 1.4e-11 was measured, at the start, where filtfilt extends the noise.
"""

import numpy as np
import pytest

from msbg import Ear
from msbg.level_sounds import level_sounds, speech_shaped
from tests.msbg import msbg_oracle as oracle

TOLERANCE = 1e-10


def test_noise_equals_the_plain_version() -> None:
    white = np.random.default_rng(3).random(10_000) - 0.5
    expected = oracle.speech_noise(white)
    assert np.abs(speech_shaped(white) - expected).max() < TOLERANCE * np.abs(expected).max()


def test_order_and_levels() -> None:
    """Silence, tone, silence, noise, silence; both at the RMS asked for; the same every time."""
    before, after = level_sounds(0.1)
    gap, tone, noise = 2205, 22_050, 88_200
    assert len(before) == 3 * gap + tone + noise
    assert len(after) == gap and not after.any()
    edges = np.cumsum([0, gap, tone, gap, noise, gap])
    parts = [before[a:b] for a, b in zip(edges[:-1], edges[1:], strict=True)]
    rms = [np.sqrt(np.mean(part**2)) for part in parts]
    assert rms == pytest.approx([0, 0.1, 0, 0.1, 0], rel=1e-4)
    spectrum = np.abs(np.fft.rfft(parts[1]))
    assert np.argmax(spectrum) == 520 / 2  # bins of 2 Hz
    assert np.array_equal(level_sounds(0.1)[0], before)


def test_they_go_around_every_channel() -> None:
    """The speech between the sounds is processed at its own corrected level."""
    signal = oracle.speech_like()
    ear = Ear()
    plain, surrounded = ear.process(signal), ear.process(signal, between_level_sounds=True)
    before, after = level_sounds(np.sqrt(np.mean(signal**2)))
    for without, with_sounds in zip(plain, surrounded, strict=True):
        assert len(with_sounds) == len(before) + len(without) + len(after)
        # Both filters ring for less than 1,080 samples before the speech, and 1,015 after.
        kept = slice(len(before) + 2200, len(before) + len(without))
        assert np.abs(with_sounds[kept] - without[2200:]).max() < 1e-12


def test_around_silence_they_are_silent() -> None:
    (heard,) = Ear().process(np.zeros(1000), between_level_sounds=True)
    assert not heard.any()
