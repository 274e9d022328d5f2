"""What a recogniser makes of a signal, and the face that every recogniser has."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True)
class Recognition:
    """What a recogniser makes of one signal.

    Attributes
    ----------
    layers : mapping of str to Tensor, each (frames, dims)
        Hidden representations by name, on the CPU. `cnn`, `encoder` and `decoder` are those that
        the paper compares; a recogniser may lack one. Others: `encoder.0` is what enters the first
        block, `encoder.n` what leaves the n-th; `decoder.0` to n likewise.
    text : str or None
        The words that were recognised; None from a recogniser that has no words.
    log_prob : float or None
        The mean log-probability (natural) that it gives to the tokens of the text that was said;
        None from one that gives none.
    along_text : bool
        Whether the decoder's steps are those of the text that was said, the same in every signal,
        and not those of the words that were recognised.
    """

    layers: Mapping[str, Tensor]
    text: str | None
    log_prob: float | None = None
    along_text: bool = False


class Recogniser(Protocol):
    """What infer.py asks of a recogniser.

    Attributes
    ----------
    lengths : tuple of int
        Samples at 16 kHz of the shortest and the longest signal that it takes.
    word_correctness : callable
        Scores the words that it recognised, given the sentence that was said: 0..1.
    """

    lengths: tuple[int, int]
    word_correctness: Callable[[str, str], float]

    def recognise(
        self, signals: Iterable[Tensor], texts: Iterable[str | None] | None = None
    ) -> Iterator[Recognition]:
        """Recognise signals, each (n_samples,), float32, 16 kHz; one recognition each, in order.

        `texts` is what was said in each, for those who ask how likely it is.

        Examples
        --------
        >>> from intelligibility.recognisers.speechbrain import SpeechBrainRecogniser
        >>> recogniser = SpeechBrainRecogniser.load(hparams, folder, device)    # doctest: +SKIP
        >>> (found,) = recogniser.recognise([torch.from_numpy(ear_signal)])    # doctest: +SKIP
        >>> found.text, found.layers["encoder"].shape                          # doctest: +SKIP
        ('THE BOAT IS LATE', torch.Size([42, 512]))
        """
        ...
