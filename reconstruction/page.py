"""One HTML page: what every layer sounds like, how it looks, and which words are left."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import soundfile as sf
from matplotlib.image import imsave

from intelligibility.pages import in_base64, mp3, write_html
from intelligibility.runs import read_json
from intelligibility.words import marked_words
from msbg.audiogram import SEVERITIES
from reconstruction.figures import RANGE, TITLES, by_depth, log_mel_of, save, spectrograms
from reconstruction.jobs import read_heard
from reconstruction.places import LayerFolder, ReconstructionFolder
from reconstruction.scoring import Transcript
from reconstruction.utterances import CONDITIONS, EarSignals


def write_page(
    path: Path, chapters: Sequence[Mapping[str, Any]], provenance: Mapping[str, Any]
) -> None:
    """Write the page; nothing on it is fetched from elsewhere.

    Parameters
    ----------
    path : Path
        The file.
    chapters : sequence of mapping
        What `chapter` returns, with `about`, what the network was trained on, and `table`, its
        layers laid out for reading.
    provenance : mapping
        How the results were made.
    """
    write_html(
        path,
        Path(__file__).with_name("reconstruction.html"),
        provenance["config"],
        chapters=chapters,
        conditions=[TITLES[condition] for condition in CONDITIONS],
        provenance=provenance,
        base64=lambda file: in_base64(lambda stream: stream.write(file.read_bytes())),
    )


def chapter(
    files: ReconstructionFolder,
    source: str,
    inverter: str,
    rows: pd.DataFrame,
    ears: Mapping[str, EarSignals],
) -> dict[str, Any]:
    """Draw the figures of one network and inverter, and gather its examples.

    Parameters
    ----------
    files : ReconstructionFolder
        Where its layers are.
    source, inverter : str
        Their names in the table.
    rows : DataFrame
        Their rows of the table.
    ears : mapping
        The scored ear signals by name.

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
    # The rows of an example: a folder, where its wavs are, and which of its transcripts.
    shown = {name: (controls, name, name) for name in ("original", "copy")}
    shown |= {name: (folder, "wav", "reconstruction") for name, folder in own.items()}
    heard = {
        name: {(one.name, one.condition): one for one in read_heard(folder.path)[kind]}
        for name, (folder, _, kind) in shown.items()
    }
    examples, wavs = [], []
    for ear in examples_of(ears.values(), heard["original"].values()):
        rows_of_ear, wavs_of_ear = [], {}
        for name, (folder, kind, _) in shown.items():
            some = {condition: folder.wav(kind, condition, ear.name) for condition in CONDITIONS}
            cells = [cell(wav, heard[name][ear.name, one]) for one, wav in some.items()]
            rows_of_ear.append((name, cells))
            wavs_of_ear[name] = list(some.values())
        examples.append({"title": title_of(ear), "rows": rows_of_ear})
        wavs.append(wavs_of_ear)
    stem, titles = f"{source}-{inverter}", [TITLES[condition] for condition in CONDITIONS]
    return {
        "title": f"{source}, {inverter}",
        "figure": save(by_depth(rows), files.figure(f"{stem}-by-depth")),
        "picture": save(spectrograms(wavs[0], titles), files.figure(f"{stem}-spectrograms")),
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


def draw(wav: Path, stream: Any) -> None:
    """Draw the log-mel spectrogram of a wav as JPEG."""
    log_mel = log_mel_of(wav)
    top = float(log_mel.max())
    colours = {"cmap": "magma", "vmin": top - RANGE, "vmax": top}
    imsave(stream, log_mel.T, origin="lower", format="jpeg", **colours)
