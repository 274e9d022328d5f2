"""Joint CTC/attention beam search that also returns the decoder's states.

A hypothesis h = (y_1 .. y_n) is scored by both heads of the recogniser (Watanabe et al., 2017,
"Hybrid CTC/attention architecture for end-to-end speech recognition", Algorithms 1 and 2):

    score(h) = (1 - w) log p_att(h) + w log p_ctc(h ...)

where p_ctc(h ...) is the probability that the CTC output begins with h, or equals h once h has
ended. Finished hypotheses are compared by their score per token.

The result is that of SpeechBrain's S2STransformerBeamSearcher with a full CTCScorer, for less work:

- The decoder takes one token per step and keeps keys and values of the earlier ones
  (`DecoderCache`).
- Keys and values of the encoder's output are computed once per utterance; all beams attend to them.
- CTC scores need no loop over frames (`CtcPrefixes`), and only candidates that can reach the beam
  get one.

The last point rests on an upper bound. Let f_t be the probability that exactly g has been emitted
after t frames, and p_t(c) that of token c in frame t. Then for any token c

    p_ctc(gc ...) <= sum_t f_t p_t(c) <= (sum_t f_t) (max_t p_t(c)),

with equality on the left unless c repeats the last token of g, when a blank has to come first.
Also p_ctc(gc ...) <= p_ctc(g ...), since what begins with gc begins with g. The lesser of the two
bounds costs no sum over frames. (The end of sentence needs none: its probability f_T is at hand.)
As the score grows with p_ctc, it bounds the score. Now let tau be the beam-th best exact score
among any of the candidates. Among all candidates the beam-th best is at least tau. So a candidate
whose bound is less than tau is not among the best, and its exact score cannot change the result.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

ROUNDING = 1e-9  # by which a bound computed in float64 may fall under the score that it bounds
SCORED_AT_ONCE = 8192  # candidates per utterance, so that memory does not depend on their number
LEAST = torch.finfo(torch.float64).min  # the lowest score that a hypothesis can have; -inf: none


@dataclass(frozen=True)
class SearchSettings:
    """What decides the result of a search.

    Attributes
    ----------
    beam_size : int
        Hypotheses kept per step, and finished hypotheses after which the search stops.
    ctc_weight : float
        Weight w of the CTC head, above 0 and below 1.
    min_decode_ratio, max_decode_ratio : float
        Bounds on the number of steps, as a share of the encoder's frames.
    bos_index, eos_index, blank_index : int
        Tokens: begin of sentence, end of sentence, CTC blank.
    """

    beam_size: int = 66
    ctc_weight: float = 0.4
    min_decode_ratio: float = 0.0
    max_decode_ratio: float = 1.0
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

    Attributes
    ----------
    hypotheses : list of Hypothesis
        All that finished, the best first.
    last_beam_states : Tensor, (steps, d_model)
        Decoder states of beam 0 as it entered the last step. The published code returns these,
        although beam 0 need not be the best hypothesis.
    best_states : Tensor, (tokens, d_model)
        Decoder states that predicted the tokens of the best hypothesis and its end of sentence.
    """

    hypotheses: list[Hypothesis]
    last_beam_states: Tensor
    best_states: Tensor


