"""Joint CTC/attention beam search that also returns the decoder's states.

A hypothesis h = (y_1 .. y_n) is scored by both heads of the recogniser (Watanabe et al., 2017,
"Hybrid CTC/attention architecture for end-to-end speech recognition", Algorithms 1 and 2):

    score(h) = (1 - w) log p_att(h) + w log p_ctc(h ...)

where p_ctc(h ...) is the probability that the CTC output begins with h, or equals h once h has
ended. Finished hypotheses are compared by their score per token.

The result is that of SpeechBrain's S2STransformerBeamSearcher with a full CTCScorer, for less work:

- The decoder takes one token per step and keeps keys and values of the earlier ones
  (decoder_cache.py).
- CTC scores need no loop over frames (ctc_prefixes.py), and only candidates that can reach the beam
  get one.

The last point rests on the upper bound of p_ctc(gc ...) that ctc_prefixes.py derives. (The end of
sentence needs none: the probability of ending is at hand.) As the score grows with p_ctc, it bounds
the score. Now let tau be the beam-th best exact score among any of the candidates. Among all
candidates the beam-th best is at least tau. So a candidate whose bound is less than tau is not
among the best, and its exact score cannot change the result.
"""

import math
from dataclasses import dataclass, replace

import torch
from speechbrain.lobes.models.transformer.TransformerASR import TransformerASR
from torch import Tensor

from intelligibility.recognisers.ctc_prefixes import CtcPrefixes, take
from intelligibility.recognisers.decoder_cache import DecoderCache

ROUNDING = 1e-9  # by which a bound computed in float64 may fall under the score that it bounds
LEAST = torch.finfo(torch.float64).min  # the lowest score that a hypothesis can have; -inf: none


@dataclass(frozen=True)
class SearchSettings:
    """What decides the result of a search."""

    # Hypotheses kept per step, and finished hypotheses after which the search stops.
    beam_size: int = 66
    ctc_weight: float = 0.4  # weight w of the CTC head, above 0 and below 1
    # Bounds on the number of steps, as a share of the encoder's frames.
    min_decode_ratio: float = 0.0
    max_decode_ratio: float = 1.0
    # Tokens: begin of sentence, end of sentence, CTC blank.
    bos_index: int = 1
    eos_index: int = 2
    blank_index: int = 0

    def __post_init__(self) -> None:
        """Refuse what the joint search is not defined for."""
        if self.beam_size < 1:
            raise ValueError(f"beam_size={self.beam_size}: expected 1 or more")
        if not 0 < self.ctc_weight < 1:
            raise ValueError(f"ctc_weight={self.ctc_weight}: expected above 0 and below 1")
        if len({self.bos_index, self.eos_index, self.blank_index}) < 3:
            raise ValueError("bos_index, eos_index and blank_index must be three different tokens")


@dataclass(frozen=True)
class Hypothesis:
    """A finished hypothesis: its tokens without end of sentence, and its score per token."""

    tokens: tuple[int, ...]
    score: float


@dataclass(frozen=True)
class SearchResult:
    """What the search found for one utterance.

    With `all_layers` the states of every layer, (n_layers + 1, steps, d_model): first the tokens'
    embeddings with their positions, last what is here without.
    """

    hypotheses: list[Hypothesis]  # all that finished, the best first
    # (steps, d_model): decoder states of beam 0 as it entered the last step. The published code
    # returns these, although beam 0 need not be the best hypothesis.
    last_beam_states: Tensor
    # (tokens, d_model): decoder states that predicted the tokens of the best hypothesis and its end
    # of sentence.
    best_states: Tensor


class BeamSearch:
    """Joint CTC/attention beam search over the modules of one recogniser.

    The decoder of `transformer` is used; `seq_lin` and `ctc_lin` are the linear outputs of the
    attention head and of the CTC head. With `all_layers` results hold the states of every decoder
    layer. The last layer's are the same, and so is all else.
    """

    def __init__(
        self,
        transformer: TransformerASR,
        seq_lin: torch.nn.Module,
        ctc_lin: torch.nn.Module,
        settings: SearchSettings,
        all_layers: bool = False,
    ):
        self.transformer, self.seq_lin, self.ctc_lin = transformer, seq_lin, ctc_lin
        self.settings = settings
        self.all_layers = all_layers

    @torch.inference_mode()
    def __call__(self, encoded: Tensor, lengths: Tensor | None = None) -> list[SearchResult]:
        """Search the best transcription of each utterance.

        ValueError where no hypothesis has a finite score: the network gives none, or
        `min_decode_ratio` asks for more tokens than the frames can hold.

        Parameters
        ----------
        encoded : Tensor, (utterances, frames, d_model)
            The encoder's output.
        lengths : Tensor of int, (utterances,), optional
            Frames of each utterance; what follows is padding. None: all are whole.

        Returns
        -------
        list of SearchResult
            One per utterance; each as if it had been searched alone. There is at least one step.
        """
        if lengths is None:
            lengths = torch.full(encoded.shape[:1], encoded.shape[1])
        valid = torch.arange(encoded.shape[1]) < lengths.cpu()[:, None]
        batch = _Batch(self, encoded, valid.to(encoded.device))
        while None in batch.results:
            batch.step()
        return [result for result in batch.results if result is not None]


