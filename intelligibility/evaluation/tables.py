"""The paper's tables, and what lies behind them: long frames of numbers, and how to print them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from intelligibility.corpora import corpus_of
from intelligibility.corpora.corpus import Corpus
from intelligibility.evaluation.scoring import (
    SCORES,
    bootstrap_averaged_scores,
    bootstrap_scores,
    group_means,
    interval,
    paired_p,
    score,
)
from intelligibility.measures import BASELINES, MEASURES
from intelligibility.pages import number
from intelligibility.runs import RecipeError

NAMES = {  # in the paper's order
    "prior": "constant (dev mean)",
    **{one.name: one.title for one in (*BASELINES, *MEASURES)},
    "e022": "E022: this method, another recogniser, no MSBG",
    "best": "best entry",
}
OURS = "this run"
TITLES = {"grade": "grade of hearing loss"}
ABOUT = {  # the groups
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
    """Scores of predictions and their resamples, each computed once: tables share them.

    Parameters
    ----------
    counts : (n_resamples, n_scenes) int array
        From `draw_scenes`.
    """

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
        rows = rows_of(signals, measure)
        means = rows.groupby(by)[[f"{measure}_prediction", "correctness"]].mean()
        resamples = bootstrap_averaged_scores(
            rows[f"{measure}_prediction"].to_numpy(),
            rows["correctness"].to_numpy(),
            pd.factorize(rows[by], sort=True)[0],
            rows["scene_number"].to_numpy(),
            counts,
        )
        scored[measure] = with_intervals(score(*means.to_numpy().T), resamples)
    return scored


def by_group(
    signals: pd.DataFrame, measures: list[str], by: str, counts: np.ndarray
) -> pd.DataFrame:
    """Return RMSE and bias (predicted less observed) of each group, with 95 % intervals.

    Parameters
    ----------
    signals : DataFrame
        From `read_signals`, with predictions and `scene_number`.
    measures : list of str
        Which predictions.
    by : str
        listener, system or severity.
    counts : (n_resamples, n_scenes) int array
        From `draw_scenes`.

    Returns
    -------
    DataFrame
        One row per group and measure; means with their standard errors, all in percent words
        correct.
    """
    frames = [_groups_of(rows_of(signals, measure), measure, by, counts) for measure in measures]
    return pd.concat(frames).sort_values([by, "measure"], ignore_index=True)


def _groups_of(rows: pd.DataFrame, measure: str, by: str, counts: np.ndarray) -> pd.DataFrame:
    """Return the part of `by_group` that is about one measure."""
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


def comparisons(
    signals: pd.DataFrame, pairs: list[tuple[str, str]], resampler: Resampler
) -> list[dict[str, Any]]:
    """Compare predictions in pairs, over the signals that both predict, in the same resamples.

    Parameters
    ----------
    signals : DataFrame
        With `{name}_prediction` for each name in `pairs`.
    pairs : list of (str, str)
        What to compare.
    resampler : Resampler
        Of the test signals.

    Returns
    -------
    list of dict
        a, b, score, n_signals, the scores of a and b, difference (a less b), its interval, p, and
        `better`: the name whose score is better, or None where the interval of the difference holds
        zero.
    """
    rows = []
    for a, b in pairs:
        both = rows_of(rows_of(signals, a), b)
        if both.empty:
            raise RecipeError(f"{a} and {b} predict no signal in common; nothing to compare")
        scored = [resampler.scores(both, name) for name in (a, b)]
        for name in DIGITS:
            row = {"a": a, "b": b, "score": name, "n_signals": len(both)}
            rows.append(row | _difference(row, *((s[name], r[name]) for s, r in scored)))
    return rows


def _difference(
    row: dict[str, Any],
    of_a: tuple[float | None, np.ndarray],
    of_b: tuple[float | None, np.ndarray],
) -> dict[str, Any]:
    """Compare one score of two predictions, each given as its value and its resamples."""
    (value_a, resamples_a), (value_b, resamples_b) = of_a, of_b
    difference = None if value_a is None or value_b is None else value_a - value_b
    bounds = interval(resamples_a - resamples_b, difference)
    better = None
    if bounds and not bounds[0] <= 0 <= bounds[1]:
        a_is_lower = bounds[1] < 0
        better = row["a"] if a_is_lower == (row["score"] == "RMSE") else row["b"]
    return {
        "value_a": value_a,
        "value_b": value_b,
        "difference": difference,
        "interval": bounds,
        "p": paired_p(resamples_a - resamples_b, difference) if bounds else None,
        "better": better,
    }


def table_1(results: Mapping[str, Mapping[str, Any]], corpus: Corpus) -> pd.DataFrame:
    """Return the paper's Table 1 in long form: all measures, of each track that was evaluated.

    Parameters
    ----------
    results : mapping
        {"closed": results, "open": results}, contents of results{track}.json; or, where a corpus
        has no tracks, {"pooled": ..., "1": ..., "2": ...} with the scores of its sets.
    corpus : Corpus
        Whose published numbers stand beside them.
    """
    ours = {
        (measure, track): scores
        for track, one in results.items()
        for measure, scores in one["scores"].items()
    }
    return _beside_published(ours, corpus.published, corpus.columns, list(results))


def table_3(results: Mapping[str, Any], corpus: Corpus) -> pd.DataFrame:
    """Return the paper's Table 3 in long form: scores over means of listeners and of systems."""
    ours = {
        (measure, by): scores
        for by, scored in results["averaged"].items()
        for measure, scores in scored.items()
    }
    return _beside_published(ours, corpus.published_means, "average", list(results["averaged"]))


