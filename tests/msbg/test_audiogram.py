"""Audiograms and the listeners file: what is read, and what is refused by name and value."""

import json
import pickle

import numpy as np
import pytest

from msbg import Audiogram, Listener
from msbg.audiogram import SEVERITIES, SEVERITY_LIMITS_DB_HL

ENTRY = {
    "name": "L0001",
    "audiogram_cfs": [250, 500, 1000, 2000, 3000, 4000, 6000, 8000],
    "audiogram_levels_l": [10, 20, 30, 40, 50, 60, 70, 80],
    "audiogram_levels_r": [15, 25, 35, 45, 55, 65, 75, 75],
}


@pytest.mark.parametrize(
    ("severity", "means"),
    [("NOTHING", (15,)), ("MILD", (15.1, 35)), ("MODERATE", (35.1, 56)), ("SEVERE", (56.1,))],
)
def test_severity_is_the_mean_from_2_to_8_khz(severity: str, means: tuple[float, ...]) -> None:
    """Limits are exclusive; entries outside 2 to 8 kHz do not count, and none there is no loss."""
    for mean_loss in means:
        levels = [90, 90, 90, *[mean_loss] * 5, 90]
        audiogram = Audiogram(levels, [250, 500, 1999, 2000, 3000, 4000, 6000, 8000, 8001])
        assert audiogram.severity == severity
    without = Audiogram([60, 60], [500, 1000])  # as in the reference
    assert (without.mean_level, without.severity) == (0, "NOTHING")
    assert SEVERITIES == ("NOTHING", "MILD", "MODERATE", "SEVERE")
    assert list(SEVERITY_LIMITS_DB_HL.values()) == sorted(SEVERITY_LIMITS_DB_HL.values())


def test_the_better_ear_has_the_lower_mean_level() -> None:
    """From 2 to 8 kHz: 60 against 60.5 dB HL, although the other ear is better below."""
    left = Audiogram([0, 0, 0, 40, 50, 60, 70, 82.5])
    right = Audiogram([80, 80, 80, 40, 50, 60, 70, 80])
    assert (left.mean_level, right.mean_level) == (60.5, 60)
    assert Listener(left, right).better_ear is right
    assert Listener(right, left).better_ear is right
    assert Listener(left, left).better_ear is left


def test_audiogram_cannot_change_after_its_check() -> None:
    """Neither by a new attribute, nor through the arrays, nor through the caller's list."""
    levels = np.array([10.0] * 8)
    audiogram = Audiogram(levels)  # at Clarity's eight frequencies
    assert audiogram.frequencies.tolist() == ENTRY["audiogram_cfs"]
    levels[0] = 200
    assert audiogram.levels.tolist() == [10] * 8
    assert Audiogram([0] * 8).levels.dtype == audiogram.frequencies.dtype == np.float64
    with pytest.raises(AttributeError):
        audiogram.levels = levels
    with pytest.raises(ValueError, match="read-only"):
        audiogram.levels[0] = 200


