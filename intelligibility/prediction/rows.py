"""What is to be scored: one row per recording, from the command line or from a table."""

import csv
import functools
import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import soundfile as sf

from intelligibility.journal import file_stamp
from intelligibility.prediction.audiograms import listener_of
from intelligibility.prediction.predictor import Conditions, Prediction, Predictor
from intelligibility.prediction.sound import read_sound
from intelligibility.runs import MAX_JSON, RecipeError
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
        What it is called in the output.
    processed, reference : Path
        Recordings.
    listener : Listener
        With audiograms.
    text : str or None
        The sentence.
    person, system : str
        By which results are grouped; "" where the table does not say.
    correctness : float or None
        Percent words that were understood, where it is known.
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

    @property
    def where(self) -> str:
        """Return what to call it in messages."""
        return f"line {self.line} ({self.name})" if self.line else self.name


def read_rows(
    table: Path, audiogram: str | None, listener: str | None
) -> tuple[list[Row], dict[int, str]]:
    """Read a table of recordings.

    Parameters
    ----------
    table : Path
        CSV with the columns processed and reference and, each optional, text, listener, audiogram,
        system, name and correctness. Paths count from the table's folder.
    audiogram, listener : str or None
        For rows that name none.

    Returns
    -------
    rows : list of Row
        Those that can be scored.
    faults : dict
        By the line of each other one: what is wrong.

    Raises
    ------
    RecipeError
        No such table, or one that lacks a column.
    """
    rows, faults = [], {}
    names: dict[str, int] = {}
    for line, entry in _entries(table):
        try:
            entry = _whole(entry)
            row = _row(line, entry, table.parent, audiogram, listener)
            if names.setdefault(row.name, line) != line:
                raise RecipeError(f"name {row.name} is that of line {names[row.name]}; give others")
            rows.append(row)
        except RecipeError as error:
            faults[line] = str(error)
    return rows, faults


def _whole(entry: Mapping[str | None, Any]) -> dict[str, str]:
    """Refuse a row with more or fewer fields than columns: a comma in a text shifts the rest."""
    given = {key: value for key, value in entry.items() if value is not None}
    if None in given or len(given) < len(entry):
        n_fields = len(given) + len(given.get(None, [None])) - 1
        raise RecipeError(
            f"{n_fields} fields, expected {len(entry.keys() - {None})} as in the header; put a "
            "text that holds commas into quotes"
        )
    return {key: value.strip() for key, value in given.items()}


def _entries(table: Path) -> Iterator[tuple[int, dict[str | None, Any]]]:
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
                    f"{', '.join(columns) or 'none'}, expected {', '.join(REQUIRED)} and, if you "
                    f"like, {', '.join(OPTIONAL)}"
                )
            entries = [(reader.line_num, entry) for entry in reader]
    except (csv.Error, UnicodeDecodeError) as error:
        raise RecipeError(f"table={table}: cannot be read as CSV in UTF-8 ({error})") from None
    if not entries:
        raise RecipeError(f"table={table}: has no rows")
    if unread := [name for name in columns if name not in (*REQUIRED, *OPTIONAL)]:
        logger.warning("%s: columns that are not read: %s", table, ", ".join(unread))
    yield from entries


def _row(
    line: int, entry: Mapping[str, str], folder: Path, audiogram: str | None, listener: str | None
) -> Row:
    if missing := [name for name in REQUIRED if not entry[name]]:
        raise RecipeError(f"no {' and no '.join(missing)}")
    paths = {name: folder / Path(entry[name]).expanduser() for name in REQUIRED}
    who, described = entry.get("listener") or listener, entry.get("audiogram") or audiogram
    if not described:
        raise RecipeError("no audiogram: give a column, or audiogram= for all rows")
    if described.endswith(".json"):
        described = (
            str(folder / Path(described).expanduser()) if entry.get("audiogram") else described
        )
    is_file = described.endswith(".json")
    return Row(
        line=line,
        name=entry.get("name") or paths["processed"].stem,
        **paths,
        listener=listener_of(described, who if is_file else None),
        text=entry.get("text") or None,
        person=entry.get("listener") or "",
        system=entry.get("system") or "",
        correctness=_correctness(entry.get("correctness") or ""),
    )


def _correctness(text: str) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 100:
        raise RecipeError(f"correctness is {text!r:.40}, expected percent, 0 to 100")
    return value


def fault_of(row: Row) -> str | None:
    """Look for what would stop a row, without reading its sound."""
    for path in (row.processed, row.reference):
        if not path.is_file():
            return f"{path}: no such file"
        try:
            if not sf.info(path).frames:
                return f"{path}: has no samples"
        except (sf.SoundFileError, OSError) as error:
            return f"{path}: cannot be read as audio ({error}); give a WAV or FLAC file"
    if row.text is not None and not words_of(row.text):
        return f"text {row.text!r:.60} holds no word"
    return None


def made_by(row: Row, conditions: Conditions, model: Mapping[str, Any]) -> dict[str, Any]:
    """Return all that decides the result of a row: when any of it changes, it is scored anew."""
    ears = (row.listener.audiogram_left, row.listener.audiogram_right)
    return {
        "recordings": [file_stamp(path) for path in (row.processed, row.reference)],
        "audiograms": [[ear.frequencies.tolist(), ear.levels.tolist()] for ear in ears],
        "text": row.text,
        "conditions": asdict(conditions),
        "model": dict(model),
    }


def predict(predictor: Predictor, row: Row, conditions: Conditions) -> Prediction:
    """Read the recordings of a row and score them.

    Raises
    ------
    RecipeError
        With the row's line.
    """
    try:
        pair = read_sound(row.processed), read_sound(row.reference)
        return predictor.predict(*pair, None, row.listener, row.text, conditions)
    except (RecipeError, ValueError) as error:  # ValueError: the simulation is not defined for it
        raise RecipeError(f"{row.where}: {error}" if row.line else str(error)) from None


def as_plain(prediction: Prediction) -> dict[str, Any]:
    """Return what is kept of a prediction: numbers and words."""
    return {
        "percent": prediction.percent,
        "by": prediction.by,
        "rmse": prediction.rmse,
        "percents": prediction.percents,
        "similarities": prediction.similarities,
        "by_ear": prediction.by_ear,
        "words": prediction.words,
        "text": prediction.text,
        "text_given": prediction.text_given,
        "delay": prediction.heard.delay,
        "level": prediction.heard.level,
        "warnings": prediction.heard.warnings,
    }


def score_row(
    key: tuple[str, str | None, str, str | None], row: Row, conditions: Conditions
) -> tuple[Row, dict[str, Any]]:
    """Score one row in a process that has loaded the model."""
    try:
        return row, as_plain(predict(predictor_of_process(*key), row, conditions))
    except RecipeError as error:
        return row, {"fault": str(error)}


@functools.cache
def predictor_of_process(
    model: str, revision: str | None, device: str, by: str | None
) -> Predictor:
    """Load the model once per process."""
    return Predictor.load(model, revision, device, by)
