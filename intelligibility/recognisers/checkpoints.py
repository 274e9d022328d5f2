"""Checkpoint folders as SpeechBrain writes them: which there are, and of which training."""

import math
from collections.abc import Iterable
from pathlib import Path

import yaml
from speechbrain.utils.checkpoints import Checkpoint, Checkpointer

from intelligibility.runs import RecipeError, listed

OURS = {"trained_by": "train_asr.py"}  # in the meta file of every checkpoint of train_asr.py


def read_checkpoints(save_folder: str | Path) -> list[Checkpoint]:
    """List the checkpoints of a folder, the latest first; each has a readable meta file."""
    metas = sorted(Path(save_folder).glob("CKPT*/CKPT.yaml"))
    checkpoints = [_read_checkpoint(meta) for meta in metas]
    return sorted(checkpoints, key=lambda found: found.meta["unixtime"], reverse=True)


def _read_checkpoint(meta_file: Path) -> Checkpoint:
    try:
        (checkpoint,) = Checkpointer._construct_checkpoint_objects([meta_file.parent])
        meta = checkpoint.meta
        if not isinstance(meta, dict):
            raise ValueError(f"holds a {type(meta).__name__}, expected settings by name")
        expected = {"unixtime": int | float, "end-of-epoch": bool}
        if is_ours(checkpoint) and meta.get("end-of-epoch"):
            expected |= {"ACC": int | float}
        for key, kind in expected.items():
            if not isinstance(meta.get(key), kind) or not math.isfinite(meta[key]):
                raise ValueError(f"{key} is {meta.get(key)!r:.60}")
        if not isinstance(training_of(checkpoint), str | None):
            raise ValueError(f"training is {training_of(checkpoint)!r:.60}")
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise RecipeError(
            f"{meta_file}: cannot be read ({reason:.200}); restore it, or move its folder away to "
            "go on without this checkpoint"
        ) from None
    return checkpoint


def is_ours(checkpoint: Checkpoint) -> bool:
    """Return whether train_asr.py wrote a checkpoint; any other is a start, or was put there."""
    return OURS.items() <= checkpoint.meta.items()


def training_of(checkpoint: Checkpoint) -> str | None:
    """Return the id of the training that wrote a checkpoint; SpeechBrain 0.5.x gave none."""
    return checkpoint.meta.get("training")


def epoch_of(checkpoint: Checkpoint) -> int:
    """Return the epoch that a checkpoint stands at."""
    path = Path(checkpoint.paramfiles["counter"])
    try:
        return int(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecipeError(
            f"{path}: holds no epoch ({error}); restore it, or move its folder away to go on "
            "without this checkpoint"
        ) from None


def _source_of(checkpoint: Checkpoint) -> str:
    if training := training_of(checkpoint):
        return f"training {training}"
    return "train_asr.py" if is_ours(checkpoint) else "elsewhere"


def check_one_training(checkpoints: Iterable[Checkpoint]) -> None:
    """Refuse checkpoints of several trainings: their average would be no recogniser."""
    source = {found.path: _source_of(found) for found in checkpoints}
    if len(set(source.values())) > 1:
        named = [f"{path.name} from {where}" for path, where in sorted(source.items())]
        raise RecipeError(
            f"{min(source).parent}: checkpoints of several trainings, whose average would be no "
            f"recogniser: {listed(named)}; leave those of one here, and move the others away"
        )
