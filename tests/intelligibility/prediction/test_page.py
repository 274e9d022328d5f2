"""What the page of score.py shows of one recording."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from intelligibility.corpora.audiograms import described, listener_of
from intelligibility.prediction.page import card
from intelligibility.prediction.prediction import EarSignals, Prediction
from intelligibility.prediction.rows import Row
from tests.intelligibility.prediction.speech import syllables


@pytest.mark.parametrize("gain", [0.05, 8.0])
def test_what_an_ear_hears_is_played_at_its_level(tmp_path: Path, gain: float) -> None:
    """Relative to the recording, soft or too loud for the format."""
    clean = syllables(1, 1.5, 16000)
    sf.write(tmp_path / "ha.wav", clean, 16000)
    heard = EarSignals(gain * clean, clean, 0.0, 65.0, [])
    marked = {"left": [("a", False)], "right": [("a", True)]}
    course = np.linspace(0, 1, 30)
    prediction = Prediction(
        *(50.0, "enc", 20.0, {"enc": 50.0}, {"enc": 0.5}, {}, {"left": "a", "right": ""}, "a"),
        *(True, heard, course),
        compared=marked,
    )
    row = Row(0, "ha", tmp_path / "ha.wav", tmp_path / "ha.wav", listener_of("N3"))
    shown = card(row, {"by": "enc"}, prediction)
    levels = {}
    for title, sound in shown["sounds"]:
        samples, _ = sf.read(io.BytesIO(base64.b64decode(sound)))
        assert np.abs(samples).max() < 1.1
        levels[title] = 20 * np.log10(np.sqrt(np.mean(samples**2)))
    assert levels["heard, left ear"] - levels["processed"] == pytest.approx(
        20 * np.log10(gain), abs=1.0
    )
    assert shown["compared"] == marked
    assert list(shown["losses"]) == ["both ears"]


@pytest.mark.parametrize("text", ["250:20,1000:35.5,8000:70", "left=500:20;right=500:30,2000:60"])
def test_an_audiogram_is_written_as_it_is_read(text: str) -> None:
    once = described(listener_of(text))
    assert described(listener_of(once)) == once and ("left=" in once) == ("left=" in text)
