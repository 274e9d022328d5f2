"""What the configuration asks for, checked; and everything that determines a result."""

import dataclasses
import hashlib
import json
from collections.abc import Iterable
from typing import Any

from omegaconf import DictConfig

from intelligibility.runs import RecipeError, file_stamp, sha256_of
from reconstruction.classifiers import TASKS
from reconstruction.fit import FitSettings
from reconstruction.jobs import LayerSettings
from reconstruction.loading import NetworkChoice, judge_made_by, network_made_by
from reconstruction.mel import vocoder_file
from reconstruction.networks import Layer
from reconstruction.utterances import EarSignals, Selection

NETWORKS = ("recogniser", "vggish", "smallenc")
KNOWN = {
    "network": (*NETWORKS, "all"),
    "inverter": ("reccnn", "recgan"),
    "target": ("input", "ref"),
    "task": (*TASKS, "all"),
}
# What a setting is that the user leaves open. Published: Adam at 1e-4 throughout, batches of 256
# patches; 300 epochs of 32 x 400 clips are the 15000 steps of the configuration.
PRESETS = {
    "corpus": {"batch": 32, "learning_rate": 1e-3},
    "paper": {"batch": 256, "learning_rate": 1e-4},
}


def check_options(cfg: DictConfig) -> None:
    """Refuse values that the keys of this system cannot have, before any work."""
    for key, known in KNOWN.items():
        if cfg[key] not in known:
            raise RecipeError(f"{key}={cfg[key]}: expected {', '.join(known)}")
    if cfg.reconstruct.preset not in PRESETS:
        expected = " or ".join(PRESETS)
        raise RecipeError(f"reconstruct.preset={cfg.reconstruct.preset}: expected {expected}")
    own = sizes_of(cfg)
    for key in ("steps", "batch", "width", "n_scored", "n_train", "divisor", "ladder_divisor"):
        if not isinstance(own[key], int) or own[key] < 1:
            raise RecipeError(f"reconstruct.{key}={own[key]}: expected a whole number from 1")
    if cfg.weights is not None and cfg.network != "vggish":
        raise RecipeError(
            f"weights={cfg.weights} with network={cfg.network}: only network=vggish takes weights"
        )
    if cfg.vocoder != "griffinlim":
        vocoder_file(cfg.vocoder)


def sizes_of(cfg: DictConfig) -> dict[str, Any]:
    """Return the sizes of the trainings: what the user gives, and the preset's for the rest."""
    given = {key: value for key, value in cfg.reconstruct.items() if value is not None}
    return PRESETS[cfg.reconstruct.preset] | given


def mel_of(cfg: DictConfig, choice: NetworkChoice) -> str:
    """Return the preset of the spectrograms that a network's layers are inverted to."""
    if cfg.vocoder != "griffinlim":
        return "hifigan"
    return "asr" if choice.network == "recogniser" else "vggish"


def inverter_name(cfg: DictConfig) -> str:
    """Return the inverter's name in folders and tables, with every option that is no default."""
    options = {
        "enhancement": cfg.target == "ref",
        "paper": cfg.reconstruct.preset == "paper",
        "hifigan": cfg.vocoder != "griffinlim",
    }
    return "-".join([cfg.inverter, *(name for name, chosen in options.items() if chosen)])


def layer_settings(cfg: DictConfig, mel: str) -> LayerSettings:
    """Return the settings of the layers that are inverted to one kind of spectrogram."""
    own = sizes_of(cfg)
    fit = FitSettings(
        steps=own["steps"],
        batch=own["batch"],
        learning_rate=own["learning_rate"],
        adversarial=cfg.inverter == "recgan",
        paper=own["preset"] == "paper",
        seed=cfg.seed,
    )
    return LayerSettings(
        fit=fit,
        mel=mel,
        width=own["width"],
        divisor=own["ladder_divisor"],
        target=cfg.target,
        vocoder=cfg.vocoder,
        n_iter=own["griffinlim_iterations"],
        n_floors=own["n_floors"],
        floor_steps=own["floor_steps"],
    )


def table_made_by(cfg: DictConfig, selection: Selection) -> dict[str, Any]:
    """Return everything that all layers of a table share: judge and signals."""
    return {
        "judge": judge_made_by(cfg, selection.level),
        "training": digest_of(selection.training),
        "scored": digest_of(selection.scored),
    }


def controls_made_by(cfg: DictConfig, selection: Selection, mel: str) -> dict[str, Any]:
    """Return everything that determines the controls of one kind of spectrogram."""
    own = {"mel": mel, "griffinlim_iterations": cfg.reconstruct.griffinlim_iterations}
    return table_made_by(cfg, selection) | own | {"vocoder": _vocoder_stamp(cfg)}


def layer_made_by(
    cfg: DictConfig, choice: NetworkChoice, layer: Layer, selection: Selection
) -> dict[str, Any]:
    """Return everything that determines a layer's numbers."""
    if choice.weights is None:
        network = network_made_by(cfg, selection.level)
    else:
        network = {"weights_sha256": sha256_of([choice.weights])}
    settings = dataclasses.asdict(layer_settings(cfg, mel_of(cfg, choice)))
    own = {"network": network, "layer": layer.name, "settings": settings}
    return table_made_by(cfg, selection) | own | {"vocoder": _vocoder_stamp(cfg)}


def digest_of(ears: Iterable[EarSignals]) -> str:
    """Return a hash of ear signals: their names, labels and wavs."""
    facts = [
        (ear.name, sorted(ear.labels.items()), [file_stamp(wav) for wav in ear.wavs.values()])
        for ear in ears
    ]
    return hashlib.sha256(json.dumps(facts, default=str).encode()).hexdigest()


def _vocoder_stamp(cfg: DictConfig) -> str | list[int | str]:
    """Return what identifies the vocoder, wherever its weights lie."""
    if cfg.vocoder == "griffinlim":
        return cfg.vocoder
    return file_stamp(vocoder_file(cfg.vocoder))
