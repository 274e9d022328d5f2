"""Train one inverter on pairs of embedding and spectrogram."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from multiprocessing import parent_process
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from intelligibility.runs import RecipeError, progress
from reconstruction.inverters import Discriminator, Inverter, Spec
from reconstruction.mel import PATCH, PRESETS

RATE_DROP = (0.7, 5.0)  # after this share of the steps the learning rate is divided by so much
WEIGHT_L1 = 100.0  # of the L1 against the adversarial loss, as published
LEAST_DEVIATION = 1e-3  # nats: a band that never changes
LEAST_PAIRS = 16


@dataclass(frozen=True)
class FitSettings:
    """What determines a training apart from the data."""

    steps: int  # updates
    batch: int  # crops of 0.96 s in each
    learning_rate: float  # of Adam; divided by five after 70 % of the steps, unless `paper`
    adversarial: bool = False  # RecGAN in place of RecCNN
    paper: bool = False  # the published optimiser: one learning rate throughout
    seed: int = 0  # of the weights and of the crops


@dataclass(frozen=True)
class TrainingPair:
    """One utterance to learn from: its scene, and files of embedding and log-mel spectrogram."""

    scene: str
    embedding: Path
    log_mel: Path


class Crops:
    """Pairs of embedding and log-mel, cut to 0.96 s at random places, read crop by crop.

    Both are cut at the same place or, with `apart`, at places that have nothing in common.
    """

    def __init__(self, pairs: Sequence[TrainingPair], spec: Spec, seed: int, apart: bool = False):
        self.pairs, self.layer, self.apart = list(pairs), spec.layer, apart
        self.rng = np.random.default_rng(seed)
        mel = PRESETS[spec.mel]
        self.frames, self.floor = PATCH // mel.hop, math.log(mel.floor)
        common = math.lcm(self.layer.samples, mel.hop)
        self.embedding_step, self.mel_step = common // self.layer.samples, common // mel.hop

    def draw(self, n_crops: int) -> tuple[Tensor, Tensor]:
        """Return a batch of embeddings and one of spectrograms."""
        chosen = self.rng.integers(len(self.pairs), size=n_crops)
        crops = [self.crop(self.pairs[number]) for number in chosen]
        embeddings, log_mels = zip(*crops, strict=True)
        return torch.from_numpy(np.stack(embeddings)).float(), torch.from_numpy(np.stack(log_mels))

    def crop(self, pair: TrainingPair) -> tuple[np.ndarray, np.ndarray]:
        """Cut one pair: one patch, or as many frames as 0.96 s have."""
        embedding = np.load(pair.embedding, mmap_mode="r")
        log_mel = np.load(pair.log_mel, mmap_mode="r")
        if self.layer.patches:
            n_patches = -(-(len(log_mel) - 1) // self.frames)
            place, mel_place = self._places(len(embedding), n_patches)
            return np.array(embedding[place]), self._mel_from(log_mel, mel_place * self.frames)
        wanted = PATCH // self.layer.samples
        place, mel_place = self._places(
            1 + max(0, len(embedding) - wanted) // self.embedding_step,
            1 + max(0, len(log_mel) - self.frames) // self.mel_step,
        )
        start = place * self.embedding_step
        piece = np.array(embedding[start : start + wanted])
        piece = np.pad(piece, ((0, wanted - len(piece)), (0, 0)))
        return piece, self._mel_from(log_mel, mel_place * self.mel_step)

    def _places(self, n_places: int, n_mel_places: int) -> tuple[int, int]:
        """Draw where to cut both: at one place, unless they are to be apart."""
        if self.apart:
            return int(self.rng.integers(n_places)), int(self.rng.integers(max(1, n_mel_places)))
        place = int(self.rng.integers(max(1, min(n_places, n_mel_places))))
        return place, place

    def _mel_from(self, log_mel: np.ndarray, start: int) -> np.ndarray:
        piece = np.array(log_mel[start : start + self.frames])
        return np.pad(piece, ((0, self.frames - len(piece)), (0, 0)), constant_values=self.floor)


def fit_inverter(
    pairs: Sequence[TrainingPair],
    inverter: Inverter,
    settings: FitSettings,
    device: torch.device,
    apart: bool = False,
) -> dict[str, float]:
    """Train a fresh inverter in place; its seed was set before it was made.

    With `apart`, embedding and spectrogram are cut at different places, for a floor. Too few
    utterances and a loss that is not finite raise a RecipeError. Returns `mel_l1_train`, the mean
    absolute error in nats over the last tenth of the steps, and `steps`.
    """
    check_enough(len(pairs))
    crops = Crops(pairs, inverter.spec, settings.seed, apart)
    torch.manual_seed(settings.seed)
    inverter.to(device).train()
    trainer = _Trainer(inverter, settings, device)
    losses: list[float] = []
    name = inverter.spec.layer.name
    for step in in_progress(range(settings.steps), name, "step", delay=0):
        trainer.set_rate(step)
        embedding, log_mel = crops.draw(settings.batch)
        losses.append(trainer.update(embedding.to(device), log_mel.to(device)))
        if not math.isfinite(losses[-1]):
            raise RecipeError(
                f"{name}: the loss is not finite at step {step + 1}; set a "
                "smaller reconstruct.learning_rate"
            )
    inverter.to("cpu").eval()
    last = losses[-max(1, settings.steps // 10) :]
    return {"mel_l1_train": float(np.mean(last)), "steps": settings.steps}


def in_progress(
    items: Sequence[Any], what: str, unit: str = "signal", delay: float = 10
) -> Iterable[Any]:
    """Show progress, where no other process's bar would be overwritten."""
    return items if parent_process() else progress(items, what, len(items), unit, delay)


