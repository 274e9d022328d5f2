"""Log-mel spectrograms and Griffin-Lim; VGGish's bands against the published formula."""

import math

import numpy as np
import pytest
import torch
from speechbrain.lobes.models.HifiGAN import HifiganGenerator

from intelligibility.runs import RecipeError
from reconstruction import mel as mel_module
from reconstruction.mel import LEVEL, PRESETS, LogMel, NeuralVocoder, at_level, mel_bands
from tests.reconstruction.toy import say


def test_vggish_bands_are_triangles_in_mel():
    """Hershey et al.: 64 bands, 125 to 7500 Hz, straight slopes in 1127 ln(1 + f / 700)."""
    bands = mel_bands(PRESETS["vggish"]).numpy()
    edges = np.linspace(1127 * math.log1p(125 / 700), 1127 * math.log1p(7500 / 700), 66)
    for band, bin_ in ((0, 5), (10, 20), (40, 118), (63, 230)):
        place = 1127 * math.log1p(bin_ * 31.25 / 700)
        low, centre, high = edges[band : band + 3]
        expected = max(0.0, min((place - low) / (centre - low), (high - place) / (high - centre)))
        assert bands[bin_, band] == pytest.approx(expected, abs=1e-4)
    assert bands.shape == (257, 64)
    assert (bands >= 0).all() and bands.max() <= 1


@pytest.mark.parametrize("preset", PRESETS)
def test_frames_and_floor(preset):
    mel = LogMel(preset)
    silence = mel(torch.zeros(16000))
    assert silence.shape == (1 + 16000 // mel.preset.hop, mel.preset.n_bands)
    assert silence.numpy() == pytest.approx(math.log(mel.preset.floor))


def test_a_tone_is_in_its_band():
    mel = LogMel("asr")
    tone = torch.sin(2 * torch.pi * 1000 * torch.arange(16000) / 16000)
    edges = np.linspace(0, 2595 * math.log10(1 + 8000 / 700), 82)
    centres = 700 * (10 ** (edges[1:-1] / 2595) - 1)
    assert abs(centres[int(mel(tone)[50].argmax())] - 1000) < 50


@pytest.mark.parametrize("preset", ["asr", "vggish", "hifigan"])
def test_magnitudes_explain_the_spectrogram(preset):
    """Non-negative least squares: analysed again, the bands come back (2 % of the energy)."""
    mel = LogMel(preset)
    log_mel = mel(at_level(torch.from_numpy(say(["ADA", "FIG"])).float()))
    bins = mel.magnitudes(log_mel)
    assert (bins >= 0).all()
    floor = 0 if mel.preset.clamped else mel.preset.floor
    wanted = (log_mel.exp() - floor).clamp(min=0)
    error = (bins @ mel.bands - wanted).square().sum() / wanted.square().sum()
    assert error < 0.02


def test_the_same_seed_gives_the_same_speech_and_leaves_the_generator_alone():
    mel = LogMel("asr")
    log_mel = mel(torch.randn(8000, generator=torch.Generator().manual_seed(0)))
    torch.manual_seed(5)
    first = mel.to_wav(log_mel, 8000, n_iter=4, seed=1)
    drawn = torch.rand(1)
    second = mel.to_wav(log_mel, 8000, n_iter=4, seed=1)
    torch.manual_seed(5)
    assert torch.equal(drawn, torch.rand(1))
    torch.testing.assert_close(first, second, rtol=0, atol=1e-7)
    assert not torch.allclose(first, mel.to_wav(log_mel, 8000, n_iter=4, seed=2), atol=1e-3)


def test_level():
    speech = torch.randn(16000) * 3e-4
    assert 10 * math.log10(at_level(speech).square().mean()) == pytest.approx(LEVEL, abs=1e-3)
    assert torch.equal(at_level(torch.zeros(100)), torch.zeros(100))


@pytest.fixture
def small_hifigan(monkeypatch, tmp_path):
    """Return the folder of a HiFi-GAN with random weights and few channels."""
    monkeypatch.setitem(mel_module.HIFIGAN, "upsample_initial_channel", 16)
    torch.manual_seed(0)
    torch.save(HifiganGenerator(**mel_module.HIFIGAN).state_dict(), tmp_path / "generator.ckpt")
    return tmp_path


def test_the_neural_vocoder_speaks_as_long_as_the_frames(small_hifigan):
    vocoder = NeuralVocoder(small_hifigan)
    log_mel = vocoder.mel(torch.randn(16000, generator=torch.Generator().manual_seed(0)))
    assert log_mel.shape == (63, 80)
    speech = vocoder.to_wav(log_mel, 16000)
    assert speech.shape == (16000,)
    # As SpeechBrain has it, without the frames that it adds at both ends.
    plain = HifiganGenerator(**mel_module.HIFIGAN)
    plain.load_state_dict(torch.load(small_hifigan / "generator.ckpt"))
    whole = plain.inference(log_mel.T[None])[0, 0]
    assert len(whole) == (63 + 2 * 5) * 256
    torch.testing.assert_close(speech, whole[5 * 256 :][:16000], atol=1e-5, rtol=1e-4)


def test_a_vocoder_of_other_sizes_is_refused(small_hifigan, monkeypatch):
    monkeypatch.setitem(mel_module.HIFIGAN, "upsample_initial_channel", 32)
    with pytest.raises(RecipeError, match="generator.ckpt: .*size mismatch.*tts-hifigan-libritts"):
        NeuralVocoder(small_hifigan)
    torch.save({"conv_pre": print}, small_hifigan / "generator.ckpt")
    with pytest.raises(RecipeError, match="damaged or not a checkpoint"):
        NeuralVocoder(small_hifigan)
    with pytest.raises(RecipeError, match="no generator.ckpt here"):
        NeuralVocoder(small_hifigan / "none")
