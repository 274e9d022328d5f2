"""Network and judge as the configuration names them, loaded once in each process."""

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from intelligibility.corpora.cpc1 import Cpc1
from intelligibility.recognisers.settings import describe_model, load_settings
from intelligibility.recognisers.speechbrain import Recogniser, checkpoint_sha256
from intelligibility.reconstruction.judge import Judge
from intelligibility.reconstruction.networks import (
    Network,
    PatchNetwork,
    RecogniserNetwork,
    SmallEnc,
    VGGish,
    load_vggish,
)
from intelligibility.runs import RecipeError, pick_device

OWN_JUDGE = "recogniser"


@dataclass(frozen=True)
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
        hparams, recogniser = load_recogniser(cfg, OWN_JUDGE, device)
        return RecogniserNetwork(recogniser, hparams["ctc_lin"], level)
    model = new_model(source.network, cfg.reconstruct.divisor)
    if source.network == "vggish":
        model = load_vggish(source.weights, cfg.reconstruct.divisor)
    else:
        model.load_state_dict(torch.load(source.weights, weights_only=True), strict=True)
    return PatchNetwork(model.requires_grad_(False), device)


def load_judge(cfg: DictConfig, level: float, device: torch.device) -> Judge:
    """Load the recogniser that counts words."""
    _, recogniser = load_recogniser(cfg, cfg.judge, device)
    return Judge(recogniser, level, judge_made_by(cfg, level))


def judge_made_by(cfg: DictConfig, level: float) -> dict[str, Any]:
    """Say what decides the judge's answers."""
    model = hashlib.sha256(describe_model(cfg, Cpc1.from_config(cfg)).encode()).hexdigest()
    checkpoint = checkpoint_sha256(judge_folder(cfg, cfg.judge) / "save")
    return {"checkpoint_sha256": checkpoint, "model_sha256": model, "level": level}


def load_recogniser(
    cfg: DictConfig, which: str, device: torch.device
) -> tuple[dict[str, Any], Recogniser]:
    """Load the experiment's recogniser, or that of another folder with the same settings."""
    hparams = load_settings(cfg, Cpc1.from_config(cfg))
    save_folder = judge_folder(cfg, which) / "save"
    return hparams, Recogniser.load(hparams, save_folder, device, cfg.decoder_states)


def judge_folder(cfg: DictConfig, which: str) -> Path:
    """Return the folder of a recogniser; "recogniser" is the experiment's."""
    if which == OWN_JUDGE:
        return Cpc1.from_config(cfg).asr_folder
    folder = Path(which).expanduser().absolute()
    if not (folder / "save").is_dir():
        raise RecipeError(
            f"judge={which}: no folder save/ in {folder}; expected {OWN_JUDGE}, or the folder of a "
            "recogniser that train_asr.py trained"
        )
    return folder


@functools.cache
def laboratory_of_process(
    config: str, source: Source, level: float
) -> tuple[Network, Judge, torch.device]:
    """Load network and judge, once in a worker process."""
    cfg = OmegaConf.create(config)
    device = pick_device(cfg.device)
    return load_network(source, cfg, level, device), load_judge(cfg, level, device), device
