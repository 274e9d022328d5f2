"""Speech recognisers with one interface: layers by name, and words.

`choose_recogniser` is the only place that knows every kind. A further kind is one module, with a
recogniser (recognition.py says what one is) and what determines its numbers, and one branch there.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType, ModuleType
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from intelligibility.experiment import Experiment, is_trained_here
from intelligibility.recognisers import speechbrain
from intelligibility.recognisers.recognition import Recogniser
from intelligibility.runs import RecipeError, listed, pick_device

LAYERS = (None, "all")
HUB_OPTIONS = ("dec_mode", "window")


@dataclass(frozen=True)
class StoredRecogniser:
    """A recogniser whose files are at hand, and which is not loaded yet."""

    # Returns everything that determines its numbers, without loading it: a dict of plain values
    # with checkpoint_sha256, checkpoints and settings.
    made_by: Callable[[], dict[str, Any]]
    load: Callable[[torch.device], Recogniser]  # loads it to a device
    # Returns what is wrong with signals for it, by name; they are seconds and prompt, by name.
    unfit: Callable[[Mapping[str, tuple[float, str]]], dict[str, str]] = lambda signals: {}


def choose_recogniser(cfg: DictConfig, experiment: Experiment) -> StoredRecogniser:
    """Return the recogniser that the configuration asks for."""
    if cfg.layers not in LAYERS:
        raise RecipeError(f"layers={cfg.layers}: expected all, or null for what costs nothing")
    every = every_layer(cfg)
    if is_trained_here(cfg):
        return StoredRecogniser(
            partial(speechbrain.made_by, cfg, experiment),
            partial(speechbrain.load, cfg, experiment, all_layers=every),
        )
    options = {name: cfg[name] for name in HUB_OPTIONS}
    return stored_on_hub(str(cfg.recogniser), cfg.recogniser_revision, every, options)


def every_layer(cfg: DictConfig) -> bool:
    """Return whether every layer is measured, and not those of the measures alone.

    The steps of a decoder that follows its own words are aligned, layer by layer, which takes about
    8 % of the time of the published recogniser; those of the hub's follow the text.
    """
    return cfg.layers == "all" or not is_trained_here(cfg)


def stored_on_hub(
    source: str,
    revision: str | None = None,
    every: bool = False,
    options: Mapping[str, str] = MappingProxyType({}),
) -> StoredRecogniser:
    """Return a recogniser of the hub or of a folder, with the layers of the measures or all.

    `options` are the fields of WhisperOptions, which encoder-decoders have.
    """
    hub = _hub()
    model, chosen = hub.fetch_model(source, revision), hub.WhisperOptions(**options)
    return StoredRecogniser(
        partial(hub.made_by, model, chosen),
        partial(hub.load, model, options=chosen, all_layers=every),
        partial(hub.unfit, model),
    )


def check_fit(
    cfg: DictConfig, experiment: Experiment, signals: Mapping[str, tuple[float, str]]
) -> None:
    """Refuse signals that the configured recogniser cannot take, before it hears any.

    `signals` are seconds and prompt, by name.
    """
    if faults := choose_recogniser(cfg, experiment).unfit(signals):
        named = [f"{name}: {fault}" for name, fault in faults.items()]
        raise RecipeError(
            f"{len(faults)} of {len(signals)} signals are refused by recogniser={cfg.recogniser}: "
            f"{listed(named)}; shorten recordings or prompts, or take another recogniser"
        )


def recogniser_made_by(cfg: DictConfig, experiment: Experiment) -> dict[str, Any]:
    """Return everything that determines the numbers of the configured recogniser."""
    return choose_recogniser(cfg, experiment).made_by()


def load_recogniser(cfg: DictConfig, experiment: Experiment, device: torch.device) -> Recogniser:
    """Load the configured recogniser."""
    speechbrain.keep_products_exact()
    return choose_recogniser(cfg, experiment).load(device)


@functools.lru_cache(maxsize=1)
def recogniser_of_process(config: str, checkpoint_sha256: str) -> Recogniser:
    """Load the recogniser once in a process, to the device of the configuration.

    The configuration comes as text, because a DictConfig cannot be the key of a cache. The hash is
    part of the key: a process that outlives a training must not go on with the old recogniser.
    """
    cfg = OmegaConf.create(config)
    assert isinstance(cfg, DictConfig)
    return load_recogniser(cfg, Experiment.from_config(cfg), pick_device(cfg.device))


def _hub() -> ModuleType:
    """Import the module that needs the packages of requirements-hub.txt."""
    try:
        from intelligibility.recognisers import hub
    except ModuleNotFoundError as error:
        raise RecipeError(
            f"recogniser: {error.name} is not installed, which a recogniser of transformers needs: "
            "pip install -r requirements-hub.txt"
        ) from None
    return hub
