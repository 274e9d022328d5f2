"""Whisper and similar models: encoder and decoder as `transformers` computes them.

The encoder sees a window that silence fills: the one that it was trained with, 30 s for the
published models, or one of the signal's own length. What follows the signal in it is cut off here:
layers are reduced to the signal's own frames, of 20 ms each. The decoder is run twice: once by
itself, for the words, and once along a given text, for states and log-probabilities that can be
compared step by step.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import gelu
from transformers import (
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperTokenizer,
)

from intelligibility.recognisers.batches import Batch, BatchRecogniser
from intelligibility.recognisers.recognition import Recognition, named_layers
from intelligibility.recognisers.word_scoring import marked_scored_words
from intelligibility.runs import ASR_RATE, RecipeError

SHORTEST = 400 + 4 * 160  # samples that the first frame is made of: five spectra of 25 ms each
SAMPLES_PER_FRAME = 320  # of the encoder: the hop of 160, and a convolution that takes every second
DEC_MODES = ("teacher", "generated")
START, ENGLISH = "<|startoftranscript|>", "<|en|>"
TRANSCRIBE, PLAIN = "<|transcribe|>", "<|notimestamps|>"
GPT2_END = 50256  # <|endoftext|> of the English-only models, whose vocabulary is GPT-2's
WINDOWS = ("trained", "signal")
# More than can be said in a signal's time: fast speech has six words per second, of 1.3 tokens.
TOKENS_PER_SECOND, MORE_TOKENS = 10, 10
REPEATING = 12  # tokens at the end that say the same twice or more: a loop, out of which none comes


@dataclass(frozen=True)
class WhisperOptions:
    """How a Whisper is used; RecipeError for a value that is not one of these.

    Attributes
    ----------
    dec_mode : str
        "teacher": decoder states along the text. "generated": along the recogniser's own words.
    window : str
        What the encoder sees. "trained": the window that it was trained with. "signal": the signal
        and at least a second of silence, up to a whole second.
    """

    dec_mode: str = "teacher"
    window: str = "trained"

    def __post_init__(self) -> None:
        """Refuse values that have no meaning."""
        for name, expected in (("dec_mode", DEC_MODES), ("window", WINDOWS)):
            if (value := getattr(self, name)) not in expected:
                raise RecipeError(f"{name}={value}: expected {' or '.join(expected)}")


AS_TRAINED = WhisperOptions()


class WhisperRecogniser(BatchRecogniser):
    """An encoder-decoder recogniser.

    Parameters
    ----------
    model : WhisperForConditionalGeneration
        The network.
    extractor : WhisperFeatureExtractor
        Makes its log mel spectra.
    tokenizer : WhisperTokenizer
        Writes text as tokens, and back.
    options : WhisperOptions
        How it is used.
    device, all_layers
        As of every BatchRecogniser.
    """

    cpu_batch = 2  # both ears: a step of the search takes hardly longer for two than for one

    def __init__(
        self,
        model: WhisperForConditionalGeneration,
        extractor: WhisperFeatureExtractor,
        tokenizer: WhisperTokenizer,
        device: torch.device,
        options: WhisperOptions = AS_TRAINED,
        all_layers: bool = False,
    ):
        super().__init__(device, all_layers)
        self.model = model.eval()
        self.model.to(device)
        self.extractor, self.tokenizer, self.options = extractor, tokenizer, options
        window = model.config.max_source_positions * SAMPLES_PER_FRAME
        if extractor.n_samples != window:
            raise RecipeError(
                f"preprocessor_config.json: a window of {extractor.n_samples} samples, but the "
                f"encoder takes {window}; set chunk_length to {window / ASR_RATE:g}"
            )
        self.lengths = (SHORTEST, window)
        self.prefix = prefix_of(tokenizer)
        always, at_first = barred_tokens(model, tokenizer, self.prefix[-1])
        numbers = torch.arange(model.config.vocab_size)
        self.barred, self.barred_at_first = (
            torch.isin(numbers, torch.tensor(barred)).to(device)
            for barred in (always, always + at_first)
        )
        # British and American spelling, where the model brings the list of them.
        spelling = getattr(tokenizer, "english_spelling_normalizer", None)
        self.marked_words = partial(marked_scored_words, spelling=spelling)

    @torch.inference_mode()
    def recognise_batch(self, batch: Batch) -> list[Recognition]:
        """Recognise several signals at once, those that share a length of the window."""
        windows = [self.window_of(signal) for signal, *_ in batch]
        found: dict[int, Recognition] = {}
        for window in sorted(set(windows)):
            rows = [row for row, one in enumerate(windows) if one == window]
            found |= zip(rows, self._recognise_in(window, [batch[n] for n in rows]), strict=True)
        return [found[row] for row in range(len(batch))]

    def window_of(self, signal: Tensor) -> int:
        """Return how many samples the encoder sees of a signal and the silence behind it."""
        if self.options.window == "trained":
            return self.lengths[1]
        return min(self.lengths[1], ASR_RATE * (1 - (-len(signal) // ASR_RATE)))

    def _recognise_in(self, window: int, batch: Batch) -> list[Recognition]:
        signals, texts, wanted = zip(*batch, strict=True)
        n_frames = [-(-len(signal) // SAMPLES_PER_FRAME) for signal in signals]
        front, encoded = self.encode(signals, window)
        generated = self.options.dec_mode == "generated"
        # Words are searched for where they are asked for, or followed by the decoder.
        rows = [n for n, text in enumerate(texts) if generated or text is None or wanted[n]]
        most = [self.most_tokens(signals[row]) for row in rows]
        found = zip(*self.generate(encoded[-1][rows], most), strict=True)
        own = dict(zip(rows, found, strict=True))
        given = [
            own[row][0] if text is None else self.tokens_of(text) for row, text in enumerate(texts)
        ]
        states, log_probs = self.decode(given, encoded[-1])
        if generated:
            states, _ = self.decode([own[row][0] for row in rows], encoded[-1])
        recognitions = []
        for row, frames in enumerate(n_frames):
            blocks = [layer[row, :frames].cpu() for layer in encoded]
            encoder = named_layers("encoder", blocks, self.all_layers)
            steps = [layer.cpu() for layer in states[row]]
            decoder = named_layers("decoder", steps, self.all_layers)
            layers = {"cnn": front[row, :frames].cpu()} | encoder | decoder
            clocks = dict.fromkeys(decoder, "words" if generated else "text")
            tokens, ended = own.get(row, (None, True))
            words = None if tokens is None else self.words_of(tokens)
            recognitions.append(Recognition(layers, words, log_probs[row], clocks, ended))
        return recognitions

    @torch.inference_mode()
    def frames_of(self, signal: Tensor) -> dict[str, Tensor]:
        """Return front end and encoder, without running the decoder."""
        front, encoded = self.encode([signal], self.window_of(signal))
        own = slice(-(-len(signal) // SAMPLES_PER_FRAME))
        blocks = [layer[0, own].cpu() for layer in encoded]
        return {"cnn": front[0, own].cpu()} | named_layers("encoder", blocks, self.all_layers)

    @torch.inference_mode()
    def transcribe(self, signals: Iterable[Tensor]) -> Iterator[str | None]:
        """Return the words of signals, without running the decoder along a text."""
        for signal in signals:
            _, encoded = self.encode([signal], self.window_of(signal))
            (tokens,), _ = self.generate(encoded[-1], [self.most_tokens(signal)])
            yield self.words_of(tokens)

    def words_of(self, tokens: list[int]) -> str:
        """Return what recognised tokens say."""
        return self.tokenizer.decode(tokens, skip_special_tokens=True).strip()

    def encode(self, signals: Iterable[Tensor], window: int) -> tuple[Tensor, list[Tensor]]:
        """Run the encoder over a window of so many samples.

        `WhisperEncoder.forward` takes no other window than that of the training.

        Returns
        -------
        front : Tensor, (n_signals, frames, d_model)
            Output of the convolutions.
        encoded : list of Tensor, each (n_signals, frames, d_model)
            What enters the first block, and what leaves each; of the last one, normalised.
        """
        features = self.extractor(
            [signal.numpy() for signal in signals],
            sampling_rate=ASR_RATE,
            max_length=window,
            return_tensors="pt",
        ).input_features.to(self.device)
        encoder = self.model.get_encoder()
        front = gelu(encoder.conv2(gelu(encoder.conv1(features)))).transpose(1, 2)
        encoded = [front + encoder.embed_positions.weight[: front.shape[1]]]
        for block in encoder.layers:
            encoded.append(block(encoded[-1], None))
        encoded[-1] = encoder.layer_norm(encoded[-1])
        return front, encoded

    def most_tokens(self, signal: Tensor) -> int:
        """Return how many tokens are more than can be said in a signal's time."""
        most = MORE_TOKENS + TOKENS_PER_SECOND * len(signal) // ASR_RATE
        return min(most, self.model.config.max_target_positions - len(self.prefix))

    def generate(self, encoded: Tensor, most: list[int]) -> tuple[list[list[int]], list[bool]]:
        """Recognise tokens, the likeliest at each step, at most so many per signal.

        Returns
        -------
        tokens : list of list of int
            Without what a loop repeats.
        ended : list of bool
            False where the search had to be stopped, in a loop or at the most.
        """
        said: list[list[int]] = [[] for _ in most]
        ended = [False] * len(most)
        searched, cache = set(range(len(most))), None
        tokens = torch.tensor([self.prefix] * len(most), device=self.device)
        barred = self.barred_at_first
        while searched:
            step = self.model.get_decoder()(
                tokens, encoder_hidden_states=encoded, past_key_values=cache, use_cache=True
            )
            # The product of proj_out, in the order that a CPU computes several times faster.
            scores = (self.model.proj_out.weight @ step.last_hidden_state[:, -1].T).T
            tokens = scores.masked_fill(barred, -torch.inf).argmax(-1, keepdim=True)
            cache, barred = step.past_key_values, self.barred
            heard = tokens[:, 0].tolist()
            for row in sorted(searched):
                ended[row] = heard[row] == self.tokenizer.eos_token_id
                if not ended[row]:
                    said[row].append(heard[row])
                again = repeated(said[row])
                if ended[row] or again or len(said[row]) == most[row]:
                    searched.remove(row)
                    said[row] = said[row][: len(said[row]) - again]
        return said, ended

    def decode(
        self, texts: list[list[int]], encoded: Tensor
    ) -> tuple[list[list[Tensor]], list[float | None]]:
        """Run the decoder along given tokens.

        Returns
        -------
        states : list, per text, of list of Tensor, each (n_tokens + 1, d_model)
            What enters the first block, and what leaves each, at the steps that say the tokens and
            the end of the text.
        log_probs : list of float or None
            The mean log-probability of each text's tokens; None without tokens.
        """
        first = len(self.prefix) - 1  # the step that says the first token
        rows = [torch.tensor([*self.prefix, *text]) for text in texts]
        # Steps look back only: what stands after a text does not change it.
        end = self.tokenizer.eos_token_id
        tokens = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=end)
        layers = self.model.get_decoder()(
            tokens.to(self.device), encoder_hidden_states=encoded, output_hidden_states=True
        ).hidden_states
        states, log_probs = [], []
        for row, text in enumerate(texts):
            last = first + len(text)
            states.append([layer[row, first : last + 1] for layer in layers])
            scores = self.model.proj_out(layers[-1][row, first:last]).log_softmax(-1)
            said = scores[range(len(text)), text]
            log_probs.append(said.mean().item() if text else None)
        return states, log_probs

    def tokens_of(self, text: str) -> list[int]:
        """Write a text as the recogniser would: with a space in front, and not all in capitals."""
        written = text.capitalize() if text.isupper() else text.strip()
        tokens = self.tokenizer(" " + written, add_special_tokens=False).input_ids
        room = self.model.config.max_target_positions - len(self.prefix)
        if not (written and len(tokens) <= room):
            raise RecipeError(
                f"{text!r:.60} is {len(tokens)} tokens; the recogniser takes 1 to {room} of a text"
            )
        return tokens

    def unfit(self, seconds: float, text: str) -> str:
        """Return why a signal, or the prompt that its decoder is led along, is refused."""
        try:
            if text:
                self.tokens_of(text)
        except RecipeError as error:
            return str(error)
        return super().unfit(seconds, text)


