"""Loops as machine code, kept on the disk where there is a place for it."""

from collections.abc import Callable
from typing import Any

from numba import njit


def compiled(**options: Any) -> Callable[[Callable], Callable]:
    """Compile a function with `numba.njit(**options)`, and keep the result between runs.

    Where neither the folder of the function nor a cache below the home can be written, every
    process compiles anew, in which case numba alone would stop.
    """

    def decorate(function: Callable) -> Callable:
        try:
            return njit(cache=True, **options)(function)
        except RuntimeError:  # numba: no locator available
            return njit(**options)(function)

    return decorate
