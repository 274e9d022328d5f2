"""What is to be scored: one row per recording, from the command line or from a table."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from intelligibility.corpora.audiograms import listener_of
from intelligibility.corpora.presentation import Problem
from intelligibility.corpora.spreadsheet import (
    check_names,
    names_of,
    path_in,
    percent_of,
    read_lines,
    refuse_shares,
)
from intelligibility.prediction.predictor import Conditions
from intelligibility.prediction.recording import check_header
from intelligibility.runs import RecipeError
from intelligibility.words import words_of
from intelligibility.work import Stamp
from msbg import Listener

REQUIRED = ("processed", "reference")
OPTIONAL = ("text", "listener", "audiogram", "system", "name", "correctness")


@dataclass(frozen=True)
class Row:
    """One recording to score.

    Attributes
    ----------
    line : int
        In the table, the header being line 1; 0 for the command line.
    name : str
        Its name in the output.
    processed, reference : Path
        Recordings.
    listener : Listener
        With audiograms.
    text : str or None
        The sentence.
    person, system : str
        By which results are grouped; "" where the table does not have them.
    correctness : float or None
        Percent words that a listener got right, where it is known.
    """

    line: int
    name: str
    processed: Path
    reference: Path
    listener: Listener
    text: str | None = None
    person: str = ""
    system: str = ""
    correctness: float | None = None

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
            "pair": f"{self.person}/{self.reference.name}",
        }


def read_rows(
    table: Path, audiogram: str | None, listener: str | None
) -> tuple[list[Row], list[Problem]]:
    """Read a table of recordings, and check it as far as the headers of the recordings tell.

    Parameters
    ----------
    table : Path
        CSV with the columns processed and reference and, each optional, text, listener, audiogram,
        system, name and correctness. Paths are relative to the table's folder.
    audiogram, listener : str or None
        For rows that have none.

    Returns
    -------
    rows : list of Row
        Those that can be scored.
    problems : list of Problem
        What is wrong with each of the others.
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
    ears = (row.listener.audiogram_left, row.listener.audiogram_right)
    return {
        "recordings": [stamp(path) for path in (row.processed, row.reference)],
        "audiograms": [[ear.frequencies.tolist(), ear.levels.tolist()] for ear in ears],
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
    described = fields.get("audiogram") or audiogram
    if not described:
        raise RecipeError("no audiogram: give a column, or audiogram= for all rows")
    in_file = described.endswith(".json")
    if in_file and fields.get("audiogram"):
        described = str(path_in(folder, described))
    person = fields.get("listener") or ""
    return Row(
        line=line,
        name=name,
        **paths,
        listener=listener_of(described, (person or listener) if in_file else None),
        text=fields.get("text") or None,
        person=person,
        system=fields.get("system") or "",
        correctness=percent_of(fields.get("correctness", "")),
    )
