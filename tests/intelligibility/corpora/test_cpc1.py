"""The release of CPC1: its metadata become presentations, what is damaged becomes a problem."""

import json
import unicodedata
from pathlib import Path

import pytest

from benchmarks.made.release import LEVELS, dump, listener_entry
from intelligibility.corpora import known_presentations, late_responses, read_archives
from intelligibility.corpora.clarity import read_list
from intelligibility.corpora.cpc1 import parse
from intelligibility.corpora.listeners import read_listeners
from intelligibility.corpora.presentation import Archive, Problem, Response
from intelligibility.runs import RecipeError
from tests.conftest import configure, edit

SIGNAL = {
    "signal": "S08510_L0239_E001",
    "scene": "S08510",
    "listener": "L0239",
    "system": "E001",
    "prompt": "i suppose so",
}
COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "Höhle") for form in ("NFC", "NFD"))


def archives(release: Path, *overrides: str, track: str = "") -> dict[str, Archive]:
    """Read a release as the configuration names it."""
    return read_archives(configure(release, release / "exp", *overrides), track)


def named(listener: str, **changes) -> dict:
    """Return an entry of a listeners' file."""
    return listener_entry(listener, LEVELS["L0001"], 5) | changes


def test_an_archive_is_its_presentations(release):
    found = archives(release)
    assert list(found) == ["train", "test"]
    for name, count in (("train", 8), ("test", 4)):
        archive, folder = found[name], release / f"clarity_CPC1_data_{name}"
        entries = json.loads((folder / f"metadata/CPC1.{name}.json").read_text())
        by_signal = {entry["signal"]: entry for entry in entries}
        assert archive.metadata == folder / f"metadata/CPC1.{name}.json"
        assert archive.problems == [] and len(archive.presentations) == count
        assert [one.name for one in archive.presentations] == sorted(by_signal)
        assert archive.scenes == sorted({entry["scene"] for entry in entries})
        for one in archive.presentations:
            entry = by_signal[one.name]
            told = (one.scene, one.listener.id, one.system, one.prompt, one.correctness)
            fields = ("scene", "listener", "system", "prompt", "correctness")
            assert told == tuple(entry[field] for field in fields)
            assert one.processed.is_file() and one.processed.name == f"{one.name}.wav"
            assert one.reference.is_file()
            assert one.reference.name == f"{one.scene}_target_anechoic.wav"
            assert one.listener.audiogram_left.levels.tolist() == LEVELS[one.listener.id]
            assert one.lead_in == 2


def test_the_tracks_have_lists_and_folders_of_their_own(release):
    metadata = release / "clarity_CPC1_data_test/metadata"
    edit(metadata / "CPC1.test_indep.json", lambda entries: entries.pop())
    closed, open_ = archives(release), archives(release, track="_indep")
    assert (len(closed["test"].presentations), len(open_["test"].presentations)) == (4, 3)
    assert open_["test"].metadata.name == "CPC1.test_indep.json"
    folders = {one.processed.parent.name for one in open_["train"].presentations}
    assert folders == {"train_indep"}


def test_a_folder_that_is_no_archive_is_named_as_it_was_given(release, tmp_path):
    with pytest.raises(RecipeError, match=r"path\.root is not set.*config\.yaml.*path\.root=/data"):
        read_archives(configure("???", tmp_path), "")
    with pytest.raises(RecipeError) as error:
        archives(tmp_path / "nowhere")
    message = str(error.value)
    assert message.startswith(f"path.root={tmp_path}/nowhere: no folder {tmp_path}/nowhere/clarity")
    assert "has to hold the unpacked clarity_CPC1_data, or path.cpc1_train_data names it" in message
    with pytest.raises(RecipeError, match=rf"^path\.cpc1_test_data: no folder {tmp_path}/other/m"):
        archives(release, f"path.cpc1_test_data='{tmp_path}/other'")


