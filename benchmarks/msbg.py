"""How fast is msbg/, and does it give what the published simulator gives?

    pip install --no-deps -r requirements-baselines.txt
    python -m benchmarks.msbg [signal.wav]

Both simulators process the same 5.9 s of sound at 44.1 kHz in turn, on one thread, for one ear of
each severity: speech-like sound, or the first channel of the given file. The script prints the CPU
seconds per ear (the best of five runs each), their ratio and the largest difference between the two
outputs relative to the peak; then, each measured in a process of its own, time and peak memory by
the length of the signal.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import soundfile
from scipy.signal import resample_poly

from benchmarks.made.sounds import syllables
from msbg import Audiogram, Ear
from msbg.constants import SAMPLE_RATE

ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
SECONDS = 5.9  # mean length of a CPC1 signal
RUNS = 5
LEVELS_DB_HL = {
    "SEVERE": [30, 25, 25, 50, 65, 75, 75, 90],
    "MODERATE": [25, 35, 50, 45, 50, 45, 65, 70],
    "MILD": [15, 20, 35, 45, 25, 25, 45, 35],
    "NOTHING": [0] * 8,
}
ONE_EAR = r"""
import re, sys, time
from benchmarks.msbg import *
ear, signal = impaired_ear("MILD"), speech_like(float(sys.argv[1]))
ear.process(speech_like(1.0))
start = time.process_time()
ear.process(signal)
seconds = time.process_time() - start
peak = re.search(r"VmHWM:\s+(\d+) kB", open("/proc/self/status").read())
print(seconds, int(peak[1]) / 1024)
"""


def main() -> None:
    if os.environ | ONE_THREAD != os.environ:  # BLAS reads these once, when it is loaded
        command = [sys.executable, "-m", "benchmarks.msbg", *sys.argv[1:]]
        raise SystemExit(subprocess.call(command, env=os.environ | ONE_THREAD))
    try:
        from clarity.evaluator.msbg.msbg import Ear as PublishedEar
        from clarity.utils.audiogram import Audiogram as PublishedAudiogram
    except ImportError as error:
        raise SystemExit(
            f"{error}\nFirst: pip install --no-deps -r requirements-baselines.txt"
        ) from error
    signal = from_file(sys.argv[1]) if sys.argv[1:] else speech_like(SECONDS)

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
        cpu, memory = map(float, new_process(ONE_EAR, str(length)).split())
        print(f"{length:10}{cpu:13.3f}{cpu / length:12.4f}{memory:17.0f}")


def from_file(name: str) -> np.ndarray:
    """First channel of a recording, at 44.1 kHz, repeated or cut to 5.9 s."""
    signal, rate = soundfile.read(name, always_2d=True)
    signal = resample_poly(signal[:, 0], SAMPLE_RATE, rate)
    return np.resize(signal, int(SECONDS * SAMPLE_RATE))


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


def new_process(code: str, *arguments: str) -> str:
    """Run Python in a process of its own; return what it printed."""
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    main()
