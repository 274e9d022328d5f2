"""CPC3 as presentations: a small release in its layout, a real scene, and the real list."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from intelligibility.corpora import late_responses
from intelligibility.corpora.cpc3 import names_of, parse_named
from intelligibility.corpora.listeners import STAND_INS
from intelligibility.evaluation.leaks import keys_of
from intelligibility.runs import RecipeError
from tests.conftest import configure, edit
from tests.intelligibility.corpora.conftest import first, spoil

CORPUS = "cpc3"
DATA = "clarity_CPC3_data/clarity_data"


def test_train_and_two_tests(whole: Path, read, all_problems) -> None:
    """The challenge's dev and eval are the test; their names say nothing."""
    archives = read(whole)
    train, test = archives["train"].presentations, archives["test"].presentations
    assert [len(train), len(test)] == [8, 4]
    one = {one.name: one for one in train}["CEC1_E001_S10001_L0002"]
    assert (one.cec, one.system, one.scene) == ("CEC1", "E001", "CEC1_S10001")
    assert one.listener.id == "L0002"
    assert one.reference.name == "CEC1_S10001_ref.wav"
    assert sorted(one.sets for one in test) == [("dev",)] * 2 + [("eval",)] * 2
    assert {(one.cec, one.system) for one in test} == {("", "")}
    assert all(one.correctness is not None for one in test)
    assert all(one.scene == one.name for one in test)
    assert all_problems(whole) == ""


def test_a_severity_stands_in_for_an_audiogram(whole: Path, read) -> None:
    """The levels are those of Clarity's baseline, alike in both ears."""
    archives = read(whole)
    people = {o.listener.id: o.listener for a in archives.values() for o in a.presentations}
    severe = "Moderately severe"
    assert set(people) == {"L0001", "L0002", "Mild", severe}
    for name, grade in (("L0001", "Mild"), ("L0002", severe), (severe, severe)):
        assert people[name].audiogram_left.levels.tolist() == list(STAND_INS[grade])
        assert people[name].audiogram_right.levels.tolist() == list(STAND_INS[grade])
    assert STAND_INS["Moderate"] == (20, 20, 25, 35, 40, 45, 50, 55)


def test_audiograms_of_the_same_people(root: Path, caplog: pytest.LogCaptureFixture, read) -> None:
    """They are used where a user has them, and it is said for how many."""
    edit(root / "listeners.json", lambda people: people.pop("L0001"))
    with caplog.at_level("INFO"):
        archives = read(root, f"path.listeners='{root / 'listeners.json'}'")
    people = {one.listener.id: one.listener for one in archives["train"].presentations}
    assert people["L0002"].audiogram_right.levels.tolist()[0] == 45
    assert people["L0001"].audiogram_left.levels.tolist() == list(STAND_INS["Mild"])
    assert "measured for 1 of 2 listeners, 4 of 8 signals" in caplog.text


@pytest.mark.parametrize(
    ("listener", "measured", "lowest"),
    [("L0002", True, 45), ("L0099", True, 10), ("L0002", False, 10), (None, True, 10)],
)
def test_a_listener_whom_an_entry_of_dev_names(
    root: Path, read, listener, measured, lowest
) -> None:
    """With an audiogram of their own where there is one, and the stand-in's where not."""
    change = {"listener": listener, "hearing_loss": "Mild"}
    edit(root / DATA / "metadata/CPC3.dev.json", lambda entries: entries[0].update(change))
    where = [f"path.listeners='{root / 'listeners.json'}'"] if measured else []
    people = {one.listener.id: one.listener for one in read(root, *where)["test"].presentations}
    found = people[listener or "Mild"]
    assert found.audiogram_right.levels.tolist()[0] == lowest
    assert keys_of(replace(read(root)["test"].presentations[0], listener=found))["listeners"] == (
        listener
    )


def test_labels_that_came_later(root: Path, tmp_path: Path, read) -> None:
    """Labels are taken from any file of the right beginning; without them there are none."""
    labels = tmp_path / "labels"
    labels.mkdir()
    (root / DATA / "metadata/CPC3.dev_labels.json").rename(labels / "CPC3.dev.json")
    (root / DATA / "metadata/CPC3.eval_labels.json").unlink()
    assert {one.correctness for one in read(root)["test"].presentations} == {None}
    late = read(root, f"path.test_responses='{labels}'")["test"].presentations
    assert {one.sets for one in late if one.correctness is not None} == {("dev",)}
    cfg = configure(root, root / "exp", "corpus=cpc3", f"path.test_responses='{labels}'")
    assert {one.signal for one in late_responses(cfg, "", late)} == {
        one.name for one in late if one.sets == ("dev",)
    }
    with pytest.raises(RecipeError, match="no CPC3.dev"):
        nothing = f"path.test_responses='{root}'"
        late_responses(configure(root, root, "corpus=cpc3", nothing), "", late)


