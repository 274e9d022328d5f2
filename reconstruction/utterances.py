"""Which ear signals are learnt from, and which are scored: no scene is in both."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
import torch
from torch import Tensor

from intelligibility.runs import RecipeError
from intelligibility.words import words_of
from reconstruction.mel import RATE, SILENT

CONDITIONS = ("ref", "msbg")
LEAST_SCORED = 8  # ear signals: with fewer a word error rate says nothing
SHORTEST = 0.2  # s


@dataclass(frozen=True)
class Ear:
    """One ear of one hearing-aid output, processed and as the clean reference.

    Attributes
    ----------
    name : str
        Such as left_S90601_L9001_E901.
    scene, listener, system, severity : str
        The severity is this ear's, as the hearing-loss simulation grades it.
    prompt : str
        What was said.
    wavs : mapping
        The wav of each condition: "ref", clean, and "msbg", processed and through the loss.
    labels : mapping
        What the corpus's metadata say, by task.
    """

    name: str
    scene: str
    listener: str
    system: str
    severity: str
    prompt: str
    wavs: Mapping[str, Path]
    labels: Mapping[str, str] = field(default_factory=dict)


def choose_scored(ears: Iterable[Ear], n_ears: int, seed: int) -> list[Ear]:
    """Choose ear signals to score: listeners in turn, and no reference twice.

    Raises
    ------
    RecipeError
        There are too few for a word error rate.
    """
    rng = np.random.default_rng(seed)
    waiting: dict[str, list[Ear]] = defaultdict(list)
    for ear in sorted(ears, key=lambda ear: ear.name):
        if words_of(ear.prompt):
            waiting[ear.listener].append(ear)
    for listener in sorted(waiting):
        rng.shuffle(waiting[listener])
    chosen, heard = [], set()
    while len(chosen) < n_ears and any(waiting.values()):
        for listener in sorted(waiting):
            fresh = [ear for ear in waiting[listener] if ear.wavs["ref"] not in heard]
            waiting[listener] = fresh[1:]
            if fresh and len(chosen) < n_ears:
                chosen.append(fresh[0])
                heard.add(fresh[0].wavs["ref"])
    if len(chosen) < LEAST_SCORED:
        raise RecipeError(
            f"{len(chosen)} ear signals to score, expected {LEAST_SCORED} or more; prepare more "
            "test signals, or raise reconstruct.n_scored"
        )
    return sorted(chosen, key=lambda ear: ear.name)


def choose_training(ears: Iterable[Ear], n_signals: int, seed: int) -> list[Ear]:
    """Choose ears to learn from: each gives two signals, processed and reference."""
    ears = sorted(ears, key=lambda ear: ear.name)
    order = np.random.default_rng(seed).permutation(len(ears))
    return sorted((ears[i] for i in order[: max(1, n_signals // 2)]), key=lambda ear: ear.name)


def check_disjoint(training: Iterable[Ear], scored: Iterable[Ear]) -> None:
    """Refuse scenes, or references, that are learnt from and scored."""
    for what in ("scene", "reference"):
        parts = [
            {ear.scene if what == "scene" else str(ear.wavs["ref"]) for ear in part}
            for part in (training, scored)
        ]
        if both := sorted(set.intersection(*parts)):
            raise RecipeError(
                f"{len(both)} of the {what}s to score are learnt from too, {both[0]} among them; "
                "run prepare_data.py again to part them"
            )


def read_speech(path: Path) -> Tensor:
    """Read an ear signal (n_samples,): float32, 16 kHz, as it was written."""
    try:
        samples, rate = sf.read(path, dtype="float32")
    except (sf.SoundFileError, OSError) as error:
        raise RecipeError(f"{path}: {error}; run prepare_data.py again") from None
    if samples.ndim != 1 or rate != RATE or not np.isfinite(samples).all():
        raise RecipeError(
            f"{path}: {samples.shape} samples at {rate} Hz, expected one channel of finite samples "
            f"at {RATE} Hz; run prepare_data.py again"
        )
    if len(samples) < SHORTEST * RATE:
        raise RecipeError(f"{path}: {len(samples)} samples, expected {SHORTEST} s or more")
    return torch.from_numpy(samples)


def median_level(paths: Sequence[Path]) -> float:
    """Return the median level of signals in dB re full scale, silent ones left out."""
    levels = [float(read_speech(path).square().mean().sqrt()) for path in paths]
    heard = [20 * np.log10(level) for level in levels if level > SILENT]
    if not heard:
        raise RecipeError(f"all of {len(paths)} references are silent; run prepare_data.py again")
    return round(float(np.median(heard)), 1)


def scene_labels(scene: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an entry of scenes.CPC1_*.json says that a network can learn to tell.

    The talker is the target's name up to the first underscore (CPC1: T010_G0N_02468).
    """
    labels: dict[str, Any] = {}
    target, interferer = scene.get("target"), scene.get("interferer")
    if isinstance(target, dict) and isinstance(target.get("name"), str):
        labels["talker"] = target["name"].split("_")[0]
    if isinstance(interferer, dict) and isinstance(interferer.get("type"), str):
        labels["interferer"] = interferer["type"]
    if isinstance(scene.get("SNR"), int | float):
        labels["snr"] = float(scene["SNR"])
    return labels
