"""The paper's tables: scores with intervals as long frames of numbers, and as text for reading."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from intelligibility.corpora.corpus import Corpus, Published
from intelligibility.evaluation.scoring import (
    SCORES,
    bootstrap_averaged_scores,
    bootstrap_scores,
    group_means,
    interval,
    score,
)
from intelligibility.measures import BASELINES, BEST_LAYER, MEASURES
from intelligibility.pages import number

NAMES = {  # in the paper's order
    "prior": "constant (dev mean)",
    **{one.name: one.title for one in (*BASELINES, *MEASURES, BEST_LAYER)},
    "e022": "E022: this method, another recogniser, no MSBG",
    "best": "best entry",
}
OURS = "this run"
INTERVAL = "95 % interval"
GROUP_TITLES = {"grade": "grade of hearing loss"}
GROUP_CAPTIONS = {
    "severity": "MSBG's category of hearing loss in the better ear, 2 to 8 kHz.",
    "grade": "The WHO's grade (2021) of the better ear's mean threshold at 0.5, 1, 2 and 4 kHz.",
    "CEC": "The enhancement challenge that the hearing aids were entered for.",
    "SNR": "Speech over noise in the scene.",
}
DIGITS = {"RMSE": 1, "NCC": 3, "KT": 3}  # the scores of the paper, and how they are printed


@dataclass(frozen=True)
class Table:
    """A table as numbers, `long`, and as text for reading, `shown`."""

    title: str
    caption: str
    long: pd.DataFrame
    shown: pd.DataFrame


def rows_of(signals: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Return the labelled signals that have a prediction by this measure."""
    return signals[signals["correctness"].notna() & signals[f"{measure}_prediction"].notna()]


def with_intervals(scores: Mapping[str, Any], resamples: Mapping[str, np.ndarray]) -> dict:
    """Return scores as {name: {"value": score, "interval": [low, high]}}."""
    return {
        name: {"value": scores[name], "interval": interval(resamples[name], scores[name], limits)}
        for name, limits in SCORES.items()
    }


class Resampler:
    """Scores of predictions, and their resamples in `counts`, each computed once for all tables."""

    def __init__(self, counts: np.ndarray):
        self.counts = counts
        self._known: dict[tuple[str, bytes], tuple[dict, dict]] = {}

    def scores(self, rows: pd.DataFrame, name: str) -> tuple[dict, dict[str, np.ndarray]]:
        """Return the scores of `{name}_prediction` over these signals, and their resamples."""
        key = name, rows.index.to_numpy().tobytes()
        if key not in self._known:
            pair = rows[f"{name}_prediction"].to_numpy(), rows["correctness"].to_numpy()
            scene = rows["scene_number"].to_numpy()
            self._known[key] = score(*pair), bootstrap_scores(*pair, scene, self.counts)
        return self._known[key]


def scores_of(
    signals: pd.DataFrame, measures: list[str], resampler: Resampler
) -> dict[str, dict[str, Any]]:
    """Score each measure over signals, with 95 % intervals: {measure: {score: ...}}."""
    return {
        measure: with_intervals(*resampler.scores(rows_of(signals, measure), measure))
        for measure in measures
    }


def averaged_scores_of(
    signals: pd.DataFrame, measures: list[str], by: str, counts: np.ndarray
) -> dict[str, dict]:
    """Score each measure over the means of listeners or systems (`by`), with 95 % intervals."""
    scored = {}
    for measure in measures:
        rows, pair = rows_of(signals, measure), [f"{measure}_prediction", "correctness"]
        means = rows.groupby(by)[pair].mean()
        scene, group = rows["scene_number"].to_numpy(), pd.factorize(rows[by], sort=True)[0]
        predicted, observed = rows[pair].to_numpy().T
        resamples = bootstrap_averaged_scores(predicted, observed, group, scene, counts)
        scored[measure] = with_intervals(score(*means.to_numpy().T), resamples)
    return scored


def by_group(
    signals: pd.DataFrame, measures: list[str], by: str, counts: np.ndarray
) -> pd.DataFrame:
    """Return RMSE and bias (predicted less observed) of each group, with 95 % intervals.

    `signals` are labelled test signals with `scene_number`, predictions by the `measures` and the
    column `by`; `counts`, (n_resamples, n_scenes) int, are from `draw_scenes`.

    Returns
    -------
    DataFrame
        One row per group and measure; means with their standard errors, all in percent words
        correct.
    """
    frames = [_groups_of(rows_of(signals, measure), measure, by, counts) for measure in measures]
    return pd.concat(frames).sort_values([by, "measure"], ignore_index=True)


def _groups_of(rows: pd.DataFrame, measure: str, by: str, counts: np.ndarray) -> pd.DataFrame:
    group, names = pd.factorize(rows[by], sort=True)
    scene = rows["scene_number"].to_numpy()
    error = (rows[f"{measure}_prediction"] - rows["correctness"]).to_numpy()
    grouped = rows.assign(error=error, square=error**2).groupby(by, observed=True)
    means, n = grouped[["error", "square"]].mean(), grouped.size().to_numpy()
    frame = pd.DataFrame({by: names, "measure": measure, "n_signals": n})
    for name, column in (("observed", "correctness"), ("predicted", f"{measure}_prediction")):
        frame[name] = grouped[column].mean().to_numpy()
        frame[f"{name}_se"] = grouped[column].std(ddof=0).to_numpy() / np.sqrt(n)
    squares = group_means(error**2, group, scene, counts)
    biases = group_means(error, group, scene, counts)
    for name, values, resamples, limits in (
        ("RMSE", np.sqrt(means["square"]), np.sqrt(squares), (0, 100)),
        ("bias", means["error"], biases, (-100, 100)),
    ):
        columns = zip(resamples.T, values, strict=True)
        bounds = [interval(*column, limits) or [np.nan, np.nan] for column in columns]
        frame[name] = values.to_numpy()
        frame[[f"{name}_low", f"{name}_high"]] = bounds
    return frame


