"""Every finished layer in one table: results.csv, results.json and results.md."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from scipy.stats import spearmanr

from intelligibility.evaluation.tables import markdown, records
from intelligibility.pages import number
from intelligibility.runs import read_json, write_result, write_text
from msbg.audiogram import SEVERITIES
from reconstruction.jobs import is_done, read_heard
from reconstruction.networks import Layer
from reconstruction.page import SHORT, chapter, write_index, write_page
from reconstruction.places import LayerFolder, ReconstructionFolder
from reconstruction.scoring import ALL, COLUMNS, rows_of
from reconstruction.utterances import CONDITIONS, Selection

logger = logging.getLogger(__name__)

PLACES = {"original": -2, "copy": -1, "bandmean": 1_000}  # among the layers, by depth
_number = partial(number, missing="")


def write_results(
    files: ReconstructionFolder,
    selection: Selection,
    judge: Mapping[str, Any],
    provenance: Mapping[str, Any],
) -> None:
    """Gather the layers of one judge and these signals; write tables and pages.

    Layers of other signals, or that no judge heard which was made by `judge`, are left out.
    """
    places = finished(files, selection.made_by, judge)
    rows = [row for place in places for row in layer_rows(files, place, provenance["seed"])]
    table = pd.DataFrame(in_order(rows))
    table = table[[*COLUMNS, *table.columns.difference(list(COLUMNS), sort=False)]]
    networks = networks_of(files, table["source"].unique())
    results: dict[str, Any] = {
        "networks": networks,
        "trends": trends(table),
        "rows": records(table),
        "provenance": dict(provenance),
    }
    write_text(files.table, table.to_csv(index=False, float_format="%.6g"))
    write_text(files.summary, summary(table, networks))
    results = write_result(files.results, results)
    ears, chapters = {ear.name: ear for ear in selection.scored}, {}
    for source, inverter, own in by_inverter(table):
        content = chapter(files, source, inverter, own, ears)
        content |= {"about": about_network(networks[source]), "table": show_layers(own)}
        page = files.page(f"{source}-{inverter}")
        write_page(page, content, results["provenance"])
        chapters[page.relative_to(files.index.parent).as_posix()] = content
    write_index(files.index, chapters, results["provenance"])


def finished(
    files: ReconstructionFolder, signals: Mapping[str, Any], judge: Mapping[str, Any]
) -> list[Path]:
    """List the folders of layers made from these signals and heard by this judge."""
    places: list[Path] = []
    others: list[Path] = []
    for place in files.layers():
        layer = LayerFolder(place)
        made = read_json(layer.record, dict)["made_by"]
        same = all(made.get(name) == value for name, value in signals.items())
        heard = same and is_done(layer.heard(files.judge), judge)
        (places if heard else others).append(place)
    if others:
        logger.warning(
            "%d layers were heard by another judge or made from other signals and are left out: %s",
            len(others),
            ", ".join("/".join(place.parts[-3:]) for place in others[:3]),
        )
    return places


def layer_rows(files: ReconstructionFolder, place: Path, seed: int) -> list[dict[str, Any]]:
    """Return the rows of one layer with its floors, and of its network's controls."""
    record, heard = read_json(LayerFolder(place).record, dict), read_heard(place, files.judge)
    layer = Layer(**record["layer"] | {"shape": tuple(record["layer"]["shape"])})
    settings = record["made_by"]["settings"]
    controls = read_heard(files.controls(settings["mel"]), files.judge)
    ceilings = controls["original"], controls["copy"]
    about = {
        "source": place.parts[-3],
        "layer": layer.name,
        "depth": layer.depth,
        "floats_per_s": layer.floats_per_s,
        "params": record["params"],
        "inverter": place.name,
        "mel_l1_train": record["mel_l1_train"],
        "target": settings["target"],
        "kind": "layer",
    }
    rows = rows_of(heard.pop("reconstruction"), about, *ceilings, seed)
    for floor, some in heard.items():
        own = about | {"inverter": f"{place.name}, {floor}", "mel_l1_train": None, "kind": floor}
        rows += rows_of(some, own, *ceilings, seed)
    for kind, some in controls.items():
        own = dict.fromkeys(about) | {"source": place.parts[-3], "layer": kind, "kind": kind}
        own["inverter"] = ""
        rows += rows_of(some, own, *ceilings, seed)
    return rows