@pytest.mark.parametrize(
    ("levels", "frequencies", "message"),
    [
        ([10, None], [500, 1000], r"levels\[1\] is None"),
        ([10, float("nan")], [500, 1000], r"levels\[1\] is nan"),
        ([float("-inf"), 10], [500, 1000], r"levels\[0\] is -inf"),
        ([10, "20"], [500, 1000], r"levels\[1\] is '20'"),
        ([10, True], [500, 1000], r"levels\[1\] is True"),
        ([[10, 20]], [500], r"levels\[0\] is \[10, 20\]"),
        (np.array([[10.0, 20.0]]), [500], r"levels\[0\] is array"),
        ("10", [500, 1000], "levels is '10'"),
        (10, [500], "levels is 10"),
        ([], [], "frequencies is empty"),
        ([10, 20], [500, None], r"frequencies\[1\] is None"),
        ([10, 20], [1000, 500], r"frequencies are \[1000.0, 500.0\] Hz.*ascending"),
        ([10, 20], [500, 500], r"frequencies are \[500.0, 500.0\] Hz.*ascending"),
        ([10, 20], [0, 500], r"frequencies are \[0.0, 500.0\] Hz.*positive"),
        ([10, 20, 30], [500, 1000], "3 levels for 2 frequencies"),
        ([10, 105], [500, 1000], "105 dB HL at 1000 Hz.*catch-up level of 105 dB"),
        ([120, 110.5], [500, 1000], "120 dB HL at 500 Hz, 110.5 dB HL at 1000 Hz"),
    ],
)
def test_refused_audiograms(levels: object, frequencies: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Audiogram(levels, frequencies)


def write(path: object, content: object) -> object:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_reads_a_listeners_file(tmp_path: object) -> None:
    """Left is left, right is right; path or text will do."""
    path = write(tmp_path / "listeners.json", {"L0001": ENTRY, "L0002": {**ENTRY, "name": "L0002"}})
    for filename in (path, str(path)):
        listeners = Listener.load_listener_dict(filename)
        assert list(listeners) == ["L0001", "L0002"]
        listener = listeners["L0001"]
        assert listener.id == "L0001"
        assert listener.audiogram_left.levels.tolist() == ENTRY["audiogram_levels_l"]
        assert listener.audiogram_right.levels.tolist() == ENTRY["audiogram_levels_r"]
        assert listener.audiogram_right.frequencies.tolist() == ENTRY["audiogram_cfs"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        *(({key: "missing"}, f"'{key}'.*is missing") for key in ENTRY),
        *(({key: None}, f"'{key}'.*is null") for key in ENTRY),
        *(({key: 7}, f"'{key}'.*7") for key in ENTRY),
        ({"audiogram_levels_r": [10] * 7}, "'audiogram_levels_r'.*7 levels for 8 frequencies"),
        ({"audiogram_levels_l": [None] * 8}, r"'audiogram_levels_l'.*levels\[0\] is None"),
        ({"audiogram_levels_l": [10] * 7 + [105]}, "105 dB HL at 8000 Hz"),
        ({"audiogram_cfs": ENTRY["audiogram_cfs"][::-1]}, "ascending"),
    ],
)
def test_refused_entries_name_file_listener_and_key(
    tmp_path: object, change: dict, message: str
) -> None:
    entry = {key: value for key, value in (ENTRY | change).items() if value != "missing"}
    path = write(tmp_path / "listeners.json", {"L0000": ENTRY, "L0001": entry})
    with pytest.raises(ValueError, match=f"listeners.json: listener L0001: .*{message}"):
        Listener.load_listener_dict(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not a JSON file"),
        ("[]", "expected listeners by identifier, found a list"),
        ('{"L0001": null}', "listener L0001: found None"),
    ],
)
def test_refused_files(tmp_path: object, text: str, message: str) -> None:
    path = tmp_path / "listeners.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=f"listeners.json: {message}"):
        Listener.load_listener_dict(path)


def test_one_warning_per_severe_listener(tmp_path: object, caplog: object) -> None:
    """Both ears too severe: one line. Exactly 80 dB HL: none. A copy in a worker: none."""
    severe = dict.fromkeys(("audiogram_levels_l", "audiogram_levels_r"), [*[20] * 7, 81])
    entries = {"L0001": ENTRY, "L0002": {**ENTRY, "name": "L0002", **severe}}
    listeners = Listener.load_listener_dict(write(tmp_path / "listeners.json", entries))
    pickle.loads(pickle.dumps(listeners))
    assert len(caplog.records) == 1
    assert "Listener L0002: losses up to 81 (left) and 81 dB HL" in caplog.text


def test_real_listeners(shared: object) -> None:
    folder = shared / "cpc1_sample/clarity_CPC1_data_test/metadata"
    listeners = Listener.load_listener_dict(folder / "listeners.CPC1_all.json")
    assert len(listeners) == 27
    assert all(listener.id == key for key, listener in listeners.items())
