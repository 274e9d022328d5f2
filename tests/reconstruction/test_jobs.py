"""One layer from embedding to words, on the toy language.

The judge here knows its words by construction, so that what it hears is what is in the wavs.
"""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import soundfile as sf
import torch

from intelligibility.runs import read_json
from intelligibility.words import word_errors
from reconstruction import jobs
from reconstruction.configured import Judge, NetworkChoice
from reconstruction.inverters import Inverter
from reconstruction.jobs import (
    ControlsJob,
    LayerJob,
    invert_layer,
    is_done,
    make_controls,
    read_heard,
)
from reconstruction.mel import LEVEL, LogMel, at_level
from reconstruction.scoring import rows_of, wer
from reconstruction.utterances import read_speech
from tests.reconstruction.toy import (
    ToyNetwork,
    ToyRecogniser,
    layer_settings,
    make_ears,
)

JUDGE = Judge(ToyRecogniser(), -40.0)
MADE_BY = {"what": "toy"}


@pytest.fixture(scope="module", autouse=True)
def toy_language():
    """Give the toy network and a judge that knows the language to every job."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs, "network_of_process", lambda *_: ToyNetwork())
        patch.setattr(jobs, "judge_of_process", lambda *_: JUDGE)
        yield


def layer_job(folder, controls: ControlsJob, layer: int = 0, **changes) -> LayerJob:
    """Return the job of inverting a layer of the toy network, with other settings."""
    controls = replace(controls, settings=replace(controls.settings, **changes))
    choice = NetworkChoice("recogniser")
    return LayerJob(folder, MADE_BY, choice, ToyNetwork().layers[layer], controls)


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """Return a folder with controls and two layers inverted, and the job of the controls."""
    folder = tmp_path_factory.mktemp("toy")
    training = make_ears(folder / "ears", 12)
    scored = make_ears(folder / "ears", 4, first=100)
    settings, config = layer_settings(), '{"device": "cpu"}'
    job = ControlsJob(folder / "controls", MADE_BY, training, scored, settings, config, level=-40.0)
    make_controls(job)
    invert_layer(layer_job(folder / "mixture", job))
    less = {"fit": replace(settings.fit, steps=30), "floor_steps": 0}
    invert_layer(layer_job(folder / "nothing", job, layer=1, **less))
    return folder, job


def of(heard, condition="ref"):
    """Return what was heard in one condition."""
    return [one for one in heard if one.condition == condition]


def test_a_layer_that_keeps_all_keeps_the_words(toy):
    folder, controls_job = toy
    scored = controls_job.scored
    heard = read_heard(folder / "mixture")
    controls = read_heard(folder / "controls")
    assert len(heard["reconstruction"]) == 2 * len(scored)
    assert wer(of(controls["original"])) == 0 == wer(of(controls["copy"]))
    assert wer(of(heard["reconstruction"])) <= 25
    rows = rows_of(heard["reconstruction"], {}, controls["original"], controls["copy"], seed=0)
    assert rows[0]["skill"] > 0.5


def test_floors_are_at_the_floor(toy):
    """A guess at six words is right once in six: 83 % is what no layer means here."""
    folder, _ = toy
    for place, kinds in (("mixture", ("untrained", "shuffled")), ("nothing", ("reconstruction",))):
        heard = read_heard(folder / place)
        for kind in kinds:
            assert wer(of(heard[kind])) >= 70, (place, kind)
            l1, mean = (
                np.mean([getattr(one, name) for one in of(heard[kind])])
                for name in ("mel_l1", "mean_l1")
            )
            assert 1 - l1 / mean <= 0.15, (place, kind)
    bandmean = read_heard(folder / "controls")["bandmean"]
    assert wer(of(bandmean)) >= 70
    assert all(one.mel_l1 == one.mean_l1 for one in bandmean)


def test_written_wavs_transcribed_again_give_every_hypothesis_and_error(toy):
    folder, controls_job = toy
    scored = controls_job.scored
    places = {("mixture", k): k for k in ("untrained", "shuffled")}
    places |= {("mixture", "reconstruction"): "wav", ("nothing", "reconstruction"): "wav"}
    places |= {("controls", kind): kind for kind in ("original", "copy", "bandmean")}
    prompts = {ear.name: ear.prompt for ear in scored}
    count = 0
    for (place, kind), subfolder in places.items():
        for one in read_heard(folder / place)[kind]:
            wav = folder / place / subfolder / one.condition / f"{one.name}.wav"
            speech = at_level(read_speech(wav), -40.0)
            text = next(ToyRecogniser().recognise([speech])).text
            assert text == one.text
            assert (one.errors, one.n_words) == word_errors(text, prompts[one.name])
            count += 1
    assert count == 2 * (2 * 4 + 5 * 8)  # two conditions; floors have fewer ears


def test_losses_are_those_of_the_stored_inverter_and_embeddings(toy):
    folder, job = toy
    training, scored = job.training, job.scored
    mel, ears = LogMel("asr"), {ear.name: ear for ear in scored}
    inverter = Inverter.load(folder / "mixture")
    for one in read_heard(folder / "mixture")["reconstruction"]:
        embedding = np.load(folder / f"mixture/embeddings/{one.condition}/{one.name}.npy")
        wanted = mel(at_level(read_speech(ears[one.name].wavs[one.condition]))[None])[0]
        found = inverter.log_mel(embedding)
        frames = min(len(found), len(wanted))
        error = (found[:frames] - wanted[:frames]).abs().mean()
        assert one.mel_l1 == pytest.approx(float(error), rel=1e-4)
        every = [
            mel(at_level(read_speech(ear.wavs[one.condition]))[None])[0].mean(0) for ear in training
        ]
        mean = torch.stack(every).mean(0)
        assert one.mean_l1 == pytest.approx(float((wanted[:frames] - mean).abs().mean()), rel=1e-4)


def test_speech_comes_from_embeddings_and_checkpoint_alone(toy, tmp_path):
    """Nothing else is in the folder: no wav, no spectrogram."""
    folder, controls_job = toy
    scored = controls_job.scored
    for name in ("inverter.json", "inverter.pt"):
        shutil.copy(folder / "mixture" / name, tmp_path)
    shutil.copytree(folder / "mixture/embeddings/ref", tmp_path / "embeddings")
    inverter = Inverter.load(tmp_path)
    for ear in scored:
        speech = inverter.invert(np.load(tmp_path / "embeddings" / f"{ear.name}.npy"))
        written, _ = sf.read(folder / f"mixture/wav/ref/{ear.name}.wav", dtype="float32")
        np.testing.assert_allclose(speech, written, atol=1e-5)


def test_swapped_embeddings_swap_the_words_and_zeros_say_nothing(toy):
    folder, controls_job = toy
    scored = controls_job.scored
    inverter = Inverter.load(folder / "mixture")
    first, second = scored[0], scored[2]
    assert first.prompt != second.prompt
    heard = {}
    for ear in (first, second):
        embedding = np.load(folder / f"mixture/embeddings/ref/{ear.name}.npy")
        heard[ear.name] = JUDGE.hear(torch.from_numpy(inverter.invert(embedding)))
    errors = {
        (a.name, b.name): word_errors(heard[a.name], b.prompt)[0]
        for a in (first, second)
        for b in (first, second)
    }
    for one, other in ((first, second), (second, first)):
        assert errors[one.name, one.name] < errors[one.name, other.name]
    zeros = np.zeros_like(np.load(folder / f"mixture/embeddings/ref/{first.name}.npy"))
    text = JUDGE.hear(torch.from_numpy(inverter.invert(zeros)))
    assert word_errors(text, first.prompt)[0] >= 4  # of five


def test_a_rerun_gives_the_same_hypotheses(toy, tmp_path):
    folder, controls = toy
    invert_layer(layer_job(tmp_path / "again", controls, floor_steps=0))
    first, again = read_heard(folder / "mixture"), read_heard(tmp_path / "again")
    assert [one.text for one in first["reconstruction"]] == [
        one.text for one in again["reconstruction"]
    ]
    assert "shuffled" not in again


def test_enhancement_is_measured_against_the_reference(toy, tmp_path):
    folder, controls_job = toy
    fit = replace(layer_settings().fit, steps=20)
    job = layer_job(tmp_path / "layer", controls_job, target="ref", fit=fit, floor_steps=0)
    invert_layer(job)
    scored, means = controls_job.scored, read_json(controls_job.record, dict)["means"]
    heard = read_heard(tmp_path / "layer")["reconstruction"]
    mel, ears = LogMel("asr"), {ear.name: ear for ear in scored}
    for one in of(heard, "msbg"):
        clean = mel(at_level(read_speech(ears[one.name].wavs["ref"]))[None])[0]
        mean = torch.tensor(means["ref"])
        assert one.mean_l1 == pytest.approx(float((clean - mean).abs().mean()), rel=1e-2)


def test_a_layers_folder_is_whole_or_absent(toy, tmp_path, monkeypatch):
    fit = replace(layer_settings().fit, steps=2)
    job = layer_job(tmp_path / "layer", toy[1], fit=fit, floor_steps=2)
    left = tmp_path / ".layer.0123.part"  # of a run that was killed
    left.mkdir()

    def stopped(self, speech):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Judge, "hear", stopped)
        with pytest.raises(KeyboardInterrupt):
            invert_layer(job)
    assert list(tmp_path.iterdir()) == []
    invert_layer(job)
    assert [path.name for path in tmp_path.iterdir()] == ["layer"]
    found = sorted(path.name for path in (tmp_path / "layer").iterdir())
    assert found == [
        *("embeddings", "heard.json", "inverter.json", "inverter.pt", "layer.json"),
        *("shuffled", "untrained", "wav"),
    ]
    assert is_done(job.record, MADE_BY)
    assert not is_done(job.record, MADE_BY | {"seed": 2})
    assert not is_done(tmp_path / "none/layer.json", MADE_BY)


def test_all_is_written_at_one_level(toy):
    folder, controls_job = toy
    scored = controls_job.scored
    for condition in ("ref", "msbg"):
        wav, _ = sf.read(folder / f"controls/original/{condition}/{scored[0].name}.wav")
        assert 10 * np.log10(np.mean(wav**2)) == pytest.approx(LEVEL, abs=0.01)


def test_the_record_says_how_it_was_made(toy):
    record = json.loads((toy[0] / "mixture/layer.json").read_text())
    assert record["made_by"] == MADE_BY
    assert record["params"] > 10_000 and 0 < record["mel_l1_train"] < 2
    assert record["layer"]["name"] == "mixture"
