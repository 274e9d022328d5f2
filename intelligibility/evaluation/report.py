"""One HTML page with everything in it: no other file, no network, no script."""

import base64
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from intelligibility.corpora import CORPORA, corpus_of
from intelligibility.evaluation.curve import CURVE
from intelligibility.evaluation.figures import Drawing
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
    """Write the page; equal results give an equal page.

    Parameters
    ----------
    path : Path
        report{track}.html.
    results : mapping
        What results{track}.json holds: its time is the page's time.
    tables : iterable of Table
        In the order in which to show them; the first figure follows the first.
    drawings : mapping
        The PNG file of each figure, and the figure.
    """
    write_html(
        path,
        Path(__file__).with_name("report.html"),
        results["provenance"] | {"config": of_this_corpus(results["provenance"]["config"])},
        facts(results),
        title=title_of(results),
        summary=summary(results),
        notes=notes(results),
        tables=list(tables),
        figures=[_embedded(file, drawing) for file, drawing in drawings.items()],
        text=TEXT_COLUMNS,
        long=LONG,
        row_class=_row_class,
    )


def title_of(results: Mapping[str, Any]) -> str:
    """Name the corpus: CPC1 by its track."""
    corpus = corpus_of(results["provenance"]["config"])
    track = f"{results['provenance']['config']['cpc1_track']} track"
    title = track if corpus.tracks else corpus.name.upper()
    return f"Speech intelligibility prediction, {title}"


def of_this_corpus(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration without what is of other corpora, or of fetching them."""
    corpus = corpus_of(config)
    others = tuple(f"{name}_" for name, other in CORPORA.items() if other != corpus)
    kept = {
        key: value for key, value in config.items() if not key.startswith(others) and key != "only"
    }
    paths = {key: value for key, value in config["path"].items() if not key.startswith(others)}
    return kept | {"path": paths}


def _embedded(file: Path, drawing: Drawing) -> dict[str, Any]:
    png = file.read_bytes()
    pixels = int.from_bytes(png[16:20], "big")  # the width, in a PNG's header
    return {
        "title": drawing.title,
        "caption": drawing.caption,
        "png": base64.b64encode(png).decode(),
        "width": round(PIXELS_SHOWN * pixels),
    }


def summary(results: Mapping[str, Any]) -> list[str]:
    """Say in words what was run on what, and how it went."""
    counts, config = results["counts"], results["provenance"]["config"]
    test = counts["test"]
    fitted = (
        f"fitted on {counts['dev']['matched']} held-out dev signals"
        if counts["dev"]
        else f"read from {config['calibration']}"
    )
    scores = {name: _rmse_in_words(one) for name, one in results["scores"].items()}
    heard = f"outputs of {test['systems']} hearing-aid systems for {test['listeners']} listeners"
    if not test["systems"]:
        heard = "outputs of hearing aids that go by opaque names"
    return [
        f"A hearing-loss simulation (MSBG) and an end-to-end speech recogniser were run on the "
        f"{heard}: {test['matched']} test signals from {test['scenes']} scenes. The similarity "
        "between the recogniser's hidden representations of the processed signal and of the clean "
        f"reference was mapped to percent words correct by a {CURVE} {fitted}, after Tu, Ma & "
        "Barker (2022), arXiv 2204.04287.",
        "Root mean square error: "
        + "; ".join(f"{NAMES[name]} {text}" for name, text in reversed(scores.items()))
        + ". In brackets: 95 % bootstrap intervals over test scenes, the {CURVE} held fixed.",
    ]


def _rmse_in_words(scores: Mapping[str, Any]) -> str:
    low, high = scores["RMSE"]["interval"] or (None, None)
    return f"{number(scores['RMSE']['value'], 1)} % ({number(low, 1)} to {number(high, 1)})"


def notes(results: Mapping[str, Any]) -> list[str]:
    """Return what a reader has to know before comparing."""
    said = []
    config = results["provenance"]["config"]
    corpus, track = corpus_of(config), config["cpc1_track"]
    sizes = {name: one["n_signals"] for name, one in results.get("sets", {}).items()}
    for name, n in (sizes or {track: results["counts"]["test"]["matched"]}).items():
        whole = corpus.n_test_signals.get(name)
        if whole is not None and n != whole:
            what = f"{track} test set" if corpus.tracks else f"set {name}"
            said.append(
                f"These are {n} test signals; the {what} of {corpus.name.upper()} has {whole}. The "
                "published rows are for orientation only: they are of other signals."
            )
    said += leaks_in_words(results.get("leaks", {}))
    left_out = [
        f"{number_of} {what}"
        for what, number_of in results["counts"]["test"].items()
        if what in ("missing", "double", "unknown", "unlabelled") and number_of
    ]
    if left_out:
        said.append(f"Not all test signals could be used as they are: {', '.join(left_out)}.")
    return said


def leaks_in_words(leaks: Mapping[str, Any]) -> list[str]:
    """Say what the mapping and the recogniser saw of the test before."""
    said = []
    if leaks.get("left_out"):
        said.append(
            f"{leaks['left_out']} test signals are left out: the mapping was fitted on them."
        )
    for who, verb in (("mapping", "fitted"), ("recogniser", "trained")):
        if words := in_words(leaks.get(who) or {}):
            said.append(f"The {who} was {verb} on some of the test: {words}.")
    return said


def facts(results: Mapping[str, Any]) -> dict[str, str]:
    """Return what the page tells of how the results were made, besides time and versions."""
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
