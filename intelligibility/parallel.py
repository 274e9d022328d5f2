"""Calls spread over processes of one thread each."""

import functools
import gc
import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Any

from joblib import Parallel, delayed, effective_n_jobs, parallel_config
from joblib.externals.loky import get_reusable_executor
from joblib.externals.loky.process_executor import TerminatedWorkerError
from threadpoolctl import threadpool_limits

from intelligibility.runs import RecipeError

logger = logging.getLogger(__name__)


def in_processes(function: Callable, calls: Iterable[tuple], n_jobs: int) -> Iterator[Any]:
    """Call a function with each tuple of arguments, in `n_jobs` processes; 1 is this process.

    A process computes in one thread: more of them wait for each other longer than they work. Where
    the system has no semaphores, which other processes need, all is done in this one.

    RecipeError when a process is killed.

    Yields
    ------
    Any
        What the calls return, as they end: not in their order.
    """
    if n_jobs != 1 and not _has_semaphores():
        logger.warning("No semaphores here (is /dev/shm writable?): work goes on in one process")
        n_jobs = 1
    if n_jobs == 1:
        with threadpool_limits(1):
            for arguments in calls:
                yield _call(function, arguments, os.getpid())
        return
    with parallel_config("loky", inner_max_num_threads=1), threadpool_limits(1):
        with deaf_children():
            results = Parallel(n_jobs=n_jobs, return_as="generator_unordered")(
                delayed(_call)(function, arguments, os.getpid()) for arguments in calls
            )
        try:
            yield from results
        except TerminatedWorkerError:
            raise RecipeError(
                "One of the processes was killed, most likely for want of memory: what is done is "
                "kept; run again with a smaller n_jobs"
            ) from None
        except (KeyboardInterrupt, SystemExit):
            get_reusable_executor().shutdown(wait=False, kill_workers=True)
            raise


def _has_semaphores() -> bool:
    try:
        multiprocessing.Semaphore()
    except (OSError, ImportError):
        return False
    return effective_n_jobs(2) == 2  # 1 where joblib found none, or was told so


@contextmanager
def deaf_children() -> Iterator[None]:
    """Start processes that hear no Ctrl-C, not even while they import: their caller ends them."""
    resource_tracker.ensure_running()  # as it starts, it lets the blocked signals through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _call(function: Callable, arguments: tuple, caller: int) -> Any:
    _settle(caller)
    return function(*arguments)


@functools.cache
def _settle(caller: int) -> None:
    """Make a process ready for its calls.

    The imported libraries are spared loky's garbage collection: a tenth of a second, every second.
    A worker ends when the caller was killed.
    """
    gc.freeze()
    if os.getpid() != caller:
        threading.Thread(target=_end_with, args=(caller,), daemon=True).start()


def _end_with(caller: int) -> None:
    while os.getppid() == caller:
        time.sleep(1)
    os._exit(1)
