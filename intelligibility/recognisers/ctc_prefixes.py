"""Probabilities that a CTC output begins with given tokens, without a loop over frames.

For a hypothesis g, after t = 0 .. T frames, let the probability that exactly g has been emitted be
r^n_t where the last frame was its last token and r^b_t where it was a blank: gamma^n and gamma^b in
Watanabe et al. (2017), Algorithm 2. Their recursions over frames are first-order linear,

    r_t+1 = (r_t + u_t) p_t   =>   r_t = P_t sum_{s<t} u_s / P_s,   P_t = prod_{s<t} p_s,

which is a cumulative sum. P_t falls to e^-1000 and below, and the sum rises as far above 1. What is
left is their small difference in the log domain, hence float64.

What an extension scores at most costs no sum over frames. Let f_t = r^n_t + r^b_t, and p_t(c) be
the probability of token c in frame t. Then for any token c

    p_ctc(gc ...) <= sum_t f_t p_t(c) <= (sum_t f_t) (max_t p_t(c)),

with equality on the left unless c repeats the last token of g, when a blank has to come first.
Also p_ctc(gc ...) <= p_ctc(g ...), since what begins with gc begins with g.
"""

import math
from dataclasses import dataclass, is_dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

SCORED_AT_ONCE = 8192  # candidates per utterance, so that memory does not depend on their number


@dataclass(frozen=True)
class CtcOutput:
    """What the CTC head says of some utterances."""

    # (utterances, tokens, frames): log probabilities, 0 in the padding. A token's frames lie side
    # by side.
    log_probs: Tensor
    valid: Tensor  # (utterances, 1, frames) bool: False in the padding
    lengths: Tensor  # (utterances,) int: frames of each utterance
    # (utterances, tokens) float64: each token's log probability in the frame where it is highest.
    peak: Tensor
    # (utterances, 1, frames + 1) float64: log probability of nothing but blanks, after 0 .. T
    # frames.
    blank_sum: Tensor

    @classmethod
    def of(cls, log_probs: Tensor, valid: Tensor, blank_index: int) -> "CtcOutput":
        """Take log probabilities (utterances, frames, tokens), `valid` (utterances, frames)."""
        log_probs = log_probs.masked_fill(~valid[..., None], 0.0)
        return cls(
            log_probs=log_probs.transpose(1, 2).contiguous(),
            valid=valid[:, None, :],
            lengths=valid.sum(-1),
            peak=log_probs.masked_fill(~valid[..., None], -math.inf).amax(1).double(),
            blank_sum=_leading_zero(log_probs[..., blank_index].double().cumsum(-1))[:, None, :],
        )


@dataclass(frozen=True)
class CtcPrefixes:
    """The hypotheses in the beam with their probabilities, in float64."""

    output: CtcOutput  # of the utterances that they are hypotheses for
    last: Tensor  # (utterances, beams) int: last token of each hypothesis; -1 of the empty one
    # (utterances, beams): log probability that the output begins with the hypothesis.
    prefix: Tensor
    whole: Tensor  # (utterances, beams): log probability that the output is the hypothesis
    # (utterances, beams, frames): log probability that the hypothesis has been emitted before each
    # frame, so that an extension can be entered there; `enter_repeat` if that has to be after a
    # blank.
    enter: Tensor
    enter_repeat: Tensor
    enter_sum: Tensor  # (utterances, beams): the sum of `enter` over frames, as a log

    @classmethod
    def empty(cls, log_probs: Tensor, valid: Tensor, blank_index: int) -> "CtcPrefixes":
        """Return the empty hypothesis, one per utterance.

        Parameters
        ----------
        log_probs : Tensor, (utterances, frames, tokens)
            Log probabilities of the CTC head.
        valid : Tensor of bool, (utterances, frames)
            False in the padding.
        blank_index : int
            The blank.
        """
        output = CtcOutput.of(log_probs, valid, blank_index)
        blank = output.blank_sum
        last = torch.full_like(blank[..., 0], -1, dtype=torch.long)
        prefix = torch.zeros_like(blank[..., 0])
        return cls._after(output, last, prefix, torch.full_like(blank, -math.inf), blank)

    @classmethod
    def _after(
        cls, output: CtcOutput, last: Tensor, prefix: Tensor, token: Tensor, blank: Tensor
    ) -> "CtcPrefixes":
        """Derive what scoring an extension needs from log r^n, `token`, and log r^b, `blank`."""
        either = torch.logaddexp(token, blank)
        # An extension is entered after 0 .. length - 1 frames; after a blank if it repeats a token.
        enter = either[..., :-1].masked_fill(~output.valid, -math.inf)
        end = output.lengths[:, None, None].expand(-1, either.shape[1], 1)
        return cls(
            output=output,
            last=last,
            prefix=prefix,
            whole=either.gather(-1, end).squeeze(-1),
            enter=enter,
            enter_repeat=blank[..., :-1].masked_fill(~output.valid, -math.inf),
            enter_sum=enter.logsumexp(-1),
        )

    def bound(self) -> Tensor:
        """Return upper bounds of log prefix probabilities: (utterances, beams, tokens)."""
        return torch.minimum(
            self.enter_sum[..., None] + self.output.peak[:, None, :], self.prefix[..., None]
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

    def extended(self, beams: Tensor, tokens: Tensor, prefix: Tensor) -> "CtcPrefixes":
        """Return extensions of the hypotheses in their place.

        Parameters
        ----------
        beams, tokens : Tensor of int, (utterances, beams)
            Which hypothesis each extension extends, and by what.
        prefix : Tensor of float64, (utterances, beams)
            Their log prefix probabilities.
        """
        entered, emitted = self._extension(beams, tokens)
        token = _linear_recursion(entered, _leading_zero(emitted.cumsum(-1)))
        blank = _linear_recursion(token[..., :-1], self.output.blank_sum)
        return self._after(self.output, tokens, prefix, token, blank)

    def _extension(self, beams: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Return per frame how extensions are entered and their token's log probability."""
        utterances = torch.arange(len(beams), device=beams.device)[:, None]
        repeats = self.last[utterances, beams] == tokens
        entered = self.enter[utterances, beams]
        if bool(repeats.any()):
            entered = torch.where(repeats[..., None], self.enter_repeat[utterances, beams], entered)
        return entered, self.output.log_probs[utterances, tokens].double()


def take(record: Any, rows: Tensor) -> Any:
    """Return a record with these rows alone of its tensors, and of those in its records."""

    def taken(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value[rows]
        return take(value, rows) if is_dataclass(value) else value

    return replace(record, **{name: taken(value) for name, value in vars(record).items()})


def _leading_zero(x: Tensor) -> Tensor:
    return F.pad(x, (1, 0))


def _linear_recursion(entered: Tensor, log_product: Tensor) -> Tensor:
    """Solve r_t+1 = (r_t + u_t) p_t, r_0 = 0, in the log domain, along the last axis.

    `entered` is log u_t for T frames, `log_product` log P_t at T + 1 times; so is the result.
    """
    accumulated = (entered - log_product[..., :-1]).logcumsumexp(-1)
    return F.pad(accumulated + log_product[..., 1:], (1, 0), value=-math.inf)
