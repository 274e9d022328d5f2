"""Audiograms by name, as a list, from a file."""

import json

import numpy as np
import pytest

from benchmarks.made.release import LEVELS, dump, listeners
from intelligibility.corpora.audiograms import BISGAARD_DB, CLARITY_DB, listener_of
from intelligibility.runs import RecipeError
from msbg.audiogram import CLARITY_FREQUENCIES


@pytest.mark.parametrize("name", [*CLARITY_DB, *BISGAARD_DB, "n3", "Moderately_Severe"])
def test_every_name_gives_both_ears(name):
    listener = listener_of(name)
    assert listener.audiogram_left.frequencies.tolist() == list(CLARITY_FREQUENCIES)
    assert np.array_equal(listener.audiogram_left.levels, listener.audiogram_right.levels)
    assert listener.audiogram_left.levels.max() < 105


def test_standards_hold_where_they_were_given_and_end_with_their_last_level():
    levels = dict(zip(CLARITY_FREQUENCIES, listener_of("S3").audiogram_left.levels, strict=True))
    assert [levels[hertz] for hertz in (250, 1000, 3000, 6000, 8000)] == [30, 60, 80, 85, 85]


def test_what_lies_between_is_interpolated_over_log_frequency():
    levels = listener_of("500:20,2000:40").audiogram_left.levels
    assert levels == pytest.approx([20, 20, 30, 40, 40, 40, 40, 40])  # 1000 Hz: halfway in octaves


def test_each_ear_has_its_own_list():
    listener = listener_of("left=250:10,8000:50;right=250:20")
    assert listener.audiogram_left.levels[-1] == 50
    assert listener.audiogram_right.levels.tolist() == [20] * 8


def test_a_listeners_file(tmp_path):
    path = tmp_path / "listeners.json"
    dump(path, listeners())
    assert listener_of(str(path), "L0002").audiogram_left.levels.tolist() == LEVELS["L0002"]
    with pytest.raises(
        RecipeError, match="listener=L9: not in .*listeners.json; it contains L0001"
    ):
        listener_of(str(path), "L9")
    with pytest.raises(RecipeError, match="give listener=, one of"):
        listener_of(str(path))
    entries = listeners()
    entries["L0001"]["audiogram_levels_l"][0] = 110
    path.write_text(json.dumps(entries))
    with pytest.raises(RecipeError, match="L0001: .*110 dB HL at 250 Hz"):
        listener_of(str(path), "L0001")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("heavy", "no such audiogram; give a listeners file.*moderately severe, N1"),
        ("250:20,500", "500 has no level; expected dB HL at frequencies in Hz"),
        ("250:20,500:loud", "could not convert string to float"),
        ("250:20,500:110", "110 dB HL at 500 Hz"),
        ("250:nan", "finite"),
        ("left=250:20", "expected left=250:20,...;right=250:20"),
        ("250:20,250:30", "ascending, none twice"),
        ("0.25:20,0.5:30,4:60", "a frequency of 0.25: is it in kHz"),
        ("0.5:20,1000:30,4000:40", "a frequency of 0.5: is it in kHz"),
        ("/none/listeners.json", "no such file"),
    ],
)
def test_what_is_no_audiogram_is_named(text, message):
    with pytest.raises(RecipeError, match=message):
        listener_of(text)


def test_a_listener_needs_a_file():
    with pytest.raises(RecipeError, match="listener=L1: audiogram=N1 is not a listeners file"):
        listener_of("N1", "L1")


@pytest.mark.parametrize(
    ("text", "warnings"),
    [("250:20,500:30", ["ends at 500 Hz"]), ("4000:50,8000:60", ["begins at 4000 Hz"])]
    + [("250:20,4000:30", [])],
)
def test_a_list_that_ends_early_or_begins_late_is_warned_of(text, warnings, caplog):
    listener_of(text)
    said = {one.getMessage() for one in caplog.records}
    assert len(said) == len(warnings) and all(one in caplog.text for one in warnings)
