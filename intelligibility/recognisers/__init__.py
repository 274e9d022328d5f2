"""Speech recognisers behind one face: layers by name, and words.

The two functions here choose among them; what a module of this room needs to be imported comes only
when it is chosen.
"""

import functools
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from intelligibility.experiment import Experiment
from intelligibility.recognisers import speechbrain
from intelligibility.recognisers.recognition import Recogniser


def describe_recogniser(cfg: DictConfig, experiment: Experiment) -> dict[str, Any]:
    """Say all that decides what the configured recogniser computes, without loading it.

    Returns
    -------
    dict
        checkpoint_sha256, checkpoints and settings, plain values all.
    """
    return speechbrain.describe(cfg, experiment)


def load_recogniser(cfg: DictConfig, experiment: Experiment, device: torch.device) -> Recogniser:
    """Load the configured recogniser."""
    return speechbrain.SpeechBrainRecogniser.from_config(cfg, experiment, device)


@functools.cache
def recogniser_of_process(config: str) -> Recogniser:
    """Load the recogniser once in a worker process, on its CPU.

    The configuration comes as yaml, because a DictConfig cannot be the key of a cache.
    """
    cfg = OmegaConf.create(config)
    return load_recogniser(cfg, Experiment.from_config(cfg), torch.device("cpu"))