def check_enough(n_signals: int) -> None:
    """Refuse too few signals to learn from."""
    if n_signals < LEAST_PAIRS:
        raise RecipeError(
            f"{n_signals} signals to learn from, expected {LEAST_PAIRS} or more; prepare more "
            "training signals, or raise reconstruct.n_train"
        )


def shuffled(pairs: Sequence[TrainingPair]) -> list[TrainingPair]:
    """Give every utterance the spectrogram of another scene: the one half the list away."""
    ordered = sorted(pairs, key=lambda pair: pair.scene)
    half = len(ordered) // 2
    others = [*ordered[half:], *ordered[:half]]
    return [
        replace(pair, log_mel=other.log_mel)
        for pair, other in zip(ordered, others, strict=True)
        if pair.scene != other.scene
    ]


class _Trainer:
    """The optimisers of one training, and one update."""

    def __init__(self, inverter: Inverter, settings: FitSettings, device: torch.device):
        self.inverter, self.settings = inverter, settings
        self.optimiser = torch.optim.Adam(inverter.parameters(), lr=settings.learning_rate)
        if settings.adversarial:
            self.discriminator = Discriminator().to(device)
            weights = self.discriminator.parameters()
            self.opponent = torch.optim.Adam(weights, lr=settings.learning_rate)

    def set_rate(self, step: int) -> None:
        """Lower the learning rate near the end."""
        share, divisor = RATE_DROP
        late = step >= share * self.settings.steps and not self.settings.paper
        for group in self.optimiser.param_groups:
            group["lr"] = self.settings.learning_rate / (divisor if late else 1.0)

    def update(self, embedding: Tensor, log_mel: Tensor) -> float:
        """Take one step; return the mean absolute error in nats."""
        found = self.inverter(embedding)
        l1 = (found - log_mel).abs().mean()
        loss = l1
        if self.settings.adversarial:
            self._teach(found.detach(), log_mel)
            fooled = self._truth(self.discriminator(self._scaled(found)), 1.0)
            loss = WEIGHT_L1 * l1 / self.inverter.scale + fooled
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return l1.item()

    def _teach(self, found: Tensor, log_mel: Tensor) -> None:
        true = self._truth(self.discriminator(self._scaled(log_mel)), 1.0)
        false = self._truth(self.discriminator(self._scaled(found)), 0.0)
        self.opponent.zero_grad()
        (true + false).backward()
        self.opponent.step()

    def _scaled(self, log_mel: Tensor) -> Tensor:
        return (log_mel - self.inverter.mean) / self.inverter.scale

    @staticmethod
    def _truth(logits: Tensor, label: float) -> Tensor:
        return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))


def band_statistics(pairs: Sequence[TrainingPair]) -> tuple[Tensor, Tensor]:
    """Return mean and deviation of every band over the training utterances."""
    count, total, squares = 0, 0.0, 0.0
    for pair in pairs:
        log_mel = np.load(pair.log_mel).astype(np.float64)
        count += len(log_mel)
        total, squares = total + log_mel.sum(0), squares + np.square(log_mel).sum(0)
    mean = total / count
    deviation = np.sqrt(np.maximum(squares / count - mean**2, LEAST_DEVIATION**2))
    return torch.from_numpy(mean).float(), torch.from_numpy(deviation).float()


def embedding_scale(pairs: Sequence[TrainingPair], n_pairs: int = 50) -> float:
    """Return the root mean square of embeddings: the size that a ladder's input is brought to 1."""
    embeddings = (np.load(pair.embedding).astype(np.float64) for pair in pairs[:n_pairs])
    squares = [np.square(embedding).mean() for embedding in embeddings]
    return max(float(np.sqrt(np.mean(squares))), 1e-6)
