"""Checkpoints are whole or absent: on a full disk, after a kill, and when others are damaged."""

import re
import resource
import shutil

import pytest
import torch
import yaml
from speechbrain.processing.features import InputNormalization
from speechbrain.utils.checkpoints import Checkpointer
from speechbrain.utils.epoch_loop import EpochCounter

from intelligibility.recognisers.checkpoints import training_of
from intelligibility.runs import RecipeError
from intelligibility.training.checkpoints import WholeCheckpointer
from tests.conftest import contents


@pytest.fixture
def checkpointer(tmp_path):
    """Return a checkpointer of a layer of 4 MB."""
    model, normaliser = torch.nn.Linear(1000, 1000), InputNormalization()
    recoverables = {"model": model, "normalizer": normaliser}
    counters = {"noam_scheduler": EpochCounter(9), "counter": EpochCounter(9)}
    return WholeCheckpointer(tmp_path / "save", recoverables | counters)


def names(checkpointer):
    return sorted(path.name for path in checkpointer.checkpoints_dir.iterdir())


def save(checkpointer, accuracy):
    return checkpointer.save_and_keep_only({"ACC": accuracy})


@pytest.mark.parametrize(
    "n_latest, accuracies, kept",
    [
        (1, (0.2, 0.6, 0.5, 0.4), (1, 3)),
        (1, (0.5, 0.5), (1,)),
        (2, (0.6, 0.2, 0.5, 0.4), (0, 2, 3)),
    ],
    ids=["two", "of equals the later", "the last two"],
)
def test_keeps_best_and_latest(checkpointer, n_latest, accuracies, kept):
    checkpointer.n_latest = n_latest
    saved = [save(checkpointer, accuracy).path.name for accuracy in accuracies]
    assert names(checkpointer) == sorted(saved[number] for number in kept)


def test_within_an_epoch_the_last_epoch_stays(checkpointer):
    saved = [save(checkpointer, accuracy).path for accuracy in (0.6, 0.5)]
    first = checkpointer.save_and_keep_only(end_of_epoch=False, num_to_keep=1).path
    second = checkpointer.save_and_keep_only(end_of_epoch=False, num_to_keep=1).path
    assert names(checkpointer) == sorted([*(path.name for path in saved), second.name])
    assert first != second and checkpointer.find_checkpoint().path == second


def test_a_start_is_moved_not_deleted_and_never_the_best(checkpointer):
    start = checkpointer.save_checkpoint({"ACC": 1.1}).path
    checkpointer.keep_best_and_latest()
    assert names(checkpointer) == [start.name]
    ours = save(checkpointer, 0.1).path
    assert names(checkpointer) == [ours.name]
    assert (checkpointer.checkpoints_dir.parent / "start" / start.name / "model.ckpt").is_file()


def test_a_start_of_an_earlier_training_is_not_overwritten(checkpointer):
    start = checkpointer.save_checkpoint({"ACC": 1.1}).path
    there = checkpointer.checkpoints_dir.parent / "start" / start.name
    there.mkdir(parents=True)
    (there / "model.ckpt").write_text("another")
    save(checkpointer, 0.1)
    assert (there / "model.ckpt").read_text() == "another"
    assert (there.with_name(f"{start.name}.1") / "model.ckpt").is_file()


def again(checkpointer):
    """Return the checkpointer of a later run in the same folder."""
    return WholeCheckpointer(checkpointer.checkpoints_dir, checkpointer.recoverables)


def test_a_training_has_one_id_over_all_its_runs(checkpointer):
    first = save(checkpointer, 0.5)
    second = save(again(checkpointer), 0.6)
    assert training_of(first) == training_of(second) and len(training_of(first)) == 12
    again(checkpointer).check_one_training()


def test_another_trainings_checkpoints_are_refused_and_stay(checkpointer, tmp_path):
    stranger = WholeCheckpointer(tmp_path / "other/save", checkpointer.recoverables)
    save(checkpointer, 0.5)
    theirs = shutil.copytree(
        save(stranger, 0.9).path, checkpointer.checkpoints_dir / "CKPT+2020-01-01+00-00-00+00"
    )
    latest = [save(checkpointer, accuracy).path for accuracy in (0.6, 0.7)][-1]
    assert names(checkpointer) == [theirs.name, latest.name]
    named = f"several trainings.*{re.escape(theirs.name)} from training"
    with pytest.raises(RecipeError, match=named):
        checkpointer.check_one_training()


def test_a_start_may_lie_beside_its_training_but_no_other_may(checkpointer):
    start = checkpointer.save_checkpoint({"ACC": 1.1}).path
    save(checkpointer, 0.5)
    kept = checkpointer.checkpoints_dir.parent / "start" / start.name
    kept.rename(checkpointer.checkpoints_dir / start.name)  # as a kill leaves it
    again(checkpointer).check_one_training()
    (checkpointer.checkpoints_dir / start.name).rename(start.with_name("CKPT+foreign"))
    with pytest.raises(RecipeError, match="CKPT.foreign from elsewhere"):
        again(checkpointer).check_one_training()


def test_a_full_disk_leaves_the_previous_checkpoint_whole(checkpointer):
    before = save(checkpointer, 0.5).path
    content = contents(before)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))  # a file of 4 MB does not fit
    try:
        with pytest.raises(RecipeError, match="could not be written.*make room on the disk"):
            save(checkpointer, 0.9)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert names(checkpointer) == [before.name]
    assert contents(before) == content
    assert save(checkpointer, 0.9)


def test_a_folder_without_all_its_files_is_passed_over(checkpointer):
    whole = save(checkpointer, 0.5).path
    half = shutil.copytree(whole, whole.with_name("CKPT+2199-01-01+00-00-00+00"))
    meta = yaml.safe_load((half / "CKPT.yaml").read_text()) | {"unixtime": 7e9}
    (half / "CKPT.yaml").write_text(yaml.dump(meta))
    assert checkpointer.find_checkpoint().path == half
    (half / "model.ckpt").unlink()
    assert checkpointer.find_checkpoint().path == whole
    assert Checkpointer(checkpointer.checkpoints_dir).find_checkpoint().path == half


def test_weights_come_back_and_damaged_ones_are_named(checkpointer):
    model = checkpointer.recoverables["model"]
    weights = model.weight.detach().clone()
    saved = save(checkpointer, 0.5)
    torch.nn.init.zeros_(model.weight)
    checkpointer.recover_if_possible()
    assert torch.equal(model.weight, weights)
    (saved.path / "model.ckpt").write_bytes(b"half")
    with pytest.raises(RecipeError, match="CKPT.* cannot be loaded"):
        checkpointer.recover_if_possible()
