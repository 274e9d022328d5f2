"""One HTML page: what every layer sounds like, how it looks, and which words are left."""

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile as sf
from matplotlib.image import imsave

from intelligibility.pages import write_html
from intelligibility.words import marked_words
from msbg.audiogram import SEVERITIES
from reconstruction.figures import RANGE, TITLES, log_mel_of
from reconstruction.mel import RATE
from reconstruction.score import ALL, Heard
from reconstruction.utterances import CONDITIONS, Ear


@dataclass(frozen=True)
class Sound:
    """One cell of the page: how one signal sounds and looks, and what was understood.

    Attributes
    ----------
    audio, picture : str
        MP3 and JPEG, base64.
    words : list of (str, bool)
        The prompt's words, each with whether it was lost.
    text : str
        What the judge wrote down.
    """

    audio: str
    picture: str
    words: list[tuple[str, bool]]
    text: str


@dataclass(frozen=True)
class Chapter:
    """One network and inverter: its figure, its table and its examples.

    Attributes
    ----------
    title, about : str
        Heading, and what the network was trained on.
    figure : Path
        Skill and word error rate by depth.
    picture : Path
        Spectrograms of one sentence.
    lines : list of dict
        The table, formatted, by column.
    examples : list of dict
        `title` and `rows`: (name, [Sound of each condition]).
    """

    title: str
    about: str
    figure: Path
    picture: Path
    lines: list[dict[str, str]]
    examples: list[dict[str, Any]]


def write_page(path: Path, chapters: Sequence[Chapter], results: Mapping[str, Any]) -> None:
    """Write the page; nothing on it is fetched from elsewhere."""
    write_html(
        path,
        Path(__file__).with_name("reconstruction.html"),
        results["provenance"]["config"],
        chapters=chapters,
        conditions=[TITLES[condition] for condition in CONDITIONS],
        provenance=results["provenance"],
        base64=lambda file: base64.b64encode(file.read_bytes()).decode(),
    )


def examples_of(ears: Iterable[Ear], originals: Iterable[Heard]) -> list[Ear]:
    """Choose one ear of each severity: the first whose processed original was understood best."""
    errors = {one.name: one.errors for one in originals if one.condition == "msbg"}
    best: dict[str, Ear] = {}
    for ear in sorted(ears, key=lambda ear: (errors[ear.name], ear.name)):
        best.setdefault(ear.severity, ear)
    return [best[severity] for severity in SEVERITIES if severity in best]


def example(
    ear: Ear, wavs: Mapping[str, Sequence[Path]], heard: Mapping[str, Sequence[Heard]]
) -> dict[str, Any]:
    """Return one example: a row for the original, the copy and each layer.

    Parameters
    ----------
    ear : Ear
        Which sentence, for whom.
    wavs, heard : mapping
        From the name of a row to its wavs and to what the judge heard, by condition.
    """
    title = f"“{ear.prompt.capitalize()}” — {ear.severity.lower()} loss ({ear.listener}), hearing "
    title += f"aid {ear.system}, {ear.name.split('_')[0]} ear"
    rows = []
    for name, files in wavs.items():
        sounds = [
            Sound(mp3(file), picture(file), marked_words(one.text, one.prompt), one.text)
            for file, one in zip(files, heard[name], strict=True)
        ]
        rows.append((name, sounds))
    return {"title": title, "rows": rows}


def mp3(wav: Path) -> str:
    """Return a wav as MP3 in base64; what would clip is made softer."""
    samples, _ = sf.read(wav, dtype="float32")
    stream = io.BytesIO()
    samples = samples / max(1.0, float(np.abs(samples).max()))
    sf.write(stream, samples, RATE, format="MP3")
    return base64.b64encode(stream.getvalue()).decode()


def picture(wav: Path) -> str:
    """Return the log-mel spectrogram of a wav as JPEG in base64."""
    log_mel = log_mel_of(wav)
    stream = io.BytesIO()
    top = float(log_mel.max())
    colours = {"cmap": "magma", "vmin": top - RANGE, "vmax": top}
    imsave(stream, log_mel.T, origin="lower", format="jpeg", **colours)
    return base64.b64encode(stream.getvalue()).decode()


def table_lines(rows: pd.DataFrame) -> list[dict[str, str]]:
    """Return one network's table for the page: a line per layer, both conditions."""
    lines = []
    whole = rows[rows["listener"] == ALL]
    for (layer, inverter), pair in whole.groupby(["layer", "inverter"], sort=False):
        one = pair.iloc[0]
        line = {"layer": layer, "inverter": inverter, "values per s": _shown(one.floats_per_s, 0)}
        for condition in CONDITIONS:
            row = pair[pair["condition"] == condition].iloc[0]
            short = "ref" if condition == "ref" else "processed"
            line |= {
                f"{short} L1": _shown(row.mel_l1, 2),
                f"{short} skill": _shown(row.skill, 2),
                f"{short} WER": f"{row.wer:.1f} ({row.wer_ci_lo:.0f} to {row.wer_ci_hi:.0f})",
            }
        lines.append(line)
    return lines


def _shown(value: Any, digits: int) -> str:
    return "" if value is None or pd.isna(value) else f"{value:,.{digits}f}"
