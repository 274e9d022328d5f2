"""The decoder one token at a time against SpeechBrain's on all tokens at once.

In float64; tolerance 1e-9 (3e-15 measured).
"""

import pytest
import torch
from torch.nn.utils.rnn import pad_sequence

from intelligibility.recognisers.decoder_cache import DecoderCache
from tests.intelligibility.recognisers import small_models as small

TOLERANCE = 1e-9


@pytest.mark.parametrize("normalize_before", [False, True])
def test_tokens_one_by_one_give_the_states_of_all_at_once(normalize_before):
    """Beams branch off one another at every step; an utterance is dropped on the way."""
    model = small.random_model(0, normalize_before=normalize_before)
    lengths = [11, 6, 8]
    utterances = [small.encoded(row, length) for row, length in enumerate(lengths)]
    frames = pad_sequence(utterances, batch_first=True, padding_value=1e3)
    valid = torch.arange(11) < torch.tensor(lengths)[:, None]
    cache = DecoderCache(model.transformer, frames, valid, beam_size=3)
    generator = torch.Generator().manual_seed(1)
    tokens = torch.full((3, 1, 1), small.BOS)
    history = torch.zeros(3, 1, 1, dtype=torch.long)
    for step in range(20):  # more than the cache has room for at first
        found = cache.step(tokens[..., -1], history)[-1]
        for row, (length, beams) in enumerate(zip(lengths, tokens, strict=True)):
            alone = frames[row, :length].expand(len(beams), -1, -1)
            expected = small.decode_plainly(model, alone, beams)[:, -1]
            torch.testing.assert_close(found[row], expected, atol=TOLERANCE, rtol=0)
        if step == 6:
            rows = torch.tensor([2, 0])
            cache.keep(rows)
            frames, tokens, history = frames[rows], tokens[rows], history[rows]
            lengths = [lengths[row] for row in rows]
        tokens, history = branch(tokens, history, generator)


def branch(
    tokens: torch.Tensor, history: torch.Tensor, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Extend beams drawn at random by tokens drawn at random."""
    n_utterances, n_beams = tokens.shape[:2]
    beams = torch.randint(n_beams, (n_utterances, 3), generator=generator)
    new = torch.randint(3, 40, (n_utterances, 3, 1), generator=generator)
    rows = torch.arange(n_utterances)[:, None]
    own_row = torch.arange(3).expand(n_utterances, -1)[..., None]
    return (
        torch.cat([tokens[rows, beams], new], -1),
        torch.cat([history[rows, beams], own_row], -1),
    )


def test_other_kinds_of_attention_are_refused():
    model = small.random_model(0)
    model.transformer.attention_type = "RelPosMHAXL"
    with pytest.raises(ValueError, match="expected regularMHA"):
        DecoderCache(model.transformer, small.encoded(0, 3)[None], torch.ones(1, 3, dtype=bool), 1)
