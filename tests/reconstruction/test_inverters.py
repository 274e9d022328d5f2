"""Inverters: the published ladder, saving and loading, and the black box."""

import numpy as np
import pytest
import torch

from intelligibility.runs import RecipeError
from reconstruction.inverters import Discriminator, Inverter, PatchInverter, Spec, n_parameters
from reconstruction.mel import PATCH, PRESETS
from reconstruction.networks import Layer, PatchNetwork, SmallEnc, VGGish

FRAMES = Layer("encoder.1", 1, 640, (24,), patches=False)
PUBLISHED = {"pool4": 871_000, "pool3": 208_000, "pool2": 42_000, "pool1": 9_000}  # parameters


def published_layers() -> dict[str, Layer]:
    """Return the layers of the published VGGish."""
    found = VGGish()(torch.zeros(1, 96, 64))
    shapes = {name: tuple(values.shape[1:]) for name, values in found.items()}
    return {name: Layer(name, 1, PATCH, shape, patches=True) for name, shape in shapes.items()}


def test_the_ladder_has_the_published_sizes():
    """One rung at a time: 3 x 3 convolutions of 128, 128; 64, 64; 32; 16, and one to the end."""
    layers = published_layers()
    convolutions = {
        "pool4": [(512, 128), (128, 128), (128, 64), (64, 64), (64, 32), (32, 16), (16, 1)],
        "pool3": [(256, 64), (64, 64), (64, 32), (32, 16), (16, 1)],
        "pool2": [(128, 32), (32, 16), (16, 1)],
        "pool1": [(64, 16), (16, 1)],
    }
    for name, expected in convolutions.items():
        ladder = PatchInverter(Spec(layers[name], "vggish", 256, 1))
        found = [one for one in ladder.modules() if isinstance(one, torch.nn.Conv2d)]
        assert [(one.in_channels, one.out_channels) for one in found] == expected
        assert n_parameters(ladder) == pytest.approx(PUBLISHED[name], rel=0.05)
    dense = [4096, 4096, 4096, 3072]
    for name, expected in {"fc1_1": dense[2:], "fc1_2": dense[1:], "fc2": dense}.items():
        ladder = PatchInverter(Spec(layers[name], "vggish", 256, 1))
        found = [m.out_features for m in ladder.modules() if isinstance(m, torch.nn.Linear)]
        assert found == expected


@pytest.mark.parametrize("mel", ["vggish", "hifigan"])
@pytest.mark.parametrize("model", [VGGish(32), SmallEnc()], ids=["vggish", "smallenc"])
def test_every_rung_gives_a_patch(model, mel):
    network = PatchNetwork(model, torch.device("cpu"))
    found = network.embed(torch.randn(2 * PATCH))
    for layer in network.layers:
        log_mel = Inverter(Spec(layer, mel, 16, 16)).log_mel(found[layer.name])
        assert log_mel.shape == (2 * PATCH // PRESETS[mel].hop, PRESETS[mel].n_bands)


@pytest.mark.parametrize(("samples", "mel"), [(320, "asr"), (640, "asr"), (640, "hifigan")])
def test_frames_give_as_long_a_spectrogram(samples, mel):
    layer = Layer("any", 1, samples, (24,), patches=False)
    inverter = Inverter(Spec(layer, mel, 16, 1))
    n_frames = 16000 // samples
    found = inverter.log_mel(torch.randn(n_frames, 24))
    assert len(found) == pytest.approx(n_frames * samples / PRESETS[mel].hop, abs=0.5)


def test_the_paper_preset_ends_in_tanh():
    inverter = Inverter(Spec(FRAMES, "asr", 16, 1, paper=True))
    found = inverter.log_mel(1e6 * torch.randn(25, 24))
    assert found.abs().max() <= 10
    assert torch.allclose(found, 10 * inverter.body(1e6 * torch.zeros(1, 25, 24)).tanh()) is False


def test_an_untrained_ladder_gives_the_band_mean_and_a_trained_head_its_deviation():
    layer = Layer("pool1", 1, PATCH, (8, 48, 32), patches=True)
    mean = torch.linspace(-3, 1, 64)
    inverter = Inverter(Spec(layer, "vggish", 16, 4), mean, torch.full((64,), 2.0))
    found = inverter.log_mel(torch.rand(1, 8, 48, 32))
    assert (found - mean).abs().max() < 0.5
    with torch.no_grad():
        inverter.body.ladder[-1].bias.fill_(1.0)
    assert (inverter.log_mel(torch.zeros(1, 8, 48, 32)) - (mean + 2.0)).abs().max() < 1e-4


def test_a_saved_inverter_is_the_same_black_box(tmp_path):
    torch.manual_seed(0)
    inverter = Inverter(Spec(FRAMES, "asr", 16, 1), n_iter=4, seed=3)
    inverter.mean.fill_(-2.0)
    inverter.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["inverter.json", "inverter.pt"]
    embedding = np.random.default_rng(0).standard_normal((25, 24)).astype("float32")
    speech = Inverter.load(tmp_path).invert(embedding)
    assert speech.dtype == np.float32 and len(speech) == 99 * 160
    np.testing.assert_allclose(speech, inverter.eval().invert(embedding), atol=1e-6)
    assert len(inverter.invert(embedding, 20000)) == 20000
    assert len(inverter.invert(embedding, 8000)) == 8000


def test_an_inverter_that_does_not_fit_is_refused(tmp_path):
    inverter = Inverter(Spec(FRAMES, "asr", 16, 1))
    with pytest.raises(ValueError, match=r"encoder.1 gives \(frames, 24\)"):
        inverter.invert(np.zeros((25, 23)))
    with pytest.raises(ValueError, match="the embedding is"):
        inverter.invert(np.zeros((1, 25, 24)))
    inverter.save(tmp_path)
    Inverter(Spec(FRAMES, "asr", 8, 1)).save(tmp_path / "other")
    (tmp_path / "other" / "inverter.pt").replace(tmp_path / "inverter.pt")
    with pytest.raises(RecipeError, match=r"inverter.pt: .*size mismatch.*train it again"):
        Inverter.load(tmp_path)
    torch.save({"mean": print}, tmp_path / "inverter.pt")
    with pytest.raises(RecipeError, match="damaged or not a checkpoint"):
        Inverter.load(tmp_path)


def test_the_discriminator_judges_patches_of_patches():
    discriminator = Discriminator()
    assert discriminator(torch.zeros(2, 96, 64)).shape == (2, 1, 6, 4)
    assert n_parameters(discriminator) == pytest.approx(175_000, rel=0.01)