def _beside_published(
    ours: Mapping, published: Mapping, across: str, columns: list[str]
) -> pd.DataFrame:
    rows = []
    for measure in NAMES:
        for column in columns:
            if (measure, column) in ours:
                row = {"measure": measure, "source": OURS, across: column}
                for name, scored in ours[measure, column].items():
                    low, high = scored["interval"] or (None, None)
                    row |= {name: scored["value"], f"{name}_low": low, f"{name}_high": high}
                rows.append(row)
        for (of, source), numbers in published.items():
            for column in columns:
                if of == measure and column in numbers:
                    scores = dict(zip(("RMSE", "NCC", "KT"), numbers[column], strict=True))
                    rows.append({"measure": measure, "source": source, across: column} | scores)
    return pd.DataFrame(rows)


def all_tables(
    results: Mapping[str, Any],
    results_by_track: Mapping[str, Mapping[str, Any]],
    groups: Mapping[str, pd.DataFrame],
) -> dict[str, Table]:
    """Lay every table out, by the name of its file, the most important first.

    Parameters
    ----------
    results : mapping
        Contents of this track's results{track}.json.
    results_by_track : mapping
        The same of every track that was evaluated, as for `table_1`.
    groups : mapping
        The output of `by_group` for each of listener, system and severity.
    """
    corpus = corpus_of(results["provenance"]["config"])
    first, third = table_1(results_by_track, corpus), table_3(results, corpus)
    compared = comparison_frame(results["comparisons"])
    names = ", ".join(f"{name}: {NAMES[name]}" for name in results["scores"] if name != "prior")
    tables = {
        "table1": Table(
            "Table 1: all test signals",
            "RMSE in percent words correct; NCC: Pearson's correlation; KT: Kendall's tau-b.",
            first,
            show_scores(first, corpus.columns),
        )
    }
    if len(third):
        caption = "Scores of the means of listeners and of systems"
        caption += "; the paper's are of the closed track." if corpus.published_means else "."
        title = "Table 3: averaged per listener and per system"
        tables["table3"] = Table(title, caption, third, show_scores(third, "average"))
    if len(compared):
        tables["comparisons"] = Table(
            "Which is better?",
            "Paired bootstrap over the same scenes; p is two-sided and not corrected for the "
            f"number of comparisons. {names}.",
            compared,
            show_comparisons(compared),
        )
    for by, long in groups.items():
        caption = f"RMSE and bias (predicted less observed) in percent words correct. {names}."
        caption += f" {ABOUT[by]}" if by in ABOUT else ""
        tables[f"by_{by.lower()}"] = Table(
            f"By {TITLES.get(by, by)}", caption, long, show_groups(long)
        )
    return tables


