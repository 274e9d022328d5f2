"""How fast is msbg/, and does it give what the published simulator gives?

    pip install --no-deps -r requirements-baselines.txt
    python -m benchmarks.msbg

Both simulators process the same 5.9 s of speech-like sound at 44.1 kHz in turn, on one thread, for
one ear of each severity. The script prints the CPU seconds per ear (the best of five runs each),
their ratio and the largest difference between the two outputs relative to the peak; then, each
measured in a process of its own, time and peak memory by the length of the signal.
"""

import re
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.made.sounds import syllables
from msbg import Audiogram, Ear
from msbg.constants import SAMPLE_RATE

SECONDS = 5.9  # mean length of a CPC1 signal
RUNS = 5
LEVELS_DB_HL = {
    "SEVERE": [30, 25, 25, 50, 65, 75, 75, 90],
    "MODERATE": [25, 35, 50, 45, 50, 45, 65, 70],
    "MILD": [15, 20, 35, 45, 25, 25, 45, 35],
    "NOTHING": [0] * 8,
}


@threadpool_limits.wrap(limits=1)
def main() -> None:
    try:
        from clarity.evaluator.msbg.msbg import Ear as PublishedEar
        from clarity.utils.audiogram import Audiogram as PublishedAudiogram
    except ImportError as error:
        raise SystemExit(
            f"{error}\nFirst: pip install --no-deps -r requirements-baselines.txt"
        ) from error
    signal = speech_like(SECONDS)
    print(f"CPU seconds per ear of {SECONDS} s, one thread")
    print(f"{'':10}{'pyclarity':>10}{'msbg':>8}{'ratio':>7}{'difference/peak':>17}")
    for severity, levels in LEVELS_DB_HL.items():
        ours, theirs = impaired_ear(severity), PublishedEar()
        theirs.set_audiogram(PublishedAudiogram(np.array(levels, dtype=float)))
        seconds, (heard,), seconds_theirs, (expected,) = in_turns(
            lambda ear=ours: ear.process(signal), lambda ear=theirs: ear.process(signal)
        )
        difference = np.abs(heard - expected).max() / np.abs(expected).max()
        ratio = seconds_theirs / seconds
        print(f"{severity:10}{seconds_theirs:10.3f}{seconds:8.3f}{ratio:7.1f}{difference:17.1e}")

    print("\nOne MILD ear by length")
    print(f"{'seconds':>10}{'CPU seconds':>13}{'per second':>12}{'peak memory, MB':>17}")
    for length in (5.9, 15.0, 30.0, 60.0):
        with ProcessPoolExecutor(1, get_context("spawn")) as process:
            cpu, memory = process.submit(one_ear, length).result()
        print(f"{length:10}{cpu:13.3f}{cpu / length:12.4f}{memory:17.0f}")


def speech_like(seconds: float) -> np.ndarray:
    """Voiced syllables between pauses: (n_samples,), 44.1 kHz."""
    return syllables(SAMPLE_RATE, seconds)[:, 0]


def impaired_ear(severity: str) -> Ear:
    """Return an ear with a loss of this severity."""
    ear = Ear()
    ear.set_audiogram(Audiogram(LEVELS_DB_HL[severity]))
    return ear


def in_turns(ours: Callable, theirs: Callable) -> tuple:
    """Run both in turns; return the best CPU time and the result of each."""
    seconds: dict[Callable, list[float]] = {ours: [], theirs: []}
    results = {}
    ours()  # builds filters and matrix once
    for _ in range(RUNS):
        for call, times in seconds.items():
            start = time.process_time()
            results[call] = call()
            times.append(time.process_time() - start)
    return min(seconds[ours]), results[ours], min(seconds[theirs]), results[theirs]


@threadpool_limits.wrap(limits=1)
def one_ear(seconds: float) -> tuple[float, float]:
    """Return the CPU seconds that a MILD ear takes, and the peak memory of this process in MB."""
    ear, signal = impaired_ear("MILD"), speech_like(seconds)
    ear.process(speech_like(1.0))
    start = time.process_time()
    ear.process(signal)
    taken = time.process_time() - start
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert peak is not None
    return taken, int(peak[1]) / 1024


if __name__ == "__main__":
    main()
