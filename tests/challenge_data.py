"""An experiment on CPC2 or CPC3 as infer.py leaves it, from planted numbers: no audio."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from intelligibility.corpora.listeners import stand_in
from intelligibility.corpora.presentation import Presentation, write_presentations
from intelligibility.runs import write_json

GRADES = ("Mild", "Moderate", "Moderately severe")
NOISE = {"dec": 0.6, "enc": 1.0}
SHIFTS = {"1": 0.0, "2": 0.1, "3": -0.1}  # what a set's similarities are shifted by


def make_challenge(
    exp: Path,
    corpus: str,
    n_train: int = 40,
    n_test: int = 30,
    per_scene: int = 4,
    labelled: tuple[str, ...] = ("1", "2", "3", "dev", "eval"),
    seed: int = 0,
) -> dict[str, list[Presentation]]:
    """Write presentations, dev scenes, similarities and the record of inference.

    Half of the training scenes are dev scenes. Every scene is heard by `per_scene` of nine
    listeners; CPC2's third k is kept for test k. Similarities of CPC2's set k are shifted by what
    `SHIFTS` says.
    """
    rng = np.random.default_rng(seed)
    used: dict[str, list[Presentation]] = {"train": [], "test": []}
    similarities: dict[tuple[str, str], dict[str, float]] = {}
    for archive, n_scenes in (("train", n_train), ("test", n_test)):
        for number in range(n_scenes):
            ease = rng.normal(0, 1.5)
            cec = "CEC1" if archive == "train" and number % 2 else "CEC2"
            scene = f"S{(archive == 'test') + 1}{number:04d}"
            for person in sorted(rng.choice(9, per_scene, replace=False)):
                one = _presentation(corpus, archive, cec, scene, number, int(person), rng)
                logit = ease + rng.normal(0, 0.8)
                correctness = 20 * round(5 / (1 + np.exp(-logit)))
                is_labelled = archive == "train" or set(one.sets) & set(labelled)
                used[archive].append(replace(one, correctness=correctness if is_labelled else None))
                if archive == "train" and number % 2:
                    continue  # the recogniser is trained on it
                split = "test" if archive == "test" else "dev"
                shift = SHIFTS[one.sets[0]] if corpus == "cpc2" and archive == "test" else 0
                for measure, noise in NOISE.items():
                    similar = 0.6 + shift + 0.25 / (1 + np.exp(-logit - rng.normal(0, noise)))
                    similarities.setdefault((split, measure), {})[one.name] = float(similar)
    write_presentations(exp / "presentations.json", used, {})
    dev = sorted({o.scene for o in used["train"] if o.name in similarities["dev", "dec"]})
    write_json(exp / "data_split/scene_dev_list.json", dev)
    for (split, measure), values in similarities.items():
        write_json(exp / f"{split}_{measure}_similarity.json", values)
    write_json(exp / "inference.json", {})
    return used


def _presentation(
    corpus: str, archive: str, cec: str, scene: str, number: int, person: int, rng
) -> Presentation:
    listener, system = f"L{person:04d}", f"E{rng.integers(4):03d}"
    who = stand_in(GRADES[person % 3], listener)
    if corpus == "cpc2":
        third = str(person // 3 + 1)
        sets = (third,) if archive == "test" else tuple(k for k in "123" if k != third)
        names = f"{scene}_{listener}_{system}", f"{cec}_{scene}"
    elif archive == "train":
        names, sets = (f"{cec}_{system}_{scene}_{listener}", f"{cec}_{scene}"), ("train",)
    else:
        opaque = hashlib.sha256(f"{scene}{listener}".encode()).hexdigest()[:24]
        names, sets = (opaque, opaque), ("dev" if number % 3 == 0 else "eval",)
        who, system, cec = stand_in(*[GRADES[person % 3]] * 2), "", ""
    place = (f"sentence {scene}", None, Path("/nowhere.wav"), Path("/nowhere.wav"), 1.5)
    return Presentation(*names, who, system, *place, made_from="", cec=cec, sets=sets)
