"""Every finished layer in one table, as csv, json and markdown."""

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from scipy.stats import spearmanr

from intelligibility.runs import read_json, write_result, write_text
from msbg.audiogram import SEVERITIES
from reconstruction.figures import TITLES, by_depth, save, spectrograms
from reconstruction.networks import Layer
from reconstruction.one_layer import read_controls, read_heard
from reconstruction.page import (
    Chapter,
    example,
    examples_of,
    table_lines,
    write_page,
)
from reconstruction.places import LayerFolder, ReconstructionFolder
from reconstruction.score import ALL, Heard, rows_of, table_of
from reconstruction.utterances import CONDITIONS, Ear

logger = logging.getLogger(__name__)


def write_results(
    files: ReconstructionFolder,
    made_by: Mapping[str, Any],
    seed: int,
    ears: Mapping[str, Ear],
    provenance: Mapping[str, Any],
) -> pd.DataFrame:
    """Gather the layers that share judge and signals; write the tables; return the long one.

    Parameters
    ----------
    files : ReconstructionFolder
        Where all of it is kept.
    made_by : mapping
        Judge and signals of this run: layers made with others are left out.
    seed : int
        Of the bootstrap.
    ears : mapping
        The scored ear signals by name.
    provenance : mapping
        How the table was made.
    """
    rows = []
    for place in finished(files, made_by):
        rows += layer_rows(files, place, seed)
    table = table_of(in_order(rows))
    content = {
        "networks": networks_of(files, table),
        "trends": trends(table),
        "rows": table.astype(object).where(table.notna(), None).to_dict("records"),
        "provenance": dict(provenance),
    }
    write_text(files.table, table.to_csv(index=False, float_format="%.6g"))
    write_text(files.summary, markdown(table, content["networks"]))
    content = write_result(files.results, content)
    chapters = [
        chapter(files, source, inverter, table, content["networks"].get(source, {}), ears)
        for source, inverter in chapters_in(table)
    ]
    write_page(files.page, chapters, content)
    return table


def chapters_in(table: pd.DataFrame) -> list[tuple[str, str]]:
    """List networks and inverters, each with a chapter of the page."""
    layers = table[table["kind"] == "layer"]
    return list(layers[["source", "inverter"]].drop_duplicates().itertuples(index=False, name=None))


def chapter(
    files: ReconstructionFolder,
    source: str,
    inverter: str,
    table: pd.DataFrame,
    network: Mapping[str, Any],
    ears: Mapping[str, Ear],
) -> Chapter:
    """Draw the figures of one network and inverter, and gather its examples."""
    rows = table[table["source"] == source]
    mine = rows["inverter"].str.startswith(f"{inverter},") | rows["inverter"].isin([inverter, ""])
    rows = rows[mine]
    layers = rows[rows["kind"] == "layer"].sort_values("depth")["layer"].unique()
    own = {name: files.layer(source, name, inverter) for name in layers}
    mel = read_json(LayerFolder(own[layers[0]]).inverter, dict)["spec"]["mel"]
    controls = files.controls(mel)
    places = {
        "original": (controls, "original", "original"),
        "copy": (controls, "copy", "copy"),
        **{name: (place, "wav", "reconstruction") for name, place in own.items()},
    }
    examples, pictures = [], []
    for ear in examples_of(ears.values(), read_controls(controls).original):
        wavs = {
            name: [LayerFolder(place).wav(kind, one, ear.name) for one in CONDITIONS]
            for name, (place, kind, _) in places.items()
        }
        heard = {
            name: heard_of(read_heard(place)[kind], ear.name)
            for name, (place, _, kind) in places.items()
        }
        examples.append(example(ear, wavs, heard))
        pictures.append(wavs)
    stem = f"{source}-{inverter}"
    titles = [TITLES[condition] for condition in CONDITIONS]
    return Chapter(
        title=f"{source}, {inverter}",
        about=about_network(network),
        figure=save(by_depth(rows), files.figure(f"{stem}-by-depth")),
        picture=save(spectrograms(pictures[0], titles), files.figure(f"{stem}-spectrograms")),
        lines=table_lines(rows),
        examples=examples,
    )


def heard_of(heard: Iterable[Heard], name: str) -> list[Heard]:
    """Return what was heard of one ear, in the order of the conditions."""
    found = {one.condition: one for one in heard if one.name == name}
    return [found[condition] for condition in CONDITIONS]


def about_network(network: Mapping[str, Any]) -> str:
    """Say what a classifier was trained on, and how well it does."""
    if not network:
        return ""
    return (
        f"Trained on {network['task'].replace('_', ' ')} ({len(network['classes'])} classes): "
        f"{network['accuracy']:.0f} % right on held-out scenes ({network['n_held_out']} signals), "
        f"{network['chance']:.0f} % by chance."
    )


def finished(files: ReconstructionFolder, made_by: Mapping[str, Any]) -> list[Path]:
    """List the folders of layers made with this judge from these signals."""
    places, others = [], []
    for place in files.layers():
        made = read_json(LayerFolder(place).record, dict)["made_by"]
        same = all(made.get(name) == value for name, value in made_by.items())
        (places if same else others).append(place)
    if others:
        logger.warning(
            "%d layers were made with another judge or from other signals and are left out: %s",
            len(others),
            ", ".join("/".join(place.parts[-3:]) for place in others[:3]),
        )
    return places


