"""The prepare stage, on a small release of noise in the CPC1 layout."""

import csv
import hashlib
import json
import shutil

import numpy as np
import pytest
import soundfile as sf

import prepare_data
from benchmarks.made.release import dump, make_release
from intelligibility.corpora.presentation import read_presentations
from intelligibility.ears import resample
from intelligibility.experiment import Experiment, read_table
from intelligibility.preparation.check import Source
from intelligibility.runs import sole_run
from msbg import Listener, simulate
from tests import faults
from tests.conftest import configure, edit, run_script


def prepare(release, exp, *overrides):
    cfg = configure(release, exp, *overrides)
    prepare_data.run(cfg)
    return Experiment.from_config(cfg)


def fingerprint(folder, *suffixes):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.suffix in suffixes
    }


def made(exp):
    """Return the hashes of all that was made, with the records less when and by which command."""
    prints = fingerprint(exp, ".wav", ".csv", ".json")
    for path in exp.glob("presentations*.json"):
        records = json.loads(path.read_text())
        assert records.pop("provenance")["seed"] == 1
        prints[path.name] = json.dumps(records)
    return prints


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Return a prepared experiment."""
    root = tmp_path_factory.mktemp("prepared")
    release = make_release(root / "cpc1")
    return prepare(release, root / "exp")


def test_every_table_has_its_rows(prepared):
    rows = {"train": 6, "dev": 2, "test": 4}
    for split, count in rows.items():
        for kind in ("msbg", "ref"):
            left = read_table(prepared.table("left", split, kind))
            right = read_table(prepared.table("right", split, kind))
            both = read_table(prepared.table("binaural", split, kind))
            assert (len(left), len(right), len(both)) == (count, count, 2 * count)
            ids = [row["ID"] for row in left]
            assert ids == sorted(ids)
            assert {row["ID"] for row in both} == {
                f"{e}_{i}" for e in ("left", "right") for i in ids
            }
            for row in both:
                audio, rate = sf.read(row["wav"], dtype="float32")
                assert (rate, audio.ndim) == (16000, 1)
                assert len(audio) / rate == row["duration"]
                assert row["wrd"] == row["wrd"].upper()
                assert sf.info(row["wav"]).subtype == "FLOAT"


def test_columns_are_speechbrains(prepared):
    with prepared.table("left", "train", "msbg").open() as stream:
        assert next(csv.reader(stream)) == ["ID", "duration", "wav", "spk_id", "wrd"]


def test_all_signals_of_a_scene_share_a_split(prepared):
    lists = {s: json.loads(prepared.scene_list(s).read_text()) for s in ("train", "dev")}
    assert len(lists["dev"]) == 1  # floor(0.3 * 4)
    assert not set(lists["train"]) & set(lists["dev"])
    for split, scenes in lists.items():
        for row in read_table(prepared.table("left", split, "msbg")):
            assert row["ID"].split("_")[0] in scenes


def test_a_reference_is_stored_once_for_all_who_heard_it(prepared):
    wavs = [row["wav"] for row in read_table(prepared.table("left", "test", "ref"))]
    assert len(wavs) == 4 and len(set(wavs)) == 2


def test_ear_signals_are_msbg_then_16_khz_without_the_first_two_seconds(prepared):
    signal = read_presentations(prepared.presentations)["test"][0]
    stereo, rate = sf.read(signal.processed)
    expected = resample(simulate(stereo, signal.listener), rate, 16000)[32000:]
    for channel, ear in enumerate(("left", "right")):
        written, _ = sf.read(prepared.ear_wav("test", "msbg", ear, signal.name))
        np.testing.assert_allclose(written, expected[:, channel], rtol=0, atol=1e-6)
    reference, rate = sf.read(signal.reference)
    written, _ = sf.read(prepared.ear_wav("test", "ref", "right", signal.scene))
    expected = resample(reference, rate, 16000)[32000:, 1]
    np.testing.assert_allclose(written, expected, rtol=0, atol=1e-6)


def test_the_records_hold_what_was_used(prepared):
    used = read_presentations(prepared.presentations)
    for split in ("train", "dev", "test"):
        rows = {row["ID"]: row for row in read_table(prepared.table("left", split, "msbg"))}
        archive = "test" if split == "test" else "train"
        ours = [one for one in used[archive] if one.name in rows]
        assert len(ours) == len(rows) > 0
        for one in ours:
            row = rows[one.name]
            assert (row["spk_id"], row["wrd"]) == (one.listener.id, one.prompt.upper())
            assert one.processed.is_file() and one.made_from and 0 <= one.correctness <= 100
    digests = [one.made_from for ones in used.values() for one in ones]
    assert len(set(digests)) == len(digests) == 12
    assert not (prepared.exp_folder / "metadata").exists()


@pytest.mark.parametrize("rate", [32000, 48000])
def test_every_rate_is_brought_to_msbgs_and_counted(tmp_path, caplog, rate):
    release = make_release(tmp_path / "cpc1", n_train=1, n_test=1, rate=rate)
    with caplog.at_level("INFO"):
        experiment = prepare(release, tmp_path / "exp")
    assert f"4 hearing-aid outputs at {rate} Hz went into MSBG resampled to 44100" in caplog.text
    row = read_table(experiment.table("left", "test", "msbg"))[0]
    assert row["duration"] == pytest.approx(0.2, abs=0.01)


def test_a_second_run_makes_nothing_and_leaves_every_byte(release, tmp_path, caplog):
    exp = tmp_path / "exp"
    prepare(release, exp)
    before = fingerprint(exp, ".csv", ".json", ".wav", ".jsonl")
    with caplog.at_level("INFO"):
        prepare(release, exp)
    assert "18 of 18 files are done already" in caplog.text
    assert fingerprint(exp, ".csv", ".json", ".wav", ".jsonl") == before
    assert not list(exp.rglob("*.part*"))


def test_two_processes_from_scratch_agree(release, tmp_path):
    prints = []
    for number, n_jobs in (("1", 1), ("2", 2)):
        exp = tmp_path / number
        result = run_script(
            "prepare_data.py",
            f"path.root={release}",
            f"path.exp_folder={exp}",
            f"n_jobs={n_jobs}",
            cwd=tmp_path,
        )
        assert result.returncode == 0, result.stderr
        prints.append(made(exp))
    assert prints[0] == prints[1] and len(prints[0]) > 55
    assert sorted(p.name for p in tmp_path.iterdir()) == ["1", "2", "cpc1"]


def test_what_changed_is_made_anew_and_nothing_else(release, tmp_path, caplog):
    experiment = prepare(release, tmp_path / "exp")
    wav = read_presentations(experiment.presentations)["test"][0].processed
    stereo, rate = sf.read(wav)
    sf.write(wav, 0.5 * stereo, rate)
    with caplog.at_level("INFO"):
        prepare(release, tmp_path / "exp")
    assert "since these changed: {'source': 1}" in caplog.text
    assert "17 of 18 files are done already" in caplog.text
    caplog.clear()
    with caplog.at_level("INFO"):
        prepare(release, tmp_path / "exp", "MSBGEar.ahr=15")
    assert "since these changed: {'MSBGEar': 12}" in caplog.text  # the 6 references stay
    assert "6 of 18 files are done already" in caplog.text


def test_while_signals_are_made_anew_there_is_no_table(release, tmp_path):
    experiment = prepare(release, tmp_path / "exp")
    assert experiment.table("left", "dev", "msbg").is_file()
    prepare(release, tmp_path / "exp", "MSBGEar.ahr=15", "shard=0", "n_shards=2")
    assert not experiment.table("left", "dev", "msbg").exists()
    prepare(release, tmp_path / "exp", "MSBGEar.ahr=15")
    assert experiment.table("left", "dev", "msbg").is_file()


def test_what_killed_runs_left_is_removed(release, tmp_path):
    left = tmp_path / "exp/cpc1_asr_data/test/left_msbg/.S2.0123456789ab.part.wav"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"RIFF")
    prepare(release, tmp_path / "exp")
    assert not left.exists()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("MSBGEar.sample_rate=48000", "MSBGEar: "),
        ("MSBGEar.src_pos=FF", "MSBGEar: "),
        ("MSBGEar.ahr=nan", "MSBGEar.ahr=nan: expected dB"),
        ("n_jobs=0", "n_jobs=0: expected a whole number of processes"),
        ("seed=-1", "seed=-1: expected a whole number"),
        ("dev_percent=3", "dev_percent=3: expected a share"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_at_once(release, tmp_path, caplog, override, message):
    with pytest.raises(SystemExit):
        prepare(release, tmp_path / "exp", "check_only=true", "from_scratch=true", override)
    assert message in caplog.text


def test_a_split_without_a_usable_signal_is_refused(release, tmp_path, caplog):
    shutil.rmtree(release / "clarity_CPC1_data_test/clarity_data/HA_outputs")
    with pytest.raises(SystemExit):
        prepare(release, tmp_path / "exp", "skip_bad=true")
    assert "no usable signal left" in caplog.text


def test_a_damaged_or_missing_ear_signal_is_made_again(release, tmp_path):
    experiment = prepare(release, tmp_path / "exp")
    before = fingerprint(tmp_path / "exp", ".wav")
    wavs = sorted(experiment.data_folder.rglob("*.wav"))
    wavs[0].unlink()
    wavs[5].write_bytes(wavs[5].read_bytes()[:1000])
    prepare(release, tmp_path / "exp")
    assert fingerprint(tmp_path / "exp", ".wav") == before


def test_shards_together_make_the_whole(release, tmp_path):
    prepare(release, tmp_path / "whole")
    for shard in (2, 0, 1):
        experiment = prepare(release, tmp_path / "parts", f"shard={shard}", "n_shards=3")
        assert not experiment.table("left", "dev", "msbg").exists()
    sizes = [
        len(p.read_text().splitlines()) for p in experiment.data_folder.glob("prepared-*.jsonl")
    ]
    assert sorted(sizes) == [6, 6, 6]
    prepare(release, tmp_path / "parts")
    assert (experiment.data_folder / "prepared.jsonl").read_text() == ""
    assert made(tmp_path / "parts") == made(tmp_path / "whole")


def test_what_is_faulty_stops_the_run_or_is_left_out(release, tmp_path, caplog):
    faults.mono_wav(release)
    faults.remove_reference(release)
    exp = tmp_path / "exp"
    with pytest.raises(SystemExit) as stop:
        prepare(release, exp)
    assert stop.value.code == 1
    assert "as listed above, or leave it out with skip_bad=true" in caplog.text
    assert not exp.exists()
    experiment = prepare(release, exp, "skip_bad=true")
    left_out = json.loads((exp / "left_out.json").read_text())
    assert sorted(left_out) == ["S10002_L0001_E001", "S10003_L0001_E001", "S10003_L0002_E001"]
    assert "1 channels where 2 are expected" in left_out["S10002_L0001_E001"]
    tables = [
        read_table(experiment.table("left", split, "msbg")) for split in ("train", "dev", "test")
    ]
    kept = {row["ID"] for table in tables for row in table}
    assert len(kept) == 9 and not kept & set(left_out)


def test_everything_wrong_is_reported_at_once(release, tmp_path, caplog):
    for spoil in (faults.remove_wav, faults.remove_reference, faults.mono_wav, faults.too_severe):
        spoil(release)
    with pytest.raises(SystemExit):
        prepare(release, tmp_path / "exp", "check_only=true")
    for words in ("2 x missing file", "1 x 1 channels", "1 x audiogram in listeners", "not ready"):
        assert words in caplog.text


READY = ("check_only=true", "from_scratch=true", "dev_percent=0.5")


def test_check_only_is_content_with_a_whole_release(release, tmp_path, caplog):
    with caplog.at_level("INFO"):
        prepare(release, tmp_path / "exp", *READY)
    assert "Checked: ready" in caplog.text and "This stops" not in caplog.text
    assert not (tmp_path / "exp").exists()


def test_check_only_looks_ahead(release, tmp_path, caplog):
    path = release / "clarity_CPC1_data_train/metadata/CPC1.train.json"
    edit(path, lambda entries: [entry.pop("correctness") for entry in entries])
    with pytest.raises(SystemExit):
        prepare(release, tmp_path / "exp", "check_only=true")
    assert "This stops train_asr.py:\n      1 x no recogniser to start from" in caplog.text
    assert "This stops evaluate.py:\n      1 x too few dev responses: 0 dev signals" in caplog.text
    assert "not ready, for the reasons above. Stopped: evaluate.py, train_asr.py" in caplog.text
    assert "This stops prepare_data.py" not in caplog.text


def test_check_only_says_that_one_dev_scene_stops_the_fit(release, tmp_path, caplog):
    with pytest.raises(SystemExit):
        prepare(release, tmp_path / "exp", "check_only=true", "from_scratch=true")
    assert "too few dev responses: 2 dev signals with" in caplog.text
    assert "use more training scenes, a larger dev_percent, or calibration=" in caplog.text
    assert "Checked: not ready, for the reasons above. Stopped: evaluate.py" in caplog.text
    assert "Nothing was made" not in caplog.text
    assert not (tmp_path / "exp").exists()


def test_answers_that_are_all_the_same_stop_the_fit(release, tmp_path, caplog):
    path = release / "clarity_CPC1_data_train/metadata/CPC1.train.json"
    edit(path, lambda entries: [entry.update(correctness=40) for entry in entries])
    with pytest.raises(SystemExit):
        prepare(release, tmp_path / "exp", *READY)
    assert "4 dev signals with 1 different responses, the logistic needs 3" in caplog.text


def test_what_stops_a_later_stage_does_not_stop_this_one(release, tmp_path, caplog):
    experiment = prepare(release, tmp_path / "exp")  # one dev scene, and nothing to start from
    assert "This stops evaluate.py" in caplog.text and "This stops train_asr.py" in caplog.text
    assert experiment.table("left", "dev", "msbg").is_file()


def test_a_test_signal_without_a_response_is_a_notice(release, tmp_path, caplog):
    path = release / "clarity_CPC1_data_test/metadata/CPC1.test.json"
    edit(path, lambda entries: entries[2].pop("correctness"))
    with caplog.at_level("INFO"):
        prepare(release, tmp_path / "exp", *READY)
    assert "To know (it stops nothing):" in caplog.text and "Checked: ready" in caplog.text
    assert "1 x test signal without a response: predicted, but not scored: S20001_L" in caplog.text
    caplog.clear()
    folder = tmp_path / "responses"
    folder.mkdir()
    dump(folder / "CPC1.test.json", json.loads(path.read_text())[:1])
    prepare(release, tmp_path / "exp", *READY, f"path.test_responses='{folder}'")
    assert "3 x test signal without a response" in caplog.text  # the late ones alone count


def test_severe_losses_are_a_notice(release, tmp_path, caplog):
    with caplog.at_level("INFO"):
        prepare(release, tmp_path / "exp", *READY)
    assert "1 x listener with losses above 80 dB HL" in caplog.text
    assert "Checked: ready" in caplog.text


def test_check_only_looks_into_a_pretrained_folder(release, tmp_path, caplog):
    for folder, message in (("/no/such/folder", "is no folder"), (tmp_path, "asr.ckpt is missing")):
        with pytest.raises(SystemExit):
            prepare(release, tmp_path / "exp", "check_only=true", f"pretrained='{folder}'")
        assert message in caplog.text


def test_check_only_names_a_folder_of_responses_that_is_not_there(release, tmp_path, caplog):
    with pytest.raises(SystemExit):
        prepare(release, tmp_path / "exp", "check_only=true", "path.test_responses=/nope")
    assert "no test responses: /nope/CPC1.test.json: no such file" in caplog.text
    assert "no recogniser to start from" in caplog.text
    assert "Stopped: evaluate.py, train_asr.py" in caplog.text


def test_a_full_disk_is_foreseen(release, tmp_path, caplog, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(SystemExit):
        prepare(release, tmp_path / "exp", "skip_bad=true")
    assert "disk too full" in caplog.text


def test_samples_that_are_not_finite_are_named(release, tmp_path, caplog):
    wav = release / "clarity_CPC1_data_test/clarity_data/HA_outputs/test/S20001_L0002_E001.wav"
    signal = np.zeros((44100 * 3, 2), dtype="float32")
    signal[7, 1] = np.nan
    sf.write(wav, signal, 44100, subtype="FLOAT")
    with pytest.raises(SystemExit):
        prepare(release, tmp_path / "exp")
    assert "1 of 18 files failed, the others are done" in caplog.text
    assert "test/msbg/S20001_L0002_E001: samples that are not finite" in caplog.text
    experiment = prepare(release, tmp_path / "exp", "skip_bad=true")
    assert len(read_table(experiment.table("left", "test", "msbg"))) == 3


def test_odd_sounds_are_used_and_named(release, tmp_path, caplog):
    silent, loud = (faults.TRAIN_WAV, faults.TEST_WAV)
    sf.write(release / silent, np.zeros((int(2.2 * 44100), 2)), 44100)
    signal, rate = sf.read(release / loud)
    sf.write(release / loud, 1e6 / np.abs(signal).max() * signal, rate, subtype="FLOAT")
    experiment = prepare(release, tmp_path / "exp")
    assert f"test/msbg/{loud.stem}: samples far beyond full scale (1)" in caplog.text
    assert f"train/msbg/{silent.stem}: silent" in caplog.text
    assert "2 files are used, but strange" in caplog.text
    assert len(read_table(experiment.table("left", "test", "msbg"))) == 4
    for path in experiment.data_folder.rglob("*.wav"):
        assert np.isfinite(sf.read(path)[0]).all()
    caplog.clear()
    prepare(release, tmp_path / "exp")  # a second run makes nothing, and says it all the same
    assert "2 files are used, but strange" in caplog.text


def test_test_signals_alone(release, tmp_path, caplog):
    shutil.rmtree(release / "clarity_CPC1_data_train")
    with pytest.raises(SystemExit):
        prepare(release, tmp_path / "exp")
    assert "path.cpc1_train_data=null does without this archive" in caplog.text
    alone = "path.cpc1_train_data=null"
    ahead = [alone, "check_only=true", "from_scratch=true"]
    with pytest.raises(SystemExit):
        prepare(release, tmp_path / "exp", *ahead)
    assert "Checked: not ready, for the reasons above. Stopped: evaluate.py" in caplog.text
    with caplog.at_level("INFO"):
        prepare(release, tmp_path / "exp", *ahead, "calibration=other/calibration.json")
    assert "Checked: ready" in caplog.text
    experiment = prepare(release, tmp_path / "exp", alone)
    assert list(read_presentations(experiment.presentations)) == ["test"]
    sizes = {
        split: len(read_table(experiment.table("left", split, "msbg")))
        for split in ("train", "dev", "test")
    }
    assert sizes == {"train": 0, "dev": 0, "test": 4}
    assert len(list(experiment.data_folder.rglob("*.wav"))) == 2 * (4 + 2)
    assert not (tmp_path / "exp/data_split").exists()


def test_a_copied_experiment_is_known_again(release, tmp_path, caplog):
    """Files are told apart by what is in them: a copy of the release and of the work is as good."""
    prepare(release, tmp_path / "exp")
    shutil.copytree(release, tmp_path / "copy", copy_function=shutil.copyfile)
    shutil.copytree(tmp_path / "exp", tmp_path / "exp2", copy_function=shutil.copyfile)
    with caplog.at_level("INFO"):
        prepare(tmp_path / "copy", tmp_path / "exp2")
    assert "18 of 18 files are done already" in caplog.text


def test_an_audiogram_that_changed_is_simulated_anew(release, tmp_path, caplog):
    experiment = prepare(release, tmp_path / "exp")
    before = read_presentations(experiment.presentations)["test"]
    path = release / faults.TEST_LISTENERS
    edit(path, lambda listeners: listeners["L0001"].update(audiogram_levels_l=[50] * 8))
    with caplog.at_level("INFO"):
        prepare(release, tmp_path / "exp")
    assert "since these changed: {'audiograms': 2}" in caplog.text
    after = read_presentations(experiment.presentations)["test"]
    changed = {a.name for a, b in zip(before, after, strict=True) if a.made_from != b.made_from}
    assert changed == {"S20000_L0001_E001", "S20001_L0001_E001"}


def test_a_scene_of_the_test_is_not_trained_on(release, tmp_path, caplog):
    edit(release / faults.TEST_LIST, lambda entries: entries[0].update(scene="S10000"))
    reference = "clarity_data/scenes/{}_target_anechoic.wav".format
    shutil.copy(
        release / faults.OF_TRAIN / reference("S10000"),
        release / faults.OF_TEST / reference("S10000"),
    )
    with pytest.raises(SystemExit):
        prepare(release, tmp_path / "exp")
    assert "2 x scene in both training and test: S10000 of S10000_L0001_E001" in caplog.text
    experiment = prepare(release, tmp_path / "exp", "skip_bad=true")
    left_out = json.loads(experiment.left_out.read_text())
    assert sorted(left_out) == ["S10000_L0001_E001", "S10000_L0002_E001"]
    assert len(read_table(experiment.table("left", "test", "msbg"))) == 4


def test_names_beyond_ascii_go_through(release, tmp_path):
    """As German and Chinese releases would have them."""
    folder = release / "clarity_CPC1_data_test"
    for scene, new in (("S20000", "Höhle7"), ("S20001", "场景")):
        for path in folder.rglob(f"{scene}_*.wav"):
            path.rename(path.with_name(path.name.replace(scene, new)))
        for path in (folder / "metadata").glob("CPC1.test*.json"):
            text = json.dumps(json.loads(path.read_text()), ensure_ascii=False)
            path.write_text(text.replace(scene, new), encoding="utf-8")
    experiment = prepare(release, tmp_path / "exp")
    rows = read_table(experiment.table("left", "test", "msbg"))
    assert [row["ID"] for row in rows] == [
        f"{scene}_{listener}_E001"
        for scene in ("Höhle7", "场景")
        for listener in ("L0001", "L0002")
    ]
    assert all(row["wav"].is_file() for row in rows)


def test_a_file_truncated_after_the_check_is_named(release, tmp_path):
    wav = release / "clarity_CPC1_data_test/clarity_data/HA_outputs/test/S20001_L0002_E001.wav"
    listener = Listener.load_listener_dict(
        release / "clarity_CPC1_data_test/metadata/listeners.CPC1_all.json"
    )["L0002"]
    source = Source("test", "msbg", "x", wav, 2.0, listener, None, sf.info(wav).frames, 44100)
    wav.write_bytes(wav.read_bytes()[:-4000])
    with pytest.raises(ValueError, match="the file changed while the run went on"):
        prepare_data.make_ear_signals(Experiment(tmp_path / "exp", tmp_path), {}, source)
    assert not (tmp_path / "exp").exists()


def test_two_runs_on_one_folder_are_refused_by_name(release, tmp_path, caplog):
    experiment = Experiment.from_config(configure(release, tmp_path / "exp"))
    with sole_run(experiment.data_folder, "prepare_data"):
        for overrides in ([], ["shard=0", "n_shards=2"]):
            with pytest.raises(SystemExit):
                prepare(release, tmp_path / "exp", *overrides)
            assert f"{experiment.data_folder} is in use (" in caplog.text
    with sole_run(experiment.data_folder, "prepare_data", 1, 2):
        prepare(release, tmp_path / "exp", "shard=0", "n_shards=2")
        with pytest.raises(SystemExit):
            prepare(release, tmp_path / "exp")


def test_the_release_is_only_read(release, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in sorted(release.rglob("*"))}
    prepare(release, tmp_path / "exp")
    assert {path: path.stat().st_mtime_ns for path in sorted(release.rglob("*"))} == before


def test_a_terminal_user_sees_words_not_a_traceback(tmp_path):
    result = run_script(
        "prepare_data.py", f"path.root={tmp_path}/nowhere", f"path.exp_folder={tmp_path}/exp"
    )
    assert result.returncode == 1
    assert f"path.root={tmp_path}/nowhere: no folder {tmp_path}/nowhere/clarity" in result.stderr
    assert "Traceback" not in result.stderr


def test_help_lists_the_configuration():
    result = run_script("prepare_data.py", "--help")
    assert result.returncode == 0
    for key in ("cpc1_track", "dev_percent", "MSBGEar", "equiv_0db_spl"):
        assert key in result.stdout


def test_two_real_signals(shared, tmp_path):
    experiment = prepare(shared / "cpc1_sample", tmp_path / "exp")
    assert json.loads(experiment.scene_list("dev").read_text()) == []
    for split, name in (("train", "S08510_L0239_E001"), ("test", "S08520_L0216_E001")):
        (row,) = read_table(experiment.table("right", split, "msbg"))
        assert row["ID"] == name
        assert row["duration"] == pytest.approx(5.8819 - 2, abs=0.01)
    (row,) = read_table(experiment.table("left", "test", "ref"))
    assert row["duration"] == pytest.approx(5.27 - 2, abs=0.001)
