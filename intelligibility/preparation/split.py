"""The development scenes: drawn from the training scenes, or listed by hand."""

import logging
import math
import random
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from omegaconf import DictConfig

from intelligibility.corpora.presentation import Archive
from intelligibility.experiment import Experiment
from intelligibility.runs import RecipeError, read_json, write_json

logger = logging.getLogger(__name__)


def choose_split(
    experiment: Experiment, archives: Mapping[str, Archive], cfg: DictConfig
) -> tuple[dict[str, str], bool]:
    """Draw the development scenes; all signals of a scene stay together.

    They are drawn over all scenes that are listed, so the split stays the same whatever is left
    out: the same seed, share and scenes give the same split. Lists that were put there by hand are
    kept. Refused: lists made by hand that are not of these scenes, or others than those of the
    experiment that this one is an ablation of. Returns "train" or "dev" per training scene, and
    whether the lists were found, and not drawn.
    """
    train = archives.get("train", Archive(Path(), [], []))
    scenes, dev_only = train.scenes, train.dev_only
    if train.dev_scenes is None:
        drawn = draw_split([s for s in scenes if s not in dev_only], cfg.dev_percent, cfg.seed)
        drawn["dev"] = sorted({*drawn["dev"], *dev_only})
    else:
        drawn = {
            "train": [s for s in scenes if s not in train.dev_scenes],
            "dev": sorted(train.dev_scenes),
        }
    found = _found_lists(experiment)
    record = experiment.split_record
    last_drawn = read_json(record, dict).get("drawn") if record.is_file() else None
    hand_made = len(found) == 2 and bool(scenes) and found != last_drawn
    if hand_made:
        if sorted(map(str, found["train"] + found["dev"])) != scenes:
            raise RecipeError(
                f"{record.parent}: the two scene lists were made by hand and do not hold "
                f"each of the {len(scenes)} training scenes once; fix them, or delete both"
            )
        drawn = found
    elif scenes and found and found != drawn:
        _refuse_another(experiment)
    return {scene: split for split, names in drawn.items() for scene in names}, hand_made


def draw_split(scenes: list[str], dev_percent: float, seed: int) -> dict[str, list[str]]:
    """Draw floor(n_scenes * dev_percent) development scenes."""
    dev = set(random.Random(seed).sample(scenes, math.floor(len(scenes) * dev_percent)))
    return {"train": [scene for scene in scenes if scene not in dev], "dev": sorted(dev)}


def _found_lists(experiment: Experiment) -> dict[str, list[str]]:
    files = {split: experiment.scene_list(split) for split in ("train", "dev")}
    return {split: read_json(path, list) for split, path in files.items() if path.is_file()}


def write_split(
    experiment: Experiment, split_of: Mapping[str, str], cfg: DictConfig, hand_made: bool
) -> bool:
    """Write the lists of scenes, and how they were drawn; say whether there were others before."""
    found = _found_lists(experiment)
    lists: dict[str, list[str]] = {"train": [], "dev": []}
    for scene, split in split_of.items():
        lists[split].append(scene)
    draw = bool(split_of) and not hand_made and found != lists
    if hand_made:
        logger.info("Kept the scene lists found in %s", experiment.split_record.parent)
    if draw:
        if found:
            logger.warning("Other scenes, seed or dev_percent than before: a new split is drawn")
        for split in lists:  # half a new split must not look like one made by hand
            experiment.scene_list(split).unlink(missing_ok=True)
        record = {"seed": cfg.seed, "dev_percent": cfg.dev_percent, "drawn": lists}
        write_json(experiment.split_record, record)
        for split, scenes in lists.items():
            write_json(experiment.scene_list(split), scenes)
    logger.info("%d training and %d dev scenes", len(lists["train"]), len(lists["dev"]))
    return draw and bool(found)


def _refuse_another(experiment: Experiment) -> None:
    """Keep an ablation, which is compared on the same scenes, from drawing others."""
    whole = replace(experiment, ablation="")
    if experiment.ablation and whole.prepared_journal.is_file():
        drawn = read_json(experiment.split_record, dict)
        raise RecipeError(
            f"{experiment.scene_list('dev')}: hearing_loss=none takes the split of "
            f"{whole.data_folder}; give seed={drawn.get('seed')} "
            f"dev_percent={drawn.get('dev_percent')}, or prepare that one anew first"
        )
