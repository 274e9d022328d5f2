"""Recordings of every kind, and of kinds that cannot be scored."""

import numpy as np
import pytest
import soundfile as sf

from intelligibility.prediction.recording import (
    active_level,
    at_rate,
    quality_warnings,
    read_recording,
    recording_of,
)
from intelligibility.runs import RecipeError
from tests.intelligibility.prediction.speech import syllables


@pytest.mark.parametrize(
    ("suffix", "subtype", "tolerance"),
    [
        ("wav", "PCM_16", 4e-5),
        ("wav", "PCM_24", 1e-6),
        ("wav", "FLOAT", 1e-8),
        ("flac", "PCM_16", 4e-5),
    ],
)
def test_every_sample_format_is_the_same_sound(tmp_path, suffix, subtype, tolerance):
    path = tmp_path / f"a.{suffix}"
    sf.write(path, syllables(0), 16000, subtype=subtype)
    sound = read_recording(path)
    assert sound.rate == 16000 and len(sound.signal) == 32000
    np.testing.assert_allclose(sound.signal, syllables(0), atol=tolerance)


def test_mono_is_the_same_at_both_ears():
    sound = recording_of(syllables(0)[:, 0], 16000, "mono")
    assert np.array_equal(sound.signal[:, 0], sound.signal[:, 1])


def test_levels():
    tone = 0.1 * np.sin(2 * np.pi * 440 * np.arange(44100) / 44100)
    assert active_level(recording_of(tone, 44100, "tone")) == pytest.approx(-23.0, abs=0.1)
    (warning,) = quality_warnings(recording_of(np.clip(20 * tone, -1, 1), 44100, "loud"))
    assert "probably clipped" in warning
    assert len(at_rate(recording_of(tone, 44100, "tone"), 16000).signal) == 16000


@pytest.mark.parametrize(
    ("signal", "rate", "message"),
    [
        (np.zeros((8000, 2)), 16000, "is silent"),
        (np.full((8000, 2), np.nan), 16000, "not finite"),
        (np.ones((8000, 3)), 16000, "expected one channel or two"),
        (np.ones((0, 2)), 16000, "0.00 s, expected one sentence"),
        (np.ones((16000 * 300, 1)), 16000, "300.00 s, expected one sentence of 0.2 to 98 s"),
        (np.ones((8000, 2)), 4000, "4000 Hz, expected at least 8000 Hz"),
    ],
)
def test_what_cannot_be_scored_is_named(signal, rate, message):
    with pytest.raises(RecipeError, match=f"ha.wav: .*{message}"):
        recording_of(signal, rate, "ha.wav")


def test_what_is_no_audio_is_named(tmp_path):
    (tmp_path / "notes.wav").write_text("to be recorded")
    with pytest.raises(RecipeError, match="notes.wav: cannot be read as audio"):
        read_recording(tmp_path / "notes.wav")
    with pytest.raises(RecipeError, match="none.wav: no such file"):
        read_recording(tmp_path / "none.wav")
