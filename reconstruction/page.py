"""The pages and their figures: how each layer sounds and looks, and which words are left."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile as sf
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from intelligibility.evaluation.drawing import BLUE, GREY, ORANGE, PAGE, STYLE
from intelligibility.pages import in_base64, mp3, write_html
from intelligibility.runs import atomic_path, read_json
from intelligibility.words import marked_words
from msbg.audiogram import SEVERITIES
from reconstruction.jobs import read_heard
from reconstruction.mel import LogMel, at_level
from reconstruction.places import LayerFolder, ReconstructionFolder
from reconstruction.scoring import ALL, Transcript
from reconstruction.utterances import CONDITIONS, EarSignals, read_speech

LOOKS = {"ref": (BLUE, "o"), "msbg": (ORANGE, "s")}
SHORT = {"ref": "ref", "msbg": "processed"}  # in the columns of tables
TITLES = {"ref": "clean reference", "msbg": "processed, after the hearing loss"}
RANGE = 7.0  # nats below the loudest, to the darkest colour
SHOWN_KHZ = (1, 2, 4, 8)  # beside a spectrogram; the last is its highest


def write_page(path: Path, content: Mapping[str, Any], provenance: Mapping[str, Any]) -> None:
    """Write the page of one network and inverter; nothing on it is fetched from elsewhere.

    To what `chapter` returns belong `about`, what the network was trained on, and `table`, its
    layers laid out for reading.
    """
    write_html(
        path,
        Path(__file__).with_name("layers.html"),
        provenance,
        {"seed": provenance["seed"]},
        chapter=content,
        conditions=[TITLES[condition] for condition in CONDITIONS],
        base64=lambda file: in_base64(lambda stream: stream.write(file.read_bytes())),
    )


def write_index(
    path: Path, chapters: Mapping[str, Mapping[str, Any]], provenance: Mapping[str, Any]
) -> None:
    """Write the index: one sentence through every layer of every network and task.

    The chapters are by the name of the file that `write_page` wrote, seen from the index.
    """
    networks = []
    for page, one in chapters.items():
        numbers = one["table"].drop_duplicates("layer").set_index("layer")
        lines = [(name, numbers.loc[name], cells) for name, cells in one["examples"][0]["rows"]]
        networks.append({"page": page, "chapter": one, "lines": lines})
    write_html(
        path,
        Path(__file__).with_name(path.name),
        provenance,
        networks=networks,
        conditions=[(TITLES[condition], SHORT[condition]) for condition in CONDITIONS],
    )


def chapter(
    files: ReconstructionFolder,
    source: str,
    inverter: str,
    rows: pd.DataFrame,
    ears: Mapping[str, EarSignals],
) -> dict[str, Any]:
    """Draw the figures of one network and inverter, and gather its examples.

    `rows` are its rows of the table, `ears` the scored ear signals by name.

    Returns
    -------
    dict
        title; figure and picture (Path): skill and word error rate by depth, and spectrograms of
        one sentence; examples: for each its title and rows, (name, [cell of each condition]).
    """
    layers = rows[rows["kind"] == "layer"].sort_values("depth")["layer"].unique()
    own = {name: LayerFolder(files.layer(source, name, inverter)) for name in layers}
    mel = read_json(own[layers[0]].inverter, dict)["spec"]["mel"]
    controls = LayerFolder(files.controls(mel))
    # The rows of an example: a folder, and which of its sounds.
    shown = {name: (controls, name) for name in ("original", "copy")}
    shown |= {name: (folder, "reconstruction") for name, folder in own.items()}
    heard = {
        name: {(one.name, one.condition): one for one in read_heard(folder.path, files.judge)[kind]}
        for name, (folder, kind) in shown.items()
    }
    examples, wavs = [], []
    for ear in examples_of(ears.values(), heard["original"].values()):
        rows_of_ear, wavs_of_ear = [], {}
        for name, (folder, kind) in shown.items():
            some = {condition: folder.wav(kind, condition, ear.name) for condition in CONDITIONS}
            cells = [cell(wav, heard[name][ear.name, one]) for one, wav in some.items()]
            rows_of_ear.append((name, cells))
            wavs_of_ear[name] = list(some.values())
        examples.append({"title": title_of(ear), "rows": rows_of_ear})
        wavs.append(wavs_of_ear)
    stem = f"{source}-{inverter}"
    return {
        "title": f"{source}, {inverter}",
        "folder": f"{source}/{{}}/{inverter}",
        "figure": save(by_depth(rows), files.figure(f"{stem}-by-depth")),
        "picture": save(spectrograms(wavs[0]), files.figure(f"{stem}-spectrograms")),
        "examples": examples,
    }


def examples_of(ears: Iterable[EarSignals], originals: Iterable[Transcript]) -> list[EarSignals]:
    """Choose one ear of each severity: the first whose processed original was understood best."""
    errors = {one.name: one.errors for one in originals if one.condition == "msbg"}
    best: dict[str, EarSignals] = {}
    for ear in sorted(ears, key=lambda ear: (errors[ear.name], ear.name)):
        best.setdefault(ear.severity, ear)
    return [best[severity] for severity in SEVERITIES if severity in best]


def title_of(ear: EarSignals) -> str:
    """Return the heading of an example: the sentence, and for whom."""
    return (
        f"“{ear.prompt.capitalize()}” — {ear.severity.lower()} loss ({ear.listener}), hearing aid "
        f"{ear.system}, {ear.name.split('_')[0]} ear"
    )


def cell(wav: Path, heard: Transcript) -> dict[str, Any]:
    """Return how one signal sounds and looks (MP3 and JPEG, base64), and what was understood.

    `words` are the prompt's, each with whether it was lost; `text` is the judge's transcript.
    """
    return {
        "audio": mp3(*sf.read(wav, dtype="float32")),
        "picture": in_base64(lambda stream: draw(wav, stream)),
        "words": marked_words(heard.text, heard.prompt),
        "text": heard.text,
    }


@rc_context(STYLE)
def draw(wav: Path, stream: Any) -> None:
    """Draw the log-mel spectrogram of a wav as JPEG."""
    figure = Figure((3.6, 1.2), layout="constrained")
    axes = figure.subplots()
    show(axes, log_mel_of(wav))
    axes.set(xlabel="s", ylabel="kHz")
    figure.savefig(stream, format="jpeg", dpi=110, pil_kwargs={"quality": 80})


def show(axes: Axes, log_mel: np.ndarray) -> None:
    """Draw a log-mel spectrogram (frames, bands) with its axes: seconds, and kHz by the mel."""
    n_frames, n_bands = log_mel.shape
    top = float(log_mel.max())
    extent = (0.0, n_frames * 0.01, 0.0, float(n_bands))
    image = axes.imshow(log_mel.T, cmap="magma", origin="lower", aspect="auto", extent=extent)
    image.set_clim(top - RANGE, top)
    mels = [math.log1p(khz / 0.7) for khz in SHOWN_KHZ]
    axes.set_yticks([n_bands * mel / mels[-1] for mel in mels], [f"{khz:g}" for khz in SHOWN_KHZ])


def by_depth(rows: pd.DataFrame) -> Figure:
    """Draw skill and word error rate of one network's layers with one inverter, both conditions."""
    whole = rows[rows["listener"] == ALL]
    layers = whole[whole["kind"] == "layer"]
    names = layers.drop_duplicates("layer").sort_values("depth")["layer"].tolist()
    with rc_context(STYLE):
        figure = Figure(figsize=(PAGE, 2.9), layout="constrained")
        skill, wer = figure.subplots(1, 2)
        for condition in CONDITIONS:
            colour, marker = LOOKS[condition]
            part = layers[layers["condition"] == condition].set_index("layer").loc[names]
            places = range(len(names))
            look = {"color": colour, "marker": marker, "label": TITLES[condition]}
            skill.plot(places, part["skill"], **look)
            errors = [part["wer"] - part["wer_ci_lo"], part["wer_ci_hi"] - part["wer"]]
            wer.errorbar(places, part["wer"], errors, capsize=2, **look)
            copy = whole[(whole["condition"] == condition) & (whole["kind"] == "copy")]
            wer.axhline(copy["wer"].iloc[0], color=colour, linestyle="--", linewidth=0.8)
        clean = whole[whole["condition"] == "ref"]
        for kind, style in (("untrained", ":"), ("shuffled", "-.")):  # a layer without words
            part = clean[clean["kind"] == kind].set_index("layer").reindex(names)
            label = f"{kind}, reference"
            wer.plot(range(len(names)), part["wer"], style, color=GREY, label=label)
        lowest = min(0, skill.get_ylim()[0])
        skill.set(ylabel="skill: 1 - L1 / L1 of the band mean", ylim=(lowest, 1))
        wer.set(ylabel="word error rate (%)", ylim=(0, max(105, wer.get_ylim()[1])))
        for axes in (skill, wer):
            axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
        figure.legend(*wer.get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return figure


def spectrograms(wavs: Mapping[str, Sequence[Path]]) -> Figure:
    """Draw the log-mel spectrograms of one sentence in one picture.

    `wavs` are by the name of a row (original, copy, a layer), one for each condition.
    """
    with rc_context(STYLE):
        figure = Figure(figsize=(PAGE, 0.3 + 0.9 * len(wavs)), layout="constrained")
        grid = figure.subplots(len(wavs), len(CONDITIONS), squeeze=False, sharex="col")
        for row, (name, files) in zip(grid, wavs.items(), strict=True):
            for axes, file in zip(row, files, strict=True):
                show(axes, log_mel_of(file))
            row[0].set_ylabel(f"{name}\nkHz", rotation=0, ha="right", va="center")
        for axes, condition in zip(grid[0], CONDITIONS, strict=True):
            axes.set_title(TITLES[condition])
        for axes in grid[-1]:
            axes.set_xlabel("time (s)")
    return figure


def log_mel_of(wav: Path) -> np.ndarray:
    """Return the log-mel spectrogram (frames, bands) of a wav."""
    return LogMel("asr")(at_level(read_speech(wav))).numpy()


def save(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG, whole; return the path."""
    with atomic_path(path) as part:
        figure.savefig(part, dpi=200, metadata={"Software": None})
    return path
