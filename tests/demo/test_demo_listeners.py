"""The simulated listeners: the index against the standard, the score against its source."""

import numpy as np
import pytest

from demo import listeners
from demo.scenes import FULL_SCALE, at_level
from demo.speech import SAMPLE_RATE

INDEX_TOLERANCE = 5e-4  # the standard prints three digits
LEVEL_TOLERANCE = 0.4  # dB, four standard errors of the narrowest band


def test_index_of_the_standards_worked_example():
    # ANSI S3.5-1997, annex C, example C.1 (octave bands): 0.504.
    speech = np.array([50.0, 40.0, 40.0, 30.0, 20.0, 0.0])
    noise = np.array([70.0, 65.0, 45.0, 25.0, 1.0, -15.0])
    index = listeners.speech_intelligibility_index(speech, noise, np.zeros(6))
    assert index == pytest.approx(0.504, abs=INDEX_TOLERANCE)


def test_a_hearing_loss_lowers_the_index_and_an_inaudible_band_counts_nothing():
    speech, quiet = listeners.STANDARD_SPEECH, np.full(6, -50.0)
    best = listeners.speech_intelligibility_index(speech, quiet, np.zeros(6))
    mild = listeners.speech_intelligibility_index(speech, quiet, np.full(6, 40.0))
    deaf = listeners.speech_intelligibility_index(speech, quiet, np.full(6, 120.0))
    # Only the band at 8 kHz is less than wholly audible: (1.13 + 7.1 + 15) / 30 of 0.0549.
    assert best == pytest.approx(1 - 0.0549 * (1 - 23.23 / 30), abs=1e-6)
    assert deaf == 0 < mild < best


def test_spectrum_levels_of_white_noise_are_flat_and_add_up():
    noise = at_level(np.random.default_rng(0).standard_normal(10 * SAMPLE_RATE), 70.0)
    levels = listeners.spectrum_levels(noise)
    per_hertz = 70 - 10 * np.log10(SAMPLE_RATE / 2)
    np.testing.assert_allclose(levels, per_hertz, atol=LEVEL_TOLERANCE)


def test_word_score_is_the_oldenburg_function_for_normal_hearing():
    def at_snr(snr):
        return listeners.word_score((snr + 15) / 30, loss=0.0)

    assert at_snr(-7.1) == pytest.approx(0.5)
    slope = (at_snr(-7.0) - at_snr(-7.2)) / 0.2
    assert slope == pytest.approx(0.171, abs=1e-4)


def test_a_greater_loss_needs_a_better_signal_to_noise_ratio():
    assert listeners.word_score((-7.1 + 4.7 + 15) / 30, loss=50.0) == pytest.approx(0.5)


def test_listeners_have_standard_audiograms_that_msbg_can_take():
    assert len(listeners.LISTENERS) >= 8
    for name in listeners.LISTENERS:
        for ear in listeners.audiograms(name):
            assert tuple(ear) == listeners.FREQUENCIES
            assert max(ear.values()) < 105


def test_hits_scatter_as_a_binomial(monkeypatch):
    monkeypatch.setattr(listeners, "word_score", lambda index, loss: 0.3)
    sound = np.random.default_rng(0).standard_normal((SAMPLE_RATE // 10, 2))
    rng = np.random.default_rng(1)
    hits = [listeners.answer("a b c d e", "L9001", sound, sound, rng).hits for _ in range(1000)]
    # Mean 1.5 and variance 1.05; the standard errors at 1000 draws are 0.03 and 0.05.
    assert np.mean(hits) == pytest.approx(1.5, abs=0.13)
    assert np.var(hits) == pytest.approx(1.05, abs=0.2)


def test_the_response_holds_the_words_that_came_through_in_order():
    rng = np.random.default_rng(5)
    speech = np.stack([at_level(rng.standard_normal(SAMPLE_RATE), 65.0)] * 2, axis=1)
    quiet, loud = 1e-6 * speech, 10 * speech
    assert FULL_SCALE == 120.0
    clear = listeners.answer("alan lost ten blue clocks", "L9001", speech, quiet, rng)
    assert clear.response == "alan lost ten blue clocks"
    assert clear.hits == clear.n_words == 5
    masked = listeners.answer("alan lost ten blue clocks", "L9001", speech, loud, rng)
    assert masked.hits == len(masked.response.split()) <= 1
