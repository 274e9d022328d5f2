"""The release of the third Clarity Prediction Challenge, read only.

    clarity_CPC3_data/clarity_data/
        metadata/             CPC3.{train,dev,eval}.json, listeners.csv (listener_id, severity)
        train/signals/        <CEC>_<system>_<scene>_<listener>.wav
        train/references/     <CEC>_<scene>_ref.wav
        {dev,eval}/           signals/<signal>.wav, references/<signal>_ref.wav: opaque names

The challenge's dev and eval are the test here, as its `sets`; labels of them are taken from any
CPC3.{dev,eval}*.json that has them, here or in path.test_responses. Nobody's audiogram is released,
but the severity of each loss: an audiogram stands in for it, as in Clarity's baseline. Who has the
audiograms of the same people (CPC1 and CPC2 have) names them in path.listeners.
"""

import csv
import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from intelligibility.corpora.corpus import CHALLENGE, Corpus
from intelligibility.corpora.cpc1 import read_listeners
from intelligibility.corpora.presentation import (
    Archive,
    Presentation,
    Problem,
    Response,
    percentage,
    safe_name,
)
from intelligibility.corpora.release import (
    clarity_data,
    configured,
    entries_of,
    responses_of,
    text_of,
    twice,
)
from intelligibility.runs import RecipeError
from msbg import Audiogram, Listener

logger = logging.getLogger(__name__)

OUTERMOST = "clarity_CPC3_data"
SETS = ("dev", "eval")  # of the challenge; the dev scenes that we fit on are drawn from its train
# dB HL at the eight frequencies of the Clarity data, for both ears; grades of the WHO (2021).
STAND_INS = {
    "Mild": (10, 15, 19, 25, 28, 31, 35, 38),
    "Moderate": (20, 20, 25, 35, 40, 45, 50, 55),
    "Moderately severe": (19, 28, 40, 52, 56, 58, 58, 63),
}


@dataclass(frozen=True)
class Entry:
    """One entry of a list; `severity` is there for dev and eval, whose listeners have no name."""

    signal: str
    prompt: str
    correctness: float | None
    severity: str | None


def read_archives(cfg: DictConfig, _: str) -> dict[str, Archive]:
    """Read the metadata: "train", and "test", which holds the challenge's dev and eval.

    Raises
    ------
    RecipeError
        The folder or all lists are missing: nothing can be skipped then.
    """
    data = clarity_data(cfg, "cpc3_data", OUTERMOST)
    measured = read_measured(configured(cfg, "listeners"))
    archives = {
        "train": _read_train(data, measured),
        "test": _read_test(data, configured(cfg, "test_responses"), measured),
    }
    archives = {name: one for name, one in archives.items() if one is not None}
    if not archives:
        raise RecipeError(
            f"{data / 'metadata'}: no CPC3.train.json, CPC3.dev.json or CPC3.eval.json; restore "
            "the folder from the release"
        )
    if measured:
        _say_who_is_measured(archives, measured)
    return archives


def _read_train(data: Path, measured: dict[str, Listener]) -> Archive | None:
    path = data / "metadata" / "CPC3.train.json"
    if not path.is_file():
        if (data / "train").is_dir():
            missing = Problem("training set without its list", str(path))
            return Archive(path, [], [], [missing])
        return None
    listeners, problems = read_severities(data / "metadata" / "listeners.csv")
    listeners |= {name: one for name, one in measured.items() if name in listeners}
    entries, faults = entries_of(path, entry_of)
    problems += faults
    presentations, scenes = [], set()
    for entry in entries:
        try:
            names = names_of(entry.signal)
        except ValueError as error:
            problems.append(Problem(f"name in {path.name} that does not split", str(error)))
            continue
        cec, _, scene, listener = names
        scenes.add(f"{cec}_{scene}")
        if listener in listeners:
            presentations.append(_named(data / "train", entry, names, listeners[listener]))
        else:
            where = f"listener {listener} of {entry.signal}"
            problems.append(Problem("no severity in listeners.csv", where, (entry.signal,)))
    presentations.sort(key=lambda one: one.name)
    return Archive(path, presentations, sorted(scenes), problems)


def _named(
    folder: Path, entry: Entry, names: tuple[str, str, str, str], listener: Listener
) -> Presentation:
    """Make the record of a training signal, whose name says what it is."""
    cec, system, scene, _ = names
    return Presentation(
        name=entry.signal,
        scene=f"{cec}_{scene}",
        listener=listener,
        system=system,
        prompt=entry.prompt,
        correctness=entry.correctness,
        processed=folder / "signals" / f"{entry.signal}.wav",
        reference=folder / "references" / f"{cec}_{scene}_ref.wav",
        lead_in=None,
        cec=cec,
        sets=("train",),
    )


def _read_test(data: Path, late: Path | None, measured: dict[str, Listener]) -> Archive | None:
    presentations: list[Presentation] = []
    problems: list[Problem] = []
    for name in SETS:
        listed, faults = _read_set(data, late, name)
        presentations += listed
        problems += faults
        if not listed and (data / name).is_dir():
            path = data / "metadata" / f"CPC3.{name}.json"
            problems.append(Problem(f"{name} set without its list", str(path)))
    if not presentations and not problems:
        return None
    double = twice(one.name for one in presentations)
    problems += [Problem("signal in dev and in eval", name, (name,)) for name in double]
    presentations.sort(key=lambda one: one.name)
    return Archive(data / "metadata", presentations, [one.scene for one in presentations], problems)


