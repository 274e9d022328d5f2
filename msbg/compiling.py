"""Loops as machine code, kept on the disk where there is a place for it."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba import njit


def compiled(**options: Any) -> Callable[[Callable], Callable]:
    """Compile a function with `numba.njit(**options)`, and keep the result between runs.

    Where neither the folder of the function nor a cache below the home directory can be written,
    numba would stop: here each process then compiles it again. Numba would also stop at a cache
    file that a crash left empty or incomplete: such a file is removed.
    """

    def decorate(function: Callable) -> Callable:
        try:
            kept = njit(cache=True, **options)(function)
            _remove_damaged(Path(kept.stats.cache_path), function.__name__)
            return kept
        except RuntimeError:  # numba: no locator available
            return njit(**options)(function)

    return decorate


def _remove_damaged(folder: Path, name: str) -> None:
    """Remove what numba could not read of a function's cache: its index, and the code itself."""
    for file in folder.glob(f"*.{name}-*.nb[ic]"):
        try:
            with file.open("rb") as stream:
                pickle.load(stream)
                while stream.peek(1):
                    pickle.load(stream)
        except Exception:  # whatever a torn pickle raises
            file.unlink(missing_ok=True)
