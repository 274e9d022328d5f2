"""Speech recognisers behind one face: layers by name, and words.

The two functions here choose among them; what a module of this room needs to be imported comes only
when it is chosen.
"""

import functools
from types import ModuleType
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from intelligibility.experiment import Experiment
from intelligibility.recognisers import speechbrain
from intelligibility.recognisers.recognition import Recogniser
from intelligibility.runs import RecipeError

LAYERS = (None, "all")


def describe_recogniser(cfg: DictConfig, experiment: Experiment) -> dict[str, Any]:
    """Say all that decides what the configured recogniser computes, without loading it.

    Returns
    -------
    dict
        checkpoint_sha256, checkpoints and settings, plain values all.
    """
    if cfg.layers not in LAYERS:
        raise RecipeError(f"layers={cfg.layers}: expected all, or null for those of the measures")
    if cfg.recogniser is None:
        return speechbrain.describe(cfg, experiment)
    hub = _hub()
    return hub.describe(hub.fetch(str(cfg.recogniser), cfg.recogniser_revision), cfg.dec_mode)


def load_recogniser(cfg: DictConfig, experiment: Experiment, device: torch.device) -> Recogniser:
    """Load the configured recogniser."""
    if cfg.recogniser is None:
        return speechbrain.SpeechBrainRecogniser.from_config(cfg, experiment, device)
    speechbrain.keep_products_exact()
    hub = _hub()
    fetched = hub.fetch(str(cfg.recogniser), cfg.recogniser_revision)
    return hub.load(fetched, device, cfg.dec_mode, cfg.layers == "all")


@functools.lru_cache(maxsize=1)
def recogniser_of_process(config: str, checkpoint_sha256: str) -> Recogniser:
    """Load the recogniser once in a worker process, on its CPU.

    The configuration comes as text, because a DictConfig cannot be the key of a cache. The hash is
    part of the key: a process that outlives a training must not go on with the old recogniser.
    """
    cfg = OmegaConf.create(config)
    return load_recogniser(cfg, Experiment.from_config(cfg), torch.device("cpu"))


def _hub() -> ModuleType:
    """Import what only a recogniser from the hub needs."""
    try:
        from intelligibility.recognisers import hub
    except ModuleNotFoundError as error:
        raise RecipeError(
            f"recogniser: {error.name} is not installed, which a recogniser of transformers needs: "
            "pip install -r requirements-hub.txt"
        ) from None
    return hub
