"""The recogniser's settings: transformer_cpc1.yaml with what config.yaml says about it."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from hyperpyyaml import load_hyperpyyaml, resolve_references
from omegaconf import DictConfig, OmegaConf

from intelligibility.experiment import Experiment
from intelligibility.recognisers.model_settings import model_settings_of
from intelligibility.recognisers.values import type_fault
from intelligibility.runs import RECIPE, RecipeError, is_whole, listed

FROM_CONFIG = ("seed", "pretrained", "pretrained_revision", "from_scratch")
# The whole numbers that may be 0; of the others there is at least one.
FROM_ZERO = (
    *("seed", "pretrained_epoch", "pretrained_steps", "ckpt_interval_minutes", "stage_one_epochs"),
    *("num_workers", "blank_index", "pad_index", "bos_index", "eos_index", "unk_index"),
)
# What a !PLACEHOLDER, a name or sizes that a layer refuses, and text that is no yaml, raise.
UNUSABLE = (ValueError, AssertionError, TypeError, IndexError, RuntimeError, yaml.YAMLError)


def load_settings(
    cfg: DictConfig, experiment: Experiment, tables: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Read the recogniser's settings and make the objects that they describe.

    `asr_config` names the file and `asr_overrides` changes single settings; `tables`, the settings
    of other training data than the experiment's, replace what `asr_overrides` says of tables.

    Returns
    -------
    dict
        SpeechBrain's hparams: numbers, modules, searchers; and, as `model_settings`, the settings
        that determine what given weights compute. Nothing is written.
    """
    return read_settings(RECIPE / cfg.asr_config, _overrides(cfg, experiment, tables or {}))


def refuse_foreign_objects(path: Path) -> None:
    """Refuse third-party settings that make objects which ours do not.

    HyperPyYAML calls whatever a tag names, so such a file can run any code.
    """
    with _faults_named(path):
        foreign = _tags(path) - _tags(RECIPE / "transformer_cpc1.yaml")
    if foreign:
        raise RecipeError(
            f"{path}: {listed(sorted(foreign))}: not among the objects of transformer_cpc1.yaml, "
            "and such a file can run any code; open only the model of somebody you trust, as the "
            "experiment folder that it came from"
        )


def _tags(path: Path) -> set[str]:
    events = yaml.parse(path.read_text(encoding="utf-8"), yaml.SafeLoader)
    return {tag for event in events if (tag := getattr(event, "tag", None))}


def plain_settings(cfg: DictConfig, experiment: Experiment) -> dict[str, Any]:
    """Read the same settings without making the objects that they describe."""
    path = RECIPE / cfg.asr_config
    with _faults_named(path):
        text = path.read_text(encoding="utf-8")
        return _plain(text, _complete(text, _overrides(cfg, experiment, {})))


def _overrides(
    cfg: DictConfig, experiment: Experiment, tables: Mapping[str, Any]
) -> dict[str, Any]:
    overrides: Any = OmegaConf.to_container(cfg.asr_overrides, resolve=True)
    folders = {
        "data_folder": str(experiment.data_folder),
        "output_folder": str(experiment.asr_folder),
    }
    return {key: cfg[key] for key in FROM_CONFIG} | folders | overrides | dict(tables)


def read_settings(path: str | Path, overrides: Mapping[str, Any] | str) -> dict[str, Any]:
    """Read a settings file by itself, with `overrides` as a mapping or as yaml text."""
    # It warns that torchvision is not installed, which nothing here needs.
    logging.getLogger("speechbrain.utils.train_logger").addFilter(lambda record: False)
    path = Path(path)
    with _faults_named(path):
        text = path.read_text(encoding="utf-8")
        overrides = _complete(text, overrides)
        plain = _plain(text, overrides)
        hparams = load_hyperpyyaml(text, overrides)
    hparams["model_settings"] = plain["model_settings"]
    return hparams


def _plain(text: str, overrides: dict[str, Any]) -> dict[str, Any]:
    """Return all settings as plain values, and as `model_settings` those that weights rest on."""
    resolved = yaml.load(resolve_references(text, overrides).read(), _Plain)
    return resolved | {"model_settings": model_settings_of(yaml.load(text, _Plain), resolved)}


def _complete(text: str, overrides: Mapping[str, Any] | str) -> dict[str, Any]:
    """Check the types and ranges of overrides, and add what follows from other settings."""
    published = yaml.load(text, _Plain)
    if isinstance(overrides, str):
        overrides = yaml.load(overrides, _Plain) or {}
    given = dict(overrides)
    faults: list[str] = []
    for name, value in given.items():
        faults += _faults_of_value(name, value, published.get(name), published)
    if faults:
        raise RecipeError("; ".join(faults))
    settings = published | given
    # Two of the CNN's three blocks halve the frequency axis.
    features = settings["cnn_out_channels"][-1] * (settings["n_mels"] // 4)
    # Records of earlier runs may still give these two.
    if given.get("cnn_features", features) != features:
        raise RecipeError(
            f"cnn_features={given['cnn_features']}: is computed from cnn_out_channels and n_mels, "
            f"here {features}; leave it out"
        )
    if given.get("lm_weight", 0) != 0:
        raise RecipeError(
            f"lm_weight={given['lm_weight']}: no language model is used here; leave it out"
        )
    if "lm_weight" not in published:
        given.pop("lm_weight", None)
    return given | {"cnn_features": features}


@contextmanager
def _faults_named(path: Path) -> Iterator[None]:
    """Report a fault of the settings with its file and its key."""
    if not path.is_file():
        raise RecipeError(f"{path}: no such file; asr_config names the recogniser's settings")
    try:
        yield
    except (KeyError, RecipeError) as error:
        raise RecipeError(f"{path}, asr_overrides: {error.args[0]}") from None
    except UNUSABLE as error:
        # HyperPyYAML puts the class before the reason.
        reason = ": ".join(" ".join(str(part).split()) for part in error.args) or str(error)
        raise RecipeError(f"{path}: {reason}; see asr_overrides") from None


def _faults_of_value(
    name: str, value: Any, published: Any, settings: Mapping[str, Any]
) -> Iterator[str]:
    own_name = name.rpartition(".")[2]
    if isinstance(published, str) and published.startswith("!ref "):  # takes another's place
        own_name = published.removeprefix("!ref ").strip("<>")
        published = settings.get(own_name)
    if isinstance(published, dict):
        if not isinstance(value, Mapping):
            yield f"{name}={value}: expected settings by name, such as {name}.{min(published)}=..."
            return
        for key, inner in value.items():
            yield from _faults_of_value(f"{name}.{key}", inner, published.get(key), settings)
    elif isinstance(published, list) and all(map(is_whole, published)):
        fits = isinstance(value, list) and len(value) == len(published)
        if not fits or not all(map(is_whole, value)):
            yield f"{name}={value}: expected {len(published)} whole numbers, such as {published}"
    elif isinstance(published, bool | int | float):
        kind = type(published)
        if kind is int and own_name not in settings:  # inside a block, where 1 may stand for 1.0
            kind = float
        least = 1 if kind is int and own_name not in FROM_ZERO else 0
        if fault := type_fault(name, value, kind, least):
            yield fault


class _Plain(yaml.SafeLoader):
    """Reads a settings file without making its objects: a tag stays before its word."""


def _untagged(loader: _Plain, tag: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return f"!{tag} {node.value}".strip()


_Plain.add_multi_constructor("!", _untagged)
