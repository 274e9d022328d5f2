"""The course of training: training.json, one entry per epoch, and the plot drawn from it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from intelligibility.experiment import AsrFolder
from intelligibility.recognisers.checkpoints import epoch_of
from intelligibility.recognisers.model_settings import check_model_settings
from intelligibility.recognisers.trained_on import heard_by_start, record_data, training_record
from intelligibility.runs import RecipeError, atomic_path, read_json, versions, write_json
from intelligibility.training.checkpoints import WholeCheckpointer


def read_epochs(folder: str | Path) -> list[dict[str, Any]]:
    """Read the epochs that training.json holds; none where training has not begun."""
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

    `entry` has epoch, optimizer, steps, lr, train_loss, valid_loss, ACC and, now and then, WER. It
    replaces what an interrupted run left for this epoch and later ones. `settings` are kept beside
    the epochs.
    """
    files = AsrFolder(Path(folder))
    epochs = [old for old in read_epochs(folder) if old["epoch"] < entry["epoch"]] + [entry]
    write_json(files.training, {"epochs": epochs, **settings})
    plot_training(epochs, files.training_plot)


def epoch_in_a_line(entry: dict[str, Any], last: int) -> str:
    """Return a line about an epoch.

    >>> entry = {"epoch": 5, "train_loss": 14.6, "valid_loss": 23.9, "ACC": 0.898, "WER": 34.3}
    >>> epoch_in_a_line(entry, 15)
    'epoch 5 of 15: loss 14.60, validation 23.90; accuracy 89.8 %, word error rate 34.3 %'
    """
    text = (
        f"epoch {entry['epoch']} of {last}: loss {entry['train_loss']:.2f}, "
        f"validation {entry['valid_loss']:.2f}; accuracy {100 * entry['ACC']:.1f} %"
    )
    return text + (f", word error rate {entry['WER']:.1f} %" if "WER" in entry else "")


def plot_training(epochs: list[dict[str, Any]], path: Path) -> None:
    """Draw loss, accuracy with word error rate, and learning rate over the epochs."""
    figure = Figure(figsize=(7, 8), layout="tight")
    loss, accuracy, rate = figure.subplots(3, 1, sharex=True)
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
    with atomic_path(path) as part:
        figure.savefig(part, dpi=120, metadata={"Software": None})


def settings_and_versions(hparams: Mapping[str, Any]) -> dict[str, Any]:
    """Return the plain settings, the same wherever the experiment lies, and the versions."""
    places = {hparams[name]: f"<{name}>" for name in ("data_folder", "output_folder")}

    def anywhere(value: Any) -> Any:
        if isinstance(value, list):
            return [anywhere(one) for one in value]
        for folder, name in places.items():
            value = value.replace(folder, name) if isinstance(value, str) else value
        return value

    kinds = str | int | float | list | None
    plain = {key: anywhere(value) for key, value in hparams.items() if isinstance(value, kinds)}
    return {"settings": plain, "versions": versions()}


def record_training(
    hparams: Mapping[str, Any],
    checkpointer: WholeCheckpointer,
    tables: Mapping[str, list[dict[str, Any]]],
    rows: list[dict[str, Any]],
    known: Mapping[str, tuple[str, str, str, str]],
) -> None:
    """Record what is trained on, and with which settings; warn or refuse when these changed.

    `tables` are the training tables by name, `rows` one of theirs per wav, and `known` has scene,
    listener, system and enhancement challenge of the signals that prepare_data.py recorded.
    """
    read_epochs(hparams["output_folder"])  # before an epoch is trained that could not be added
    goes_on, found = checkpointer.goes_on(), checkpointer.find_checkpoint()
    if goes_on:
        check_model_settings(checkpointer.checkpoints_dir, hparams["model_settings"])
    write_json(checkpointer.files.model_settings, hparams["model_settings"])
    epochs_left = found is None or epoch_of(found) < hparams["number_of_epochs"]
    if not (goes_on or epochs_left):
        tables, rows = {}, []  # the start is only measured
    data = training_record(tables, rows, known)
    data["presentations"] += heard_by_start(hparams["pretrained"])
    data = {"training": checkpointer.training.get("training")} | data
    record_data(Path(hparams["output_folder"]), data, goes_on, epochs_left)
