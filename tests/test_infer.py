"""The inference stage, on a small recogniser and on the one that the published code was run with.

The published similarities are met to 1e-4 (1.2e-7 measured).
"""

import inspect
import itertools
import json
import math
import os
import shutil
import weakref
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch

import infer
from benchmarks.made.recogniser import WORDS, babble, make_recogniser
from intelligibility.corpora.presentation import Presentation, made_from_of, write_presentations
from intelligibility.experiment import EARS, Experiment, write_table
from intelligibility.recognisers import load_recogniser
from intelligibility.recognisers.recognition import Recognition
from intelligibility.recognisers.settings import plain_settings
from intelligibility.recognisers.speechbrain import SpeechBrainRecogniser
from intelligibility.runs import RecipeError, read_json, write_json
from intelligibility.words import word_correctness
from msbg import Audiogram, Listener
from tests import prepared_data
from tests.conftest import RECIPE, configure, run_script
from tests.prepared_data import LISTENERS, SIZES, mean_of_best, measures, outputs

N_SCENES = {"dev": 2, "test": 3}
PUBLISHED = ("wcs", "pre", "enc", "dec")  # what our own recogniser gives
N_SIGNALS = 10
N_HEARD = 2 * (N_SIGNALS + sum(N_SCENES.values()))  # both ears, each reference once


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """Return an experiment that is ready for inference."""
    exp_folder, rng = tmp_path_factory.mktemp("prepared") / "exp", np.random.default_rng(0)
    for split, n_scenes in N_SCENES.items():
        seconds = [0.3 + 0.1 * number for number in range(n_scenes)]
        prompts = [" ".join(rng.choice(WORDS, 4)) for _ in seconds]
        signals = prepared_data.heard_by_both(split, seconds, prompts)
        prepared_data.write_tables(exp_folder / "cpc1_asr_data", split, signals, sound)
    make_recogniser(exp_folder / "transformer_cpc1")
    return exp_folder


def sound(name: str, seconds: float) -> np.ndarray:
    return babble(prepared_data.seed_of(name), seconds).numpy()


@pytest.fixture
def done(undisturbed, tmp_path) -> Path:
    """Return a fresh copy of an experiment after inference, times of change included."""
    return shutil.copytree(undisturbed, tmp_path / "exp")


@pytest.fixture
def exp(prepared, tmp_path) -> Path:
    """Return a fresh copy of it, times of change included."""
    return shutil.copytree(prepared, tmp_path / "exp")


@pytest.fixture(scope="module")
def undisturbed(prepared, tmp_path_factory) -> Path:
    """Return a copy of it after inference in one go."""
    folder = shutil.copytree(prepared, tmp_path_factory.mktemp("undisturbed") / "exp")
    run(folder)
    return folder


def run(exp_folder: Path, *overrides: str) -> None:
    """Run the stage in this process."""
    inspect.unwrap(infer.run)(
        configure(exp_folder / "no release", exp_folder, "device=cpu", *SIZES, *overrides)
    )


def test_every_signal_gets_its_four_measures(undisturbed):
    for split, n_scenes in N_SCENES.items():
        for name in PUBLISHED:
            found = measures(undisturbed, split, name)
            assert len(found) == n_scenes * len(LISTENERS)
            assert list(found) == sorted(found)  # the order of the tables
            assert all(-1 <= value <= 1 and math.isfinite(value) for value in found.values())


def test_measures_are_those_of_a_plain_loop(undisturbed):
    """Each signal alone, its references recognised anew, as the published code goes about it."""
    cfg = configure(undisturbed, undisturbed, "device=cpu", *SIZES)
    experiment = Experiment.from_config(cfg)
    recogniser = load_recogniser(cfg, experiment, torch.device("cpu"))
    for entry in infer.list_pairs(experiment):
        wavs = (*entry.processed, *entry.reference)
        ears = [infer.read_speech(wav, recogniser.lengths) for wav in wavs]
        heard = list(recogniser.recognise(ears))
        found = {name: measures(undisturbed, entry.split, name)[entry.name] for name in PUBLISHED}
        for name, layer in (("enc", "encoder"), ("pre", "cnn")):
            layers = [ear.layers[layer] for ear in heard]
            assert found[name] == pytest.approx(mean_of_best(layers[:2], layers[2:]), abs=1e-6)
        scores = [word_correctness(ear.text, entry.prompt) for ear in heard[:2]]
        assert found["wcs"] == max(scores)


