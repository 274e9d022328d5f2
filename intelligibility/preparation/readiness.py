"""What the later stages will need, looked for before the first of them starts."""

from collections.abc import Mapping
from pathlib import Path

import torch
from omegaconf import DictConfig
from sentencepiece import SentencePieceProcessor

from intelligibility.corpora import corpus_of, late_responses
from intelligibility.corpora.presentation import Presentation, Problem
from intelligibility.experiment import Experiment, is_trained_here
from intelligibility.runs import RecipeError

FEWEST_TO_FIT = 3  # dev signals with a response, for a logistic of two parameters


def check_later_stages(
    cfg: DictConfig,
    experiment: Experiment,
    used: Mapping[str, list[Presentation]],
    dev_scenes: set[str],
) -> list[Problem]:
    """Look for what train_asr.py, infer.py and evaluate.py will need.

    Parameters
    ----------
    cfg : DictConfig
        The configuration.
    experiment : Experiment
        Where the recogniser lies, or will lie.
    used : mapping
        The presentations that can be used, per archive.
    dev_scenes : set of str
        The scenes that the logistic will be fitted on.
    """
    dev = [one for one in used.get("train", []) if one.scene in dev_scenes]
    problems = _check_start(cfg, experiment, [*dev, *used.get("test", [])])
    for tokenizer in _tokenizers(cfg, experiment):
        problems += _check_prompts(tokenizer, used)
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


def _check_start(
    cfg: DictConfig, experiment: Experiment, measured: list[Presentation]
) -> list[Problem]:
    if any(experiment.save_folder.glob("CKPT+*")):
        # It takes its time.
        return _check_recogniser(cfg, experiment, measured) if cfg.check_only else []
    if cfg.pretrained:
        return _check_pretrained(Path(str(cfg.pretrained)).expanduser(), str(cfg.pretrained))
    if cfg.from_scratch:
        return []
    where = f"put a checkpoint in {experiment.save_folder}, or set pretrained"
    return [Problem("no recogniser to start from", where, stops="train_asr.py")]


def _check_recogniser(
    cfg: DictConfig, experiment: Experiment, measured: list[Presentation]
) -> list[Problem]:
    # Here, since preparing should not wait for SpeechBrain.
    from intelligibility.recognisers import load_recogniser, recogniser_made_by
    from intelligibility.recognisers.trained_on import check_unseen

    if not is_trained_here(cfg):
        return []
    try:
        recogniser_made_by(cfg, experiment)  # compares its settings with those given
        load_recogniser(cfg, experiment, torch.device("cpu"))
        check_unseen(experiment.asr_folder, {one.name: one.scene for one in measured})
    except RecipeError as error:
        return [Problem("recogniser that cannot be used", str(error), stops="infer.py")]
    return []


def _check_pretrained(folder: Path, named: str) -> list[Problem]:
    if not folder.is_dir():
        if named[0] not in "/.~":
            return []  # a hub id: what it holds is known when it is fetched
        return [Problem("no pretrained recogniser", f"{named} is no folder", stops="train_asr.py")]
    return [
        Problem("no pretrained recogniser", f"{folder / name} is missing", stops="train_asr.py")
        for name in ("asr.ckpt", "normalizer.ckpt", "tokenizer.ckpt")
        if not (folder / name).is_file()
    ]


def _tokenizers(cfg: DictConfig, experiment: Experiment) -> list[Path]:
    """Return the tokenizer that the prompts will have to be written with, where it is known."""
    if experiment.tokenizer.is_file():
        return [experiment.tokenizer]
    given = Path(str(cfg.pretrained)).expanduser() / experiment.tokenizer.name
    return [given] if cfg.pretrained and given.is_file() else []


def _check_prompts(path: Path, used: Mapping[str, list[Presentation]]) -> list[Problem]:
    try:
        tokenizer = SentencePieceProcessor(model_file=str(path))
    except (RuntimeError, OSError):
        return [Problem("tokenizer that cannot be read", str(path))]
    return [
        Problem("prompt that the tokenizer cannot write", f"{one.name}: {one.prompt}", (one.name,))
        for presentations in used.values()
        for one in presentations
        if tokenizer.unk_id() in tokenizer.encode(one.prompt.upper())
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
        labelled = {one.signal for one in late if one.correctness is not None}
    fault = "test signal without a response: predicted, but not scored"
    return [Problem(fault, one.name, stops="") for one in test if one.name not in labelled]
