"""Tables beyond the paper's: within groups, ranges to expect, the spread over halves of dev."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from intelligibility.evaluation.tables import NAMES, OURS, Table
from intelligibility.evaluation.within import MIN_PER_MEAN, WITHIN
from intelligibility.pages import number

INTERVAL = "95 % interval"


def further_tables(results: Mapping[str, Any]) -> dict[str, Table]:
    """Lay out what there is, by the name of its file.

    Parameters
    ----------
    results : mapping
        Contents of results{track}.json.
    """
    tables = {"within": within_table(results["within"])}
    if results["ranges"]["measures"]:
        tables["ranges"] = ranges_table(results["ranges"])
    if results["halves"]:
        tables["halves"] = halves_table(results["halves"], results["scores"])
    return tables


# What a measure knows of the listener, and of the hearing aid


def within_table(within: Mapping[str, Any]) -> Table:
    """Lay out the correlations within listeners and within systems, below their ceilings."""
    rows = [("ceiling", {by: one["ceiling"] for by, one in within.items()}, None)]
    for measure in next((list(w["measures"]) for w in within.values() if w["measures"]), []):
        scored = {by: one["measures"].get(measure, {}) for by, one in within.items()}
        pair = ({by: one.get(name) for by, one in scored.items()} for name in WITHIN_SCORES)
        rows.append((measure, *pair))
    long = pd.DataFrame([_within_row(*row) for row in rows])
    caption = (
        f"Means of at least {MIN_PER_MEAN} signals per listener and system. Within listener: "
        "correlation of predicted and observed means over systems, averaged over listeners; within "
        "system: the other way round. Ceiling: what the answers themselves allow, the split-half "
        "repeatability of the observed means (Spearman-Brown), and so the share of their variance "
        "that can be explained; explained: the squared correlation as a share of it. It can exceed "
        "1 where listeners and systems were heard in other scenes each, and a measure knows which "
        "of these are hard."
    )
    for by, one in within.items():
        if one["reason"]:
            caption += f" Nothing within {by}: {one['reason']}."
    return Table("Within listener, within system", caption, long, _show_within(long))


WITHIN_SCORES = ("correlation", "explained")


def _within_row(
    measure: str, correlation: Mapping[str, Any], explained: Mapping[str, Any] | None
) -> dict[str, Any]:
    row: dict[str, Any] = {"measure": measure}
    for by in WITHIN:
        for name, values in zip(WITHIN_SCORES, (correlation, explained or {}), strict=True):
            one = values.get(by) or {"value": None, "interval": None}
            low, high = one["interval"] or (None, None)
            column = f"within_{by}_{name}"
            row |= {column: one["value"], f"{column}_low": low, f"{column}_high": high}
    return row


def _show_within(long: pd.DataFrame) -> pd.DataFrame:
    shown = []
    for row in long.astype(object).where(long.notna(), None).to_dict("records"):
        name = NAMES.get(row["measure"], "ceiling (the answers)")
        values, bounds = {"measure": name, "source": OURS}, {"measure": "", "source": INTERVAL}
        for by in WITHIN:
            for score, title in zip(WITHIN_SCORES, ("correlation", "explained"), strict=True):
                column, digits = f"within_{by}_{score}", 3 if score == "correlation" else 2
                ends = [number(row[f"{column}_{end}"], 2) for end in ("low", "high")]
                values[f"within {by}: {title}"] = number(row[column], digits)
                bounds[f"within {by}: {title}"] = "–" if "–" in ends else "–".join(ends)
        shown += [values, bounds]
    return pd.DataFrame(shown)


# What to expect


def ranges_table(ranges: Mapping[str, Any]) -> Table:
    """Lay out how often the answers lay within their ranges, and how wide these are."""
    rows, shown = [], []
    for measure, one in ranges["measures"].items():
        single, means = one["one"], one["means"] or {"coverage": None, "width": None}
        low, high = single["coverage"]["interval"] or (None, None)
        rows.append(
            {
                "measure": measure,
                "coverage": single["coverage"]["value"],
                "coverage_low": low,
                "coverage_high": high,
                "width": single["width"],
                "coverage_of_means": means["coverage"],
                "width_of_means": means["width"],
            }
        )
        shown.append(
            {
                "measure": NAMES[measure],
                "one sentence: within (95 %)": f"{_percent(single['coverage']['value'])} "
                f"({_percent(low)} to {_percent(high)})",
                "mean width": number(single["width"], 0),
                f"mean of {ranges['sentences']}: within": _percent(means["coverage"]),
                "width": number(means["width"], 0),
            }
        )
    caption = (
        "The share of test answers within their ranges, which should be "
        f"{_percent(ranges['level'])} % or more (many answers are 0 or 100 %, and in or out as "
        "one), and the width of these in percent words correct. The ranges are those of the "
        "residuals on dev (split conformal), per tenth of the predictions. Means are of sentences "
        "through one hearing aid, heard by anyone; a dash: too few signals per hearing aid on dev "
        "or test."
    )
    return Table("What to expect of one sentence", caption, pd.DataFrame(rows), pd.DataFrame(shown))


def _percent(share: float | None) -> str:
    return number(None if share is None else 100 * share, 0)


# What the choice of dev scenes changes


def halves_table(halves: Mapping[str, Any], scores: Mapping[str, Any]) -> Table:
    """Lay out the scores of mappings that were fitted on random halves of the dev scenes."""
    rows, shown = [], []
    for measure, spread in halves["measures"].items():
        line = {"measure": NAMES[measure]}
        for score, digits in (("RMSE", 2), ("NCC", 4), ("KT", 4)):
            one = spread[score]
            defined = [value for value in one["values"] if value is not None]
            ends = (min(defined), max(defined)) if defined else (None, None)
            rows.append(
                {"measure": measure, "score": score, "all_of_dev": scores[measure][score]["value"]}
                | {"mean": one["mean"], "sd": one["sd"], "lowest": ends[0], "highest": ends[1]}
            )
            line[f"{score}, all of dev"] = number(scores[measure][score]["value"], digits)
            line[f"{score}, halves: mean ± sd"] = (
                "–"
                if one["mean"] is None
                else f"{number(one['mean'], digits)} ± {number(one['sd'], digits)}"
            )
        shown.append(line)
    caption = (
        f"The mapping fitted on {len(halves['seeds'])} random halves of the dev scenes "
        f"({halves['n_dev_scenes']} each); the recogniser and its similarities stay the same. What "
        "differs comes from the split alone. KT hardly can: a logistic keeps the order of signals."
    )
    return Table(
        "What the choice of dev scenes changes", caption, pd.DataFrame(rows), pd.DataFrame(shown)
    )
