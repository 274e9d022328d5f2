"""What a recogniser makes of a signal, and the face that every recogniser has."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor


@dataclass(frozen=True)
class Recognition:
    """What a recogniser makes of one signal.

    Attributes
    ----------
    layers : mapping of str to Tensor, each (frames, dims)
        Hidden representations by name, on the CPU. `cnn`, `encoder` and `decoder` are those that
        the paper compares.
    text : str
        The words that were recognised.
    """

    layers: Mapping[str, Tensor]
    text: str


class Recogniser(Protocol):
    """What infer.py asks of a recogniser.

    Attributes
    ----------
    lengths : tuple of int
        Samples at 16 kHz of the shortest and the longest signal that it takes.
    made_by : mapping
        All that decides its numbers, as plain values: a change of any makes results outdated.
    """

    lengths: tuple[int, int]
    made_by: Mapping[str, Any]

    def recognise(self, signals: Iterable[Tensor]) -> Iterator[Recognition]:
        """Recognise signals, each (n_samples,), float32, 16 kHz; one recognition each, in order."""
        ...
