"""The records that every corpus gives, and what can be wrong with them.

A presentation is one hearing-aid output as one listener heard it. It carries its own files, so
nothing after a corpus knows a release's folders. `prepare_data.py` writes the presentations that it
used; the later stages read those.
"""

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from intelligibility.runs import RecipeError, is_number, listed, read_json, write_result
from msbg import Listener

ARCHIVES = ("train", "test")  # "train" holds the dev scenes as well
LONGEST_NAME = 200  # bytes; with the endings that we add, a file name may have 255


@dataclass(frozen=True)
class Presentation:
    """One hearing-aid output as one listener heard it."""

    name: str  # the signal's, such as S08510_L0239_E001. It and `scene` are safe file names
    scene: str  # what was said, by whom, in which noise; signals of one scene share their reference
    listener: Listener  # with the audiograms of both ears
    system: str  # the hearing aid
    prompt: str  # the sentence
    # Percentage of words that the listener got right; None where it is not released.
    correctness: float | None
    # Stereo wavs: the hearing aid's output, and the clean target.
    processed: Path
    reference: Path
    # Seconds without speech at the start of both; None until the reference was analysed.
    lead_in: float | None
    made_from: str = ""  # a digest of all that the ear signals were made from, once they were
    # The enhancement challenge that the signal comes from, "" where that is not released.
    cec: str = ""
    # The sets of the challenge that list it, where a challenge has several.
    sets: tuple[str, ...] = ()
    # Speech over noise at the listener's head in dB, where the scenes' list tells it.
    snr: float | None = None
    # Whether these are your own recordings: at any rate from 8 kHz, mono or stereo, one later than
    # the other. They are read, aligned and cut as score.py does it, a release's are not.
    own: bool = False
    # Seconds by which an own recording is later than its reference; None until it was found.
    delay: float | None = 0.0


@dataclass(frozen=True)
class Response:
    """One entry of a list of signals: who heard what, and how much of it was understood.

    `correctness` is the percentage of words that the listener got right, None where it is not
    released.
    """

    signal: str
    scene: str
    listener: str
    system: str
    prompt: str
    correctness: float | None = None

    @classmethod
    def of(cls, one: Presentation) -> "Response":
        """Return the response to a presentation."""
        return cls(one.name, one.scene, one.listener.id, one.system, one.prompt, one.correctness)


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, or that one should know."""

    fault: str  # of which kind; problems of one kind are reported together
    where: str  # at what
    signals: tuple[str, ...] = ()  # the signals that cannot be used because of it
    # The script that it stops, unless the signals are left out; "" for a mere notice.
    stops: str = "prepare_data.py"
    blocking: bool = False  # whether leaving signals out does not help


@dataclass(frozen=True)
class Archive:
    """One archive of a release, as its metadata list it."""

    metadata: Path  # the list of signals, for messages
    presentations: list[Presentation]  # sorted by name
    scenes: list[str]  # all scenes that are listed, sorted, those of unusable signals too
    problems: list[Problem] = field(default_factory=list)  # what is wrong with the metadata
    # Scenes that no recogniser may be trained on, since the challenge tests on them too.
    dev_only: list[str] = field(default_factory=list)
    # The development scenes, where the corpus names them; None where they are drawn.
    dev_scenes: list[str] | None = None


def left_out(problems: Iterable[Problem]) -> dict[str, str]:
    """Return the signals that cannot be used, each with the first reason."""
    reasons: dict[str, str] = {}
    for problem in problems:
        for signal in problem.signals:
            reasons.setdefault(signal, f"{problem.fault}: {problem.where}")
    return reasons


def in_lines(problems: Iterable[Problem]) -> str:
    """Return a line per kind of problem, with its count and examples."""
    places: dict[str, list[str]] = {}
    for problem in problems:
        places.setdefault(problem.fault, []).append(problem.where)
    return "\n".join(f"  {len(at):5d} x {fault}: {listed(at, 3)}" for fault, at in places.items())


def safe_name(name: Any, what: str) -> str:
    """Return a name that becomes part of a file's, and so may not lead to another folder.

    ValueError where it is no text, empty, too long, or holds more than letters, digits and
    ``_.+-``.
    """
    composed = unicodedata.normalize("NFC", name) if isinstance(name, str) else ""
    if not re.fullmatch(r"\w[\w.+-]*", composed) or len(name.encode()) > LONGEST_NAME:
        raise ValueError(f"{what} is {name!r:.60}, expected a name such as S08510")
    return name


def percentage(value: Any, what: str) -> float | None:
    """Return a percentage, or None where there is none; ValueError for anything else."""
    if value is None:
        return None
    if not (is_number(value) and 0 <= value <= 100):
        raise ValueError(f"{what} is {value!r:.60}, expected percent, 0 to 100")
    return float(value)


def are_shares(values: Iterable[float | None]) -> bool:
    """Tell whether values are shares of 1 where percent belong: none beyond 1, some between."""
    known = [value for value in values if value is not None]
    return bool(known) and max(known) <= 1 and any(0 < value < 1 for value in known)


def digest(content: Any) -> str:
    """Return a short hash of plain values."""
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def made_from_of(presentations: Iterable[Presentation]) -> str:
    """Return one digest of what the ear signals of these presentations were made from."""
    return digest(sorted((one.name, one.prompt, one.made_from) for one in presentations))


# The records that the stages share: presentations{track}.json.


def write_presentations(
    path: Path, used: Mapping[str, list[Presentation]], provenance: Mapping[str, Any]
) -> None:
    """Write the presentations that were used, per archive, with their listeners' audiograms."""
    content: dict[str, Any] = {"listeners": {}}
    for archive, presentations in used.items():
        listeners = {one.listener.id: one.listener for one in presentations}
        content["listeners"][archive] = {
            name: _listener_entry(listeners[name]) for name in sorted(listeners)
        }
        content[archive] = [_entry(one) for one in presentations]
    write_result(path, content | {"provenance": provenance})