def _read_set(data: Path, late: Path | None, name: str) -> tuple[list[Presentation], list[Problem]]:
    """Read the challenge's dev or eval, with its labels where they are."""
    path = data / "metadata" / f"CPC3.{name}.json"
    labels = read_labels(data, late, name)
    path = path if path.is_file() else next(iter(labels), path)
    if not path.is_file():
        return [], []
    entries, problems = entries_of(path, entry_of)
    known = {one.signal: one for one in entries}
    for file in labels:
        labelled, faults = entries_of(file, entry_of) if file != path else ([], [])
        problems += faults
        strangers = sorted({one.signal for one in labelled} - set(known))
        problems += [Problem("label without a signal", signal, stops="") for signal in strangers]
        for one in labelled:
            if one.signal in known and one.correctness is not None:
                known[one.signal] = replace(known[one.signal], correctness=one.correctness)
    double = twice(one.signal for one in entries)
    problems += [Problem(f"signal listed twice in {path.name}", one, (one,)) for one in double]
    presentations = []
    for entry in known.values():
        if entry.severity in STAND_INS:
            presentations.append(_opaque(data / name, entry, name))
        else:
            where = f"{entry.signal}: {entry.severity!r}"
            problems.append(Problem(f"unknown severity in {path.name}", where, (entry.signal,)))
    return presentations, problems


def _opaque(folder: Path, entry: Entry, name: str) -> Presentation:
    """Make the record of a signal of which neither scene, listener nor system is released."""
    return Presentation(
        name=entry.signal,
        scene=entry.signal,
        listener=stand_in(entry.severity, entry.severity),
        system="",
        prompt=entry.prompt,
        correctness=entry.correctness,
        processed=folder / "signals" / f"{entry.signal}.wav",
        reference=folder / "references" / f"{entry.signal}_ref.wav",
        lead_in=None,
        cec="",
        sets=(name,),
    )


def entry_of(entry: dict[str, Any]) -> Entry:
    """Read one entry of a list; a listener who answered nothing ("#") understood no word."""
    return Entry(
        signal=safe_name(entry.get("signal"), "signal"),
        prompt=text_of(entry, "prompt"),
        correctness=percentage(entry.get("correctness"), "correctness"),
        severity=entry.get("hearing_loss"),
    )


def names_of(signal: str) -> tuple[str, str, str, str]:
    """Split a signal's name into CEC, system, scene and listener.

    >>> names_of("CEC2_E024_S08503_L0212")
    ('CEC2', 'E024', 'S08503', 'L0212')
    """
    cec, _, rest = signal.partition("_")
    parts = rest.rsplit("_", 2)
    if not (cec.startswith("CEC") and len(parts) == 3 and all(parts)):
        raise ValueError(f"{signal} does not split into CEC, system, scene and listener")
    return cec, *parts


# Who listens: a severity, or the audiograms of the same people where a user has them.


def stand_in(severity: str, name: str) -> Listener:
    """Return the listener whose audiograms stand in for a severity."""
    return Listener(Audiogram(STAND_INS[severity]), Audiogram(STAND_INS[severity]), name)


def read_severities(path: Path) -> tuple[dict[str, Listener], list[Problem]]:
    """Read listeners.csv as far as it is sound."""
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


def _say_who_is_measured(archives: dict[str, Archive], measured: dict[str, Listener]) -> None:
    for archive, one in archives.items():
        people = {presentation.listener.id for presentation in one.presentations}
        n_signals = sum(presentation.listener.id in measured for presentation in one.presentations)
        logger.info(
            "%s: audiograms measured for %d of %d listeners, %d of %d signals; severities for the "
            "rest",
            archive,
            *(len(people & set(measured)), len(people), n_signals, len(one.presentations)),
        )


# Labels of dev and eval, which were released later, in files of unknown names.


def read_labels(data: Path | None, late: Path | None, name: str) -> list[Path]:
    """Return files that may hold the labels of the challenge's dev or eval."""
    folders: Iterable[Path | None] = (late, data, data and data / "metadata")
    pattern = f"CPC3.{name}*.json"
    return [path for folder in folders if folder for path in sorted(folder.glob(pattern))]


def late_responses(cfg: DictConfig, _: str, test: Iterable[Presentation]) -> list[Response]:
    """Read the labels in path.test_responses; damaged entries are left out with a warning."""
    late = Path(str(cfg.path.test_responses)).expanduser().absolute()
    responses: list[Entry] = []
    for name in SETS:
        for path in read_labels(None, late, name):
            entries, problems = entries_of(path, entry_of)
            responses += entries
            if problems:
                logger.warning("%s: %d damaged entries are left out", path, len(problems))
    if not responses:
        raise RecipeError(
            f"{late}: no CPC3.dev*.json or CPC3.eval*.json; set path.test_responses to the folder "
            "that holds the labels"
        )
    return responses_of(test, [(one.signal, one.correctness) for one in responses])


# The challenge's results: the constant, its baseline (HASPI and a logistic), and the best entry.
CORPUS = Corpus(
    name="cpc3",
    read=read_archives,
    late_responses=late_responses,
    data_keys={"train": "cpc3_data", "test": "cpc3_data"},
    release=OUTERMOST,
    zenodo=17039000,
    sets=SETS,
    n_test_signals={"dev": 926, "eval": 7674},
    published={
        ("prior", CHALLENGE): {"dev": (40.2, None, None), "eval": (41.3, None, None)},
        ("haspi", CHALLENGE): {"eval": (29.47, 0.70, None)},
        ("best", CHALLENGE): {"eval": (24.98, 0.80, None)},
    },
)
