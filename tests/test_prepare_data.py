"""The prepare stage, on a small release of noise in the CPC1 layout."""

import json
import shutil

import numpy as np
import pytest
import soundfile as sf

import prepare_data
from benchmarks.made.release import make_release
from intelligibility.corpora.presentation import read_presentations
from intelligibility.ears import ear_signals, resample
from intelligibility.experiment import EARS, SPLITS, Experiment, read_table
from intelligibility.preparation.check import Source
from intelligibility.runs import sole_run
from msbg import Listener, simulate
from tests import faults
from tests.conftest import configure, contents, edit, run_script


def prepare(release, exp, *overrides):
    cfg = configure(release, exp, *overrides)
    prepare_data.run(cfg)
    return Experiment.from_config(cfg)


def made(exp):
    """Return the hashes of all that was made, with the records less when and by which command."""
    prints = contents(exp, ".wav", ".csv", ".json")
    for path in exp.glob("presentations*.json"):
        records = json.loads(path.read_text())
        assert records.pop("provenance")["seed"] == 1
        prints[path.name] = json.dumps(records)
    return prints


def ids(experiment, split, kind="msbg"):
    """Return the names in a table."""
    return [row["ID"] for row in read_table(experiment.table("left", split, kind))]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Return a prepared experiment."""
    root = tmp_path_factory.mktemp("prepared")
    return prepare(make_release(root / "cpc1"), root / "exp")


def test_every_table_has_its_rows(prepared):
    for split, count in {"train": 6, "dev": 2, "test": 4}.items():
        for kind in ("msbg", "ref"):
            names = ids(prepared, split, kind)
            both = read_table(prepared.table("binaural", split, kind))
            assert len(names) == len(read_table(prepared.table("right", split, kind))) == count
            assert names == sorted(names) and len(both) == 2 * count
            assert {row["ID"] for row in both} == {f"{e}_{n}" for e in EARS for n in names}
            for row in both:
                audio, rate = sf.read(row["wav"], dtype="float32")
                assert (rate, audio.ndim) == (16000, 1)
                assert len(audio) / rate == row["duration"]
                assert row["wrd"] == row["wrd"].upper()
                assert sf.info(row["wav"]).subtype == "FLOAT"
    columns = prepared.table("left", "train", "msbg").read_text().splitlines()[0]
    assert columns == "ID,duration,wav,spk_id,wrd"  # SpeechBrain's


def test_all_signals_of_a_scene_share_a_split(prepared):
    lists = {s: json.loads(prepared.scene_list(s).read_text()) for s in ("train", "dev")}
    assert len(lists["dev"]) == 1  # floor(0.3 * 4)
    assert not set(lists["train"]) & set(lists["dev"])
    for split, scenes in lists.items():
        assert {name.split("_")[0] for name in ids(prepared, split)} <= set(scenes)


def test_a_reference_is_stored_once_for_all_who_heard_it(prepared):
    wavs = [row["wav"] for row in read_table(prepared.table("left", "test", "ref"))]
    assert len(wavs) == 4 and len(set(wavs)) == 2


def test_ear_signals_are_msbg_then_16_khz_without_the_first_two_seconds(prepared):
    one = read_presentations(prepared.presentations)["test"][0]
    stereo, rate = sf.read(one.processed)
    reference, _ = sf.read(one.reference)
    for kind, name, signal in (
        ("msbg", one.name, simulate(stereo, one.listener)),
        ("ref", one.scene, reference),
    ):
        expected = resample(signal, rate, 16000)[32000:]
        for channel, ear in zip(expected.T, EARS, strict=True):
            written, _ = sf.read(prepared.ear_wav("test", kind, ear, name))
            np.testing.assert_allclose(written, channel, rtol=0, atol=1e-6)


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
    experiment = prepare(release, tmp_path / "exp")
    assert f"4 hearing-aid outputs at {rate} Hz went into MSBG resampled to 44100" in caplog.text
    row = read_table(experiment.table("left", "test", "msbg"))[0]
    assert row["duration"] == pytest.approx(0.2, abs=0.01)


def test_a_second_run_makes_nothing_and_leaves_every_byte(release, tmp_path, caplog):
    """Neither run writes into the release."""
    as_it_came = {path: path.stat().st_mtime_ns for path in sorted(release.rglob("*"))}
    exp = tmp_path / "exp"
    prepare(release, exp)
    before = contents(exp, ".csv", ".json", ".wav", ".jsonl")
    prepare(release, exp)
    assert "18 of 18 files are done already" in caplog.text
    assert contents(exp, ".csv", ".json", ".wav", ".jsonl") == before
    assert not list(exp.rglob("*.part*"))
    assert {path: path.stat().st_mtime_ns for path in sorted(release.rglob("*"))} == as_it_came


def test_two_processes_from_scratch_agree(release, tmp_path):
    prints = []
    for n_jobs in ("1", "2"):
        paths = [f"path.root={release}", f"path.exp_folder={tmp_path / n_jobs}"]
        result = run_script("prepare_data.py", *paths, f"n_jobs={n_jobs}", cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        prints.append(made(tmp_path / n_jobs))
    assert prints[0] == prints[1] and len(prints[0]) > 55
    assert sorted(p.name for p in tmp_path.iterdir()) == ["1", "2", "cpc1"]


def test_what_changed_is_made_anew_and_nothing_else(release, tmp_path, caplog):
    """While signals are made anew there is no table."""
    experiment = prepare(release, tmp_path / "exp")
    wav = read_presentations(experiment.presentations)["test"][0].processed
    stereo, rate = sf.read(wav)
    sf.write(wav, 0.5 * stereo, rate)
    prepare(release, tmp_path / "exp")
    assert "since these changed: {'source': 1}" in caplog.text
    assert "17 of 18 files are done already" in caplog.text
    prepare(release, tmp_path / "exp", "MSBGEar.ahr=15")
    assert "since these changed: {'MSBGEar': 12}" in caplog.text  # the 6 references stay
    assert "6 of 18 files are done already" in caplog.text
    table = experiment.table("left", "dev", "msbg")
    assert table.is_file()
    prepare(release, tmp_path / "exp", "shard=0", "n_shards=2")
    assert not table.exists()
    prepare(release, tmp_path / "exp")
    assert table.is_file()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("MSBGEar.sample_rate=48000", "MSBGEar: "),
        ("MSBGEar.src_pos=FF", "MSBGEar: "),
        ("MSBGEar.ahr=nan", "MSBGEar.ahr=nan: expected dB"),
        ("dev_percent=3", "dev_percent=3: expected a share"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_at_once(release, tmp_path, refused, override, message):
    assert message in refused(prepare, release, tmp_path / "exp", "check_only=true", override)


def test_a_split_without_a_usable_signal_is_refused(release, tmp_path, refused):
    shutil.rmtree(release / "clarity_CPC1_data_test/clarity_data/HA_outputs")
    message = refused(prepare, release, tmp_path / "exp", "skip_bad=true")
    assert "no usable signal left" in message


def test_a_damaged_or_missing_ear_signal_is_made_again(release, tmp_path):
    """What killed runs left is removed."""
    experiment = prepare(release, tmp_path / "exp")
    before = contents(tmp_path / "exp", ".wav")
    wavs = sorted(experiment.data_folder.rglob("*.wav"))
    wavs[0].with_name(".S2.0123456789ab.part.wav").write_bytes(b"RIFF")
    wavs[0].unlink()
    wavs[5].write_bytes(wavs[5].read_bytes()[:1000])
    prepare(release, tmp_path / "exp")
    assert contents(tmp_path / "exp", ".wav") == before


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


def test_what_is_faulty_stops_the_run_or_is_left_out(release, tmp_path, refused):
    faults.mono_wav(release)
    faults.remove_reference(release)
    exp = tmp_path / "exp"
    message = refused(prepare, release, exp)
    assert "as listed above, or leave it out with skip_bad=true" in message
    assert not exp.exists()
    experiment = prepare(release, exp, "skip_bad=true")
    left_out = json.loads((exp / "left_out.json").read_text())
    assert sorted(left_out) == ["S10002_L0001_E001", "S10003_L0001_E001", "S10003_L0002_E001"]
    assert "1 channels where 2 are expected" in left_out["S10002_L0001_E001"]
    kept = {name for split in SPLITS for name in ids(experiment, split)}
    assert len(kept) == 9 and not kept & set(left_out)


def test_everything_wrong_is_reported_at_once(release, tmp_path, refused):
    for spoil in (faults.remove_wav, faults.remove_reference, faults.mono_wav, faults.too_severe):
        spoil(release)
    message = refused(prepare, release, tmp_path / "exp", "check_only=true")
    for words in ("2 x missing file", "1 x 1 channels", "1 x audiogram in listeners", "not ready"):
        assert words in message


READY = ("check_only=true", "from_scratch=true", "dev_percent=0.5")


def test_check_only_is_content_with_a_whole_release(release, tmp_path, caplog):
    edit(release / faults.TEST_LIST, lambda entries: entries[2].pop("correctness"))
    prepare(release, tmp_path / "exp", *READY)
    assert "Checked: ready" in caplog.text and "This stops" not in caplog.text
    assert "To know (it stops nothing):" in caplog.text
    assert "1 x listener with losses above 80 dB HL" in caplog.text
    assert "1 x test signal without a response: predicted, but not scored: S20001_L" in caplog.text
    assert not (tmp_path / "exp").exists()


def test_check_only_looks_ahead(release, tmp_path, refused):
    """One dev scene is too little to fit, and there is no recogniser to start from."""
    message = refused(prepare, release, tmp_path / "exp", "check_only=true")
    assert "This stops train_asr.py:\n      1 x no recogniser to start from" in message
    assert "This stops evaluate.py:\n      1 x too few dev responses: 2 dev signals with" in message
    assert "use more training scenes, a larger dev_percent, or calibration=" in message
    assert "not ready, for the reasons above. Stopped: evaluate.py, train_asr.py" in message
    assert "This stops prepare_data.py" not in message and "Nothing was made" not in message
    assert not (tmp_path / "exp").exists()
    experiment = prepare(release, tmp_path / "exp")  # which what stops a later stage does not stop
    assert experiment.table("left", "dev", "msbg").is_file()


def test_a_full_disk_is_foreseen(release, tmp_path, refused, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    assert "disk too full" in refused(prepare, release, tmp_path / "exp", "skip_bad=true")


def test_samples_that_are_not_finite_are_named(release, tmp_path, refused):
    signal = np.zeros((44100 * 3, 2), dtype="float32")
    signal[7, 1] = np.nan
    sf.write(release / faults.TEST_WAV, signal, 44100, subtype="FLOAT")
    message = refused(prepare, release, tmp_path / "exp")
    assert "1 of 18 files failed, the others are done" in message
    assert "test/msbg/S20001_L0002_E001: samples that are not finite" in message
    experiment = prepare(release, tmp_path / "exp", "skip_bad=true")
    assert len(ids(experiment, "test")) == 3


def test_odd_sounds_are_used_and_named(release, tmp_path, caplog):
    silent, loud = (faults.TRAIN_WAV, faults.TEST_WAV)
    sf.write(release / silent, np.zeros((int(2.2 * 44100), 2)), 44100)
    signal, rate = sf.read(release / loud)
    sf.write(release / loud, 1e6 / np.abs(signal).max() * signal, rate, subtype="FLOAT")
    for _ in range(2):  # a second run makes nothing, and says it all the same
        caplog.clear()
        experiment = prepare(release, tmp_path / "exp")
        assert f"test/msbg/{loud.stem}: samples far beyond full scale (1)" in caplog.text
        assert f"train/msbg/{silent.stem}: silent" in caplog.text
        assert "2 files are used, but strange" in caplog.text
    assert len(ids(experiment, "test")) == 4
    for path in experiment.data_folder.rglob("*.wav"):
        assert np.isfinite(sf.read(path)[0]).all()


def test_test_signals_alone(release, tmp_path, refused, caplog):
    shutil.rmtree(release / "clarity_CPC1_data_train")
    alone, exp = "path.cpc1_train_data=null", tmp_path / "exp"
    assert f"{alone} does without this archive" in refused(prepare, release, exp)
    ahead = [alone, "check_only=true", "from_scratch=true"]
    message = refused(prepare, release, exp, *ahead)
    assert "Checked: not ready, for the reasons above. Stopped: evaluate.py" in message
    prepare(release, exp, *ahead, "calibration=other/calibration.json")
    assert "Checked: ready" in caplog.text
    experiment = prepare(release, exp, alone)
    assert list(read_presentations(experiment.presentations)) == ["test"]
    assert [len(ids(experiment, split)) for split in ("train", "dev", "test")] == [0, 0, 4]
    assert len(list(experiment.data_folder.rglob("*.wav"))) == 2 * (4 + 2)
    assert not (exp / "data_split").exists()


def test_an_audiogram_that_changed_is_simulated_anew(release, tmp_path, caplog):
    experiment = prepare(release, tmp_path / "exp")
    before = read_presentations(experiment.presentations)["test"]
    path = release / faults.TEST_LISTENERS
    edit(path, lambda listeners: listeners["L0001"].update(audiogram_levels_l=[50] * 8))
    prepare(release, tmp_path / "exp")
    assert "since these changed: {'audiograms': 2}" in caplog.text
    after = read_presentations(experiment.presentations)["test"]
    changed = {a.name for a, b in zip(before, after, strict=True) if a.made_from != b.made_from}
    assert changed == {"S20000_L0001_E001", "S20001_L0001_E001"}


def test_names_beyond_ascii_go_through(release, tmp_path):
    """As German and Chinese releases would have them."""
    folder = release / "clarity_CPC1_data_test"
    for scene, new in (("S20000", "Höhle7"), ("S20001", "场景")):
        for path in folder.rglob(f"{scene}_*.wav"):
            path.rename(path.with_name(path.name.replace(scene, new)))
        for path in (folder / "metadata").glob("CPC1.test*.json"):
            text = json.dumps(json.loads(path.read_text()), ensure_ascii=False)
            path.write_text(text.replace(scene, new), encoding="utf-8")
    rows = read_table(prepare(release, tmp_path / "exp").table("left", "test", "msbg"))
    names = [f"{scene}_L000{n}_E001" for scene in ("Höhle7", "场景") for n in (1, 2)]
    assert [row["ID"] for row in rows] == names
    assert all(row["wav"].is_file() for row in rows)


def test_a_file_changed_after_the_check_is_named(release, tmp_path):
    wav = release / faults.TEST_WAV
    listener = Listener.load_listener_dict(release / faults.TEST_LISTENERS)["L0002"]
    source = Source("test", "msbg", "x", wav, 2.0, listener, None, sf.info(wav).frames, 44100)
    signal, rate = sf.read(wav)
    sf.write(wav, signal[:-1000], rate)
    with pytest.raises(ValueError, match="the file changed while the run went on"):
        prepare_data.make_ear_signals(Experiment(tmp_path / "exp", tmp_path), {}, source)
    assert not (tmp_path / "exp").exists()


def test_two_runs_on_one_folder_are_refused_by_name(release, tmp_path, refused):
    experiment = Experiment.from_config(configure(release, tmp_path / "exp"))
    shard = ["shard=0", "n_shards=2"]
    with sole_run(experiment.data_folder, "prepare_data"):
        for overrides in ([], shard):
            message = refused(prepare, release, tmp_path / "exp", *overrides)
            assert f"{experiment.data_folder} is in use (" in message
    with sole_run(experiment.data_folder, "prepare_data", 1, 2):
        prepare(release, tmp_path / "exp", *shard)
        refused(prepare, release, tmp_path / "exp")


def test_two_real_signals(shared, tmp_path):
    experiment = prepare(shared / "cpc1_sample", tmp_path / "exp")
    assert json.loads(experiment.scene_list("dev").read_text()) == []
    for split, name in (("train", "S08510_L0239_E001"), ("test", "S08520_L0216_E001")):
        (row,) = read_table(experiment.table("right", split, "msbg"))
        assert row["ID"] == name
        assert row["duration"] == pytest.approx(5.8819 - 2, abs=0.01)
    (row,) = read_table(experiment.table("left", "test", "ref"))
    assert row["duration"] == pytest.approx(5.27 - 2, abs=0.001)


# Without a hearing loss: the last row of the paper's Table 2


@pytest.fixture(scope="module")
def both(prepared):
    """Return an experiment with a hearing loss and without."""
    release, exp = prepared.exp_folder.parent / "cpc1", prepared.exp_folder
    before = contents(exp)
    assert len(before) > 20
    without = prepare(release, exp, "hearing_loss=none")
    assert before.items() <= contents(exp).items()
    return prepared, without


def test_without_a_hearing_loss_the_same_signals_of_the_same_scenes_lie_apart(both):
    with_, without = both
    assert without.data_folder.is_relative_to(with_.exp_folder / "no_hearing_loss")
    provenance = json.loads(without.presentations.read_text())["provenance"]
    assert provenance["config"]["hearing_loss"] == "none"
    assert with_.scene_list("dev") == without.scene_list("dev")
    for split in SPLITS:
        for kind in ("msbg", "ref"):
            assert ids(with_, split, kind) == ids(without, split, kind) != []


def test_its_signals_are_at_16_khz_and_nothing_else(both):
    with_, without = both
    for one in read_presentations(without.presentations)["test"]:
        signal, rate = sf.read(one.processed)
        for ear, channel in zip(EARS, ear_signals(signal, rate, None, {}, 2.0).T, strict=True):
            found, _ = sf.read(without.ear_wav("test", "msbg", ear, one.name), dtype="float32")
            np.testing.assert_allclose(found, channel, rtol=0, atol=1e-6)
            impaired, _ = sf.read(with_.ear_wav("test", "msbg", ear, one.name), dtype="float32")
            assert len(impaired) != len(found) or not np.allclose(impaired, found, atol=1e-4)
            wavs = [each.ear_wav("test", "ref", ear, one.scene) for each in both]
            assert wavs[0].read_bytes() == wavs[1].read_bytes()
