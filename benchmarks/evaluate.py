"""How long does evaluate.py take on many signals? Prints a table.

    python -m benchmarks.evaluate             # CPC1's and CPC3's size, and 100,000 test signals
    python -m benchmarks.evaluate 100000

Each experiment is made in a temporary folder (planted numbers, all measures and baselines, 27
listeners, ten systems, twelve signals per scene) and evaluated in a process of its own, start-up
included: scores, bootstrap of 1000 resamples for every score, paired comparisons, correlations
within groups, ranges, tables, figures and report.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.made.experiment import MEASURE_FILES, make_experiment
from intelligibility.runs import RECIPE

PER_SCENE = 12


def measure(n_signals: int) -> tuple[float, float, float]:
    """Return wall seconds, processor seconds and peak memory in MiB of one evaluation."""
    with tempfile.TemporaryDirectory() as folder:
        root, exp = make_experiment(
            Path(folder),
            n_scenes=2 * round(n_signals / PER_SCENE),
            n_listeners=27,
            n_systems=10,
            per_scene=PER_SCENE,
            measures=tuple(MEASURE_FILES),
        )
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        started = time.monotonic()
        subprocess.run(
            [sys.executable, RECIPE / "evaluate.py", f"path.root={root}", f"path.exp_folder={exp}"],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wall = time.monotonic() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime - before.ru_utime, after.ru_maxrss / 1024


def main() -> None:
    """Print the table."""
    sizes = [int(size) for size in sys.argv[1:]] or [2421, 15_520, 100_000]
    print(f"{os.cpu_count()} cores")
    print("| test signals | wall (s) | processor (s) | peak memory (MiB) |")
    print("| ------------ | -------- | ------------- | ----------------- |")
    for size in sizes:
        wall, processor, memory = measure(size)
        print(f"| {size:>12} | {wall:>8.1f} | {processor:>13.1f} | {memory:>17.0f} |")


if __name__ == "__main__":
    main()