def test_the_record_says_how_the_measures_were_made(undisturbed):
    record = read_json(undisturbed / "inference.json", dict)
    assert 0 <= record["reference_wcs"] <= 1
    assert record["checkpoints"] == ["CKPT+epoch_0"]
    assert len(record["checkpoint_sha256"]) == 64
    assert record["settings"]["beam_size"] == 4
    assert record["settings"]["decoder_states"] == "last_beam"
    assert record["provenance"]["config"]["seed"] == 1


def test_each_reference_is_recognised_once_and_only_one_is_held(exp, heard, monkeypatch):
    plain = SpeechBrainRecogniser.recognise_batch
    held, most = weakref.WeakSet(), []

    def noting(self, batch):
        found = plain(self, batch)
        held.update(found)
        most.append(len(held))
        return found

    monkeypatch.setattr(SpeechBrainRecogniser, "recognise_batch", noting)
    monkeypatch.setattr(Recognition, "__hash__", object.__hash__)
    run(exp)
    assert len(heard) == N_HEARD
    # The two ears of a reference and of a signal, and the signal before until it is replaced.
    assert max(most) <= 6 < len(most)


def test_a_second_run_changes_nothing(exp, heard):
    run(exp)
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in exp.glob("*.json*")}
    heard.clear()
    run(exp)
    assert not heard
    assert before == {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in exp.glob("*.json*")}


@pytest.mark.parametrize("n_before", [1, 5, 13])
def test_a_killed_run_goes_on_where_it_was(exp, undisturbed, heard, monkeypatch, n_before):
    plain = infer.read_speech
    wavs = []

    def killing(path, lengths):
        wavs.append(path)
        if len(wavs) > n_before:
            raise KeyboardInterrupt
        return plain(path, lengths)

    with monkeypatch.context() as patch:
        patch.setattr(infer, "read_speech", killing)
        with pytest.raises(KeyboardInterrupt):
            run(exp)
    assert not list(exp.glob("*.json"))
    journal = exp / "inference.jsonl"
    done = len(journal.read_text().splitlines())
    with journal.open("a") as stream:
        stream.write('{"key": "dev/S0')  # the line that was being written
    heard.clear()
    run(exp)
    assert outputs(exp) == outputs(undisturbed)
    n_again = 2 * (N_SIGNALS - done)
    assert n_again < len(heard) <= n_again + 2 * sum(N_SCENES.values())


def test_shards_together_give_what_one_run_gives(exp, undisturbed, heard):
    n_heard = []
    for shard in range(2):
        run(exp, "n_shards=2", f"shard={shard}")
        n_heard.append(len(heard))
        heard.clear()
        assert not list(exp.glob("*.json"))
    assert sum(n_heard) == N_HEARD
    assert min(n_heard) > 0
    run(exp)
    assert not heard
    assert outputs(exp) == outputs(undisturbed)


def test_only_what_is_stale_is_made_again(done, undisturbed, heard, caplog):
    wav = done / "cpc1_asr_data/dev/left_msbg/S00000_L0001_E001.wav"
    sf.write(wav, babble(77, 0.3).numpy(), 16000, subtype="FLOAT")
    os.utime(wav, (0, 0))
    run(done)
    assert len(heard) == 4
    first, second = (measures(folder, "dev", "enc") for folder in (undisturbed, done))
    assert {name for name in first if first[name] != second[name]} == {"S00000_L0001_E001"}
    assert "signals to be done anew, since these changed: {'wavs': 1}" in caplog.text


@pytest.mark.parametrize(
    "change",
    [
        "asr_overrides.test_beam_size=3",
        "decoder_states=best_hypothesis",
        "dtw=exact",
        "asr_overrides.Transformer.normalize_before=true",  # which no weight shows
        "asr_overrides.compute_features.f_max=4000",
    ],
)
def test_another_setting_makes_all_again(done, heard, caplog, change):
    run(done, change)
    assert len(heard) == N_HEARD
    assert f"since these changed: {{'settings': {N_SIGNALS}}}" in caplog.text


