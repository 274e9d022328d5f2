"""Single sentences with recognisers of others."""

import numpy as np
import pytest
import torch

from intelligibility.evaluation.curve import Curve
from intelligibility.evaluation.mapping import Fit, FittedMapping
from intelligibility.prediction.prediction import EarSignals
from intelligibility.prediction.predictor import Predictor
from intelligibility.similarity import similarities_of
from tests.intelligibility.recognisers.small_hub import (
    TEXTS,
    load_folder,
    small_ctc,
    small_encoder,
    small_whisper,
    speech,
)

MSBG = {"src_pos": "ff", "sample_rate": 44100, "equiv_0db_spl": 100, "ahr": 20}
MEASURES = {
    "whisper": {"wcs", "pre", "enc", "dec", "prob"},
    "ctc": {"wcs", "pre", "enc", "prob"},
    "encoder": {"pre", "enc"},
}


@pytest.fixture(scope="module")
def recognisers(tmp_path_factory):
    """Return one of each kind."""
    root = tmp_path_factory.mktemp("hub")
    folders = {
        "whisper": small_whisper(root / "whisper", multilingual=True),
        "ctc": small_ctc(root / "ctc"),
        "encoder": small_encoder(root / "encoder"),
    }
    return {kind: load_folder(folder, all_layers=False) for kind, folder in folders.items()}


def heard() -> EarSignals:
    """Return both ears of a processed signal and of its reference."""
    ears = [speech(seed, 1.5).numpy() for seed in range(4)]
    return EarSignals(np.stack(ears[:2], 1), np.stack(ears[2:], 1), None, None, [])


def predictor(recogniser) -> Predictor:
    """Return a predictor by its encoder."""
    fits = {name: Fit(Curve(50.0, 0.1)) for name in ("pre", "enc", "dec", "prob", "wcs")}
    return Predictor(recogniser, FittedMapping(fits, 50.0), MSBG, by="enc")


@pytest.mark.parametrize("kind", MEASURES)
@pytest.mark.parametrize("text", [TEXTS[0], None])
def test_it_gives_the_measures_that_the_recogniser_has(recognisers, kind, text):
    recogniser, sound = recognisers[kind], heard()
    hearing = predictor(recogniser)
    found = hearing.compare(sound, *hearing.recognise(sound, text))
    assert set(found.similarities) == MEASURES[kind]
    assert 0 <= found.percent <= 100
    said = text or found.text or None
    ears = [
        next(recogniser.recognise([torch.from_numpy(np.ascontiguousarray(ear))], [said]))
        for both in (sound.processed, sound.reference)
        for ear in both.T
    ]
    score = recogniser.word_correctness
    expected = similarities_of(tuple(ears[:2]), tuple(ears[2:]), said or "", "fastdtw", score)
    assert found.similarities == pytest.approx(expected, abs=1e-5)


def test_without_a_text_the_reference_says_it(recognisers):
    hearing, sound = predictor(recognisers["whisper"]), heard()
    found = hearing.compare(sound, *hearing.recognise(sound, None))
    assert len(found.text) > 3 and not found.text_given
