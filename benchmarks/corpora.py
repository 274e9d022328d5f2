"""How long do the check and the evaluation of large corpora take? Prints a table.

    python -m benchmarks.corpora            # the sizes of CPC1 and CPC3, and 100,000 test signals

Prints the time by the clock, the CPU time and the peak memory, start-up included, of
`prepare_data.py check_only=true` on a CPC3 in which every signal and reference is a link to one
wav, since the check reads headers only; and of `evaluate.py` on planted numbers: all measures and
baselines, 27 listeners, ten systems, twelve signals per scene, 1000 resamples for every score.
"""

import json
import os
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.made.cost import Cost, cost_of
from benchmarks.made.experiment import NOISE, make_experiment
from benchmarks.made.release import babble, write
from demo.layouts import link

SIZES = {"train": 15520, "dev": 926, "eval": 7674}
GRADES = ("Mild", "Moderate", "Moderately severe")
SIGNALS_PER_SCENE = 11  # of the training, as in CPC3
PER_SCENE = 12  # of what is evaluated, as in CPC1


def make_cpc3(root: Path) -> None:
    """Write a release of CPC3 in which every sound is the same."""
    rng = np.random.default_rng(0)
    data = root / "clarity_CPC3_data/clarity_data"
    write(root / "one.wav", babble(rng, 3.0, 32000), 32000)
    people = [f"L{number:04d}" for number in range(26)]
    rows = [f"{name},{GRADES[number % 3]}" for number, name in enumerate(people)]
    (data / "metadata").mkdir(parents=True)
    (data / "metadata/listeners.csv").write_text("\n".join(["listener_id,severity", *rows]))
    for part, n_signals in SIZES.items():
        entries = []
        for number in range(n_signals):
            scene = f"S{number // SIGNALS_PER_SCENE:05d}"
            name = f"CEC{1 + number % 2}_E{number % 10:03d}_{scene}_{people[number % 26]}"
            reference = f"CEC{1 + number % 2}_{scene}_ref"
            entry = {"signal": name, "prompt": f"words of {scene}", "n_words": 5}
            if part != "train":
                name = f"{part}{number:020d}"
                reference = f"{name}_ref"
                entry |= {"signal": name, "hearing_loss": GRADES[number % 3]}
            entries.append(entry | {"correctness": 20.0 * int(rng.integers(6))})
            link(root / "one.wav", data / part / "signals" / f"{name}.wav")
            link(root / "one.wav", data / part / "references" / f"{reference}.wav")
        (data / "metadata" / f"CPC3.{part}.json").write_text(json.dumps(entries))


def check() -> Cost:
    """Return the cost of checking a corpus of CPC3's size."""
    with tempfile.TemporaryDirectory() as folder:
        make_cpc3(Path(folder))
        paths = f"path.root={folder}", f"path.exp_folder={folder}/exp"
        options = "check_only=true", "from_scratch=true"
        return cost_of("prepare_data.py", "corpus=cpc3", *paths, *options)


def evaluate(n_signals: int) -> Cost:
    """Return the cost of one evaluation of `n_signals` test signals."""
    with tempfile.TemporaryDirectory() as folder:
        exp = make_experiment(
            Path(folder),
            n_scenes=2 * round(n_signals / PER_SCENE),
            n_listeners=27,
            n_systems=10,
            per_scene=PER_SCENE,
            measures=tuple(NOISE),
        )
        return cost_of("evaluate.py", f"path.root={folder}", f"path.exp_folder={exp}")


def main() -> None:
    print(f"{os.cpu_count()} cores")
    print(f"check_only, {sum(SIZES.values()):>7} signals: {check()}", flush=True)
    for size in (2421, 15_520, 100_000):
        print(f"evaluate.py, {size:>6} signals: {evaluate(size)}", flush=True)


if __name__ == "__main__":
    main()
