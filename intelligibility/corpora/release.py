"""What reading CPC2 and CPC3 has in common: where a release lies, its lists, its wavs."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import DictConfig
from omegaconf.errors import InterpolationToMissingValueError, MissingMandatoryValue

from intelligibility.corpora.presentation import Presentation, Problem, Response
from intelligibility.runs import RecipeError, read_json

Parsed = TypeVar("Parsed")


def configured(cfg: DictConfig, key: str) -> Path | None:
    """Return a path of the configuration; None where it is null or needs a path.root not given."""
    try:
        value = cfg.path[key]
    except (InterpolationToMissingValueError, MissingMandatoryValue):
        return None
    return None if value is None else Path(str(value)).expanduser().absolute()


def clarity_data(cfg: DictConfig, key: str, outermost: str) -> Path:
    """Return the folder of a release that holds metadata/.

    The archives unpack into ``outermost/clarity_data/``; a path that names any of these folders, or
    the one that they were unpacked in, will do.
    """
    folder = configured(cfg, key)
    if folder is None:
        raise RecipeError(
            f"path.root is not set: give the folder that {outermost} was unpacked in, in "
            f"config.yaml or as path.root=/data (or path.{key} alone)"
        )
    places = [folder, folder / "clarity_data", folder / outermost / "clarity_data"]
    places += [folder.parent / "clarity_data", folder.parent]
    for place in places:
        if (place / "metadata").is_dir():
            return place
    raise RecipeError(
        f"{folder}: no folder clarity_data/metadata here; path.root has to hold the unpacked "
        f"{outermost}, or path.{key} names it. get_data.py fetches it"
    )


def entries_of(
    path: Path, parse: Callable[[dict[str, Any]], Parsed]
) -> tuple[list[Parsed], list[Problem]]:
    """Read a list of signals as far as it is sound.

    Parameters
    ----------
    path : Path
        Json: a list of mappings.
    parse : callable
        Makes a record of one mapping; a ValueError says what is wrong with it.

    Returns
    -------
    records : list
        What could be parsed, in the order of the file.
    problems : list of Problem
        What is wrong with the other entries.
    """
    records, problems = [], []
    for number, entry in enumerate(read_json(path, list), start=1):
        try:
            if not isinstance(entry, dict):
                raise ValueError(f"{entry!r:.60} where a mapping was expected")
            records.append(parse(entry))
        except ValueError as error:
            problems.append(Problem(f"damaged entry in {path.name}", f"entry {number}: {error}"))
    return records, problems


def text_of(entry: dict[str, Any], field: str) -> str:
    """Return a field that has to be text."""
    if not isinstance(entry.get(field), str):
        raise ValueError(f"{field} is {entry.get(field)!r:.60}, expected text")
    return entry[field]


def wavs_in(folders: Iterable[Path]) -> dict[str, Path]:
    """Return the files of several folders by name; of two with one name, the first folder's."""
    found: dict[str, Path] = {}
    for folder in folders:
        if folder.is_dir():
            with os.scandir(folder) as entries:
                for entry in entries:
                    found.setdefault(entry.name, folder / entry.name)
    return found


def twice(names: Iterable[str]) -> list[str]:
    """Return the names that come more than once, each once, in order."""
    seen: set[str] = set()
    double: dict[str, None] = {}
    for name in names:
        if name in seen:
            double[name] = None
        seen.add(name)
    return list(double)


def responses_of(
    test: Iterable[Presentation], labels: Iterable[tuple[str, float | None]]
) -> list[Response]:
    """Return the responses to the test signals that have a label, in the order of the labels.

    CPC3's labels do not say of which scene or listener they are, so the presentations of the test
    do; labels of signals that are none of the test are left out.
    """
    known = {one.name: one for one in test}
    return [
        Response(
            *(name, known[name].scene, known[name].listener.id),
            *(known[name].system, known[name].prompt, percent),
        )
        for name, percent in labels
        if name in known and percent is not None
    ]
