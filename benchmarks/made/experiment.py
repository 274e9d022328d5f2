"""An experiment as infer.py leaves it, with planted numbers: no audio, no recogniser."""

from pathlib import Path

import numpy as np

from benchmarks.made.release import dump, listener_entry
from intelligibility.experiment import Experiment
from intelligibility.runs import RECIPE

NOISE = {  # standard deviation in logits: dec predicts best
    "dec": 0.6, "enc": 1.0, "wcs": 1.5, "pre": 3.0, "prob": 1.8, "mbstoi": 2.0, "haspi": 1.2,
    "stoi": 2.5, "estoi": 2.2,
}  # fmt: skip
BASELINES = ("mbstoi", "haspi", "stoi", "estoi")
CHECKPOINT = "5e" * 32


def make_experiment(
    root: Path,
    n_scenes: int = 24,
    n_listeners: int = 6,
    n_systems: int = 3,
    per_scene: int = 6,
    measures: tuple[str, ...] = ("enc", "dec"),
    track: str = "",
    labelled: bool = True,
    seed: int = 0,
) -> Path:
    """Write the metadata of a release and the similarities of its dev and test signals.

    Every scene is heard `per_scene` times, by listeners and through systems drawn at random, with
    five words each. Half of the scenes are training scenes, and half of these are dev scenes.
    `root` is to be `path.root`. Returns `path.exp_folder`, beside the release.
    """
    rng = np.random.default_rng(seed)
    exp = root / "exp"
    files = Experiment(exp, exp, track)
    names = [f"L{number:04d}" for number in range(1, n_listeners + 1)]
    losses = dict(zip(names, np.linspace(10, 75, n_listeners).tolist(), strict=True))
    for split in ("train", "test"):
        scenes = [f"S{'12'[split == 'test']}{number:05d}" for number in range(n_scenes // 2)]
        entries, easy = _responses(rng, scenes, names, n_systems, per_scene)
        used = "test" if split == "test" else "dev"
        dev = scenes[: len(scenes) // 2]
        rows = [i for i, entry in enumerate(entries) if used == "test" or entry["scene"] in dev]
        for measure in measures:
            logit = easy[rows] + NOISE[measure] * rng.standard_normal(len(rows))
            similarity = 0.7 + 0.25 / (1 + np.exp(-logit))
            values = {entries[i]["signal"]: float(s) for i, s in zip(rows, similarity, strict=True)}
            dump(files.measure_file(used, measure), values)
        if split == "train":
            dump(files.scene_list("dev"), dev)
        if split == "test" and not labelled:
            entries = [{k: v for k, v in e.items() if k != "correctness"} for e in entries]
        archive = root / f"clarity_CPC1_data_{split}" / "metadata"
        dump(archive / f"CPC1.{split}{track}.json", entries)
        listeners = "listeners.CPC1_train.json" if split == "train" else "listeners.CPC1_all.json"
        people = {name: listener_entry(name, audiogram(losses[name]), 3) for name in names}
        dump(archive / listeners, people)
    dump(files.inference, {"checkpoint_sha256": CHECKPOINT, "checkpoints": ["CKPT"]})
    baselines = {name: {"package": "pyclarity 0.9.0"} for name in BASELINES if name in measures}
    if baselines:
        dump(files.baselines, {"baselines": baselines})
    return exp


def _responses(
    rng: np.random.Generator, scenes: list[str], names: list[str], n_systems: int, per_scene: int
) -> tuple[list[dict], np.ndarray]:
    """Return the entries of a metadata file, and how easy each signal was, as a logit."""
    pairs = [(name, f"E{system:03d}") for name in names for system in range(1, n_systems + 1)]
    entries, easy = [], []
    for scene in scenes:
        ease = 1.5 * rng.standard_normal()
        for pick in rng.permutation(len(pairs))[:per_scene]:
            listener, system = pairs[pick]
            logit = ease + 0.8 * (int(system[1:]) - (n_systems + 1) / 2) + 0.5
            logit += 0.5 * rng.standard_normal()
            hits = int(rng.binomial(5, 1 / (1 + np.exp(-logit))))
            easy.append(logit)
            entry = {"signal": f"{scene}_{listener}_{system}", "scene": scene, "listener": listener}
            entry |= {"system": system, "prompt": "two old boats", "correctness": 20.0 * hits}
            entries.append(entry)
    return entries, np.array(easy)


def link_demo(exp_folder: Path, *names: str) -> None:
    """Make an experiment's folder that shares what make demo prepared."""
    exp_folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        if not (exp_folder / name).exists():
            (exp_folder / name).symlink_to(RECIPE / "demo/exp" / name)


def audiogram(loss: float) -> list[float]:
    """Return levels in dB HL that slope around a loss."""
    return [float(min(100, max(0, loss + step))) for step in (-20, -15, -10, -5, 0, 5, 10, 15)]
