"""The script of the baselines: its files, what it does again and what not, its messages."""

import importlib.metadata
import json
import logging
import shutil

import pytest

import baselines
from intelligibility.corpora import known_presentations
from intelligibility.corpora.presentation import write_presentations
from intelligibility.work import Journal
from tests.conftest import configure, dump, edit, make_release, run_script

pytest.importorskip("pystoi", reason="pip install --no-deps -r requirements-baselines.txt")
N_DEV, N_TEST = 4, 4  # signals: two scenes of two listeners each


def load(path):
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture
def prepared(tmp_path):
    """Return the root and the folder of an experiment as prepare_data.py leaves it."""
    root, exp = make_release(tmp_path / "cpc1"), tmp_path / "exp"
    used = known_presentations(configure(root, exp), "", exp / "presentations.json")
    write_presentations(exp / "presentations.json", used, {})
    (exp / "data_split").mkdir()
    dump(exp / "data_split/scene_dev_list.json", ["S10000", "S10002"])
    return root, exp


@pytest.fixture
def computed(monkeypatch):
    """Put a quick index in place of the packages'; return the calls."""
    calls = []

    def quick(baseline, processed, reference, listener, name, msbg_settings):
        calls.append((baseline, name))
        return float(abs(processed[0]).mean()) + len(baseline) / 100

    monkeypatch.setattr(baselines, "index", quick)
    return calls


def test_writes_dev_and_test_and_how(prepared, computed):
    root, exp = prepared
    baselines.run(configure(root, exp, "baselines=[haspi,stoi]"))
    for name in ("haspi", "stoi"):
        dev, test = (load(exp / f"{split}_{name}_similarity.json") for split in ("dev", "test"))
        assert len(dev) == N_DEV and {signal[:6] for signal in dev} == {"S10000", "S10002"}
        assert len(test) == N_TEST and all(signal.startswith("S2") for signal in test)
    record = load(exp / "baselines.json")
    version = importlib.metadata.version("pystoi")
    assert record["baselines"]["stoi"]["package"] == f"pystoi {version}"
    assert set(record["baselines"]["haspi"]["ear_signals"]) == {"train", "test"}
    assert record["provenance"]["seed"] == 1
    assert not (exp / "dev_mbstoi_similarity.json").exists()


def test_a_table_of_test_signals_alone_needs_no_list_of_dev_scenes(prepared, computed):
    root, exp = prepared
    shutil.rmtree(exp / "data_split")
    edit(exp / "presentations.json", lambda record: record.pop("train"))
    baselines.run(configure(root, exp, "baselines=[stoi]"))
    assert len(computed) == N_TEST == len(load(exp / "test_stoi_similarity.json"))
    assert load(exp / "dev_stoi_similarity.json") == {}


def test_a_second_run_computes_nothing_and_another_baseline_stays(prepared, computed):
    root, exp = prepared
    baselines.run(configure(root, exp, "baselines=[haspi]"))
    assert len(computed) == N_DEV + N_TEST
    first = {path.name: path.read_bytes() for path in exp.glob("*.json")}
    baselines.run(configure(root, exp, "baselines=[haspi]"))
    assert len(computed) == N_DEV + N_TEST
    assert {path.name: path.read_bytes() for path in exp.glob("*.json")} == first
    baselines.run(configure(root, exp, "baselines=[stoi]"))
    assert set(load(exp / "baselines.json")["baselines"]) == {"haspi", "stoi"}


def test_a_run_that_was_stopped_goes_on(prepared, computed, monkeypatch):
    root, exp = prepared
    quick = baselines.index

    def stops(baseline, *others):
        if len(computed) == 5:
            raise KeyboardInterrupt
        return quick(baseline, *others)

    monkeypatch.setattr(baselines, "index", stops)
    monkeypatch.setattr(baselines, "TOGETHER", 1)
    with pytest.raises((SystemExit, KeyboardInterrupt)):
        baselines.run(configure(root, exp, "baselines=[stoi]"))
    assert not (exp / "baselines.json").exists()
    kept = len(Journal(exp / "baselines.jsonl").latest)
    assert kept == 5
    monkeypatch.setattr(baselines, "index", quick)
    baselines.run(configure(root, exp, "baselines=[stoi]"))
    assert len(computed) == N_DEV + N_TEST
    assert len(load(exp / "test_stoi_similarity.json")) == N_TEST


def test_shards_together_are_the_whole(prepared, computed):
    root, exp = prepared
    for shard in (0, 1):
        baselines.run(configure(root, exp, "baselines=[stoi]", f"shard={shard}", "n_shards=2"))
        assert not (exp / "baselines.json").exists()
    assert sorted(name for _, name in computed) == sorted({name for _, name in computed})
    baselines.run(configure(root, exp, "baselines=[stoi]"))
    assert len(computed) == N_DEV + N_TEST and (exp / "baselines.json").is_file()


