"""Levels and places of the parts of a scene."""

import numpy as np
import pytest

from demo import scenes
from demo.speech import SAMPLE_RATE

LEVEL_TOLERANCE = 0.2  # dB; the ramps take 0.05 dB


def level(signal):
    return scenes.FULL_SCALE + 10 * np.log10(np.mean(signal**2))


@pytest.fixture(scope="module")
def material():
    rng = np.random.default_rng(0)
    target = rng.standard_normal(SAMPLE_RATE)
    talkers = [rng.standard_normal(6 * SAMPLE_RATE) for _ in range(3)]
    return target, scenes.speech_spectrum([target]), talkers


@pytest.mark.parametrize("snr", [-3.0, 5.0])
@pytest.mark.parametrize(("kind", "azimuths"), [("noise", (0.0,)), ("talkers", (0.0, 0.0))])
def test_levels_and_timing(material, kind, azimuths, snr):
    # In front, a low-frequency source reaches both ears at its free-field level: so does low-passed
    # noise.
    target, spectrum, talkers = material
    rng = np.random.default_rng(1)
    scene = scenes.Scene("S90001", "alan", "en+m2", kind, snr, 0.0, azimuths)
    spoken, interferer = scenes.render(scene, target, spectrum, talkers, rng)
    before, after = round(scenes.BEFORE * SAMPLE_RATE), round(scenes.AFTER * SAMPLE_RATE)
    assert spoken.shape == interferer.shape == (before + len(target) + after, 2)
    assert np.abs(spoken[: before - 441]).max() < 0.01 * np.abs(spoken).max()
    assert interferer[before // 2 : before].std() == pytest.approx(interferer.std(), rel=0.1)
    during = slice(before, before + len(target))
    ratio = level(spoken[during]) - level(interferer)
    assert ratio == pytest.approx(snr, abs=LEVEL_TOLERANCE)


def test_a_source_on_the_right_is_earlier_and_louder_there():
    click = np.zeros(2000)
    click[1000] = 1.0
    left, right = scenes.at_ears(click, 90.0).T
    assert level(right) - level(left) > 10
    delay = (np.argmax(np.abs(left)) - np.argmax(np.abs(right))) / SAMPLE_RATE
    # Woodworth: r/c (pi/2 + 1), here 0.66 ms, which the shadow filter's phase shifts a little.
    woodworth = scenes.HEAD_RADIUS / scenes.SPEED_OF_SOUND * (np.pi / 2 + 1)
    assert delay == pytest.approx(woodworth, abs=1e-4)


def test_a_source_in_front_reaches_both_ears_alike_and_a_low_tone_with_its_level():
    noise = np.random.default_rng(2).standard_normal(4410)
    left, right = scenes.at_ears(noise, 0.0).T
    np.testing.assert_allclose(left, right, atol=1e-12)
    tone = np.sin(2 * np.pi * 100 * np.arange(SAMPLE_RATE) / SAMPLE_RATE)
    for ear in scenes.at_ears(tone, 60.0).T:
        assert level(ear) == pytest.approx(level(tone), abs=0.5)


def test_noise_has_the_spectrum_of_the_speech():
    rng = np.random.default_rng(4)
    speech = np.convolve(rng.standard_normal(20 * SAMPLE_RATE), np.ones(8) / 8, "same")
    spectrum = scenes.speech_spectrum([speech])
    noise = scenes.speech_shaped_noise(spectrum, 20 * SAMPLE_RATE, rng)
    again = scenes.speech_spectrum([noise])
    heard = spectrum > 0.05 * spectrum.max()
    difference = 20 * np.log10(again[heard] / spectrum[heard])
    assert np.ptp(difference) < 2.0  # dB, both spectra being estimates


@pytest.mark.parametrize("n_samples", [44, 45, 75, 77, 214375])
def test_noise_is_as_long_as_it_should_be(n_samples):
    noise = scenes.speech_shaped_noise(np.ones(513), n_samples, np.random.default_rng(0))
    assert len(noise) == n_samples
