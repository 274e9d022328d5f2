"""The bulk delay, planted and found."""

import re

import numpy as np
import pytest
from scipy.signal import istft, stft

from intelligibility.prediction.alignment import (
    bulk_delay,
    find_sentence,
    level_and_warnings,
    without_delay,
)
from intelligibility.prediction.recording import Recording, recording_of
from intelligibility.runs import RecipeError
from tests.intelligibility.prediction.speech import syllables

RATE = 16000


def late(signal: np.ndarray, seconds: float, rate: int = RATE) -> np.ndarray:
    return without_delay(signal, -round(seconds * rate))


def pair_of(
    processed: np.ndarray, reference: np.ndarray, rate: int = RATE
) -> tuple[Recording, Recording]:
    return recording_of(processed, rate, "ha.wav"), recording_of(reference, rate, "clean.wav")


@pytest.mark.parametrize("seconds", [0.0, 0.005, 0.05, 0.5, 0.95, -0.2])
@pytest.mark.parametrize("rate", [16000, 44100])
def test_a_planted_delay_is_found_to_the_sample(seconds, rate):
    clean = syllables(1, 3.0, rate)
    noisy = clean + 0.02 * np.random.default_rng(2).standard_normal(clean.shape)
    found = bulk_delay(*pair_of(late(noisy, seconds, rate), clean, rate))
    assert found == (pytest.approx(seconds, abs=1.5 / 16000), None)


def test_a_delay_that_the_noise_nearly_hides_is_doubted():
    clean = syllables(1, 3.0)
    noise = np.random.default_rng(2).standard_normal(clean.shape)
    doubts = []
    for level in np.geomspace(0.02, 2, 25):
        try:
            doubts.append(bulk_delay(*pair_of(clean + level * noise, clean))[1])
        except RecipeError:
            break
    assert doubts[0] is None and "0 ms late with little certainty" in doubts[-1]


def test_the_delay_of_an_aid_that_turns_phases_is_found_from_the_envelopes():
    clean = syllables(3, 4.0)
    _, _, spectrum = stft(clean[:, 0], nperseg=256)
    phases = np.exp(2j * np.pi * np.random.default_rng(4).random(spectrum.shape))
    vocoded = np.repeat(istft(np.abs(spectrum) * phases)[1][:, None], 2, axis=1)
    found = bulk_delay(*pair_of(late(vocoded, 0.1), clean))
    assert found == (pytest.approx(0.1, abs=0.01), None)


@pytest.mark.parametrize("other", [5, 6, 7])
def test_another_sentence_is_refused(other):
    with pytest.raises(RecipeError, match="ha.wav and clean.wav: no delay.*same sentence.*align=f"):
        bulk_delay(*pair_of(syllables(other), syllables(1)))


@pytest.mark.parametrize(("seconds", "which"), [(1.5, "ha.wav"), (3.0, "ha.wav"), (-1.2, "clean")])
def test_a_delay_beyond_a_second_is_to_be_trimmed(seconds, which):
    clean = syllables(1, 6.0)
    with pytest.raises(RecipeError, match=f"ha.wav: {abs(seconds):.2f} s .*; trim {which}"):
        bulk_delay(*pair_of(late(clean, seconds), clean))


PAUSED = np.concatenate([syllables(1), np.zeros((RATE, 2)), syllables(2)])
BEFORE = syllables(2, 1.5)  # another sentence
NOISY = syllables(1, 3.0) + 0.01 * np.random.default_rng(2).standard_normal((3 * RATE, 2))


@pytest.mark.parametrize(
    ("processed", "reference", "warning"),
    [
        (syllables(1, 3.0), syllables(1, 3.0), None),
        (0.1 * NOISY, syllables(1, 3.0), None),
        (syllables(1, 3.0)[: int(1.5 * RATE)], syllables(1, 3.0), "ends 0.9[0-9] s before the sen"),
        (syllables(1, 3.0)[int(0.6 * RATE) :], syllables(1, 3.0), "begins 0.[0-9]+ s after the se"),
        (
            PAUSED,
            PAUSED,
            r"clean.wav: a pause of 1\.[0-9] s in the speech; one sentence is expected",
        ),
        (PAUSED, syllables(1), "ha.wav: as loud a sound outside 0.[0-9] to 1.[0-9] s, where c"),
        (
            np.concatenate([BEFORE, syllables(1)]),
            np.concatenate([0 * BEFORE, syllables(1)]),
            "ha.wav: as loud a sound outside 1.[0-9] to 3.[0-9] s, where clean.wav speaks",
        ),
        (syllables(1, 3.0), NOISY, "clean.wav: .*are the two swapped"),
        (syllables(1, 1.0), syllables(1, 1.0), "clean.wav: 0.[0-5][0-9] s of speech; predict"),
        (1e-4 * syllables(1, 3.0), syllables(1, 3.0), "ha.wav: at -?[0-9]+ dB SPL, hardly audibl"),
        (syllables(1, 3.0), 1e-2 * syllables(1, 3.0), "clean.wav: speech at [0-9]+ dB SPL, exp"),
    ],
)
def test_what_is_no_pair_of_one_sentence_is_said(processed, reference, warning):
    pair = pair_of(processed, reference)
    _, said = level_and_warnings(*pair, find_sentence(*pair), 100.0)
    assert len(said) == (warning is not None) and all(re.search(warning, one) for one in said)


def test_what_is_silent_where_the_reference_speaks_is_refused():
    clean = syllables(1, 3.0)
    beep = np.zeros_like(clean)
    beep[-100:] = 0.1
    pair = pair_of(beep, clean)
    with pytest.raises(RecipeError, match="ha.wav: is silent where clean.wav speaks"):
        level_and_warnings(*pair, find_sentence(*pair, delay=0.0), 100.0)


@pytest.mark.parametrize("start", [2.7, 2.99, 5.0])
def test_a_start_after_the_speech_is_refused(start):
    pair = pair_of(syllables(1, 3.0), syllables(1, 3.0))
    with pytest.raises(RecipeError, match="start=.*in clean.wav ends at 2.[0-9]+ s, so none"):
        find_sentence(*pair, 0.0, start)
    assert find_sentence(*pair, 0.0, 2.0).start == 2.0


def test_taking_a_delay_out():
    signal = np.arange(10.0).reshape(5, 2)
    assert without_delay(signal, 2).tolist() == signal[2:].tolist()
    assert without_delay(signal, -1).tolist() == [[0, 0], *signal.tolist()]