@dataclass(frozen=True)
class _Beams:
    """The hypotheses in the beams of the utterances still searched, one utterance per row."""

    utterances: tuple[int, ...]  # which utterance each row is
    last: Tensor  # (utterances, beams) int: the newest token, begin of sentence at first
    tokens: Tensor  # (utterances, beams, steps) int: all tokens
    # (utterances, beams, steps) int: the beam that each hypothesis was in at every step.
    history: Tensor
    # (utterances, beams) float64: the attention head's part of the score, -inf for a hypothesis
    # that has ended.
    attention: Tensor
    ctc: CtcPrefixes  # the CTC head's part
    # Each (utterances, beams, d_model): the decoder's states at every step; of all layers
    # (utterances, beams, n_layers + 1, d_model) if the search keeps them.
    states: tuple[Tensor, ...]

    @classmethod
    def empty(cls, ctc: CtcPrefixes, bos_index: int) -> "_Beams":
        """Return one hypothesis per utterance, the empty one."""
        last = torch.full_like(ctc.last, bos_index)
        none = last.new_empty(*last.shape, 0)
        start = torch.zeros_like(ctc.prefix)
        return cls(tuple(range(len(last))), last, none, none, start, ctc, ())

    def take(self, rows: Tensor) -> "_Beams":
        """Return the hypotheses of the utterances in these rows alone."""
        return replace(
            take(self, rows),
            utterances=tuple(self.utterances[row] for row in rows.tolist()),
            states=tuple(states[rows] for states in self.states),
        )


