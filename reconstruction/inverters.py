"""The networks that give a log-mel spectrogram back from one layer's embedding.

`Inverter` is the whole black box from the other side: a folder with inverter.json and inverter.pt
is all that it takes to turn an embedding into speech.

    inverter = Inverter.load("exp/reconstruct/recogniser/encoder.2/reccnn")
    speech = inverter.invert(numpy.load("embeddings/ref/left_S90601.npy"))    # 16 kHz
"""

import functools
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from intelligibility.recognisers.speechbrain import load_safely
from intelligibility.runs import RecipeError, atomic_path, read_json, write_json
from reconstruction.mel import PRESETS, LogMel, NeuralVocoder, load_strictly
from reconstruction.networks import PATCH_FRAMES, Layer
from reconstruction.places import LayerFolder

PUBLISHED_CHANNELS = (128, 64, 32, 16)  # of the ladder, from 6 x 4 to 96 x 64
PUBLISHED_UNITS = 4096
GRID = (6, 4)  # frames and bands at the foot of the ladder
SCALE = 10.0  # nats; the published targets are log-mel / 10, the published heads end in tanh


@dataclass(frozen=True)
class Spec:
    """Everything that determines an inverter's shape."""

    layer: Layer  # whose embeddings it takes
    mel: str  # preset of the spectrogram that it gives
    width: int  # channels of the residual convolutions, for a network of frames
    divisor: int  # what the ladder's published channels are divided by, for a network of patches
    paper: bool = False  # targets / 10 and a tanh, not standardised bands and a linear head


