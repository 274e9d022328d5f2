"""The release of the third Clarity Prediction Challenge, read only.

    clarity_CPC3_data/clarity_data/
        metadata/             CPC3.{train,dev,eval}.json, listeners.csv (listener_id, severity)
        train/signals/        <CEC>_<system>_<scene>_<listener>.wav
        train/references/     <CEC>_<scene>_ref.wav
        {dev,eval}/           signals/<signal>.wav, references/<signal>_ref.wav: opaque names

The challenge's dev and eval are the test here, as its `sets`; labels of them are taken from any
CPC3.{dev,eval}*.json that has them, here or in path.test_responses. The release holds no audiogram,
but the severity of each loss: an audiogram stands in for it, as in Clarity's baseline. If you have
the audiograms of the same people (CPC1 and CPC2 have them), name them in path.listeners.
"""

import csv
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from intelligibility.corpora.clarity import (
    answered,
    configured,
    presented,
    read_labels,
    read_list,
    release_folder,
)
from intelligibility.corpora.corpus import CHALLENGE, Corpus
from intelligibility.corpora.listeners import STAND_INS, read_listeners, stand_in
from intelligibility.corpora.presentation import Archive, Presentation, Problem, Response, safe_name
from intelligibility.runs import RecipeError
from msbg import Listener

logger = logging.getLogger(__name__)

RELEASE = "clarity_CPC3_data"
DEV_AND_EVAL = ("dev", "eval")  # of the challenge; our own dev scenes are drawn from its training


def read_archives(cfg: DictConfig, _: str) -> dict[str, Archive]:
    """Read the metadata: "train", and "test", which holds the challenge's dev and eval.

    Without the folder or any list nothing can be skipped: RecipeError.
    """
    data = release_folder(cfg, "cpc3_data", RELEASE)
    measured = read_measured(configured(cfg, "listeners"))
    train = _read_train(data, measured)
    test = _read_test(data, configured(cfg, "test_responses"), measured)
    archives = {name: one for name, one in (("train", train), ("test", test)) if one}
    if not archives:
        raise RecipeError(
            f"{data / 'metadata'}: no CPC3.train.json, CPC3.dev.json or CPC3.eval.json; restore "
            "the folder from the release"
        )
    if measured:
        _log_measured(archives, measured)
    return archives


def _read_train(data: Path, measured: dict[str, Listener]) -> Archive | None:
    path, folder = data / "metadata" / "CPC3.train.json", data / "train"
    if not path.is_file():
        missing = Problem("training set without its list", str(path))
        return Archive(path, [], [], [missing]) if folder.is_dir() else None
    listeners, problems = read_severities(data / "metadata" / "listeners.csv")
    listeners |= {name: one for name, one in measured.items() if name in listeners}
    responses, damaged = read_list(path, parse_named)

    def further(one: Response) -> dict[str, Any]:
        """Return the rest of a presentation: its wavs, lead-in and challenge."""
        return {
            "processed": folder / "signals" / f"{one.signal}.wav",
            "reference": folder / "references" / f"{one.scene}_ref.wav",
            "lead_in": None,
            "cec": one.scene.partition("_")[0],
            "sets": ("train",),
        }

    unknown = "no severity in listeners.csv"
    presentations, unheard = presented(responses, listeners, unknown, further)
    scenes = sorted({one.scene for one in responses})
    return Archive(path, presentations, scenes, [*problems, *damaged, *unheard])


def _read_test(data: Path, late: Path | None, measured: dict[str, Listener]) -> Archive | None:
    presentations: list[Presentation] = []
    problems: list[Problem] = []
    for name in DEV_AND_EVAL:
        path = data / "metadata" / f"CPC3.{name}.json"
        labels = find_labels(data, late, name)
        if path.is_file() or labels:
            entries = path if path.is_file() else labels[0]
            listed, faults = _read_set(data, entries, labels, name, measured)
            presentations += listed
            problems += faults
        elif (data / name).is_dir():
            problems.append(Problem(f"{name} set without its list", str(path)))
    if not presentations and not problems:
        return None
    presentations.sort(key=lambda one: one.name)
    scenes = sorted({one.scene for one in presentations})
    return Archive(data / "metadata", presentations, scenes, problems)


def _read_set(
    data: Path, path: Path, labels: list[Path], name: str, measured: dict[str, Listener]
) -> tuple[list[Presentation], list[Problem]]:
    """Read the challenge's dev or eval, with its labels where they are."""
    people = {severity: stand_in(severity, severity) for severity in STAND_INS}

    def parse(entry: dict[str, Any]) -> Response:
        """Read an entry, and note the audiogram of the listener whom it may name."""
        one, severity = parse_opaque(entry), entry.get("hearing_loss")
        if one.listener in measured:
            people[one.listener] = measured[one.listener]
        elif severity in STAND_INS:
            people.setdefault(one.listener, stand_in(str(severity), one.listener))
        return one

    responses, problems = read_list(path, parse, labels)

    def further(one: Response) -> dict[str, Any]:
        return {
            "processed": data / name / "signals" / f"{one.signal}.wav",
            "reference": data / name / "references" / f"{one.signal}_ref.wav",
            "lead_in": None,
            "sets": (name,),
        }

    unknown = f"unknown severity in {path.name}"
    presentations, unheard = presented(responses, people, unknown, further)
    return presentations, problems + unheard


