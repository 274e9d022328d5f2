"""A bundle: one self-contained folder with the recogniser, its settings, the mapping, and a card.

It has the layout of an experiment folder, so that score.py opens both in the same way, and can be
uploaded to the hub.
"""

import shutil
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from intelligibility.evaluation.curve import CURVE
from intelligibility.experiment import Experiment, SaveFolder, default_asr_folder, is_trained_here
from intelligibility.prediction.model import simulated_with
from intelligibility.runs import RECIPE, RecipeError, atomic_folder, read_json, write_json

CHECKPOINT_FILES = ("CKPT.yaml", "model.ckpt", "normalizer.ckpt")
CARD = """---
license: # fill in: may the recogniser and its training data be redistributed?
tags: [speech-intelligibility-prediction, hearing-loss, clarity-challenge]
---

# Words correct from two recordings and an audiogram

A hearing-loss simulation (MSBG), a speech recogniser, and a {curve} from the similarity of its
hidden representations to percent words correct, after Tu, Ma & Barker (Interspeech 2022, arXiv
2204.04287).

    python score.py model=THIS processed=ha.wav reference=clean.wav audiogram=moderate

| | |
|---|---|
| corpus | {corpus}, {track} track |
| recogniser | {recogniser} |
| trained on | {trained_on} |
| mapping fitted on | {fitted_on} |
| 0 dB FS | {full_scale:g} dB SPL |
| made with | {versions} |

RMSE in percent words correct, of single sentences:

| measure | dev, fitted on | test | test NCC |
|---|---|---|---|
{scores}
"""


def check_bundle(folder: Path, cfg: DictConfig) -> None:
    """Refuse a bundle in a folder that holds something, and one that score.py could not open."""
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise RecipeError(f"bundle={folder}: exists already; give a new folder, or remove it")
    if not is_trained_here(cfg):
        raise RecipeError(
            f"bundle={folder}: recogniser={cfg.recogniser} is on the hub already; pass on its name "
            "and calibration.json instead"
        )
    if cfg.calibration:
        raise RecipeError(
            f"bundle={folder}: holds the mapping that is fitted here; leave calibration out"
        )
    if cfg.hearing_loss == "none":
        raise RecipeError(f"bundle={folder}: made without a hearing loss, it disregards audiograms")


def write_bundle(
    folder: Path, cfg: DictConfig, experiment: Experiment, results: dict[str, Any] | None
) -> None:
    """Write a bundle into a new or empty folder, which appears once it is complete.

    `experiment` is where infer.py and evaluate.py ran, with the recogniser in its asr_folder;
    `results` are the scores of evaluate.py, None where no test response is known.
    """
    check_bundle(folder, cfg)
    inference = read_json(experiment.inference, dict)
    with atomic_folder(folder) as part:
        asr_folder = default_asr_folder(part, cfg.corpus, experiment.track)
        inside = Experiment(part, asr_folder, experiment.track)
        _copy_recogniser(experiment.save_folder, inside.save_folder)
        shutil.copyfile(RECIPE / cfg.asr_config, part / Path(cfg.asr_config).name)
        shutil.copyfile(experiment.calibration, inside.calibration)
        record = inference | {
            "provenance": _without_paths(inference["provenance"], cfg, experiment)
        }
        write_json(inside.inference, record)
        card = _card(cfg, experiment, record, results)
        (part / "README.md").write_text(card, encoding="utf-8")


def _copy_recogniser(save_folder: Path, to: Path) -> None:
    for checkpoint in sorted(save_folder.glob("CKPT+*")):
        (to / checkpoint.name).mkdir(parents=True)
        for name in CHECKPOINT_FILES:
            shutil.copyfile(checkpoint / name, to / checkpoint.name / name)
    beside = SaveFolder(save_folder)
    for path in (beside.tokenizer, beside.model_settings):
        if path.is_file():
            shutil.copyfile(path, to / path.name)


def _without_paths(
    provenance: dict[str, Any], cfg: DictConfig, experiment: Experiment
) -> dict[str, Any]:
    """Return a record without the paths of the machine that made it."""
    config = dict(provenance["config"])
    config["MSBGEar"] = simulated_with(experiment, config["MSBGEar"])
    config["path"] = dict.fromkeys(config["path"]) | {"root": "(not given)"}
    config["asr_config"] = Path(cfg.asr_config).name
    config |= {"run": None, "data": "corpus"}  # a bundle is an experiment's folder of its own
    return provenance | {"config": config, "command": provenance["command"].split()[0]}


def _card(
    cfg: DictConfig,
    experiment: Experiment,
    record: dict[str, Any],
    results: dict[str, Any] | None,
) -> str:
    mapping = read_json(experiment.calibration, dict)
    file = experiment.asr.trained_on
    trained = read_json(file, dict) if file.is_file() else {}
    heard = trained.get("presentations", [])
    scenes = {one["scene"] for one in heard} - {None}
    scored = (results or {}).get("scores", {})
    made = record["provenance"]["versions"]
    ear = OmegaConf.create(record["provenance"]["config"]["MSBGEar"])
    lines = []
    for name, fit in mapping["measures"].items():
        test = scored.get(name, {})
        rmse, ncc = (test.get(one, {}).get("value") for one in ("RMSE", "NCC"))
        on_test = " | ".join("–" if v is None else f"{v:.3g}" for v in (rmse, ncc))
        name += f" ({fit['layer']})" if "layer" in fit else ""
        lines.append(f"| {name} | {fit['RMSE']:.3g} ({fit['n_signals']} signals) | {on_test} |")
    return CARD.format(
        curve=CURVE,
        corpus=cfg.corpus,
        track=cfg.cpc1_track,
        recogniser=f"SHA-256 {record['checkpoint_sha256']}",
        trained_on=f"{len(heard)} signals of {len(scenes)} scenes" if heard else "not recorded",
        fitted_on=f"{max(f['n_signals'] for f in mapping['measures'].values())} dev signals",
        full_scale=ear.equiv_0db_spl + ear.ahr,
        versions=", ".join(f"{name} {version}" for name, version in made.items()),
        scores="\n".join(lines),
    )
