"""The prepare stage, on a small release of noise in the CPC1 layout."""

import csv
import hashlib
import json
import shutil

import numpy as np
import pytest
import soundfile as sf

import prepare_data
from benchmarks.made.recogniser import SETTINGS, make_recogniser
from benchmarks.made.release import dump, make_release
from intelligibility.corpora.check import Source, check_release
from intelligibility.corpora.cpc1 import Cpc1, read_table
from msbg import Listener, simulate
from tests.conftest import configure, edit, run_script

RESAMPLING_ERROR_DB = -80  # against the ideal band-limited signal, below 0.45 of the lower rate


def prepare(release, exp, *overrides):
    cfg = configure(release, exp, *overrides)
    prepare_data.run(cfg)
    return Cpc1.from_config(cfg)


def fingerprint(folder, *suffixes):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.suffix in suffixes
    }


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A prepared release: (Cpc1, configuration)."""
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
    signal = prepared.signals("test")[0]
    listener = prepared.listeners("test")[signal.listener]
    stereo, rate = sf.read(prepared.hearing_aid_wav("test", signal.signal))
    heard = simulate(stereo, listener)
    expected = prepare_data.resample(heard, rate, 16000)[32000:]
    for channel, ear in enumerate(("left", "right")):
        written, _ = sf.read(prepared.ear_wav("test", "msbg", ear, signal.signal))
        np.testing.assert_allclose(written, expected[:, channel], rtol=0, atol=1e-6)
    reference, rate = sf.read(prepared.reference_wav("test", signal.scene))
    written, _ = sf.read(prepared.ear_wav("test", "ref", "right", signal.scene))
    expected = prepare_data.resample(reference, rate, 16000)[32000:, 1]
    np.testing.assert_allclose(written, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("rate", [32000, 44100, 48000])
def test_resampling_is_band_limited_interpolation(rate):
    seconds, tones = 0.5, (200.0, 1500.0, 6000.0)

    def tone_complex(at):
        time = np.arange(int(seconds * at)) / at
        return np.sum([np.sin(2 * np.pi * f * time + f) for f in tones], axis=0)

    stereo = np.stack([tone_complex(rate), -tone_complex(rate)], axis=1)
    result = prepare_data.resample(stereo, rate, 16000)
    inner = slice(2000, -2000)  # the ends have no neighbours to interpolate from
    error = result[inner, 0] - tone_complex(16000)[inner]
    level = 10 * np.log10(np.mean(error**2) / np.mean(tone_complex(16000) ** 2))
    assert level < RESAMPLING_ERROR_DB
    np.testing.assert_allclose(result[:, 1], -result[:, 0], rtol=0, atol=1e-14)


@pytest.mark.parametrize("rate", [32000, 48000])
def test_every_rate_is_brought_to_msbgs_and_counted(tmp_path, caplog, rate):
    release = make_release(tmp_path / "cpc1", n_train=1, n_test=1, rate=rate)
    with caplog.at_level("INFO"):
        cpc1 = prepare(release, tmp_path / "exp")
    assert f"4 hearing-aid outputs at {rate} Hz went into MSBG resampled to 44100" in caplog.text
    row = read_table(cpc1.table("left", "test", "msbg"))[0]
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
        prints.append(fingerprint(exp, ".csv", ".wav", ".json"))
    assert prints[0] == prints[1] and len(prints[0]) > 55
    assert sorted(p.name for p in tmp_path.iterdir()) == ["1", "2", "cpc1"]


def test_a_seed_gives_a_split_of_its_own(release, tmp_path):
    splits = set()
    for seed in range(5):
        cpc1 = Cpc1.from_config(configure(release, tmp_path / f"{seed}"))
        scenes = [f"S{n}" for n in range(10)]
        prepare_data.split_scenes(cpc1, scenes, 0.3, seed)
        splits.add(cpc1.scene_list("dev").read_text())
    assert len(splits) > 1


def test_a_split_made_by_hand_is_kept_or_refused(release, tmp_path):
    cpc1 = Cpc1.from_config(configure(release, tmp_path))
    prepare_data.split_scenes(cpc1, ["S1", "S2", "S3"], 0.4, 1)  # a drawn one is there before
    dump(cpc1.scene_list("dev"), ["S2", "S3"])
    dump(cpc1.scene_list("train"), ["S1"])
    for seed in (1, 2):
        split_of = prepare_data.split_scenes(cpc1, ["S1", "S2", "S3"], 0.4, seed)
        assert split_of == {"S1": "train", "S2": "dev", "S3": "dev"}
    with pytest.raises(prepare_data.RecipeError, match="each of the 4 training scenes once"):
        prepare_data.split_scenes(cpc1, ["S1", "S2", "S3", "S4"], 0.3, 1)


def test_another_seed_draws_a_new_split_and_says_so(release, tmp_path, caplog):
    cpc1 = Cpc1.from_config(configure(release, tmp_path))
    scenes = [f"S{n}" for n in range(20)]
    first = prepare_data.split_scenes(cpc1, scenes, 0.3, 1)
    assert prepare_data.split_scenes(cpc1, scenes, 0.3, 1) == first
    assert "a new split is drawn" not in caplog.text
    assert prepare_data.split_scenes(cpc1, scenes, 0.3, 2) != first
    assert "a new split is drawn" in caplog.text


def test_what_changed_is_made_anew_and_nothing_else(release, tmp_path, caplog):
    cpc1 = prepare(release, tmp_path / "exp")
    first = cpc1.signals("test")[0]
    wav = cpc1.hearing_aid_wav("test", first.signal)
    stereo, rate = sf.read(wav)
    sf.write(wav, 0.5 * stereo, rate)
    with caplog.at_level("INFO"):
        prepare(release, tmp_path / "exp")
    assert "for a change of: {'source': 1}" in caplog.text
    assert "17 of 18 files are done already" in caplog.text
    caplog.clear()
    with caplog.at_level("INFO"):
        prepare(release, tmp_path / "exp", "MSBGEar.ahr=15")
    assert "for a change of: {'MSBGEar': 12}" in caplog.text  # the 6 references stay
    assert "6 of 18 files are done already" in caplog.text


def test_while_signals_are_made_anew_there_is_no_table(release, tmp_path):
    cpc1 = prepare(release, tmp_path / "exp")
    assert cpc1.table("left", "dev", "msbg").is_file()
    prepare(release, tmp_path / "exp", "MSBGEar.ahr=15", "shard=0", "n_shards=2")
    assert not cpc1.table("left", "dev", "msbg").exists()
    prepare(release, tmp_path / "exp", "MSBGEar.ahr=15")
    assert cpc1.table("left", "dev", "msbg").is_file()


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
        ("MSBGEar.ahr=null", "MSBGEar: "),
        ("n_jobs=0", "n_jobs=0: expected a number of processes"),
        ("seed=-1", "seed=-1: expected a whole number"),
        ("seed=one", "seed=one: expected a whole number"),
        ("dev_percent=3", "dev_percent=3: expected a share"),
        ("dev_percent=x", "dev_percent=x: expected a share"),
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
    cpc1 = prepare(release, tmp_path / "exp")
    before = fingerprint(tmp_path / "exp", ".wav")
    wavs = sorted(cpc1.data_folder.rglob("*.wav"))
    wavs[0].unlink()
    wavs[5].write_bytes(wavs[5].read_bytes()[:1000])
    prepare(release, tmp_path / "exp")
    assert fingerprint(tmp_path / "exp", ".wav") == before


def test_shards_together_make_the_whole(release, tmp_path):
    prepare(release, tmp_path / "whole")
    for shard in (2, 0, 1):
        cpc1 = prepare(release, tmp_path / "parts", f"shard={shard}", "n_shards=3")
        assert not cpc1.table("left", "dev", "msbg").exists()
    sizes = [len(p.read_text().splitlines()) for p in cpc1.data_folder.glob("prepared-*.jsonl")]
    assert sorted(sizes) == [6, 6, 6]
    prepare(release, tmp_path / "parts")
    assert (cpc1.data_folder / "prepared.jsonl").read_text() == ""
    kinds = (".wav", ".csv", ".json")
    assert fingerprint(tmp_path / "parts", *kinds) == fingerprint(tmp_path / "whole", *kinds)


def remove_wav(release):
    (release / "clarity_CPC1_data_test/clarity_data/HA_outputs/test/S20001_L0002_E001.wav").unlink()


def remove_reference(release):
    (release / "clarity_CPC1_data_train/clarity_data/scenes/S10003_target_anechoic.wav").unlink()


def empty_wav(release):
    wav = release / "clarity_CPC1_data_train/clarity_data/HA_outputs/train/S10002_L0001_E001.wav"
    wav.write_bytes(b"")


def truncate_wav(release):
    wav = release / "clarity_CPC1_data_train/clarity_data/HA_outputs/train/S10002_L0001_E001.wav"
    wav.write_bytes(wav.read_bytes()[:-1000])


def mono_wav(release):
    wav = release / "clarity_CPC1_data_train/clarity_data/HA_outputs/train/S10002_L0001_E001.wav"
    sf.write(wav, np.zeros(44100 * 3), 44100)


def short_wav(release):
    wav = release / "clarity_CPC1_data_train/clarity_data/HA_outputs/train/S10002_L0001_E001.wav"
    sf.write(wav, np.zeros((44100, 2)), 44100)


def odd_rate(release):
    wav = release / "clarity_CPC1_data_train/clarity_data/HA_outputs/train/S10002_L0001_E001.wav"
    sf.write(wav, np.zeros((44100 * 3, 2)), 12345)


def no_audio(release):
    wav = release / "clarity_CPC1_data_train/clarity_data/HA_outputs/train/S10002_L0001_E001.wav"
    wav.write_text("this is no wav file")


def unknown_listener(release):
    path = release / "clarity_CPC1_data_train/metadata/CPC1.train.json"
    edit(path, lambda entries: entries[0].update(listener="L9999"))


def null_level(release):
    path = release / "clarity_CPC1_data_test/metadata/listeners.CPC1_all.json"
    edit(path, lambda listeners: listeners["L0001"]["audiogram_levels_r"].__setitem__(2, None))


def too_severe(release):
    path = release / "clarity_CPC1_data_test/metadata/listeners.CPC1_all.json"
    edit(path, lambda listeners: listeners["L0001"]["audiogram_levels_r"].__setitem__(2, 110))


def doubled(release):
    path = release / "clarity_CPC1_data_train/metadata/CPC1.train.json"
    edit(path, lambda entries: entries.append(dict(entries[4])))


def empty_prompt(release):
    path = release / "clarity_CPC1_data_train/metadata/CPC1.train.json"
    edit(path, lambda entries: entries[4].update(prompt=" "))


FAULTS = [
    (remove_wav, "missing file: ", "S20001_L0002_E001.wav", 1),
    (remove_reference, "missing file: ", "S10003_target_anechoic.wav", 2),
    (empty_wav, "empty file: ", "S10002_L0001_E001.wav", 1),
    (truncate_wav, "truncated file: ", "S10002_L0001_E001.wav", 1),
    (mono_wav, "1 channels where 2 are expected", "S10002_L0001_E001.wav", 1),
    (short_wav, "no longer than the 2 s before the speech", "S10002_L0001_E001.wav", 1),
    (odd_rate, "unexpected sample rate of 12345 Hz", "S10002_L0001_E001.wav", 1),
    (no_audio, "cannot be read as audio", "S10002_L0001_E001.wav", 1),
    (unknown_listener, "no audiogram in listeners.CPC1_train.json", "listener L9999", 1),
    (null_level, "audiogram in listeners.CPC1_all.json not usable", "L0001", 2),
    (too_severe, "audiogram in listeners.CPC1_all.json not usable", "110 dB HL", 2),
    (doubled, "signal listed twice in CPC1.train.json", "S10002_L0001_E001", 1),
    (empty_prompt, "empty prompt in CPC1.train.json", "S10002_L0001_E001", 1),
]


@pytest.mark.parametrize(("spoil", "fault", "where", "n_lost"), FAULTS)
def test_a_fault_is_found_from_headers(release, tmp_path, spoil, fault, where, n_lost):
    spoil(release)
    cpc1 = Cpc1.from_config(configure(release, tmp_path / "exp"))
    checked = check_release(cpc1)
    assert fault in checked.faults.text() and where in checked.faults.text()
    assert len(checked.faults.left_out) == n_lost
    usable = {entry.signal for entries in checked.signals.values() for entry in entries}
    assert len(usable) == 12 - n_lost and not usable & set(checked.faults.left_out)
    assert not (tmp_path / "exp").exists()


def test_what_is_faulty_stops_the_run_or_is_left_out(release, tmp_path, caplog):
    mono_wav(release)
    remove_reference(release)
    exp = tmp_path / "exp"
    with pytest.raises(SystemExit) as stop:
        prepare(release, exp)
    assert stop.value.code == 1
    assert "leave out what is faulty with skip_bad=true" in caplog.text
    assert not exp.exists()
    cpc1 = prepare(release, exp, "skip_bad=true")
    left_out = json.loads((exp / "left_out.json").read_text())
    assert sorted(left_out) == ["S10002_L0001_E001", "S10003_L0001_E001", "S10003_L0002_E001"]
    assert "1 channels where 2 are expected" in left_out["S10002_L0001_E001"]
    tables = [read_table(cpc1.table("left", split, "msbg")) for split in ("train", "dev", "test")]
    kept = {row["ID"] for table in tables for row in table}
    assert len(kept) == 9 and not kept & set(left_out)


def test_everything_wrong_is_reported_at_once(release, tmp_path, caplog):
    for spoil in (remove_wav, remove_reference, mono_wav, too_severe):
        spoil(release)
    with pytest.raises(SystemExit):
        prepare(release, tmp_path / "exp", "check_only=true")
    for words in ("2 x missing file", "1 x 1 channels", "1 x audiogram in listeners", "not ready"):
        assert words in caplog.text


def test_check_only_is_content_with_a_whole_release(release, tmp_path, caplog):
    with caplog.at_level("INFO"):
        prepare(release, tmp_path / "exp", "check_only=true", "from_scratch=true")
    assert "Checked: ready" in caplog.text
    assert not (tmp_path / "exp").exists()


def test_check_only_looks_ahead(release, tmp_path, caplog):
    path = release / "clarity_CPC1_data_test/metadata/CPC1.test.json"
    edit(path, lambda entries: [entry.pop("correctness") for entry in entries])
    with pytest.raises(SystemExit):
        prepare(release, tmp_path / "exp", "check_only=true")
    assert "recogniser to start from" in caplog.text
    assert "4 x response to a test signal" in caplog.text


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda save: None, None),
        (lambda save: (save / "CKPT+epoch_0/model.ckpt").write_bytes(b"half"), "is damaged"),
        (lambda save: (save / "tokenizer.ckpt").unlink(), "no tokenizer"),
        (
            lambda save: (save / "tokenizer.ckpt").write_bytes(b"half"),
            "tokenizer that cannot be read",
        ),
    ],
)
def test_check_only_looks_at_the_recogniser(release, tmp_path, caplog, spoil, message):
    spoil(make_recogniser(tmp_path / "exp/transformer_cpc1"))
    sizes = [f"asr_overrides.{key}={value}" for key, value in SETTINGS.items()]
    if message is None:
        prepare(release, tmp_path / "exp", "check_only=true", *sizes)
        return
    with pytest.raises(SystemExit):
        prepare(release, tmp_path / "exp", "check_only=true", *sizes)
    assert message in caplog.text


def test_check_only_finds_a_recogniser_of_another_size(release, tmp_path, caplog):
    make_recogniser(tmp_path / "exp/transformer_cpc1")
    with pytest.raises(SystemExit):
        prepare(release, tmp_path / "exp", "check_only=true")
    assert "recogniser that fits the settings" in caplog.text


def test_check_only_finds_prompts_that_have_no_token(release, tmp_path, caplog):
    make_recogniser(tmp_path / "exp/transformer_cpc1")
    path = release / "clarity_CPC1_data_train/metadata/CPC1.train.json"
    edit(path, lambda entries: entries[3].update(prompt="anna keeps 2 old bøats"))
    with pytest.raises(SystemExit):
        prepare(release, tmp_path / "exp", "check_only=true")
    assert "1 x prompt that the tokenizer cannot write" in caplog.text


def test_check_only_looks_into_a_pretrained_folder(release, tmp_path, caplog):
    for folder, message in (("/no/such/folder", "is no folder"), (tmp_path, "asr.ckpt is missing")):
        with pytest.raises(SystemExit):
            prepare(release, tmp_path / "exp", "check_only=true", f"pretrained='{folder}'")
        assert message in caplog.text


def test_check_only_names_a_folder_of_responses_that_is_not_there(release, tmp_path, caplog):
    with pytest.raises(SystemExit):
        prepare(release, tmp_path / "exp", "check_only=true", "path.test_responses=/nope")
    assert "responses to the test signals" in caplog.text
    assert "recogniser to start from" in caplog.text


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
    assert "S20001_L0002_E001.wav: samples that are not finite" in caplog.text
    cpc1 = prepare(release, tmp_path / "exp", "skip_bad=true")
    assert len(read_table(cpc1.table("left", "test", "msbg"))) == 3


def test_a_file_truncated_after_the_check_is_named(release, tmp_path):
    wav = release / "clarity_CPC1_data_test/clarity_data/HA_outputs/test/S20001_L0002_E001.wav"
    listener = Listener.load_listener_dict(
        release / "clarity_CPC1_data_test/metadata/listeners.CPC1_all.json"
    )["L0002"]
    source = Source("test", "msbg", "x", wav, listener, sf.info(wav).frames, 44100)
    wav.write_bytes(wav.read_bytes()[:-4000])
    _, result = prepare_data.make_ear_signal(source, (tmp_path / "l.wav", tmp_path / "r.wav"), {})
    assert "the file changed while the run went on" in result["fault"]
    assert not (tmp_path / "l.wav").exists()


def test_two_runs_on_one_folder_are_refused_by_name(release, tmp_path, caplog):
    cpc1 = Cpc1.from_config(configure(release, tmp_path / "exp"))
    with prepare_data.sole_run(cpc1.data_folder, "prepare_data"):
        for overrides in ([], ["shard=0", "n_shards=2"]):
            with pytest.raises(SystemExit):
                prepare(release, tmp_path / "exp", *overrides)
            assert f"{cpc1.data_folder} is in use (" in caplog.text
    with prepare_data.sole_run(cpc1.data_folder, "prepare_data", 1, 2):
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
    assert "no metadata folder here; set path.cpc1_train_data" in result.stderr
    assert "Traceback" not in result.stderr


def test_help_lists_the_configuration():
    result = run_script("prepare_data.py", "--help")
    assert result.returncode == 0
    for key in ("cpc1_track", "dev_percent", "MSBGEar", "equiv_0db_spl"):
        assert key in result.stdout


def test_two_real_signals(shared, tmp_path):
    cpc1 = prepare(shared / "cpc1_sample", tmp_path / "exp")
    assert json.loads(cpc1.scene_list("dev").read_text()) == []
    for split, name in (("train", "S08510_L0239_E001"), ("test", "S08520_L0216_E001")):
        (row,) = read_table(cpc1.table("right", split, "msbg"))
        assert row["ID"] == name
        assert row["duration"] == pytest.approx(5.8819 - 2, abs=0.01)
    (row,) = read_table(cpc1.table("left", "test", "ref"))
    assert row["duration"] == pytest.approx(5.27 - 2, abs=0.001)
