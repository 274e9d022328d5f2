"""The ear signals of a run: which inverters learn from and which are scored, no scene in both."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from intelligibility import ears as ear_signals
from intelligibility.corpora.presentation import Presentation, read_presentations
from intelligibility.ears import ASR_RATE
from intelligibility.experiment import EARS, KINDS, Experiment, read_table
from intelligibility.runs import RecipeError, file_stamp, listed, read_json
from intelligibility.words import words_of
from reconstruction.mel import SILENT

CONDITIONS = ("ref", "msbg")
# What each task listens to: the reference knows nothing of noise, hearing aid or hearing loss.
TASKS = {
    "talker": ("ref", "msbg"),
    "interferer": ("msbg",),
    "hearing_aid": ("msbg",),
    "severity": ("msbg",),
    "snr": ("msbg",),
    "first_word": ("ref", "msbg"),
}
LEAST_SCORED = 8  # ear signals: with fewer a word error rate says nothing
LENGTHS = (ASR_RATE // 5, 10**9)  # samples


@dataclass(frozen=True)
class EarSignals:
    """One ear of one hearing-aid output, processed and as the clean reference."""

    name: str  # such as left_S90601_L9001_E901
    scene: str
    listener: str
    system: str
    severity: str  # this ear's, as the hearing-loss simulation grades it
    prompt: str  # what was said
    wavs: Mapping[str, Path]  # by condition: ref, clean; msbg, processed and through the loss
    labels: Mapping[str, str] = field(default_factory=dict)  # by task, from the metadata


@dataclass(frozen=True)
class Selection:
    """The ear signals of one run."""

    training: list[EarSignals]  # what inverters learn from
    scored: list[EarSignals]
    all_training: list[EarSignals]  # what they were chosen from; classifiers learn from these
    all_scored: list[EarSignals]
    level: float  # dB re full scale of the clean training speech, at which the recogniser hears all

    @cached_property
    def made_by(self) -> dict[str, str]:
        """What all layers of a table share, apart from the judge: hashes of the signals."""
        return {"training": digest_of(self.training), "scored": digest_of(self.scored)}


def digest_of(ears: Iterable[EarSignals]) -> str:
    """Return a hash of ear signals: their names, labels and wavs."""
    return hash_of(
        [
            (ear.name, sorted(ear.labels.items()), [file_stamp(wav) for wav in ear.wavs.values()])
            for ear in ears
        ]
    )


def hash_of(facts: Any) -> str:
    """Return a hash of plain values."""
    return hashlib.sha256(json.dumps(facts, default=str).encode()).hexdigest()


def read_ears(experiment: Experiment, split: str) -> list[EarSignals]:
    """Read the ear signals of "train" or "test" from the tables, with their metadata."""
    used = read_presentations(experiment.presentations).get(split, [])
    presentations = {one.name: one for one in used}
    scenes, ears = read_scenes(used, split), []
    for side in EARS:
        tables = {
            kind: {row["ID"]: row for row in read_table(experiment.table(side, split, kind))}
            for kind in KINDS
        }
        for name, row in tables["msbg"].items():
            if name not in presentations or name not in tables["ref"]:
                raise RecipeError(
                    f"{name} is not in {experiment.presentations.name} or in the table of "
                    "references; run prepare_data.py again, with the same config"
                )
            one, wavs = presentations[name], {kind: tables[kind][name]["wav"] for kind in KINDS}
            severity = getattr(one.listener, f"audiogram_{side}").severity
            about = one.scene, one.listener.id, one.system, severity, row["wrd"], wavs
            labels = scene_labels(scenes.get(one.scene, {}))
            ears.append(EarSignals(f"{side}_{name}", *about, labels))
    missing = [f"{wav}" for ear in ears for wav in ear.wavs.values() if not wav.is_file()]
    if missing:
        raise RecipeError(
            f"{len(missing)} wavs are missing: {listed(missing)}; run prepare_data.py again"
        )
    return ears


def read_scenes(presentations: Iterable[Presentation], split: str) -> dict[str, dict[str, Any]]:
    """Read the list of scenes of the release that the presentations are from, where it has one.

    No later stage needs the release, and this one only for `task`: nothing else tells the talkers.
    """
    archives = {folder for one in presentations for folder in one.reference.parents[2:3]}
    scenes: dict[str, dict[str, Any]] = {}
    for path in (folder / "metadata" / f"scenes.CPC1_{split}.json" for folder in sorted(archives)):
        if path.is_file():
            entries = [entry for entry in read_json(path, list) if isinstance(entry, dict)]
            scenes |= {entry["scene"]: entry for entry in entries if "scene" in entry}
    return scenes


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


def choose_scored(ears: Iterable[EarSignals], n_ears: int, seed: int) -> list[EarSignals]:
    """Choose ear signals to score: listeners in turn, and no reference twice.

    Too few for a word error rate are refused.
    """
    rng = np.random.default_rng(seed)
    waiting: dict[str, list[EarSignals]] = defaultdict(list)
    for ear in sorted(ears, key=lambda ear: ear.name):
        if words_of(ear.prompt):
            waiting[ear.listener].append(ear)
    for listener in sorted(waiting):
        rng.shuffle(waiting[listener])
    chosen: list[EarSignals] = []
    heard = set()
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


def choose_training(ears: Iterable[EarSignals], n_signals: int, seed: int) -> list[EarSignals]:
    """Choose ears to learn from: each gives two signals, processed and reference."""
    ears = sorted(ears, key=lambda ear: ear.name)
    order = np.random.default_rng(seed).permutation(len(ears))
    return sorted((ears[i] for i in order[: max(1, n_signals // 2)]), key=lambda ear: ear.name)


def check_disjoint(training: Iterable[EarSignals], scored: Iterable[EarSignals]) -> None:
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
    return ear_signals.read_speech(path, LENGTHS)


def median_level(paths: Sequence[Path]) -> float:
    """Return the median level of signals in dB re full scale, silent ones left out."""
    levels = [float(read_speech(path).square().mean().sqrt()) for path in paths]
    heard = [20 * np.log10(level) for level in levels if level > SILENT]
    if not heard:
        raise RecipeError(f"all of {len(paths)} references are silent; run prepare_data.py again")
    return round(float(np.median(heard)), 1)
