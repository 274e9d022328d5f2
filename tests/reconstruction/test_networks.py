"""VGGish, SmallEnc and the recogniser as black boxes."""

import pytest
import torch
import torch.nn.functional as F

from benchmarks.made.recogniser import babble, make_recogniser, small_settings
from intelligibility.recognisers.speechbrain import SpeechBrainRecogniser
from intelligibility.runs import RecipeError
from reconstruction.mel import PATCH, LogMel, at_level
from reconstruction.networks import (
    HubNetwork,
    PatchNetwork,
    RecogniserNetwork,
    SmallEnc,
    VGGish,
    choose_layers,
    load_weights,
    patches_of,
)

CPU = torch.device("cpu")


def test_vggish_has_the_published_layers_and_names():
    """Shapes as (channels, frames, bands); 72 million parameters (Hershey et al., 2017)."""
    with torch.device("meta"):
        model = VGGish()
        found = model(torch.zeros(1, 96, 64))
    shapes = [tuple(value.shape[1:]) for value in found.values()]
    pools = [(64, 48, 32), (128, 24, 16), (256, 12, 8), (512, 6, 4)]
    assert shapes == [*pools, (4096,), (4096,), (128,)]
    assert list(found) == ["pool1", "pool2", "pool3", "pool4", "fc1_1", "fc1_2", "fc2"]
    names = set(model.state_dict())
    places = [f"features.{k}" for k in (0, 3, 6, 8, 11, 13)]
    places += [f"embeddings.{k}" for k in (0, 2, 4)]
    assert names == {f"{place}.{kind}" for place in places for kind in ("weight", "bias")}
    assert sum(value.numel() for value in model.parameters()) == pytest.approx(72.1e6, rel=0.01)


def test_smallenc_has_the_published_layers():
    found = SmallEnc()(torch.zeros(2, 96, 64))
    shapes = [tuple(value.shape[1:]) for value in found.values()]
    assert shapes == [(8, 48, 32), (16, 24, 16), (32, 12, 8), (64, 6, 4), (128, 3, 2), (128,)]


def test_vggish_flattens_time_frequency_channel():
    """The order of the original: weights from elsewhere would mean something else otherwise."""
    model = VGGish(32)
    found = model(torch.randn(1, 96, 64))
    pool4 = found["pool4"][0]
    flat = torch.stack([pool4[:, t, f] for t in range(6) for f in range(4)]).flatten()
    torch.testing.assert_close(F.relu(model.embeddings[0](flat)), found["fc1_1"][0])


def test_patches_cover_the_signal():
    mel = LogMel("vggish")
    for n_samples, n_patches in ((3000, 1), (PATCH, 1), (PATCH + 160, 2), (3 * PATCH - 1, 3)):
        log_mel = mel(torch.randn(n_samples))
        patches = patches_of(log_mel)
        assert patches.shape == (n_patches, 96, 64)
        together = patches.flatten(0, 1)
        shared = min(len(together), len(log_mel))
        assert shared >= len(log_mel) - 1
        assert torch.equal(together[:shared], log_mel[:shared])


def test_layers_of_patches_say_what_they_hold():
    network = PatchNetwork(SmallEnc(), CPU)
    found = network.embed(torch.randn(2 * PATCH))
    for layer in network.layers:
        assert tuple(found[layer.name].shape) == (2, *layer.shape)
        assert layer.patches and layer.samples == PATCH
    first, last = network.layers[0], network.layers[-1]
    assert first.floats_per_s == pytest.approx(8 * 48 * 32 / 0.96)
    assert last.floats_per_s == pytest.approx(128 / 0.96)
    assert [layer.depth for layer in network.layers] == [1, 2, 3, 4, 5, 6]


@pytest.fixture(scope="module")
def recogniser(tmp_path_factory) -> SpeechBrainRecogniser:
    folder = make_recogniser(tmp_path_factory.mktemp("asr"))
    return SpeechBrainRecogniser.load(small_settings(), folder, CPU, all_layers=True)


