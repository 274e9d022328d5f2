"""Loading and running the recogniser, on one made here and on one that SpeechBrain 0.5.9 saved.

Tolerances, in float32: the old version's features 1e-4 (0 to 1.3e-5 measured, by processor);
signals recognised together 1e-5 from signals recognised alone (1e-6 measured).
"""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch

from benchmarks.made import recogniser as made
from benchmarks.made.recogniser import SETTINGS, babble, make_recogniser, small_settings
from intelligibility.recognisers.recognition import Recognition
from intelligibility.recognisers.settings import read_settings
from intelligibility.recognisers.speechbrain import SpeechBrainRecogniser, checkpoint_files
from intelligibility.runs import RECIPE, RecipeError
from tests.conftest import contents

CPU = torch.device("cpu")
N_ENCODER, N_DECODER = SETTINGS["num_encoder_layers"], SETTINGS["num_decoder_layers"]


@pytest.fixture
def save_folder(tmp_path) -> Path:
    return make_recogniser(tmp_path)


@pytest.fixture(scope="module")
def recogniser(tmp_path_factory) -> SpeechBrainRecogniser:
    """Return a small recogniser that gives all its layers."""
    return load(make_recogniser(tmp_path_factory.mktemp("asr")), all_layers=True)


def load(
    save_folder: Path, states: str = "last_beam", all_layers: bool = False, **changes
) -> SpeechBrainRecogniser:
    hparams = small_settings(**changes)
    return SpeechBrainRecogniser.load(hparams, save_folder, CPU, states, all_layers)


def checkpoint(save_folder: Path, name: str = "model", number: int = 0) -> Path:
    return save_folder / f"CKPT+epoch_{number}/{name}.ckpt"


def change(path: Path, alter) -> None:
    """Load a checkpoint file, let `alter` change it in place, and save it."""
    content = torch.load(path, weights_only=True)
    alter(content)
    torch.save(content, path)


def assert_same(a: Recognition, b: Recognition, tolerance: float) -> None:
    """Compare all that the recogniser gives for one signal."""
    assert a.text == b.text
    assert {"cnn", "encoder", "decoder"} <= a.layers.keys() <= b.layers.keys()
    for name, layer in a.layers.items():
        torch.testing.assert_close(layer, b.layers[name], atol=tolerance, rtol=0)


def test_features_have_the_shapes_of_the_network(recogniser):
    (found,) = recogniser.recognise([babble(0, 1.0)])
    assert found.layers["cnn"].shape == (26, 160)
    n_steps = len(found.layers["decoder"])
    assert 1 <= n_steps <= 26
    for name in ("encoder", *(f"encoder.{n}" for n in range(N_ENCODER + 1))):
        assert found.layers[name].shape == (26, 32)
    for name in ("decoder", *(f"decoder.{n}" for n in range(N_DECODER + 1))):
        assert found.layers[name].shape == (n_steps, 32)
    assert len(found.layers) == 3 + N_ENCODER + 1 + N_DECODER + 1


@pytest.mark.parametrize("states", ["last_beam", "best_hypothesis"])
def test_with_all_layers_what_is_compared_stays_the_same_to_the_bit(save_folder, states):
    signals = [babble(1, 1.0), babble(2, 0.7)]
    few, every = (load(save_folder, states, all_layers) for all_layers in (False, True))
    for one, other in zip(few.recognise(signals), every.recognise(signals), strict=True):
        assert list(one.layers) == ["cnn", "encoder", "decoder"]
        assert_same(one, other, tolerance=0)
        assert other.layers["encoder"].equal(other.layers[f"encoder.{N_ENCODER}"])
        assert other.layers["decoder"].equal(other.layers[f"decoder.{N_DECODER}"])


