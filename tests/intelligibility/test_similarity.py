"""Similarities against the published formulas, written out plainly, and the published numbers.

Tolerances: 1e-6 in float32 against plain float64; 1e-6 against the published code's similarities
(1.2e-7 measured, one step of float32).
"""

import json
import math

import fastdtw
import numpy as np
import pytest
import torch
from torch import Tensor

from intelligibility.experiment import EARS
from intelligibility.similarity import (
    aligned_similarity,
    cosine_distance,
    exact_path,
    fastdtw_path,
    framewise_similarity,
)


def features(seed: int, n_frames: int, n_dims: int = 6, drift: float = 0.5) -> Tensor:
    """Return features that change slowly, as a recogniser's do."""
    generator = torch.Generator().manual_seed(seed)
    steps = torch.randn(n_frames, n_dims, generator=generator)
    return steps.cumsum(0) * drift + torch.randn(n_dims, generator=generator)


def ears(seed: int, *lengths: int) -> tuple[Tensor, Tensor]:
    """Return a left and a right ear."""
    return features(seed, lengths[0]), features(seed + 1000, lengths[-1])


def plain_cosine(u, v) -> float:
    """Return the cosine of the angle, 0 when either vector is zero."""
    size = math.sqrt(sum(a * a for a in u)) * math.sqrt(sum(b * b for b in v))
    return sum(a * b for a, b in zip(u, v, strict=True)) / size if size else 0.0


def plain_path(x: list, y: list) -> list[tuple[int, int]]:
    """Return the path of least total cosine distance, by recursion over all its prefixes."""
    best: dict[tuple[int, int], tuple[float, list]] = {(-1, -1): (0.0, [])}
    for i in range(len(x)):
        for j in range(len(y)):
            came = [best[p] for p in ((i - 1, j), (i, j - 1), (i - 1, j - 1)) if p in best]
            total, path = min(came, key=lambda before: before[0])
            best[i, j] = total + 1 - plain_cosine(x[i], y[j]), [*path, (i, j)]
    return best[len(x) - 1, len(y) - 1][1]


@pytest.mark.parametrize("lengths", [(9, 9), (9, 4), (1, 7)])
def test_framewise_similarity_is_the_published_formula(lengths):
    processed, reference = ears(1, *lengths), ears(2, *reversed(lengths))
    n_frames = max(lengths)
    padded = [
        [*ear.double().tolist(), *([[0.0] * 6] * (n_frames - len(ear)))]
        for ear in (*processed, *reference)
    ]
    per_frame = [
        max(plain_cosine(padded[r][t], padded[p][t]) for r in (2, 3) for p in (0, 1))
        for t in range(n_frames)
    ]
    expected = sum(per_frame) / n_frames
    assert framewise_similarity(processed, reference) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("lengths", [(9, 6), (2, 2), (1, 14), (23, 3)])
@pytest.mark.parametrize("dtw", ["fastdtw", "exact"])
def test_aligned_similarity_is_the_published_formula(lengths, dtw):
    processed, reference = ears(3, *lengths), ears(4, *reversed(lengths))
    means = []
    for clean in reference:
        for heard in processed:
            x, y = clean.double().numpy(), heard.double().numpy()
            published = fastdtw.fastdtw(x, y, dist=cosine_distance)[1]
            path = published if dtw == "fastdtw" else plain_path(x, y)
            means.append(np.mean([plain_cosine(x[i], y[j]) for i, j in path]))
    found = aligned_similarity(processed, reference, dtw)
    assert found == pytest.approx(max(means), abs=1e-6)


@pytest.mark.parametrize("seed", range(12))
def test_the_exact_path_is_that_of_a_plain_search(seed):
    """fastdtw finds no shorter one."""
    n, m = (int(length) for length in np.random.default_rng(seed).integers(1, 15, 2))
    x, y = features(seed, n).double().numpy(), features(seed + 50, m).double().numpy()
    assert exact_path(x, y) == plain_path(x, y)
    assert exact_path(x, y) == fastdtw.dtw(x, y, dist=cosine_distance)[1]
    x, y = features(seed, 40).numpy(), features(seed + 50, 25).numpy()

    def total(path):
        return sum(1 - plain_cosine(x[i], y[j]) for i, j in path)

    assert total(exact_path(x, y)) <= total(fastdtw_path(x, y)) + 1e-9


@pytest.mark.parametrize("n_frames", [1, 2, 3, 50])
def test_a_signal_is_identical_to_itself(n_frames):
    signal = ears(7, n_frames)
    assert framewise_similarity(signal, signal) == pytest.approx(1, abs=1e-6)
    for dtw in ("fastdtw", "exact"):
        assert aligned_similarity(signal, signal, dtw) == pytest.approx(1, abs=1e-6)


def test_the_best_pair_of_ears_counts():
    left, right = ears(8, 12)
    noise = features(99, 12)
    pairs = ((left, noise), (-noise, left)), ((noise, right), (right, -noise))
    for processed, reference in pairs:
        assert framewise_similarity(processed, reference) == pytest.approx(1, abs=1e-6)
        assert aligned_similarity(processed, reference) == pytest.approx(1, abs=1e-6)


def test_alignment_undoes_a_change_of_tempo():
    signal = features(5, 20)
    slow = signal.repeat_interleave(2, 0)
    assert aligned_similarity((slow, slow), (signal, signal), "exact") == pytest.approx(1, abs=1e-6)
    assert framewise_similarity((slow, slow), (signal, signal)) < 0.9


@pytest.mark.parametrize("dtw", ["fastdtw", "exact"])
def test_zero_vectors_are_similar_to_nothing(dtw):
    silence = torch.zeros(5, 6)
    for other in (silence, features(1, 8)):
        assert framewise_similarity((silence, silence), (other, other)) == 0
        assert aligned_similarity((silence, silence), (other, other), dtw) == 0


def test_very_different_lengths_are_compared():
    for lengths in ((1, 300), (2, 301), (3, 302), (300, 4)):
        processed, reference = ears(1, lengths[0]), ears(2, lengths[1])
        for dtw in ("fastdtw", "exact"):
            assert -1 <= aligned_similarity(processed, reference, dtw) <= 1


def test_the_published_code_gives_the_same_similarities(shared):
    folder = shared / "golden/infer"
    expected = json.loads((folder / "expected.json").read_text())
    arrays = np.load(folder / "features.npz")
    signals = sorted({name.split("/")[0] for name in arrays})
    assert len(signals) == 2
    for signal in signals:
        for layer, compare in (("encoder", framewise_similarity), ("decoder", aligned_similarity)):
            processed, reference = (
                [torch.from_numpy(arrays[f"{signal}/{ear}_{kind}/{layer}"]) for ear in EARS]
                for kind in ("msbg", "ref")
            )
            published = expected[signal][f"{layer[:3]}_similarity"]
            assert compare(processed, reference) == pytest.approx(published, abs=1e-6)
