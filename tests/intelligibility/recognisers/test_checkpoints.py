"""Checkpoints are read with care: what is garbled is named, and no average is of two trainings."""

import pytest
import yaml

from intelligibility.recognisers.checkpoints import (
    OURS,
    check_one_training,
    epoch_of,
    read_checkpoints,
)
from intelligibility.runs import RecipeError


def make(save_folder, name, unixtime=1e9, **meta):
    folder = save_folder / f"CKPT+{name}"
    folder.mkdir(parents=True)
    content = {"unixtime": unixtime, "end-of-epoch": True, "ACC": 0.5} | meta
    (folder / "CKPT.yaml").write_text(yaml.dump(content))
    (folder / "counter.ckpt").write_text("7")
    return folder


def test_lists_the_latest_first(tmp_path):
    names = ["b", "c", "a"]
    made = [make(tmp_path, name, 1e9 + number) for number, name in enumerate(names)]
    (tmp_path / "tokenizer.ckpt").write_text("")
    (tmp_path / ".part/CKPT+d").mkdir(parents=True)
    assert [found.path for found in read_checkpoints(tmp_path)] == made[::-1]
    assert epoch_of(read_checkpoints(tmp_path)[0]) == 7
    assert read_checkpoints(tmp_path / "none") == []


@pytest.mark.parametrize(
    "content, reason",
    [
        ("{ACC: [0.5", "while parsing"),
        ("ACC 0.5", "holds a str"),
        ("", "holds a NoneType"),
        ("end-of-epoch: true", "unixtime is None"),
        ("{end-of-epoch: 1, unixtime: 1.0}", "end-of-epoch is 1"),
        ("{end-of-epoch: true, unixtime: 1.0, trained_by: train_asr.py}", "ACC is None"),
        ("{end-of-epoch: true, unixtime: .nan}", "unixtime is nan"),
        ("{end-of-epoch: true, unixtime: 1.0, training: [1, 2]}", r"training is \[1, 2\]"),
        ("\x00\xff", "unacceptable character"),
    ],
)
def test_a_garbled_meta_file_is_named(tmp_path, content, reason):
    meta = make(tmp_path, "a") / "CKPT.yaml"
    meta.write_text(content)
    with pytest.raises(RecipeError, match=rf"CKPT.a/CKPT.yaml: cannot be read \({reason}"):
        read_checkpoints(tmp_path)


@pytest.mark.parametrize("content", [b"", b"nine", b"\xff\xfe", b"7.5"])
def test_a_garbled_epoch_is_named(tmp_path, content):
    (make(tmp_path, "a") / "counter.ckpt").write_bytes(content)
    with pytest.raises(RecipeError, match="CKPT.a/counter.ckpt: holds no epoch"):
        epoch_of(read_checkpoints(tmp_path)[0])


@pytest.mark.parametrize(
    "metas, named",
    [
        ([{}, {}], None),  # published: an average of many
        ([OURS, OURS], None),  # of a version without ids
        ([OURS | {"training": "12"}] * 2, None),
        ([OURS | {"training": "12"}, {}], "elsewhere"),
        ([OURS | {"training": "12"}, OURS], "train_asr.py"),
        ([OURS | {"training": "12"}, OURS | {"training": "34"}], "training 34"),
    ],
)
def test_several_trainings_are_named(tmp_path, metas, named):
    for name, meta in zip("ab", metas, strict=True):
        make(tmp_path, name, **meta)
    if named is None:
        check_one_training(read_checkpoints(tmp_path))
    else:
        message = rf"CKPT.a from training 12; CKPT.b from {named}; leave"
        with pytest.raises(RecipeError, match=message):
            check_one_training(read_checkpoints(tmp_path))
