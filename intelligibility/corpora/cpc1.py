"""The release of the first Clarity Prediction Challenge: two archives of two tracks, read only."""

import logging
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationToMissingValueError, MissingMandatoryValue

from intelligibility.corpora.corpus import CHALLENGE, PAPER, PAPER_THIS_RECIPE, Corpus
from intelligibility.corpora.presentation import (
    ARCHIVES,
    Archive,
    Presentation,
    Problem,
    Response,
    percentage,
    safe_name,
)
from intelligibility.runs import RecipeError, is_number, listed, read_json
from msbg import Listener

logger = logging.getLogger(__name__)

LISTENER_FILES = {"train": "listeners.CPC1_train.json", "test": "listeners.CPC1_all.json"}
NO_SPEECH = 2.0  # s at the start of every scene, before the target speaks
OUTERMOST = "clarity_CPC1_data"  # what both archives call their outermost folder
NAMES = ("signal", "scene", "listener", "system")


def read_archives(cfg: DictConfig, track: str) -> dict[str, Archive]:
    """Read the metadata of the training and the test archive of one track.

    Parameters
    ----------
    cfg : DictConfig
        The configuration. An archive whose path is null is not asked for.
    track : str
        "" or "_indep".

    Raises
    ------
    RecipeError
        A folder or a whole metadata file is missing or damaged: nothing can be skipped then.
    """
    folders = {name: _release(cfg, name) for name in ARCHIVES}
    if not any(folders.values()):
        raise RecipeError("path.cpc1_train_data and path.cpc1_test_data are null: set one of them")
    return {
        name: _read_archive(folder, name, track)
        for name, folder in folders.items()
        if folder is not None
    }


def _release(cfg: DictConfig, name: str) -> Path | None:
    """Return the unpacked archive, None when the configuration does without it."""
    key = f"cpc1_{name}_data"
    try:
        value = cfg.path[key]
    except (InterpolationToMissingValueError, MissingMandatoryValue):
        raise RecipeError(
            "path.root is not set: give the folder of the unpacked CPC1 archives, in config.yaml "
            f"or as path.root=/data/cpc1 (or path.{key} alone; null does without it)"
        ) from None
    if value is None:
        return None
    folder = Path(str(value)).expanduser().absolute()
    if not (folder / "metadata").is_dir() and (folder / OUTERMOST).is_dir():
        folder = folder / OUTERMOST
    if not (folder / "metadata").is_dir():
        below_root = "path.root" in str(OmegaConf.to_container(cfg.path)[key])
        blamed = f"path.root={cfg.path.root}" if below_root else f"path.{key}"
        raise RecipeError(
            f"{blamed}: no folder {folder / 'metadata'}; path.root has to hold the unpacked "
            "archives clarity_CPC1_data_train and clarity_CPC1_data_test, or path.cpc1_train_data "
            f"and path.cpc1_test_data name them; path.{key}=null does without this one"
        )
    return folder


def _read_archive(folder: Path, name: str, track: str) -> Archive:
    path = folder / "metadata" / f"CPC1.{name}{track}.json"
    listeners, problems = read_listeners(folder / "metadata" / LISTENER_FILES[name])
    responses, faults = parse_responses(path)
    problems += [Problem(f"damaged entry in {path.name}", fault) for fault in faults]
    if not responses:
        raise RecipeError(
            f"{path}: lists no usable signal: {listed(faults) or 'the list is empty'}; restore the "
            "file from the release"
        )
    data = folder / "clarity_data"
    snrs = read_snrs(folder / "metadata" / f"scenes.CPC1_{name}.json")
    presentations = []
    for one in responses:
        if one.listener not in listeners:
            where = f"listener {one.listener} of {one.signal}"
            fault = f"no audiogram in {LISTENER_FILES[name]}"
            problems.append(Problem(fault, where, (one.signal,)))
            continue
        presentations.append(
            Presentation(
                name=one.signal,
                scene=one.scene,
                listener=listeners[one.listener],
                system=one.system,
                prompt=one.prompt,
                correctness=one.correctness,
                processed=data / "HA_outputs" / f"{name}{track}" / f"{one.signal}.wav",
                reference=data / "scenes" / f"{one.scene}_target_anechoic.wav",
                lead_in=NO_SPEECH,
                snr=snrs.get(one.scene),
                cec="CEC1",
            )
        )
    scenes = sorted({one.scene for one in responses})
    return Archive(path, presentations, scenes, problems)


