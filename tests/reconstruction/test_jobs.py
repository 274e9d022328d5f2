"""One layer from embedding to words, on the toy language.

The judge here knows its words by construction, so that what it hears is what is in the wavs.
"""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import soundfile as sf
import torch

from intelligibility.runs import RecipeError, read_json
from intelligibility.words import word_errors
from reconstruction import jobs
from reconstruction.configured import Judge, NetworkChoice
from reconstruction.inverters import Inverter
from reconstruction.jobs import (
    ControlsJob,
    EmbeddingJob,
    HearingJob,
    LayerJob,
    embed_signals,
    hear,
    invert_layer,
    is_done,
    make_controls,
    read_heard,
)
from reconstruction.mel import LEVEL, LogMel, at_level
from reconstruction.scoring import rows_of, wer
from reconstruction.utterances import read_speech
from tests.reconstruction.toy import ToyNetwork, ToyRecogniser, layer_settings, make_ears

JUDGE = Judge(ToyRecogniser(), -40.0)
MADE_BY = {"what": "toy"}
CHOICE = NetworkChoice("recogniser")


@pytest.fixture(scope="module", autouse=True)
def toy_language():
    """Give the toy network and a judge that knows the language to every job."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs, "network_of_process", lambda *_: ToyNetwork())
        patch.setattr(jobs, "judge_of_process", lambda *_: JUDGE)
        yield


def layer_job(folder, controls: ControlsJob, layer: int = 0, **changes) -> LayerJob:
    """Embed a layer of the toy network; return the job of inverting it, with other settings."""
    one, embedded = ToyNetwork().layers[layer], controls.folder.with_name("embedded")
    ears = [*controls.training, *controls.scored]
    embed_signals(EmbeddingJob({one.name: embedded}, CHOICE, ears, controls))
    controls = replace(controls, settings=layer_settings(**changes))
    return LayerJob(folder, MADE_BY, one, controls, embedded)


def hear_all(*folders, judge: str = "") -> None:
    """Have the judge hear folders of controls and layers."""
    for folder in folders:
        hear(HearingJob(folder, judge, {"judge": "toy"}, '{"device": "cpu"}', -40.0))


@pytest.fixture(scope="module")
def toy(tmp_path_factory) -> ControlsJob:
    """Return the job of the controls that were made; both layers are inverted beside them."""
    folder = tmp_path_factory.mktemp("toy")
    training, scored = make_ears(folder / "ears", 12), make_ears(folder / "ears", 4, first=100)
    made = MADE_BY, training, scored, layer_settings(), '{"device": "cpu"}'
    job = ControlsJob(folder / "controls", *made, level=-40.0)
    make_controls(job)
    invert_layer(layer_job(folder / "mixture", job))
    invert_layer(layer_job(folder / "nothing", job, layer=1, steps=30, floor_steps=0))
    hear_all(folder / "controls", folder / "mixture", folder / "nothing")
    return job


@pytest.fixture(scope="module")
def folder(toy):
    """Return the folder of the controls and the layers."""
    return toy.folder.parent


def of(heard, condition="ref"):
    """Return what was heard in one condition."""
    return [one for one in heard if one.condition == condition]


def log_mel_of(wav):
    """Return the spectrogram (frames, bands) of a wav at the level of all speech."""
    return LogMel("asr")(at_level(read_speech(wav)))


def test_a_layer_that_keeps_all_keeps_the_words(toy, folder):
    heard, controls = read_heard(folder / "mixture"), read_heard(toy.folder)
    assert len(heard["reconstruction"]) == 2 * len(toy.scored)
    assert wer(of(controls["original"])) == 0 == wer(of(controls["copy"]))
    assert wer(of(heard["reconstruction"])) <= 25
    rows = rows_of(heard["reconstruction"], {}, controls["original"], controls["copy"], seed=0)
    assert rows[0]["skill"] > 0.5
    record = read_json(folder / "mixture/layer.json", dict)
    assert record["made_by"] == MADE_BY and record["layer"]["name"] == "mixture"
    assert record["params"] > 10_000 and 0 < record["mel_l1_train"] < 2


def test_floors_are_at_the_floor(folder):
    """A guess at six words is right once in six: 83 % is what no layer means here."""
    floors = (("mixture", "untrained"), ("mixture", "shuffled"), ("nothing", "reconstruction"))
    for place, kind in floors:
        heard = of(read_heard(folder / place)[kind])
        assert wer(heard) >= 70, (place, kind)
        l1, mean = (np.mean([getattr(one, k) for one in heard]) for k in ("mel_l1", "mean_l1"))
        assert 1 - l1 / mean <= 0.15, (place, kind)
    bandmean = read_heard(folder / "controls")["bandmean"]
    assert wer(of(bandmean)) >= 70
    assert all(one.mel_l1 == one.mean_l1 for one in bandmean)


def test_written_wavs_transcribed_again_give_every_hypothesis_and_error(toy, folder):
    places = [("mixture", kind) for kind in ("reconstruction", "untrained", "shuffled")]
    places += [("controls", kind) for kind in ("original", "copy", "bandmean")]
    places.append(("nothing", "reconstruction"))
    prompts = {ear.name: ear.prompt for ear in toy.scored}
    count = 0
    for place, kind in places:
        for one in read_heard(folder / place)[kind]:
            wav = folder / place / kind / one.condition / f"{one.name}.wav"
            speech = at_level(read_speech(wav), -40.0)
            assert next(ToyRecogniser().transcribe([speech])) == one.text
            assert (one.errors, one.n_words) == word_errors(one.text, prompts[one.name])
            count += 1
    assert count == 2 * (2 * 4 + 5 * 8)  # two conditions; floors have fewer ears


def test_losses_are_those_of_the_stored_inverter_and_embeddings(toy, folder):
    ears, inverter = {ear.name: ear for ear in toy.scored}, Inverter.load(folder / "mixture")
    for one in read_heard(folder / "mixture")["reconstruction"]:
        embedding = np.load(folder / f"mixture/embeddings/{one.condition}/{one.name}.npy")
        wanted, found = log_mel_of(ears[one.name].wavs[one.condition]), inverter.log_mel(embedding)
        frames = min(len(found), len(wanted))
        error = (found[:frames] - wanted[:frames]).abs().mean()
        assert one.mel_l1 == pytest.approx(float(error), rel=1e-4)
        every = [log_mel_of(ear.wavs[one.condition]).mean(0) for ear in toy.training]
        mean = torch.stack(every).mean(0)
        assert one.mean_l1 == pytest.approx(float((wanted[:frames] - mean).abs().mean()), rel=1e-4)


def test_speech_comes_from_embeddings_and_checkpoint_alone(toy, folder, tmp_path):
    """Nothing else is in the folder: no wav, no spectrogram."""
    for name in ("inverter.json", "inverter.pt"):
        shutil.copy(folder / "mixture" / name, tmp_path)
    shutil.copytree(folder / "mixture/embeddings/ref", tmp_path / "embeddings")
    inverter = Inverter.load(tmp_path)
    for ear in toy.scored:
        speech = inverter.invert(np.load(tmp_path / "embeddings" / f"{ear.name}.npy"))
        written, _ = sf.read(folder / f"mixture/reconstruction/ref/{ear.name}.wav", dtype="float32")
        np.testing.assert_allclose(speech, written, atol=1e-5)


def test_swapped_embeddings_swap_the_words_and_zeros_say_nothing(toy, folder):
    inverter, pair = Inverter.load(folder / "mixture"), (toy.scored[0], toy.scored[2])
    assert pair[0].prompt != pair[1].prompt
    embeddings = [np.load(folder / f"mixture/embeddings/ref/{ear.name}.npy") for ear in pair]
    embeddings.append(np.zeros_like(embeddings[0]))
    texts = [JUDGE.hear(torch.from_numpy(inverter.invert(one))) for one in embeddings]
    errors = [[word_errors(text, ear.prompt)[0] for ear in pair] for text in texts]
    assert errors[0][0] < errors[0][1] and errors[1][1] < errors[1][0]
    assert errors[2][0] >= 4  # of five


def test_a_rerun_gives_the_same_hypotheses(toy, folder, tmp_path):
    invert_layer(layer_job(tmp_path / "again", toy, floor_steps=0))
    hear_all(tmp_path / "again")
    again = read_heard(tmp_path / "again")
    first = read_heard(folder / "mixture")["reconstruction"]
    assert [one.text for one in first] == [one.text for one in again["reconstruction"]]
    assert "shuffled" not in again


def test_enhancement_is_measured_against_the_reference(toy, tmp_path):
    invert_layer(layer_job(tmp_path / "layer", toy, target="ref", steps=20, floor_steps=0))
    hear_all(tmp_path / "layer")
    ears = {ear.name: ear for ear in toy.scored}
    mean = torch.tensor(read_json(toy.record, dict)["means"]["ref"])
    for one in of(read_heard(tmp_path / "layer")["reconstruction"], "msbg"):
        error = (log_mel_of(ears[one.name].wavs["ref"]) - mean).abs().mean()
        assert one.mean_l1 == pytest.approx(float(error), rel=1e-2)


def test_a_layers_folder_is_whole_or_absent(toy, tmp_path, monkeypatch):
    job = layer_job(tmp_path / "layer", toy, steps=2, floor_steps=2)
    (tmp_path / ".layer.0123.part").mkdir()  # of a run that was killed

    def stopped(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(jobs, "reconstruct", stopped)
        with pytest.raises(KeyboardInterrupt):
            invert_layer(job)
    assert list(tmp_path.iterdir()) == []
    invert_layer(job)
    assert [path.name for path in tmp_path.iterdir()] == ["layer"]
    assert {path.name for path in (tmp_path / "layer").iterdir()} == {
        *("embeddings", "inverter.json", "inverter.pt", "layer.json", "signals.json"),
        *("shuffled", "untrained", "reconstruction"),
    }
    assert is_done(job.record, MADE_BY)
    assert not is_done(job.record, MADE_BY | {"seed": 2})
    assert not is_done(tmp_path / "none/layer.json", MADE_BY)


def test_a_signal_is_heard_once_for_all_layers_also_by_a_run_that_goes_on(
    toy, folder, tmp_path, monkeypatch
):
    network, heard = ToyNetwork(), []

    class Counting:
        def embed(self, speech):
            if len(heard) == 5 and "stopped" not in heard:
                heard.append("stopped")
                raise KeyboardInterrupt
            heard.append(len(speech))
            return network.embed(speech)

    monkeypatch.setattr(jobs, "network_of_process", lambda *_: Counting())
    places = {name: tmp_path / name for name in ("mixture", "nothing")}
    ears = [*toy.training, *toy.scored]
    job = EmbeddingJob(places, CHOICE, ears, toy)
    with pytest.raises(KeyboardInterrupt):
        embed_signals(job)
    embed_signals(job)
    assert len(heard) == 2 * len(ears) + 1
    controls = replace(toy, settings=layer_settings(steps=2, floor_steps=0, n_floors=1))
    layer = tmp_path / "layer"
    invert_layer(LayerJob(layer, MADE_BY, network.layers[0], controls, places["mixture"]))
    assert len(heard) == 2 * len(ears) + 1
    for file in (folder / "mixture/embeddings").rglob("*.npy"):
        again = tmp_path / "layer" / file.relative_to(folder / "mixture")
        np.testing.assert_array_equal(np.load(again), np.load(file))
    assert {path.name for path in tmp_path.iterdir()} == {"nothing", "layer"}  # used up


def test_a_judge_that_fails_is_refused_after_twenty_originals(toy, tmp_path, monkeypatch):
    heard = []
    monkeypatch.setattr(jobs, "N_TRIED", 3)
    monkeypatch.setattr(Judge, "hear", lambda *_: heard.append(1) or "ADA")
    with pytest.raises(RecipeError, match="judge=recogniser: a word error rate of"):
        hear_all(shutil.copytree(toy.folder, tmp_path / "controls"), judge="other/")
    assert len(heard) == 3 and not (tmp_path / "controls/other").exists()


@pytest.mark.parametrize("condition", ["ref", "msbg"])
def test_all_is_written_at_one_level(toy, condition):
    wav, _ = sf.read(toy.folder / f"original/{condition}/{toy.scored[0].name}.wav")
    assert 10 * np.log10(np.mean(wav**2)) == pytest.approx(LEVEL, abs=0.01)
