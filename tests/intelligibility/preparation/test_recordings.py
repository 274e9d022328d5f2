"""Your own recordings as prepare_data.py takes them: the checks are those of score.py."""

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

import baselines
from intelligibility.corpora.audiograms import listener_of
from intelligibility.corpora.presentation import Presentation
from intelligibility.preparation.check import sources_of
from intelligibility.preparation.recordings import cut_own
from tests.intelligibility.prediction.speech import syllables

RATE = 44100
MSBG = {"src_pos": "ff", "sample_rate": RATE, "equiv_0db_spl": 100, "ahr": 0}
CLEAN = syllables(1, 3.0, RATE)


@pytest.fixture
def one(tmp_path: Path) -> Presentation:
    """Return a presentation whose recordings lie there: a clean one, the same twice."""
    wavs = tmp_path / "ha.wav", tmp_path / "clean.wav"
    for wav in wavs:
        sf.write(wav, CLEAN, RATE, subtype="FLOAT")
    person = listener_of("mild")
    return Presentation("s", "s", person, "", "anna", 50.0, *wavs, None, own=True, delay=None)


@pytest.mark.parametrize(
    ("sound", "found"),
    [
        (CLEAN, None),
        (CLEAN + 0.01, "a constant offset of 0.0100"),
        (CLEAN[: int(1.5 * RATE)], "ends [0-9.]+ s before the sentence"),
        (1e-4 * CLEAN, "hardly audible"),
        (np.clip(50 * CLEAN, -1, 1), "probably clipped"),
        (np.concatenate([np.zeros((2 * RATE, 2)), CLEAN]), "trim .*ha.wav"),
        (32768 * CLEAN, "divide whole numbers"),
    ],
)
def test_what_is_odd_is_said_and_what_cannot_be_is_refused(one, sound, found):
    sf.write(one.processed, sound, RATE, subtype="FLOAT")
    processed, reference = sources_of("test", one)
    if found and ("trim" in found or "divide" in found):
        with pytest.raises(ValueError, match=found):
            cut_own(processed, MSBG)
        return
    cut = cut_own(processed, MSBG)
    assert cut.odd is None if found is None else re.search(found, cut.odd)
    assert abs(cut.signal.mean()) < 1e-3 and cut_own(reference, MSBG).odd is None


@pytest.mark.parametrize("own", [True, False])
def test_a_truncated_recording_has_no_baseline(one, own):
    one.processed.write_bytes(one.processed.read_bytes()[:-40000])
    one = Presentation(**vars(one) | {"own": own, "delay": 0.0})
    index = baselines.Index("test", one, baselines.BASELINES[0])
    (found,) = baselines.compute([index], MSBG)
    assert isinstance(found, ValueError) and "truncated file" in str(found)
