"""Calls spread over processes of one thread each."""

import functools
import gc
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from joblib import Parallel, delayed, parallel_config
from joblib.externals.loky.process_executor import TerminatedWorkerError
from threadpoolctl import threadpool_limits

from intelligibility.runs import RecipeError


def in_processes(function: Callable, calls: Iterable[tuple], n_jobs: int) -> Iterator[Any]:
    """Call a function with each tuple of arguments, in `n_jobs` processes; 1 is this process.

    A process computes in one thread: more of them wait for each other longer than they work.

    Yields
    ------
    Any
        What the calls return, as they end: not in their order.

    Raises
    ------
    RecipeError
        When a process is killed.
    """
    with parallel_config("loky", inner_max_num_threads=1), threadpool_limits(1):
        results = Parallel(n_jobs=n_jobs, return_as="generator_unordered")(
            delayed(_call)(function, arguments) for arguments in calls
        )
        try:
            yield from results
        except TerminatedWorkerError:
            raise RecipeError(
                "One of the processes was killed, most likely for want of memory: what is done is "
                "kept; run again with a smaller n_jobs"
            ) from None


def _call(function: Callable, arguments: tuple) -> Any:
    _settle()
    return function(*arguments)


@functools.cache
def _settle() -> None:
    """Spare the imported libraries loky's garbage collection: a tenth of a second, every second."""
    gc.freeze()
