"""What is to be scored: one row per recording, from the command line or from a table."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from intelligibility.corpora.audiograms import described, listener_of
from intelligibility.corpora.presentation import Problem
from intelligibility.corpora.spreadsheet import (
    check_names,
    names_of,
    path_in,
    percent_of,
    read_lines,
    refuse_shares,
)
from intelligibility.prediction.prediction import Conditions
from intelligibility.prediction.recording import check_header
from intelligibility.runs import RecipeError, sha256_of
from intelligibility.words import words_of
from intelligibility.work import Stamp
from msbg import Listener

REQUIRED = ("processed", "reference")
SOUND = (".wav", ".flac")
OPTIONAL = ("text", "listener", "audiogram", "system", "name", "correctness")


@dataclass(frozen=True)
class Row:
    """One recording to score."""

    line: int  # in the table, the header being line 1; 0 for the command line
    name: str  # its name in the output
    # Recordings.
    processed: Path
    reference: Path
    listener: Listener  # with audiograms
    text: str | None = None  # the sentence
    # By which results are grouped; "" where the table does not have them.
    person: str = ""
    system: str = ""
    correctness: float | None = None  # percent words that a listener got right, where it is known

    def as_json(self) -> dict[str, Any]:
        """Return what identifies the row in the results."""
        return {
            "name": self.name,
            "line": self.line,
            "listener": self.person,
            "system": self.system,
            "correctness": self.correctness,
            "processed": str(self.processed),
            "reference": str(self.reference),
            "audiogram": described(self.listener),
            "pair": self.pair,
        }

    @property
    def pair(self) -> str:
        """Return what two recordings to compare have in common: the listener and the sentence.

        The listener's name and audiograms; of the reference the content, whatever its name.
        """
        content = [self.person, self.listener.thresholds, sha256_of([self.reference])]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def read_rows(
    table: Path, audiogram: str | None, listener: str | None
) -> tuple[list[Row], list[Problem]]:
    """Read a table of recordings, and check it as far as the headers of the recordings tell.

    The table is CSV with the columns processed and reference and, each optional, text, listener,
    audiogram, system, name and correctness; paths are relative to its folder. `audiogram` and
    `listener` are for rows that have none. Returns the rows that can be scored, and what is wrong
    with each of the others.
    """
    lines, problems = read_lines(table, REQUIRED, OPTIONAL)
    names = names_of(lines)
    problems += check_names(names)
    twice = {problem.where for problem in problems}
    rows: list[Row] = []
    for line, fields in lines:
        try:
            row = _row(line, names[line], fields, table.parent, audiogram, listener)
            check_row(row)
            if f"line {line}" not in twice:
                rows.append(row)
        except RecipeError as error:
            problems.append(Problem(str(error), f"line {line}"))
    refuse_shares(table, (row.correctness for row in rows))
    return rows, problems


def read_folder(
    folder: Path, audiogram: str | None, listener: str | None
) -> tuple[list[Row], list[Problem]]:
    """Pair the recordings of a folder by their names, and check them as `read_rows` does.

    The folder holds NAME_processed.wav and NAME_reference.wav, or the folders processed and
    reference with files of the same names; FLAC likewise. `audiogram` and `listener` are for all of
    them. Refused where there is no audiogram, or nothing that such names pair.
    """
    if not audiogram:
        raise RecipeError("a folder of recordings has no audiograms: give audiogram=")
    person = listener_of(audiogram, listener)
    found = {kind: _recordings(folder, kind) for kind in REQUIRED}
    if not any(found.values()):
        raise RecipeError(
            f"table={folder}: no recordings to pair; expected NAME_processed.wav and "
            "NAME_reference.wav, or the folders processed and reference with the same names"
        )
    rows: list[Row] = []
    problems: list[Problem] = []
    for name in sorted(found["processed"] | found["reference"]):
        try:
            if lacking := [kind for kind in REQUIRED if name not in found[kind]]:
                raise RecipeError(f"no {lacking[0]} recording of this name")
            pair = (found["processed"][name], found["reference"][name])
            rows.append(Row(0, name, *pair, person))
            check_row(rows[-1])
        except RecipeError as error:
            rows = [row for row in rows if row.name != name]
            problems.append(Problem(str(error), name))
    return rows, problems


def _recordings(folder: Path, kind: str) -> dict[str, Path]:
    """Return the recordings of one kind by what they have in common with their partner's name."""
    files = {file.stem: file for file in sorted(folder.glob("*")) if file.suffix.lower() in SOUND}
    ending = f"_{kind}"
    named = {s.removesuffix(ending): file for s, file in files.items() if s.endswith(ending)}
    below = sorted((folder / kind).glob("*"))
    return named | {file.stem: file for file in below if file.suffix.lower() in SOUND}


def check_row(row: Row) -> None:
    """Refuse a row that cannot be scored, without reading its recordings."""
    check_header(row.processed)
    check_header(row.reference)
    if row.text is not None and not words_of(row.text):
        raise RecipeError(f"text {row.text!r:.60} contains no word")


def made_by(
    row: Row, stamp: Stamp, conditions: Conditions, model: Mapping[str, Any], by: str | None
) -> dict[str, Any]:
    """Return everything that determines the result of a row."""
    return {
        "recordings": [stamp(path) for path in (row.processed, row.reference)],
        "audiograms": row.listener.thresholds,
        "text": row.text,
        "conditions": asdict(conditions),
        "model": {**model, "by": by},
    }


def _row(
    line: int,
    name: str,
    fields: Mapping[str, str],
    folder: Path,
    audiogram: str | None,
    listener: str | None,
) -> Row:
    if missing := [name for name in REQUIRED if not fields[name]]:
        raise RecipeError(f"no {' and no '.join(missing)}")
    paths = {name: path_in(folder, fields[name]) for name in REQUIRED}
    given = fields.get("audiogram") or audiogram
    if not given:
        raise RecipeError("no audiogram: give a column, or audiogram= for all rows")
    in_file = given.endswith(".json")
    if in_file and fields.get("audiogram"):
        given = str(path_in(folder, given))
    person = fields.get("listener") or ""
    return Row(
        line=line,
        name=name,
        **paths,
        listener=listener_of(given, (person or listener) if in_file else None),
        text=fields.get("text") or None,
        person=person,
        system=fields.get("system") or "",
        correctness=percent_of(fields.get("correctness", "")),
    )
