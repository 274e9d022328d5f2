import json
from pathlib import Path

import pytest

from intelligibility.corpora.cpc1 import (
    Cpc1,
    Response,
    listed,
    parse_responses,
    read_responses,
    read_table,
    write_table,
)
from intelligibility.runs import RecipeError
from tests.conftest import configure, dump, edit

SIGNAL = {
    "signal": "S08510_L0239_E001",
    "scene": "S08510",
    "listener": "L0239",
    "system": "E001",
    "prompt": "i suppose so",
}


def test_the_tracks_have_files_of_their_own(release, tmp_path):
    closed = Cpc1.from_config(configure(release, tmp_path / "exp"))
    open_ = Cpc1.from_config(configure(release, tmp_path / "exp", "cpc1_track=open"))
    assert closed.metadata_file("train").name == "CPC1.train.json"
    assert open_.metadata_file("train").name == "CPC1.train_indep.json"
    assert open_.hearing_aid_wav("test", "x").parent.name == "test_indep"
    for path in ("data_folder", "asr_folder"):
        assert getattr(closed, path) != getattr(open_, path)
    assert closed.scene_list("dev") != open_.scene_list("dev")
    assert closed.measure_file("dev", "enc").name == "dev_enc_similarity.json"
    assert open_.measure_file("test", "wcs").name == "test_wcs_correctness_indep.json"


def test_a_misspelt_track_is_named(release, tmp_path):
    with pytest.raises(RecipeError, match="cpc1_track=closd: expected closed or open"):
        Cpc1.from_config(configure(release, tmp_path, "cpc1_track=closd"))


def test_later_stages_need_no_root(tmp_path):
    with pytest.raises(RecipeError, match=r"path\.root is not set"):
        Cpc1.from_config(configure("???", tmp_path)).release("train")


def test_a_folder_that_is_no_archive_is_named(tmp_path):
    cpc1 = Cpc1.from_config(configure(tmp_path / "nowhere", tmp_path))
    with pytest.raises(RecipeError, match=r"clarity_CPC1_data_test.*set path\.cpc1_test_data"):
        cpc1.release("test")


def test_the_archives_own_folder_is_accepted_below_its_parent(release, tmp_path):
    archive = release / "clarity_CPC1_data_train"
    archive.rename(release / "inner")
    archive.mkdir()
    (release / "inner").rename(archive / "clarity_CPC1_data")
    cpc1 = Cpc1.from_config(configure(release, tmp_path / "exp"))
    assert len(cpc1.signals("train")) == 8


def test_responses_are_sorted_and_may_be_unlabelled(tmp_path):
    second = SIGNAL | {"signal": "S08509_L0239_E001", "correctness": 30}
    dump(tmp_path / "CPC1.test.json", [SIGNAL, second])
    assert read_responses(tmp_path / "CPC1.test.json") == [
        Response("S08509_L0239_E001", "S08510", "L0239", "E001", "i suppose so", 30.0),
        Response("S08510_L0239_E001", "S08510", "L0239", "E001", "i suppose so", None),
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"signal": "../../etc/passwd"}, "entry 1: signal is '../../etc/passwd'"),
        ({"scene": None}, "entry 1: scene is None"),
        ({"listener": ["L0239"]}, "listener is"),
        ({"system": ""}, "system is ''"),
        ({"prompt": 3}, "prompt is 3"),
        ({"correctness": 101}, "correctness is 101, expected percent"),
        ({"correctness": float("nan")}, "correctness is nan"),
        ({"correctness": "50"}, "correctness is '50'"),
        ({"correctness": True}, "correctness is True"),
    ],
)
def test_a_damaged_entry_is_named(tmp_path, change, message):
    path = tmp_path / "CPC1.train.json"
    dump(path, [SIGNAL | change])
    with pytest.raises(RecipeError, match="CPC1.train.json") as error:
        read_responses(path)
    assert message in str(error.value)
    assert parse_responses(path)[0] == []


def test_an_entry_that_is_no_mapping_is_named(tmp_path):
    dump(tmp_path / "x.json", [3, SIGNAL])
    with pytest.raises(RecipeError, match="entry 1: 3 where a mapping"):
        read_responses(tmp_path / "x.json")
    assert len(parse_responses(tmp_path / "x.json")[0]) == 1


def test_test_responses_may_lie_beside_the_release(release, tmp_path):
    folder = tmp_path / "responses"
    folder.mkdir()
    dump(folder / "CPC1.test.json", [SIGNAL | {"correctness": 70}])
    cfg = configure(release, tmp_path / "exp", f"path.test_responses='{folder}'")
    cpc1 = Cpc1.from_config(cfg)
    assert [r.correctness for r in cpc1.responses("test")] == [70.0]
    assert len(cpc1.signals("test")) == 4
    (folder / "CPC1.test.json").unlink()
    with pytest.raises(RecipeError, match=r"no such file; set path\.test_responses to the folder"):
        cpc1.responses("test")