class DecoderCache:
    """The Transformer decoder, one token per beam and step, with what it has seen so far.

    A beam's past is not moved when beams are reordered. Each beam carries instead the row that it
    held at every earlier step (its `history`), and a step gathers its keys and values from there.

    Parameters
    ----------
    transformer : speechbrain TransformerASR
        With sinusoidal positions and regular attention, as in the published recipe.
    encoded : Tensor, (utterances, frames, d_model)
        The encoder's output.
    valid : Tensor of bool, (utterances, frames)
        False in the padding.
    beam_size : int
        The most beams per utterance in any step.
    """

    def __init__(
        self, transformer: torch.nn.Module, encoded: Tensor, valid: Tensor, beam_size: int
    ):
        if transformer.attention_type != "regularMHA":
            raise ValueError(f"attention_type {transformer.attention_type}: expected regularMHA")
        self.transformer = transformer
        self.mask = None if bool(valid.all()) else valid[:, None, None, :]
        self.encoded_kv = [
            _heads(project_kv(layer.multihead_attn.att, encoded), 2 * layer.nhead)
            for layer in transformer.decoder.layers
        ]
        self.beam_size = beam_size
        self.past: list[Tensor] = []  # per layer (capacity, utterances, beam_size, 2 d_model)
        self.capacity = 0

    def step(self, tokens: Tensor, history: Tensor) -> Tensor:
        """Feed one token per beam.

        Parameters
        ----------
        tokens : Tensor of int, (utterances, beams)
            The newest token of every beam.
        history : Tensor of int, (utterances, beams, step + 1)
            The row that each beam held at every step, this one included.

        Returns
        -------
        Tensor, (utterances, beams, d_model)
            The decoder's states.
        """
        step = history.shape[-1] - 1
        x = (
            self.transformer.custom_tgt_module(tokens)
            + self.transformer.positional_encoding.pe[0, step]
        )
        if step >= self.capacity:
            self._grow(x)
        steps = torch.arange(step + 1, device=x.device)[:, None, None]
        utterances = torch.arange(len(x), device=x.device)[:, None]
        rows = (steps * len(x) + utterances) * self.beam_size + history.permute(2, 0, 1)
        for layer, past, encoded_kv in zip(
            self.transformer.decoder.layers, self.past, self.encoded_kv, strict=True
        ):
            x = self._layer(layer, x, past, rows, encoded_kv)
        return self.transformer.decoder.norm(x)

    def _layer(
        self, layer: torch.nn.Module, x: Tensor, past: Tensor, rows: Tensor, encoded_kv: Tensor
    ) -> Tensor:
        before = layer.normalize_before
        y = layer.norm1(x) if before else x
        x = x + self._attend_to_past(layer.self_attn.att, y, past, rows)
        x = x if before else layer.norm1(x)
        y = layer.norm2(x) if before else x
        x = x + self._attend_to_encoded(layer.multihead_attn.att, y, encoded_kv)
        x = x if before else layer.norm2(x)
        y = layer.norm3(x) if before else x
        x = x + layer.pos_ffn.ffn(y)
        return x if before else layer.norm3(x)

    def _attend_to_past(
        self, att: torch.nn.MultiheadAttention, x: Tensor, past: Tensor, rows: Tensor
    ) -> Tensor:
        n_steps, n_beams, d_model = len(rows), x.shape[1], x.shape[2]
        query, kv = F.linear(x, att.in_proj_weight, att.in_proj_bias).split(
            (d_model, 2 * d_model), -1
        )
        past[n_steps - 1, :, :n_beams] = kv
        kv = past.view(-1, 2 * d_model).index_select(0, rows.flatten())
        kv = kv.view(n_steps, -1, 2 * att.num_heads, att.head_dim).permute(1, 2, 0, 3)
        key, value = kv.chunk(2, 1)
        query = query.reshape(-1, att.num_heads, 1, att.head_dim)
        out = F.scaled_dot_product_attention(query, key, value)
        return att.out_proj(out.reshape(x.shape))

    def _attend_to_encoded(
        self, att: torch.nn.MultiheadAttention, x: Tensor, encoded_kv: Tensor
    ) -> Tensor:
        d_model = x.shape[-1]
        query = F.linear(x, att.in_proj_weight[:d_model], att.in_proj_bias[:d_model])
        key, value = encoded_kv.chunk(2, 1)
        out = F.scaled_dot_product_attention(_heads(query, att.num_heads), key, value, self.mask)
        return att.out_proj(out.transpose(1, 2).reshape(x.shape))

    def _grow(self, x: Tensor) -> None:
        self.capacity = max(16, 2 * self.capacity)
        shape = (self.capacity, len(x), self.beam_size, 2 * x.shape[2])
        old = self.past or [x.new_empty(0, *shape[1:])] * len(self.transformer.decoder.layers)
        self.past = [x.new_empty(shape) for _ in old]
        for new, filled in zip(self.past, old, strict=True):
            new[: len(filled)] = filled

    def keep(self, utterances: Tensor) -> None:
        """Drop all utterances but these."""
        self.past = [past[:, utterances] for past in self.past]
        self.encoded_kv = [kv[utterances] for kv in self.encoded_kv]
        self.mask = None if self.mask is None else self.mask[utterances]


def project_kv(att: torch.nn.MultiheadAttention, x: Tensor) -> Tensor:
    """Project (..., d_model) to keys and values, (..., 2 d_model)."""
    return F.linear(x, att.in_proj_weight[att.embed_dim :], att.in_proj_bias[att.embed_dim :])


def _heads(x: Tensor, n_heads: int) -> Tensor:
    """Split (batch, length, n_heads * dim) into (batch, n_heads, length, dim)."""
    return x.unflatten(-1, (n_heads, -1)).transpose(1, 2)