@torch.inference_mode()
def test_each_layer_is_made_of_the_one_before(recogniser):
    encoder = recogniser.transformer.encoder
    (found,) = recogniser.recognise([babble(1, 1.0)])
    states = found.layers["encoder.0"][None]
    for block in encoder.layers:
        states = block(states)[0]
    expected = encoder.norm(states)[0]
    torch.testing.assert_close(found.layers["encoder"], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("n_samples", SpeechBrainRecogniser.lengths)
def test_the_shortest_and_the_longest_signal_are_encoded(recogniser, n_samples):
    cnn, encoded, _ = recogniser.encode([babble(0, n_samples / 16000)])
    assert encoded.shape[1] == len(cnn[0]) == -(-(n_samples // 160 + 1) // 4)


def test_all_checkpoints_of_the_folder_are_averaged(tmp_path):
    save_folder = make_recogniser(tmp_path, n_checkpoints=3)
    hparams = small_settings()
    SpeechBrainRecogniser.load(hparams, save_folder, CPU)
    states = [torch.load(checkpoint(save_folder, number=n), weights_only=True) for n in range(3)]
    for name, tensor in hparams["model"].state_dict().items():
        mean = sum(state[name].double() for state in states) / 3
        torch.testing.assert_close(tensor.double(), mean, atol=1e-7, rtol=0)
    # The normaliser is that of the latest.
    assert hparams["normalize"].glob_mean[0] == -20 + 2
    names = [path.name for path in checkpoint_files(save_folder)]
    assert names == [*["model.ckpt"] * 3, "normalizer.ckpt", "tokenizer.ckpt"]


def test_names_of_the_old_version_load(save_folder, recogniser):
    def rename(state):
        for name in [name for name in state if "multihead_attn" in name]:
            state[name.replace("multihead_attn", "mutihead_attn")] = state.pop(name)

    change(checkpoint(save_folder), rename)
    change(checkpoint(save_folder, "normalizer"), lambda s: s.update(spk_dict_mean={}))
    old = load(save_folder)
    signal = babble(1, 0.7)
    (a,), (b,) = old.recognise([signal]), recogniser.recognise([signal])
    assert_same(a, b, tolerance=1e-5)


def test_the_old_versions_checkpoint_gives_its_features(shared):
    folder = shared / "golden/infer"
    settings = json.loads((folder / "settings.json").read_text())
    folders = {"data_folder": "/none", "output_folder": "/none"}
    hparams = read_settings(RECIPE / "transformer_cpc1.yaml", settings | folders)
    recogniser = SpeechBrainRecogniser.load(hparams, folder / "save", CPU)
    expected = json.loads((folder / "expected.json").read_text())
    arrays = np.load(folder / "features.npz")
    compared = 0
    for signal, ears in expected.items():
        for ear in ("left_msbg", "left_ref", "right_msbg", "right_ref"):
            samples, _ = sf.read(folder / f"wavs/{signal}_{ear}.wav", dtype="float32")
            (found,) = recogniser.recognise([torch.from_numpy(samples)])
            assert found.text == ears[ear]["text"]
            assert len(found.layers["encoder"]) == ears[ear]["encoder_frames"]
            assert len(found.layers["decoder"]) == ears[ear]["decoder_steps"]
            if f"{signal}/{ear}/encoder" in arrays:
                for layer in ("encoder", "decoder"):
                    published = arrays[f"{signal}/{ear}/{layer}"]
                    np.testing.assert_allclose(found.layers[layer], published, atol=1e-4, rtol=0)
                compared += 1
    assert compared == 8


@pytest.mark.parametrize("kind", ["last_beam", "best_hypothesis"])
def test_decoder_states_are_those_that_were_asked_for(save_folder, kind):
    signal = babble(2, 0.8)
    recogniser = load(save_folder, kind)
    (found,) = recogniser.recognise([signal])
    _, encoded, _ = recogniser.encode([signal])
    (result,) = recogniser.search(encoded)
    states = result.last_beam_states if kind == "last_beam" else result.best_states
    torch.testing.assert_close(found.layers["decoder"], states, atol=1e-5, rtol=0)
    tokens = torch.tensor([[1, *result.hypotheses[0].tokens]])
    plain, _ = recogniser.transformer.decode(tokens, encoded)
    n_states = len(result.best_states)
    torch.testing.assert_close(result.best_states, plain[0, :n_states], atol=1e-5, rtol=0)
    with pytest.raises(RecipeError, match="decoder_states=first.*last_beam or best_hypothesis"):
        SpeechBrainRecogniser(small_settings(), CPU, "first")


def test_signals_recognised_together_come_out_as_alone(recogniser, monkeypatch):
    signals = [babble(number, seconds) for number, seconds in enumerate((0.9, 0.3, 1.4, 0.6, 0.31))]
    alone, again = (list(recogniser.recognise(signals)) for _ in range(2))
    monkeypatch.setattr(recogniser, "batch_size", 3)
    together = list(recogniser.recognise(signals))
    assert len(together) == 5
    for a, same, b in zip(alone, again, together, strict=True):
        assert_same(a, same, tolerance=0)
        assert_same(a, b, tolerance=1e-5)


# What does not fit


def test_a_folder_without_checkpoints_is_named(tmp_path):
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(RecipeError, match=f"{folder}: no checkpoint.*run train_asr.py"):
            load(folder)
    assert not (tmp_path / "absent").exists()


SPOIL = {
    "is cut": lambda path: path.write_bytes(path.read_bytes()[:-1000]),
    "runs code": lambda path: torch.save({"glob_mean": path}, path),
    "has 40 bands": lambda path: change(path, lambda state: state.update(glob_std=torch.ones(40))),
    "is missing": Path.unlink,
    "is of 28 tokens": lambda path: path.write_bytes(made.make_tokenizer(28)),
    "is text": lambda path: path.write_bytes(b"not a model"),
}


@pytest.mark.parametrize(
    "file, spoil, message",
    [
        ("model", "is cut", "epoch_0/model.ckpt: is damaged or not a checkpoint"),
        ("normalizer", "runs code", "normalizer.ckpt: is damaged or not a checkpoint"),
        ("normalizer", "is missing", "CKPT.epoch_0: has no normalizer.ckpt"),
        ("normalizer", "has 40 bands", r"normalizer.ckpt: glob_std is \(40,\), expected 80"),
        ("../tokenizer", "is missing", "tokenizer.ckpt: no tokenizer"),
        ("../tokenizer", "is of 28 tokens", "tokenizer.ckpt: has 28 tokens, expected 30"),
        ("../tokenizer", "is text", "tokenizer.ckpt: is not a SentencePiece model"),
    ],
)
def test_a_file_that_does_not_fit_is_named(save_folder, file, spoil, message):
    SPOIL[spoil](checkpoint(save_folder, file))
    with pytest.raises(RecipeError, match=message):
        load(save_folder)


@pytest.mark.parametrize(
    "changes, messages",
    [
        (
            {"d_model": 64},
            [
                "CKPT.epoch_0/model.ckpt: does not fit the settings",
                r"1.positional_encoding.pe is \(1, 2500, 32\), expected \(1, 2500, 64\)",
                "more; set d_model",
            ],
        ),
        ({"num_encoder_layers": 2}, ["encoder.layers.1.self_att.att.in_proj_weight is missing"]),
        ({"num_decoder_layers": 1}, ["decoder.layers.1.* is not in the model"]),
    ],
)
def test_a_checkpoint_of_other_sizes_is_named_with_its_tensors(save_folder, changes, messages):
    with pytest.raises(RecipeError, match=".*".join(messages)):
        load(save_folder, **changes)


def test_weights_that_are_not_finite_are_reported(save_folder):
    change(checkpoint(save_folder), lambda state: state["2.w.bias"].fill_(torch.nan))
    with pytest.raises(RecipeError, match="no hypothesis has a finite score.*checkpoint"):
        list(load(save_folder).recognise([babble(0, 0.3)]))


def test_loading_leaves_the_checkpoints_as_they_are(save_folder):
    before = contents(save_folder)
    load(save_folder)
    assert contents(save_folder) == before