def in_order(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Order rows by network and depth, the controls that layers share once.

    Ceilings come before the layers, the band mean after them.
    """
    keys = ("source", "layer", "inverter", "condition", "listener")
    once = {tuple(row[name] for name in keys): row for row in rows}

    def place_of(row: Mapping[str, Any]) -> tuple[Any, ...]:
        depth = PLACES.get(row["kind"], row["depth"])
        return row["source"], depth, row["inverter"], CONDITIONS.index(row["condition"])

    return sorted(once.values(), key=place_of)


def by_inverter(table: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Give each network and inverter with its rows: layers, their floors, and the controls."""
    layers = table[table["kind"] == "layer"]
    for source, inverter in layers[["source", "inverter"]].drop_duplicates().to_numpy():
        rows = table[table["source"] == source]
        own = rows["inverter"].str.split(", ").str[0].isin(["", inverter])
        yield source, inverter, rows[own]


def networks_of(files: ReconstructionFolder, sources: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return what is known of every classifier: task, accuracy, chance."""
    networks = {}
    for source in sources:
        path = files.network_record(source)
        record = read_json(path, dict) if path.is_file() else {}
        networks[source] = {name: value for name, value in record.items() if name != "made_by"}
    return networks


def about_network(network: Mapping[str, Any]) -> str:
    """Return what a classifier was trained on, and how accurate it is; "" for other networks."""
    if not network:
        return ""
    return (
        f"Trained on {network['task'].replace('_', ' ')} ({len(network['classes'])} classes): "
        f"{network['accuracy']:.0f} % right on held-out scenes ({network['n_held_out']} signals), "
        f"{network['chance']:.0f} % by chance."
    )


def trends(table: pd.DataFrame) -> dict[str, dict[str, float | None]]:
    """Return Spearman's correlations of depth with the spectrogram's error and with lost words.

    None stands where one of them never changes.
    """
    found = {}
    whole = table[(table["listener"] == ALL) & (table["kind"] == "layer")]
    for (source, inverter, condition), rows in whole.groupby(["source", "inverter", "condition"]):
        if len(rows) > 2:
            rhos: dict[str, float | None] = {}
            for name in ("mel_l1", "wer"):
                varies = rows["depth"].nunique() > 1 and rows[name].nunique() > 1
                rho = float(spearmanr(rows["depth"], rows[name]).statistic) if varies else None
                rhos[f"spearman_depth_{name}"] = rho
            found[f"{source} {inverter} {condition}"] = rhos
    return found


def summary(table: pd.DataFrame, networks: Mapping[str, Mapping[str, Any]]) -> str:
    """Return results.md: per network both conditions, then processed signals by severity."""
    parts = ["# Speech back from each layer\n"]
    for source, rows in table.groupby("source", sort=False):
        about = about_network(networks.get(str(source), {}))
        parts += [f"## {source}\n", *([f"{about}\n"] if about else []), markdown(show_layers(rows))]
        parts += ["By severity of the hearing loss, processed:\n", markdown(show_severities(rows))]
    return "\n".join(parts)


def show_layers(rows: pd.DataFrame) -> pd.DataFrame:
    """Lay one network's rows out for reading: a line per layer and inverter, both conditions."""
    shown = []
    whole = rows[rows["listener"] == ALL]
    for (layer, inverter), pair in whole.groupby(["layer", "inverter"], sort=False):
        one = pair.iloc[0]
        line = {"layer": layer, "inverter": inverter, "floats/s": _number(one.floats_per_s, 0)}
        line |= {"parameters": _number(one.params, 0), "train L1": _number(one.mel_l1_train, 3)}
        for condition, row in pair.set_index("condition").loc[list(CONDITIONS)].iterrows():
            interval = f"{row.wer_ci_lo:.1f} to {row.wer_ci_hi:.1f}"
            shorts = [f"{SHORT[str(condition)]} {name}" for name in ("L1", "skill", "WER (95 %)")]
            cells = _number(row.mel_l1, 3), _number(row.skill, 2), f"{row.wer:.1f} ({interval})"
            line |= dict(zip(shorts, cells, strict=True))
        shown.append(line)
    return pd.DataFrame(shown)


def show_severities(rows: pd.DataFrame) -> pd.DataFrame:
    """Lay skill and WER of every layer out by severity, for processed signals."""
    shown = []
    severities = [name for name in SEVERITIES if name in set(rows["listener"])]
    part = rows[(rows["condition"] == "msbg") & rows["kind"].isin(["layer", "original", "copy"])]
    for (layer, inverter), group in part.groupby(["layer", "inverter"], sort=False):
        line = {"layer": layer, "inverter": inverter}
        found = group.set_index("listener").reindex(severities)
        for name, row in found.iterrows():
            severity = str(name).lower()
            line |= {f"{severity} skill": _number(row.skill, 2)}
            line |= {f"{severity} WER": _number(row.wer, 1)}
        shown.append(line)
    return pd.DataFrame(shown)
