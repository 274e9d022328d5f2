"""Many signals at once, as many as there is memory for."""

import logging
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

import torch

from intelligibility.runs import RecipeError

logger = logging.getLogger(__name__)


def in_batches(
    recognise: Callable[[list[Any]], list[Any]], utterances: Iterable[Any], size: int
) -> Iterator[Any]:
    """Recognise utterances, `size` at a time, in their order.

    They are read only when they are needed. A batch that the GPU has no memory for is halved.

    Raises
    ------
    RecipeError
        There is no memory for a single one.
    """
    utterances = iter(utterances)
    while batch := list(islice(utterances, size)):
        yield from _halving(recognise, batch)


def _halving(recognise: Callable[[list[Any]], list[Any]], batch: list[Any]) -> list[Any]:
    try:
        return recognise(batch)
    except torch.OutOfMemoryError as error:
        reason = str(error).split("\n")[0][:200]
    # Here, since what the failed batch held is freed only when the exception is gone.
    if len(batch) == 1:
        raise RecipeError(f"No memory for one signal ({reason}); use device=cpu")
    logger.warning("No memory for %d signals at once; trying half", len(batch))
    torch.cuda.empty_cache()
    half = len(batch) // 2
    return _halving(recognise, batch[:half]) + _halving(recognise, batch[half:])
