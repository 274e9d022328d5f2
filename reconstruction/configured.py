"""What the configuration asks for: networks, judge and settings, and what determines a result."""

import functools
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import MISSING, DictConfig
from torch import Tensor

from intelligibility.configuration import Settings, require
from intelligibility.experiment import AsrFolder, Experiment, folder_name, is_trained_here
from intelligibility.recognisers import load_recogniser, recogniser_made_by
from intelligibility.recognisers.speechbrain import SpeechBrainRecogniser
from intelligibility.runs import RecipeError, file_stamp, pick_device, sha256_of
from reconstruction.fit import FitSettings
from reconstruction.mel import at_level, vocoder_file
from reconstruction.networks import (
    HubNetwork,
    Layer,
    Network,
    PatchNetwork,
    RecogniserNetwork,
    SmallEnc,
    VGGish,
    load_weights,
)
from reconstruction.scoring import Transcript, wer
from reconstruction.utterances import TASKS, Selection

OWN_JUDGE = "recogniser"
HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")  # no folder: those begin with / . or ~ here
MOST_WER = 50.0  # % on the clean originals, above which a judge says nothing about a layer
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


@dataclass
class Sizes:
    """The sizes of the trainings, `reconstruct` in reconstruction/config.yaml."""

    preset: str = MISSING
    n_train: int = MISSING
    n_scored: int = MISSING
    n_floors: int = MISSING
    steps: int = MISSING
    floor_steps: int = MISSING
    batch: int | None = None
    learning_rate: int | float | None = None
    width: int = MISSING
    ladder_divisor: int = MISSING
    divisor: int = MISSING
    classifier_steps: int = MISSING
    griffinlim_iterations: int = MISSING

    def __post_init__(self) -> None:
        """Refuse sizes of nothing; the floor that learns from shuffled pairs can be left out."""
        expected = " or ".join(PRESETS)
        require(self.preset in PRESETS, "reconstruct.preset", self.preset, expected)
        rate = self.learning_rate
        require(rate is None or rate > 0, "reconstruct.learning_rate", rate, "a number above 0")
        for name, value in vars(self).items():
            if isinstance(value, int) and name != "learning_rate":
                least = 0 if name == "floor_steps" else 1
                expected = f"a whole number from {least}"
                require(value >= least, f"reconstruct.{name}", value, expected)


@dataclass
class ReconstructionSettings(Settings):
    """The keys of config.yaml and of reconstruction/config.yaml."""

    network: str = MISSING
    task: str = MISSING
    weights: str | None = None
    inverter: str = MISSING
    target: str = MISSING
    vocoder: str = MISSING
    judge: str = MISSING
    reconstruct: Sizes = MISSING

    def __post_init__(self) -> None:
        """Refuse values that cannot be used, before any work."""
        super().__post_init__()
        for key, known in KNOWN.items():
            require(getattr(self, key) in known, key, getattr(self, key), ", ".join(known))
        fits = self.weights is None or self.network == "vggish"
        require(fits, "weights", self.weights, "network=vggish, which alone takes weights")
        if self.vocoder != "griffinlim":
            vocoder_file(self.vocoder)


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
class LayerSettings:
    """What determines a layer's sounds and losses, apart from network and signals."""

    fit: FitSettings  # the inverter's training
    mel: str  # preset of the spectrograms
    width: int  # as in `Spec`
    divisor: int  # as in `Spec`
    target: str  # input: what the layer heard; ref: the clean reference, which is enhancement
    vocoder: str  # griffinlim, or a folder
    n_iter: int  # iterations of Griffin-Lim
    n_floors: int  # ear signals on which the floors are scored
    floor_steps: int  # training steps of the shuffled floor


@dataclass(frozen=True)
class Judge:
    """A recogniser that hears every wav at one level."""

    recogniser: Any  # anything with `transcribe(signals)` that yields words
    level: float  # dB re full scale: that of the clean speech which it was trained on
    as_scored: Callable[[str], str] = str  # how words are written for scoring, also the prompt's

    def hear(self, speech: Tensor) -> str:
        """Return the words of one signal (n_samples,)."""
        words = next(iter(self.recogniser.transcribe([at_level(speech, self.level)])))
        if words is None:
            raise RecipeError("judge: this recogniser has no words; name another one with judge=")
        return words


def new_model(network: str, divisor: int) -> VGGish | SmallEnc:
    """Return an untrained network of patches."""
    return VGGish(divisor) if network == "vggish" else SmallEnc()