def layer_rows(files: ReconstructionFolder, place: Path, seed: int) -> list[dict[str, Any]]:
    """Return the rows of one layer with its floors, and of its network's controls."""
    record, heard = read_json(LayerFolder(place).record, dict), read_heard(place)
    layer = Layer(**record["layer"] | {"shape": tuple(record["layer"]["shape"])})
    settings = record["made_by"]["settings"]
    controls = read_controls(files.controls(settings["mel"]))
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
    rows = rows_of(heard["reconstruction"], about, controls.original, controls.copy, seed)
    for floor in (kind for kind in heard if kind != "reconstruction"):
        names = {one.name for one in heard[floor]}
        ceilings = (
            [one for one in some if one.name in names]
            for some in (controls.original, controls.copy)
        )
        own = about | {"inverter": f"{place.name}, {floor}", "mel_l1_train": None, "kind": floor}
        rows += rows_of(heard[floor], own, *ceilings, seed)
    for kind in ("original", "copy", "bandmean"):
        own = dict.fromkeys(about) | {"source": place.parts[-3], "layer": kind, "kind": kind}
        own["inverter"] = ""
        rows += rows_of(getattr(controls, kind), own, controls.original, controls.copy, seed)
    return rows


def in_order(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Order rows by network and depth; the controls that layers share come once."""
    once = {}
    for row in rows:
        key = tuple(row[name] for name in ("source", "layer", "inverter", "condition", "listener"))
        once[key] = row
    return sorted(once.values(), key=_place_of)


def _place_of(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return where a row comes: ceilings before the layers, the band mean after them."""
    depth = {"original": -2, "copy": -1, "bandmean": 1_000}.get(row["kind"], row["depth"])
    return row["source"], depth, row["inverter"], CONDITIONS.index(row["condition"])


def networks_of(files: ReconstructionFolder, table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Return what is known of every classifier in the table: task, accuracy, chance."""
    networks = {}
    for source in table["source"].unique():
        record = files.network_record(source)
        networks[source] = {}
        if record.is_file():
            networks[source] = {k: v for k, v in read_json(record, dict).items() if k != "made_by"}
    return networks


def trends(table: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Return rank correlations of depth with the error of the spectrogram and with lost words."""
    found = {}
    whole = table[(table["listener"] == ALL) & (table["kind"] == "layer")]
    for (source, inverter, condition), rows in whole.groupby(["source", "inverter", "condition"]):
        if len(rows) > 2:
            found[f"{source} {inverter} {condition}"] = {
                f"spearman_depth_{name}": _rank_correlation(rows["depth"], rows[name])
                for name in ("mel_l1", "wer")
            }
    return found


def _rank_correlation(one: pd.Series, other: pd.Series) -> float | None:
    """Return Spearman's, None where one of them never changes."""
    if one.nunique() < 2 or other.nunique() < 2:
        return None
    return float(spearmanr(one, other).statistic)


def markdown(table: pd.DataFrame, networks: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the table for people: both conditions beside each other, then by severity."""
    lines = ["# Speech back from each layer", ""]
    for source, rows in table.groupby("source", sort=False):
        lines += [f"## {source}", ""]
        if about := about_network(networks.get(source, {})):
            lines += [about, ""]
        lines += [*whole_table(rows), "", "By severity of the hearing loss, processed:", ""]
        lines += [*severity_table(rows), ""]
    return "\n".join(lines)


def whole_table(rows: pd.DataFrame) -> list[str]:
    """Return the lines of one network's table."""
    head = "| layer | inverter | floats/s | parameters | train L1 |"
    for condition in CONDITIONS:
        head += f" {condition} L1 | skill | WER (95 %) |"
    lines = [head, "|---|---|" + "---:|" * (head.count("|") - 3)]
    whole = rows[rows["listener"] == ALL]
    for (layer, inverter), pair in whole.groupby(["layer", "inverter"], sort=False):
        one = pair.iloc[0]
        line = f"| {layer} | {inverter} | {_number(one.floats_per_s, 0)} | "
        line += f"{_number(one.params, 0)} | {_number(one.mel_l1_train, 3)} |"
        for condition in CONDITIONS:
            row = pair[pair["condition"] == condition].iloc[0]
            line += f" {_number(row.mel_l1, 3)} | {_number(row.skill, 2)} | {row.wer:.1f} "
            line += f"({row.wer_ci_lo:.1f} to {row.wer_ci_hi:.1f}) |"
        lines.append(line)
    return lines


def severity_table(rows: pd.DataFrame) -> list[str]:
    """Return lines with skill and WER of every layer by severity, for processed signals."""
    there = [name for name in SEVERITIES if name in set(rows["listener"])]
    lines = ["| layer | inverter |" + "".join(f" {n.lower()} skill | WER |" for n in there)]
    lines.append("|---|---|" + "---:|---:|" * len(there))
    part = rows[(rows["condition"] == "msbg") & rows["kind"].isin(["layer", "original", "copy"])]
    for (layer, inverter), group in part.groupby(["layer", "inverter"], sort=False):
        cells = ""
        for name in there:
            row = group[group["listener"] == name]
            values = (row.iloc[0].skill, row.iloc[0].wer) if len(row) else (None, None)
            cells += f" {_number(values[0], 2)} | {_number(values[1], 1)} |"
        lines.append(f"| {layer} | {inverter} |{cells}")
    return lines


def _number(value: Any, digits: int) -> str:
    return "" if value is None or pd.isna(value) else f"{value:,.{digits}f}"
