"""Pairs of embedding and spectrogram: cut to the same time, and learnt from."""

import numpy as np
import pytest
import torch

from intelligibility.runs import RecipeError
from reconstruction.fit import (
    Crops,
    FitSettings,
    TrainingPair,
    band_statistics,
    embedding_scale,
    fit_inverter,
    shuffled,
)
from reconstruction.inverters import Inverter, Spec
from reconstruction.mel import PATCH, PRESETS
from reconstruction.networks import Layer

CPU = torch.device("cpu")


def write_pair(folder, number: int, embedding: np.ndarray, log_mel: np.ndarray) -> TrainingPair:
    """Write the two halves of a pair; two pairs are of one scene."""
    halves = [folder / f"{number}-{what}.npy" for what in ("layer", "mel")]
    for path, values in zip(halves, (embedding, log_mel), strict=True):
        np.save(path, values.astype("float32"))
    return TrainingPair(f"S{number // 2}", *halves)


def make_pairs(folder, layer: Layer, n_pairs: int = 16, mel: str = "asr") -> list[TrainingPair]:
    """Write pairs whose values are their own times in samples, in all bands and features."""
    pairs, preset = [], PRESETS[mel]
    for number in range(n_pairs):
        n_samples = 16000 + 3000 * number
        n_frames = -(-(1 + n_samples // 160) * 160 // layer.samples)
        if layer.patches:
            n_frames = -(-(n_samples // 160) // 96)
        times = np.arange(n_frames).reshape(-1, *(1 for _ in layer.shape)) * layer.samples
        frames = np.arange(1 + n_samples // preset.hop)[:, None] * preset.hop
        embedding = np.broadcast_to(times, (n_frames, *layer.shape))
        log_mel = np.broadcast_to(frames, (len(frames), preset.n_bands))
        pairs.append(write_pair(folder, number, embedding, log_mel))
    return pairs


@pytest.mark.parametrize("mel", ["asr", "hifigan"])
@pytest.mark.parametrize("samples", [320, 640, PATCH])
def test_crops_of_both_begin_at_the_same_time(tmp_path, samples, mel):
    patches = samples == PATCH
    layer = Layer("any", 1, samples, (2, 3, 4) if patches else (3,), patches=patches)
    crops = Crops(make_pairs(tmp_path, layer, mel=mel), Spec(layer, mel, 8, 1), seed=0)
    embedding, log_mel = crops.draw(64)
    assert log_mel.shape == (64, PATCH // PRESETS[mel].hop, PRESETS[mel].n_bands)
    starts = embedding.flatten(1)[:, 0]
    assert torch.equal(starts, log_mel[:, 0, 0])
    assert len(starts.unique()) > 3
    if not patches:
        assert embedding.shape == (64, PATCH // samples, 3)


def test_shuffled_pairs_share_neither_scene_nor_time(tmp_path):
    layer = Layer("any", 1, 640, (3,), patches=False)
    pairs = make_pairs(tmp_path, layer)
    scene_of = {pair.log_mel: pair.scene for pair in pairs}
    others = shuffled(pairs)
    assert len(others) == len(pairs)
    assert all(pair.scene != scene_of[pair.log_mel] for pair in others)
    assert sorted(pair.log_mel for pair in others) == sorted(pair.log_mel for pair in pairs)
    embedding, log_mel = Crops(others, Spec(layer, "asr", 8, 1), 0, apart=True).draw(64)
    assert np.mean(embedding[:, 0, 0].numpy() == log_mel[:, 0, 0].numpy()) < 0.2


def test_band_statistics_and_scale(tmp_path):
    layer = Layer("any", 1, 640, (3,), patches=False)
    pairs = make_pairs(tmp_path, layer, 3)
    every = np.concatenate([np.load(pair.log_mel) for pair in pairs])
    mean, deviation = band_statistics(pairs)
    np.testing.assert_allclose(mean, every.mean(0), rtol=1e-5)
    np.testing.assert_allclose(deviation, every.std(0), rtol=1e-5)
    scales = [np.square(np.load(pair.embedding)).mean() for pair in pairs]
    assert embedding_scale(pairs) == pytest.approx(np.sqrt(np.mean(scales)), rel=1e-5)


def learnable_pairs(folder) -> list[TrainingPair]:
    """Write embeddings that a linear map turns into the spectrogram."""
    rng = np.random.default_rng(0)
    mixing = rng.standard_normal((6, 80))
    embeddings = [rng.standard_normal((30, 6)) for _ in range(16)]
    log_mels = [np.repeat(embedding @ mixing, 4, axis=0) for embedding in embeddings]
    halves = zip(embeddings, log_mels, strict=True)
    return [write_pair(folder, number, *both) for number, both in enumerate(halves)]


def train(pairs, adversarial: bool = False, steps: int = 60, seed: int = 0):
    """Train a small inverter; return it and what its training says."""
    torch.manual_seed(seed)
    layer = Layer("any", 1, 640, (6,), patches=False)
    inverter = Inverter(Spec(layer, "asr", 16, 1), *band_statistics(pairs))
    settings = FitSettings(steps, 4, 3e-3, adversarial=adversarial, seed=seed)
    return inverter, fit_inverter(pairs, inverter, settings, CPU)


@pytest.mark.parametrize("adversarial", [False, True], ids=["reccnn", "recgan"])
def test_training_lowers_the_error(tmp_path, adversarial):
    pairs = learnable_pairs(tmp_path)
    _, before = train(pairs, adversarial, steps=1)
    inverter, after = train(pairs, adversarial)
    assert after["mel_l1_train"] < 0.7 * before["mel_l1_train"]
    assert not inverter.training


def test_the_same_seed_gives_the_same_inverter(tmp_path):
    pairs = learnable_pairs(tmp_path)
    first, other, again = (train(pairs, steps=5, seed=seed)[0] for seed in (0, 1, 0))
    embedding = np.load(pairs[0].embedding)
    torch.testing.assert_close(first.log_mel(embedding), again.log_mel(embedding))
    assert not torch.allclose(first.log_mel(embedding), other.log_mel(embedding), atol=1e-2)


def test_too_few_utterances_are_refused(tmp_path):
    with pytest.raises(RecipeError, match="15 signals to learn from, expected 16"):
        train(learnable_pairs(tmp_path)[:15])


def test_a_loss_that_is_not_finite_stops(tmp_path):
    pairs = learnable_pairs(tmp_path)
    for pair in pairs:
        np.save(pair.embedding, np.full((30, 6), np.nan, dtype="float32"))
    with pytest.raises(RecipeError, match="not finite at step 1"):
        train(pairs)
