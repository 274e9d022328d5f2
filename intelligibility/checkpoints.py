"""Checkpoints that are whole or absent, whatever stops the run."""

import logging
import shutil
from pathlib import Path
from typing import Any

from speechbrain.utils.checkpoints import METAFNAME, Checkpoint, Checkpointer
from speechbrain.utils.distributed import ddp_barrier, ddp_broadcast, if_main_process

from intelligibility.runs import RecipeError

PART = "PART+"  # SpeechBrain lists folders called CKPT+... only


class WholeCheckpointer(Checkpointer):
    """SpeechBrain's checkpointer, writing under a temporary name and renaming at the end.

    SpeechBrain writes the meta file first, so a run killed in between leaves a folder that looks like the
    latest checkpoint and cannot be loaded.
    """

    def save_checkpoint(
        self,
        meta: dict[str, Any] | None = None,
        end_of_epoch: bool = True,
        name: str | None = None,
        verbosity: int = logging.INFO,
    ) -> Checkpoint | None:
        """Save all recoverables; every process calls this, the main one writes.

        Raises
        ------
        RecipeError
            The disk is full or refuses; earlier checkpoints are untouched.
        """
        folder = self.checkpoints_dir
        final = ddp_broadcast(str(self._custom_checkpoint_dirpath(name) if name else self._new_checkpoint_dirpath()))
        return None