def read_snrs(path: Path) -> dict[str, float]:
    """Read the SNR of each scene in dB; nothing where the archive has no list of its scenes."""
    scenes = read_json(path, list) if path.is_file() else []
    return {
        one["scene"]: float(one["SNR"])
        for one in scenes
        if isinstance(one, dict) and is_number(one.get("SNR")) and isinstance(one.get("scene"), str)
    }


def read_listeners(path: Path) -> tuple[dict[str, Listener], list[Problem]]:
    """Read a Clarity listeners file as far as it is sound."""
    listeners, problems = {}, []
    try:
        entries = read_json(path, dict)
    except RecipeError as error:
        raise RecipeError(f"{error}; it holds the listeners' audiograms") from None
    for name, entry in entries.items():
        try:
            listener = Listener.from_dict(entry)
            listeners[name] = listener if listener.id == name else replace(listener, id=name)
        except ValueError as error:
            where = f"{name:.60}: {error!s:.300}"
            problems.append(Problem(f"audiogram in {path.name} not usable", where))
    return listeners, problems


def late_responses(cfg: DictConfig, track: str, _: Iterable[Presentation]) -> list[Response]:
    """Read the test responses in path.test_responses; damaged entries are left out.

    Raises
    ------
    RecipeError
        No such file, or no json.
    """
    folder = Path(str(cfg.path.test_responses)).expanduser().absolute()
    path = folder / f"CPC1.test{track}.json"
    if not path.is_file():
        raise RecipeError(
            f"{path}: no such file; set path.test_responses to the folder that holds {path.name}"
        )
    responses, faults = parse_responses(path)
    if faults:
        logger.warning("%s: %d damaged entries are left out: %s", path, len(faults), listed(faults))
    return responses


def parse_responses(path: str | Path) -> tuple[list[Response], list[str]]:
    """Read a CPC1 metadata file as far as it is sound.

    Parameters
    ----------
    path : str or Path
        Such as CPC1.train.json: a list of mappings with at least signal, scene, listener, system
        and prompt.

    Returns
    -------
    responses : list of Response
        Sorted by signal.
    faults : list of str
        What is wrong with the other entries.

    Raises
    ------
    RecipeError
        The file is missing or damaged as a whole.
    """
    responses, faults = [], []
    for number, entry in enumerate(read_json(path, list), start=1):
        try:
            responses.append(_response(entry))
        except ValueError as error:
            faults.append(f"entry {number}: {error}")
    return sorted(responses, key=lambda response: response.signal), faults


def _response(entry: Any) -> Response:
    if not isinstance(entry, dict):
        raise ValueError(f"{entry!r:.60} where a mapping was expected")
    names = [safe_name(entry.get(field), field) for field in NAMES]
    if not isinstance(entry.get("prompt"), str):
        raise ValueError(f"prompt is {entry.get('prompt')!r:.60}, expected the sentence")
    correctness = percentage(entry.get("correctness"), "correctness")
    return Response(*names, entry["prompt"], correctness)


# Tu, Ma & Barker (2022), Interspeech, arXiv 2204.04287, Tables 1 to 3, where RMSE is given on 0..1.
# The constant prior is that of the first Clarity Prediction Challenge.
CORPUS = Corpus(
    name="cpc1",
    read=read_archives,
    late_responses=late_responses,
    data_keys={"train": "cpc1_train_data", "test": "cpc1_test_data"},
    release=OUTERMOST,
    zenodo=17046604,
    tracks=True,
    n_test_signals={"closed": 2421, "open": 632},
    published={
        ("prior", CHALLENGE): {"closed": (36.4, None, None), "open": (36.2, None, None)},
        ("mbstoi", PAPER): {"closed": (28.5, 0.621, 0.398), "open": (36.5, 0.529, 0.391)},
        ("wcs", PAPER): {"closed": (25.0, 0.729, 0.523), "open": (25.0, 0.723, 0.534)},
        ("pre", PAPER): {"closed": (34.7, 0.299, 0.182), "open": (35.6, 0.254, 0.136)},
        ("enc", PAPER): {"closed": (23.7, 0.758, 0.487), "open": (24.1, 0.751, 0.534)},
        ("dec", PAPER): {"closed": (23.1, 0.773, 0.498), "open": (23.5, 0.763, 0.530)},
        ("dec", PAPER_THIS_RECIPE): {"closed": (23.3, 0.768, 0.503)},
    },
    published_means={  # of the closed track
        ("mbstoi", PAPER): {"listener": (7.8, 0.414, 0.311), "system": (14.7, 0.798, 0.244)},
        ("dec", PAPER): {"listener": (7.8, 0.419, 0.407), "system": (4.8, 0.982, 0.644)},
    },
)