def test_listeners_without_a_file_or_a_level(release, tmp_path):
    cpc1 = Cpc1.from_config(configure(release, tmp_path / "exp"))
    path = cpc1.listeners_file("train")
    assert sorted(cpc1.listeners("train")) == ["L0001", "L0002"]

    def spoil(listeners):
        listeners["L0002"]["audiogram_levels_l"][3] = None

    edit(path, spoil)
    with pytest.raises(
        RecipeError, match=r"listeners\.CPC1_train\.json.*L0002.*audiogram_levels_l"
    ):
        cpc1.listeners("train")
    path.unlink()
    with pytest.raises(RecipeError, match="audiograms"):
        cpc1.listeners("train")


def row(folder: Path, name: str = "a") -> dict:
    return {
        "ID": name,
        "duration": 1.25,
        "wav": folder / "test/left_msbg" / f"{name}.wav",
        "spk_id": "L0001",
        "wrd": 'ANNA KEEPS, AND "SELLS"',
    }


def test_tables_hold_relative_paths_and_can_be_moved(tmp_path):
    folder = tmp_path / "left ref msbg"
    write_table(folder / "left_dev_msbg.csv", [row(folder)])
    assert "$data_root/test/left_msbg/a.wav" in (folder / "left_dev_msbg.csv").read_text()
    assert read_table(folder / "left_dev_msbg.csv") == [row(folder)]
    moved = folder.rename(tmp_path / "moved")
    assert read_table(moved / "left_dev_msbg.csv") == [row(moved)]


@pytest.mark.parametrize(
    "text",
    [
        "ID,wav\n",
        "",
        "ID,duration,wav,spk_id,wrd\na,1.0,$data_root/../../secret.wav,L1,A\n",
        "ID,duration,wav,spk_id,wrd\na,1.0,/etc/passwd,L1,A\n",
        "ID,duration,wav,spk_id,wrd\na,long,$data_root/a.wav,L1,A\n",
        "ID,duration,wav,spk_id,wrd\na,nan,$data_root/a.wav,L1,A\n",
        "ID,duration,wav,spk_id,wrd\na,-1,$data_root/a.wav,L1,A\n",
        "ID,duration,wav,spk_id,wrd\na,1.0\n",
        "ID,duration,wav,spk_id,wrd\na,1.0,$data_root/a.wav,L1," + "A" * 200_000 + "\n",
        "ID,duration,wav,spk_id,wrd\na,1.0,$data_root/a\x00.wav,L1,A\n",
    ],
)
def test_a_damaged_table_is_named(tmp_path, text):
    path = tmp_path / "left_dev_msbg.csv"
    path.write_text(text)
    with pytest.raises(RecipeError, match="left_dev_msbg.csv"):
        read_table(path)


def test_a_table_of_absurd_size_is_refused_unread(tmp_path):
    with (tmp_path / "left_dev_msbg.csv").open("wb") as stream:
        stream.truncate(10**12)
    with pytest.raises(RecipeError, match="1000000 MB where at most 500 MB.*prepare_data.py again"):
        read_table(tmp_path / "left_dev_msbg.csv")


def test_a_missing_table_tells_which_script_makes_it(tmp_path):
    with pytest.raises(RecipeError, match=r"run prepare_data\.py first"):
        read_table(tmp_path / "left_dev_msbg.csv")


def test_long_lists_are_cut():
    assert listed(["a", "b"], 2) == "a; b"
    assert listed(list("abcde"), 2) == "a; b and 3 more"


def test_the_real_release_is_read(shared, tmp_path):
    cpc1 = Cpc1.from_config(configure(shared / "cpc1_sample", tmp_path))
    (entry,) = cpc1.signals("train")
    assert (entry.signal, entry.correctness) == ("S08510_L0239_E001", 10.0)
    assert len(cpc1.listeners("test")) == 27
    assert cpc1.hearing_aid_wav("train", entry.signal).is_file()
    assert cpc1.reference_wav("train", entry.scene).is_file()


def test_the_real_responses_are_read(shared):
    folder = shared / "cpc1_sample/test_listener_responses"
    closed, open_ = (read_responses(folder / f"CPC1.test{t}.json") for t in ("", "_indep"))
    assert (len(closed), len(open_)) == (2421, 632)
    assert {r.signal for r in open_} < {r.signal for r in closed}
    assert len(json.loads((folder / "CPC1.test.json").read_text())) == len(closed)
