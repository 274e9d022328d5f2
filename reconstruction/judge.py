"""The listener that counts words: a recogniser, and how many of its words are right."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from intelligibility.runs import RecipeError
from reconstruction.mel import at_level
from reconstruction.utterances import read_speech

MOST_WER = 50.0  # % on the clean originals, above which a judge says nothing about a layer


@dataclass(frozen=True)
class Judge:
    """A recogniser that hears every wav at one level.

    Attributes
    ----------
    recogniser : Recogniser
        Anything with `recognise(signals)` that yields recognitions with a `text`.
    level : float
        dB re full scale: that of the clean speech which it was trained on.
    """

    recogniser: Any
    level: float

    def transcribe(self, wavs: Sequence[Path]) -> list[str]:
        """Return the words of wav files."""
        return [self.hear(read_speech(wav)) for wav in wavs]

    def hear(self, speech: Tensor) -> str:
        """Return the words of one signal (n_samples,)."""
        found = next(iter(self.recogniser.recognise([at_level(speech, self.level)])))
        if found.text is None:
            raise RecipeError("judge: this recogniser has no words; name another one with judge=")
        return found.text


def check_judge(errors: Iterable[tuple[int, int]], name: str) -> None:
    """Refuse a judge that does not understand the clean originals."""
    wrong, words = map(sum, zip(*errors, strict=True))
    wer = 100 * wrong / words
    if wer > MOST_WER:
        raise RecipeError(
            f"judge={name}: a word error rate of {wer:.0f} % on the clean originals, expected "
            f"{MOST_WER:.0f} % or less, or the table would mean nothing; train it longer, or name "
            "the folder of another recogniser with judge="
        )