# The paper's tables


def signals_table(results: Mapping[str, Mapping[str, Any]], corpus: Corpus) -> Table:
    """Lay out the paper's Table 1: all measures, of each track that was evaluated.

    `results` holds the contents of results{track}.json as {"closed": ..., "open": ...}; or, where a
    corpus has no tracks, {"pooled": ..., "1": ..., "2": ...} with the scores of its sets. The
    published numbers of the corpus stand beside them.
    """
    ours = {track: one["scores"] for track, one in results.items()}
    caption = "RMSE in percent words correct; NCC: Pearson's correlation; KT: Kendall's tau-b."
    long = _beside_published(ours, corpus.published, corpus.columns)
    return Table("Table 1: all test signals", caption, long, _show_scores(long, corpus.columns))


def averages_table(results: Mapping[str, Any], corpus: Corpus) -> Table:
    """Lay out the paper's Table 3: scores over the means of listeners and of systems."""
    caption = "Scores of the means of listeners and of systems"
    caption += "; the paper's are of the closed track." if corpus.published_means else "."
    long = _beside_published(results["averaged"], corpus.published_means, "average")
    title = "Table 3: averaged per listener and per system"
    return Table(title, caption, long, _show_scores(long, "average"))


def _beside_published(
    ours: Mapping[str, Mapping[str, Any]], published: Published, across: str
) -> pd.DataFrame:
    """Return scores, {column: {measure: ...}}, in long form, published ones below each measure."""
    rows: list[dict[str, Any]] = []
    for measure in NAMES:
        for column, scores in ours.items():
            if measure in scores:
                row: dict[str, Any] = {"measure": measure, "source": OURS, across: column}
                for name, scored in scores[measure].items():
                    row |= with_ends(name, scored)
                rows.append(row)
        rows += [
            {"measure": measure, "source": source, across: column}
            | dict(zip(DIGITS, numbers[column], strict=True))
            for (of, source), numbers in published.items()
            for column in ours
            if of == measure and column in numbers
        ]
    return pd.DataFrame(rows)


def _show_scores(long: pd.DataFrame, across: str) -> pd.DataFrame:
    """Return text, one column per score and track; intervals below the scores."""
    shown: list[dict[str, str]] = []
    for names, rows in long.groupby(["measure", "source"], sort=False):
        measure, source = map(str, names)
        values = {"measure": NAMES[measure], "source": source}
        bounds = {"measure": "", "source": INTERVAL}
        for row in rows.to_dict("records"):
            for name, digits in DIGITS.items():
                values[f"{row[across]} {name}"] = number(row[name], digits)
                ends = row[f"{name}_low"], row[f"{name}_high"]
                bounds[f"{row[across]} {name}"] = between(ends, min(digits, 2))
        shown += [values, bounds] if source == OURS else [values]
    columns = [f"{column} {name}" for column in long[across].unique() for name in DIGITS]
    return pd.DataFrame(shown, columns=["measure", "source", *columns]).fillna("–")


def group_table(long: pd.DataFrame, names: str) -> Table:
    """Lay the output of `by_group` out; `names` says what the short names of the measures mean."""
    by = long.columns[0]
    shown = long[[by, "measure"]].copy()
    shown.insert(1, "signals", long["n_signals"].astype(str))
    text = {name: [number(value, 1) for value in long[name]] for name in long.columns[3:]}
    for name in ("observed", "predicted"):
        shown[name] = text[name]
    for name in ("RMSE", "bias"):
        parts = zip(text[name], text[f"{name}_low"], text[f"{name}_high"], strict=True)
        shown[f"{name} (95 %)"] = [f"{value} ({low} to {high})" for value, low, high in parts]
    caption = f"RMSE and bias (predicted less observed) in percent words correct. {names}."
    caption += f" {GROUP_CAPTIONS[by]}" if by in GROUP_CAPTIONS else ""
    return Table(f"By {GROUP_TITLES.get(by, by)}", caption, long, shown)


# Numbers and text


def with_ends(name: str, scored: Mapping[str, Any]) -> dict[str, float | None]:
    """Return a value and the ends of its interval as three columns of a long table."""
    low, high = scored["interval"] or (None, None)
    return {name: scored["value"], f"{name}_low": low, f"{name}_high": high}


def between(ends: Sequence[float | None] | None, digits: int) -> str:
    """Return the ends of an interval as text, with a dash where it has none."""
    texts = [number(end, digits) for end in ends or (None, None)]
    return "–" if "–" in texts else "–".join(texts)


def records(long: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a table's rows for a json file: None where there is no number."""
    plain = long.astype(object).where(long.notna(), None)
    return [
        {str(key): one.item() if isinstance(one, np.generic) else one for key, one in row.items()}
        for row in plain.to_dict("records")
    ]


def markdown(table: pd.DataFrame) -> str:
    """Return a table as Markdown, its columns aligned so that it reads in a terminal too."""
    rows = [[str(cell) for cell in row] for row in [list(table.columns), *table.to_numpy()]]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows]
    padded.insert(1, ["-" * width for width in widths])
    return "".join(f"| {' | '.join(row)} |\n" for row in padded)
