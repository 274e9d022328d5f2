"""SpeechBrain's Transformer decoder one token at a time, with keys and values kept.

The encoder's output is projected to keys and values once per utterance; all beams attend to them.
"""

import torch
import torch.nn.functional as F
from speechbrain.lobes.models.transformer.Transformer import TransformerDecoderLayer
from speechbrain.lobes.models.transformer.TransformerASR import TransformerASR
from torch import Tensor


class DecoderCache:
    """The Transformer decoder, one token per beam and step, with what it has seen so far.

    A beam's past is not moved when beams are reordered. Each beam carries instead the row that it
    held at every earlier step (its `history`), and a step gathers its keys and values from there.

    Parameters
    ----------
    transformer : TransformerASR
        With sinusoidal positions and regular attention, as in the published recipe.
    encoded : Tensor, (utterances, frames, d_model)
        The encoder's output.
    valid : Tensor of bool, (utterances, frames)
        False in the padding.
    beam_size : int
        The most beams per utterance in any step.
    """

    def __init__(self, transformer: TransformerASR, encoded: Tensor, valid: Tensor, beam_size: int):
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

    def step(self, tokens: Tensor, history: Tensor) -> list[Tensor]:
        """Feed one token per beam.

        Parameters
        ----------
        tokens : Tensor of int, (utterances, beams)
            The newest token of every beam.
        history : Tensor of int, (utterances, beams, step + 1)
            The row that each beam held at every step, this one included.

        Returns
        -------
        list of Tensor, each (utterances, beams, d_model)
            The token's embedding with its position, then the decoder's states after every layer;
            the last with the decoder's norm, as the output takes them.
        """
        step = history.shape[-1] - 1
        decoder = self.transformer.decoder
        x = (
            self.transformer.custom_tgt_module(tokens)
            + self.transformer.positional_encoding.pe[0, step]
        )
        if step >= self.capacity:
            self._grow(x)
        steps = torch.arange(step + 1, device=x.device)[:, None, None]
        utterances = torch.arange(len(x), device=x.device)[:, None]
        rows = (steps * len(x) + utterances) * self.beam_size + history.permute(2, 0, 1)
        states = [x]
        for layer, past, encoded_kv in zip(decoder.layers, self.past, self.encoded_kv, strict=True):
            states.append(self._layer(layer, states[-1], past, rows, encoded_kv))
        return [*states[:-1], decoder.norm(states[-1])]

    def _layer(
        self,
        layer: TransformerDecoderLayer,
        x: Tensor,
        past: Tensor,
        rows: Tensor,
        encoded_kv: Tensor,
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
