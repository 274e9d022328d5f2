"""The matrix sentences and the synthetic voices."""

import numpy as np
import pytest

from demo import speech
from intelligibility.runs import RecipeError

TWO_VOICES = [("en+m2", "alan bought two"), ("en-us+f2", "doris finds four"), ("en+m2", "nina")]


def test_each_ten_sentences_use_every_word_once_and_none_comes_twice():
    words = [word for column in speech.MATRIX for word in column]
    assert [len(column) for column in speech.MATRIX] == [10] * 5
    assert len(set(words)) == 50
    sentences = speech.matrix_sentences(1500, np.random.default_rng(3))
    assert len(set(sentences)) == len(sentences) == 1500
    for start in range(0, 1500, 10):
        columns = zip(*(s.split() for s in sentences[start : start + 10]), strict=True)
        for words, expected in zip(columns, speech.MATRIX, strict=True):
            assert sorted(words) == sorted(expected)


def test_target_voices_do_not_compete():
    assert len(set(speech.TARGET_VOICES)) >= 6
    assert not set(speech.TARGET_VOICES) & set(speech.COMPETING_VOICES)


def test_utterances_come_back_in_order_trimmed_at_full_peak_and_the_same_each_time():
    spoken = speech.speak(TWO_VOICES)
    for signal, other in zip(spoken, speech.speak(TWO_VOICES), strict=True):
        np.testing.assert_array_equal(signal, other)
    three, _, one = spoken
    for signal in (three, one):
        assert np.abs(signal).max() == 1
        assert min(abs(signal[0]), abs(signal[-1])) > speech.SILENCE
    assert 0.2 * speech.SAMPLE_RATE < len(one) < len(three) < 2 * speech.SAMPLE_RATE


def test_an_unknown_voice_is_named():
    with pytest.raises(RecipeError, match="nobody-knows-me"):
        speech.speak([("nobody-knows-me", "alan")])