def load_network(
    choice: NetworkChoice, cfg: DictConfig, level: float, device: torch.device
) -> Network:
    """Load a network, frozen."""
    if choice.weights is not None:
        model = new_model(choice.network, cfg.reconstruct.divisor)
        load_weights(choice.weights, model)
        return PatchNetwork(model.requires_grad_(False), device)
    every = _changed(cfg, layers="all")  # not those to be inverted
    recogniser = load_recogniser(every, Experiment.from_config(cfg), device)
    if isinstance(recogniser, SpeechBrainRecogniser):
        return RecogniserNetwork(recogniser, level)
    return HubNetwork(recogniser, level)


def _changed(cfg: DictConfig, **changes: Any) -> DictConfig:
    """Return the configuration with other values."""
    cfg = cfg.copy()
    cfg.update(changes)
    return cfg


def judge_made_by(cfg: DictConfig, level: float) -> dict[str, Any]:
    """Return everything that determines the judge's transcripts, apart from the wavs."""
    return recogniser_made_by(*judge_of(cfg)) | {"level": level}


def judge_name(cfg: DictConfig) -> str:
    """Return the name of another judge than the usual one in folders; "" for that one."""
    return "" if cfg.judge == OWN_JUDGE else folder_name(str(cfg.judge))


def judge_of(cfg: DictConfig) -> tuple[DictConfig, Experiment]:
    """Return the configuration and the experiment whose recogniser judges.

    A `judge` that is no recogniser's folder and no model of transformers is refused.
    """
    experiment = Experiment.from_config(cfg)
    judge = str(cfg.judge)
    cfg = _changed(cfg, layers=None)
    if judge == OWN_JUDGE:
        return cfg, experiment
    folder = Path(judge).expanduser().absolute()
    if AsrFolder(folder).save_folder.is_dir():
        return _changed(cfg, recogniser=None), replace(experiment, asr_folder=folder)
    if (folder / "config.json").is_file() or HUB_ID.fullmatch(judge):
        return _changed(cfg, recogniser=judge, recogniser_revision=None), experiment
    raise RecipeError(
        f"judge={judge}: holds no save/ of train_asr.py and no config.json of transformers; "
        f"expected {OWN_JUDGE}, the folder of another recogniser, or the hub id of one"
    )


def check_judge(originals: Sequence[Transcript], name: str) -> None:
    """Refuse a judge that does not understand the clean originals."""
    found = wer([one for one in originals if one.condition == "ref"])
    if found > MOST_WER:
        raise RecipeError(
            f"judge={name}: a word error rate of {found:.0f} % on the clean originals, expected "
            f"{MOST_WER:.0f} % or less, or the table would mean nothing; train it longer, or name "
            "the folder of another recogniser with judge="
        )


@functools.lru_cache(maxsize=1)
def network_of_process(config: str, choice: NetworkChoice, level: float) -> Network:
    """Load a network once in a process; the one before it is let go."""
    cfg = DictConfig(json.loads(config))
    return load_network(choice, cfg, level, pick_device(cfg.device))


@functools.lru_cache(maxsize=1)
def judge_of_process(config: str, level: float) -> Judge:
    """Load the recogniser that counts words, once in a process."""
    judge, experiment = judge_of(DictConfig(json.loads(config)))
    recogniser = load_recogniser(judge, experiment, pick_device(judge.device))
    if is_trained_here(judge):
        return Judge(recogniser, level)
    from intelligibility.recognisers.word_scoring import scored_words  # needs transformers

    return Judge(recogniser, level, lambda text: " ".join(scored_words(text)))


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
    given = {key: value for key, value in cfg.reconstruct.items() if value is not None}
    own = PRESETS[cfg.reconstruct.preset] | given
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


def controls_made_by(cfg: DictConfig, selection: Selection, mel: str) -> dict[str, Any]:
    """Return everything that determines the controls of one kind of spectrogram."""
    own = {"mel": mel, "griffinlim_iterations": cfg.reconstruct.griffinlim_iterations}
    return selection.made_by | own | {"vocoder": _vocoder_stamp(cfg)}


def layer_made_by(
    cfg: DictConfig, choice: NetworkChoice, layer: Layer, selection: Selection
) -> dict[str, Any]:
    """Return everything that determines a layer's sounds and losses."""
    if choice.weights is None:
        network = judge_made_by(_changed(cfg, judge=OWN_JUDGE), selection.level)
        network |= {"last_encoder_layer": "normalised"}
    else:
        network = {"weights_sha256": sha256_of([choice.weights])}
    settings = asdict(layer_settings(cfg, mel_of(cfg, choice)))
    own = {"network": network, "layer": layer.name, "settings": settings}
    return selection.made_by | own | {"vocoder": _vocoder_stamp(cfg)}


def _vocoder_stamp(cfg: DictConfig) -> str | list[int | str]:
    """Return what identifies the vocoder, wherever its weights lie."""
    if cfg.vocoder == "griffinlim":
        return cfg.vocoder
    return file_stamp(vocoder_file(cfg.vocoder))