class _Batch:
    """The utterances of one search, from the empty hypotheses to the results."""

    def __init__(self, search: BeamSearch, encoded: Tensor, valid: Tensor):
        self.settings = settings = search.settings
        self.seq_lin = search.seq_lin
        self.all_layers = search.all_layers
        self.decoder = DecoderCache(search.transformer, encoded, valid, settings.beam_size)
        ctc_log_probs = search.ctc_lin(encoded).log_softmax(-1)
        ctc = CtcPrefixes.empty(ctc_log_probs, valid, settings.blank_index)
        # One hypothesis per utterance at first; then as many as the beam holds.
        self.beams = _Beams.empty(ctc, settings.bos_index)
        frames = valid.sum(-1).tolist()
        self.min_steps = [int(n * settings.min_decode_ratio) for n in frames]
        self.max_steps = [int(n * settings.max_decode_ratio) for n in frames]
        self.finished: list[list[tuple[float, list[int], list[int]]]] = [[] for _ in frames]
        self.results: list[SearchResult | None] = [None] * len(frames)

    def step(self) -> None:
        """Extend every hypothesis by a token, and set those aside that end."""
        before = self.beams
        n_utterances, n_beams = before.last.shape
        own_row = torch.arange(n_beams, device=before.last.device).expand(n_utterances, -1)
        history = torch.cat([before.history, own_row[..., None]], -1)
        layers = self.decoder.step(before.last, history)
        states = (*before.states, torch.stack(layers, -2) if self.all_layers else layers[-1])
        attention = self._extended_attention(layers[-1])
        beams, last, prefix = self._best_extensions(attention)

        utterances = torch.arange(n_utterances, device=beams.device)[:, None]
        chosen = attention[utterances, beams, last]
        scores = (chosen + self.settings.ctc_weight * prefix) / len(states)
        ends = (last == self.settings.eos_index) & scores.isfinite()
        self.beams = _Beams(
            utterances=before.utterances,
            last=last,
            tokens=torch.cat([before.tokens[utterances, beams], last[..., None]], -1),
            history=history[utterances, beams],
            attention=chosen.masked_fill(ends, -math.inf),
            ctc=before.ctc.extended(beams, last, prefix),
            states=states,
        )
        self._set_aside(ends, scores)
        self._conclude(history, scores)

    def _extended_attention(self, states: Tensor) -> Tensor:
        """Return the attention head's part of all scores: (utterances, beams, tokens)."""
        log_probs = self.seq_lin(states).log_softmax(-1).double()
        attention = self.beams.attention[..., None] + (1 - self.settings.ctc_weight) * log_probs
        attention[..., self.settings.blank_index] = -math.inf
        for row, utterance in enumerate(self.beams.utterances):
            if len(self.beams.states) < self.min_steps[utterance]:
                attention[row, :, self.settings.eos_index] = -math.inf
        return attention

    def _best_extensions(self, attention: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Find the extensions with the highest scores, as derived at the head of this file.

        Returns
        -------
        tuple of Tensor, each (utterances, beams)
            The extended hypothesis, the token, the log prefix probability; the best first.
        """
        ctc, eos = self.beams.ctc, self.settings.eos_index
        beam_size, ctc_weight = self.settings.beam_size, self.settings.ctc_weight
        bound = attention + ctc_weight * ctc.bound()
        bound[..., eos] = attention[..., eos] + ctc_weight * ctc.whole
        bound = bound.flatten(1)
        n_candidates = min(2 * beam_size, bound.shape[1])
        while True:
            candidates = bound.topk(n_candidates).indices
            prefix = self._prefix(candidates, attention.shape[-1])
            scores = attention.flatten(1).gather(1, candidates) + ctc_weight * prefix
            best = scores.topk(min(beam_size, n_candidates))
            tau = best.values[:, -1:] - ROUNDING
            n_needed = int((bound >= tau.clamp(min=LEAST)).sum(1).max())
            if n_needed <= n_candidates:
                break
            n_candidates = n_needed
        candidates, prefix = candidates.gather(1, best.indices), prefix.gather(1, best.indices)
        return candidates // attention.shape[-1], candidates % attention.shape[-1], prefix

    def _prefix(self, candidates: Tensor, n_tokens: int) -> Tensor:
        ctc = self.beams.ctc
        beams, tokens = candidates // n_tokens, candidates % n_tokens
        ends = tokens == self.settings.eos_index
        return torch.where(ends, ctc.whole.gather(1, beams), ctc.score(beams, tokens))

    def _set_aside(self, ends: Tensor, scores: Tensor) -> None:
        """Keep the hypotheses that ended, the best first, up to `beam_size` per utterance."""
        rows = ends.nonzero()[:, 0].tolist()
        found = zip(
            rows,
            scores[ends].tolist(),
            self.beams.tokens[ends].tolist(),
            self.beams.history[ends].tolist(),
            strict=True,
        )
        for row, score, tokens, history in found:
            finished = self.finished[self.beams.utterances[row]]
            if len(finished) < self.settings.beam_size:
                finished.append((score, tokens, history))

    def _conclude(self, history: Tensor, scores: Tensor) -> None:
        """Write the results of the utterances that are done, and drop them from the batch."""
        beams = self.beams
        alive = beams.attention.isfinite().any(1).tolist()
        rows = []
        for row, utterance in enumerate(beams.utterances):
            full = len(self.finished[utterance]) == self.settings.beam_size
            more_steps = len(beams.states) < self.max_steps[utterance]
            if not full and more_steps and alive[row]:
                rows.append(row)
                continue
            if not full:
                # Whatever is in the beam counts as finished, as in SpeechBrain.
                in_beam = torch.zeros_like(scores, dtype=torch.bool)
                in_beam[row] = scores[row].isfinite()
                self._set_aside(in_beam, scores)
            self.results[utterance] = self._result(row, history[row, 0].tolist())
        if 0 < len(rows) < len(beams.utterances):
            index = torch.tensor(rows, device=beams.last.device)
            self.beams = beams.take(index)
            self.decoder.keep(index)

    def _result(self, row: int, last_beam: list[int]) -> SearchResult:
        finished = sorted(self.finished[self.beams.utterances[row]], key=lambda found: -found[0])
        if not finished:
            raise ValueError("no hypothesis has a finite score")
        eos = self.settings.eos_index
        hypotheses = [
            Hypothesis(tuple(tokens[:-1] if tokens[-1] == eos else tokens), score)
            for score, tokens, _ in finished
        ]
        best = finished[0][2]
        return SearchResult(hypotheses, self._states_of(row, last_beam), self._states_of(row, best))

    def _states_of(self, row: int, history: list[int]) -> Tensor:
        """Return the states (..., steps, d_model) of a hypothesis by the beams that it was in."""
        states = self.beams.states
        return torch.stack([states[step][row, beam] for step, beam in enumerate(history)], -2)
