"""Our search against SpeechBrain 1.1.2's with full CTC scores, and against brute force.

Everything is in float64, where near-ties cannot decide. Tolerance 1e-9; the largest differences
that were measured are 4e-15 for scores and 2e-15 for decoder states. All hypotheses of a search are
equal, not the best alone.
"""

import dataclasses
import itertools
import math

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from intelligibility.recognisers.beam_search import SearchResult, SearchSettings
from intelligibility.recognisers.ctc_prefixes import CtcPrefixes
from tests.intelligibility.recognisers import small_models as small

TOLERANCE = 1e-9


@pytest.fixture(scope="module")
def fitted() -> tuple[small.Heads, list[Tensor]]:
    """Return a fitted model and utterances for it."""
    return small.fitted_model()


def assert_as_speechbrain(
    model: small.Heads, settings: SearchSettings, frames: Tensor
) -> SearchResult:
    """Compare all hypotheses, their scores and the states of beam 0."""
    reference = small.SpeechBrainSearch(model, settings)
    tokens, scores = reference.search(frames)
    result = model.search(settings)(frames[None])[0]
    found = result.hypotheses
    # SpeechBrain pads shorter hypotheses with 0, the blank, which none holds.
    assert [h.tokens for h in found] == [tuple(t for t in h if t != small.BLANK) for h in tokens]
    torch.testing.assert_close(
        torch.tensor([h.score for h in found], dtype=torch.float64), scores, atol=TOLERANCE, rtol=0
    )
    torch.testing.assert_close(
        result.last_beam_states, reference.last_beam_states, atol=TOLERANCE, rtol=0
    )
    return result


def assert_same_hypotheses(found: SearchResult, expected: SearchResult) -> None:
    """Compare the tokens of all hypotheses, and their scores."""
    assert [h.tokens for h in found.hypotheses] == [h.tokens for h in expected.hypotheses]
    scores = [h.score for h in expected.hypotheses]
    assert [h.score for h in found.hypotheses] == pytest.approx(scores, abs=TOLERANCE)


@pytest.mark.parametrize("beam_size", [1, 4, 9])
@pytest.mark.parametrize("n_frames", [1, 2, 13, 40])
@pytest.mark.parametrize("sharpness", [1.0, 12.0])
def test_random_models_are_searched_as_by_speechbrain(beam_size, n_frames, sharpness):
    model = small.random_model(n_frames + beam_size, n_tokens=30, sharpness=sharpness)
    assert_as_speechbrain(model, SearchSettings(beam_size), small.encoded(beam_size, n_frames))


@pytest.mark.parametrize(
    "change",
    [
        {"ctc_weight": 0.05},
        {"ctc_weight": 0.95},
        {"min_decode_ratio": 0.3},
        {"max_decode_ratio": 0.3},
        {"beam_size": 66},
    ],
)
def test_settings_mean_what_they_mean_to_speechbrain(change):
    settings = dataclasses.replace(SearchSettings(beam_size=6), **change)
    model = small.random_model(5, n_tokens=200)
    result = assert_as_speechbrain(model, settings, small.encoded(6, 24))
    assert len(result.last_beam_states) <= max(1, int(24 * settings.max_decode_ratio))


