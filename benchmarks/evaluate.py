"""How long does evaluate.py take on many signals? Prints a table.

    python -m benchmarks.evaluate             # CPC1's and CPC3's size, and 100,000 test signals
    python -m benchmarks.evaluate 100000

Each experiment is made in a temporary folder (planted numbers, all measures and baselines, 27
listeners, ten systems, twelve signals per scene) and evaluated in a process of its own, start-up
included: scores, a bootstrap of 1000 resamples for every score, paired comparisons, correlations
within groups, prediction intervals, tables, figures and report.
"""

import os
import sys
import tempfile
from pathlib import Path

from benchmarks.made.cost import Cost, cost_of
from benchmarks.made.experiment import MEASURE_FILES, make_experiment

PER_SCENE = 12


def measure(n_signals: int) -> Cost:
    """Return the cost of one evaluation."""
    with tempfile.TemporaryDirectory() as folder:
        root, exp = make_experiment(
            Path(folder),
            n_scenes=2 * round(n_signals / PER_SCENE),
            n_listeners=27,
            n_systems=10,
            per_scene=PER_SCENE,
            measures=tuple(MEASURE_FILES),
        )
        return cost_of("evaluate.py", f"path.root={root}", f"path.exp_folder={exp}")


def main() -> None:
    """Print the table."""
    sizes = [int(size) for size in sys.argv[1:]] or [2421, 15_520, 100_000]
    print(f"{os.cpu_count()} cores")
    for size in sizes:
        print(f"{size:>7} test signals: {measure(size)}")


if __name__ == "__main__":
    main()
