"""Network and judge as the configuration names them, loaded once in each process."""

import dataclasses
import functools
import re
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from intelligibility.experiment import AsrFolder, Experiment, is_trained_here
from intelligibility.recognisers import load_recogniser, recogniser_made_by
from intelligibility.runs import RecipeError, pick_device
from reconstruction.judge import Judge
from reconstruction.networks import (
    HubNetwork,
    Network,
    PatchNetwork,
    RecogniserNetwork,
    SmallEnc,
    VGGish,
    load_weights,
)

OWN_JUDGE = "recogniser"
HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")  # no folder: those begin with / . or ~ here


@dataclasses.dataclass(frozen=True)
class NetworkChoice:
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


def load_network(
    choice: NetworkChoice, cfg: DictConfig, level: float, device: torch.device
) -> Network:
    """Load a network, frozen."""
    if choice.network == "recogniser":
        every = OmegaConf.merge(cfg, {"layers": "all"})  # not those to be inverted
        recogniser = load_recogniser(every, Experiment.from_config(cfg), device)
        kind = RecogniserNetwork if is_trained_here(cfg) else HubNetwork
        return kind(recogniser, level)
    model = new_model(choice.network, cfg.reconstruct.divisor)
    load_weights(choice.weights, model)
    return PatchNetwork(model.requires_grad_(False), device)


def load_judge(cfg: DictConfig, level: float, device: torch.device) -> Judge:
    """Load the recogniser that counts words."""
    return Judge(load_recogniser(*judge_of(cfg), device), level)


def judge_made_by(cfg: DictConfig, level: float) -> dict[str, Any]:
    """Return everything that determines the judge's transcripts."""
    return recogniser_made_by(*judge_of(cfg)) | {"level": level}


def network_made_by(cfg: DictConfig, level: float) -> dict[str, Any]:
    """Return everything that determines the layers of the experiment's recogniser."""
    own = judge_made_by(OmegaConf.merge(cfg, {"judge": OWN_JUDGE}), level)
    return own | {"last_encoder_layer": "normalised"}


def judge_of(cfg: DictConfig) -> tuple[DictConfig, Experiment]:
    """Return the configuration and the experiment whose recogniser judges.

    Raises
    ------
    RecipeError
        `judge` is no recogniser's folder and no model of transformers.
    """
    experiment = Experiment.from_config(cfg)
    judge = str(cfg.judge)
    cfg = OmegaConf.merge(cfg, {"layers": None})
    if judge == OWN_JUDGE:
        return cfg, experiment
    folder = Path(judge).expanduser().absolute()
    if AsrFolder(folder).save_folder.is_dir():
        own = OmegaConf.merge(cfg, {"recogniser": None})
        return own, dataclasses.replace(experiment, asr_folder=folder)
    if (folder / "config.json").is_file() or HUB_ID.fullmatch(judge):
        other = {"recogniser": judge, "recogniser_revision": None}
        return OmegaConf.merge(cfg, other), experiment
    raise RecipeError(
        f"judge={judge}: holds no save/ of train_asr.py and no config.json of transformers; "
        f"expected {OWN_JUDGE}, the folder of another recogniser, or the hub id of one"
    )


@functools.lru_cache(maxsize=1)
def network_of_process(config: str, choice: NetworkChoice, level: float) -> Network:
    """Load a network once in a worker process; the one before it is let go."""
    cfg = OmegaConf.create(config)
    return load_network(choice, cfg, level, pick_device(cfg.device))


@functools.lru_cache(maxsize=1)
def judge_of_process(config: str, level: float) -> Judge:
    """Load the judge once in a worker process."""
    cfg = OmegaConf.create(config)
    return load_judge(cfg, level, pick_device(cfg.device))
