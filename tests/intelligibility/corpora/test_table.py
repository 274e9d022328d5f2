"""Your own listening test: forty rows with odd wavs, a spreadsheet's quirks, no columns."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

import prepare_data
from benchmarks.made.release import dump, listener_entry
from intelligibility.corpora import read_archives
from intelligibility.corpora.presentation import read_presentations
from intelligibility.evaluation.leaks import keys_of
from intelligibility.experiment import Experiment
from intelligibility.prediction.alignment import find_sentence
from intelligibility.prediction.predictor import Conditions, Predictor
from intelligibility.prediction.recording import read_recording
from intelligibility.preparation.split import choose_split
from intelligibility.runs import RecipeError
from tests.conftest import configure
from tests.intelligibility.prediction.speech import syllables

HEADER = ("processed", "reference", "text", "correctness", "audiogram")
TEXT = "two old boats, and a red cup"


def write_table(folder: Path, rows: list[dict[str, object]], name: str = "test.csv") -> Path:
    """Write rows as Excel does: its mark at the start, its line ends."""
    path = folder / name
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with path.open("w", newline="", encoding="utf-8-sig") as stream:
        writer = csv.DictWriter(stream, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)
    return path


def read(folder: Path, *options: str):
    """Read the table of a folder as prepare_data.py does."""
    table = ("corpus=table", f"path.table='{folder / 'test.csv'}'")
    return read_archives(configure(folder, folder / "exp", *table, *options), "")


def row(number: int, **changes: object) -> dict[str, object]:
    """Return a row of a scene and recording of its own."""
    plain = {"processed": f"wavs/a{number}.wav", "reference": f"wavs/r{number}.wav", "text": TEXT}
    return plain | {"correctness": 10 * (number % 11), "audiogram": "mild"} | changes


def faults(archives) -> dict[str, str]:
    """Return what is wrong with each line."""
    return {p.where: p.fault for archive in archives.values() for p in archive.problems}


def test_scenes_are_drawn_by_the_seed_and_the_rest_is_train_and_dev(tmp_path):
    write_table(tmp_path, [row(n) for n in range(20)])
    first, again, other = (read(tmp_path, *more) for more in ([], [], ["seed=2"]))
    assert len(first["test"].presentations) == 10 == len(first["train"].presentations)
    assert first["test"].scenes == again["test"].scenes != other["test"].scenes
    assert first["train"].dev_scenes is None  # drawn as in CPC1
    assert len(read(tmp_path, "test_percent=0.2")["test"].scenes) == 4
    assert "test" not in read(tmp_path, "test_percent=0")


def test_with_a_recogniser_from_the_hub_all_that_is_not_test_is_dev(tmp_path):
    write_table(tmp_path, [row(n) for n in range(10)])
    options = ("corpus=table", f"path.table='{tmp_path / 'test.csv'}'", "recogniser=a/whisper")
    cfg = configure(tmp_path, tmp_path / "exp", *options)
    archives = read_archives(cfg, "")
    split_of, _ = choose_split(Experiment.from_config(cfg), archives, cfg)
    assert list(split_of.values()) == ["dev"] * 5
    assert sorted(split_of) == archives["train"].scenes


def test_a_split_column_is_kept(tmp_path):
    splits = ["train", "dev", "Test", "test", "train"]
    write_table(tmp_path, [row(n, split=split) for n, split in enumerate(splits)])
    archives = read(tmp_path)
    assert [len(archives[name].scenes) for name in ("train", "test")] == [3, 2]
    (dev,) = archives["train"].dev_scenes
    assert dev.startswith("r1_")


def test_rows_that_share_reference_and_text_are_of_one_scene(tmp_path):
    changes = [{"text": TEXT.upper()}, {"text": "nine cups"}, {"reference": "b/r0"}]
    others = [row(n, reference="wavs/r0.wav") | one for n, one in enumerate(changes, start=1)]
    write_table(tmp_path, [row(0), *others])
    archives = read(tmp_path, "test_percent=0")
    scenes = {one.name: one.scene for one in archives["train"].presentations}
    assert scenes["a0"] == scenes["a1"] and len(set(scenes.values())) == 3


def test_listeners_come_from_a_file_too(tmp_path):
    dump(tmp_path / "listeners.json", {"P1": listener_entry("P1", [30] * 8, 0)})
    write_table(tmp_path, [row(n, listener=f"P{n}", audiogram="") for n in (1, 2)])
    archives = read(tmp_path, f"path.listeners='{tmp_path}/listeners.json'", "test_percent=0")
    (one,) = archives["train"].presentations
    assert one.listener.id == "P1" and one.listener.audiogram_left.levels[0] == 30
    assert "no audiogram of listener P2" in faults(archives)["line 3"]
    normal = read(tmp_path, "hearing_loss=none", "test_percent=0")["train"].presentations
    assert [p.listener.audiogram_left.levels.max() for p in normal] == [0, 0]


def test_nothing_of_a_table_is_taken_for_a_challenge(tmp_path):
    write_table(tmp_path, [row(1, scene="S08510", system="E001", listener="L0239")])
    (one,) = read(tmp_path, "test_percent=0")["train"].presentations
    assert keys_of(one)["signals"] == "test S08510 L0239 E001"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"text": ""}, "no text"),
        ({"text": "?!"}, "contains no word"),
        ({"correctness": "66,7"}, "correctness is '66,7', expected percent"),
        ({"start": "-1"}, "start is -1, expected seconds"),
        ({"snr": "loud"}, "snr is 'loud', expected a number"),
        ({"audiogram": ""}, r"no audiogram of listener \(not named\): fill in the column"),
        ({"audiogram": "heavy"}, "no such audiogram"),
        ({"processed": "elsewhere/a1.wav"}, "name a1 is that of line 3; .* in the column name"),
        ({"processed": "wavs/a1.wav", "reference": "wavs/r1.wav", "correctness": 10},
         "the same row as line 3; keep one"),
        ({"scene": "S1"}, "scene S1 has two references"),
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_right_is_named_by_its_line(tmp_path, change, message):
    rows = [row(0, scene="S0"), row(1, scene="S1"), row(2, scene="S2") | {"scene": "S2"} | change]
    if "the same" in message:
        rows[2]["scene"] = "S1"
    write_table(tmp_path, rows)
    archives = read(tmp_path, "test_percent=0")
    (found,) = [fault for where, fault in faults(archives).items() if where == "line 4"]
    assert re.search(message, found)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([row(0, correctness=0.3), row(1, correctness=1)], "shares, 0 to 1; give percent"),
        ([row(0, split="test"), row(1, split="")], "line 3: split is empty in some rows"),
        ([row(0, split="exam")], "line 2: split is 'exam', expected train, dev, test"),
        ([{"processed": "a.wav", "reference": "b.wav"}], "no column text and correctness"),
    ],
)
def test_a_table_that_cannot_be_right_is_refused(tmp_path, rows, message):
    write_table(tmp_path, rows)
    with pytest.raises(RecipeError, match=message):
        read(tmp_path)


def test_the_same_scene_in_train_and_test_is_named(tmp_path):
    rows = [row(0, split="train"), row(1, split="test", reference="wavs/r0.wav")]
    write_table(tmp_path, [one | {"scene": "S1"} for one in rows])
    assert faults(read(tmp_path)) == {"line 3": "scene S1 has two splits"}


# Forty recordings


def odd_wavs(folder: Path, number: int) -> tuple[str, float | None]:
    """Write a reference and a later recording of it, each other than most; return its delay."""
    rate = (8000, 11025, 16000, 22050, 44100, 48000)[number % 6]
    kinds = (("wav", "PCM_16"), ("wav", "PCM_24"), ("flac", "PCM_16"), ("wav", "FLOAT"))
    kind, subtype = kinds[number % 4]
    clean = np.pad(syllables(number, 1.3, rate), ((round(0.1 * number % 0.7 * rate), 0), (0, 0)))
    late = round(rate * 0.002 * number)
    noisy = np.pad(clean, ((late, 400), (0, 0)))
    noisy += 0.002 * np.random.default_rng(number).standard_normal(noisy.shape)
    sf.write(folder / f"clean {number}.wav", clean[:, : 1 + number % 2], rate)
    name = f"ha {number}.{kind}"
    sf.write(folder / name, noisy[:, : 1 + number // 2 % 2], rate, subtype=subtype)
    return name, late / rate


def spoil(path: Path, number: int) -> None:
    """Make a recording that cannot be used."""
    rate = 16000
    if number == 3:
        path.unlink()
    elif number == 8:
        path.write_text("to be recorded")
    elif number == 13:
        sf.write(path, np.zeros((rate, 2)), rate)
    elif number == 18:
        sf.write(path, syllables(999, 1.3, rate), rate)  # another sentence
    elif number == 23:
        sf.write(path, np.zeros((rate, 3)), rate)
    elif number == 28:
        sf.write(path, syllables(1, 1.3, 6000), 6000)


def test_forty_rows_of_odd_recordings_are_prepared(tmp_path, caplog, refused):
    wavs, delays, rows = tmp_path / "wavs", {}, []
    wavs.mkdir()
    bad = (3, 8, 13, 18, 23, 28)
    for number in range(40):
        name, delay = odd_wavs(wavs, number)
        if number in bad:
            spoil(wavs / name, number)
        else:
            delays[f"ha_{number}"] = delay
        rows.append({"processed": f"wavs\\{name}", "reference": f"wavs\\clean {number}.wav",
                     "text": TEXT, "correctness": f"{2.5 * number}%", "": ""})  # fmt: skip
    write_table(tmp_path, [*rows, {"text": ""}])
    options = ("corpus=table", f"path.table='{tmp_path / 'test.csv'}'", "hearing_loss=none")
    cfg = configure(tmp_path, tmp_path / "exp", *options)
    assert "Fix what is faulty" in refused(prepare_data.run, cfg)
    for fault in ("missing file", "cannot be read as audio", "3 channels at", "at 6000 Hz"):
        assert fault in caplog.text
    cfg.skip_bad = True
    prepare_data.run(cfg)
    exp = tmp_path / "exp/no_hearing_loss"
    left_out = json.loads((exp / "left_out.json").read_text())
    assert sorted(left_out) == sorted(f"ha_{number}" for number in bad)
    assert "is silent" in left_out["ha_13"] and "not of the same sentence" in left_out["ha_18"]
    used = [one for ones in read_presentations(exp / "presentations.json").values() for one in ones]
    assert {one.name: one.delay for one in used} == pytest.approx(delays, abs=1.5 / 8000)
    assert all(one.system == "" and one.listener.id == "none" for one in used)
    assert "34 recordings are 0 to 78 ms later" in caplog.text
    before = {path: path.stat().st_mtime_ns for path in exp.rglob("*.wav")}
    prepare_data.run(cfg)
    assert {path: path.stat().st_mtime_ns for path in exp.rglob("*.wav")} == before


def test_what_is_prepared_is_what_score_hears(tmp_path):
    """Delay, cut and hearing loss: the ear signals of both are equal, but for their threads."""
    name, _ = odd_wavs(tmp_path, 7)
    rows = [{"processed": name, "reference": "clean 7.wav", "text": TEXT, "correctness": 50,
             "audiogram": "moderate", "split": "test"}]  # fmt: skip
    options = ("corpus=table", f"path.table='{write_table(tmp_path, rows)}'", "skip_bad=true")
    cfg = configure(tmp_path, tmp_path / "exp", *options)
    prepare_data.run(cfg)
    ((one,),) = read_presentations(tmp_path / "exp/presentations.json").values()
    pair = read_recording(one.processed), read_recording(one.reference)
    predictor = Predictor.__new__(Predictor)  # no recogniser hears anything here
    predictor.msbg_settings = dict(cfg.MSBGEar)
    sentence = find_sentence(*pair)
    heard = predictor.hear(*pair, sentence, one.listener, Conditions())
    assert (sentence.delay, sentence.start) == (one.delay, one.lead_in)
    data = tmp_path / "exp/table_asr_data/test"
    for number, ear in enumerate(("left", "right")):
        processed, _ = sf.read(data / f"{ear}_msbg/{one.name}.wav", dtype="float32")
        reference, _ = sf.read(data / f"{ear}_ref/{one.scene}.wav", dtype="float32")
        np.testing.assert_allclose(processed, heard.processed[:, number], rtol=0, atol=1e-6)
        np.testing.assert_allclose(reference, heard.reference[:, number], rtol=0, atol=1e-6)
