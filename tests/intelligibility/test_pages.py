"""What pages embed: sounds and numbers."""

import base64
import io

import numpy as np
import pytest
import soundfile as sf

from intelligibility.pages import mp3, number


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [(1234.56, 1, "1,234.6"), (-0.25, 2, "−0.25"), (None, 1, "–"), (float("nan"), 1, "–")],
)
def test_numbers_as_text(value, digits, text):
    assert number(value, digits) == text


def test_sounds_that_would_clip_are_scaled_down():
    sound = 3 * np.sin(2 * np.pi * 440 / 16000 * np.arange(16000))
    samples, rate = sf.read(io.BytesIO(base64.b64decode(mp3(sound, 16000))))
    assert rate == 16000 and len(samples) == pytest.approx(16000, abs=2500)
    assert 0.9 < np.abs(samples).max() < 1.1