def test_names(shared: Path) -> None:
    """Every real name splits; others are refused."""
    for entry in json.loads((shared / "cpc3_real/CPC3.train.json").read_text()):
        cec, system, scene, listener = names_of(entry["signal"])
        assert re.fullmatch(r"CEC[12] E\d{3} S\d{5} L\d{4}", f"{cec} {system} {scene} {listener}")
        assert parse_named(entry).correctness is not None
    assert names_of("CEC2_E024_hr_S08503_L0212")[1] == "E024_hr"
    for name in ("E024_S08503_L0212", "CEC2_E024_S08503", "0a7c3e910f", "CEC1__S1_L1"):
        with pytest.raises(ValueError, match="does not split"):
            names_of(name)


DEAF = "1 x unknown severity in CPC3.dev.json: listener {} of [0-9a-f]{{24}}"
FAULTS = [
    ("CPC3.train", None, "1 x training set without its list: .*CPC3.train.json"),
    ("CPC3.dev*", None, "1 x dev set without its list: .*CPC3.dev.json"),
    ("CPC3.dev", first(hearing_loss="Deaf"), DEAF.format("Deaf")),
    ("CPC3.dev", first(hearing_loss=None), DEAF.format("None")),
    ("CPC3.train", first(signal="S10000_L0001_E001"), "entry 1: S10000_L0001_E001 does not split"),
    ("CPC3.dev", lambda entries: entries.pop(), "1 x label without a signal: [0-9a-f]{24}"),
    ("train/references/CEC1_S10001_ref.wav", None, "1 x missing file: .*CEC1_S10001_ref.wav"),
]


@pytest.mark.parametrize(("file", "change", "found"), FAULTS)
def test_bad_releases(root: Path, all_problems, file, change, found: str) -> None:
    spoil(root / DATA, file, change)
    assert re.search(found, all_problems(root))


def test_a_signal_in_dev_and_eval(root: Path, all_problems) -> None:
    """It would be scored twice."""
    metadata = root / DATA / "metadata"
    listed = json.loads((metadata / "CPC3.dev.json").read_text())
    edit(metadata / "CPC3.eval.json", lambda entries: entries.extend(listed))
    assert "4 x signal listed twice in metadata" in all_problems(root)


def test_an_unknown_severity(root: Path, all_problems) -> None:
    """It is named, and so is each signal of the listener."""
    severities = "listener_id,severity\nL0001,Profound\nL0002,Mild\n"
    (root / DATA / "metadata/listeners.csv").write_text(severities)
    found = all_problems(root)
    assert "1 x unknown severity in listeners.csv: L0001: 'Profound'" in found
    assert "4 x no severity in listeners.csv" in found


def test_no_severities(root: Path, read) -> None:
    (root / DATA / "metadata/listeners.csv").unlink()
    with pytest.raises(RecipeError, match="listeners.csv: no such file; it holds the severity"):
        read(root)
    (root / DATA / "metadata/listeners.csv").write_text("name,loss\n")
    with pytest.raises(RecipeError, match="expected listener_id, severity"):
        read(root)


def test_the_real_scene(shared: Path, read, all_problems) -> None:
    """The real sample is read whole: three training signals, one of dev."""
    archives = read(shared / "cpc3_sample")
    assert [len(archives[name].presentations) for name in ("train", "test")] == [3, 1]
    (dev,) = archives["test"].presentations
    assert (dev.name, dev.listener.id, dev.correctness) == (
        *("0a7c3e910f", "Moderately severe"),
        None,
    )
    assert {one.listener.id for one in archives["train"].presentations} == {
        *("L0200", "L0212", "L0242")
    }
    assert all_problems(shared / "cpc3_sample") == ""
    measured = shared / "cpc2_sample/clarity_CPC2_data/clarity_data/metadata/listeners.json"
    real = read(shared / "cpc3_sample", f"path.listeners='{measured}'")["train"].presentations
    assert {one.name: one.listener.audiogram_left.levels[0] for one in real} == {
        "CEC2_E024_S08503_L0212": 25,
        "CEC2_E031_S08503_L0242": pytest.approx(
            json.loads(measured.read_text())["L0242"]["audiogram_levels_l"][0]
        ),
        "CEC2_E036_S08503_L0200": 35,
    }
