"""trained_on.json: what was trained on, a warning that says what differs, and no leak."""

import json
import shutil

import pytest
import soundfile

import train_asr
from intelligibility.corpora.presentation import Presentation
from intelligibility.experiment import read_table, write_table
from intelligibility.recognisers.trained_on import check_unseen
from intelligibility.runs import RecipeError, write_json
from msbg import Audiogram, Listener
from tests import toy_asr

FIRST = "S90000_L9001_E901"


def record_of(asr):
    return json.loads((asr / "trained_on.json").read_text())


def scenes_of(asr):
    return {heard["scene"] for heard in record_of(asr)["presentations"]}


def presentations(data):
    """Return what prepare_data.py would record of the toy signals."""
    ear = Audiogram([20] * 8, [250, 500, 1000, 2000, 3000, 4000, 6000, 8000])
    found = {}
    for split in ("train", "dev"):
        for row in read_table(data / f"left_{split}_msbg.csv"):
            scene, listener, system = row["ID"].split("_")
            person = Listener(ear, ear, listener)
            about = row["ID"], scene, person, system, row["wrd"], None
            found[row["ID"]] = Presentation(*about, row["wav"], row["wav"], 2.0, cec="CEC1")
    return found


def train(data, asr, used=None, **changes):
    options = train_asr.run_options({"noprogressbar": True}, "cpu")
    train_asr.train(toy_asr.settings(data, asr, **changes), options, used)


def test_records_each_signal_with_its_scene_listener_and_system(toy_data, recorded):
    record = record_of(recorded)
    assert record["signals"] == 32 == len(record["wavs"])  # processed and clean, two ears, 8 scenes
    first, *others = record["presentations"]
    named = {"scene": "S90000", "listener": "L9001", "system": "E901"}
    prompt = presentations(toy_data)[FIRST].prompt
    assert first == {"name": FIRST, **named, "prompt": prompt, "cec": "CEC1"}
    assert len(others) == 7
    assert scenes_of(recorded) == {f"S9000{number}" for number in range(8)}


def test_without_records_the_tables_say_what_they_know(uninterrupted):
    first = record_of(uninterrupted)["presentations"][0]
    assert first["name"] == FIRST and first["listener"] == "L9001" and first["prompt"]
    assert first["scene"] is None and first["system"] is None


# What differs


def quieter(copy):
    wav = copy / "train/left_msbg/S90003_L9001_E901.wav"
    signal, rate = soundfile.read(wav)
    soundfile.write(wav, signal / 2, rate, subtype="FLOAT")  # of the same size


def in_tables(copy, change):
    """Rewrite the training tables."""
    for kind in ("msbg", "ref"):
        table = copy / f"binaural_train_{kind}.csv"
        write_table(table, change(read_table(table)))


def fewer(copy):
    in_tables(copy, lambda rows: [row for row in rows if "S90003" not in row["ID"]])


def reworded(copy):
    in_tables(copy, lambda rows: [r | {"wrd": "ADA"} if FIRST in r["ID"] else r for r in rows])


@pytest.mark.parametrize(
    "change, message",
    [
        (quieter, "1 wavs changed (left_msbg/S90003_L9001_E901). Delete"),
        (fewer, "1 signals gone (S90003_L9001_E901). Delete"),
        (reworded, "1 prompts changed (S90000_L9001_E901: '"),
    ],
)
def test_warns_of_what_differs(toy_data, uninterrupted, tmp_path, caplog, change, message):
    asr, other = tmp_path / "asr", shutil.copytree(toy_data, tmp_path / "data")
    shutil.copytree(uninterrupted, asr)
    before = (asr / "trained_on.json").read_bytes()
    toy_asr.train(other, asr)  # a copy is the same data
    assert "other data" not in caplog.text
    change(other)
    toy_asr.train(other, asr)
    assert f"was trained on other data: {message}" in caplog.text
    assert f"Delete {asr} to train anew" in caplog.text
    assert (asr / "trained_on.json").read_bytes() == before  # no epoch was left to train


def test_other_scenes_are_named_and_both_stay_recorded(toy_data, recorded, tmp_path, caplog):
    asr = shutil.copytree(recorded, tmp_path / "asr")
    other = shutil.copytree(toy_data, tmp_path / "data")
    identity = record_of(asr)["training"]
    for kind in ("msbg", "ref"):
        shutil.copy(other / f"binaural_dev_{kind}.csv", other / f"binaural_train_{kind}.csv")
    train(other, asr, presentations(toy_data), number_of_epochs=2)
    assert "2 scenes added (S95000; S95001)" in caplog.text
    assert "8 scenes gone (S90000; S90001; S90002 and 5 more)" in caplog.text
    dev = {"S95000", "S95001"}
    assert scenes_of(asr) == dev | {f"S9000{number}" for number in range(8)}
    assert record_of(asr)["training"] == identity


def test_other_tables_and_a_record_of_an_earlier_version(toy_data, uninterrupted, tmp_path, caplog):
    asr = shutil.copytree(uninterrupted, tmp_path / "asr")
    toy_asr.train(toy_data, asr, train_csv="binaural_train_msbg.csv")
    assert "now ['binaural_train_msbg']" in caplog.text
    old = {"tables": record_of(asr)["tables"], "signals": 12, "sha256": "abc"}
    write_json(asr / "trained_on.json", old)
    toy_asr.train(toy_data, asr)
    assert "other data: 12 wavs, now 32; no list of them then" in caplog.text
    assert record_of(asr) == old


# No leak


@pytest.fixture(scope="module")
def recorded(toy_data, tmp_path_factory):
    """Return a folder whose record holds the scenes of one epoch's training; read only."""
    asr = tmp_path_factory.mktemp("recorded")
    train(toy_data, asr, presentations(toy_data), number_of_epochs=1)
    return asr


def test_other_signals_are_no_leak(recorded, caplog):
    check_unseen(recorded, {"S95000_L9001_E901": "S95000", "S95001_L9002_E901": "S95001"})
    check_unseen(recorded, {"S95000_L9001_E901": None})
    assert "trained" not in caplog.text


@pytest.mark.parametrize(
    "name, scene",
    [("S90003_L9001_E901", "S90003"), ("S90003_L9777_E901", "S90003"), ("S90003_L9001_E901", None)],
    ids=["the same", "of the same scene", "the same by its name"],
)
def test_a_signal_that_was_trained_on_is_refused(recorded, name, scene):
    measured = {"S95000_L9001_E901": "S95000", name: scene}
    with pytest.raises(RecipeError, match=f"1 of the 2 dev and test.*: {name}. Run prepare_data"):
        check_unseen(recorded, measured)


def test_no_record_is_warned_of(tmp_path, caplog):
    check_unseen(tmp_path, {"S95000_L9001_E901": "S95000"})
    assert "trained_on.json does not say what the recogniser was trained on" in caplog.text


@pytest.mark.parametrize("content", [["S90000"], {"a": 1}, [{"scene": "S90000"}], 7])
def test_a_damaged_record_is_named(tmp_path, content):
    write_json(tmp_path / "trained_on.json", {"presentations": content})
    with pytest.raises(RecipeError, match="presentations are not as train_asr.py writes them"):
        check_unseen(tmp_path, {})