class Residual(nn.Module):
    """A residual convolution over time."""

    def __init__(self, width: int, kernel: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(width, width, kernel, padding=kernel // 2, bias=False), nn.BatchNorm1d(width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, width, frames) to the same shape."""
        return F.relu(x + self.body(x))


class FrameInverter(nn.Module):
    """Residual convolutions over time for (frames, features), with nearest upsampling.

    No ladder is published for such layers. Two work at the embedding's rate and two at the
    spectrogram's.
    """

    def __init__(self, spec: Spec):
        super().__init__()
        (features,), mel = spec.layer.shape, PRESETS[spec.mel]
        self.ratio = spec.layer.samples / mel.hop
        self.enter = nn.Sequential(
            nn.BatchNorm1d(features, affine=False), nn.Conv1d(features, spec.width, 1)
        )
        self.slow = nn.Sequential(Residual(spec.width, 5), Residual(spec.width, 5))
        self.fast = nn.Sequential(Residual(spec.width, 3), Residual(spec.width, 3))
        self.leave = nn.Conv1d(spec.width, mel.n_bands, 1)

    def forward(self, embedding: Tensor) -> Tensor:
        """Map (n, frames, features) to (n, frames of the spectrogram, bands)."""
        x = self.slow(self.enter(embedding.transpose(1, 2)))
        frames = round(x.shape[2] * self.ratio)
        x = self.fast(F.interpolate(x, size=frames, mode="nearest"))
        return self.leave(x).transpose(1, 2)


class PatchInverter(nn.Module):
    """The published ladder from any rung: 3 x 3 convolutions between nearest upsamplings.

    Entering at pool1 it is one step; the rungs before belong to the deeper layers. Units enter
    through dense layers, a foot that is smaller than 6 x 4 through one more upsampling.
    """

    scale: Tensor  # of the embeddings, set before training

    def __init__(self, spec: Spec):
        super().__init__()
        mel, shape = PRESETS[spec.mel], spec.layer.shape
        self.size = (PATCH_FRAMES * 160 // mel.hop, mel.n_bands)
        channels = [max(4, number // spec.divisor) for number in PUBLISHED_CHANNELS]
        modules: list[nn.Module] = []
        if len(shape) == 1:
            modules += _dense_foot(spec.layer, spec.divisor, channels[0])
            before, frames = channels[0], GRID[0]
        else:
            before, frames = shape[0], shape[1]
        for rung, (number, convolutions) in enumerate(zip(channels, (2, 2, 1, 1), strict=True)):
            if frames > GRID[0] * 2**rung:
                continue  # the embedding enters higher up
            last = rung == len(channels) - 1
            size = self.size if last else (GRID[0] * 2 ** (rung + 1), GRID[1] * 2 ** (rung + 1))
            modules.append(nn.UpsamplingNearest2d(size=size))
            for _ in range(convolutions):
                modules += _convolution(before, number, normalise=not last)
                before = number
        self.ladder = nn.Sequential(*modules, nn.Conv2d(before, 1, 3, padding=1))
        self.register_buffer("scale", torch.ones(()))
        self.apply(_initialise)

    def forward(self, embedding: Tensor) -> Tensor:
        """Map (n, ...) patches to (n, frames of a patch, bands)."""
        return self.ladder(embedding / self.scale)[:, 0]


def _dense_foot(layer: Layer, divisor: int, channels: int) -> list[nn.Module]:
    """Return the dense layers that lead from units to the foot of the ladder.

    fc2 goes back through the sizes of fc1_2 and fc1_1, as published.
    """
    units, before = PUBLISHED_UNITS // divisor, layer.shape[0]
    steps = {"fc1_1": 1, "fc1_2": 2}.get(layer.name, 3)
    modules: list[nn.Module] = []
    for _ in range(steps):
        modules += [nn.Linear(before, units), nn.BatchNorm1d(units), nn.ReLU()]
        before = units
    foot = GRID[0] * GRID[1] * channels
    modules += [nn.Linear(before, foot), nn.BatchNorm1d(foot), nn.ReLU()]
    return [*modules, nn.Unflatten(1, (channels, *GRID))]


def _convolution(before: int, after: int, normalise: bool) -> list[nn.Module]:
    convolution = nn.Conv2d(before, after, 3, padding=1, bias=False)
    return [convolution, *([nn.BatchNorm2d(after)] if normalise else []), nn.ReLU()]


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Linear):
        std = 0.01 if isinstance(module, nn.Conv2d) else (1 / module.in_features) ** 0.5
        nn.init.trunc_normal_(module.weight, std=std, a=-2 * std, b=2 * std)


class Discriminator(nn.Module):
    """Tell patches of true spectrograms from inverted ones: strided 4 x 4 convolutions."""

    def __init__(self) -> None:
        super().__init__()
        modules: list[nn.Module] = []
        for number, (before, after) in enumerate(((1, 16), (16, 32), (32, 64), (64, 128))):
            modules.append(nn.Conv2d(before, after, 4, stride=2, padding=1))
            modules += [nn.BatchNorm2d(after)] if number else []
            modules += [nn.LeakyReLU(0.3), nn.Dropout(0.3)]
        # Padded by hand to the same size: four taps have no middle.
        self.body = nn.Sequential(*modules, nn.ZeroPad2d((1, 2, 1, 2)), nn.Conv2d(128, 1, 4))

    def forward(self, log_mel: Tensor) -> Tensor:
        """Return logits (n, 1, frames / 16, bands / 16) for (n, frames, bands): is it true?"""
        return self.body(log_mel[:, None])


class Inverter(nn.Module):
    """One layer's inverter with all that it needs to make speech.

    `mean` and `deviation` (bands,) are those of the training speech's log-mel; `vocoder` is
    griffinlim, with its iterations `n_iter` and its `seed`, or the folder of a HiFi-GAN.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        spec: Spec,
        mean: Tensor | None = None,
        deviation: Tensor | None = None,
        vocoder: str = "griffinlim",
        n_iter: int = 32,
        seed: int = 0,
    ):
        super().__init__()
        self.spec, self.vocoder, self.n_iter, self.seed = spec, vocoder, n_iter, seed
        self.mel = LogMel(spec.mel)
        bands = self.mel.preset.n_bands
        self.body = PatchInverter(spec) if spec.layer.patches else FrameInverter(spec)
        self.register_buffer("mean", torch.zeros(bands) if mean is None else mean)
        self.register_buffer("deviation", torch.ones(bands) if deviation is None else deviation)

    def forward(self, embedding: Tensor) -> Tensor:
        """Map embeddings (n, frames, features) or (n, ...) to log-mel (n, frames, bands)."""
        found = self.body(embedding)
        if self.spec.paper:
            return SCALE * found.tanh()
        return self.mean + self.deviation * found

    @property
    def scale(self) -> Tensor:
        """Return the nats that count as one in the losses of a GAN."""
        return torch.tensor(SCALE) if self.spec.paper else self.deviation.mean()

    @torch.inference_mode()
    def log_mel(self, embedding: Tensor | np.ndarray) -> Tensor:
        """Return the spectrogram (frames, bands) behind one signal's embedding."""
        self.eval()
        embedding = torch.as_tensor(np.asarray(embedding), dtype=torch.float32)
        shape = self.spec.layer.shape
        if embedding.ndim != len(shape) + 1 or tuple(embedding.shape[1:]) != shape:
            raise ValueError(
                f"the embedding is {tuple(embedding.shape)}; layer {self.spec.layer.name} gives "
                f"(frames, {', '.join(map(str, shape))})"
            )
        embedding = embedding.to(self.mean.device)
        if self.spec.layer.patches:
            return self(embedding).flatten(0, 1).cpu()
        return self(embedding[None])[0].cpu()

    def invert(self, embedding: Tensor | np.ndarray, n_samples: int | None = None) -> np.ndarray:
        """Turn one signal's embedding into speech.

        Parameters
        ----------
        embedding : array, (frames, features) or (patches, ...)
            As the layer gives it.
        n_samples : int, optional
            Length of the speech; as long as the frames reach when it is not known.

        Returns
        -------
        numpy.ndarray, (n_samples,)
            float32, 16 kHz. The same embedding gives the same speech.
        """
        log_mel = self.log_mel(embedding)
        if n_samples is None:
            n_samples = (len(log_mel) - 1) * self.mel.preset.hop
        return self.sound.to_wav(log_mel, n_samples, self.n_iter, self.seed).numpy()

    @functools.cached_property
    def sound(self) -> LogMel | NeuralVocoder:
        """The vocoder."""
        return self.mel if self.vocoder == "griffinlim" else NeuralVocoder(self.vocoder)

    def save(self, folder: str | Path) -> None:
        """Write inverter.json and inverter.pt, tensors only."""
        files = LayerFolder(Path(folder))
        with atomic_path(files.weights) as part:
            torch.save({name: value.cpu() for name, value in self.state_dict().items()}, part)
        sounds = {"vocoder": self.vocoder, "n_iter": self.n_iter, "seed": self.seed}
        write_json(files.inverter, {"spec": asdict(self.spec), **sounds})

    @classmethod
    def load(cls, folder: str | Path) -> "Inverter":
        """Read a trained inverter from the folder that `save` wrote."""
        files = LayerFolder(Path(folder))
        settings = read_json(files.inverter, dict)
        try:
            values = settings.pop("spec")
            layer = Layer(**values["layer"] | {"shape": tuple(values["layer"]["shape"])})
            inverter = cls(Spec(**values | {"layer": layer}), **settings)
        except (KeyError, TypeError, ValueError) as error:
            raise RecipeError(f"{files.inverter}: {error!r}; train it again") from None
        load_strictly(inverter, load_safely(files.weights), str(files.weights), "train it again")
        return inverter.eval()


def n_parameters(module: nn.Module) -> int:
    """Return the number of trained values."""
    return sum(values.numel() for values in module.parameters())
