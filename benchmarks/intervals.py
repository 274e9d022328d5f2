"""Do the 95 % intervals cover the score in 95 % of experiments? Prints a table in half a minute.

    python -m benchmarks.intervals

Experiments of CPC1's size are simulated (200 scenes, 27 listeners, twelve signals per scene, an
effect that the signals of a scene share) from eight populations of listeners. An interval has to
cover the mean score over such experiments. `interval` is compared with the plain percentiles of the
same resamples, and with `interval` on resamples of signals, as if these were independent.
"""

import numpy as np

from intelligibility.evaluation.scoring import (
    SCORES,
    bootstrap_averaged_scores,
    bootstrap_scores,
    draw_scenes,
    interval,
    score,
)

N_SCENES, N_LISTENERS, PER_SCENE = 200, 27, 12
N_POPULATIONS, N_TRUTH, N_EXPERIMENTS, N_RESAMPLES = 8, 200, 40, 300
SCENE = np.repeat(np.arange(N_SCENES), PER_SCENE)


def experiment(rng: np.random.Generator, heard: np.ndarray, predicted: np.ndarray) -> tuple:
    """Return listener, observed and predicted percent correct of each signal."""
    listener = np.concatenate([rng.permutation(N_LISTENERS)[:PER_SCENE] for _ in range(N_SCENES)])
    ease = 15 * rng.standard_normal(N_SCENES)[SCENE]
    noise = rng.standard_normal((2, SCENE.size))
    return listener, heard[listener] + ease + 28 * noise[0], predicted[listener] + 18 * noise[1]


def means(values: np.ndarray, listener: np.ndarray) -> np.ndarray:
    """Return the mean of each listener."""
    return np.bincount(listener, values) / np.bincount(listener)


def holds(held: dict, key: tuple, bounds: list | np.ndarray | None, truth: float) -> None:
    """Record whether an interval covers the truth."""
    covered = bounds is not None and bounds[0] <= truth <= bounds[1]
    held.setdefault(key, []).append(covered)


def simulate(held: dict, seed: int) -> None:
    """Run the experiments of one population of listeners."""
    rng = np.random.default_rng(seed)
    heard = 70 + 8 * rng.standard_normal(N_LISTENERS)
    predicted = 70 + 0.45 * (heard - 70) + 4 * rng.standard_normal(N_LISTENERS)
    truths = []
    for _ in range(N_TRUTH):
        listener, y, p = experiment(rng, heard, predicted)
        truths.append((score(p, y), score(means(p, listener), means(y, listener))))
    for seed_of_draws in range(N_EXPERIMENTS):
        listener, y, p = experiment(rng, heard, predicted)
        scenes = draw_scenes(N_SCENES, seed_of_draws, N_RESAMPLES)
        signals = draw_scenes(SCENE.size, seed_of_draws, N_RESAMPLES)
        estimates = score(p, y), score(means(p, listener), means(y, listener))
        resamples = (
            bootstrap_scores(p, y, SCENE, scenes),
            bootstrap_averaged_scores(p, y, listener, SCENE, scenes),
        )
        independent = bootstrap_scores(p, y, np.arange(SCENE.size), signals)
        for level, name in ((level, name) for level in (0, 1) for name in SCORES):
            truth = float(np.mean([one[level][name] for one in truths]))
            ours = interval(resamples[level][name], estimates[level][name])
            percentiles = np.percentile(resamples[level][name], [2.5, 97.5])
            holds(held, (level, name, "interval"), ours, truth)
            holds(held, (level, name, "percentiles"), percentiles, truth)
            if level == 0:
                naive = interval(independent[name], estimates[0][name])
                holds(held, (0, name, "signals"), naive, truth)


def main() -> None:
    held: dict = {}
    for seed in range(N_POPULATIONS):
        simulate(held, seed)
    print(f"share of {N_POPULATIONS * N_EXPERIMENTS} experiments whose interval covers the score")
    print("| scores of      | score | interval | percentiles | signals resampled |")
    print("| -------------- | ----- | -------- | ----------- | ----------------- |")
    for level, name in ((level, name) for level in (0, 1) for name in SCORES):
        of = ("signals", "listener means")[level]
        ours, plain = (np.mean(held[level, name, way]) for way in ("interval", "percentiles"))
        naive = f"{np.mean(held[0, name, 'signals']):.3f}" if level == 0 else "–"
        print(f"| {of:<14} | {name:<5} | {ours:>8.3f} | {plain:>11.3f} | {naive:>17} |")


if __name__ == "__main__":
    main()
