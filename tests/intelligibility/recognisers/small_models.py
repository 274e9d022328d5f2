"""Recognisers small enough to make for a test, and SpeechBrain's search beside ours."""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from speechbrain.decoders import CTCScorer, S2STransformerBeamSearcher, ScorerBuilder
from speechbrain.lobes.models.transformer import TransformerASR as transformer_module
from speechbrain.nnet.linear import Linear
from torch import Tensor

from intelligibility.recognisers.beam_search import BeamSearch, SearchSettings

D_MODEL = 32
BLANK, BOS, EOS = 0, 1, 2


@dataclass
class Heads:
    """A Transformer with its two outputs."""

    transformer: torch.nn.Module
    seq_lin: torch.nn.Module
    ctc_lin: torch.nn.Module

    def search(self, settings: SearchSettings, all_layers: bool = False) -> BeamSearch:
        """Return our search over this model."""
        return BeamSearch(self.transformer, self.seq_lin, self.ctc_lin, settings, all_layers)


def random_model(
    seed: int, n_tokens: int = 40, sharpness: float = 4.0, normalize_before: bool = False
) -> Heads:
    """Return random weights in float64; `sharpness` is how far apart it holds the tokens."""
    torch.manual_seed(seed)
    sizes = {"nhead": 4, "num_encoder_layers": 1, "num_decoder_layers": 2, "d_ffn": 64}
    options = {"dropout": 0.0, "activation": torch.nn.GELU, "causal": False}
    options["normalize_before"] = normalize_before
    transformer = transformer_module.TransformerASR(n_tokens, 16, D_MODEL, **sizes, **options)
    heads = [Linear(input_size=D_MODEL, n_neurons=n_tokens) for _ in range(2)]
    with torch.no_grad():
        for head in heads:
            head.w.weight *= sharpness
        heads[1].w.bias[BLANK] += 2.0
    return Heads(*(module.double().eval() for module in (transformer, *heads)))


def encoded(seed: int, n_frames: int) -> Tensor:
    """Return a made-up encoder output (n_frames, D_MODEL)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n_frames, D_MODEL, generator=generator, dtype=torch.float64)


def fitted_model(n_tokens: int = 12, n_updates: int = 250) -> tuple[Heads, list[Tensor]]:
    """Fit a model to made-up utterances, three noisy frames per token, in a few seconds.

    Returns
    -------
    tuple of Heads and list of Tensor, each (frames, D_MODEL)
        The model in float64, and encoder outputs for utterances of several lengths that it has not
        seen: the model has no encoder of its own.
    """
    model = random_model(0, n_tokens, sharpness=1.0)
    modules = torch.nn.ModuleList([model.transformer, model.seq_lin, model.ctc_lin]).float().train()
    generator = torch.Generator().manual_seed(1)
    sounds = torch.randn(n_tokens, D_MODEL, generator=generator)
    optimiser = torch.optim.Adam(modules.parameters(), 2e-3)
    for _ in range(n_updates):
        n_words = int(torch.randint(1, 9, (), generator=generator))
        words = torch.randint(3, n_tokens, (16, n_words), generator=generator)
        loss = joint_loss(model, spoken(model, words, sounds, generator), words)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    modules.double().eval()
    lengths = (1, 3, 5, 8)
    heard = [torch.randint(3, n_tokens, (1, n), generator=generator) for n in lengths]
    return model, [spoken(model, words, sounds, generator)[0].double() for words in heard]


def spoken(model: Heads, words: Tensor, sounds: Tensor, generator: torch.Generator) -> Tensor:
    """Return three noisy frames per token, with their place: (utterances, frames, D_MODEL)."""
    frames = sounds[words].repeat_interleave(3, 1)
    frames[:, 2::3] = 0.0  # a pause, or repeated tokens would run together
    place = model.transformer.positional_encoding(frames).to(frames.dtype)
    return frames + place + 0.4 * torch.randn(frames.shape, generator=generator)


def joint_loss(model: Heads, encoded: Tensor, words: Tensor) -> Tensor:
    """Return the sum of the losses of both heads."""
    begin, end = torch.full_like(words[:, :1], BOS), torch.full_like(words[:, :1], EOS)
    states = decode_plainly(model, encoded, torch.cat([begin, words], 1))
    targets = torch.cat([words, end], 1)
    attention = torch.nn.functional.cross_entropy(model.seq_lin(states).transpose(1, 2), targets)
    log_probs = model.ctc_lin(encoded).log_softmax(-1).transpose(0, 1)
    frames = torch.full((len(encoded),), encoded.shape[1])
    tokens = torch.full((len(words),), words.shape[1])
    return attention + torch.nn.functional.ctc_loss(log_probs, words, frames, tokens, blank=BLANK)


def decode_plainly(model: Heads, encoded: Tensor, tokens: Tensor) -> Tensor:
    """Return the decoder's states (utterances, steps, d_model), all steps at once, no cache."""
    transformer, n_steps = model.transformer, tokens.shape[1]
    mask = torch.full((n_steps, n_steps), -torch.inf, dtype=encoded.dtype).triu(1)
    x = transformer.custom_tgt_module(tokens) + transformer.positional_encoding.pe[:, :n_steps]
    return transformer.decoder(x, encoded, tgt_mask=mask)[0]


