"""CTC prefix probabilities against sums over all paths and against the recursion over frames.

In float64; tolerance 1e-9 for logs, 1e-12 for probabilities.
"""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch import Tensor

from intelligibility.recognisers.ctc_prefixes import CtcPrefixes, take
from tests.intelligibility.recognisers.small_models import BLANK, encoded, probability_of

TOLERANCE = 1e-9


def prefixes_after(log_probs: Tensor, tokens: list[int]) -> tuple[CtcPrefixes, list[float]]:
    """Extend the empty hypothesis by tokens; return the scores on the way."""
    valid = torch.ones(1, len(log_probs), dtype=torch.bool)
    ctc = CtcPrefixes.empty(log_probs[None], valid, BLANK)
    beam, scores = torch.zeros(1, 1, dtype=torch.long), []
    for token in tokens:
        prefix = ctc.score(beam, torch.tensor([[token]]))
        ctc = ctc.extended(beam, torch.tensor([[token]]), prefix)
        scores.append(prefix.item())
    return ctc, scores


@pytest.mark.parametrize("tokens", [[3], [3, 3], [3, 1, 3], [1, 1, 1], [3, 3, 3, 3]])
def test_ctc_scores_are_sums_over_all_paths(tokens):
    log_probs = encoded(4, 5)[:, :4].log_softmax(-1)
    ctc, scores = prefixes_after(log_probs, tokens)
    for length, score in enumerate(scores, start=1):
        prefix = tuple(tokens[:length])
        begins = probability_of(log_probs, lambda output, p=prefix: output[: len(p)] == p)
        assert math.exp(score) == pytest.approx(begins, abs=1e-12)
    equals = probability_of(log_probs, lambda output: output == tuple(tokens))
    assert math.exp(ctc.whole.item()) == pytest.approx(equals, abs=1e-12)


def plain_prefix(log_probs: list[list[float]], tokens: list[int]) -> tuple[float, float]:
    """Watanabe et al. (2017), Algorithm 2, frame by frame: log p_ctc(g ...) and log p_ctc(g)."""
    n_frames = len(log_probs)
    last_token, blank, previous = [-math.inf] * (n_frames + 1), [0.0], None
    for frame in log_probs:
        blank.append(blank[-1] + frame[BLANK])
    prefix = 0.0
    for token in tokens:
        new_token, new_blank, prefix = [-math.inf], [-math.inf], -math.inf
        for t, frame in enumerate(log_probs):
            enter = blank[t] if token == previous else np.logaddexp(blank[t], last_token[t])
            prefix = np.logaddexp(prefix, enter + frame[token])
            new_blank.append(np.logaddexp(new_blank[t], new_token[t]) + frame[BLANK])
            new_token.append(np.logaddexp(new_token[t], enter) + frame[token])
        last_token, blank, previous = new_token, new_blank, token
    return prefix, np.logaddexp(last_token[-1], blank[-1])


@pytest.mark.parametrize("sharpness", [0.1, 5.0, 40.0])
def test_long_and_sharp_input_does_not_cancel(sharpness):
    """Over 1000 frames the products fall to e^-100000 while the scores stay near 0."""
    generator = torch.Generator().manual_seed(3)
    log_probs = sharpness * torch.randn(1000, 6, generator=generator, dtype=torch.float64)
    log_probs[:, BLANK] += 2 * sharpness
    log_probs = log_probs.log_softmax(-1)
    tokens = [3, 4, 4, 5, 1, 3, 3, 5]
    ctc, scores = prefixes_after(log_probs, tokens)
    prefix, whole = plain_prefix(log_probs.tolist(), tokens)
    assert scores[-1] == pytest.approx(prefix, rel=1e-12, abs=TOLERANCE)
    assert ctc.whole.item() == pytest.approx(whole, rel=1e-12, abs=TOLERANCE)


@hypothesis_settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    n_frames=st.integers(1, 30),
    sharpness=st.sampled_from([0.0, 0.3, 3.0, 30.0]),
    tokens=st.lists(st.integers(3, 7), max_size=5),
)
def test_no_extension_scores_above_its_bound(seed, n_frames, sharpness, tokens):
    generator = torch.Generator().manual_seed(seed)
    log_probs = sharpness * torch.randn(n_frames, 8, generator=generator, dtype=torch.float64)
    ctc, _ = prefixes_after(log_probs.log_softmax(-1), tokens)
    candidates = torch.arange(3, 8)[None]
    scores = ctc.score(torch.zeros_like(candidates), candidates)
    assert bool((scores <= ctc.bound()[:, 0, 3:] + TOLERANCE).all())
    assert bool((ctc.whole <= ctc.prefix + TOLERANCE).all())


def test_utterances_that_are_taken_go_on_as_alone():
    log_probs = torch.stack([encoded(seed, 9)[:, :6] for seed in range(3)]).log_softmax(-1)
    valid = torch.arange(9) < torch.tensor([9, 4, 7])[:, None]
    beams, tokens = torch.zeros(3, 2, dtype=torch.long), torch.tensor([[3, 4], [4, 5], [5, 3]])
    both = CtcPrefixes.empty(log_probs, valid, BLANK)
    both = both.extended(beams, tokens, both.score(beams, tokens))
    rows = torch.tensor([2, 0])
    taken, beams, tokens = take(both, rows), torch.tensor([[0, 1], [1, 1]]), torch.full((2, 2), 3)
    taken = taken.extended(beams, tokens, taken.score(beams, tokens))
    for row, utterance in enumerate(rows.tolist()):
        frames = log_probs[utterance, : valid[utterance].sum()]
        for beam in range(2):
            first = both.last[utterance, beams[row, beam]].item()
            alone, scores = prefixes_after(frames, [first, 3])
            assert taken.prefix[row, beam].item() == pytest.approx(scores[-1], abs=TOLERANCE)
            assert taken.whole[row, beam].item() == pytest.approx(alone.whole.item(), abs=TOLERANCE)
