"""What a script costs in a process of its own: time by the clock, CPU time and peak memory."""

import os
import sys
import time
from dataclasses import dataclass

from intelligibility.runs import RECIPE


@dataclass(frozen=True)
class Cost:
    """Seconds by the clock, CPU seconds, and megabytes at the peak of the largest process."""

    clock: float
    cpu: float
    megabytes: float

    def __str__(self) -> str:
        return (
            f"{self.clock:6.1f} s by the clock, {self.cpu:6.1f} s of CPU, {self.megabytes:5.0f} MB"
        )


def cost_of(script: str, *arguments: str) -> Cost:
    """Run one of the recipe's scripts with one thread per process, its output thrown away."""
    command = [sys.executable, str(RECIPE / script), *arguments]
    log = os.open(os.devnull, os.O_WRONLY)
    actions = [(os.POSIX_SPAWN_DUP2, log, 1), (os.POSIX_SPAWN_DUP2, log, 2)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    started = time.monotonic()
    process = os.posix_spawn(command[0], command, environment, file_actions=actions)
    _, status, usage = os.wait4(process, 0)
    clock = time.monotonic() - started
    os.close(log)
    if os.waitstatus_to_exitcode(status) != 0:
        raise SystemExit(f"{script} failed; run it yourself: {' '.join(command)}")
    return Cost(clock, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)
