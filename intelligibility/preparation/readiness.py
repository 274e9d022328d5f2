"""What the later stages will need, looked for before the first of them starts."""

from collections.abc import Mapping
from pathlib import Path

from omegaconf import DictConfig

from intelligibility.corpora import corpus_of, late_responses
from intelligibility.corpora.presentation import Presentation, Problem
from intelligibility.experiment import AsrFolder, Experiment, is_trained_here
from intelligibility.runs import RecipeError

FEWEST_TO_FIT = 3  # dev signals with a response, for a logistic of two parameters


def check_later_stages(
    cfg: DictConfig,
    experiment: Experiment,
    used: Mapping[str, list[Presentation]],
    dev_scenes: set[str],
) -> list[Problem]:
    """Look for what train_asr.py and evaluate.py will need.

    `used` are the presentations that can be used, per archive; the logistic will be fitted on the
    signals of `dev_scenes`.
    """
    dev = [one for one in used.get("train", []) if one.scene in dev_scenes]
    problems = _check_start(cfg, experiment) if is_trained_here(cfg) else []
    if cfg.calibration:
        return problems + _check_responses(cfg, experiment, used.get("test", []))
    if "train" in used:
        problems += _check_dev(dev, "")
        if corpus_of(cfg).mapping_per_set:
            for name in sorted({name for one in used["train"] for name in one.sets}):
                mine = [one for one in dev if name in one.sets]
                problems += _check_dev(mine, f"training {name}: ")
    elif not experiment.scene_list("dev").is_file():
        where = "there are no training scenes; give calibration=other/calibration.json"
        problems.append(Problem("nothing to fit the logistic on", where, stops="evaluate.py"))
    return problems + _check_responses(cfg, experiment, used.get("test", []))


def _check_start(cfg: DictConfig, experiment: Experiment) -> list[Problem]:
    if any(experiment.save_folder.glob("CKPT+*")):
        return []
    if cfg.pretrained:
        return _check_pretrained(Path(str(cfg.pretrained)).expanduser(), str(cfg.pretrained))
    if cfg.from_scratch:
        return []
    where = (
        f"put a checkpoint in {experiment.save_folder}, set pretrained, or do without "
        "train_asr.py, with recogniser= one of the hub"
    )
    return [Problem("no recogniser to start from", where, stops="train_asr.py")]


def _check_pretrained(folder: Path, named: str) -> list[Problem]:
    if not folder.is_dir():
        if named[0] not in "/.~":
            return []  # a hub id: what it holds is known when it is fetched
        return [Problem("no pretrained recogniser", f"{named} is no folder", stops="train_asr.py")]
    if AsrFolder(folder).save_folder.is_dir():
        return []  # of train_asr.py
    return [
        Problem("no pretrained recogniser", f"{folder / name} is missing", stops="train_asr.py")
        for name in ("asr.ckpt", "normalizer.ckpt", "tokenizer.ckpt")
        if not (folder / name).is_file()
    ]


def _check_dev(dev: list[Presentation], whose: str) -> list[Problem]:
    labelled = [one.correctness for one in dev if one.correctness is not None]
    if len(labelled) >= FEWEST_TO_FIT and len(set(labelled)) > 1:
        return []
    where = (
        f"{whose}{len(labelled)} dev signals with {len(set(labelled))} different responses, the "
        f"logistic needs {FEWEST_TO_FIT} that differ; use more training scenes, a larger "
        "dev_percent, or calibration=other/calibration.json"
    )
    return [Problem("too few dev responses", where, stops="evaluate.py")]


def _check_responses(
    cfg: DictConfig, experiment: Experiment, test: list[Presentation]
) -> list[Problem]:
    labelled = {one.name for one in test if one.correctness is not None}
    if cfg.path.test_responses is not None:
        try:
            late = late_responses(cfg, experiment.track, test)
        except RecipeError as error:
            return [Problem("no test responses", str(error), stops="evaluate.py")]
        labelled |= {one.signal for one in late if one.correctness is not None}
    fault = "test signal without a response: predicted, but not scored"
    return [Problem(fault, one.name, stops="") for one in test if one.name not in labelled]
