"""What is to be scored: one row per recording, from the command line or from a table."""

import csv
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from intelligibility.corpora.audiograms import listener_of
from intelligibility.corpora.presentation import Problem
from intelligibility.prediction.predictor import Conditions
from intelligibility.prediction.recording import check_header
from intelligibility.runs import MAX_JSON, RecipeError, file_stamp
from intelligibility.words import words_of
from msbg import Listener

logger = logging.getLogger(__name__)

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
    rows: list[Row] = []
    problems: list[Problem] = []
    names: dict[str, int] = {}
    for line, fields in _lines(table):
        try:
            row = _row(line, _complete(fields), table.parent, audiogram, listener)
            if names.setdefault(row.name, line) != line:
                raise RecipeError(f"name {row.name} is that of line {names[row.name]}; give others")
            check_row(row)
            rows.append(row)
        except RecipeError as error:
            problems.append(Problem(str(error), f"line {line}"))
    return rows, problems


def check_row(row: Row) -> None:
    """Refuse a row that cannot be scored, without reading its recordings."""
    check_header(row.processed)
    check_header(row.reference)
    if row.text is not None and not words_of(row.text):
        raise RecipeError(f"text {row.text!r:.60} contains no word")


def made_by(
    row: Row, conditions: Conditions, model: Mapping[str, Any], by: str | None
) -> dict[str, Any]:
    """Return everything that determines the result of a row."""
    ears = (row.listener.audiogram_left, row.listener.audiogram_right)
    return {
        "recordings": [file_stamp(path) for path in (row.processed, row.reference)],
        "audiograms": [[ear.frequencies.tolist(), ear.levels.tolist()] for ear in ears],
        "text": row.text,
        "conditions": asdict(conditions),
        "model": {**model, "by": by},
    }


def _complete(fields: Mapping[str | None, Any]) -> dict[str, str]:
    """Refuse a row with more or fewer fields than columns: a comma in a text shifts the rest."""
    given = {key: value for key, value in fields.items() if key is not None and value is not None}
    if len(given) < len(fields):
        n_fields = len(given) + len(fields.get(None) or [])
        raise RecipeError(
            f"{n_fields} fields, expected {len(fields.keys() - {None})} as in the header; put a "
            "text that contains commas into quotes"
        )
    return {key: value.strip() for key, value in given.items()}


def _lines(table: Path) -> list[tuple[int, dict[str | None, Any]]]:
    """Return each line's number and its fields by column."""
    if not table.is_file():
        raise RecipeError(f"table={table}: no such file")
    if table.stat().st_size > MAX_JSON:
        raise RecipeError(f"table={table}: more than {MAX_JSON / 1e6:.0f} MB; split it")
    try:
        with table.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream, strict=True)
            columns = reader.fieldnames or []
            if lacking := [name for name in REQUIRED if name not in columns]:
                raise RecipeError(
                    f"table={table}: no column {' and '.join(lacking)}; its columns are "
                    f"{', '.join(columns) or 'none'}, expected {', '.join(REQUIRED)} and, "
                    f"optionally, {', '.join(OPTIONAL)}"
                )
            lines = [(reader.line_num, fields) for fields in reader]
    except (csv.Error, UnicodeDecodeError) as error:
        raise RecipeError(f"table={table}: cannot be read as CSV in UTF-8 ({error})") from None
    if not lines:
        raise RecipeError(f"table={table}: has no rows")
    if unread := [name for name in columns if name not in (*REQUIRED, *OPTIONAL)]:
        logger.warning("%s: columns that are not read: %s", table, ", ".join(unread))
    return lines


def _row(
    line: int, fields: Mapping[str, str], folder: Path, audiogram: str | None, listener: str | None
) -> Row:
    if missing := [name for name in REQUIRED if not fields[name]]:
        raise RecipeError(f"no {' and no '.join(missing)}")
    paths = {name: folder / Path(fields[name]).expanduser() for name in REQUIRED}
    described = fields.get("audiogram") or audiogram
    if not described:
        raise RecipeError("no audiogram: give a column, or audiogram= for all rows")
    in_file = described.endswith(".json")
    if in_file and fields.get("audiogram"):
        described = str(folder / Path(described).expanduser())
    person = fields.get("listener") or ""
    return Row(
        line=line,
        name=fields.get("name") or paths["processed"].stem,
        **paths,
        listener=listener_of(described, (person or listener) if in_file else None),
        text=fields.get("text") or None,
        person=person,
        system=fields.get("system") or "",
        correctness=_correctness(fields.get("correctness") or ""),
    )


def _correctness(text: str) -> float | None:
    try:
        value = float(text) if text else None
    except ValueError:
        value = -1.0
    if value is not None and not 0 <= value <= 100:
        raise RecipeError(f"correctness is {text!r:.40}, expected percent, 0 to 100")
    return value
