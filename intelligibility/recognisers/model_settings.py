"""The settings that weights were trained with; with others they compute something else."""

import functools
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from intelligibility.experiment import SaveFolder
from intelligibility.runs import RecipeError, listed, read_json

logger = logging.getLogger(__name__)

BLOCKS = (
    *("sample_rate", "n_fft", "n_mels", "cnn_out_channels", "activation", "compute_features"),
    *("normalize", "CNN", "Transformer", "ctc_lin", "seq_lin"),
    *("blank_index", "pad_index", "bos_index", "eos_index"),
)
TRAINING_ONLY = ("dropout", "transformer_dropout", "update_until_epoch")  # of no effect afterwards


def model_settings_of(published: dict[str, Any], resolved: dict[str, Any]) -> dict[str, Any]:
    """Return by name every setting that determines what given weights compute.

    `published` is the settings file, with its references, `resolved` the same with all overrides,
    and values in place of references. Names are as a user gives them: nhead, where a block refers
    to it; Transformer.causal, where it stands in a block alone.
    """
    found: dict[str, Any] = {}
    for block in BLOCKS:
        for path, value, source in _leaves(block, resolved.get(block), published.get(block)):
            if path.rpartition(".")[2] not in TRAINING_ONLY and source not in TRAINING_ONLY:
                name = source if source and found.get(source, value) == value else path
                found[name] = value
    return found


def _leaves(path: str, value: Any, published: Any) -> Iterator[tuple[str, Any, str | None]]:
    """Yield every value of a block, its path, and the setting that the file takes it from."""
    if isinstance(value, dict):
        published = published if isinstance(published, dict) else {}
        for key, inner in value.items():
            yield from _leaves(f"{path}.{key}", inner, published.get(key))
    elif isinstance(published, str) and published.startswith("!ref <"):
        yield path, value, published.removeprefix("!ref <").removesuffix(">")
    else:
        yield path, value, None


def check_model_settings(save_folder: str | Path, settings: dict[str, Any]) -> None:
    """Compare settings with those that the recogniser of a folder was trained with.

    Other settings would fit the same weights, and compute something else. A folder of SpeechBrain
    0.5.x records none; one warning says so.
    """
    path = SaveFolder(Path(save_folder)).model_settings
    if not path.is_file():
        _warn_of_no_record(path)
        return
    trained = read_json(path, dict)
    differ = [
        f"{name} is {now}, trained with {then}"
        for name in trained | settings
        if (now := settings.get(name, "absent")) != (then := trained.get(name, "it absent"))
    ]
    if differ:
        raise RecipeError(
            f"{path}: the recogniser was trained with other settings: {listed(differ)}. Give it "
            "those by asr_overrides or asr_config, or set path.asr_folder to another recogniser"
        )


@functools.cache
def _warn_of_no_record(path: Path) -> None:
    logger.warning(
        "%s is not there: nothing records the settings that this recogniser was trained with; "
        "those of transformer_cpc1.yaml and asr_overrides have to be the same",
        path,
    )
