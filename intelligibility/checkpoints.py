"""Checkpoints that are whole or absent."""

import shutil
from pathlib import Path
from typing import Any

from speechbrain.utils.checkpoints import Checkpoint, Checkpointer


class WholeCheckpointer(Checkpointer):
    pass
