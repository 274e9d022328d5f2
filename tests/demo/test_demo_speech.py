"""The matrix sentences and the synthetic voices."""

import numpy as np
import pytest

from demo import speech
from intelligibility.runs import RecipeError

TWO_VOICES = [("en+m2", "alan bought two"), ("en-us+f2", "doris finds four"), ("en+m2", "nina")]


def test_each_ten_sentences_use_every_word_once():
    sentences = speech.matrix_sentences(30, np.random.default_rng(3))
    for start in (0, 10, 20):
        columns = zip(*(s.split() for s in sentences[start : start + 10]), strict=True)
        for words, expected in zip(columns, speech.MATRIX, strict=True):
            assert sorted(words) == sorted(expected)


def test_no_sentence_comes_twice():
    sentences = speech.matrix_sentences(1500, np.random.default_rng(4))
    assert len(set(sentences)) == len(sentences) == 1500


def test_the_matrix_has_fifty_different_words():
    words = [word for column in speech.MATRIX for word in column]
    assert [len(column) for column in speech.MATRIX] == [10] * 5
    assert len(set(words)) == 50


def test_target_voices_do_not_compete():
    assert len(set(speech.TARGET_VOICES)) >= 6
    assert not set(speech.TARGET_VOICES) & set(speech.COMPETING_VOICES)


def test_speech_is_the_same_each_time():
    spoken = speech.speak(TWO_VOICES)
    again = speech.speak(TWO_VOICES)
    for signal, other in zip(spoken, again, strict=True):
        np.testing.assert_array_equal(signal, other)


def test_utterances_come_back_in_order_trimmed_and_at_full_peak():
    three, _, one = speech.speak(TWO_VOICES)
    for signal in (three, one):
        assert np.abs(signal).max() == 1
        assert min(abs(signal[0]), abs(signal[-1])) > speech.SILENCE
    assert 0.2 * speech.SAMPLE_RATE < len(one) < len(three) < 2 * speech.SAMPLE_RATE


def test_an_unknown_voice_is_named():
    with pytest.raises(RecipeError, match="nobody-knows-me"):
        speech.speak([("nobody-knows-me", "alan")])
