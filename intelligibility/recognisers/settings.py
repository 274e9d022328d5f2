"""The recogniser's settings: transformer_cpc1.yaml with what config.yaml says about it."""

import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from hyperpyyaml import load_hyperpyyaml, resolve_references
from omegaconf import DictConfig, OmegaConf

from intelligibility.experiment import Experiment
from intelligibility.runs import RECIPE, RecipeError

MODEL_KEYS = (
    *("sample_rate", "n_fft", "n_mels", "cnn_out_channels", "activation", "compute_features"),
    *("normalize", "CNN", "Transformer", "ctc_lin", "seq_lin"),
)
FROM_CONFIG = ("seed", "pretrained", "pretrained_revision", "from_scratch")


def load_settings(cfg: DictConfig, experiment: Experiment) -> dict[str, Any]:
    """Read the recogniser's settings and make the objects that they describe.

    Parameters
    ----------
    cfg : DictConfig
        The configuration; `asr_config` names the file, `asr_overrides` changes single settings.
    experiment : Experiment
        Gives `data_folder` and `output_folder`.

    Returns
    -------
    dict
        SpeechBrain's hparams: numbers, modules, searchers. Nothing is written.

    Raises
    ------
    RecipeError
        No such file, a setting that it does not have, or sizes that do not fit together.
    """
    return read_settings(RECIPE / cfg.asr_config, _overrides(cfg, experiment))


def describe_model(cfg: DictConfig, experiment: Experiment) -> str:
    """Return the settings that decide what a given set of weights computes, as resolved yaml."""
    blocks = _blocks(cfg, experiment)
    return "".join(blocks[key] for key in blocks if key in MODEL_KEYS)


def plain_settings(cfg: DictConfig, experiment: Experiment, keys: Iterable[str]) -> dict[str, Any]:
    """Read single numbers of the settings, without making the objects that the others describe."""
    blocks = _blocks(cfg, experiment)
    return {key: yaml.safe_load(blocks[key])[key] for key in keys}


def _blocks(cfg: DictConfig, experiment: Experiment) -> dict[str, str]:
    """Return the resolved settings as yaml, by the name of each."""
    path = RECIPE / cfg.asr_config
    with _named(path), path.open(encoding="utf-8") as stream:
        resolved = resolve_references(stream, _overrides(cfg, experiment)).read()
    blocks = re.split(r"(?m)^(?=\w+:)", re.sub(r"#.*", "", resolved))
    return {block.split(":")[0]: block for block in blocks}


def _overrides(cfg: DictConfig, experiment: Experiment) -> dict[str, Any]:
    return {key: cfg[key] for key in FROM_CONFIG} | {
        "data_folder": str(experiment.data_folder),
        "output_folder": str(experiment.asr_folder),
        **OmegaConf.to_container(cfg.asr_overrides, resolve=True),
    }


def read_settings(path: str | Path, overrides: dict[str, Any] | str) -> dict[str, Any]:
    """Read a settings file by itself, with `overrides` as a mapping or as yaml text."""
    # It warns that torchvision is not installed, which nothing here needs.
    logging.getLogger("speechbrain.utils.train_logger").addFilter(lambda record: False)
    with _named(Path(path)), Path(path).open(encoding="utf-8") as stream:
        hparams = load_hyperpyyaml(stream, overrides)
    check_sizes(hparams)
    return hparams


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Say which file, and which key, a fault of the settings lies in."""
    if not path.is_file():
        raise RecipeError(f"{path}: no such file; asr_config names the recogniser's settings")
    try:
        yield
    except KeyError as error:
        raise RecipeError(f"{path}, asr_overrides: {error.args[0]}") from None
    except (ValueError, AssertionError) as error:  # a !PLACEHOLDER, or sizes that a layer refuses
        raise RecipeError(f"{path}: {error}; see asr_overrides") from None


def check_sizes(hparams: dict[str, Any]) -> None:
    """Refuse sizes that do not fit together, and a language model, which this recipe never uses."""
    channels, n_mels = hparams["cnn_out_channels"], hparams["n_mels"]
    expected = channels[-1] * (n_mels // 4)  # two of the three blocks halve the frequency axis
    if hparams["cnn_features"] != expected:
        raise RecipeError(
            f"cnn_features={hparams['cnn_features']}: with cnn_out_channels={channels} and "
            f"n_mels={n_mels} the CNN gives other features; set cnn_features={expected}"
        )
    if hparams["lm_weight"] != 0:
        raise RecipeError(
            f"lm_weight={hparams['lm_weight']}: no language model is used here; set it to 0"
        )
