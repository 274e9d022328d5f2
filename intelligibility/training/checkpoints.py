"""Checkpoints that are whole or absent, whatever stops the run."""

import logging
import pickle
import shutil
import time
from pathlib import Path
from typing import Any

from speechbrain.utils.checkpoints import Checkpoint, Checkpointer, ckpt_recency
from speechbrain.utils.distributed import ddp_barrier, if_main_process

from intelligibility.runs import RecipeError

logger = logging.getLogger(__name__)

PART = ".part"  # the folder where checkpoints are written and deleted, inside save/
OURS = {"trained_by": "train_asr.py"}


class WholeCheckpointer(Checkpointer):
    """SpeechBrain's checkpointer, but a folder called CKPT+... is always a whole checkpoint.

    SpeechBrain writes the meta file first and deletes file by file, so a run killed in between
    leaves a folder that is taken for a checkpoint and cannot be loaded. Here both happen under
    another name.
    """

    def save_checkpoint(
        self,
        meta: dict[str, Any] | None = None,
        end_of_epoch: bool = True,
        name: str | None = None,
        verbosity: int = logging.INFO,
    ) -> Checkpoint | None:
        """Save all recoverables. Every process calls this; the main one writes.

        Raises
        ------
        RecipeError
            The disk is full or refuses. Earlier checkpoints are as they were.
        """
        folder, part = self.checkpoints_dir, self.checkpoints_dir / PART
        name = name or _free_name(folder)
        self.checkpoints_dir = part
        try:
            if if_main_process():
                shutil.rmtree(part, ignore_errors=True)
            saved = super().save_checkpoint(meta or {}, end_of_epoch, name, logging.DEBUG)
            if saved is not None:
                saved = Checkpoint(
                    saved.path.rename(folder / saved.path.name),
                    saved.meta,
                    {
                        key: folder / saved.path.name / path.name
                        for key, path in saved.paramfiles.items()
                    },
                )
                logger.log(verbosity, "saved %s", saved.path)
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
        saved = self.save_checkpoint((meta or {}) | OURS, end_of_epoch)
        self.keep_best_and_latest()
        return saved

    def keep_best_and_latest(self) -> None:
        """Delete all but the checkpoint of the best accuracy, the last epoch's and the newest.

        The start, which this training did not write, is no candidate: its accuracy was measured on
        other data, and a published average is marked with an accuracy of 1.1. It moves to start/
        beside save/, because the recogniser used afterwards is the average of all in save/.
        """
        if if_main_process():  # no process lists the folder while another changes it
            self._sort_out(self.list_checkpoints())
        ddp_barrier()

    def _sort_out(self, checkpoints: list[Checkpoint]) -> None:
        ours = [found for found in checkpoints if OURS.items() <= found.meta.items()]
        epochs = [found for found in ours if found.meta["end-of-epoch"]]
        kept = [max(ours, key=ckpt_recency)] if ours else checkpoints
        if epochs:
            kept += [max(epochs, key=ckpt_recency), max(epochs, key=_accuracy)]
        for checkpoint in checkpoints:
            if checkpoint in kept:
                continue
            if checkpoint in ours:
                shutil.rmtree(_move(checkpoint.path, self.checkpoints_dir / PART))
            else:
                _move(checkpoint.path, self.checkpoints_dir.parent / "start")
        shutil.rmtree(self.checkpoints_dir / PART, ignore_errors=True)

    def goes_on(self) -> bool:
        """Say whether the latest checkpoint is this training's own, and no start."""
        found = self.find_checkpoint()
        return found is not None and OURS.items() <= found.meta.items()

    def list_checkpoints(self) -> list[Checkpoint]:
        """List the checkpoints that hold at least model, normaliser and the two counters."""
        needed = {"model", "normalizer", "noam_scheduler", "counter"}
        whole = []
        for checkpoint in super().list_checkpoints():
            if missing := needed - set(checkpoint.paramfiles):
                logger.warning("%s is passed over: no %s.ckpt", checkpoint.path, min(missing))
            else:
                whole.append(checkpoint)
        return whole

    def load_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Load a checkpoint strictly.

        Raises
        ------
        RecipeError
            A file is damaged, or the model has other sizes than the settings say.
        """
        try:
            super().load_checkpoint(checkpoint)
        except (
            OSError,
            EOFError,
            RuntimeError,
            ValueError,
            KeyError,
            pickle.UnpicklingError,
        ) as error:
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


def _accuracy(checkpoint: Checkpoint) -> tuple[float, float]:
    return checkpoint.meta["ACC"], checkpoint.meta["unixtime"]


def _move(path: Path, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return path.rename(folder / path.name)
