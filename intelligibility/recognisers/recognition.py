"""What a recogniser makes of a signal, and the interface that every recogniser has."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True)
class Recognition:
    """What a recogniser makes of one signal.

    Attributes
    ----------
    layers : mapping of str to Tensor, each (frames, dims)
        Hidden representations by name, on the CPU. `cnn` is the output of the front end; `encoder`
        and `decoder` are the outputs of those two, after their last normalisation. These are what
        the paper compares; a recogniser may lack one. When every layer is asked for, `encoder.0` is
        what enters the encoder's first block and `encoder.n` what leaves the n-th; of the last
        block, it is the encoder's output again. Only the large wav2vec 2.0 models normalise after
        that, as transformers counts their layers. `decoder.0` to n likewise.
    text : str or None
        The words that were recognised; None from a recogniser that has no words, or whose words
        take a search that was not asked for.
    log_prob : float or None
        The mean log-probability (natural) that it gives to the tokens of the text that was said;
        None from one that gives none.
    clocks : mapping of str to str
        What the steps of a layer follow, by the layer's name: "words", the tokens that were
        recognised; "text", the tokens of the text that was said, the same in every signal; "time",
        as in all layers that are not named.
    ended : bool
        Whether the words ended before there were more than can be said in the signal's time. Those
        that do not are a loop: the recogniser repeats itself.
    """

    layers: Mapping[str, Tensor]
    text: str | None
    log_prob: float | None = None
    clocks: Mapping[str, str] = field(default_factory=dict)
    ended: bool = True


def named_layers(part: str, layers: Sequence[Tensor], every: bool) -> dict[str, Tensor]:
    """Name the layers of the encoder or the decoder: the last by the part's name, or all of them.

    >>> list(named_layers("encoder", ["first", "last"], every=True))
    ['encoder', 'encoder.0', 'encoder.1']
    """
    numbered = {f"{part}.{n}": layer for n, layer in enumerate(layers)}
    return {part: layers[-1]} | (numbered if every else {})


class Recogniser(Protocol):
    """What infer.py asks of a recogniser. Its files determine its numbers: see StoredRecogniser."""

    @property
    def lengths(self) -> tuple[int, int]:
        """Samples at 16 kHz of the shortest and the longest signal that it takes."""

    @property
    def marked_words(self) -> Callable[[str, str], list[tuple[str, bool]]]:
        """Compare what it recognised with the sentence: its words, True where one was lost."""

    def recognise(
        self,
        signals: Iterable[Tensor],
        texts: Iterable[str | None] | None = None,
        words: Iterable[bool] | None = None,
    ) -> Iterator[Recognition]:
        """Recognise signals, each (n_samples,), float32, 16 kHz; one recognition each, in order.

        `texts` is what was said in each, for those who ask how likely it is. Where `words` is False
        the words are not needed: a recogniser that would search for them alone can leave them out.

        Examples
        --------
        >>> from intelligibility.recognisers.speechbrain import SpeechBrainRecogniser
        >>> recogniser = SpeechBrainRecogniser.load(hparams, folder, device)    # doctest: +SKIP
        >>> (found,) = recogniser.recognise([torch.from_numpy(ear_signal)])    # doctest: +SKIP
        >>> found.text, found.layers["encoder"].shape                          # doctest: +SKIP
        ('THE BOAT IS LATE', torch.Size([42, 512]))
        """