def _listener_entry(listener: Listener) -> dict[str, Any]:
    """Return a listener as a Clarity listeners file has it."""
    left, right = listener.audiogram_left, listener.audiogram_right
    if left.frequencies.tolist() != right.frequencies.tolist():
        raise RecipeError(f"listener {listener.id}: the ears were measured at other frequencies")
    return {
        "name": listener.id,
        "audiogram_cfs": left.frequencies.tolist(),
        "audiogram_levels_l": left.levels.tolist(),
        "audiogram_levels_r": right.levels.tolist(),
    }


def _entry(one: Presentation) -> dict[str, Any]:
    plain = {k: v for k, v in vars(one).items() if k not in ("name", "listener")}
    paths = {key: str(plain[key]) for key in ("processed", "reference")}
    return {"signal": one.name, "listener": one.listener.id} | plain | paths


def read_presentations(path: Path) -> dict[str, list[Presentation]]:
    """Read the presentations that prepare_data.py used, per archive.

    A file that is missing or damaged is refused.
    """
    if not path.is_file():
        raise RecipeError(f"{path}: no such file; run prepare_data.py first, with the same config")
    content = read_json(path, dict)
    try:
        return {
            archive: _archive_of(content[archive], content["listeners"][archive])
            for archive in ARCHIVES
            if archive in content
        }
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise RecipeError(
            f"{path}: {error!r:.300}; run prepare_data.py again to rebuild it"
        ) from None


def _archive_of(
    entries: list[dict[str, Any]], listeners: dict[str, dict[str, Any]]
) -> list[Presentation]:
    people = {name: Listener.from_dict(entry | {"name": name}) for name, entry in listeners.items()}
    presentations = []
    for entry in entries:
        read = {
            "listener": people[entry["listener"]],
            "correctness": percentage(entry["correctness"], "correctness"),
            "processed": Path(entry["processed"]),
            "reference": Path(entry["reference"]),
            "lead_in": float(entry["lead_in"]),
            "made_from": entry["made_from"],
            "cec": entry["cec"],
            "sets": tuple(entry["sets"]),
            "delay": float(entry.get("delay", 0.0)),
        }
        fields = entry | read
        presentations.append(Presentation(name=fields.pop("signal"), **fields))
    return presentations
