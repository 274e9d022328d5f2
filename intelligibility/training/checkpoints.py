"""Checkpoints that are whole or absent, whatever stops the run."""

import logging
import pickle
import shutil
import time
import uuid
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from speechbrain.utils.checkpoints import Checkpoint, Checkpointer, ckpt_recency
from speechbrain.utils.distributed import ddp_barrier, if_main_process

from intelligibility.experiment import SaveFolder
from intelligibility.recognisers.checkpoints import (
    OURS,
    check_one_training,
    is_ours,
    read_checkpoints,
    training_of,
)
from intelligibility.runs import RecipeError

logger = logging.getLogger(__name__)

LOADING_FAILS = (
    *(OSError, EOFError, RuntimeError, ValueError, KeyError, TypeError, AttributeError),
    *(pickle.UnpicklingError, yaml.YAMLError),
)


class WholeCheckpointer(Checkpointer):
    """SpeechBrain's checkpointer, but a folder called CKPT+... is always a whole checkpoint.

    SpeechBrain writes the meta file first and deletes file by file, so a run killed in between
    leaves a folder that is taken for a checkpoint and cannot be loaded. Here both happen under
    another name. Each training has an id, and deletes only checkpoints that bear it.

    `n_latest` is how many of the last epochs' checkpoints are kept beside the best one.
    """

    checkpoints_dir: Path

    def __init__(self, *args: Any, n_latest: int = 1, **options: Any) -> None:
        super().__init__(*args, **options)
        self.n_latest = n_latest

    @property
    def files(self) -> SaveFolder:
        """What lies beside the checkpoints."""
        return SaveFolder(self.checkpoints_dir)

    @cached_property
    def training(self) -> dict[str, Any]:
        """Return what each checkpoint of this training bears: its id, and what it started from."""
        found = self.find_checkpoint()
        if found is not None and is_ours(found):
            return {key: found.meta[key] for key in ("training", "start") if key in found.meta}
        starts = sorted(checkpoint.path.name for checkpoint in self.list_checkpoints())
        return {"training": uuid.uuid4().hex[:12], "start": starts}

    def save_checkpoint(
        self,
        meta: dict[str, Any] | None = None,
        end_of_epoch: bool = True,
        name: str | None = None,
        verbosity: int = logging.INFO,
    ) -> Checkpoint | None:
        """Save all recoverables. Every process calls this; the main one writes.

        When the disk is full, earlier checkpoints stay as they were.
        """
        folder, part = self.checkpoints_dir, self.files.part
        name = name or _free_name(folder)
        self.checkpoints_dir = part
        try:
            if if_main_process():
                shutil.rmtree(part, ignore_errors=True)
            saved = super().save_checkpoint(meta or {}, end_of_epoch, name, logging.DEBUG)
            if saved is not None:
                whole = saved.path.rename(folder / saved.path.name)
                files = {key: whole / path.name for key, path in saved.paramfiles.items()}
                saved = Checkpoint(whole, saved.meta, files)
                logger.debug("saved %s", saved.path)
        except (OSError, RuntimeError) as error:  # torch.save reports a full disk as a RuntimeError
            shutil.rmtree(part, ignore_errors=True)
            raise RecipeError(
                f"{folder}: the checkpoint could not be written ({error}); "
                "earlier ones are whole: make room on the disk and start again"
            ) from error
        finally:
            self.checkpoints_dir = folder
        ddp_barrier()
        return saved

    def save_and_keep_only(
        self, meta: dict[str, Any] | None = None, end_of_epoch: bool = True, **_: Any
    ) -> Checkpoint | None:
        """Save, then keep the best and the latest, whatever else SpeechBrain's Brain would keep."""
        saved = self.save_checkpoint((meta or {}) | OURS | self.training, end_of_epoch)
        self.keep_best_and_latest()
        return saved

    def keep_best_and_latest(self) -> None:
        """Delete all but the checkpoint of the best accuracy, the last epochs' and the newest.

        The start, which this training did not write, is no candidate: its accuracy was measured on
        other data, and a published average is marked with an accuracy of 1.1. It moves to start/
        beside save/, because the recogniser used afterwards is the average of all in save/.
        """
        if if_main_process():  # no process lists the folder while another changes it
            self._sort_out(self.list_checkpoints())
        ddp_barrier()

    def _sort_out(self, checkpoints: list[Checkpoint]) -> None:
        training, start = self.training.get("training"), self.training.get("start", ())
        mine = [one for one in checkpoints if is_ours(one) and training_of(one) == training]
        epochs = [found for found in mine if found.meta["end-of-epoch"]]
        kept = [max(mine, key=ckpt_recency)] if mine else checkpoints
        if epochs:
            latest = sorted(epochs, key=ckpt_recency)[-self.n_latest :]
            kept += [*latest, max(epochs, key=lambda one: (one.meta["ACC"], one.meta["unixtime"]))]
        for checkpoint in checkpoints:
            if checkpoint in kept:
                continue
            if checkpoint in mine:
                shutil.rmtree(_move(checkpoint.path, self.files.part))
            elif checkpoint.path.name in start:
                _move(checkpoint.path, self.files.start)
        shutil.rmtree(self.files.part, ignore_errors=True)

    def goes_on(self) -> bool:
        """Return whether the latest checkpoint is this training's own, and no start."""
        found = self.find_checkpoint()
        return found is not None and is_ours(found)

    def check_one_training(self) -> None:
        """Refuse checkpoints of several trainings; this one's start may still lie beside it."""
        found = self.list_checkpoints()
        starts = {name for checkpoint in found for name in checkpoint.meta.get("start", ())}
        mine = [checkpoint for checkpoint in found if checkpoint.path.name not in starts]
        check_one_training(mine or found)

    def list_checkpoints(self) -> list[Checkpoint]:
        """List the checkpoints that hold at least model, normaliser and the two counters."""
        needed = {"model", "normalizer", "noam_scheduler", "counter"}
        whole = []
        for checkpoint in read_checkpoints(self.checkpoints_dir):
            if missing := needed - set(checkpoint.paramfiles):
                logger.warning("%s is passed over: no %s.ckpt", checkpoint.path, min(missing))
            else:
                whole.append(checkpoint)
        return whole

    def load_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Load a checkpoint strictly: files are whole, and the sizes are those of the settings."""
        try:
            super().load_checkpoint(checkpoint)
        except LOADING_FAILS as error:
            raise RecipeError(
                f"{checkpoint.path} cannot be loaded: {str(error):.600}\n"
                "If its sizes are not those of the settings, correct asr_overrides; "
                "if it is damaged, move it away to go on without it"
            ) from error


def _free_name(folder: Path) -> str:
    stamp, number = time.strftime("%Y-%m-%d+%H-%M-%S"), 0
    while (folder / f"CKPT+{stamp}+{number:02d}").exists():
        number += 1
    return f"{stamp}+{number:02d}"


def _move(path: Path, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    target, number = folder / path.name, 1
    while target.exists():  # of an earlier training, which stays
        target, number = folder / f"{path.name}.{number}", number + 1
    return path.rename(target)
