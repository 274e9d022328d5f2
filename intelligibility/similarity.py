"""Similarity of what the recogniser makes of the processed signal and of the clean reference.

As in E032 (Tu, Ma & Barker, 2022, Section 2.3): cosine similarity, frame by frame for
representations that follow the signal in time (CNN, encoder), along a dynamic-time-warping path
for those that follow the words (decoder). Every processed ear is compared with every reference
ear, and the best pair counts. Features are (frames, dims), float32, on the CPU.
"""

import numpy as np
import torch
from fastdtw import fastdtw
from scipy.spatial.distance import cosine
from torch import Tensor
from torch.nn.functional import cosine_similarity

from intelligibility.measures import MEASURES
from intelligibility.recognisers.recognition import Recognition
from intelligibility.words import word_correctness

Ears = tuple[Tensor, Tensor]  # left, right
DTW = ("fastdtw", "exact")


def similarities_of(
    processed: tuple[Recognition, Recognition],
    reference: tuple[Recognition, Recognition],
    prompt: str,
    dtw: str = "fastdtw",
) -> dict[str, float]:
    """Compare what a recogniser made of both ears of a signal and of its reference.

    Parameters
    ----------
    processed, reference : tuple of two Recognition
        Left and right ear.
    prompt : str
        The sentence that was spoken.
    dtw : str
        How decoder states are aligned: "fastdtw", as published, or "exact".

    Returns
    -------
    dict
        Every measure by its name, 0..1. Layers that the recogniser does not have are left out.
    """
    similarities = {}
    for measure in MEASURES:
        if measure.clock == "text":
            correct = max(word_correctness(ear.text, prompt) for ear in processed)
            similarities[measure.name] = correct
        elif measure.layer in processed[0].layers:
            pairs = [tuple(ear.layers[measure.layer] for ear in s) for s in (processed, reference)]
            if measure.clock == "time":
                similarities[measure.name] = framewise_similarity(*pairs)
            else:
                similarities[measure.name] = aligned_similarity(*pairs, dtw)
    return similarities


def framewise_similarity(processed: Ears, reference: Ears) -> float:
    """Compare representations that follow the signal in time.

    All four are padded with zeros to the longest. The similarity of a frame is the highest of the
    four pairs of ears, that of the signal the mean over all frames, padding included, as
    published.

    Parameters
    ----------
    processed, reference : tuple of two Tensor, each (frames, dims)
        Left and right ear.

    Returns
    -------
    float
        Up to 1, which is reached by identical signals; a frame of zeros has similarity 0 to any
        other.
    """
    ears = torch.nn.utils.rnn.pad_sequence([*processed, *reference], batch_first=True)
    pairs = cosine_similarity(ears[2:, None], ears[None, :2], dim=-1)
    return float(pairs.amax((0, 1)).mean())


def aligned_similarity(processed: Ears, reference: Ears, dtw: str = "fastdtw") -> float:
    """Compare representations that follow the words.

    Each pair of ears is aligned by dynamic time warping with the cosine distance; its similarity
    is the mean cosine along the path. The highest of the four pairs counts.

    Parameters
    ----------
    processed, reference : tuple of two Tensor, each (steps, dims)
        Left and right ear; lengths may differ.
    dtw : str
        "fastdtw": the published approximation, radius 1. "exact": the path of least total distance.

    Returns
    -------
    float
        Up to 1, which is reached by identical signals.
    """
    align = {"fastdtw": fastdtw_path, "exact": exact_path}[dtw]
    means = []
    for clean in reference:
        for heard in processed:
            rows, columns = zip(*align(clean.numpy(), heard.numpy()), strict=True)
            means.append(cosine_similarity(clean[list(rows)], heard[list(columns)], dim=-1).mean())
    return float(torch.stack(means).max())


def fastdtw_path(x: np.ndarray, y: np.ndarray) -> list[tuple[int, int]]:
    """Align (n, dims) with (m, dims) by FastDTW (Salvador & Chan, 2007), radius 1."""
    return fastdtw(x, y, radius=1, dist=cosine_distance)[1]


def cosine_distance(u: np.ndarray, v: np.ndarray) -> float:
    """Return 1 minus the cosine of the angle; 1 when either vector is zero."""
    if not (u.any() and v.any()):
        return 1.0
    return cosine(u, v)


def exact_path(x: np.ndarray, y: np.ndarray) -> list[tuple[int, int]]:
    """Align (n, dims) with (m, dims) along the path of least total cosine distance.

    Steps go one further in x, in y, or in both, all with the same weight. Of equally good
    predecessors the one before in x is taken, then the one before in y, as fastdtw does.
    """
    unit_x, unit_y = (_unit(a.astype(np.float64)) for a in (x, y))
    distances = 1.0 - unit_x @ unit_y.T
    return _cheapest_path(distances)


def _unit(x: np.ndarray) -> np.ndarray:
    norm = np.linalg.norm(x, axis=1, keepdims=True)
    return np.divide(x, norm, out=np.zeros_like(x), where=norm > 0)


def _cheapest_path(distances: np.ndarray) -> list[tuple[int, int]]:
    """Return the path of least sum through a matrix (n, m), from the first corner to the last."""
    n, m = distances.shape
    total = np.full((n + 1, m + 1), np.inf)
    total[0, 0] = 0.0
    for diagonal in range(n + m - 1):  # its cells do not depend on one another
        i = np.arange(max(0, diagonal - m + 1), min(n, diagonal + 1))
        j = diagonal - i
        before = np.minimum(np.minimum(total[i, j + 1], total[i + 1, j]), total[i, j])
        total[i + 1, j + 1] = distances[i, j] + before
    path, i, j = [], n, m
    while i > 0:
        path.append((i - 1, j - 1))
        steps = ((i - 1, j), (i, j - 1), (i - 1, j - 1))
        i, j = min(steps, key=lambda step: total[step])
    return path[::-1]
