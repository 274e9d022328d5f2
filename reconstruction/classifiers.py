"""The classifiers whose layers are inverted: trained here on labels of the metadata."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from intelligibility.runs import RecipeError, atomic_path, pick_device, write_json
from reconstruction.configured import NetworkChoice, new_model
from reconstruction.mel import LogMel, at_level
from reconstruction.networks import PATCH_FRAMES, SmallEnc, VGGish
from reconstruction.utterances import TASKS, EarSignals, read_speech

MOST_CLASSES = 50
LEAST_PER_CLASS = 5  # training ears
BATCH, LEARNING_RATE = 32, 1e-3  # of Adam
SNR_CLASSES = ("low", "middle", "high")  # thirds of the training scenes


def label_ears(ears: Sequence[EarSignals], training: Sequence[EarSignals]) -> list[EarSignals]:
    """Give ears the labels that follow from themselves, and SNR its class.

    Ears may bring labels of their scene: talker, interferer, snr (dB).
    """
    levels = [float(ear.labels["snr"]) for ear in training if "snr" in ear.labels]
    limits = np.quantile(levels, [1 / 3, 2 / 3]) if levels else None
    labelled = []
    for ear in ears:
        labels = {"hearing_aid": ear.system, "severity": ear.severity, **ear.labels}
        labels["first_word"] = ear.prompt.split()[0].upper() if ear.prompt.split() else ""
        if "snr" in labels:
            place = 0 if limits is None else np.searchsorted(limits, float(labels["snr"]), "left")
            labels["snr"] = SNR_CLASSES[int(place)]
        labelled.append(replace(ear, labels=labels))
    return labelled


def fault_of(task: str, training: Sequence[EarSignals]) -> str:
    """Return why these metadata cannot teach a task, or an empty string."""
    counts = Counter(ear.labels[task] for ear in training if ear.labels.get(task))
    if sum(counts.values()) < len(training):
        return "not in the metadata"
    if not 2 <= len(counts) <= MOST_CLASSES:
        return f"{len(counts)} classes, expected 2 to {MOST_CLASSES}"
    rarest, number = counts.most_common()[-1]
    enough = number >= LEAST_PER_CLASS
    return "" if enough else f"{number} ears of {rarest}, expected {LEAST_PER_CLASS} or more"


def choose_tasks(wanted: str, training: Sequence[EarSignals]) -> list[str]:
    """Return the task, or all that are known for "all"; refuse one that is not known here."""
    faults = {task: fault_of(task, training) for task in TASKS}
    known = [task for task, fault in faults.items() if not fault]
    if wanted == "all" and known:
        return known
    if wanted not in known:
        raise RecipeError(
            f"task={wanted}: {faults.get(wanted, 'no such task')}; known here: "
            f"{', '.join(known) or 'none'}. Talker, interferer and snr come from "
            "scenes.CPC1_train.json and scenes.CPC1_test.json of the release"
        )
    return [wanted]


@dataclass(frozen=True)
class ClassifierJob:
    """Everything that a process needs to train one classifier."""

    record: Path  # the file that says what it was made by and how accurate it is, written last
    made_by: dict[str, Any]  # everything that determines its weights, apart from network and task
    weights: Path  # the file of the weights
    choice: NetworkChoice  # network and task
    steps: int  # updates
    seed: int  # of weights and patches
    training: list[EarSignals]
    held_out: list[EarSignals]  # what its accuracy is measured on
    divisor: int  # as in `VGGish`
    device: str  # as in the configuration


def make_classifier(job: ClassifierJob) -> tuple[str, dict[str, Any]]:
    """Train and write one classifier; return its name and its scores."""
    torch.manual_seed(job.seed)
    model = new_model(job.choice.network, job.divisor)
    scores = train_classifier(job, model, pick_device(job.device))
    job.record.unlink(missing_ok=True)
    with atomic_path(job.weights) as part:
        torch.save(model.state_dict(), part)
    write_json(job.record, {"task": job.choice.task, **scores, "made_by": job.made_by})
    return job.choice.name, scores


def train_classifier(
    job: ClassifierJob, model: VGGish | SmallEnc, device: torch.device
) -> dict[str, Any]:
    """Train a network of patches on a task, in place.

    Returns `accuracy` on held-out scenes and `chance`, that of the most common class, in percent;
    the counts behind them, and the classes.
    """
    task, training, held_out = job.choice.task, job.training, job.held_out
    classes = sorted({ear.labels[task] for ear in training})
    mel = LogMel("vggish")
    examples = list(_examples(task, training, classes, mel))
    torch.manual_seed(job.seed)
    head = nn.Linear(model.embedding_size, len(classes)).to(device)
    model.to(device).train()
    parameters = [*model.parameters(), *head.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=LEARNING_RATE)
    rng = np.random.default_rng(job.seed)
    for _ in range(job.steps):
        chosen = [examples[i] for i in rng.integers(len(examples), size=BATCH)]
        cut = [_patch(log_mel, int(rng.integers(_places(log_mel)))) for log_mel, _ in chosen]
        patches = torch.stack(cut).to(device)
        labels = torch.tensor([label for _, label in chosen], device=device)
        loss = F.cross_entropy(head(_last(model, patches)), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    model.eval()
    known = [ear for ear in held_out if ear.labels.get(task) in classes]
    tests = list(_examples(task, known, classes, mel))
    right = sum(_decide(model, head, log_mel, device) == label for log_mel, label in tests)
    most = Counter(label for _, label in tests).most_common(1)
    model.to("cpu")
    return {
        "accuracy": 100 * right / max(1, len(tests)),
        "chance": 100 * most[0][1] / len(tests) if most else 0.0,
        "n_training": len(examples),
        "n_held_out": len(tests),
        "classes": classes,
    }


def _examples(
    task: str, ears: Iterable[EarSignals], classes: list[str], mel: LogMel
) -> Iterable[tuple[Tensor, int]]:
    for ear in ears:
        for condition in TASKS[task]:
            speech = at_level(read_speech(ear.wavs[condition]))
            yield mel(speech), classes.index(ear.labels[task])


def _patch(log_mel: Tensor, start: int) -> Tensor:
    """Cut one patch; a signal that is shorter is filled up."""
    piece = log_mel[start : start + PATCH_FRAMES]
    return F.pad(piece, (0, 0, 0, PATCH_FRAMES - len(piece)), value=float(log_mel.min()))


def _places(log_mel: Tensor) -> int:
    """Return how many places a patch can start at."""
    return max(1, len(log_mel) - PATCH_FRAMES + 1)


def _last(model: nn.Module, patches: Tensor) -> Tensor:
    """Return the last layer's output: the embedding that the head classifies."""
    return list(model(patches).values())[-1]


@torch.inference_mode()
def _decide(model: nn.Module, head: nn.Module, log_mel: Tensor, device: torch.device) -> int:
    """Classify a whole signal: the mean logits of patches that lie within it, evenly spread."""
    n_patches = max(1, round(len(log_mel) / PATCH_FRAMES))
    starts = np.linspace(0, _places(log_mel) - 1, n_patches).astype(int)
    patches = torch.stack([_patch(log_mel, start) for start in starts]).to(device)
    return int(head(_last(model, patches)).mean(0).argmax())