def test_another_recogniser_makes_all_again(done, undisturbed, heard, caplog):
    make_recogniser(done / "transformer_cpc1", n_checkpoints=2)
    run(done)
    assert len(heard) == N_HEARD
    assert f"since these changed: {{'checkpoint_sha256': {N_SIGNALS}}}" in caplog.text
    assert measures(done, "test", "dec") != measures(undisturbed, "test", "dec")
    assert read_json(done / "inference.json")["checkpoints"] == ["CKPT+epoch_0", "CKPT+epoch_1"]


def test_the_open_track_has_files_of_its_own(exp, undisturbed):
    shutil.move(exp / "cpc1_asr_data", exp / "cpc1_asr_data_indep")
    shutil.move(exp / "transformer_cpc1", exp / "transformer_cpc1_indep")
    run(exp, "cpc1_track=open")
    closed = (undisturbed / "test_dec_similarity.json").read_bytes()
    assert (exp / "test_dec_similarity_indep.json").read_bytes() == closed
    assert (exp / "inference_indep.jsonl").is_file()
    assert not (exp / "test_dec_similarity.json").exists()


def test_an_empty_dev_set_gives_empty_measures(exp):
    for table in (exp / "cpc1_asr_data").glob("*_dev_*.csv"):
        write_table(table, [])
    run(exp)
    assert measures(exp, "dev", "enc") == {}
    assert len(measures(exp, "test", "enc")) == 6


def test_from_the_command_line(exp, undisturbed, tmp_path):
    # As demo/config.yaml names it, and for workers that know nothing of the recipe's own words.
    there = f"${{recipe:}}/{os.path.relpath(exp, RECIPE)}"
    paths = [f"path.exp_folder='{there}'", "n_jobs=2", "device=cpu"]
    done = run_script("infer.py", *paths, *SIZES, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"Wrote the measures of {N_SIGNALS} signals" in done.stderr + done.stdout
    assert outputs(exp) == outputs(undisturbed)


SPOIL = {
    "is missing": Path.unlink,
    "is cut": lambda path: path.write_bytes(path.read_bytes()[:20]),
    "lacks a row": lambda path: path.write_text(path.read_text().rsplit("\n", 2)[0] + "\n"),
    "lacks words": lambda path: path.write_text(path.read_text().rpartition(",")[0] + ",...\n"),
}


@pytest.mark.parametrize(
    ("file", "spoil", "message"),
    [
        ("right_test_ref.csv", "is missing", "right_test_ref.csv: no such table; run prepare_data"),
        ("test/right_ref/S10001.wav", "is missing", "2 faults.*right_ref/S10001.wav is missing"),
        ("dev/left_ref/S00000.wav", "is cut", "S00000.wav: .*; run prepare_data.py again"),
        ("right_dev_msbg.csv", "lacks a row", "S00001_L0002_E001 is missing from the dev table of"),
        ("left_dev_msbg.csv", "lacks words", "S00001_L0002_E001 has no word in its prompt"),
    ],
)
def test_a_file_that_is_missing_or_damaged_is_named(exp, file, spoil, message):
    SPOIL[spoil](exp / "cpc1_asr_data" / file)
    with pytest.raises(RecipeError, match=message):
        run(exp)


@pytest.mark.parametrize(
    ("samples", "rate", "reason"),
    [
        (np.zeros((800, 2)), 16000, "at 16000 Hz, expected one channel"),
        (np.zeros(800), 44100, "at 44100 Hz, expected one channel"),
        (np.zeros(0), 16000, "0.00 s of speech; the recogniser takes 0.02 to 99 s"),
        (np.zeros(319), 16000, "0.02 s of speech; the recogniser takes 0.02 to 99 s"),
        (np.zeros(99 * 16000 + 1), 16000, "99.00 s of speech; the recogniser takes 0.02 to 99 s"),
        (np.full(800, np.nan), 16000, "at 16000 Hz, expected one channel"),
    ],
)
def test_a_wav_of_another_kind_is_named(exp, samples, rate, reason):
    wav = exp / "cpc1_asr_data/dev/left_ref/S00000.wav"
    sf.write(wav, samples, rate, subtype="FLOAT")
    with pytest.raises(RecipeError, match=f"S00000.wav: .*{reason}"):
        run(exp)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("dtw=slow", "dtw=slow: expected fastdtw or exact"),
        ("decoder_states=all", "decoder_states=all: expected last_beam or best_hypothesis"),
        ("device=abacus", "device=abacus: expected auto, cpu, cuda, or cuda:1"),
        ("device=cuda:x", "device=cuda:x: expected auto, cpu, cuda, or cuda:1"),
        ("path.asr_folder=/nowhere", "/nowhere/save: no checkpoint"),
    ],
)
def test_a_misspelt_setting_is_named(exp, override, message):
    with pytest.raises(RecipeError, match=message):
        run(exp, override)


