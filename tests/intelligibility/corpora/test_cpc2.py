"""CPC2 as presentations: a small release in its layout, and a real scene."""

import json
import re
import shutil
from pathlib import Path

import pytest

from intelligibility.corpora import late_responses, read_archives
from intelligibility.corpora.cpc2 import names_of
from intelligibility.preparation.check import check_headers
from intelligibility.runs import RecipeError
from tests.conftest import configure, edit
from tests.intelligibility.corpora.conftest import first, spoil, twice

CORPUS = "cpc2"
DATA = "clarity_CPC2_data/clarity_data"


def test_three_sets_in_one(whole: Path, read, all_problems) -> None:
    """A signal of two trainings is one presentation; the tests have their labels."""
    archives = read(whole)
    train, test = archives["train"], archives["test"]
    assert [len(train.presentations), len(test.presentations)] == [8, 4]
    by_name = {one.name: one for one in train.presentations}
    assert by_name["S10000_L0001_E001"].sets == ("2", "3")
    assert by_name["S10000_L0002_E001"].sets == ("1", "3")
    assert {one.sets for one in test.presentations} == {("1",), ("2",)}
    assert all(one.correctness is not None for one in test.presentations)
    assert {one.scene for one in train.presentations} == {
        *("CEC1_S10001", "CEC1_S10003", "CEC2_S10000", "CEC2_S10002")
    }
    assert {one.reference.name for one in test.presentations} == {
        *("S20000_target_anechoic.wav", "S20001_target_anechoic.wav")
    }
    assert all(one.lead_in is None for one in train.presentations)
    assert all_problems(whole) == ""


def test_a_system_with_an_underscore() -> None:
    """A name is split on its first two underscores only."""
    assert names_of("S08503_L0212_E024_hr")["system"] == "E024_hr"
    for name in ("S08503_L0212", "S08503", "S08503__E024", "_L0212_E024"):
        with pytest.raises(ValueError, match="does not split"):
            names_of(name)


def test_labels_that_came_later(root: Path, tmp_path: Path, read) -> None:
    """They are found in path.test_responses; without them the test is unlabelled."""
    labels = tmp_path / "labels"
    labels.mkdir()
    for path in (root / DATA).glob("CPC2.test_labels.*.json"):
        path.rename(labels / path.name)
    assert {one.correctness for one in read(root)["test"].presentations} == {None}
    late = read(root, f"path.test_responses='{labels}'")["test"].presentations
    cfg = configure(root, root / "exp", "corpus=cpc2", f"path.test_responses='{labels}'")
    assert {one.name: one.correctness for one in late} == {
        one.signal: one.correctness for one in late_responses(cfg, "", late)
    }
    with pytest.raises(RecipeError, match="no CPC2.test_labels.1.json"):
        read(root, f"path.test_responses='{tmp_path}'")


def test_the_test_and_its_labels_alone(root: Path, read) -> None:
    """That is the smallest benchmark: a mapping of another run is enough."""
    for path in (root / DATA / "metadata").glob("*.train.*.json"):
        path.unlink()
    assert list(read(root)) == ["test"]
    for path in (root / DATA / "metadata").glob("CEC2.test.*.json"):
        path.unlink()
    assert len(read(root)["test"].presentations) == 4  # the labels list the signals as well
    for path in (root / DATA).glob("CPC2.test_labels.*.json"):
        path.unlink()
    with pytest.raises(RecipeError, match="neither training lists"):
        read(root)


def test_signals_in_the_folders_of_their_sets(root: Path, read, all_problems) -> None:
    """The archive has signals in signals/ or in train.k/: both are looked into."""
    outputs = root / DATA / "HA_outputs"
    (outputs / "train.2").mkdir()
    (outputs / "signals/CEC1").rename(outputs / "train.2/CEC1")
    assert all_problems(root) == ""
    processed = {one.processed.parts[-3] for one in read(root)["train"].presentations}
    assert processed == {"signals", "train.2"}


FAULTS = [
    ("CEC1.train.2", None, "1 x training set without its list: .*CEC1.train.2.json"),
    ("*2.test*.2", None, "1 x test set without its list: .*CEC2.test.2.json"),
    ("CEC2.train.2", first(signal="S10000_L0001"), "entry 1: S10000_L0001 does not split"),
    ("CEC2.train.2", first(system="E999"), "entry 1: system is 'E999', but the signal is S10000"),
    ("CEC2.test.1", lambda entries: entries.pop(), "1 x label without a signal: S20001_L0001_E001"),
    (
        "CEC2.train.3",
        first(correctness=1.5),
        "1 x training sets that contradict each other: S10000_L0001_E001 in sets 2 and 3",
    ),
    ("CEC2.train.3", twice, "1 x signal listed twice in a training set: S10000_L0001_E001"),
    ("CEC2.test.1", twice, "2 x signal listed twice in metadata: S20000_L0001_E001"),
    ("listeners", lambda people: people.pop("L0002"), "no audiogram in .*: listener L0002 of S1"),
    (
        "listeners",
        lambda people: people["L0002"]["audiogram_levels_l"].pop(),
        "1 x audiogram in listeners.json not usable: L0002",
    ),
    ("HA_outputs/signals/CEC1/S10001_L0001_E001.wav", None, "1 x missing file: .*{file}"),
    ("scenes/CEC1/S10001_target_ref.wav", None, "1 x missing file: .*{file}"),
]


