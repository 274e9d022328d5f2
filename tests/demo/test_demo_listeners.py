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
    best, mild, deaf = (
        listeners.speech_intelligibility_index(speech, quiet, np.full(6, loss))
        for loss in (0.0, 40.0, 120.0)
    )
    # Only the band at 8 kHz is less than wholly audible: (1.13 + 7.1 + 15) / 30 of 0.0549.
    assert best == pytest.approx(1 - 0.0549 * (1 - 23.23 / 30), abs=1e-6)
    assert deaf == 0 < mild < best


def test_spectrum_levels_of_white_noise_are_flat_and_add_up():
    noise = at_level(np.random.default_rng(0).standard_normal(10 * SAMPLE_RATE), 70.0)
    levels = listeners.spectrum_levels(noise)
    per_hertz = 70 - 10 * np.log10(SAMPLE_RATE / 2)
    np.testing.assert_allclose(levels, per_hertz, atol=LEVEL_TOLERANCE)


def test_word_score_is_the_oldenburg_function_and_a_loss_shifts_it():
    def at_snr(snr, loss=0.0):
        return listeners.word_score((snr + 15) / 30, loss)

    assert at_snr(-7.1) == pytest.approx(0.5)
    slope = (at_snr(-7.0) - at_snr(-7.2)) / 0.2
    assert slope == pytest.approx(0.171, abs=1e-4)
    assert at_snr(-7.1 + 4.7, loss=50.0) == pytest.approx(0.5)


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
    assert FULL_SCALE == 120.0
    clear, masked = (
        listeners.answer("alan lost ten blue clocks", "L9001", speech, noise * speech, rng)
        for noise in (1e-6, 10)
    )
    assert clear.response == "alan lost ten blue clocks"
    assert clear.hits == clear.n_words == 5
    assert masked.hits == len(masked.response.split()) <= 1
