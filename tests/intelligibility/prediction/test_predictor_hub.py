"""Single sentences with recognisers of others."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.made.sounds import MSBG
from intelligibility.corpora.audiograms import listener_of
from intelligibility.evaluation.curve import Curve
from intelligibility.evaluation.mapping import Fit, FittedMapping
from intelligibility.prediction.model import is_recogniser
from intelligibility.prediction.prediction import EarSignals
from intelligibility.prediction.predictor import Predictor, model_made_by, predictor_of_process
from intelligibility.runs import RecipeError, write_json
from intelligibility.similarity import similarities_of, similarities_of_layers
from tests.intelligibility.prediction.speech import syllables
from tests.intelligibility.recognisers.small_hub import (
    TEXTS,
    load_folder,
    small_ctc,
    small_encoder,
    small_whisper,
    speech,
)

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
    marked = recogniser.marked_words
    expected = similarities_of(tuple(ears[:2]), tuple(ears[2:]), said or "", "fastdtw", marked)
    assert found.similarities == pytest.approx(expected, abs=1e-5)


def test_the_default_is_the_best_on_dev_that_the_recogniser_measures(recognisers):
    rmse = {"stoi": 10.0, "pre": 30.0, "enc": 25.0}
    fits = {name: Fit(Curve(50.0, 0.1), rmse=value) for name, value in rmse.items()}
    encoder = recognisers["encoder"]
    assert Predictor(encoder, FittedMapping(fits, 50.0), MSBG).by == "enc"
    with pytest.raises(RecipeError, match="by=stoi: the mapping has pre, enc"):
        Predictor(encoder, FittedMapping(fits, 50.0), MSBG, by="stoi")
    with pytest.raises(RecipeError, match="this recogniser has no words"):
        Predictor(encoder, FittedMapping({}, 0.0), MSBG)


def test_a_text_in_small_letters_is_written_as_in_the_tables(recognisers):
    """The stages write prompts in capitals, and their similarities are what is mapped."""
    hearing, sound = predictor(recognisers["whisper"]), heard()
    found = [
        hearing.compare(sound, *hearing.recognise(sound, text)).similarities
        for text in (TEXTS[0].lower(), TEXTS[0].upper())
    ]
    assert found[0] == found[1]


def test_it_predicts_by_the_layer_that_dev_chose(tmp_path):
    recogniser = load_folder(small_whisper(tmp_path / "whisper", multilingual=True))
    fits = {"layer": Fit(Curve(50.0, 0.1), layer="decoder.1")}
    hearing, sound = Predictor(recogniser, FittedMapping(fits, 50.0), MSBG, by="layer"), heard()
    processed, reference, *said = hearing.recognise(sound, TEXTS[0])
    found = hearing.compare(sound, processed, reference, *said)
    expected = similarities_of_layers(processed, reference)["decoder.1"]
    assert (found.by, found.similarities["layer"]) == ("layer", pytest.approx(expected))


def test_a_loop_is_said(recognisers):
    hearing, sound = predictor(recognisers["whisper"]), heard()
    (left, right), reference, *said = hearing.recognise(sound, TEXTS[0])
    endless = replace(left, ended=False), right
    found = hearing.compare(sound, endless, reference, *said)
    assert "the recogniser repeats itself; its words count once" in found.heard.warnings


def test_without_a_text_the_reference_says_it(recognisers):
    hearing, sound = predictor(recognisers["whisper"]), heard()
    found = hearing.compare(sound, *hearing.recognise(sound, None))
    assert len(found.text) > 3 and not found.text_given


def test_a_recogniser_without_an_experiment_predicts_by_its_words(tmp_path):
    """At the played level, uncalibrated, with HASPI's prediction beside it."""
    folder = small_whisper(tmp_path / "whisper")
    assert is_recogniser(str(folder)) and not is_recogniser(str(tmp_path))
    hearing = Predictor.from_recogniser(folder, device="cpu")
    clean = syllables(1, 1.5, 24000)
    found = hearing.predict(clean, clean, 24000, listener_of("moderate"), TEXTS[0])
    assert hearing.msbg_settings["ahr"] == 0 and found.by == "wcs"
    assert found.percent == 100 * found.similarities["wcs"]
    assert found.rmse is None and found.interval is None
    assert set(found.percents) == {"wcs", "haspi"} and found.percents["haspi"] > 50
    assert {"enc", "dec", "prob"} <= set(found.similarities)
    assert any("of the text's words in the clean" in one for one in found.heard.warnings)
    made_by = model_made_by(str(folder), None)
    assert made_by["MSBGEar"]["ahr"] == 0 and "pyclarity" in made_by["haspi"]
    with pytest.raises(RecipeError, match="by=dec: this recogniser has no mapping"):
        Predictor.from_recogniser(folder, device="cpu", by="dec")


def test_a_mapping_of_this_recogniser_gives_percent(tmp_path):
    """Of an experiment with it: its mapping, and its level."""
    folder = small_whisper(tmp_path / "whisper")
    sha256 = model_made_by(str(folder), None)["checkpoint_sha256"]
    config = {"recogniser": str(folder), "MSBGEar": {"ahr": 20}, "dtw": "exact"}
    write_json(tmp_path / "inference.json", {"provenance": {"config": config}})
    path = tmp_path / "calibration.json"
    fits = {name: Fit(Curve(50.0, 0.1), rmse=21.0) for name in ("enc", "dec")}
    FittedMapping(fits, 50.0, sha256).write(path)
    hearing = predictor_of_process(str(folder), None, str(path), "cpu", None)
    clean = syllables(1, 1.5, 24000)
    found = hearing.predict(clean, clean, 24000, listener_of("moderate"), TEXTS[0])
    assert (
        hearing.msbg_settings["ahr"] == 20
        and hearing.dtw == "exact"
        and (found.by, found.rmse) == ("dec", 21.0)
    )
    assert found.percent == pytest.approx(fits["dec"].curve.predict(found.similarities["dec"]))
    made_by = model_made_by(str(folder), None, str(path))
    assert made_by["mapping"]["checkpoint_sha256"] == sha256


def test_a_mapping_of_another_recogniser_is_refused(tmp_path):
    folder = small_whisper(tmp_path / "whisper")
    path = tmp_path / "calibration.json"
    FittedMapping({"dec": Fit(Curve(50.0, 0.1))}, 50.0, "00" * 32).write(path)
    with pytest.raises(RecipeError, match="fitted with recogniser 000000000000, but"):
        Predictor.from_recogniser(folder, device="cpu", calibration=path)
