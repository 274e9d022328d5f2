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

from intelligibility.words import word_errors
from reconstruction.inverters import Inverter
from reconstruction.judge import Judge
from reconstruction.mel import LEVEL, LogMel, at_level
from reconstruction.one_layer import (
    WholeFolder,
    do_layer,
    is_done,
    make_controls,
    read_controls,
    read_heard,
)
from reconstruction.score import rows_of, wer
from reconstruction.utterances import read_speech
from tests.reconstruction.toy import (
    ToyNetwork,
    ToyRecogniser,
    layer_settings,
    make_ears,
)

CPU = torch.device("cpu")
JUDGE = Judge(ToyRecogniser(), -40.0)
MADE_BY = {"what": "toy"}


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """Return a folder with controls and two layers inverted, and the signals behind them."""
    folder = tmp_path_factory.mktemp("toy")
    training = make_ears(folder / "ears", 12)
    scored = make_ears(folder / "ears", 4, first=100)
    settings = layer_settings()
    make_controls(folder / "controls", training, scored, settings, JUDGE, MADE_BY)
    controls = read_controls(folder / "controls")
    network = ToyNetwork()
    less = layer_settings(fit=replace(settings.fit, steps=30), floor_steps=0)
    for layer, own in zip(network.layers, (settings, less), strict=True):
        about = layer, network, JUDGE, training, scored, controls, own, MADE_BY, CPU
        do_layer(folder / layer.name, *about)
    return folder, training, scored


def of(heard, condition="ref"):
    """Return what was heard in one condition."""
    return [one for one in heard if one.condition == condition]


def test_a_layer_that_keeps_all_keeps_the_words(toy):
    folder, _, scored = toy
    heard = read_heard(folder / "mixture")
    controls = read_controls(folder / "controls")
    assert len(heard["reconstruction"]) == 2 * len(scored)
    assert wer(of(controls.original)) == 0 == wer(of(controls.copy))
    assert wer(of(heard["reconstruction"])) <= 25
    rows = rows_of(heard["reconstruction"], {}, controls.original, controls.copy, seed=0)
    assert rows[0]["skill"] > 0.5


def test_floors_are_at_the_floor(toy):
    """A guess at six words is right once in six: 83 % is what no layer means here."""
    folder, _, _ = toy
    for place, kinds in (("mixture", ("untrained", "shuffled")), ("nothing", ("reconstruction",))):
        heard = read_heard(folder / place)
        for kind in kinds:
            assert wer(of(heard[kind])) >= 70, (place, kind)
            l1, mean = (
                np.mean([getattr(one, name) for one in of(heard[kind])])
                for name in ("mel_l1", "mean_l1")
            )
            assert 1 - l1 / mean <= 0.15, (place, kind)
    bandmean = read_controls(folder / "controls").bandmean
    assert wer(of(bandmean)) >= 70
    assert all(one.mel_l1 == one.mean_l1 for one in bandmean)


def test_written_wavs_transcribed_again_give_every_hypothesis_and_error(toy):
    folder, _, scored = toy
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
    folder, training, scored = toy
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
    folder, _, scored = toy
    for name in ("inverter.json", "inverter.pt"):
        shutil.copy(folder / "mixture" / name, tmp_path)
    shutil.copytree(folder / "mixture/embeddings/ref", tmp_path / "embeddings")
    inverter = Inverter.load(tmp_path)
    for ear in scored:
        speech = inverter.invert(np.load(tmp_path / "embeddings" / f"{ear.name}.npy"))
        written, _ = sf.read(folder / f"mixture/wav/ref/{ear.name}.wav", dtype="float32")
        np.testing.assert_allclose(speech, written, atol=1e-5)


def test_swapped_embeddings_swap_the_words_and_zeros_say_nothing(toy):
    folder, _, scored = toy
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
    folder, training, scored = toy
    network, controls = ToyNetwork(), read_controls(folder / "controls")
    settings = layer_settings(floor_steps=0)
    about = network.layers[0], network, JUDGE, training, scored, controls, settings, MADE_BY, CPU
    do_layer(tmp_path / "again", *about)
    first, again = read_heard(folder / "mixture"), read_heard(tmp_path / "again")
    assert [one.text for one in first["reconstruction"]] == [
        one.text for one in again["reconstruction"]
    ]
    assert "shuffled" not in again


def test_enhancement_is_measured_against_the_reference(toy, tmp_path):
    folder, training, scored = toy
    network, controls = ToyNetwork(), read_controls(folder / "controls")
    fit = replace(layer_settings().fit, steps=20)
    settings = layer_settings(target="ref", fit=fit, floor_steps=0)
    about = network.layers[0], network, JUDGE, training, scored, controls, settings, MADE_BY, CPU
    do_layer(tmp_path / "layer", *about)
    heard = read_heard(tmp_path / "layer")["reconstruction"]
    mel, ears = LogMel("asr"), {ear.name: ear for ear in scored}
    for one in of(heard, "msbg"):
        clean = mel(at_level(read_speech(ears[one.name].wavs["ref"]))[None])[0]
        mean = torch.from_numpy(controls.means["ref"])
        assert one.mean_l1 == pytest.approx(float((clean - mean).abs().mean()), rel=1e-2)


def test_a_layers_folder_is_whole_or_absent(toy, tmp_path, monkeypatch):
    folder, training, scored = toy
    network, controls = ToyNetwork(), read_controls(folder / "controls")
    fit = replace(layer_settings().fit, steps=2)
    about = training, scored, controls, layer_settings(fit=fit, floor_steps=2), MADE_BY, CPU
    left = tmp_path / ".layer.0123.part"  # of a run that was killed
    left.mkdir()

    def stopped(self, wavs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Judge, "transcribe", stopped)
        with pytest.raises(KeyboardInterrupt):
            do_layer(tmp_path / "layer", network.layers[0], network, JUDGE, *about)
    assert list(tmp_path.iterdir()) == []
    do_layer(tmp_path / "layer", network.layers[0], network, JUDGE, *about)
    assert [path.name for path in tmp_path.iterdir()] == ["layer"]
    found = sorted(path.name for path in (tmp_path / "layer").iterdir())
    assert found == [
        *("embeddings", "heard.json", "inverter.json", "inverter.pt", "layer.json"),
        *("shuffled", "untrained", "wav"),
    ]
    assert is_done(tmp_path / "layer/layer.json", MADE_BY)
    assert not is_done(tmp_path / "layer/layer.json", MADE_BY | {"seed": 2})
    assert not is_done(tmp_path / "none/layer.json", MADE_BY)


def test_what_lay_there_is_replaced_whole(tmp_path):
    (tmp_path / "place").mkdir()
    (tmp_path / "place" / "old").touch()
    with WholeFolder(tmp_path / "place") as part:
        (part / "new").touch()
        assert (tmp_path / "place" / "old").is_file()
    assert [path.name for path in (tmp_path / "place").iterdir()] == ["new"]


def test_all_is_written_at_one_level(toy):
    folder, _, scored = toy
    for condition in ("ref", "msbg"):
        wav, _ = sf.read(folder / f"controls/original/{condition}/{scored[0].name}.wav")
        assert 10 * np.log10(np.mean(wav**2)) == pytest.approx(LEVEL, abs=0.01)


def test_the_record_says_how_it_was_made(toy):
    record = json.loads((toy[0] / "mixture/layer.json").read_text())
    assert record["made_by"] == MADE_BY
    assert record["params"] > 10_000 and 0 < record["mel_l1_train"] < 2
    assert record["layer"]["name"] == "mixture"
