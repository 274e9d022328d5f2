"""Does the recipe scale? prepare_data.py and infer.py on 50, 200 and 800 made signals.

    python -m benchmarks.scale                 # after make test
    python -m benchmarks.scale 20 40           # other sizes

Prints CPU time per signal (less start-up) and peak memory of one process (n_jobs=1), which should
stay flat, and what they come to for whole corpora on more cores. Signals are modulated noise of
5.9 s as in CPC1, each scene heard by two listeners. The recogniser that is run on all sizes is a
small one with random weights; the published size is timed on two ear signals, since it decides a
real run.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import torch

from benchmarks.made.recogniser import SETTINGS, babble, make_recogniser
from benchmarks.made.release import make_release
from intelligibility.corpora.cpc1 import NO_SPEECH
from intelligibility.ears import ASR_RATE
from intelligibility.recognisers.settings import read_settings
from intelligibility.recognisers.speechbrain import SpeechBrainRecogniser
from intelligibility.runs import RECIPE

SECONDS = 5.9  # of a CPC1 signal, two of them before the speech
# Signals per corpus. CPC1: 4863 for training and 2421 for the closed test. CPC2 and CPC3 are taken
# as three times that.
CORPORA = {"CPC1": 7284, "CPC2/3": 3 * 7284}
INFERRED = (0.3 * 4863 + 2421) / 7284  # share that infer.py measures: dev and test
EAR_SIGNALS = 2 * (1 + 200 / 2421)  # that the recogniser hears per signal: 200 scenes share theirs
N_STEPS = 14  # of a search: about as many tokens as CPC1's sentences of 7 to 10 words have
CORES = (2, 16, 64)


@dataclass
class Cost:
    """What one process took: CPU seconds, and megabytes at its peak."""

    seconds: float
    megabytes: float


def cost_per_signal(script: str, arguments: list[str], n_signals: int) -> Cost:
    """Run a stage twice: the second time nothing is left to do, and start-up is all it costs."""
    first, second = (cost_of(script, arguments) for _ in range(2))
    return Cost((first.seconds - second.seconds) / n_signals, first.megabytes)


def cost_of(script: str, arguments: list[str], n_jobs: int = 1) -> Cost:
    """Run a stage in a process of its own, with one thread per process."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(RECIPE / script), *arguments, f"n_jobs={n_jobs}"]
    log = os.open(os.devnull, os.O_WRONLY)
    actions = [(os.POSIX_SPAWN_DUP2, log, 1), (os.POSIX_SPAWN_DUP2, log, 2)]
    process = os.posix_spawn(command[0], command, environment, file_actions=actions)
    _, status, usage = os.wait4(process, 0)
    if os.waitstatus_to_exitcode(status) != 0:
        raise SystemExit(f"{script} failed; run it by hand: {' '.join(command)}")
    return Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def measure(n_signals: int, folder: Path) -> tuple[Cost, Cost]:
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


def parallel_seconds(n_signals: int, folder: Path) -> tuple[float, float]:
    """Return the time by the clock that prepare_data.py takes with one process and with two."""
    make_release(folder / "cpc1", n_signals // 2, 1, seconds=SECONDS)
    seconds = []
    for n_jobs in (1, 2):
        started = time.monotonic()
        cost_of(
            "prepare_data.py",
            [f"path.root={folder}/cpc1", f"path.exp_folder={folder}/{n_jobs}"],
            n_jobs,
        )
        seconds.append(time.monotonic() - started)
    return seconds[0], seconds[1]


def check_seconds(n_signals: int, folder: Path) -> float:
    """Return the time of check_only=true on a release of `n_signals`, all links to few files."""
    make_release(folder / "cpc1", 1, 1, seconds=SECONDS)
    archive = folder / "cpc1/clarity_CPC1_data_train"
    (first, *_) = entries = json.loads((archive / "metadata/CPC1.train.json").read_text())
    wavs = archive / "clarity_data/HA_outputs/train"
    scenes = archive / "clarity_data/scenes"
    for number in range(1, n_signals):
        scene = f"T{number:06d}"
        signal = f"{scene}_{first['listener']}_E001"
        heard = {"hits": number % 6, "correctness": 20.0 * (number % 6)}
        entries.append(first | heard | {"scene": scene, "signal": signal})
        os.link(wavs / f"{first['signal']}.wav", wavs / f"{signal}.wav")
        os.link(
            scenes / f"{first['scene']}_target_anechoic.wav",
            scenes / f"{scene}_target_anechoic.wav",
        )
    (archive / "metadata/CPC1.train.json").write_text(json.dumps(entries))
    arguments = [f"path.root={folder}/cpc1", f"path.exp_folder={folder}/exp"]
    started = time.monotonic()
    cost_of("prepare_data.py", [*arguments, "check_only=true", "from_scratch=true"])
    return time.monotonic() - started


def main() -> None:
    """Measure every size, print the table and what it means for whole corpora."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("sizes", type=int, nargs="*", default=[50, 200, 800])
    sizes = parser.parse_args().sizes

    print("signals   prepare: CPU s/signal      MB   infer (small): CPU s/signal      MB")
    costs = []
    for n_signals in sizes:
        with tempfile.TemporaryDirectory() as folder:
            prepare, infer = measure(n_signals, Path(folder))
        costs.append(prepare)
        print(
            f"{n_signals:7d} {prepare.seconds:23.3f} {prepare.megabytes:7.0f} "
            f"{infer.seconds:29.3f} {infer.megabytes:7.0f}"
        )
    with tempfile.TemporaryDirectory() as folder:
        one, two = parallel_seconds(sizes[-1], Path(folder))
    print(f"\nprepare_data.py on {sizes[-1]} signals, by the clock:", end=" ")
    print(f"n_jobs=1 {one:.1f} s, n_jobs=2 {two:.1f} s ({two / one:.2f})")

    with tempfile.TemporaryDirectory() as folder:
        seconds = check_seconds(CORPORA["CPC1"], Path(folder))
    print(f"\ncheck_only=true on {CORPORA['CPC1']} signals, a reference each: {seconds:.1f} s")

    full = full_size_seconds()
    print(f"\nPublished recogniser, beam 66: {full:.1f} CPU s per ear signal")
    print("\nHours on a CPU                " + "".join(f"{cores:>9d} cores" for cores in CORES))
    for corpus, n_signals in CORPORA.items():
        stages = {
            "prepare_data.py": n_signals * costs[-1].seconds,
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
    folders = {"data_folder": "none", "output_folder": "none"}
    hparams = read_settings(
        RECIPE / "transformer_cpc1.yaml", folders | {"max_decode_ratio": N_STEPS / frames}
    )
    hparams["normalize"].glob_mean = torch.full((hparams["n_mels"],), -20.0)
    hparams["normalize"].glob_std = torch.full((hparams["n_mels"],), 10.0)
    recogniser = SpeechBrainRecogniser(hparams, torch.device("cpu"))
    recogniser.tokenizer = SimpleNamespace(decode_ids=str)  # words are not needed here
    started = time.process_time()
    for _ in recogniser.recognise([wav, wav]):
        pass
    return (time.process_time() - started) / 2


if __name__ == "__main__":
    main()