def test_the_recognisers_layers_are_those_that_it_computes_with(recogniser):
    network = RecogniserNetwork(recogniser, level=-30.0)
    names = [layer.name for layer in network.layers]
    assert names == ["cnn.0", "cnn.1", "cnn.2", "encoder.0", "encoder.1", "ctc"]
    assert [layer.samples for layer in network.layers] == [320, 640, 640, 640, 640, 640]
    speech = babble(0, 1.3)
    found = network.embed(speech)
    for layer in network.layers:
        assert tuple(found[layer.name].shape[1:]) == layer.shape
    level = speech * 10 ** (-30 / 20) / speech.square().mean().sqrt()
    cnn, encoded, _ = recogniser.encode([level])
    torch.testing.assert_close(found["cnn.2"], cnn[0])
    torch.testing.assert_close(found["encoder.1"], encoded[0])
    encoder = recogniser.transformer.encoder
    with torch.no_grad():
        again = encoder.norm(encoder.layers[0](found["encoder.0"][None])[0][0])
    torch.testing.assert_close(again, found["encoder.1"])
    torch.testing.assert_close(found["ctc"].sum(1), torch.ones(len(encoded[0])))


def test_layers_of_one_name_are_those_that_infer_compares(recogniser):
    speech = babble(0, 0.9)
    network = RecogniserNetwork(recogniser, level=-30.0)
    found = network.embed(speech)
    (expected,) = recogniser.recognise([at_level(speech, -30.0)])
    for name in ("encoder.0", "encoder.1"):
        torch.testing.assert_close(found[name], expected.layers[name])


def test_embedding_leaves_no_hook_behind(recogniser):
    RecogniserNetwork(recogniser, level=-30.0).embed(babble(0, 0.5))
    for module in (*recogniser.cnn.modules(), *recogniser.transformer.modules()):
        assert not module._forward_hooks and not module._forward_pre_hooks


def test_unknown_layers_are_refused_and_the_known_listed():
    layers = PatchNetwork(SmallEnc(), CPU).layers
    assert [layer.name for layer in choose_layers(layers, ["fc", "pool2"])] == ["pool2", "fc"]
    for names, named in ((["pool9"], "pool9"), ([], r"\[\]")):
        with pytest.raises(RecipeError, match=rf"layers={named}: expected some of pool1, .*, fc"):
            choose_layers(layers, names)


def test_weights_load_strictly_and_tensors_only(tmp_path):
    model, path = VGGish(32), tmp_path / "vggish.pth"
    weights, first = model.state_dict(), model.features[0].weight
    torch.save(weights, path)
    other = VGGish(32)
    load_weights(path, other)
    assert torch.equal(other.features[0].weight, first)
    with pytest.raises(RecipeError, match=r"size mismatch for features.0.weight: .*\[2, 1, 3, 3\]"):
        load_weights(path, VGGish(16))
    for state, message in (
        (weights | {"pproc.mean": torch.zeros(2)}, "Unexpected key.*pproc.mean.*divisor"),
        ({"features.0.weight": first}, "Missing key.*features.0.bias"),
        ({"features.0.weight": print}, "damaged or not a checkpoint"),
    ):
        torch.save(state, path)
        with pytest.raises(RecipeError, match=message):
            load_weights(path, other)
    with pytest.raises(RecipeError, match="no such file"):
        load_weights(tmp_path / "none.pth", other)


class TinyHub:
    """Gives layers as a recogniser of transformers does: 20 ms each."""

    def frames_of(self, signal):
        frames = signal[: len(signal) // 320 * 320].reshape(-1, 320)
        names = ("cnn", "encoder", "decoder", *(f"encoder.{n}" for n in range(11)), "decoder.0")
        return {name: frames[:, : 3 + n] for n, name in enumerate(names)}


def test_layers_of_a_recogniser_of_transformers():
    network = HubNetwork(TinyHub(), level=-30.0)
    names = [layer.name for layer in network.layers]
    assert names == ["cnn", *(f"encoder.{n}" for n in range(11))]  # by number; no decoder
    assert {layer.samples for layer in network.layers} == {320}
    speech = babble(0, 1.0)
    found = network.embed(speech)
    assert found["encoder.10"].shape == (50, 16) and found["cnn"].shape == (50, 3)
    level = found["cnn"][:, 0] / speech[:16000].reshape(-1, 320)[:, 0]
    torch.testing.assert_close(level, level[:1].expand(50), rtol=1e-4, atol=0)
