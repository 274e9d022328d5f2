"""One HTML page with everything in it: no other file, no network, no script."""

import base64
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from intelligibility.corpora import CORPORA, corpus_of
from intelligibility.evaluation.curve import CURVE
from intelligibility.evaluation.drawing import Drawing
from intelligibility.evaluation.leaks import in_words
from intelligibility.evaluation.mapping import read_curve
from intelligibility.evaluation.tables import NAMES, OURS, Table
from intelligibility.pages import number, write_html

TEXT_COLUMNS = {"measure", "source", "a", "b", "score", "better", "listener", "system", "severity"}
TEXT_COLUMNS |= {"grade", "CEC", "SNR"}
LONG = 30  # rows beyond which a table opens on demand
PIXELS_SHOWN = 0.55  # of the image's own, which has 200 per inch


def write_report(
    path: Path,
    results: Mapping[str, Any],
    tables: Iterable[Table],
    drawings: Mapping[Path, Drawing],
) -> None:
    """Write report{track}.html; equal `results` give an equal page, since their time is its time.

    The tables are shown in their order, and the first of the drawings, which go by their PNG files,
    after the first table.
    """
    config = results["provenance"]["config"]
    corpus = corpus_of(config)
    title = corpus.title or corpus.name.upper()
    title = f"{config['cpc1_track']} track" if corpus.tracks else title
    write_html(
        path,
        Path(__file__).with_name("report.html"),
        results["provenance"] | {"config": _without_other_corpora(config)},
        facts(results),
        title=f"Speech intelligibility prediction, {title}",
        summary=summary(results),
        notes=notes(results),
        tables=list(tables),
        figures=[_embedded(file, drawing) for file, drawing in drawings.items()],
        text=TEXT_COLUMNS,
        long=LONG,
        row_class=_row_class,
    )


def _without_other_corpora(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration without the keys of other corpora, or of downloading them."""
    corpus = corpus_of(config)
    others = tuple(f"{name}_" for name, other in CORPORA.items() if other != corpus)
    kept, paths = (
        {key: value for key, value in part.items() if not key.startswith(others) and key != "only"}
        for part in (config, config["path"])
    )
    return kept | {"path": paths}


def _embedded(file: Path, drawing: Drawing) -> dict[str, Any]:
    png = file.read_bytes()
    width = round(PIXELS_SHOWN * int.from_bytes(png[16:20], "big"))  # from the PNG's header
    encoded = base64.b64encode(png).decode()
    return {"title": drawing.title, "caption": drawing.caption, "png": encoded, "width": width}


def summary(results: Mapping[str, Any]) -> list[str]:
    """Describe what was run on which data, and how well it predicted."""
    dev, test = results["counts"]["dev"], results["counts"]["test"]
    calibration = results["provenance"]["config"]["calibration"]
    matched = f"fitted on {dev['matched']} held-out dev signals" if dev else None
    errors = []
    for name, scores in reversed(results["scores"].items()):
        values = scores["RMSE"]["value"], *(scores["RMSE"]["interval"] or (None, None))
        value, low, high = (number(one, 1) for one in values)
        errors.append(f"{NAMES[name]} {value} % ({low} to {high})")
    heard = f"outputs of {test['systems']} hearing-aid systems for {test['listeners']} listeners"
    if not test["systems"]:
        heard = "outputs of hearing aids that are not named"
    config = results["provenance"]["config"]
    simulated = "Without" if config["hearing_loss"] == "none" else "With"
    return [
        f"{simulated} a hearing-loss simulation (MSBG), a speech recogniser "
        f"({recogniser_of(config)}) was run on the {heard}: {test['matched']} test signals from "
        f"{test['scenes']} scenes. The similarity "
        "between the recogniser's hidden representations of the processed signal and of the clean "
        f"reference was mapped to percent words correct by a {CURVE} "
        f"{matched or f'read from {calibration}'}, after Tu, Ma & Barker (2022), arXiv 2204.04287.",
        f"Root mean square error: {'; '.join(errors)}. In brackets: 95 % bootstrap intervals over "
        f"test scenes, the {CURVE} held fixed.",
    ]


def recogniser_of(config: Mapping[str, Any]) -> str:
    """Return which recogniser it was: its id or folder, or the run in which it was trained here."""
    name, revision = config["recogniser"], config["recogniser_revision"]
    if name is None:
        name, revision = f"trained by train_asr.py, {config['asr_config']}", config["run"]
    return name if revision is None else f"{name}, {revision}"


def notes(results: Mapping[str, Any]) -> list[str]:
    """Return what a reader has to know before comparing these results with published ones."""
    config, counts = results["provenance"]["config"], results["counts"]["test"]
    corpus, track = corpus_of(config), config["cpc1_track"]
    sizes = {name: one["n_signals"] for name, one in results["sets"].items()}
    said = []
    for name, n in (sizes or {track: counts["matched"]}).items():
        whole = corpus.n_test_signals.get(name)
        if whole is not None and n != whole:
            what = f"{track} test set" if corpus.tracks else f"set {name}"
            said.append(
                f"These are {n} test signals; the {what} of {corpus.name.upper()} has {whole}. The "
                "published rows are for orientation only: they are of other signals."
            )
    if not any(one["measures"] for one in results["within"].values()):
        reasons = "; ".join(one["reason"] for one in results["within"].values())
        said.append(f"No correlations within listeners or within systems: {reasons}.")
    if n_left_out := results["leaks"]["left_out"]:
        said.append(f"{n_left_out} test signals are left out: the mapping was fitted on them.")
    said += [f"{sentence}." for sentence in in_words(results["leaks"])]
    faults = [
        f"{counts[what]} {what}"
        for what in ("unlabelled", "missing", "double", "unknown")
        if counts[what]
    ]
    if faults:
        said.append(f"Not all test signals could be used as they are: {', '.join(faults)}.")
    return said


def facts(results: Mapping[str, Any]) -> dict[str, str]:
    """Return how the results were made, apart from time and versions."""
    made = results["provenance"]
    fits = results["calibration"]["measures"]
    release = corpus_of(made["config"]).data_keys["test"]
    return {
        "checkpoint (SHA-256)": made["checkpoint_sha256"] or "not recorded",
        "release": made["config"]["path"].get(release) or "not named",
        **{f"{CURVE}, {NAMES[measure]}": str(read_curve(fit)) for measure, fit in fits.items()},
        "bootstrap": f"{results['bootstrap']['resamples']} resamples of scenes",
        "seeds": ", ".join(
            f"{script} {seed}" for script, seed in made["seeds"].items() if seed is not None
        ),
    }


def _row_class(row: Mapping[str, str]) -> str:
    source = row.get("source", "")
    if source in ("", OURS):
        return "ours" if source else ""
    return "interval" if source.endswith("interval") else "published"
