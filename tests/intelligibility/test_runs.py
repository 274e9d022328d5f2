import json
import os
import random
import shutil
import subprocess
import sys

import pytest
import torch

from intelligibility import runs
from intelligibility.work import shard_of


def test_a_file_gets_its_name_only_when_whole(tmp_path):
    """An error leaves the old file and no other."""
    target = tmp_path / "new folder" / "x.wav"
    with runs.atomic_path(target) as part:
        part.write_text("whole")
        assert not target.exists()
        assert part.parent == target.parent and part.suffix == ".wav"
    with pytest.raises(OSError, match="disk"), runs.atomic_path(target) as part:
        part.write_text("half")
        raise OSError("disk full")
    assert target.read_text() == "whole"
    assert list(target.parent.iterdir()) == [target]


def test_equal_json_is_not_written_again_and_keeps_its_time(tmp_path):
    target = tmp_path / "results.json"

    def write(rmse, time):
        result = {"RMSE": rmse, "provenance": {"seed": 1, "time": time}}
        return runs.write_result(target, result), target.stat().st_mtime_ns

    first, _ = write(1.0, "monday")
    os.utime(target, ns=(1, 1))
    assert write(1.0, "tuesday") == (first, 1)
    runs.write_json(target, first)
    assert target.stat().st_mtime_ns == 1
    assert write(2.0, "tuesday")[1] != 1
    assert json.loads(target.read_text())["provenance"]["time"] == "tuesday"


@pytest.mark.parametrize("text", ["", "{", "[" * 100000, '"\\ud800', "\x00"])
def test_damaged_json_is_named(tmp_path, text):
    target = tmp_path / "CPC1.train.json"
    target.write_text(text)
    with pytest.raises(runs.RecipeError, match="CPC1.train.json"):
        runs.read_json(target, list)


def test_json_that_cannot_be_used_is_named(tmp_path):
    (tmp_path / "a.json").write_text("{}")
    with (tmp_path / "large.json").open("wb") as stream:
        stream.truncate(10**12)
    for name, message in (
        ("a.json", "dict, expected a list"),
        ("b.json", "no such file"),
        ("large.json", "1000000 MB where at most 500 MB"),  # refused unread
    ):
        with pytest.raises(runs.RecipeError, match=message):
            runs.read_json(tmp_path / name, list)


def test_devices():
    has_gpu = torch.cuda.is_available()
    assert runs.pick_device("cpu").type == "cpu"
    assert runs.pick_device("auto").type == ("cuda" if has_gpu else "cpu")
    for name, message in (("tpu", "device=tpu"), *([] if has_gpu else [("cuda", "no GPU")])):
        with pytest.raises(runs.RecipeError, match=message):
            runs.pick_device(name)


def test_a_gpu_that_is_not_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert runs.pick_device("cuda:0").index == 0
    with pytest.raises(
        runs.RecipeError, match="device=cuda:1, but the last GPU that torch sees is cuda:0"
    ):
        runs.pick_device("cuda:1")


@pytest.mark.parametrize("n_shards", [1, 7, 300])
def test_shards_have_every_name_once_and_last_about_as_long(n_shards):
    rng = random.Random(n_shards)
    durations = {f"S{n:03d}": rng.uniform(3, 9) for n in range(200)}
    parts = [shard_of(durations, shard, n_shards) for shard in range(n_shards)]
    assert sorted(name for part in parts for name in part) == sorted(durations)
    loads = [sum(durations[name] for name in part) for part in parts]
    assert max(loads) - min(loads) <= max(durations.values())
    shuffled = dict(rng.sample(sorted(durations.items()), len(durations)))
    assert shard_of(shuffled, 0, n_shards) == parts[0]
    with pytest.raises(
        runs.RecipeError, match=f"shard={n_shards} n_shards={n_shards}: expected 0 to"
    ):
        shard_of(durations, n_shards, n_shards)


def test_sha256_is_of_all_files_in_order(tmp_path):
    (tmp_path / "a").write_bytes(b"ab")
    (tmp_path / "b").write_bytes(b"c")
    abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert runs.sha256_of([tmp_path / "a", tmp_path / "b"]) == abc
    assert runs.sha256_of([tmp_path / "b", tmp_path / "a"]) != abc


def test_long_lists_are_cut():
    assert runs.listed(["a", "b"], 2) == "a; b"
    assert runs.listed(list("abcde"), 2) == "a; b and 3 more"


def test_what_a_notebook_takes_loads_neither_hydra_nor_torch():
    code = (
        "import sys, intelligibility.runs; print({'hydra', 'omegaconf', 'torch'} & {*sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=runs.RECIPE
    )
    assert done.stdout.strip() == "set()", done.stdout + done.stderr


def test_a_file_is_known_by_what_is_in_it(tmp_path):
    path, copy = tmp_path / "a.wav", tmp_path / "b.wav"
    content = bytearray(range(256)) * 200
    path.write_bytes(content)
    shutil.copyfile(path, copy)
    os.utime(copy, (0, 0))
    stamp = runs.file_stamp(path)
    assert runs.file_stamp(copy) == stamp
    assert stamp == json.loads(json.dumps(stamp))  # as it comes back from a journal
    for place in (0, 100, len(content) // 3, len(content) - 1):
        changed = bytearray(content)
        changed[place] ^= 1
        copy.write_bytes(changed)
        assert runs.file_stamp(copy) != stamp
    copy.write_bytes(content + b"x")
    assert runs.file_stamp(copy) != stamp
    copy.write_bytes(b"")
    assert runs.file_stamp(copy)[0] == 0


def test_a_folder_is_whole_or_absent(tmp_path):
    folder = tmp_path / "made" / "folder"
    with runs.atomic_folder(folder) as part:
        (part / "old").write_text("old")
        assert not folder.exists()
    with pytest.raises(OSError, match="full"), runs.atomic_folder(folder) as part:
        raise OSError("full")
    assert [path.name for path in folder.iterdir()] == ["old"]
    (folder.parent / ".folder.123.part").mkdir()  # of a killed run
    with runs.atomic_folder(folder) as part:
        (part / "new").write_text("new")
    assert [path.name for path in folder.iterdir()] == ["new"]
    assert list(folder.parent.iterdir()) == [folder]
