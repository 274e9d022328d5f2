"""Recordings of every kind, and of kinds that cannot be scored."""

import numpy as np
import pytest
import soundfile as sf

from intelligibility.prediction.recording import (
    active_level,
    at_rate,
    read_audio,
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
    assert len(at_rate(recording_of(tone, 44100, "tone"), 16000).signal) == 16000
    clicks = recording_of(np.tile(np.append(np.zeros(441), tone[:441]), 50), 44100, "clicks")
    assert active_level(at_rate(clicks, 16000)) == pytest.approx(active_level(clicks), abs=0.2)


@pytest.mark.parametrize(
    ("signal", "rate", "message"),
    [
        (np.zeros((8000, 2)), 16000, "is silent"),
        (np.full((8000, 2), np.nan), 16000, "not finite"),
        (np.ones((8000, 3)), 16000, "expected one channel or two"),
        (np.ones((0, 2)), 16000, "0.00 s, expected one sentence"),
        (np.ones((16000 * 300, 1)), 16000, "300.00 s, expected one sentence of 0.2 to 98 s"),
        (np.ones((8000, 2)), 4000, "4000 Hz, expected at least 8000 Hz"),
        (20000 * syllables(0), 16000, "where full scale is 1; divide whole numbers"),
    ],
)
def test_what_cannot_be_scored_is_named(signal, rate, message):
    with pytest.raises(RecipeError, match=f"ha.wav: .*{message}"):
        recording_of(signal, rate, "ha.wav")


TONE = np.repeat(np.sin(2 * np.pi * 100 * np.arange(48000) / 48000)[:, None], 2, axis=1)


@pytest.mark.parametrize(
    ("signal", "rate", "warning"),
    [
        (syllables(0), 16000, None),
        (TONE, 48000, None),  # as loud as can be, not clipped
        (1.5 * TONE, 48000, None),  # floats may exceed full scale
        (np.clip(2 * TONE, -1, 1), 48000, "samples at full scale, probably clipped"),
        (np.maximum(syllables(0), -0.001), 16000, None),  # half a wave: its mean is no offset
        (syllables(0) + 0.001, 16000, "constant offset of 0.0010 of full scale"),
        (syllables(0) - 0.01, 16000, "constant offset of 0.0100 of full scale"),
        (syllables(0) * [0, 1], 16000, "silent at the left ear"),
        (syllables(0), 12000, "12000 Hz, so it holds nothing above 6 kHz"),
    ],
)
def test_what_is_odd_about_a_sound_is_said(signal, rate, warning):
    said = recording_of(signal, rate, "ha.wav").warnings
    assert len(said) == (warning is not None) and all(warning in one for one in said)


@pytest.mark.parametrize("offset", [0.001, -0.01, [0.003, 0.0]])
def test_a_constant_offset_is_removed(offset):
    found = recording_of(syllables(0) + offset, 16000, "ha.wav").signal
    np.testing.assert_allclose(found, syllables(0), atol=1e-4)


def sized(path, riff: int, data: int, cut: int = 0):
    """Write a WAV whose header names other sizes than it has, and cut its end off."""
    sf.write(path, syllables(0), 16000, subtype="PCM_16")
    content = bytearray(path.read_bytes())
    at = content.find(b"data") + 4
    content[4:8], content[at : at + 4] = (n.to_bytes(4, "little") for n in (riff, data))
    path.write_bytes(content[: len(content) - cut])
    return path


@pytest.mark.parametrize(
    ("riff", "data"),
    [(0, 0), (2**32 - 1, 0), (0, 2**32 - 1), (2**32 - 1, 2**32 - 1), (2**31 + 36, 2**31)]
    + [(2**31 - 1, 2**31 - 37), (2_500_000_036, 2_500_000_000)],
)
def test_a_stream_whose_sizes_were_never_written_is_read_whole(tmp_path, riff, data):
    sound = read_recording(sized(tmp_path / "stream.wav", riff, data))
    np.testing.assert_allclose(sound.signal, syllables(0), atol=4e-5)


@pytest.mark.parametrize("suffix", ["wav", "flac"])
@pytest.mark.parametrize("read", [read_audio, read_recording])
def test_a_truncated_file_is_refused(tmp_path, read, suffix):
    whole = tmp_path / f"whole.{suffix}"
    sf.write(whole, syllables(0, 6.0), 16000)
    half = tmp_path / f"half.{suffix}"
    half.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises((RecipeError, ValueError), match="truncated file"):
        read(half)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"to be recorded", "cannot be read as audio"), (b"", "empty file"), (None, "missing file")],
)
def test_what_is_no_audio_is_named(tmp_path, content, message):
    if content is not None:
        (tmp_path / "ha.wav").write_bytes(content)
    with pytest.raises(RecipeError, match=f"ha.wav: .*{message}; give a whole WAV"):
        read_recording(tmp_path / "ha.wav")
