"""Network and judge as the configuration names them, loaded once in each process."""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from intelligibility.experiment import Experiment
from intelligibility.recognisers import describe_recogniser, load_recogniser
from intelligibility.reconstruction.judge import Judge
from intelligibility.reconstruction.networks import (
    Network,
    PatchNetwork,
    RecogniserNetwork,
    SmallEnc,
    VGGish,
    load_weights,
)
from intelligibility.runs import RecipeError, pick_device

OWN_JUDGE = "recogniser"


@dataclasses.dataclass(frozen=True)
class Source:
    """A network with its weights: what is inverted.

    Attributes
    ----------
    network : str
        recogniser, vggish or smallenc.
    task : str
        What it was trained on here; "" for the recogniser and for given weights.
    weights : Path or None
        The file of its tensors; None for the recogniser.
    """

    network: str
    task: str = ""
    weights: Path | None = None

    @property
    def name(self) -> str:
        """Return its name in folders and tables, such as vggish-talker."""
        if self.network == "recogniser":
            return self.network
        return f"{self.network}-{self.task or 'weights'}"


def new_model(network: str, divisor: int) -> VGGish | SmallEnc:
    """Return an untrained network of patches."""
    return VGGish(divisor) if network == "vggish" else SmallEnc()


def load_network(source: Source, cfg: DictConfig, level: float, device: torch.device) -> Network:
    """Load the network of a source, frozen."""
    if source.network == "recogniser":
        recogniser = load_recogniser(cfg, Experiment.from_config(cfg), device)
        return RecogniserNetwork(recogniser, level)
    model = new_model(source.network, cfg.reconstruct.divisor)
    load_weights(source.weights, model)
    return PatchNetwork(model.requires_grad_(False), device)


def load_judge(cfg: DictConfig, level: float, device: torch.device) -> Judge:
    """Load the recogniser that counts words."""
    return Judge(load_recogniser(cfg, judge_experiment(cfg), device), level)


def judge_made_by(cfg: DictConfig, level: float) -> dict[str, Any]:
    """Say what decides the judge's answers."""
    return describe_recogniser(cfg, judge_experiment(cfg)) | {"level": level}


def judge_experiment(cfg: DictConfig) -> Experiment:
    """Return the experiment whose recogniser judges: this one, or with another asr_folder."""
    experiment = Experiment.from_config(cfg)
    if cfg.judge == OWN_JUDGE:
        return experiment
    folder = Path(str(cfg.judge)).expanduser().absolute()
    if not (folder / "save").is_dir():
        raise RecipeError(
            f"judge={cfg.judge}: no folder save/ in {folder}; expected {OWN_JUDGE}, or the folder "
            "of a recogniser that train_asr.py trained"
        )
    return dataclasses.replace(experiment, asr_folder=folder)


@functools.cache
def laboratory_of_process(
    config: str, source: Source, level: float
) -> tuple[Network, Judge, torch.device]:
    """Load network and judge, once in a worker process."""
    cfg = OmegaConf.create(config)
    device = pick_device(cfg.device)
    return load_network(source, cfg, level, device), load_judge(cfg, level, device), device
