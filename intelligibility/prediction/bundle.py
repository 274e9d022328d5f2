"""One self-contained folder to hand on: recogniser, settings, mapping, and a card.

It is laid out as an experiment folder, so that score.py opens both alike, and fit for the hub.
"""

import shutil
import uuid
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from intelligibility.evaluation.curve import CURVE
from intelligibility.experiment import AsrFolder, Experiment, SaveFolder, is_trained_here
from intelligibility.runs import RECIPE, RecipeError, read_json, write_json

OF_A_CHECKPOINT = ("CKPT.yaml", "model.ckpt", "normalizer.ckpt")
CARD = """---
license: # fill in: may the recogniser and what it was trained on be handed on?
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


def check_new(folder: Path) -> None:
    """Refuse a folder for a bundle that something lies in, or that is none."""
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise RecipeError(f"bundle={folder}: is there already; give a new folder, or remove it")


def write_bundle(
    folder: Path, cfg: DictConfig, experiment: Experiment, results: dict[str, Any] | None
) -> None:
    """Write a bundle; the folder appears when it is whole.

    Parameters
    ----------
    folder : Path
        A new one.
    cfg : DictConfig
        The configuration.
    experiment : Experiment
        In which infer.py and evaluate.py ran, with the recogniser of its asr_folder.
    results : dict or None
        What evaluate.py found; None where no test response is known.

    Raises
    ------
    RecipeError
        The folder is there already, or something to put into it is missing.
    """
    check_new(folder)
    if not is_trained_here(cfg):
        raise RecipeError(
            f"bundle={folder}: recogniser={cfg.recogniser} is the hub's own; hand on its name and "
            f"{experiment.calibration.name} instead"
        )
    inference = read_json(experiment.inference, dict)
    part = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:12]}.part")
    try:
        asr_folder = AsrFolder.below(part, cfg.corpus, experiment.track).path
        inside = Experiment(part, asr_folder, experiment.track)
        _copy_recogniser(experiment.save_folder, inside.save_folder)
        shutil.copyfile(RECIPE / cfg.asr_config, part / Path(cfg.asr_config).name)
        shutil.copyfile(experiment.calibration, inside.calibration)
        record = inference | {"provenance": _handed_on(inference["provenance"], cfg, experiment)}
        write_json(inside.inference, record)
        card = _card(cfg, experiment, record, results)
        (part / "README.md").write_text(card, encoding="utf-8")
        if folder.exists():
            folder.rmdir()
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _copy_recogniser(save_folder: Path, to: Path) -> None:
    for checkpoint in sorted(save_folder.glob("CKPT+*")):
        (to / checkpoint.name).mkdir(parents=True)
        for name in OF_A_CHECKPOINT:
            shutil.copyfile(checkpoint / name, to / checkpoint.name / name)
    beside = SaveFolder(save_folder)
    for path in (beside.tokenizer, beside.model_settings):
        if path.is_file():
            shutil.copyfile(path, to / path.name)


def _handed_on(
    provenance: dict[str, Any], cfg: DictConfig, experiment: Experiment
) -> dict[str, Any]:
    """Return a record without the paths of the machine that made it."""
    config = dict(provenance["config"])
    if experiment.presentations.is_file():  # prepare_data.py knows what it simulated
        prepared = read_json(experiment.presentations, dict)["provenance"]["config"]
        config["MSBGEar"] = prepared["MSBGEar"]
    config["path"] = dict.fromkeys(config["path"]) | {"root": "(not given)"}
    config["asr_config"] = Path(cfg.asr_config).name
    return provenance | {"config": config, "command": provenance["command"].split()[0]}


def _card(
    cfg: DictConfig,
    experiment: Experiment,
    record: dict[str, Any],
    results: dict[str, Any] | None,
) -> str:
    mapping = read_json(experiment.calibration, dict)
    trained = read_json(experiment.trained_on, dict) if experiment.trained_on.is_file() else {}
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
