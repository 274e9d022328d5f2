"""What all Clarity releases have in common: where a release lies, and its lists of signals."""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationToMissingValueError, MissingMandatoryValue

from intelligibility.corpora.presentation import (
    Presentation,
    Problem,
    Response,
    are_shares,
    percentage,
)
from intelligibility.runs import RecipeError, listed, read_json
from msbg import Listener

logger = logging.getLogger(__name__)

Parse = Callable[[dict[str, Any]], Response]  # raises ValueError for an entry that is damaged


def configured(cfg: DictConfig, key: str) -> Path | None:
    """Return a path of the configuration; None where it is null or needs a path.root not given."""
    try:
        value = cfg.path[key]
    except (InterpolationToMissingValueError, MissingMandatoryValue):
        return None
    return None if value is None else Path(str(value)).expanduser().absolute()


def release_folder(cfg: DictConfig, key: str, release: str, advice: str = "") -> Path:
    """Return the folder of a release that holds metadata/.

    The `key` below `path` may name any folder of the release, or the one that it was unpacked in;
    `release` is the outermost folder of the archives, `advice` what else to do where there is none.
    """
    folder = configured(cfg, key)
    if folder is None:
        raise RecipeError(
            f"path.root is not set: give the folder that holds the unpacked {release}, in "
            f"config.yaml or as path.root=/data (or path.{key} alone)"
        )
    places = [folder, folder / release, folder.parent]
    for place in (*places[:2], *(place / "clarity_data" for place in places), folder.parent):
        if (place / "metadata").is_dir():
            return place
    as_given: Any = OmegaConf.to_container(cfg.path)
    below_root = "path.root" in str(as_given[key])
    raise RecipeError(
        f"{f'path.root={cfg.path.root}' if below_root else f'path.{key}'}: no folder "
        f"{folder / 'metadata'}; path.root has to hold the unpacked {release}, or path.{key} names "
        f"it. get_data.py downloads it{advice}"
    )


def read_list(
    path: Path, parse: Parse, labels: Iterable[Path] = ()
) -> tuple[list[Response], list[Problem]]:
    """Read a list of signals, and their labels where those were released in other files.

    The file is json: a list of mappings, each of which `parse` makes a response, or raises
    ValueError where it is damaged. `labels` are lists of the same signals, whose correctness
    counts. Returns the usable entries, sorted by signal, and what is wrong with the others.
    """
    responses: list[Response] = []
    problems: list[Problem] = []
    for number, entry in enumerate(read_json(path, list), start=1):
        try:
            if not isinstance(entry, dict):
                raise ValueError(f"{entry!r:.60} where a mapping was expected")
            responses.append(parse(entry))
        except ValueError as error:
            problems.append(Problem(f"damaged entry in {path.name}", f"entry {number}: {error}"))
    if are_shares(one.correctness for one in responses):
        raise RecipeError(f"{path}: correctness is given as shares, 0 to 1; give percent, 0 to 100")
    labelled: list[Response] = []
    for file in labels:
        if file != path:
            entries, damaged = read_list(file, parse)
            labelled += entries
            problems += damaged
    strangers = sorted({one.signal for one in labelled} - {one.signal for one in responses})
    problems += [Problem("label without a signal", signal, stops="") for signal in strangers]
    known = {one.signal: one.correctness for one in labelled if one.correctness is not None}
    responses = [
        replace(one, correctness=known.get(one.signal, one.correctness)) for one in responses
    ]
    return sorted(responses, key=lambda one: one.signal), problems


def answered(
    entry: Mapping[str, Any], signal: str, scene: str, listener: str, system: str
) -> Response:
    """Return the response of an entry, whose prompt and correctness are checked."""
    prompt = entry.get("prompt")
    if not isinstance(prompt, str):
        raise ValueError(f"prompt is {prompt!r:.60}, expected text")
    correctness = percentage(entry.get("correctness"), "correctness")
    return Response(signal, scene, listener, system, prompt, correctness)


def presented(
    responses: Iterable[Response],
    listeners: Mapping[str, Listener],
    unknown: str,
    further: Callable[[Response], dict[str, Any]],
) -> tuple[list[Presentation], list[Problem]]:
    """Return the presentations of responses, and problems with those of unknown listeners.

    `unknown` says what is wrong where a listener is not among those with audiograms; `further`
    returns what the presentation has beyond the response and the listener: wavs and so on.
    """
    presentations, problems = [], []
    for one in responses:
        if one.listener in listeners:
            fields = vars(one) | {"listener": listeners[one.listener]} | further(one)
            presentations.append(Presentation(name=fields.pop("signal"), **fields))
        else:
            where = f"listener {one.listener} of {one.signal}"
            problems.append(Problem(unknown, where, (one.signal,)))
    return presentations, problems


def read_labels(
    paths: Iterable[Path], parse: Parse, test: Iterable[Presentation]
) -> list[Response]:
    """Read labels of the test that were released separately.

    A label need not say of which scene or listener it is, so the presentations of the test do.
    Labels of other signals, and unlabelled entries, are left out; so are damaged ones, with a
    warning.
    """
    known = {one.name: Response.of(one) for one in test}
    return [
        replace(known[one.signal], correctness=one.correctness)
        for path in paths
        for one in read_sound(path, parse)
        if one.signal in known and one.correctness is not None
    ]


def read_sound(path: Path, parse: Parse) -> list[Response]:
    """Read the usable entries of a list, and warn of the others."""
    responses, damaged = read_list(path, parse)
    if damaged:
        where = listed([one.where for one in damaged])
        logger.warning("%s: %d damaged entries are left out: %s", path, len(damaged), where)
    return responses
