"""What each ear hears, at 16 kHz."""

import numpy as np
import pytest

from benchmarks.made.sounds import MSBG
from intelligibility.ears import ASR_RATE, ear_signals, resample
from msbg import Audiogram, Listener, simulate

RESAMPLING_ERROR_DB = -80  # against the ideal band-limited signal, below 0.45 of the lower rate


@pytest.fixture
def listener() -> Listener:
    """Return a listener whose ears differ."""
    left, right = [15, 20, 25, 35, 45, 50, 60, 65], [40, 45, 50, 60, 65, 70, 75, 80]
    return Listener(Audiogram(left), Audiogram(right), "L1")


def noise(rate: int, seconds: float = 0.6) -> np.ndarray:
    """Return (n_samples, 2) of noise, another at each ear."""
    return 0.05 * np.random.default_rng(0).standard_normal((int(seconds * rate), 2))


@pytest.mark.parametrize("rate", [32000, 44100, 48000])
def test_resampling_is_band_limited_interpolation(rate):
    seconds, tones = 0.5, (200.0, 1500.0, 6000.0)

    def tone_complex(at):
        time = np.arange(int(seconds * at)) / at
        return np.sum([np.sin(2 * np.pi * f * time + f) for f in tones], axis=0)

    stereo = np.stack([tone_complex(rate), -tone_complex(rate)], axis=1)
    result = resample(stereo, rate, 16000)
    inner = slice(2000, -2000)  # the ends have no neighbours to interpolate from
    error = result[inner, 0] - tone_complex(16000)[inner]
    level = 10 * np.log10(np.mean(error**2) / np.mean(tone_complex(16000) ** 2))
    assert level < RESAMPLING_ERROR_DB
    np.testing.assert_allclose(result[:, 1], -result[:, 0], rtol=0, atol=1e-14)


def test_a_signal_at_the_right_rate_is_left_alone():
    signal = noise(16000)
    assert resample(signal, 16000, 16000) is signal


@pytest.mark.parametrize("impaired", [True, False])
def test_signals_are_msbg_then_16_khz_without_the_lead_in(listener, impaired):
    """Of the reference, the last two steps only."""
    signal, listener = noise(44100), listener if impaired else None
    heard = simulate(signal, listener, **MSBG) if impaired else signal
    found = ear_signals(signal, 44100, listener, MSBG, 0.25)
    assert found.dtype == np.float32 and found.shape[1] == 2
    np.testing.assert_allclose(found, resample(heard, 44100, ASR_RATE)[4000:], rtol=0, atol=1e-6)
    whole = ear_signals(signal, 44100, listener, MSBG, 0)
    np.testing.assert_array_equal(whole[4000:], found)


def test_each_ear_is_heard_with_its_own_audiogram(listener):
    same = np.repeat(noise(44100)[:, :1], 2, axis=1)
    left, right = ear_signals(same, 44100, listener, MSBG, 0).T
    assert np.std(left) > 1.2 * np.std(right)  # the right ear hears less
    reference = ear_signals(same, 44100, None, MSBG, 0)
    np.testing.assert_allclose(reference[:, 0], reference[:, 1], rtol=0, atol=1e-6)


def test_another_rate_comes_to_msbgs_first(listener):
    signal = noise(32000)
    expected = ear_signals(resample(signal, 32000, 44100), 44100, listener, MSBG, 0.25)
    found = ear_signals(signal, 32000, listener, MSBG, 0.25)
    np.testing.assert_array_equal(found, expected)


def test_a_signal_that_msbg_cannot_take_is_an_error(listener):
    signal = noise(44100)
    signal[7, 1] = np.nan
    with pytest.raises(ValueError, match="finite"):
        ear_signals(signal, 44100, listener, MSBG, 0)
