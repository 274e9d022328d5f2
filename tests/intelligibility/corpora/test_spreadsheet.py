"""Tables as spreadsheets save them: read, or refused with what to do about it."""

import pytest

from intelligibility.corpora.presentation import are_shares
from intelligibility.corpora.spreadsheet import (
    check_names,
    names_of,
    path_in,
    percent_of,
    read_lines,
    refuse_shares,
)
from intelligibility.runs import RecipeError

REQUIRED, OPTIONAL = ("processed", "reference"), ("text", "name", "listener")
HEADER = "processed,reference,text"
ROW = 'ha.wav,clean.wav,"yes, and no"'


def read(folder, *lines, encoding="utf-8", end="\r\n"):
    path = folder / "test.csv"
    path.write_bytes(end.join([*lines, ""]).encode(encoding))
    return read_lines(path, REQUIRED, OPTIONAL)


def test_what_excel_writes_is_read(tmp_path):
    """Its mark at the start, its line ends, empty lines and columns, spaces, a break in a cell."""
    rows = [ROW + ",,", ",,,,", 'b.wav , clean.wav ,"two\nlines",,', ",,,,"]
    lines, problems = read(tmp_path, HEADER + ",,", *rows, encoding="utf-8-sig")
    assert problems == [] and [number for number, _ in lines] == [2, 5]
    assert lines[0][1]["text"] == "yes, and no"
    assert (lines[1][1]["processed"], lines[1][1]["reference"]) == ("b.wav", "clean.wav")


@pytest.mark.parametrize(
    ("header", "row", "encoding", "message"),
    [
        (HEADER.replace(",", ";"), ROW.replace(",", ";"), "utf-8", "separated by semicolons; save"),
        (HEADER.replace(",", "\t"), ROW, "utf-8", "separated by tabs; save it as CSV UTF-8"),
        (HEADER, ROW, "utf-16", "this is UTF-16; save it as CSV UTF-8 (comma delimited)"),
        ("PK\x03\x04", ROW, "utf-8", "this is an Excel workbook; save it as CSV UTF-8"),
        (HEADER, "ha.wav,clean.wav,señor", "cp1252", "cannot be read as UTF-8"),
        ("Processed,reference", ROW, "utf-8", "column Processed: write processed, in small"),
        ("PROCESSED ,REFERENCE", ROW, "utf-8", "column PROCESSED; REFERENCE: write processed; ref"),
        (HEADER + ",text", ROW, "utf-8", "two columns are called text; keep one"),
        ("processed,clean", ROW, "utf-8", "no column reference; its columns are processed, clean"),
        (HEADER, '"ha.wav"x,b', "utf-8", "cannot be read as CSV"),
        (HEADER, "", "utf-8", "has no rows"),
    ],
)
def test_what_cannot_be_right_comes_with_the_way_to_save_it(
    tmp_path, header, row, encoding, message
):
    with pytest.raises(RecipeError) as error:
        read(tmp_path, header, row, encoding=encoding)
    assert message in str(error.value)


def test_a_line_with_fields_too_many_or_too_few_is_named(tmp_path):
    lines, problems = read(tmp_path, HEADER, ROW, "ha.wav,clean.wav,yes, and no", "ha.wav")
    assert len(lines) == 1
    assert [one.where for one in problems] == ["line 3", "line 4"]
    assert "4 fields, expected 3 as in the header; put a text" in problems[0].fault


def test_columns_that_are_not_read_are_named(tmp_path, caplog):
    read(tmp_path, HEADER + ",listner", ROW + ",L1")
    assert "columns that are not read: listner" in caplog.text


def test_a_recording_of_several_listeners_gets_their_names(tmp_path):
    header = "processed,reference,name,listener"
    rows = ["a/ha.wav,c.wav,,L1", "a/ha.wav,c.wav,,L2", "b.wav,c.wav,,L1", "d.wav,c.wav,mine,"]
    lines, _ = read(tmp_path, header, *rows)
    names = names_of(lines)
    assert list(names.values()) == ["ha_L1", "ha_L2", "b", "mine"]
    assert check_names(names) == []


def test_two_recordings_of_one_name_want_the_column_name(tmp_path):
    lines, _ = read(tmp_path, HEADER, "a/ha.wav,c.wav,x", "b/ha.wav,c.wav,x")
    (problem,) = check_names(names_of(lines))
    assert problem.where == "line 3"
    assert "name ha is that of line 2" in problem.fault and "column name" in problem.fault


def test_paths_of_windows_lead_to_the_same_files(tmp_path):
    assert path_in(tmp_path, "wavs\\ha 1.wav") == tmp_path / "wavs/ha 1.wav"
    assert path_in(tmp_path, "/data/ha.wav").as_posix() == "/data/ha.wav"


@pytest.mark.parametrize(
    ("text", "value"), [("", None), ("0", 0), ("66.7", 66.7), ("66.7%", 66.7), ("100 %", 100)]
)
def test_percent_are_read(text, value):
    assert percent_of(text) == value


@pytest.mark.parametrize("text", ["66,7", "120", "-1", "nan", "2/3", "%"])
def test_what_is_not_percent_is_refused(text):
    with pytest.raises(RecipeError, match="expected percent, 0 to 100"):
        percent_of(text)


@pytest.mark.parametrize(
    ("values", "shares"),
    [([0.5], True), ([0, None, 0.3, 1], True), ([0, 1], False), ([0.5, 50], False), ([], False)],
)
def test_shares_are_told_from_percent(tmp_path, values, shares):
    assert are_shares(values) == shares
    if shares:
        with pytest.raises(RecipeError, match="shares, 0 to 1; give percent, 0 to 100"):
            refuse_shares(tmp_path / "test.csv", values)