def test_the_published_similarities(shared, tmp_path):
    folder = shared / "golden/infer"
    expected = read_json(folder / "expected.json", dict)
    data = tmp_path / "exp/cpc1_asr_data"
    shutil.copytree(folder / "wavs", data / "wavs")
    for split, names in (("dev", sorted(expected)[:3]), ("test", sorted(expected)[3:])):
        for ear, kind in itertools.product(EARS, ("msbg", "ref")):
            rows = []
            for name in names:
                wav, one = data / f"wavs/{name}_{ear}_{kind}.wav", expected[name]
                row = {"ID": name, "duration": 2.0, "wav": wav}
                rows.append(row | {"spk_id": one["listener"], "wrd": one["prompt"]})
            write_table(data / f"{ear}_{split}_{kind}.csv", rows)
    settings = read_json(folder / "settings.json", dict)
    overrides = [f"asr_overrides.{name}={json.dumps(value)}" for name, value in settings.items()]
    run(tmp_path / "exp", f"path.asr_folder='{folder}'", *overrides)
    for name in ("enc", "dec"):
        found = {
            k: v for split in N_SCENES for k, v in measures(tmp_path / "exp", split, name).items()
        }
        published = {key: one[f"{name}_similarity"] for key, one in expected.items()}
        assert found == pytest.approx(published, abs=1e-4)


def test_settings_of_another_recogniser_are_refused(done, heard):
    cfg = configure(done, done, *SIZES)
    settings = plain_settings(cfg, Experiment.from_config(cfg))["model_settings"]
    write_json(done / "transformer_cpc1/save/model_settings.json", settings)
    with pytest.raises(RecipeError, match=r"normalize_before is True, trained with False.*asr_ov"):
        run(done, "asr_overrides.Transformer.normalize_before=true")
    assert not heard
    run(done, "asr_overrides.test_beam_size=3")  # the search is no part of what was trained
    assert heard


def test_the_record_knows_the_ear_signals_when_they_are_known(done):
    assert "ear_signals" not in read_json(done / "inference.json", dict)  # prepared elsewhere
    person = Listener(Audiogram([40] * 8), Audiogram([40] * 8), "L0001")
    one = Presentation(
        *("S10000_L0001_E001", "S10000", person, "E001", "anna keeps", 50.0),
        *(Path("/a.wav"), Path("/b.wav"), 2.0, "ab12"),
    )
    write_presentations(done / "presentations.json", {"test": [one]}, {})
    run(done)
    assert read_json(done / "inference.json")["ear_signals"] == {"test": made_from_of([one])}


def test_a_stop_between_the_files_leaves_no_record(done, monkeypatch):
    (done / "dev_enc_similarity.json").unlink()

    def stop(path, content):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(infer, "write_json", stop)
        run(done)
    assert not (done / "inference.json").exists()
    run(done)
    assert (done / "inference.json").is_file()


@pytest.mark.parametrize(
    ("folder", "stage"), [("transformer_cpc1", "train_asr"), (".", "inference")]
)
def test_a_folder_in_use_is_named(exp, folder, stage):
    """A recogniser in training is not used, and no second run starts."""
    with infer.sole_run(exp / folder, stage), pytest.raises(RecipeError, match="is in use"):
        run(exp)
