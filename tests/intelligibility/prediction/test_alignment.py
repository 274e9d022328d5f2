"""The bulk delay, planted and found."""

import numpy as np
import pytest
from scipy.signal import istft, stft

from intelligibility.prediction.alignment import bulk_delay, without_delay
from intelligibility.prediction.recording import recording_of
from intelligibility.runs import RecipeError
from tests.intelligibility.prediction.speech import syllables

RATE = 16000


def late(signal: np.ndarray, seconds: float, rate: int = RATE) -> np.ndarray:
    return (
        without_delay(signal, -round(seconds * rate))
        if seconds > 0
        else signal[round(-seconds * rate) :]
    )


@pytest.mark.parametrize("seconds", [0.0, 0.005, 0.05, 0.5, 0.95, -0.2])
@pytest.mark.parametrize("rate", [16000, 44100])
def test_a_planted_delay_is_found_to_the_sample(seconds, rate):
    clean = syllables(1, 3.0, rate)
    noisy = clean + 0.02 * np.random.default_rng(2).standard_normal(clean.shape)
    found = bulk_delay(
        recording_of(late(noisy, seconds, rate), rate, "ha"), recording_of(clean, rate, "ref")
    )
    assert found == (pytest.approx(seconds, abs=1.5 / 16000), None)


def test_a_delay_that_the_noise_nearly_hides_is_doubted():
    clean = syllables(1, 3.0)
    noise = np.random.default_rng(2).standard_normal(clean.shape)
    doubts = []
    for level in np.geomspace(0.02, 2, 25):
        pair = recording_of(clean + level * noise, RATE, "ha"), recording_of(clean, RATE, "ref")
        try:
            doubts.append(bulk_delay(*pair)[1])
        except RecipeError:
            break
    assert doubts[0] is None and "0 ms late with little certainty" in doubts[-1]


def test_the_delay_of_an_aid_that_turns_phases_is_found_from_the_envelopes():
    clean = syllables(3, 4.0)
    _, _, spectrum = stft(clean[:, 0], nperseg=256)
    phases = np.exp(2j * np.pi * np.random.default_rng(4).random(spectrum.shape))
    vocoded = np.repeat(istft(np.abs(spectrum) * phases)[1][:, None], 2, axis=1)
    pair = recording_of(late(vocoded, 0.1), RATE, "ha"), recording_of(clean, RATE, "ref")
    assert bulk_delay(*pair) == (pytest.approx(0.1, abs=0.01), None)


@pytest.mark.parametrize("other", [5, 6, 7])
def test_another_sentence_is_refused(other):
    pair = (
        recording_of(syllables(other), RATE, "ha.wav"),
        recording_of(syllables(1), RATE, "clean.wav"),
    )
    with pytest.raises(RecipeError, match="ha.wav and clean.wav: no delay.*same sentence.*align=f"):
        bulk_delay(*pair)


def test_taking_a_delay_out():
    signal = np.arange(10.0).reshape(5, 2)
    assert without_delay(signal, 2).tolist() == signal[2:].tolist()
    assert without_delay(signal, -1).tolist() == [[0, 0], *signal.tolist()]