# How the long frames are shown: strings, the interval below its score, the published row below
# both.


def show_scores(long: pd.DataFrame, across: str) -> pd.DataFrame:
    """Lay a long table out for reading, one column per score and track (or average)."""
    shown = []
    for (measure, source), rows in long.groupby(["measure", "source"], sort=False):
        values = {"measure": NAMES[measure], "source": source}
        bounds = {"measure": "", "source": "95 % interval"}
        for _, row in rows.iterrows():
            for name, digits in DIGITS.items():
                values[f"{row[across]} {name}"] = number(row[name], digits)
                ends = [number(row[f"{name}_{end}"], min(digits, 2)) for end in ("low", "high")]
                bounds[f"{row[across]} {name}"] = "–" if "–" in ends else "–".join(ends)
        shown.append(values)
        if source == OURS:
            shown.append(bounds)
    columns = [f"{column} {name}" for column in long[across].unique() for name in DIGITS]
    return pd.DataFrame(shown, columns=["measure", "source", *columns]).fillna("–")


def show_groups(long: pd.DataFrame) -> pd.DataFrame:
    """Lay the output of `by_group` out for reading."""
    by = long.columns[0]
    return pd.DataFrame(
        {
            by: long[by],
            "signals": long["n_signals"].astype(str),
            "measure": long["measure"],
            "observed": long["observed"].map(lambda value: number(value, 1)),
            "predicted": long["predicted"].map(lambda value: number(value, 1)),
            "RMSE (95 %)": _with_bounds(long, "RMSE"),
            "bias (95 %)": _with_bounds(long, "bias"),
        }
    )


def _with_bounds(long: pd.DataFrame, name: str) -> list[str]:
    columns = zip(long[name], long[f"{name}_low"], long[f"{name}_high"], strict=True)
    return [f"{number(v, 1)} ({number(lo, 1)} to {number(hi, 1)})" for v, lo, hi in columns]


def comparison_frame(compared: list[Mapping[str, Any]]) -> pd.DataFrame:
    """Return the output of `comparisons` as a long table."""
    rows = []
    for one in compared:
        low, high = one["interval"] or (None, None)
        row = {key: value for key, value in one.items() if key != "interval"}
        rows.append(row | {"difference_low": low, "difference_high": high})
    return pd.DataFrame(rows)


def show_comparisons(long: pd.DataFrame) -> pd.DataFrame:
    """Lay the comparisons out for reading."""
    rows = []
    for _, one in long.iterrows():
        keys = ("value_a", "value_b", "difference", "difference_low", "difference_high")
        a, b, difference, low, high = (number(one[key], DIGITS[one["score"]]) for key in keys)
        rows.append(
            {"a": one["a"], "b": one["b"], "signals": one["n_signals"], "score": one["score"]}
            | {"of a": a, "of b": b, "a less b (95 %)": f"{difference} ({low} to {high})"}
            | {
                "p": number(one["p"], 3),
                "better": one["better"]
                if isinstance(one["better"], str)
                else "not distinguishable",
            }
        )
    return pd.DataFrame(rows)


def records(long: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a table's rows for a json file: None where there is no number."""
    plain = long.astype(object).where(long.notna(), None)
    return [
        {name: one.item() if isinstance(one, np.generic) else one for name, one in row.items()}
        for row in plain.to_dict("records")
    ]


def markdown(table: pd.DataFrame) -> str:
    """Return a table as Markdown, its columns aligned so that it reads in a terminal too."""
    rows = [[str(cell) for cell in row] for row in [list(table.columns), *table.to_numpy()]]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows]
    padded.insert(1, ["-" * width for width in widths])
    return "".join(f"| {' | '.join(row)} |\n" for row in padded)