@pytest.mark.parametrize("archive", ["train", "test"])
def test_an_archive_that_is_null_is_not_asked_for(release, archive):
    other = {"train": "test", "test": "train"}[archive]
    (release / f"clarity_CPC1_data_{other}/metadata").rename(release / "gone")
    assert list(archives(release, f"path.cpc1_{other}_data=null")) == [archive]
    with pytest.raises(RecipeError, match=rf"path\.cpc1_{other}_data=null does without"):
        archives(release)
    with pytest.raises(RecipeError, match="are null: set one of them"):
        archives(release, "path.cpc1_train_data=null", "path.cpc1_test_data=null")


def test_a_root_is_not_asked_for_by_one_who_names_the_archives(release):
    paths = [f"path.cpc1_{n}_data='{release}/clarity_CPC1_data_{n}'" for n in ("train", "test")]
    found = read_archives(configure("???", release / "exp", *paths), "")
    assert len(found["train"].presentations) == 8


def test_the_archives_own_folder_is_accepted_below_its_parent(release):
    archive = release / "clarity_CPC1_data_train"
    archive.rename(release / "inner")
    archive.mkdir()
    (release / "inner").rename(archive / "clarity_CPC1_data")
    assert len(archives(release)["train"].presentations) == 8


def test_responses_are_sorted_and_may_be_unlabelled(tmp_path):
    second = SIGNAL | {"signal": "S08509_L0239_E001", "correctness": 30}
    dump(tmp_path / "CPC1.test.json", [SIGNAL, second, 3])
    responses, faults = read_list(tmp_path / "CPC1.test.json", parse)
    expected = "damaged entry in CPC1.test.json", "entry 3: 3 where a mapping was expected"
    assert faults == [Problem(*expected)]
    assert responses == [
        Response("S08509_L0239_E001", "S08510", "L0239", "E001", "i suppose so", 30.0),
        Response("S08510_L0239_E001", "S08510", "L0239", "E001", "i suppose so", None),
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"signal": "../../etc/passwd"}, "entry 2: signal is '../../etc/passwd'"),
        ({"scene": None}, "entry 2: scene is None"),
        ({"listener": ["L0239"]}, "listener is"),
        ({"system": ""}, "system is ''"),
        ({"system": ".hidden"}, "system is '.hidden'"),
        ({"scene": "S1\n"}, r"scene is 'S1\n'"),
        ({"scene": "S 1"}, "scene is 'S 1'"),
        ({"prompt": 3}, "prompt is 3"),
        ({"correctness": 101}, "correctness is 101, expected percent"),
        ({"correctness": float("nan")}, "correctness is nan"),
        ({"correctness": "50"}, "correctness is '50'"),
        ({"correctness": True}, "correctness is True"),
    ],
)
def test_a_damaged_entry_is_named_and_the_others_are_read(tmp_path, change, message):
    path = tmp_path / "CPC1.train.json"
    dump(path, [SIGNAL, SIGNAL | change])
    responses, (fault,) = read_list(path, parse)
    assert len(responses) == 1
    assert message in fault.where and len(fault.where) < 200


@pytest.mark.parametrize("name", ["S_1.a+b-c", COMPOSED, DECOMPOSED, "场景7", "x" * 200])
def test_names_of_other_scripts_will_do(tmp_path, name):
    dump(tmp_path / "x.json", [SIGNAL | {"scene": name}])
    (response,), faults = read_list(tmp_path / "x.json", parse)
    assert response.scene == name and faults == []


def test_names_that_are_no_file_names_on_a_disk(tmp_path):
    names = ["é" * 101, "x" * 201, "ö/ü", "\u0308a", "-a", "a\x00", "a\u200bb"]
    dump(tmp_path / "x.json", [SIGNAL | {"scene": name} for name in names])
    responses, faults = read_list(tmp_path / "x.json", parse)
    assert responses == [] and len(faults) == len(names)


