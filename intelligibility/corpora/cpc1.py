"""The release of the first Clarity Prediction Challenge: two archives of two tracks, read only."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from intelligibility.corpora.clarity import (
    answered,
    configured,
    presented,
    read_list,
    read_sound,
    release_folder,
)
from intelligibility.corpora.corpus import CHALLENGE, PAPER, PAPER_THIS_RECIPE, Corpus
from intelligibility.corpora.listeners import read_listeners
from intelligibility.corpora.presentation import Archive, Presentation, Response, safe_name
from intelligibility.runs import RecipeError, is_number, listed, read_json

DATA_KEYS = {"train": "cpc1_train_data", "test": "cpc1_test_data"}
LISTENER_FILES = {"train": "listeners.CPC1_train.json", "test": "listeners.CPC1_all.json"}
NO_SPEECH = 2.0  # s at the start of every scene, before the target speaks
NAMES = ("signal", "scene", "listener", "system")
RELEASE = "clarity_CPC1_data"  # what both archives call their outermost folder


def read_archives(cfg: DictConfig, track: str) -> dict[str, Archive]:
    """Read the metadata of the training and the test archive of one track, "" or "_indep".

    An archive whose path is null is left out. A folder or a whole metadata file that is missing or
    damaged is refused: nothing can be skipped then.
    """
    as_given: Any = OmegaConf.to_container(cfg.path)  # path.root may be missing
    wanted = {name: key for name, key in DATA_KEYS.items() if as_given[key] is not None}
    if not wanted:
        raise RecipeError("path.cpc1_train_data and path.cpc1_test_data are null: set one of them")
    folders = {
        name: release_folder(cfg, key, RELEASE, f"; path.{key}=null does without this archive")
        for name, key in wanted.items()
    }
    return {name: _read_archive(folder, name, track) for name, folder in folders.items()}


def _read_archive(folder: Path, name: str, track: str) -> Archive:
    path = folder / "metadata" / f"CPC1.{name}{track}.json"
    listeners, problems = read_listeners(folder / "metadata" / LISTENER_FILES[name])
    responses, damaged = read_list(path, parse)
    if not responses:
        why = listed([one.where for one in damaged]) or "the list is empty"
        raise RecipeError(f"{path}: lists no usable signal: {why}; restore it from the release")
    data = folder / "clarity_data"
    snrs = read_snrs(folder / "metadata" / f"scenes.CPC1_{name}.json")

    def further(one: Response) -> dict[str, Any]:
        """Return the rest of a presentation: its wavs, lead-in and challenge."""
        return {
            "processed": data / "HA_outputs" / f"{name}{track}" / f"{one.signal}.wav",
            "reference": data / "scenes" / f"{one.scene}_target_anechoic.wav",
            "lead_in": NO_SPEECH,
            "cec": "CEC1",
            "snr": snrs.get(one.scene),
        }

    unknown = f"no audiogram in {LISTENER_FILES[name]}"
    presentations, unheard = presented(responses, listeners, unknown, further)
    scenes = sorted({one.scene for one in responses})
    return Archive(path, presentations, scenes, [*problems, *damaged, *unheard])


def parse(entry: dict[str, Any]) -> Response:
    """Read one entry of a list of signals."""
    names = {key: safe_name(entry.get(key), key) for key in NAMES}
    return answered(entry, **names)


def read_snrs(path: Path) -> dict[str, float]:
    """Read the SNR of each scene in dB; nothing where the archive has no list of its scenes."""
    scenes = read_json(path, list) if path.is_file() else []
    return {
        one["scene"]: float(one["SNR"])
        for one in scenes
        if isinstance(one, dict) and is_number(one.get("SNR")) and isinstance(one.get("scene"), str)
    }


def late_responses(cfg: DictConfig, track: str, _: Iterable[Presentation]) -> list[Response]:
    """Read the test responses in path.test_responses; damaged entries are left out."""
    folder = configured(cfg, "test_responses")
    path = Path(folder or "") / f"CPC1.test{track}.json"
    if not path.is_file():
        raise RecipeError(
            f"{path}: no such file; set path.test_responses to the folder that holds {path.name}"
        )
    return read_sound(path, parse)


# Tu, Ma & Barker (2022), Interspeech, arXiv 2204.04287, Tables 1 to 3, where RMSE is given on 0..1.
# The constant prior is that of the first Clarity Prediction Challenge.
CORPUS = Corpus(
    name="cpc1",
    read=read_archives,
    late_responses=late_responses,
    data_keys=DATA_KEYS,
    release=RELEASE,
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
    published_trainings={  # Table 2, of the closed track
        "LS": (26.4, 0.692, 0.449),
        "LS+CLS": (24.3, 0.746, 0.464),
        "LS+CPC1": (23.3, 0.768, 0.503),
        "LS+CLS+CPC1": (23.1, 0.773, 0.498),
        "LS+CLS+CPC1, no MSBG": (23.4, 0.767, 0.476),
    },
)
