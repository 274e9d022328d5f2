"""A table of recordings as a spreadsheet saves it: read, and refused where it cannot be right."""

import csv
import io
import logging
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from intelligibility.corpora.presentation import Problem, are_shares, percentage
from intelligibility.runs import RecipeError, check_size, listed

logger = logging.getLogger(__name__)

Line = tuple[int, dict[str, str]]  # its number, the header being 1, and its fields by column
SAVE = "save it as CSV UTF-8 (comma delimited)"
# How files begin that are no CSV in UTF-8.
OTHER_FILES = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16", b"PK": "an Excel workbook"}
SEPARATORS = {";": "semicolons", "\t": "tabs"}


def read_lines(
    table: Path, required: Sequence[str], optional: Sequence[str]
) -> tuple[list[Line], list[Problem]]:
    """Read the lines of a CSV file by the names of its columns; empty ones are left out.

    Columns that are neither `required` nor `optional` are named in a warning. A file that is
    missing, no CSV in UTF-8 separated by commas, or lacks a column is refused.

    Returns
    -------
    lines, problems
        Those with as many fields as the header, without spaces around them; and what is wrong with
        each of the others.
    """
    try:
        reader = csv.reader(io.StringIO(_text_of(table), newline=""), strict=True)
        header = [name.strip() for name in next(reader, [])]
        rows = [(reader.line_num, row) for row in reader if any(map(str.strip, row))]
    except csv.Error as error:
        raise RecipeError(f"table={table}: cannot be read as CSV ({error}); {SAVE}") from None
    _check_header(table, header, required, optional)
    if not rows:
        raise RecipeError(f"table={table}: has no rows")
    lines, problems = [], []
    for number, row in rows:
        if len(row) == len(header):
            fields = {name: field.strip() for name, field in zip(header, row, strict=True)}
            lines.append((number, fields))
        else:
            fault = (
                f"{len(row)} fields, expected {len(header)} as in the header; put a text that "
                "contains commas into quotes"
            )
            problems.append(Problem(fault, f"line {number}"))
    return lines, problems


def _text_of(table: Path) -> str:
    if not table.is_file():
        raise RecipeError(f"table={table}: no such file")
    try:
        check_size(table)
    except ValueError as error:
        raise RecipeError(f"table={table}: {error}; split it") from None
    content = table.read_bytes()
    for start, what in OTHER_FILES.items():
        if content.startswith(start):
            raise RecipeError(f"table={table}: this is {what}; {SAVE}")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RecipeError(f"table={table}: cannot be read as UTF-8 ({error}); {SAVE}") from None


def _check_header(
    table: Path, header: list[str], required: Sequence[str], optional: Sequence[str]
) -> None:
    """Refuse a header from which it is not clear which column is which."""
    known = (*required, *optional)
    expected = f"expected {', '.join(required)} and, optionally, {', '.join(optional)}"
    for sign, what in SEPARATORS.items():
        if len(header) == 1 and sign in header[0]:
            raise RecipeError(f"table={table}: its columns are separated by {what}; {SAVE}")
    plain = {name: re.sub(r"\s+", "_", name).lower() for name in header}
    if other := [name for name in header if name not in known and plain[name] in known]:
        raise RecipeError(
            f"table={table}: column {listed(other)}: write {listed([plain[n] for n in other])}, in "
            f"small letters, and {SAVE}"
        )
    if twice := [name for name, count in Counter(header).items() if name and count > 1]:
        raise RecipeError(f"table={table}: two columns are called {listed(twice)}; keep one")
    if lacking := [name for name in required if name not in header]:
        raise RecipeError(
            f"table={table}: no column {' and '.join(lacking)}; its columns are "
            f"{', '.join(header) or 'none'}, {expected}. From a spreadsheet, {SAVE}"
        )
    if unread := [name for name in header if name and name not in known]:
        logger.warning("%s: columns that are not read: %s", table, ", ".join(unread))


def names_of(lines: Iterable[Line]) -> dict[int, str]:
    """Return the name of each line's recording, by the number of the line.

    It is the column `name`, or the name of the processed file. Where several lines share that, as
    when several listeners heard one recording, the listener's follows.
    """
    stems = {n: path_in(Path(), fields["processed"]).stem for n, fields in lines}
    times = Counter(stems.values())
    names = {}
    for n, fields in lines:
        listener = fields.get("listener") if times[stems[n]] > 1 else None
        names[n] = fields.get("name") or "_".join(filter(None, (stems[n], listener)))
    return names


def check_names(names: Mapping[int, str]) -> list[Problem]:
    """Return the lines whose name is that of a line before."""
    first: dict[str, int] = {}
    return [
        Problem(
            f"name {name} is that of line {first[name]}; give each row a name of its own in the "
            "column name, or keep one of them",
            f"line {number}",
        )
        for number, name in names.items()
        if first.setdefault(name, number) != number
    ]


def path_in(folder: Path, text: str) -> Path:
    """Return a path that counts from a folder; Windows' separators are taken as ours."""
    return folder / Path(text.replace("\\", "/")).expanduser()


def percent_of(text: str) -> float | None:
    """Return a percentage, which may end with its sign; None where there is none.

    Anything else is refused.
    """
    try:
        return percentage(float(text.removesuffix("%")) if text else None, "correctness")
    except ValueError:
        raise RecipeError(f"correctness is {text!r:.40}, expected percent, 0 to 100") from None


def refuse_shares(table: Path, correctness: Iterable[float | None]) -> None:
    """Refuse a table whose correctness was written as shares of 1."""
    if are_shares(correctness):
        raise RecipeError(
            f"table={table}: correctness is given as shares, 0 to 1; give percent, 0 to 100"
        )