@torch.inference_mode()
def layers_plainly(model: Heads, encoded: Tensor, tokens: Tensor) -> Tensor:
    """Return what goes into SpeechBrain's first decoder layer, and what comes out of each layer.

    All steps at once, by hooks: (n_layers + 1, utterances, steps, d_model). The last is normed.
    """
    decoder, states = model.transformer.decoder, []
    hooks = [
        decoder.layers[0].register_forward_pre_hook(lambda _, inputs: states.append(inputs[0])),
        *(
            layer.register_forward_hook(lambda _, __, output: states.append(output[0]))
            for layer in decoder.layers[:-1]
        ),
        decoder.norm.register_forward_hook(lambda _, __, output: states.append(output)),
    ]
    decode_plainly(model, encoded, tokens)
    for hook in hooks:
        hook.remove()
    return torch.stack(states)


def probability_of(log_probs: Tensor, wanted: Callable[[tuple[int, ...]], bool]) -> float:
    """Sum the probabilities of all CTC paths whose output is wanted, from (frames, tokens)."""
    n_frames, n_tokens = log_probs.shape
    total = 0.0
    for path in itertools.product(range(n_tokens), repeat=n_frames):
        output = tuple(token for token, _ in itertools.groupby(path) if token != BLANK)
        if wanted(output):
            total += math.exp(sum(log_probs[t, token].item() for t, token in enumerate(path)))
    return total


class SpeechBrainSearch(S2STransformerBeamSearcher):
    """SpeechBrain's search with full CTC scores, in float64, with the states of beam 0."""

    def __init__(self, model: Heads, settings: SearchSettings):
        ctc = CTCScorer(model.ctc_lin, settings.blank_index, settings.eos_index)
        ctc.softmax = torch.nn.LogSoftmax(-1)  # its own rounds to float32
        names = ("bos_index", "eos_index", "min_decode_ratio", "max_decode_ratio", "beam_size")
        options = {name: getattr(settings, name) for name in names} | {"topk": settings.beam_size}
        options |= {"using_eos_threshold": False, "length_normalization": True, "return_topk": True}
        scorer = ScorerBuilder(full_scorers=[ctc], weights={"ctc": settings.ctc_weight})
        super().__init__([model.transformer, model.seq_lin], scorer=scorer, **options)
        self.heads = model
        self.last_beam_tokens = torch.empty(0, dtype=torch.long)
        self.last_beam_states = torch.empty(0)

    def forward_step(self, inp_tokens, memory, enc_states, enc_lens):
        """Decode all tokens so far anew, as SpeechBrain does, and note beam 0."""
        tokens = inp_tokens[:, None]
        memory = tokens if memory is None else torch.cat([memory, tokens], 1)
        states = decode_plainly(self.heads, enc_states, memory)
        self.last_beam_tokens, self.last_beam_states = memory[0], states[0]
        return self.softmax(self.fc(states))[:, -1], memory, None

    @torch.no_grad()
    def search(self, encoded: Tensor) -> tuple[list[tuple[int, ...]], Tensor]:
        """Search one utterance (frames, d_model): all hypotheses, the best first, with scores."""
        previous = torch.get_default_dtype()
        torch.set_default_dtype(torch.float64)  # the type of its scores
        try:
            found, _, scores, _ = self(encoded[None], torch.ones(1))
        finally:
            torch.set_default_dtype(previous)
        return [until_end(row.tolist()) for row in found[0]], scores[0]


def until_end(tokens: list[int]) -> tuple[int, ...]:
    """Cut at the end of sentence, as the published code does."""
    return tuple(tokens[: tokens.index(EOS)] if EOS in tokens else tokens)
