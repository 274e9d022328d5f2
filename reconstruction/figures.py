"""Skill and word error rate by depth, and spectrograms of one sentence through all layers."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from intelligibility.evaluation.drawing import BLUE, GREY, ORANGE, PAGE, STYLE
from intelligibility.runs import atomic_path
from reconstruction.mel import LEVEL, LogMel, at_level
from reconstruction.scoring import ALL
from reconstruction.utterances import CONDITIONS, read_speech

LOOKS = {"ref": (BLUE, "o"), "msbg": (ORANGE, "s")}
TITLES = {"ref": "clean reference", "msbg": "processed, after the hearing loss"}
RANGE = 7.0  # nats below the loudest, to the darkest colour


def by_depth(rows: pd.DataFrame) -> Figure:
    """Draw skill and word error rate of one network's layers, both conditions.

    Parameters
    ----------
    rows : DataFrame
        One source and one inverter of the long table, with controls and floors.
    """
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
        _floors(wer, whole[whole["condition"] == "ref"], names)
        lowest = min(0, skill.get_ylim()[0])
        skill.set(ylabel="skill: 1 - L1 / L1 of the band mean", ylim=(lowest, 1))
        wer.set(ylabel="word error rate (%)", ylim=(0, max(105, wer.get_ylim()[1])))
        for axes in (skill, wer):
            axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
        figure.legend(*wer.get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return figure


def _floors(axes: Axes, clean: pd.DataFrame, names: list[str]) -> None:
    """Draw the word error rates that a layer without words would have."""
    for kind, style in (("untrained", ":"), ("shuffled", "-.")):
        part = clean[clean["kind"] == kind].set_index("layer").reindex(names)
        axes.plot(range(len(names)), part["wer"], style, color=GREY, label=f"{kind}, reference")


def spectrograms(wavs: Mapping[str, Sequence[Path]], titles: Sequence[str]) -> Figure:
    """Draw the log-mel spectrograms of one sentence in one picture.

    Parameters
    ----------
    wavs : mapping
        From the name of a row (original, copy, a layer) to its wavs, one per column.
    titles : sequence of str
        Of the columns.
    """
    with rc_context(STYLE):
        figure = Figure(figsize=(PAGE, 0.3 + 0.72 * len(wavs)), layout="constrained")
        grid = figure.subplots(len(wavs), len(titles), squeeze=False, sharex="col")
        for row, (name, files) in zip(grid, wavs.items(), strict=True):
            for axes, file in zip(row, files, strict=True):
                picture = log_mel_of(file)
                seconds = len(picture) * 0.01
                axes.imshow(
                    picture.T,
                    origin="lower",
                    aspect="auto",
                    cmap="magma",
                    vmin=picture.max() - RANGE,
                    vmax=picture.max(),
                    extent=(0, seconds, 0, picture.shape[1]),
                )
                axes.set_yticks([])
            row[0].set_ylabel(name, rotation=0, ha="right", va="center")
        for axes, title in zip(grid[0], titles, strict=True):
            axes.set_title(title)
        for axes in grid[-1]:
            axes.set_xlabel("time (s)")
    return figure


def log_mel_of(wav: Path) -> np.ndarray:
    """Return the log-mel spectrogram (frames, bands) of a wav."""
    return LogMel("asr")(at_level(read_speech(wav), LEVEL)[None])[0].numpy()


def save(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG, whole; return the path."""
    with atomic_path(path) as part:
        figure.savefig(part, dpi=200, metadata={"Software": None})
    return path
