"""Similarity of what the recogniser makes of the processed signal and of the clean reference.

As in E032 (Tu, Ma & Barker, 2022): cosine similarity, frame by frame for representations that
follow the signal in time (CNN, encoder), along a dynamic-time-warping path for those that follow
the words (decoder). Every processed ear is compared with every reference ear, and the best pair
counts. Features are (frames, dims), float32, on the CPU. Equations are numbered as in the paper's
Section 3.3; docs/method.md has them.
"""

from collections.abc import Callable, Iterable

import numpy as np
import torch
from fastdtw import fastdtw
from scipy.spatial.distance import cosine
from torch import Tensor
from torch.nn.functional import cosine_similarity

from intelligibility.measures import MEASURES, Measure
from intelligibility.recognisers.recognition import Recognition
from intelligibility.words import marked_words, word_correctness

Ears = tuple[Tensor, Tensor]  # left, right
Heard = tuple[Recognition, Recognition]  # left, right
DTW = ("fastdtw", "exact")
# Version of the comparison: raise it when a change here changes similarities. infer.py measures
# anew what another version made.
COMPARISON = 1


def similarities_of(
    processed: Heard,
    reference: Heard,
    prompt: str,
    dtw: str = "fastdtw",
    marked_words: Callable[[str, str], list[tuple[str, bool]]] = marked_words,
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
    marked_words : callable
        Compares recognised words with the sentence, as a recogniser's `marked_words`.

    Returns
    -------
    dict
        Every measure by its name, 0..1, or nats. Those that the recogniser cannot give are left
        out.
    """
    found = {
        measure.name: _compare(measure, processed, reference, prompt, dtw, marked_words)
        for measure in MEASURES
    }
    return {name: value for name, value in found.items() if value is not None}


def _compare(
    measure: Measure,
    processed: Heard,
    reference: Heard,
    prompt: str,
    dtw: str,
    marked_words: Callable[[str, str], list[tuple[str, bool]]],
) -> float | None:
    if measure.layer is not None:
        if measure.layer not in processed[0].layers:
            return None
        return similarity_of_layer(measure.layer, measure.clock, processed, reference, dtw)
    if measure.clock == "text":
        texts = (ear.text for ear in processed if ear.text is not None)
        return max((word_correctness(text, prompt, marked_words) for text in texts), default=None)
    heard, clean = (
        [ear.log_prob for ear in ears if ear.log_prob is not None]
        for ears in (processed, reference)
    )
    return max(heard) - max(clean) if heard and clean else None


def similarities_of_layers(
    processed: Heard,
    reference: Heard,
    dtw: str = "fastdtw",
    layers: Iterable[str] | None = None,
) -> dict[str, float]:
    """Compare layers of a recogniser: the front end, encoder.0 to n, decoder.0 to n; or some.

    Returns similarities, 0..1, by the layer's name.
    """
    clocks = processed[0].clocks
    return {
        layer: similarity_of_layer(layer, clocks.get(layer, "time"), processed, reference, dtw)
        for layer in (processed[0].layers if layers is None else layers)
        if layer not in ("encoder", "decoder")  # the last of those with numbers
    }


def similarity_of_layer(
    layer: str, clock: str, processed: Heard, reference: Heard, dtw: str
) -> float:
    """Compare one layer: aligned where its clock is "words", else frame by frame.

    The steps along a given text are the same in every signal, and need no alignment.
    """
    (left, right), (clean_left, clean_right) = (
        [ear.layers[layer] for ear in signal] for signal in (processed, reference)
    )
    if clock == "words" and processed[0].clocks.get(layer) != "text":
        return aligned_similarity((left, right), (clean_left, clean_right), dtw)
    return framewise_similarity((left, right), (clean_left, clean_right))


def framewise_similarity(processed: Ears, reference: Ears) -> float:
    """Compare representations that follow the signal in time (eq. 5).

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

    Examples
    --------
    The left ear's second frame is lost. The right ear still has it, at an angle of 60 degrees:

    >>> clean = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> left, right = clean.clone(), torch.tensor([[0.0, 1.0], [0.75**0.5, 0.5]])
    >>> left[1] = 0
    >>> round(framewise_similarity((left, right), (clean, clean)), 6)
    0.75
    """
    return float(similarity_by_frame(processed, reference).mean())


def similarity_by_frame(processed: Ears, reference: Ears) -> Tensor:
    """Return the similarity of every frame, (frames,): of the four pairs of ears, the highest."""
    # The maximum in eq. 5, over reference left and right by processed left and right:
    # (2, 2, frames).
    ears = torch.nn.utils.rnn.pad_sequence([*processed, *reference], batch_first=True)
    return cosine_similarity(ears[2:, None], ears[None, :2], dim=-1).amax((0, 1))


def aligned_similarity(processed: Ears, reference: Ears, dtw: str = "fastdtw") -> float:
    """Compare representations that follow the words (eqs 6 and 7).

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

    Examples
    --------
    The same states, one of them said twice:

    >>> clean = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> slow = clean[[0, 0, 1]]
    >>> round(aligned_similarity((slow, slow), (clean, clean), "exact"), 6)
    1.0
    """
    align = {"fastdtw": fastdtw_path, "exact": exact_path}[dtw]
    means = []
    for clean in reference:
        for heard in processed:
            rows, columns = zip(*align(clean.numpy(), heard.numpy()), strict=True)
            cosines = cosine_similarity(clean[list(rows)], heard[list(columns)], dim=-1)
            means.append(cosines.mean())  # eq. 6
    return float(torch.stack(means).max())  # eq. 7


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
