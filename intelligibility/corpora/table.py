"""Your own listening test: a table with one row per recording and listener, and its wavs.

    processed,reference,text,correctness,listener,audiogram,system
    wavs/a01.wav,clean/01.wav,the boat is late,75,P01,"250:20,500:25,1000:30",A

CSV in UTF-8. Its paths are relative to its folder; WAV or FLAC, mono or stereo, 8 kHz or more.

processed    the recording that the listener heard
reference    the clean speech
text         the sentence
correctness  percent of its words that the listener got right; empty where that is not known
listener     who listened; default: the audiogram
audiogram    a name, or a list, as score.py has them; empty where path.listeners has the listener
system       the hearing aid
scene        rows of one scene are all tested on, or none of them; default: same reference and text
split        train, dev or test; without this column test_percent of the scenes are drawn
name         the row's name in the results; default: the processed file's
snr          speech over noise in dB
start, delay seconds before the speech, and by which processed is later; default: they are found
"""

import logging
import math
import random
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from omegaconf import DictConfig

from intelligibility.corpora.audiograms import listener_of
from intelligibility.corpora.clarity import configured
from intelligibility.corpora.corpus import Corpus
from intelligibility.corpora.listeners import read_listeners
from intelligibility.corpora.presentation import (
    Archive,
    Presentation,
    Problem,
    Response,
    digest,
    safe_name,
)
from intelligibility.corpora.spreadsheet import (
    Line,
    check_names,
    names_of,
    path_in,
    percent_of,
    read_lines,
    refuse_shares,
)
from intelligibility.runs import RecipeError
from intelligibility.words import words_of
from msbg import Listener

logger = logging.getLogger(__name__)

REQUIRED = ("processed", "reference", "text", "correctness")
OPTIONAL = ("listener", "audiogram", "system", "scene", "split", "name", "snr", "start", "delay")
SPLITS = ("train", "dev", "test")
SHARED = {"reference": "references", "text": "texts", "start": "starts", "split": "splits"}


def read_archives(cfg: DictConfig, _: str) -> dict[str, Archive]:
    """Read the table: "train", which holds the dev scenes too, and "test", or the one there is.

    A table that is missing, or in which nothing can be read, is refused.
    """
    path = configured(cfg, "table")
    if path is None:
        raise RecipeError("path.table is not set: give the CSV with the recordings, path.table=...")
    lines, problems = read_lines(path, REQUIRED, OPTIONAL)
    names = {n: file_name(name) for n, name in names_of(lines).items()}
    scenes = {n: scene_of(fields) for n, fields in lines}
    splits = splits_of(cfg, lines, scenes)
    repeated = check_repeated(lines)
    again = {problem.where for problem in repeated}
    repeated += check_names({n: name for n, name in names.items() if f"line {n}" not in again})
    again |= {problem.where for problem in repeated}
    rows, refused = presentations_of(
        cfg, path, [one for one in lines if f"line {one[0]}" not in again], names, scenes
    )
    refuse_shares(path, (one.correctness for one in rows))
    refused += check_scenes(lines, scenes)
    problems += [*repeated, *(with_signal(one, names) for one in refused)]
    archives = {}
    for name, its_splits in (("train", ("train", "dev")), ("test", ("test",))):
        listed = sorted(scene for scene, split in splits.items() if split in its_splits)
        if listed:
            own = sorted((one for one in rows if one.scene in listed), key=lambda one: one.name)
            dev = dev_scenes(cfg, splits) if name == "train" else None
            archives[name] = Archive(path, own, listed, problems, dev_scenes=dev)
            problems = []  # they are of the table, and reported once
    return archives


def file_name(text: str) -> str:
    """Return a name for files: a spreadsheet's may hold spaces and signs."""
    return re.sub(r"[^\w.+-]", "_", text).lstrip(".+-")


def scene_of(fields: Mapping[str, str]) -> str:
    """Return a row's scene: as the table calls it, or by its reference and text."""
    if given := fields.get("scene"):
        return file_name(given)
    said = " ".join(words_of(fields["text"]))
    stem = file_name(path_in(Path(), fields["reference"]).stem)
    return f"{stem}_{digest([fields['reference'], said])[:6]}"


def check_scenes(lines: Iterable[Line], scenes: Mapping[int, str]) -> list[Problem]:
    """Return the rows that contradict others of their scene."""
    first: dict[str, Mapping[str, str]] = {}
    problems = []
    for n, fields in lines:
        of_scene = first.setdefault(scenes[n], fields)
        differ = [many for one, many in SHARED.items() if fields.get(one) != of_scene.get(one)]
        if differ:
            fault = f"scene {scenes[n]} has two {' and two '.join(differ)}"
            problems.append(Problem(fault, f"line {n}"))
    return problems


def check_repeated(lines: Iterable[Line]) -> list[Problem]:
    """Return the rows that stand in the table before, by whatever name."""
    first: dict[tuple[str, ...], int] = {}
    rows = {n: tuple(v for key, v in fields.items() if key != "name") for n, fields in lines}
    return [
        Problem(f"the same row as line {first[row]}; keep one", f"line {n}")
        for n, row in rows.items()
        if first.setdefault(row, n) != n
    ]


