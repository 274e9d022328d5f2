"""What every recogniser gives."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Recognition:
    """What a recogniser makes of one signal.

    Attributes
    ----------
    layers : mapping of str to Tensor, each (frames, dims)
        Its layers by name, on the CPU.
    text : str or None
        The words that it understood; None when it has no words.
    log_prob : float or None
        The mean log-probability that it gives to the tokens of a text; None when it has none.
    """

    layers: Mapping[str, Tensor]
    text: str | None
    log_prob: float | None = None
