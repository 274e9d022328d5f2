"""The course of training: training.json, one entry per epoch, and the plot drawn from it."""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from intelligibility.experiment import AsrFolder
from intelligibility.runs import RecipeError, atomic_path, read_json, write_json


def read_epochs(folder: str | Path) -> list[dict[str, Any]]:
    """Read the epochs that training.json holds; none where training has not begun.

    Raises
    ------
    RecipeError
        The file is damaged.
    """
    path = AsrFolder(Path(folder)).training
    epochs = read_json(path, dict).get("epochs") if path.is_file() else []
    needed = {"epoch", "train_loss", "valid_loss", "ACC", "lr"}
    if not (
        isinstance(epochs, list)
        and all(isinstance(entry, dict) and needed <= entry.keys() for entry in epochs)
    ):
        raise RecipeError(
            f"{path}: does not hold epochs as train_asr.py writes them; restore it, or delete it: "
            "the curves then begin with the next epoch"
        )
    return epochs


def add_epoch(folder: str | Path, entry: dict[str, Any], settings: dict[str, Any]) -> None:
    """Add an epoch to training.json and redraw training.png.

    Parameters
    ----------
    folder : str or Path
        The recogniser's folder.
    entry : dict
        epoch, optimizer, steps, lr, train_loss, valid_loss, ACC and, now and then, WER. It replaces
        what an interrupted run left for this epoch and later ones.
    settings : dict
        Settings and versions, kept beside the epochs.
    """
    files = AsrFolder(Path(folder))
    epochs = [old for old in read_epochs(folder) if old["epoch"] < entry["epoch"]] + [entry]
    write_json(files.training, {"epochs": epochs, **settings})
    plot_training(epochs, files.training_plot)


def describe_epoch(entry: dict[str, Any], last: int) -> str:
    """Say in a line how an epoch went.

    >>> entry = {"epoch": 5, "train_loss": 14.6, "valid_loss": 23.9, "ACC": 0.898, "WER": 34.3}
    >>> describe_epoch(entry, 15)
    'epoch 5 of 15: loss 14.60, validation 23.90; accuracy 89.8 %, word error rate 34.3 %'
    """
    text = (
        f"epoch {entry['epoch']} of {last}: loss {entry['train_loss']:.2f}, "
        f"validation {entry['valid_loss']:.2f}; accuracy {100 * entry['ACC']:.1f} %"
    )
    return text + (f", word error rate {entry['WER']:.1f} %" if "WER" in entry else "")


def plot_training(epochs: list[dict[str, Any]], path: Path) -> None:
    """Draw loss, accuracy with word error rate, and learning rate over the epochs."""
    figure, (loss, accuracy, rate) = plt.subplots(3, 1, sharex=True, figsize=(7, 8))
    number = [entry["epoch"] for entry in epochs]
    for key in ("train_loss", "valid_loss"):
        loss.plot(number, [entry[key] for entry in epochs], ".-", label=key.replace("_", " "))
    accuracy.plot(number, [entry["ACC"] for entry in epochs], ".-", label="token accuracy")
    searched = [entry for entry in epochs if "WER" in entry]
    errors = [entry["WER"] / 100 for entry in searched]
    accuracy.plot([entry["epoch"] for entry in searched], errors, "o-", label="word error rate")
    rate.plot(number, [entry["lr"] for entry in epochs], ".-", label="learning rate")
    rate.set(xlabel="epoch", yscale="log")
    for panel in (loss, accuracy, rate):
        panel.grid(alpha=0.3)
        panel.legend()
    figure.tight_layout()
    with atomic_path(path) as part:
        figure.savefig(part, dpi=120, metadata={"Software": None})
    plt.close(figure)