def test_shares_where_percent_belong_are_refused(tmp_path):
    path = tmp_path / "CPC1.train.json"
    dump(path, [SIGNAL | {"signal": f"S{n}", "correctness": n / 2} for n in range(3)])
    with pytest.raises(RecipeError, match="given as shares, 0 to 1; give percent, 0 to 100"):
        read_list(path, parse)


def test_a_list_without_one_sound_entry_says_what_is_wrong_with_them(release):
    path = release / "clarity_CPC1_data_train/metadata/CPC1.train.json"
    edit(path, lambda entries: [entry.pop("scene") for entry in entries])
    with pytest.raises(RecipeError) as error:
        archives(release)
    assert f"{path}: lists no usable signal: entry 1: scene is None" in str(error.value)
    assert "and 3 more; restore it" in str(error.value)
    dump(path, [])
    with pytest.raises(RecipeError, match="lists no usable signal: the list is empty; restore it"):
        archives(release)


@pytest.mark.parametrize("name", ["CPC1.train.json", "listeners.CPC1_train.json"])
def test_metadata_that_are_missing_or_damaged_as_a_whole_stop(release, name):
    path = release / "clarity_CPC1_data_train/metadata" / name
    path.write_text(path.read_text()[:-20])
    with pytest.raises(RecipeError, match=f"{name}: cannot be read as json"):
        archives(release)
    path.unlink()
    with pytest.raises(RecipeError, match=f"{name}: no such file"):
        archives(release)


def test_test_responses_may_lie_beside_the_release(tmp_path, caplog):
    dump(tmp_path / "CPC1.test.json", [SIGNAL | {"correctness": 70}, {"signal": "S9"}, 3])
    cfg = configure(tmp_path, tmp_path, f"path.test_responses={tmp_path}")
    (response,) = late_responses(cfg, "", [])
    assert response.correctness == 70
    assert "CPC1.test.json: 2 damaged entries are left out: entry 2: scene is None" in caplog.text
    with pytest.raises(RecipeError) as error:
        late_responses(cfg, "_indep", [])
    assert f"{tmp_path}/CPC1.test_indep.json: no such file" in str(error.value)
    assert "set path.test_responses to the folder that holds CPC1.test_indep" in str(error.value)


def test_listeners_without_a_level_are_problems(tmp_path):
    path = tmp_path / "listeners.CPC1_all.json"
    half = [10, 20, 30, None, 50, 60, 70, 80]
    people = {
        "L0001": named("L0001"),
        "L0002": named("L0002", audiogram_levels_l=half),
        "L0003": named("L0003", audiogram_levels_r=[10, 20]),
        "L0004": 7,
        "L0005": named("another name"),
    }
    dump(path, people)
    listeners, problems = read_listeners(path)
    assert sorted(listeners) == ["L0001", "L0005"]
    assert listeners["L0005"].id == "L0005"  # the key counts, which responses refer to
    assert {problem.fault for problem in problems} == {f"audiogram in {path.name} not usable"}
    assert [problem.where.split(":")[0] for problem in problems] == ["L0002", "L0003", "L0004"]
    assert "audiogram_levels_l" in problems[0].where
    path.unlink()
    with pytest.raises(RecipeError, match="no such file; it holds the listeners' audiograms"):
        read_listeners(path)


def test_without_records_the_release_is_asked(release, tmp_path):
    cfg = configure(release, tmp_path)
    found = known_presentations(cfg, "", tmp_path / "presentations.json")
    assert {name: len(ones) for name, ones in found.items()} == {"train": 8, "test": 4}


def test_the_real_release_is_read(shared, tmp_path):
    found = read_archives(configure(shared / "cpc1_sample", tmp_path), "")
    (one,) = found["train"].presentations
    assert (one.name, one.correctness) == ("S08510_L0239_E001", 10.0)
    assert one.processed.is_file() and one.reference.is_file()
    listeners, problems = read_listeners(
        found["test"].metadata.with_name("listeners.CPC1_all.json")
    )
    assert len(listeners) == 27 and problems == []
