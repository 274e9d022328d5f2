"""Mixing at a speech-weighted signal-to-noise ratio."""

import numpy as np
import pytest
import soundfile as sf
from scipy.signal import freqz

from intelligibility.cls.mixing import PEAK, WEIGHTS, excerpt, mix, speech_weighting, weighted_level

RATE = 16000


def noise(seed, n_samples=RATE, level=0.05):
    return level * np.random.default_rng(seed).standard_normal(n_samples)


def tone(frequency, n_samples=RATE):
    return 0.05 * np.sin(2 * np.pi * frequency * np.arange(n_samples) / RATE)


def test_the_filter_has_the_published_magnitudes():
    frequencies = [f for f in WEIGHTS if 450 <= f < RATE / 2]
    _, response = freqz(speech_weighting(RATE), worN=frequencies, fs=RATE)
    np.testing.assert_allclose(np.abs(response), [WEIGHTS[f] for f in frequencies], atol=3e-3)


@pytest.mark.parametrize("snr", [-6.0, 0.0, 12.0])
def test_the_mixture_has_the_snr_asked_for(snr):
    speech = noise(1)
    added = mix(speech, noise(2, level=0.01), snr) - speech
    assert weighted_level(speech, RATE) - weighted_level(added, RATE) == pytest.approx(snr)


def test_frequencies_without_speech_do_not_count():
    """A hum of 60 Hz is amplified far beyond a tone of 1 kHz for the same ratio."""
    speech = 0.001 * noise(1)
    hum, other = (mix(speech, tone(f), 0.0) - speech for f in (60, 1000))
    assert np.std(hum) > 5 * np.std(other)


def test_a_loud_mixture_is_scaled_and_not_clipped():
    mixed = mix(noise(1, level=0.5), noise(2), -6.0)
    assert np.abs(mixed).max() == pytest.approx(PEAK)


@pytest.mark.parametrize("silent", ["speech", "noise"])
def test_silence_is_refused(silent):
    signals = {"speech": noise(1), "noise": noise(2)} | {silent: np.zeros(RATE)}
    with pytest.raises(ValueError, match=f"the {silent} is silent"):
        mix(**signals, snr=0)


@pytest.mark.parametrize("seconds", [1.5, 8.0])
@pytest.mark.parametrize("start", [0.0, 0.999])
def test_an_excerpt_is_at_16_khz_and_as_long_as_asked_for(tmp_path, seconds, start):
    path = tmp_path / "noise.wav"
    sf.write(path, noise(3, round(seconds * 44100)), 44100)
    part = excerpt(path, start, 3 * RATE)
    assert part.shape == (3 * RATE,)
    assert np.std(part[-RATE:]) == pytest.approx(0.05 * np.sqrt(16 / 44.1 * 2), rel=0.7)
