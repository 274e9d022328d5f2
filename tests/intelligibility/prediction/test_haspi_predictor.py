"""The prediction without a recogniser: HASPI and the built-in mapping."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.builtin_mapping import main
from intelligibility.corpora.audiograms import listener_of
from intelligibility.corpora.cpc3 import read_severities
from intelligibility.ears import resample
from intelligibility.evaluation.mapping import FittedMapping
from intelligibility.prediction import haspi_predictor
from intelligibility.prediction.haspi_predictor import BUILTIN, builtin_predictor
from intelligibility.prediction.prediction import Conditions
from intelligibility.prediction.predictor import Predictor
from intelligibility.prediction.recording import Recording, read_recording, recording_of, resampled
from intelligibility.runs import RecipeError
from tests.conftest import RECIPE
from tests.intelligibility.prediction.speech import syllables

CLARITYS = 0.03  # mean difference from Clarity's own indices


@pytest.fixture(scope="module")
def pair() -> tuple[Recording, Recording]:
    """Return a sentence in noise, and the sentence, at 24 kHz, where HASPI computes."""
    clean = syllables(1, 1.5, 24000)
    noise = 0.02 * np.random.default_rng(2).standard_normal(clean.shape)
    return recording_of(clean + noise, 24000, "ha.wav"), recording_of(clean, 24000, "clean.wav")


@pytest.fixture(scope="module")
def predicted(pair):
    """Return the prediction of that pair for a moderate loss."""
    return Predictor.builtin().predict(*pair, None, listener_of("moderate"))


def test_the_file_is_made_again_byte_for_byte(shared: Path, tmp_path, monkeypatch, capsys) -> None:
    again = tmp_path / "again.json"
    folder = str(shared / "cpc3_real")
    monkeypatch.setattr(sys, "argv", ["builtin_mapping", folder, "--output", str(again)])
    main()
    assert again.read_bytes() == BUILTIN.read_bytes()
    table = capsys.readouterr().out
    assert "| one listener left out | 26 | 29.19 |" in table
    assert "| one system left out | 20 | 29.39 |" in table


def test_the_file_says_what_it_was_fitted_on_and_names_nobody() -> None:
    content = json.loads(BUILTIN.read_text())
    fit = content["measures"]["haspi"]
    assert round(fit["x0"], 1) == 50.3 and round(fit["k"], 4) == 0.0427
    assert round(fit["RMSE"], 1) == 29.1 and len(fit["range"]["at"]) == 10
    assert (content["fitted_on"]["signals"], content["fitted_on"]["listeners"]) == (15520, 26)
    for what in ("answers and severities", "HASPI"):
        assert content["fitted_on"]["source"][what] and content["fitted_on"]["licence"][what]
    seen = FittedMapping.read(BUILTIN).seen
    assert seen.hashed and len(seen.by_kind["signals"]) == 15520
    text = BUILTIN.read_text()
    assert "L02" not in text and "S08" not in text


def test_it_gives_claritys_indices_of_real_hearing_aids(shared: Path) -> None:
    """Seven aids in one scene, with the audiogram that stands in for each listener's severity."""
    lines = (shared / "cpc3_real/haspi.train.jsonl").read_text().splitlines()
    theirs = {one["signal"]: one["haspi"] for one in map(json.loads, lines)}
    people, _ = read_severities(shared / "cpc3_real/listeners.csv")
    data = shared / "cpc2_sample/clarity_CPC2_data/clarity_data"
    reference = read_recording(data / "scenes/CEC2/S08503_target_ref.wav")
    differences = []
    for wav in sorted((data / "HA_outputs/signals/CEC2").glob("*.wav")):
        scene, listener, system = wav.stem.removesuffix("_hr").split("_")
        found = builtin_predictor().predict(
            read_recording(wav), reference, None, people[listener], None
        )
        differences.append(
            found.similarities["haspi"] - theirs[f"CEC2_{system}_{scene}_{listener}"]
        )
        assert any("answer the mapping" in warning for warning in found.heard.warnings)
    assert len(differences) == 7 and np.abs(differences).mean() < CLARITYS


def test_what_is_predicted_and_how_sure(predicted) -> None:
    low, high = predicted.interval
    assert 0 <= low < predicted.percent < high <= 100
    assert predicted.by == "haspi" and round(predicted.rmse, 1) == 29.1
    assert predicted.similarities["haspi"] == max(ear["haspi"] for ear in predicted.by_ear.values())
    assert predicted.fitted_on == "15520 answers of 26 people with hearing loss (CPC3)"
    assert all(len(parts) == 10 for parts in predicted.modulations.values())
    assert predicted.course is None and predicted.words == {}


def test_the_level_of_the_reference_does_not_matter_and_that_of_the_aid_does(
    pair, predicted
) -> None:
    processed, reference = pair
    loud = recording_of(5 * reference.signal, 24000, "loud.wav")
    same = Predictor.builtin().predict(processed, loud, None, listener_of("moderate"))
    assert same.percent == pytest.approx(predicted.percent, abs=1e-6)
    softer = Predictor.builtin().predict(
        *pair, None, listener_of("moderate"), None, Conditions(full_scale_db_spl=60)
    )
    assert softer.percent < predicted.percent - 1


@pytest.mark.parametrize(
    ("audiogram", "grade"), [("none", "none"), ("N5", "severe"), ("moderate", None)]
)
def test_losses_that_the_mapping_does_not_know_are_warned_of(audiogram, grade) -> None:
    found = builtin_predictor().warnings(Path("ha.wav"), listener_of(audiogram))
    assert bool(found) == bool(grade)
    assert not grade or f"the WHO's grade {grade}" in found[0]


def test_without_pyclarity_the_message_has_the_command(monkeypatch) -> None:
    monkeypatch.setattr(haspi_predictor, "has_pyclarity", lambda: False)
    with pytest.raises(RecipeError, match="pip install --no-deps -r requirements-baselines.txt"):
        haspi_predictor.refuse_missing_pyclarity()


@pytest.mark.parametrize(("rate", "new"), [(32000, 44100), (44100, 16000), (16000, 24000)])
def test_it_resamples_as_the_stages_do_without_torch(rate: int, new: int) -> None:
    signal = np.random.default_rng(0).standard_normal((5000, 2))
    found = resampled(Recording(signal, rate, "noise"), new).signal
    assert found == pytest.approx(resample(signal, rate, new), abs=5e-7)


def test_it_needs_neither_torch_nor_hydra() -> None:
    code = (
        "import sys\nfrom intelligibility.prediction.predictor import Predictor\n"
        "Predictor.builtin()\n"
        "print({'torch', 'speechbrain', 'hydra', 'transformers', 'matplotlib'} & set(sys.modules))"
    )
    run = [sys.executable, "-c", code]
    result = subprocess.run(run, cwd=RECIPE, capture_output=True, text=True, check=True)
    assert result.stdout == "set()\n"
