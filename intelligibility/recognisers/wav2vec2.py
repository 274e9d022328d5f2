"""wav2vec 2.0, HuBERT and WavLM: encoders of the waveform, with a CTC head or without.

Without a head there are no words, and no log-probability of a text. None of them has a decoder.
"""

import functools
import logging
from collections.abc import Iterable
from itertools import pairwise
from typing import Any
from unicodedata import combining, normalize

import torch
from torch import Tensor
from transformers import PreTrainedModel, Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor

from intelligibility.recognisers.batches import Batch, BatchRecogniser
from intelligibility.recognisers.hooks import layers_of
from intelligibility.recognisers.recognition import Recognition
from intelligibility.recognisers.word_scoring import marked_scored_words
from intelligibility.runs import ASR_RATE, SPEECH_SECONDS, RecipeError
from intelligibility.words import words_of

logger = logging.getLogger(__name__)

NAMES = ("ZERO", "ONE", "TWO", "THREE", "FOUR", "FIVE", "SIX", "SEVEN", "EIGHT", "NINE")
DIGITS = {str(digit): name for digit, name in enumerate(NAMES)}
LONGEST = SPEECH_SECONDS[1] * ASR_RATE  # samples; the encoder itself has no limit but memory


class Wav2Vec2Recogniser(BatchRecogniser):
    """An encoder of the waveform, with a CTC head or without.

    Parameters
    ----------
    model : PreTrainedModel
        The network: wav2vec 2.0, HuBERT or WavLM, as a CTC recogniser or by itself.
    extractor : Wav2Vec2FeatureExtractor
        Brings signals to its level.
    tokenizer : Wav2Vec2CTCTokenizer or None
        Its letters; None without a head.
    device, all_layers
        As of every BatchRecogniser.
    """

    marked_words = staticmethod(marked_scored_words)

    def __init__(
        self,
        model: PreTrainedModel,
        extractor: Wav2Vec2FeatureExtractor,
        tokenizer: Wav2Vec2CTCTokenizer | None,
        device: torch.device,
        all_layers: bool = False,
    ):
        super().__init__(device, all_layers)
        self.model = model.eval()
        self.model.to(device)
        self.extractor, self.tokenizer = extractor, tokenizer
        self.has_words = tokenizer is not None
        self.base: Any = model.base_model  # its parts have no types
        if getattr(model.config, "add_adapter", False):
            raise RecipeError("add_adapter: an encoder with an adapter behind it is not served")
        self.lengths = (receptive_field(model), LONGEST)

    @torch.inference_mode()
    def recognise_batch(self, batch: Batch) -> list[Recognition]:
        """Recognise several signals at once."""
        signals, texts, _ = zip(*batch, strict=True)
        front, blocks, encoded = self.encode(signals)
        recognitions = []
        for row, (convolved, text) in enumerate(zip(front, texts, strict=True)):
            own = slice(len(convolved))
            layers = {"cnn": convolved.cpu(), "encoder": encoded[row, own].cpu()}
            if self.all_layers:
                layers |= {f"encoder.{n}": block[row, own].cpu() for n, block in enumerate(blocks)}
            words = log_prob = None
            if self.has_words:
                words, log_prob = self.read(encoded[row, own], text)
            recognitions.append(Recognition(layers, words, log_prob))
        return recognitions

    def encode(self, signals: Iterable[Tensor]) -> tuple[list[Tensor], list[Tensor], Tensor]:
        """Run the convolutions and the encoder.

        Returns
        -------
        front : list of Tensor, each (frames, channels)
            Output of the convolutions.
        blocks : list of Tensor, each (n_signals, frames, d_model)
            What enters the first block, and what leaves each, padded to the longest signal.
        encoded : Tensor, (n_signals, frames, d_model)
            What leaves the encoder: in the large models, what leaves its last block, normalised.
        """
        # One at a time: some of these models normalise over all that the convolutions are given.
        front = [self._convolve(signal) for signal in signals]
        padded = torch.nn.utils.rnn.pad_sequence(front, batch_first=True)
        lengths = torch.tensor([len(frames) for frames in front], device=self.device)
        own = torch.arange(padded.shape[1], device=self.device) < lengths[:, None]
        projected = self.base.feature_projection(padded)
        if isinstance(projected, tuple):  # HuBERT returns nothing else
            projected = projected[0]
        encoder = self.base.encoder
        with layers_of(encoder.layers) as blocks:
            encoded = encoder(projected, attention_mask=None if own.all() else own)
        return front, blocks, encoded.last_hidden_state

    def _convolve(self, signal: Tensor) -> Tensor:
        values = self.extractor(signal.numpy(), sampling_rate=ASR_RATE, return_tensors="pt")
        values = values.input_values.to(self.device)
        return self.base.feature_extractor(values)[0].T

    def read(self, encoded: Tensor, text: str | None) -> tuple[str, float | None]:
        """Return the words of one signal, and the mean log-probability of the text's tokens.

        Parameters
        ----------
        encoded : Tensor, (frames, d_model)
            Its last layer.
        text : str or None
            What was said; None: the words themselves.
        """
        assert self.tokenizer is not None  # there is a head
        log_probs = self.model.lm_head(encoded).log_softmax(-1)
        words = self.tokenizer.decode(log_probs.argmax(-1).tolist())
        tokens = self.tokens_of(words if text is None else text)
        if not tokens and text is None:
            return words, None
        blank = self.model.config.pad_token_id
        loss = torch.nn.functional.ctc_loss(
            log_probs,
            torch.tensor(tokens),
            torch.tensor([len(log_probs)]),
            torch.tensor([len(tokens)]),
            blank,
            "sum",
        )
        if not (tokens and loss.isfinite()):
            raise RecipeError(
                f"{text!r} is {len(tokens)} tokens in the recogniser's letters, for "
                f"{len(encoded)} frames of speech; is it what was said?"
            )
        return words, -loss.item() / len(tokens)

    def tokens_of(self, text: str) -> list[int]:
        """Write a text in the recogniser's letters, in capitals or not as it knows them.

        Where it has no digits or accents, digits that stand alone are words and accents left out.
        What it cannot write even so is left out with a warning.
        """
        assert self.tokenizer is not None
        words = " ".join(words_of(text))
        plain = "".join(c for c in normalize("NFKD", words) if not combining(c))
        spoken = " ".join(DIGITS.get(word, word) for word in plain.split())
        unknown = self.tokenizer.unk_token_id
        forms = (words, words.lower(), plain, plain.lower(), spoken, spoken.lower())
        ways = [self.tokenizer(form).input_ids for form in forms]
        tokens = min(ways, key=lambda way: way.count(unknown))
        if unknown in tokens:
            warn_of_letters(text)
        return [token for token in tokens if token != unknown]

    def unfit(self, seconds: float, text: str) -> str:
        """Return why a signal, or the prompt whose probability is wanted, is refused."""
        refused = super().unfit(seconds, text)
        if refused or not text or self.tokenizer is None:
            return refused
        tokens = self.tokens_of(text)
        if not tokens:
            return f"none of {text!r:.60} is in the recogniser's letters; spell it out"
        samples = round(seconds * ASR_RATE) - self.lengths[0]
        frames = 1 + samples // self.model.config.inputs_to_logits_ratio
        # A frame for each letter, and a blank between two that are the same.
        if (least := len(tokens) + sum(a == b for a, b in pairwise(tokens))) > frames:
            return (
                f"{text!r:.60} takes {least} frames or more, but {seconds:.2f} s of speech are "
                f"{frames}; is it what was said?"
            )
        return ""


@functools.cache
def warn_of_letters(text: str) -> None:
    """Warn, once per text in a process, that not all of it counts in `prob`."""
    logger.warning("%r: not all of it is in the recogniser's letters; spell it out", text)


def receptive_field(model: PreTrainedModel) -> int:
    """Return the samples that one frame of the convolutions needs."""
    length = 1
    convolutions = list(zip(model.config.conv_kernel, model.config.conv_stride, strict=True))
    for kernel, stride in reversed(convolutions):
        length = (length - 1) * stride + kernel
    return length