@pytest.mark.parametrize(("baseline", "again"), [("haspi", 2), ("stoi", 0)])
def test_other_audiograms_concern_what_hears_with_them(prepared, computed, baseline, again):
    root, exp = prepared
    cfg = configure(root, exp, f"baselines=[{baseline}]")
    baselines.run(cfg)
    computed.clear()

    def louder(record):
        record["listeners"]["test"]["L0001"]["audiogram_levels_l"][0] += 5

    edit(exp / "presentations.json", louder)
    baselines.run(cfg)
    assert len(computed) == again  # both test scenes of L0001


def test_other_wavs_and_msbg_settings_are_computed_again(prepared, computed, caplog):
    root, exp = prepared
    baselines.run(configure(root, exp, "baselines=[mbstoi]"))
    computed.clear()
    wav = next(root.rglob("HA_outputs/test/S20000_L0001_E001.wav"))
    content = bytearray(wav.read_bytes())
    content[len(content) // 2] ^= 1
    wav.write_bytes(content)
    baselines.run(configure(root, exp, "baselines=[mbstoi]"))
    assert computed == [("mbstoi", "S20000_L0001_E001")]
    with caplog.at_level(logging.WARNING):
        baselines.run(configure(root, exp, "baselines=[mbstoi]", "MSBGEar.ahr=0"))
    assert len(computed) == 1 + N_DEV + N_TEST and "{'MSBGEar': 8}" in caplog.text


def test_what_fails_is_named_and_others_are_kept(prepared, computed, monkeypatch, refused, caplog):
    root, exp = prepared
    quick = baselines.index

    def fails(baseline, processed, reference, listener, name, msbg_settings):
        if name == "S20000_L0001_E001":
            raise ValueError("too little speech")
        return quick(baseline, processed, reference, listener, name, msbg_settings)

    monkeypatch.setattr(baselines, "index", fails)
    message = refused(baselines.run, configure(root, exp, "baselines=[stoi]"))
    assert "1 of 8 indices failed, the others are done" in message
    assert "test/S20000_L0001_E001/stoi: too little speech" in message
    assert not (exp / "baselines.json").exists()
    baselines.run(configure(root, exp, "baselines=[stoi]", "skip_bad=true"))
    assert "1 indices are left out: test/S20000_L0001_E001/stoi" in caplog.text
    assert len(load(exp / "test_stoi_similarity.json")) == N_TEST - 1
    left_out = load(exp / "baselines.json")["baselines"]["stoi"]["left_out"]
    assert left_out == {"dev": [], "test": ["S20000_L0001_E001"]}
    monkeypatch.setattr(baselines, "index", quick)
    baselines.run(configure(root, exp, "baselines=[stoi]"))
    assert len(computed) == N_DEV + N_TEST


@pytest.mark.parametrize("asked", ["[]", "[pesq]", "stoi", "[stoi,stoi]", "5"])
def test_what_is_no_list_of_baselines(prepared, refused, asked):
    root, exp = prepared
    message = refused(baselines.run, configure(root, exp, f"baselines={asked}"))
    assert "expected a list of mbstoi, haspi, stoi, estoi" in message


def test_a_package_that_is_not_installed(prepared, refused, monkeypatch):
    def version(name):
        raise importlib.metadata.PackageNotFoundError(name)

    root, exp = prepared
    cfg = configure(root, exp, "baselines=[haspi]")
    with monkeypatch.context() as patch:
        patch.setattr(baselines, "version", version)
        message = refused(baselines.run, cfg)
    assert "HASPI needs pyclarity" in message
    assert "pip install --no-deps -r requirements-baselines.txt" in message


def test_before_prepare_data_and_without_the_release(prepared, computed, refused):
    root, exp = prepared
    next(root.rglob("S20000_target_anechoic.wav")).unlink()
    message = refused(baselines.run, configure(root, exp, "baselines=[stoi]"))
    assert "S20000_target_anechoic.wav: No such file" in message
    assert "where prepare_data.py found it" in message
    (exp / "data_split/scene_dev_list.json").unlink()
    assert "run prepare_data.py first" in refused(baselines.run, configure(root, exp))
    (exp / "presentations.json").unlink()
    assert "run prepare_data.py first" in refused(baselines.run, configure(root, exp))


def test_from_a_terminal_with_two_processes(prepared):
    root, exp = prepared
    done = run_script(
        "baselines.py", f"path.root='{root}'", f"path.exp_folder='{exp}'", "n_jobs=2",
        "baselines=[stoi]",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "8 of 8" in done.stderr or "Wrote stoi of 8 signals" in done.stderr
    values = load(exp / "dev_stoi_similarity.json").values()
    assert all(-0.2 < value < 1 for value in values)
