"""How long do the baselines take? Prints a table of CPU seconds per signal, on one thread.

    pip install --no-deps -r requirements-baselines.txt
    python -m benchmarks.baselines

pyclarity and pystoi, called directly, against baselines.py on the same speech-like sounds: several
hearing aids that share a reference, as in a scene of CPC1. The time of MBSTOI includes the
hearing-loss simulation, which is the same in both. The last column is the largest difference of the
two indices.
"""

import importlib
import time
from collections.abc import Callable

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.made.sounds import MSBG, listener, processed, syllables
from intelligibility.baselines import index
from intelligibility.baselines.haspi import seed_of
from intelligibility.baselines.mbstoi import RATE
from intelligibility.baselines.stoi import aligned
from msbg import simulate

WHO = listener()
SECONDS, N_SYSTEMS = 5, 4


def plain_mbstoi(noisy: np.ndarray, clean: np.ndarray, name: str) -> float:
    """Call pyclarity as the challenge's baseline does, with an impulse beside each signal."""
    mbstoi = importlib.import_module("clarity.evaluator.mbstoi")
    utils = importlib.import_module("clarity.evaluator.mbstoi.mbstoi_utils")
    impulse = np.zeros_like(noisy)
    impulse[RATE // 2] = 1.0
    heard, late = simulate(noisy, WHO, **MSBG), simulate(impulse, WHO, **MSBG)
    delays = utils.find_delay_impulse(late, initial_value=RATE // 2).astype(int).ravel()
    buffers = np.zeros((2, len(clean) + max(delays), 2))
    for ear, delay in enumerate(delays):
        buffers[0, delay : delay + len(clean), ear] = clean[:, ear]
    buffers[1, : len(heard)] = heard
    return mbstoi.mbstoi(*buffers[0].T, *buffers[1].T, RATE, 1)


def plain_haspi(noisy: np.ndarray, clean: np.ndarray, name: str) -> float:
    """Call pyclarity as Clarity's later baselines do."""
    haspi = importlib.import_module("clarity.evaluator.haspi")
    audiograms = importlib.import_module("clarity.utils.audiogram")
    theirs = (audiograms.Audiogram(levels=e.levels, frequencies=e.frequencies) for e in WHO.ears)
    np.random.seed(seed_of(name))
    return haspi.haspi_v2_be(*clean.T, *noisy.T, RATE, audiograms.Listener(*theirs))


def plain_stoi(noisy: np.ndarray, clean: np.ndarray, name: str) -> float:
    """Call pystoi on aligned ears."""
    stoi = importlib.import_module("pystoi").stoi
    return max(stoi(*aligned(c, n, RATE), RATE) for c, n in zip(clean.T, noisy.T, strict=True))


def ours(baseline: str) -> Callable[[np.ndarray, np.ndarray, str], float]:
    """Return the function with which baselines.py computes a baseline."""
    return lambda noisy, clean, name: index(baseline, (noisy, RATE), (clean, RATE), WHO, name, MSBG)


def measure(compute: Callable, clean: np.ndarray, outputs: list) -> tuple[float, list[float]]:
    """Return CPU seconds per signal and the indices, after one signal to warm up."""
    compute(outputs[0], clean, "S0")
    started = time.process_time()
    values = [compute(noisy, clean, f"S{number}") for number, noisy in enumerate(outputs)]
    return (time.process_time() - started) / len(outputs), values


def main() -> None:
    clean = syllables(RATE, SECONDS)
    outputs = [processed(clean, noise) for noise in np.geomspace(0.003, 0.1, N_SYSTEMS)]
    print("| baseline | package, s | ours, s | ratio | largest difference |")
    print("| -------- | ---------- | ------- | ----- | ------------------ |")
    with threadpool_limits(1):
        for name, plain in (("mbstoi", plain_mbstoi), ("haspi", plain_haspi), ("stoi", plain_stoi)):
            before, expected = measure(plain, clean, outputs)
            after, got = measure(ours(name), clean, outputs)
            largest = max(abs(a - b) for a, b in zip(expected, got, strict=True))
            print(
                f"| {name:<8} | {before:>10.2f} | {after:>7.2f} | {before / after:>5.1f} "
                f"| {largest:>18.1e} |"
            )


if __name__ == "__main__":
    main()