class CtcPrefixes:
    """CTC prefix probabilities of the hypotheses in the beam, in float64.

    For each hypothesis g, after t = 0 .. T frames: the log probability that exactly g has been
    emitted and the last frame was its last token (`token`) or a blank (`blank`); gamma^n and
    gamma^b in Watanabe et al. (2017). Their recursions over frames are first-order linear,

        r_t+1 = (r_t + u_t) p_t   =>   r_t = P_t sum_{s<t} u_s / P_s,   P_t = prod_{s<t} p_s,

    which is a cumulative sum: no loop over frames. P_t falls to e^-1000 and below, and the sum
    rises as far above 1. What is left is their small difference in the log domain, hence float64.

    Parameters
    ----------
    log_probs : Tensor, (utterances, frames, tokens)
        Log probabilities of the CTC head.
    valid : Tensor of bool, (utterances, frames)
        False in the padding.
    blank_index : int
        The blank.
    """

    def __init__(self, log_probs: Tensor, valid: Tensor, blank_index: int):
        self.lengths = valid.sum(-1)
        self.valid = valid[:, None, :]
        log_probs = log_probs.masked_fill(~valid[..., None], 0.0)
        # One row per token, so that a candidate's frames lie side by side.
        self.log_probs = log_probs.transpose(1, 2).contiguous()
        self.peak = log_probs.masked_fill(~valid[..., None], -math.inf).amax(1).double()
        self.blank_sum = _leading_zero(log_probs[..., blank_index].double().cumsum(-1))[:, None, :]
        self.blank = self.blank_sum  # one hypothesis per utterance at first, the empty one
        self.token = torch.full_like(self.blank, -math.inf)
        self.last = torch.full_like(self.blank[..., 0], -1, dtype=torch.long)
        self.prefix = torch.zeros_like(self.blank[..., 0])
        self._summarise()

    def _summarise(self) -> None:
        """From `token` and `blank` derive what scoring an extension needs."""
        either = torch.logaddexp(self.token, self.blank)
        # An extension is entered after 0 .. length - 1 frames; after a blank if it repeats a token.
        self.enter = either[..., :-1].masked_fill(~self.valid, -math.inf)
        self.enter_repeat = self.blank[..., :-1].masked_fill(~self.valid, -math.inf)
        self.enter_sum = self.enter.logsumexp(-1)
        end = self.lengths[:, None, None].expand(-1, either.shape[1], 1)
        self.whole = either.gather(-1, end).squeeze(-1)

    def bound(self) -> Tensor:
        """Return upper bounds of log prefix probabilities: (utterances, beams, tokens)."""
        return torch.minimum(
            self.enter_sum[..., None] + self.peak[:, None, :], self.prefix[..., None]
        )

    def score(self, beams: Tensor, tokens: Tensor) -> Tensor:
        """Return log prefix probabilities of hypotheses `beams`, each extended by one of `tokens`.

        Parameters
        ----------
        beams, tokens : Tensor of int, (utterances, candidates)
            Neither blank nor end of sentence.

        Returns
        -------
        Tensor of float64, (utterances, candidates)
        """
        parts = []
        for part in zip(
            beams.split(SCORED_AT_ONCE, 1), tokens.split(SCORED_AT_ONCE, 1), strict=True
        ):
            entered, emitted = self._extension(*part)
            parts.append((entered + emitted).logsumexp(-1))
        return torch.cat(parts, 1)

    def _extension(self, beams: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Return per frame how extensions are entered and their token's log probability."""
        utterances = torch.arange(len(beams), device=beams.device)[:, None]
        repeats = self.last[utterances, beams] == tokens
        entered = self.enter[utterances, beams]
        if bool(repeats.any()):
            entered = torch.where(repeats[..., None], self.enter_repeat[utterances, beams], entered)
        return entered, self.log_probs[utterances, tokens].double()

    def advance(self, beams: Tensor, tokens: Tensor, prefix: Tensor) -> None:
        """Replace the hypotheses by extensions of theirs.

        Parameters
        ----------
        beams, tokens : Tensor of int, (utterances, beams)
            Which hypothesis each extension extends, and by what.
        prefix : Tensor of float64, (utterances, beams)
            Their log prefix probabilities.
        """
        entered, emitted = self._extension(beams, tokens)
        token_sum = _leading_zero(emitted.cumsum(-1))
        self.token = _linear_recursion(entered, token_sum)
        self.blank = _linear_recursion(self.token[..., :-1], self.blank_sum)
        self.last, self.prefix = tokens, prefix
        self._summarise()

    def keep(self, utterances: Tensor) -> None:
        """Drop all utterances but these."""
        for name, value in vars(self).items():
            setattr(self, name, value[utterances])


def _leading_zero(x: Tensor) -> Tensor:
    return F.pad(x, (1, 0))


def _linear_recursion(entered: Tensor, log_product: Tensor) -> Tensor:
    """Solve r_t+1 = (r_t + u_t) p_t, r_0 = 0, in the log domain, along the last axis.

    `entered` is log u_t for T frames, `log_product` log P_t at T + 1 times; so is the result.
    """
    accumulated = (entered - log_product[..., :-1]).logcumsumexp(-1)
    return F.pad(accumulated + log_product[..., 1:], (1, 0), value=-math.inf)


class BeamSearch:
    """Joint CTC/attention beam search over the modules of one recogniser.

    Parameters
    ----------
    transformer : speechbrain TransformerASR
        Its decoder is used.
    seq_lin, ctc_lin : torch.nn.Module
        Linear outputs of the attention head and of the CTC head.
    settings : SearchSettings
        What decides the result.
    """

    def __init__(
        self,
        transformer: torch.nn.Module,
        seq_lin: torch.nn.Module,
        ctc_lin: torch.nn.Module,
        settings: SearchSettings,
    ):
        self.transformer, self.seq_lin, self.ctc_lin = transformer, seq_lin, ctc_lin
        self.settings = settings

    @torch.inference_mode()
    def __call__(self, encoded: Tensor, lengths: Tensor | None = None) -> list[SearchResult]:
        """Search the best transcription of each utterance.

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

        Raises
        ------
        ValueError
            No hypothesis has a finite score: the network gives none, or `min_decode_ratio` asks for
            more tokens than the frames can hold.
        """
        if lengths is None:
            lengths = torch.full(encoded.shape[:1], encoded.shape[1])
        valid = torch.arange(encoded.shape[1]) < lengths.cpu()[:, None]
        batch = _Batch(self, encoded, valid.to(encoded.device))
        while batch.utterances:
            batch.step()
        return batch.results


class _Batch:
    """The utterances of one search, from the empty hypotheses to the results."""

    def __init__(self, search: BeamSearch, encoded: Tensor, valid: Tensor):
        self.settings = settings = search.settings
        self.seq_lin = search.seq_lin
        self.decoder = DecoderCache(search.transformer, encoded, valid, settings.beam_size)
        ctc_log_probs = search.ctc_lin(encoded).log_softmax(-1)
        self.ctc = CtcPrefixes(ctc_log_probs, valid, settings.blank_index)
        frames = valid.sum(-1).tolist()
        self.min_steps = [int(n * settings.min_decode_ratio) for n in frames]
        self.max_steps = [int(n * settings.max_decode_ratio) for n in frames]
        self.utterances = list(range(len(frames)))  # which are still searched, row by row
        # One hypothesis per utterance at first, the empty one; then as many as the beam holds.
        self.last = torch.full((len(frames), 1), settings.bos_index, device=encoded.device)
        self.prefixes = self.last.new_empty(len(frames), 1, 0)
        self.history = self.last.new_empty(len(frames), 1, 0)
        # The attention head's part of the score, -inf for a hypothesis that has ended.
        self.attention = encoded.new_zeros(len(frames), 1, dtype=torch.float64)
        self.states: list[Tensor] = []  # per step (utterances, beams, d_model)
        self.finished: list[list[tuple[float, list[int], list[int]]]] = [[] for _ in frames]
        self.results: list[SearchResult] = [None] * len(frames)

    def step(self) -> None:
        """Extend every hypothesis by a token, and set those aside that end."""
        n_utterances, n_beams = self.last.shape
        own_row = torch.arange(n_beams, device=self.last.device).expand(n_utterances, -1)
        history = torch.cat([self.history, own_row[..., None]], -1)
        self.states.append(self.decoder.step(self.last, history))
        attention = self._extended_attention()
        beams, tokens, prefix = self._best_extensions(attention)

        utterances = torch.arange(n_utterances, device=beams.device)[:, None]
        self.attention = attention[utterances, beams, tokens]
        scores = (self.attention + self.settings.ctc_weight * prefix) / len(self.states)
        self.history = history[utterances, beams]
        self.prefixes = torch.cat([self.prefixes[utterances, beams], tokens[..., None]], -1)
        self.last = tokens
        self.ctc.advance(beams, tokens, prefix)

        ends = (tokens == self.settings.eos_index) & scores.isfinite()
        self._set_aside(ends, scores)
        self.attention.masked_fill_(ends, -math.inf)
        self._conclude(history, scores)

    def _extended_attention(self) -> Tensor:
        """Return the attention head's part of all scores: (utterances, beams, tokens)."""
        log_probs = self.seq_lin(self.states[-1]).log_softmax(-1).double()
        attention = self.attention[..., None] + (1 - self.settings.ctc_weight) * log_probs
        attention[..., self.settings.blank_index] = -math.inf
        for row, utterance in enumerate(self.utterances):
            if len(self.states) <= self.min_steps[utterance]:
                attention[row, :, self.settings.eos_index] = -math.inf
        return attention

    def _best_extensions(self, attention: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Find the extensions with the highest scores, as derived at the head of this file.

        Returns
        -------
        tuple of Tensor, each (utterances, beams)
            The extended hypothesis, the token, the log prefix probability; the best first.
        """
        beam_size, eos = self.settings.beam_size, self.settings.eos_index
        bound = attention + self.settings.ctc_weight * self.ctc.bound()
        bound[..., eos] = attention[..., eos] + self.settings.ctc_weight * self.ctc.whole
        bound = bound.flatten(1)
        n_candidates = min(2 * beam_size, bound.shape[1])
        while True:
            candidates = bound.topk(n_candidates).indices
            prefix = self._prefix(candidates, attention.shape[-1])
            scores = attention.flatten(1).gather(1, candidates) + self.settings.ctc_weight * prefix
            best = scores.topk(min(beam_size, n_candidates))
            tau = best.values[:, -1:] - ROUNDING
            n_needed = int((bound >= tau.clamp(min=LEAST)).sum(1).max())
            if n_needed <= n_candidates:
                break
            n_candidates = n_needed
        candidates, prefix = candidates.gather(1, best.indices), prefix.gather(1, best.indices)
        return candidates // attention.shape[-1], candidates % attention.shape[-1], prefix

    def _prefix(self, candidates: Tensor, n_tokens: int) -> Tensor:
        beams, tokens = candidates // n_tokens, candidates % n_tokens
        ends = tokens == self.settings.eos_index
        return torch.where(ends, self.ctc.whole.gather(1, beams), self.ctc.score(beams, tokens))

    def _set_aside(self, ends: Tensor, scores: Tensor) -> None:
        """Keep the hypotheses that ended, the best first, up to `beam_size` per utterance."""
        rows = ends.nonzero()[:, 0].tolist()
        found = zip(
            rows,
            scores[ends].tolist(),
            self.prefixes[ends].tolist(),
            self.history[ends].tolist(),
            strict=True,
        )
        for row, score, tokens, history in found:
            finished = self.finished[self.utterances[row]]
            if len(finished) < self.settings.beam_size:
                finished.append((score, tokens, history))

    def _conclude(self, history: Tensor, scores: Tensor) -> None:
        """Write the results of the utterances that are done, and drop them from the batch."""
        alive = self.attention.isfinite().any(1).tolist()
        rows = []
        for row, utterance in enumerate(self.utterances):
            full = len(self.finished[utterance]) == self.settings.beam_size
            more_steps = len(self.states) < self.max_steps[utterance]
            if not full and more_steps and alive[row]:
                rows.append(row)
                continue
            if not full:
                # Whatever is in the beam counts as finished, as in SpeechBrain.
                in_beam = torch.zeros_like(scores, dtype=torch.bool)
                in_beam[row] = scores[row].isfinite()
                self._set_aside(in_beam, scores)
            self.results[utterance] = self._result(row, history[row, 0].tolist())
        if len(rows) < len(self.utterances):
            self._keep(rows)

    def _result(self, row: int, last_beam: list[int]) -> SearchResult:
        finished = sorted(self.finished[self.utterances[row]], key=lambda found: -found[0])
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
        """Return the states (steps, d_model) of a beam by the rows that it held."""
        return torch.stack([self.states[step][row, beam] for step, beam in enumerate(history)])

    def _keep(self, rows: list[int]) -> None:
        """Drop the utterances in all other rows."""
        self.utterances = [self.utterances[row] for row in rows]
        if not rows:
            return
        index = torch.tensor(rows, device=self.last.device)
        self.decoder.keep(index)
        self.ctc.keep(index)
        for name in ("last", "prefixes", "history", "attention"):
            setattr(self, name, getattr(self, name)[index])
        self.states = [states[index] for states in self.states]
