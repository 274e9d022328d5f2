import json
import os
import random
import shutil
import subprocess
import sys

import pytest
import torch

from intelligibility.runs import (
    RECIPE,
    RecipeError,
    atomic_folder,
    atomic_path,
    file_stamp,
    listed,
    pick_device,
    read_json,
    sha256_of,
    write_json,
    write_result,
)
from intelligibility.work import shard_of


def test_a_file_gets_its_name_only_when_whole(tmp_path):
    target = tmp_path / "new folder" / "x.wav"
    with atomic_path(target) as part:
        part.write_text("whole")
        assert not target.exists()
        assert part.parent == target.parent and part.suffix == ".wav"
    assert target.read_text() == "whole"


def test_an_error_leaves_the_old_file_and_no_other(tmp_path):
    target = tmp_path / "x.json"
    target.write_text("old")
    with pytest.raises(OSError, match="disk"), atomic_path(target) as part:
        part.write_text("half")
        raise OSError("disk full")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_equal_json_is_not_written_again(tmp_path):
    target = tmp_path / "x.json"
    write_json(target, {"a": 1})
    os.utime(target, ns=(1, 1))
    write_json(target, {"a": 1})
    assert target.stat().st_mtime_ns == 1
    write_json(target, {"a": 2})
    assert target.stat().st_mtime_ns != 1


def test_a_result_keeps_its_time_until_its_numbers_change(tmp_path):
    target = tmp_path / "results.json"
    first = write_result(target, {"RMSE": 1.0, "provenance": {"seed": 1, "time": "monday"}})
    before = target.read_bytes()
    again = write_result(target, {"RMSE": 1.0, "provenance": {"seed": 1, "time": "tuesday"}})
    assert again == first
    assert target.read_bytes() == before
    write_result(target, {"RMSE": 2.0, "provenance": {"seed": 1, "time": "tuesday"}})
    assert json.loads(target.read_text())["provenance"]["time"] == "tuesday"


@pytest.mark.parametrize("text", ["", "{", "[" * 100000, '"\\ud800', "\x00"])
def test_damaged_json_is_named(tmp_path, text):
    target = tmp_path / "CPC1.train.json"
    target.write_text(text)
    with pytest.raises(RecipeError, match="CPC1.train.json"):
        read_json(target, list)


def test_json_of_another_type_is_named(tmp_path):
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(RecipeError, match="dict, expected a list"):
        read_json(tmp_path / "a.json", list)
    with pytest.raises(RecipeError, match="no such file"):
        read_json(tmp_path / "b.json")


def test_json_of_absurd_size_is_refused_unread(tmp_path):
    with (tmp_path / "a.json").open("wb") as stream:
        stream.truncate(10**12)
    with pytest.raises(RecipeError, match="1000000 MB of json where at most 500 MB"):
        read_json(tmp_path / "a.json")


def test_devices():
    assert pick_device("cpu").type == "cpu"
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(RecipeError, match="device=tpu"):
        pick_device("tpu")
    if not torch.cuda.is_available():
        with pytest.raises(RecipeError, match="no GPU"):
            pick_device("cuda")


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
    with pytest.raises(RecipeError, match=f"shard={n_shards} n_shards={n_shards}: expected 0 to"):
        shard_of(durations, n_shards, n_shards)


def test_sha256_is_of_all_files_in_order(tmp_path):
    (tmp_path / "a").write_bytes(b"ab")
    (tmp_path / "b").write_bytes(b"c")
    abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_of([tmp_path / "a", tmp_path / "b"]) == abc
    assert sha256_of([tmp_path / "b", tmp_path / "a"]) != abc


def test_long_lists_are_cut():
    assert listed(["a", "b"], 2) == "a; b"
    assert listed(list("abcde"), 2) == "a; b and 3 more"


def test_what_a_notebook_takes_loads_neither_hydra_nor_torch():
    code = (
        "import sys, intelligibility.runs; print({'hydra', 'omegaconf', 'torch'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=RECIPE)
    assert done.stdout.strip() == "set()", done.stdout + done.stderr


def test_a_file_is_known_by_what_is_in_it(tmp_path):
    path, copy = tmp_path / "a.wav", tmp_path / "b.wav"
    content = bytearray(range(256)) * 200
    path.write_bytes(content)
    shutil.copyfile(path, copy)
    os.utime(copy, (0, 0))
    stamp = file_stamp(path)
    assert file_stamp(copy) == stamp
    assert stamp == json.loads(json.dumps(stamp))  # as it comes back from a journal
    for place in (0, 100, len(content) // 2, len(content) - 1):
        changed = bytearray(content)
        changed[place] ^= 1
        copy.write_bytes(changed)
        assert file_stamp(copy) != stamp
    copy.write_bytes(content + b"x")
    assert file_stamp(copy) != stamp
    copy.write_bytes(b"")
    assert file_stamp(copy)[0] == 0


def test_a_folder_is_whole_or_absent(tmp_path):
    folder = tmp_path / "made" / "folder"
    with atomic_folder(folder) as part:
        (part / "old").write_text("old")
        assert not folder.exists()
    with pytest.raises(OSError, match="full"), atomic_folder(folder) as part:
        raise OSError("full")
    assert [path.name for path in folder.iterdir()] == ["old"]
    (folder.parent / ".folder.123.part").mkdir()  # of a killed run
    with atomic_folder(folder) as part:
        (part / "new").write_text("new")
    assert [path.name for path in folder.iterdir()] == ["new"]
    assert list(folder.parent.iterdir()) == [folder]
