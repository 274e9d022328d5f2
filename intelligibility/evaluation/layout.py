"""The results laid out: every table and figure under the name of its file, and the report."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from intelligibility.corpora import CORPORA
from intelligibility.evaluation.compare import comparison_table
from intelligibility.evaluation.drawing import Drawing, save
from intelligibility.evaluation.intervals import intervals_table
from intelligibility.evaluation.layers import layers_table
from intelligibility.evaluation.report import write_report
from intelligibility.evaluation.split_half import split_half_table
from intelligibility.evaluation.tables import (
    NAMES,
    Table,
    averages_table,
    group_table,
    markdown,
    signals_table,
)
from intelligibility.evaluation.trainings import training_tables
from intelligibility.evaluation.within import within_table
from intelligibility.experiment import TRACKS, Experiment
from intelligibility.runs import logbook, read_json, write_text

GROUPS = ("listener", "system", "severity", "grade")  # by which test signals are grouped
CONDITIONS = ("CEC", "SNR")  # and by which too, where a corpus has several
# Tables and figures that not every run has.
OPTIONAL = (
    *("table2", "table3", "within", "ranges", "halves", "comparisons", "residuals", "layers"),
    *(f"by_{by.lower()}" for by in (*GROUPS, *CONDITIONS)),
)


def lay_out(
    experiment: Experiment,
    results: Mapping[str, Any],
    groups: Mapping[str, pd.DataFrame],
    drawings: Mapping[str, Drawing],
) -> dict[Path, Table]:
    """Write the tables, the figures and the report on the contents of results{track}.json.

    `groups` holds the output of `by_group` by column, and `drawings` the figures by name.
    Returns the tables by their files, without a suffix, the most important first.
    """
    named = _all_tables(experiment, results, groups)
    tables = {experiment.result_table(name): table for name, table in named.items()}
    for name in OPTIONAL:  # what an earlier run, of other signals or settings, left
        for written, stem in (
            (named, experiment.result_table(name)),
            (drawings, experiment.figure(name)),
        ):
            for path in stem.parent.glob(f"{stem.name}.*") if name not in written else ():
                path.unlink()
    for stem, table in tables.items():
        write_text(stem.with_suffix(".csv"), table.long.to_csv(index=False))  # numbers
        write_text(stem.with_suffix(".md"), markdown(table.shown))  # for reading
    files = {save(one.figure, experiment.figure(name)): one for name, one in drawings.items()}
    write_report(experiment.report, results, tables.values(), files)
    return tables


def _all_tables(
    experiment: Experiment, results: Mapping[str, Any], groups: Mapping[str, pd.DataFrame]
) -> dict[str, Table]:
    """Return every table by the name of its file, the most important first."""
    corpus = CORPORA[experiment.corpus]
    names = ", ".join(f"{name}: {NAMES[name]}" for name in results["scores"] if name != "prior")
    tables = {"table1": signals_table(_results_in_columns(experiment, results), corpus)}
    if results["trainings"]:  # the paper's are of the closed track
        published = {} if experiment.track else corpus.published_trainings
        tables |= training_tables(results["trainings"], published)
    if results["averaged"]:
        tables["table3"] = averages_table(results, corpus)
    if any(one["measures"] for one in results["within"].values()):
        tables["within"] = within_table(results["within"])
    if results["ranges"]["measures"]:
        tables["ranges"] = intervals_table(results["ranges"])
    if results["halves"]:
        tables["halves"] = split_half_table(results["halves"], results["scores"])
    if results["comparisons"]:
        tables["comparisons"] = comparison_table(results["comparisons"], names)
    for by, long in groups.items():
        tables[f"by_{by.lower()}"] = group_table(long, names)
    if "layers" in results:
        tables["layers"] = layers_table(results["layers"])
    return tables


def _results_in_columns(
    experiment: Experiment, results: Mapping[str, Any]
) -> dict[str, Mapping[str, Any]]:
    """Return the columns of Table 1: the tracks evaluated so far, or the sets.

    Sets are pooled as well where each has its own mapping.
    """
    corpus = CORPORA[experiment.corpus]
    if not corpus.tracks:
        pooled = {"pooled": results} if corpus.mapping_per_set else {}
        return pooled | results["sets"] or {"test": results}
    files = {track: experiment.of_track(track).results for track in TRACKS}
    return {track: read_json(path, dict) for track, path in files.items() if path.is_file()}


def show(tables: Mapping[Path, Table]) -> None:
    """Print the tables, the most important last, each with its file, and keep them in the log."""
    texts = [f"{one.title} ({stem}.csv)\n{markdown(one.shown)}" for stem, one in tables.items()]
    texts.reverse()
    for text in texts:
        logbook.info("%s", text)
    for text in texts:
        print(f"\n{text}", flush=True)