def parse_named(entry: dict[str, Any]) -> Response:
    """Read one entry of the training; a listener who answered nothing ("#") understood no word."""
    signal = safe_name(entry.get("signal"), "signal")
    cec, system, scene, listener = names_of(signal)
    return answered(entry, signal, f"{cec}_{scene}", listener, system)


def parse_opaque(entry: dict[str, Any]) -> Response:
    """Read one entry of dev or eval: its severity, perhaps its listener, no scene or system."""
    signal = safe_name(entry.get("signal"), "signal")
    who = str(entry.get("listener") or entry.get("hearing_loss"))
    return answered(entry, signal, signal, who, "")


def names_of(signal: str) -> tuple[str, str, str, str]:
    """Split a signal's name into CEC, system, scene and listener.

    >>> names_of("CEC2_E024_S08503_L0212")
    ('CEC2', 'E024', 'S08503', 'L0212')
    """
    cec, _, rest = signal.partition("_")
    system, scene, listener = ["", "", *rest.rsplit("_", 2)][-3:]
    if not (cec.startswith("CEC") and system and scene and listener):
        raise ValueError(f"{signal} does not split into CEC, system, scene and listener")
    return cec, system, scene, listener


def read_severities(path: Path) -> tuple[dict[str, Listener], list[Problem]]:
    """Read the usable rows of listeners.csv: each listener with the audiogram of the severity."""
    if not path.is_file():
        raise RecipeError(f"{path}: no such file; it holds the severity of each listener's loss")
    listeners, problems = {}, []
    with path.open(newline="", encoding="utf-8-sig") as stream:
        rows = csv.DictReader(stream, skipinitialspace=True)
        if not {"listener_id", "severity"} <= set(rows.fieldnames or ()):
            raise RecipeError(f"{path}: columns {rows.fieldnames}, expected listener_id, severity")
        for row in rows:
            name, severity = row["listener_id"], (row["severity"] or "").strip()
            if severity in STAND_INS:
                listeners[name] = stand_in(severity, name)
            else:
                where = f"{name}: {severity!r}, expected {', '.join(STAND_INS)}"
                problems.append(Problem(f"unknown severity in {path.name}", where))
    return listeners, problems


def read_measured(path: Path | None) -> dict[str, Listener]:
    """Read the audiograms in path.listeners, a listeners file of CPC1 or CPC2; none without it."""
    if path is None:
        return {}
    listeners, problems = read_listeners(path)
    for problem in problems:
        logger.warning("%s: %s", problem.fault, problem.where)
    return listeners


def _log_measured(archives: dict[str, Archive], measured: dict[str, Listener]) -> None:
    for name, archive in archives.items():
        heard_by = [one.listener.id for one in archive.presentations]
        logger.info(
            "%s: audiograms measured for %d of %d listeners, %d of %d signals; stand-ins for the "
            "rest",
            *(name, len(set(heard_by) & set(measured)), len(set(heard_by))),
            *(sum(listener in measured for listener in heard_by), len(heard_by)),
        )


def find_labels(data: Path | None, late: Path | None, name: str) -> list[Path]:
    """Return files that may hold the labels of the challenge's dev or eval."""
    folders = [folder for folder in (late, data, data and data / "metadata") if folder]
    return [path for folder in folders for path in sorted(folder.glob(f"CPC3.{name}*.json"))]


def late_responses(cfg: DictConfig, _: str, test: Iterable[Presentation]) -> list[Response]:
    """Read the labels in path.test_responses."""
    late = configured(cfg, "test_responses")
    files = [path for name in DEV_AND_EVAL for path in find_labels(None, late, name)]
    if not files:
        raise RecipeError(
            f"{late}: no CPC3.dev*.json or CPC3.eval*.json; set path.test_responses to the folder "
            "that holds the labels"
        )
    return read_labels(files, parse_opaque, test)


# The challenge's results: the constant, its baseline (HASPI and a logistic), and the best entry.
CORPUS = Corpus(
    name="cpc3",
    read=read_archives,
    late_responses=late_responses,
    data_keys={"train": "cpc3_data", "test": "cpc3_data"},
    release=RELEASE,
    zenodo=17039000,
    sets=DEV_AND_EVAL,
    n_test_signals={"dev": 926, "eval": 7674},
    published={
        ("prior", CHALLENGE): {"dev": (40.2, None, None), "eval": (41.3, None, None)},
        ("haspi", CHALLENGE): {"eval": (29.47, 0.70, None)},
        ("best", CHALLENGE): {"eval": (24.98, 0.80, None)},
    },
)