def presentations_of(
    cfg: DictConfig,
    path: Path,
    lines: Iterable[Line],
    names: Mapping[int, str],
    scenes: Mapping[int, str],
) -> tuple[list[Presentation], list[Problem]]:
    """Return the rows as presentations, and what is wrong with those that cannot be."""
    file = configured(cfg, "listeners")
    listeners, problems = read_listeners(file) if file else ({}, [])
    unheard = "none" if cfg.hearing_loss == "none" else ""  # no audiogram is asked for
    known: dict[str, Listener] = {}
    rows = []
    for n, fields in lines:
        try:
            listener = _listener(fields, listeners, unheard)
            if known.setdefault(listener.id, listener).thresholds != listener.thresholds:
                raise RecipeError(f"listener {listener.id} has another audiogram before")
            rows.append(_presentation(path, fields, names[n], scenes[n], listener))
        except (RecipeError, ValueError) as error:
            problems.append(Problem(str(error), f"line {n}"))
    return rows, problems


def _presentation(
    path: Path, fields: Mapping[str, str], name: str, scene: str, listener: Listener
) -> Presentation:
    if lacking := [key for key in ("processed", "reference", "text") if not fields[key]]:
        raise RecipeError(f"no {' and no '.join(lacking)}")
    if not words_of(fields["text"]):
        raise RecipeError(f"text {fields['text']!r:.60} contains no word")
    start, delay, snr = (_number(fields, key) for key in ("start", "delay", "snr"))
    if start is not None and start < 0:
        raise RecipeError(f"start is {fields['start']}, expected seconds, 0 or more")
    return Presentation(
        name=safe_name(name, "name"),
        scene=safe_name(scene, "scene"),
        listener=listener,
        system=fields.get("system", ""),
        prompt=fields["text"],
        correctness=percent_of(fields["correctness"]),
        processed=path_in(path.parent, fields["processed"]),
        reference=path_in(path.parent, fields["reference"]),
        lead_in=start,
        cec=path.stem,
        snr=snr,
        own=True,
        delay=delay,
    )


def _number(fields: Mapping[str, str], key: str) -> float | None:
    text = fields.get(key)
    try:
        value = float(text) if text else None
    except ValueError:
        value = math.nan
    if value is not None and not math.isfinite(value):
        raise RecipeError(f"{key} is {text!r:.40}, expected a number")
    return value


def _listener(
    fields: Mapping[str, str], listeners: Mapping[str, Listener], otherwise: str
) -> Listener:
    name, described = fields.get("listener", ""), fields.get("audiogram", "")
    if not described and name in listeners:
        return listeners[name]
    described = described or otherwise
    if not described:
        raise RecipeError(
            f"no audiogram of listener {name or '(not named)'}: fill in the column audiogram, none "
            "for normal hearing, or give path.listeners"
        )
    found = listener_of(described)
    return Listener(*found.ears, id=name or described)


def splits_of(cfg: DictConfig, lines: Iterable[Line], scenes: Mapping[int, str]) -> dict[str, str]:
    """Return the split of each scene: as the table has it, or drawn over all of its scenes."""
    given: dict[str, str] = {}
    for n, fields in lines:
        split = fields.get("split", "").lower()
        if split not in ("", *SPLITS):
            raise RecipeError(f"line {n}: split is {split!r:.40}, expected {', '.join(SPLITS)}")
        if bool(given.setdefault(scenes[n], split)) != any(given.values()):
            raise RecipeError(f"line {n}: split is empty in some rows; fill it in for all, or none")
    if any(given.values()):
        return given
    n_test = math.floor(len(given) * cfg.test_percent)
    tested = set(random.Random(cfg.seed).sample(sorted(given), n_test))
    logger.info("%d of %d scenes are test, drawn with seed=%d", n_test, len(given), cfg.seed)
    return {scene: "test" if scene in tested else "train" for scene in given}


def dev_scenes(cfg: DictConfig, splits: Mapping[str, str]) -> list[str] | None:
    """Return the dev scenes; None where they are to be drawn from the training, as in CPC1.

    A recogniser from the hub is not trained here, so all training is dev unless the table names
    dev scenes.
    """
    by_split = defaultdict(list)
    for scene, split in sorted(splits.items()):
        by_split[split].append(scene)
    if by_split["dev"]:
        return by_split["dev"]
    return None if cfg.recogniser is None else by_split["train"]


def with_signal(problem: Problem, names: Mapping[int, str]) -> Problem:
    """Return a problem of a line with the name of its signal, which is left out with it."""
    number = problem.where.removeprefix("line ")
    signals = (names[int(number)],) if number.isdigit() and int(number) in names else ()
    return Problem(problem.fault, problem.where, signals)


def late_responses(cfg: DictConfig, _: str, test: Iterable[Presentation]) -> list[Response]:
    """Refuse: what listeners got right is a column of the table."""
    raise RecipeError(
        "path.test_responses: with corpus=table, fill in the column correctness and run "
        "prepare_data.py again"
    )


CORPUS = Corpus(
    name="table",
    title="Your own listening test",
    read=read_archives,
    late_responses=late_responses,
    data_keys={"train": "table", "test": "table"},
    keys=("test_percent",),
)
