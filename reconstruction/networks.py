"""Frozen networks as black boxes: speech in, one embedding per layer out.

Two kinds. A network of frames (the recogniser) gives (frames, features) for a whole signal. A
network of patches (VGGish, SmallEnc) sees 0.96 s at a time, one patch after another without
overlap, and gives (patches, ...) per layer.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from intelligibility.ears import ASR_RATE
from intelligibility.recognisers.hooks import layers_of
from intelligibility.recognisers.speechbrain import SpeechBrainRecogniser, load_safely
from intelligibility.runs import RecipeError
from reconstruction.mel import PATCH, PRESETS, LogMel, at_level, load_strictly

PATCH_FRAMES, PATCH_BANDS = 96, 64
SMALLENC_CHANNELS = (8, 16, 32, 64, 128)
EMBEDDING = 128  # values of the last layer of VGGish and of SmallEnc
LEAST_EMBEDDING = 32  # a narrow VGGish still has to tell a few classes apart


@dataclass(frozen=True)
class Layer:
    """One layer of a network."""

    name: str  # such as encoder.2 or pool3
    depth: int  # place from the input, from 1
    samples: int  # samples at 16 kHz that one frame, or one patch, stands for
    shape: tuple[int, ...]  # (features,) of a frame or patch, (channels, frames, bands) of a patch
    patches: bool  # whether the network sees patches

    @property
    def floats_per_s(self) -> float:
        """Return the values per second of speech."""
        return torch.Size(self.shape).numel() * ASR_RATE / self.samples


class Network(Protocol):
    """What reconstruct.py asks of a network."""

    layers: tuple[Layer, ...]

    def embed(self, speech: Tensor) -> dict[str, Tensor]:
        """Return the embeddings of all layers for speech (n_samples,) at `LEVEL`, on the CPU."""


class VGGish(nn.Module):
    """VGGish (Hershey et al., 2017) with the names of the common PyTorch layout.

    `divisor` divides the published numbers of channels and units.
    """

    def __init__(self, divisor: int = 1):
        super().__init__()
        c1, c2, c3, c4 = (channels // divisor for channels in (64, 128, 256, 512))
        units = 4096 // divisor
        last = EMBEDDING if divisor == 1 else max(LEAST_EMBEDDING, EMBEDDING // divisor)
        modules: list[nn.Module] = []
        for pair in ((1, c1), None, (c1, c2), None, (c2, c3), (c3, c3), None, (c3, c4), (c4, c4)):
            modules += [nn.Conv2d(*pair, 3, padding=1), nn.ReLU()] if pair else [nn.MaxPool2d(2)]
        self.features = nn.Sequential(*modules, nn.MaxPool2d(2))
        self.embeddings = nn.Sequential(
            *(nn.Linear(24 * c4, units), nn.ReLU()),
            *(nn.Linear(units, units), nn.ReLU()),
            *(nn.Linear(units, last), nn.ReLU()),
        )
        self.embedding_size = last

    def forward(self, patches: Tensor) -> dict[str, Tensor]:
        """Return every layer for log-mel patches (n_patches, frames, bands)."""
        found: dict[str, Tensor] = {}
        x = patches[:, None]
        for module in self.features:
            x = module(x)
            if isinstance(module, nn.MaxPool2d):
                found[f"pool{len(found) + 1}"] = x
        x = x.permute(0, 2, 3, 1).flatten(1)  # time, frequency, channel: the order of the original
        for name, start in (("fc1_1", 0), ("fc1_2", 2), ("fc2", 4)):
            found[name] = x = self.embeddings[start : start + 2](x)
        return found


class SmallEnc(nn.Module):
    """The small encoder: five convolutions that halve both axes, and one layer of 128 units."""

    def __init__(self) -> None:
        super().__init__()
        channels = (1, *SMALLENC_CHANNELS)
        self.features = nn.ModuleList(
            nn.Sequential(nn.Conv2d(n_in, n_out, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
            for n_in, n_out in zip(channels[:-1], channels[1:], strict=True)
        )
        self.embeddings = nn.Sequential(nn.Linear(6 * SMALLENC_CHANNELS[-1], EMBEDDING), nn.ReLU())
        self.embedding_size = EMBEDDING

    def forward(self, patches: Tensor) -> dict[str, Tensor]:
        """Return every layer for log-mel patches (n_patches, frames, bands)."""
        found, x = {}, patches[:, None]
        for number, block in enumerate(self.features, start=1):
            found[f"pool{number}"] = x = block(x)
        return found | {"fc": self.embeddings(x.flatten(1))}


class PatchNetwork:
    """VGGish or SmallEnc as a black box; its weights stay as they are."""

    def __init__(self, model: nn.Module, device: torch.device):
        self.model, self.device, self.mel = model.to(device).eval(), device, LogMel("vggish")
        with torch.inference_mode():
            found = self.model(torch.zeros(1, PATCH_FRAMES, PATCH_BANDS, device=device))
        self.layers = tuple(
            Layer(name, depth, PATCH, tuple(values.shape[1:]), patches=True)
            for depth, (name, values) in enumerate(found.items(), start=1)
        )

    @torch.inference_mode()
    def embed(self, speech: Tensor) -> dict[str, Tensor]:
        """Return the embeddings of all layers, (patches, ...), for speech (n_samples,)."""
        patches = patches_of(self.mel(speech.to(self.device)))
        return {name: found.cpu() for name, found in self.model(patches).items()}


def patches_of(log_mel: Tensor) -> Tensor:
    """Cut (frames, bands) into patches (n_patches, 96, bands); the last is filled with silence.

    The last frame stands for the end of the last hop only, and is dropped where it would need a
    patch of its own.
    """
    n_patches = max(1, -(-(len(log_mel) - 1) // PATCH_FRAMES))
    silence = float(torch.tensor(PRESETS["vggish"].floor).log())
    missing = n_patches * PATCH_FRAMES - len(log_mel)
    padded = nn.functional.pad(log_mel, (0, 0, 0, max(0, missing)), value=silence)
    return padded[: n_patches * PATCH_FRAMES].unflatten(0, (n_patches, PATCH_FRAMES))


class RecogniserNetwork:
    """The recogniser trained here as a black box; it hears all signals at `level`, its training's.

    Layers are cnn.0 to cnn.n (the blocks of the front end), encoder.0 (what enters the encoder),
    encoder.1 to encoder.n (its layers, the last one normalised, as in infer.py) and ctc (the
    probabilities of tokens).
    """

    def __init__(self, recogniser: SpeechBrainRecogniser, level: float):
        self.recogniser, self.level = recogniser, level
        self.layers = _frame_layers(self.embed(torch.randn(ASR_RATE) * 0.05))

    @torch.inference_mode()
    def embed(self, speech: Tensor) -> dict[str, Tensor]:
        """Return the embeddings of all layers, (frames, features), for speech (n_samples,)."""
        recogniser = self.recogniser
        front_end = nn.ModuleList(recogniser.cnn.children())
        encoder = recogniser.transformer.encoder.layers
        with layers_of(front_end) as cnn, layers_of(encoder) as blocks:
            _, encoded, _ = recogniser.encode([at_level(speech, self.level)])
        found = {f"cnn.{k}": block for k, block in enumerate(cnn[1:])}
        found |= {f"encoder.{k}": block for k, block in enumerate([*blocks[:-1], encoded])}
        found["ctc"] = recogniser.search.ctc_lin(encoded).softmax(-1)
        return {name: one[0].flatten(1).float().cpu() for name, one in found.items()}


class HubNetwork:
    """A recogniser of transformers, with all its layers, as a black box: cnn, and encoder.0 to n.

    It hears all signals at `level`. Its decoder has no frames: its layers cannot be inverted.
    """

    def __init__(self, recogniser: Any, level: float):  # anything that has `frames_of`
        self.recogniser, self.level = recogniser, level
        self.layers = _frame_layers(self.embed(torch.randn(ASR_RATE) * 0.05))

    def embed(self, speech: Tensor) -> dict[str, Tensor]:
        """Return the embeddings of all layers, (frames, features), for speech (n_samples,)."""
        found = self.recogniser.frames_of(at_level(speech, self.level))
        n_layers = sum(name.startswith("encoder.") for name in found)
        names = ["cnn", *(f"encoder.{number}" for number in range(n_layers))]
        return {name: found[name].float() for name in names}


def _frame_layers(embeddings: Mapping[str, Tensor]) -> tuple[Layer, ...]:
    """Return the layers that give these embeddings (frames, features) for one second.

    A frame stands for hops of 10 ms, a power of two of them.
    """
    layers = []
    for depth, (name, values) in enumerate(embeddings.items(), start=1):
        n_frames, n_features = values.shape
        samples = 160 * 2 ** round(math.log2(100 / n_frames))
        layers.append(Layer(name, depth, samples, (n_features,), patches=False))
    return tuple(layers)


def choose_layers(layers: Iterable[Layer], names: Iterable[str] | None) -> list[Layer]:
    """Choose layers by name, None for all; refuse a name that the network does not have."""
    known = {layer.name: layer for layer in layers}
    if names is None:
        return list(known.values())
    names = list(names)
    for name in names or ["[]"]:
        if name not in known:
            raise RecipeError(f"layers={name}: expected some of {', '.join(known)}")
    return [layer for name, layer in known.items() if name in set(names)]


def load_weights(path: str | Path, model: nn.Module) -> None:
    """Load a network's tensors strictly, such as a VGGish in the common PyTorch layout.

    A file that holds anything but these tensors (features.*, embeddings.*), or other sizes, is
    refused.
    """
    if not Path(path).is_file():
        raise RecipeError(f"weights={path}: no such file; expected the weights of a VGGish")
    expected = "expected a VGGish of the size that reconstruct.divisor says (1: as published)"
    load_strictly(model, load_safely(path), f"weights={path}", expected)
