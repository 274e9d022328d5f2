"""The networks and the judge, as the configuration names them, loaded once in each process."""

import functools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from intelligibility.experiment import AsrFolder, Experiment, is_trained_here
from intelligibility.recognisers import load_recogniser, recogniser_made_by
from intelligibility.runs import RecipeError, pick_device
from reconstruction.mel import at_level
from reconstruction.networks import (
    HubNetwork,
    Network,
    PatchNetwork,
    RecogniserNetwork,
    SmallEnc,
    VGGish,
    load_weights,
)
from reconstruction.utterances import read_speech

OWN_JUDGE = "recogniser"
HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")  # no folder: those begin with / . or ~ here
MOST_WER = 50.0  # % on the clean originals, above which a judge says nothing about a layer


@dataclass(frozen=True)
class NetworkChoice:
    """A network with its weights: what is inverted."""

    network: str  # recogniser, vggish or smallenc
    task: str = ""  # what it was trained on here; "" for the recogniser and for given weights
    weights: Path | None = None  # the file of its tensors; None for the recogniser

    @property
    def name(self) -> str:
        """Return its name in folders and tables, such as vggish-talker."""
        if self.network == "recogniser":
            return self.network
        return f"{self.network}-{self.task or 'weights'}"


@dataclass(frozen=True)
class Judge:
    """A recogniser that hears every wav at one level."""

    recogniser: Any  # anything with `recognise(signals)` that yields recognitions with a `text`
    level: float  # dB re full scale: that of the clean speech which it was trained on

    def transcribe(self, wavs: Sequence[Path]) -> list[str]:
        """Return the words of wav files."""
        return [self.hear(read_speech(wav)) for wav in wavs]

    def hear(self, speech: Tensor) -> str:
        """Return the words of one signal (n_samples,)."""
        found = next(iter(self.recogniser.recognise([at_level(speech, self.level)])))
        if found.text is None:
            raise RecipeError("judge: this recogniser has no words; name another one with judge=")
        return found.text


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
        return own, replace(experiment, asr_folder=folder)
    if (folder / "config.json").is_file() or HUB_ID.fullmatch(judge):
        other = {"recogniser": judge, "recogniser_revision": None}
        return OmegaConf.merge(cfg, other), experiment
    raise RecipeError(
        f"judge={judge}: holds no save/ of train_asr.py and no config.json of transformers; "
        f"expected {OWN_JUDGE}, the folder of another recogniser, or the hub id of one"
    )


def check_judge(errors: Iterable[tuple[int, int]], name: str) -> None:
    """Refuse a judge that does not understand the clean originals."""
    wrong, words = map(sum, zip(*errors, strict=True))
    wer = 100 * wrong / words
    if wer > MOST_WER:
        raise RecipeError(
            f"judge={name}: a word error rate of {wer:.0f} % on the clean originals, expected "
            f"{MOST_WER:.0f} % or less, or the table would mean nothing; train it longer, or name "
            "the folder of another recogniser with judge="
        )


@functools.lru_cache(maxsize=1)
def network_of_process(config: str, choice: NetworkChoice, level: float) -> Network:
    """Load a network once in a process; the one before it is let go."""
    cfg = OmegaConf.create(config)
    return load_network(choice, cfg, level, pick_device(cfg.device))


@functools.lru_cache(maxsize=1)
def judge_of_process(config: str, level: float) -> Judge:
    """Load the recogniser that counts words, once in a process."""
    cfg = OmegaConf.create(config)
    return Judge(load_recogniser(*judge_of(cfg), pick_device(cfg.device)), level)