@pytest.mark.parametrize(("file", "change", "found"), FAULTS)
def test_bad_releases(root: Path, all_problems, file, change, found: str) -> None:
    spoil(root / DATA, file, change)
    assert re.search(found.format(file=file), all_problems(root))


def test_a_signal_in_two_tests(root: Path, all_problems) -> None:
    """It would be scored twice."""
    metadata = root / DATA / "metadata"
    shutil.copy(metadata / "CEC2.test.1.json", metadata / "CEC2.test.3.json")
    assert "4 x signal listed twice in metadata: S20000_L0001_E001" in all_problems(root)


def test_namesakes_of_two_challenges(root: Path, read, all_problems) -> None:
    """Of two signals of one name, CEC1's would be left out: its name is CEC2's file."""
    data = root / DATA
    namesakes = json.loads((data / "metadata/CEC2.train.2.json").read_text())[:1]
    edit(data / "metadata/CEC1.train.2.json", lambda entries: entries.extend(namesakes))
    assert "1 x CEC1 and CEC2 signals of the same name" in all_problems(root)
    same = [o for o in read(root)["train"].presentations if o.name == namesakes[0]["signal"]]
    assert [one.cec for one in same] == ["CEC2"]
    tested = json.loads((data / "metadata/CEC2.test.1.json").read_text())[:1]
    tested[0]["correctness"] = 20.0
    edit(data / "metadata/CEC1.train.2.json", lambda entries: entries.extend(tested))
    assert "2 x CEC1 and CEC2 signals of the same name" in all_problems(root)
    assert tested[0]["signal"] not in {one.name for one in read(root)["train"].presentations}


def test_scenes_of_the_test_are_never_trained_on(root: Path, read, all_problems) -> None:
    """A scene of another set's test may be mapped on, not trained on; its signals neither."""
    data = root / DATA
    tested = json.loads((data / "CPC2.test_labels.1.json").read_text())[0]
    for name in (f"{tested['signal']}.wav",):
        assert (data / "HA_outputs/signals/CEC2" / name).is_file()
    edit(data / "metadata/CEC2.train.2.json", lambda entries: entries.append(tested))
    train = read(root)["train"]
    assert train.dev_only == [f"CEC2_{tested['scene']}"]
    text = all_problems(root)
    assert "training scenes that are tested too: 1 of 5" in text
    assert "signal in training and test of a set" not in text
    edit(data / "metadata/CEC2.train.1.json", lambda entries: entries.append(tested))
    assert f"signal in training and test of a set: {tested['signal']} of set 1" in all_problems(
        root
    )


@pytest.mark.parametrize("named", ["", "clarity_CPC2_data", DATA])
def test_any_of_its_folders_names_the_release(whole: Path, named: str) -> None:
    """path.cpc2_data, or path.root, may be any folder from the outermost in."""
    cfg = configure(whole / "nothing", whole / "exp", f"path.cpc2_data='{whole / named}'")
    cfg.corpus = "cpc2"
    assert len(read_archives(cfg, "")["test"].presentations) == 4


def test_no_release(tmp_path: Path, read) -> None:
    with pytest.raises(RecipeError, match="path.root has to hold the unpacked clarity_CPC2_data"):
        read(tmp_path)


def test_the_real_scene(shared: Path, read) -> None:
    """Seven outputs of real aids to one scene, as CPC2 has them."""
    archives = read(shared / "cpc2_sample")
    train = archives["train"]
    assert list(archives) == ["train"]
    assert len(train.presentations) == 7
    assert train.scenes == ["CEC2_S08503"]
    by_name = {one.name: one for one in train.presentations}
    assert by_name["S08503_L0212_E024_hr"].system == "E024_hr"
    assert by_name["S08503_L0221_E001"].correctness == 0  # "#": nothing repeated
    assert by_name["S08503_L0200_E036"].listener.audiogram_left.levels[0] == 35
    assert {one.reference.name for one in train.presentations} == {"S08503_target_ref.wav"}
    missing = [one.where for one in train.problems if "without its list" in one.fault]
    assert len(missing) == 5
    assert check_headers(archives)[1] == []