@pytest.mark.parametrize("beam_size", [1, 3, 10])
def test_a_trained_model_is_searched_as_by_speechbrain(fitted, beam_size):
    model, utterances = fitted
    for frames in utterances:
        result = assert_as_speechbrain(model, SearchSettings(beam_size), frames)
        assert abs(len(result.hypotheses[0].tokens) - len(frames) // 3) <= 1  # it has learnt


@pytest.mark.parametrize("seed", range(3))
def test_utterances_in_one_batch_come_out_as_alone(fitted, seed):
    utterances = [small.encoded(seed + n, n) for n in (30, 1, 7, 19)]
    model, utterances = (small.random_model(seed), utterances) if seed else fitted
    search = model.search(SearchSettings(beam_size=7))
    lengths = torch.tensor([len(frames) for frames in utterances])
    batch = pad_sequence(utterances, batch_first=True, padding_value=1e3)
    steps = set()
    for frames, together in zip(utterances, search(batch, lengths), strict=True):
        alone = search(frames[None])[0]
        assert_same_hypotheses(together, alone)
        for name in ("last_beam_states", "best_states"):
            torch.testing.assert_close(
                getattr(together, name), getattr(alone, name), atol=TOLERANCE, rtol=0
            )
        steps.add(len(alone.last_beam_states))
    assert len(steps) > 1  # they stopped at different steps


def test_states_of_the_best_hypothesis_are_those_of_a_plain_decode(fitted):
    cases = [(fitted[0], frames) for frames in fitted[1]]
    cases += [(small.random_model(seed), small.encoded(seed, 25)) for seed in range(4)]
    for model, frames in cases:
        result = model.search(SearchSettings(beam_size=8))(frames[None])[0]
        tokens = torch.tensor([[small.BOS, *result.hypotheses[0].tokens]])
        expected = small.decode_plainly(model, frames[None], tokens)[0]
        n_states = len(result.best_states)
        # One state per token and one for the end of sentence, unless the steps ran out before it.
        assert n_states == tokens.shape[1] or n_states == len(frames)
        torch.testing.assert_close(result.best_states, expected[:n_states], atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("normalize_before", [False, True])
def test_the_states_of_all_layers_are_those_of_speechbrains(normalize_before):
    settings = SearchSettings(beam_size=6)
    for seed in range(3):
        model = small.random_model(seed, normalize_before=normalize_before)
        frames = small.encoded(seed, 21)
        last = assert_as_speechbrain(model, settings, frames)
        reference = small.SpeechBrainSearch(model, settings)
        reference.search(frames)
        # In one batch with a shorter utterance, which is dropped on the way.
        batch = torch.stack([torch.full_like(frames, 1e3), frames])
        batch[0, :3] = small.encoded(9, 3)
        found = model.search(settings, all_layers=True)(batch, torch.tensor([3, 21]))[1]
        assert_same_hypotheses(found, last)
        best = torch.tensor([small.BOS, *found.hypotheses[0].tokens])[: len(last.best_states)]
        for states, tokens, of_last_layer in (
            (found.best_states, best, last.best_states),
            (found.last_beam_states, reference.last_beam_tokens, last.last_beam_states),
        ):
            expected = small.layers_plainly(model, frames[None], tokens[None])[:, 0]
            assert (expected[1] - expected[2]).abs().max() > 0.1  # none stands for another
            torch.testing.assert_close(states, expected, atol=TOLERANCE, rtol=0)
            torch.testing.assert_close(states[-1], of_last_layer, atol=TOLERANCE, rtol=0)


def test_a_wide_beam_finds_the_best_of_all_sequences():
    """With room for every sequence, the search must find the best of all, scored one by one."""
    model = small.random_model(3, n_tokens=5, sharpness=2.0)
    frames = small.encoded(9, 4)
    result = model.search(SearchSettings(beam_size=2000))(frames[None])[0]
    log_probs = model.ctc_lin(frames).log_softmax(-1)
    best = (-math.inf, ())
    for length in range(4):
        for tokens in itertools.product([small.BOS, 3, 4], repeat=length):
            ctc = math.log(
                small.probability_of(log_probs, lambda output, t=tokens: output == t) or 1e-300
            )
            states = small.decode_plainly(model, frames[None], torch.tensor([[small.BOS, *tokens]]))
            attention = model.seq_lin(states).log_softmax(-1)[0]
            attention = sum(attention[n, t].item() for n, t in enumerate([*tokens, small.EOS]))
            best = max(best, ((0.6 * attention + 0.4 * ctc) / (length + 1), tokens))
    ended = {h.tokens: h.score for h in reversed(result.hypotheses) if len(h.tokens) < 4}
    assert max(ended, key=ended.get) == best[1]
    assert ended[best[1]] == pytest.approx(best[0], abs=1e-9)


def test_a_beam_wider_than_the_vocabulary_holds_no_impossible_hypothesis():
    model = small.random_model(1, n_tokens=5)
    result = model.search(SearchSettings(beam_size=30))(small.encoded(2, 6)[None])[0]
    assert all(math.isfinite(h.score) for h in result.hypotheses)
    assert all(small.BLANK not in h.tokens and len(h.tokens) <= 6 for h in result.hypotheses)


def test_scoring_only_some_candidates_changes_nothing(monkeypatch):
    """Against the same search with bounds so loose that every candidate is scored."""
    for seed, sharpness in enumerate((0.5, 2.0, 8.0)):
        model, frames = small.random_model(seed, 300, sharpness), small.encoded(seed, 20)
        scored: list[int] = []
        plain_score = CtcPrefixes.score

        def counting(self, beams, tokens, score=plain_score, scored=scored):
            scored.append(tokens.numel())
            return score(self, beams, tokens)

        with monkeypatch.context() as patch:
            patch.setattr(CtcPrefixes, "score", counting)
            some = model.search(SearchSettings(beam_size=10))(frames[None])[0]
            n_some = sum(scored)
            scored.clear()
            patch.setattr(
                CtcPrefixes, "bound", lambda self: self.prefix[..., None].expand(-1, -1, 300) + 1e6
            )
            everything = model.search(SearchSettings(beam_size=10))(frames[None])[0]
        assert_same_hypotheses(some, everything)
        assert n_some < sum(scored) / 5


@pytest.mark.parametrize(
    "options, message",
    [
        ({"beam_size": 0}, "beam_size=0"),
        ({"ctc_weight": 0.0}, "ctc_weight=0.0"),
        ({"ctc_weight": 1.0}, "ctc_weight=1.0"),
        ({"eos_index": 0}, "three different tokens"),
    ],
)
def test_a_search_that_is_not_defined_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        SearchSettings(**options)


def test_numbers_that_are_not_finite_are_refused():
    model = small.random_model(0)
    with pytest.raises(ValueError, match="no hypothesis has a finite score"):
        model.search(SearchSettings(beam_size=3))(
            torch.full((1, 5, small.D_MODEL), math.nan).double()
        )
