"""Tests for calls spread over processes."""

import gc
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info

from intelligibility.parallel import in_processes
from intelligibility.runs import RecipeError
from tests.conftest import RECIPE


class Deadly:
    """Ends the process that unpickles it, as the system does when memory runs out."""

    def __reduce__(self):
        return os._exit, (9,)


class Interruption:
    """Sends a Ctrl-C to the process that unpickles it, which has made no call yet."""

    def __reduce__(self):
        return signal.raise_signal, (signal.SIGINT,)


def divide(a, b):
    return a / b


def state_of_process(_):
    """What a call sees: its process, the threads of its libraries, the objects kept from loky."""
    np.ones((2, 2)) @ np.ones((2, 2))
    threads = {torch.get_num_threads(), *(pool["num_threads"] for pool in threadpool_info())}
    return os.getpid(), threads, gc.get_freeze_count()


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_every_call_is_made_once_and_its_error_comes_through(n_jobs):
    calls = [(n, 2) for n in range(20)]
    assert sorted(in_processes(divide, calls, n_jobs)) == [n / 2 for n in range(20)]
    assert list(in_processes(divide, [], n_jobs)) == []
    with pytest.raises(ZeroDivisionError):
        list(in_processes(divide, [(1, 1), (1, 0)], n_jobs))


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_each_process_has_one_thread_and_its_libraries_are_no_garbage(n_jobs):
    states = list(in_processes(state_of_process, [(n,) for n in range(8)], n_jobs))
    assert all(threads == {1} for _, threads, _ in states)
    assert all(n_frozen > 10_000 for _, _, n_frozen in states)
    assert (os.getpid() in {pid for pid, _, _ in states}) == (n_jobs == 1)


def test_this_process_gets_its_threads_back():
    before = [pool["num_threads"] for pool in threadpool_info()]
    list(in_processes(divide, [(1, 1)], 1))
    assert [pool["num_threads"] for pool in threadpool_info()] == before


def test_a_process_that_is_killed_is_reported():
    with pytest.raises(RecipeError, match="processes was killed.*smaller n_jobs"):
        list(in_processes(print, [(Deadly(),), (Deadly(),)], 2))


def test_a_process_leaves_an_interruption_to_its_caller():
    assert list(in_processes(str, [(Interruption(),)] * 4, 2)) == ["None"] * 4


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_without_semaphores_one_process_does_all(n_jobs):
    code = (
        "from intelligibility.parallel import in_processes;"
        f"print(sorted(in_processes(abs, [(-1,), (2,)], {n_jobs})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=RECIPE,
        env=os.environ | {"JOBLIB_MULTIPROCESSING": "0"},
    )
    assert done.stdout == "[1, 2]\n", done.stderr
    assert ("No semaphores" in done.stderr) == (n_jobs > 1)
