"""The simulated hearing aids: prescribed gains, noise reduction, compression."""

import numpy as np
import pytest

from demo import hearing_aids
from demo.listeners import FREQUENCIES, STANDARD_AUDIOGRAMS
from demo.scenes import FULL_SCALE, at_level
from demo.speech import SAMPLE_RATE

FLAT_TOLERANCE = 0.01  # dB, measured on a pure tone
GAIN_TOLERANCE = 1.1  # dB; the 11.6 ms window smears the steep parts of the gain curve


def audiogram(kind):
    return dict(zip(FREQUENCIES, STANDARD_AUDIOGRAMS[kind], strict=True))


def tone(frequency, level, seconds=1.0):
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return np.repeat(at_level(np.sin(2 * np.pi * frequency * time), level)[:, None], 2, axis=1)


def level(signal):
    return FULL_SCALE + 10 * np.log10(np.mean(signal**2))


def gain(system, frequency, kind, input_level=65.0):
    signal = tone(frequency, input_level)
    (output,) = hearing_aids.process(system, [signal], [audiogram(kind)] * 2)
    middle = slice(SAMPLE_RATE // 2, None)
    return level(output[middle]) - level(signal[middle])


@pytest.mark.parametrize(
    ("kind", "frequency", "expected"),
    [
        # By hand from the formula: N3 has 35, 35, 40, 50 dB HL at 250, 500, 1000, 2000 Hz.
        ("N3", 250, 0.0),  # 6.25 + 10.85 - 17 = 0.1
        ("N3", 1000, 19.65),  # 6.25 + 12.4 + 1
        ("N3", 4000, 22.85),  # 6.25 + 18.6 - 2
        ("S2", 500, 3.2),  # 5 + 6.2 - 8
        ("S2", 4000, 32.45),  # 5 + 29.45 - 2
    ],
)
def test_nal_r_on_paper_and_on_a_tone(kind, frequency, expected):
    computed = hearing_aids.nal_r(np.array([float(frequency)]), audiogram(kind))
    assert computed[0] == pytest.approx(expected, abs=0.11)
    assert gain("E902", frequency, kind) == pytest.approx(expected, abs=GAIN_TOLERANCE)


def test_the_linear_aid_gives_half_the_mean_loss_at_every_frequency():
    for kind, frequency, expected in (("N1", 500, 35 / 6), ("N4", 4000, 175 / 6)):
        assert gain("E901", frequency, kind) == pytest.approx(expected, abs=FLAT_TOLERANCE)


def test_the_compressing_aid_halves_level_differences():
    loud, soft = (gain("E904", 1000, "N3", level) for level in (75.0, 55.0))
    assert gain("E904", 1000, "N3") == pytest.approx(19.65, abs=GAIN_TOLERANCE)
    assert soft - loud == pytest.approx(10, abs=0.1)


def test_parts_add_up_to_the_output_of_their_sum():
    rng = np.random.default_rng(0)
    parts = [0.01 * rng.standard_normal((SAMPLE_RATE, 2)) for _ in range(2)]
    ears = [audiogram("N2"), audiogram("S2")]
    for system in hearing_aids.SYSTEMS:
        apart = hearing_aids.process(system, parts, ears)
        (together,) = hearing_aids.process(system, [sum(parts)], ears)
        np.testing.assert_allclose(sum(apart), together, atol=1e-12)


def test_noise_reduction_raises_the_signal_to_noise_ratio():
    rng = np.random.default_rng(1)
    noise = 0.002 * rng.standard_normal((3 * SAMPLE_RATE, 2))
    target = np.zeros_like(noise)
    target[2 * SAMPLE_RATE :] = tone(1000, 65.0)
    ears = [audiogram("N1")] * 2
    snr = {}
    for system in ("E902", "E903"):
        spoken, rest = hearing_aids.process(system, [target, noise], ears)
        snr[system] = level(spoken[2 * SAMPLE_RATE :]) - level(rest[2 * SAMPLE_RATE :])
    assert snr["E903"] > snr["E902"] + 3


def test_the_noise_tracker_finds_stationary_noise_and_ignores_speech():
    rng = np.random.default_rng(2)
    power = rng.exponential(size=(50, 600))
    power[:, 300:400] *= 10**3  # a loud talker
    noise = hearing_aids.track_noise(power)
    assert noise[:, 200:300].mean() == pytest.approx(1.0, abs=0.3)  # low by 1.2 dB
    assert noise[:, 320].mean() < 5
