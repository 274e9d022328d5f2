"""Does the recipe scale? prepare_data.py and infer.py on 50, 200 and 800 made signals.

    python -m benchmarks.scale                 # after make test
    python -m benchmarks.scale 20 40           # other sizes

Prints the CPU time per signal (without start-up) and the peak memory of one process (n_jobs=1),
which should stay constant, and the hours that whole corpora would take on more cores. Signals are
modulated noise of 5.9 s as in CPC1, and two listeners hear each scene. The recogniser run on all
sizes is a small one with random weights; one of the published size, which determines the time of a
real run, is timed on two ear signals.
"""

import argparse
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import torch

from benchmarks.made.cost import cost_of
from benchmarks.made.recogniser import SETTINGS, babble, full_size, make_recogniser
from benchmarks.made.release import make_release
from intelligibility.corpora.cpc1 import NO_SPEECH
from intelligibility.ears import ASR_RATE

SECONDS = 5.9  # of a CPC1 signal, two of them before the speech
# Signals per corpus. CPC1: 4863 for training and 2421 for the closed test. CPC2 and CPC3 are taken
# as three times that.
CORPORA = {"CPC1": 7284, "CPC2/3": 3 * 7284}
INFERRED = (0.3 * 4863 + 2421) / 7284  # share that infer.py measures: dev and test
EAR_SIGNALS = 2 * (1 + 200 / 2421)  # that the recogniser hears per signal: 200 scenes share theirs
N_STEPS = 14  # of a search: about as many tokens as CPC1's sentences of 7 to 10 words have
CORES = (2, 16, 64)


def cost_per_signal(script: str, arguments: list[str], n_signals: int) -> tuple[float, float]:
    """Return CPU seconds per signal and the peak memory in MB.

    The stage runs twice: the second time nothing is left to do, so that it costs start-up only.
    """
    first, second = (cost_of(script, *arguments, "n_jobs=1") for _ in range(2))
    return (first.cpu - second.cpu) / n_signals, first.megabytes


def measure(n_signals: int, folder: Path) -> tuple[tuple[float, float], ...]:
    """Prepare a release of `n_signals`, and infer the half of it that is dev or test."""
    n_test = n_signals // 4
    make_release(folder / "cpc1", n_signals // 2 - n_test, n_test, seconds=SECONDS)
    arguments = [f"path.root={folder}/cpc1", f"path.exp_folder={folder}/exp"]
    prepare = cost_per_signal("prepare_data.py", [*arguments, "dev_percent=0.1"], n_signals)
    make_recogniser(folder / "exp/transformer_cpc1")
    sizes = [f"asr_overrides.{key}={value}" for key, value in SETTINGS.items()]
    n_inferred = sum(
        len((folder / f"exp/cpc1_asr_data/left_{split}_msbg.csv").read_text().splitlines()) - 1
        for split in ("dev", "test")
    )
    return prepare, cost_per_signal("infer.py", [*arguments, *sizes], n_inferred)


def parallel_seconds(n_signals: int, folder: Path) -> tuple[float, ...]:
    """Return the time by the clock that prepare_data.py takes with one process and with two."""
    make_release(folder / "cpc1", n_signals // 2, 1, seconds=SECONDS)
    arguments = "prepare_data.py", f"path.root={folder}/cpc1"
    return tuple(
        cost_of(*arguments, f"path.exp_folder={folder}/{n_jobs}", f"n_jobs={n_jobs}").clock
        for n_jobs in (1, 2)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("sizes", type=int, nargs="*", default=[50, 200, 800])
    sizes = parser.parse_args().sizes

    print("signals   prepare: CPU s/signal      MB   infer (small): CPU s/signal      MB")
    costs = []
    for n_signals in sizes:
        with tempfile.TemporaryDirectory() as folder:
            prepare, infer = measure(n_signals, Path(folder))
        costs.append(prepare[0])
        print("{:7d} {:23.3f} {:7.0f} {:29.3f} {:7.0f}".format(n_signals, *prepare, *infer))
    with tempfile.TemporaryDirectory() as folder:
        one, two = parallel_seconds(sizes[-1], Path(folder))
    print(f"\nprepare_data.py on {sizes[-1]} signals, by the clock:", end=" ")
    print(f"n_jobs=1 {one:.1f} s, n_jobs=2 {two:.1f} s ({two / one:.2f})")

    full = full_size_seconds()
    print(f"\nPublished recogniser, beam 66: {full:.1f} CPU s per ear signal")
    print("\nHours on a CPU                " + "".join(f"{cores:>9d} cores" for cores in CORES))
    for corpus, n_signals in CORPORA.items():
        stages = {
            "prepare_data.py": n_signals * costs[-1],
            "infer.py": n_signals * INFERRED * EAR_SIGNALS * full,
        }
        for stage, seconds in stages.items():
            hours = "".join(f"{seconds / 3600 / cores:15.2f}" for cores in CORES)
            print(f"{corpus:6s} {n_signals:6d} {stage:16s}{hours}")


def full_size_seconds() -> float:
    """Return the CPU seconds that the published recogniser takes for an ear signal."""
    torch.set_num_threads(1)
    wav = babble(1, SECONDS - NO_SPEECH)
    frames = len(wav) / ASR_RATE * 25  # of the encoder
    _, recogniser = full_size(torch.device("cpu"), max_decode_ratio=N_STEPS / frames)
    recogniser.tokenizer = SimpleNamespace(decode_ids=str)  # words are not needed here
    started = time.process_time()
    for _ in recogniser.recognise([wav, wav]):
        pass
    return (time.process_time() - started) / 2


if __name__ == "__main__":
    main()
