"""Recognising many signals at once, as many as there is memory for."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice, repeat

import torch
from torch import Tensor

from intelligibility.recognisers.recognition import Recognition
from intelligibility.runs import ASR_RATE, RecipeError

logger = logging.getLogger(__name__)

GPU_BATCH = 32  # signals

# Signal (n_samples,), what was said in it, and whether its words are to be recognised.
Utterance = tuple[Tensor, str | None, bool]
Batch = list[Utterance]


class BatchRecogniser(ABC):
    """A recogniser that takes several signals at once.

    Parameters
    ----------
    device : torch.device
        Where it computes.
    all_layers : bool
        Whether a recognition has every layer: encoder.0 to n, decoder.0 to n.
    """

    memory_remedy = "use device=cpu"
    has_words = True
    lengths: tuple[int, int]
    cpu_batch = 1  # signals: more at a time are no faster, and one gives the published numbers

    def __init__(self, device: torch.device, all_layers: bool = False):
        self.device, self.all_layers = device, all_layers
        self.batch_size = self.cpu_batch if device.type == "cpu" else GPU_BATCH

    def unfit(self, seconds: float, text: str) -> str:
        """Return why a signal of this length in which this was said is refused; "" if it is not."""
        shortest, longest = self.lengths
        if shortest <= round(seconds * ASR_RATE) <= longest:
            return ""
        return (
            f"{seconds:.2f} s of speech; the recogniser takes {shortest / ASR_RATE:.3g} to "
            f"{longest / ASR_RATE:g} s"
        )

    @abstractmethod
    def recognise_batch(self, batch: Batch) -> list[Recognition]:
        """Recognise several signals at once."""

    def frames_of(self, signal: Tensor) -> Mapping[str, Tensor]:
        """Return the layers of a signal that follow time, each (frames, dims), on the CPU."""
        (found,) = self.recognise([signal])
        return found.layers

    def transcribe(self, signals: Iterable[Tensor]) -> Iterator[str | None]:
        """Return the words of signals as `recognise` does, where nothing else is wanted."""
        return (found.text for found in self.recognise(signals))

    def recognise(
        self,
        signals: Iterable[Tensor],
        texts: Iterable[str | None] | None = None,
        words: Iterable[bool] | None = None,
    ) -> Iterator[Recognition]:
        """Recognise signals one after another, as many at a time as suit the device.

        Parameters
        ----------
        signals : iterable of Tensor, each (n_samples,), float32, 16 kHz
            Read only when they are needed.
        texts : iterable of str or None, optional
            What was said in each. None: what the recogniser understands.
        words : iterable of bool, optional
            Whether the words of each are to be recognised; None: of all.

        Yields
        ------
        Recognition
            In the same order, on the CPU.

        A batch that the GPU has no memory for is halved. RecipeError, which ends with the
        `memory_remedy`, where there is no memory for a single signal.
        """
        told = zip(signals, repeat(None) if texts is None else texts, strict=texts is not None)
        asked = zip(told, repeat(True) if words is None else words, strict=words is not None)
        utterances = ((signal, text, wanted) for (signal, text), wanted in asked)
        while batch := list(islice(utterances, self.batch_size)):
            yield from self._recognise_or_halve(batch)

    def _recognise_or_halve(self, batch: Batch) -> list[Recognition]:
        try:
            return self.recognise_batch(batch)
        except torch.OutOfMemoryError as error:
            reason = str(error).split("\n")[0][:200]
        # Here, since what the failed batch held is freed only when the exception is gone.
        longest = max(len(signal) for signal, *_ in batch) / ASR_RATE
        if len(batch) == 1:
            raise RecipeError(
                f"no memory for one signal of {longest:.1f} s ({reason}); {self.memory_remedy}"
            )
        logger.warning(
            "No memory for %d signals of up to %.1f s at once; trying half", len(batch), longest
        )
        torch.cuda.empty_cache()
        half = len(batch) // 2
        return self._recognise_or_halve(batch[:half]) + self._recognise_or_halve(batch[half:])
