"""prepare_cls.py on noise in the layouts of LibriSpeech and CEC1."""

import json
import re

import pytest
import soundfile as sf

import prepare_cls
import train_asr
from intelligibility.cls.places import ClsFolder
from intelligibility.experiment import AsrFolder, read_table
from tests import toy_asr
from tests.cls_data import WORDS, make_cec1, make_librispeech, write_noise
from tests.conftest import configure


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    root = tmp_path_factory.mktemp("sources")
    return make_librispeech(root / "LibriSpeech"), make_cec1(root / "cec1")


def prepare(sources, exp, *overrides):
    paths = [
        f"path.{key}={path}" for key, path in zip(("librispeech", "cec1"), sources, strict=True)
    ]
    prepare_cls.run(configure("none", exp, *paths, *overrides))
    return ClsFolder.below(exp)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.path.rglob("*.flac")}


@pytest.fixture(scope="module")
def prepared(sources, tmp_path_factory):
    return prepare(sources, tmp_path_factory.mktemp("prepared"))


def test_tables_name_mixtures_words_and_speakers(prepared):
    for split, subset in (("train", "train-clean-100"), ("dev", "dev-clean")):
        rows = read_table(prepared.table(split))
        assert {row["ID"]: row["wrd"] for row in rows} == WORDS[subset]
        assert all(row["spk_id"] == row["ID"].split("-")[0] for row in rows)
        for row in rows:
            info = sf.info(row["wav"])
            assert (info.format, info.subtype, info.samplerate) == ("FLAC", "PCM_16", 16000)
            assert row["duration"] == info.duration == 2.0


def test_the_record_says_what_was_mixed(prepared):
    record = json.loads(prepared.record.read_text())
    assert record["utterances"] == {"train": 3, "dev": 1}
    assert record["interferers"] == {"noise": 4}
    assert record["snrs"] == {"noise": "those of 2 scenes, -3 to 2 dB"}
    assert record["seed"] == 1


def test_a_second_run_changes_nothing_and_a_lost_file_comes_back(prepared, sources):
    before = contents(prepared)
    victim = next(prepared.path.rglob("*.flac"))
    victim.unlink()
    times = {p: p.stat().st_mtime_ns for p in prepared.path.rglob("*.flac")}
    victim.with_name(".19.0123456789ab.part.flac").write_bytes(b"half")  # of a killed run
    prepare(sources, prepared.path.parent)
    assert contents(prepared) == before
    assert {p: p.stat().st_mtime_ns for p in times} == times


def test_shards_make_the_same_and_only_the_last_run_writes_tables(prepared, sources, tmp_path):
    for shard in (0, 1):
        folder = prepare(sources, tmp_path, "n_shards=2", f"shard={shard}")
        assert not folder.table("train").exists()
    prepare(sources, tmp_path)
    assert contents(folder) == contents(prepared)
    assert folder.table("train").read_bytes() == prepared.table("train").read_bytes()


def test_another_seed_or_other_snrs_give_other_mixtures(prepared, sources, tmp_path):
    for number, changed in enumerate(("seed=2", "cls.snr=[20,20]", "cls.interferers=both")):
        other = prepare(sources, tmp_path / str(number), changed)
        assert contents(other) != contents(prepared)
    fixed = prepare(sources, tmp_path / "1", "cls.snr=[20,20]")
    assert json.loads(fixed.record.read_text())["snr_mean_and_std"] == [20, 0]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("path.librispeech=null", r"path.librispeech=None: expected a folder"),
        ("path.cec1=/no/such", r"path.cec1=/no/such: expected a folder"),
        ("cls.snr=[3]", r"cls.snr=\[3\]: expected null or"),
        ("cls.snr=[9,3]", r"expected null or \[lowest,highest\]"),
        ("cls.interferers=music", r"expected noise or both"),
    ],
)
def test_wrong_settings_are_refused(sources, tmp_path, override, message, refused):
    assert re.search(message, refused(prepare, sources, tmp_path, override))


def test_bad_input_is_named_together_before_anything_is_made(tmp_path, refused):
    sources = make_librispeech(tmp_path / "LibriSpeech"), make_cec1(tmp_path / "cec1")
    (sources[0] / "dev-clean/84/121/84-121.trans.txt").unlink()
    write_noise(sources[1] / "clarity_data/train/interferers/noise/blip.wav", 0.5)
    message = refused(prepare, sources, tmp_path / "exp")
    assert "no transcript" in message and "shorter than 2 s" in message
    assert not ClsFolder.below(tmp_path / "exp").path.exists()


def test_check_only_makes_nothing(sources, tmp_path):
    assert not prepare(sources, tmp_path, "check_only=true").path.exists()


def test_train_asr_trains_on_the_mixtures_in_a_run_of_its_own(prepared):
    settings = toy_asr.SETTINGS | {"number_of_epochs": 1, "batch_size": 2, "output_neurons": 32}
    options = [f"asr_overrides.{key}={settings[key]}".replace(" ", "") for key in settings]
    options = [one.replace("'", "") for one in options if not one.endswith(("seed=3", "=True"))]
    exp = prepared.path.parent
    train_asr.run(configure("none", exp, "data=cls", "from_scratch=true", *options))
    assert not (exp / "transformer_cpc1").exists()
    asr = AsrFolder(exp / "ls_cls/transformer_cpc1")
    assert set(json.loads(asr.wer.read_text())["WER"]) == {"cls_dev"}
    record = json.loads(asr.trained_on.read_text())
    assert record["tables"] == ["cls_train"]
    assert {one["name"] for one in record["presentations"]} == set(WORDS["train-clean-100"])


def test_train_asr_names_prepare_cls_where_there_are_no_mixtures(tmp_path, refused):
    cfg = configure("none", tmp_path, "data=cls", "from_scratch=true")
    message = refused(train_asr.run, cfg)
    assert "cls_train.csv: no such table; run prepare_cls.py first" in message