def repeated(tokens: list[int]) -> int:
    """Return how many tokens at the end say again what was said before them, in a loop.

    >>> repeated([7, 1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3]), repeated([1, 2, 3, 1, 2, 3])
    (9, 0)
    """
    for period in range(1, len(tokens) // 2 + 1):
        length = max(2 * period, REPEATING)
        if len(tokens) >= length and tokens[-length:-period] == tokens[period - length :]:
            return length - period
    return 0


def prefix_of(tokenizer: WhisperTokenizer) -> list[int]:
    """Return the tokens before every text: English without timestamps, as the vocabulary has it.

    They come from no other file, for many a generation_config.json lacks some of them.
    """
    vocabulary = tokenizer.get_vocab()
    multilingual = ENGLISH in vocabulary and tokenizer.eos_token_id != GPT2_END
    signs = [START, ENGLISH, TRANSCRIBE, PLAIN] if multilingual else [START, PLAIN]
    if lacking := [sign for sign in signs if sign not in vocabulary]:
        raise RecipeError(f"the tokenizer lacks {', '.join(lacking)}; is it a Whisper's?")
    return [vocabulary[sign] for sign in signs]


def barred_tokens(
    model: WhisperForConditionalGeneration, tokenizer: WhisperTokenizer, plain: int
) -> tuple[list[int], list[int]]:
    """Return the tokens that are never recognised, and those that no text begins with.

    The former are those of generation_config.json or, without a list there, the signs that are no
    text; the latter are a space and the end.
    """
    given: Any = model.generation_config
    stated = getattr(given, "no_timestamps_token_id", None)
    if stated not in (None, plain):
        raise RecipeError(
            f"generation_config.json: no_timestamps_token_id is {stated}, but the tokenizer's "
            f"{PLAIN} is {plain}; they are of two models"
        )
    end = tokenizer.eos_token_id
    signs = sorted(set(tokenizer.get_added_vocab().values()) - {end})
    empty = tokenizer(" ", add_special_tokens=False).input_ids
    return given.suppress_tokens or signs, [*empty, end]
