"""The paper's Table 2: what each step of the recogniser's training is worth, run beside run."""

import itertools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from intelligibility.evaluation.compare import comparison_table, comparisons, read_other
from intelligibility.evaluation.tables import (
    DIGITS,
    Resampler,
    Table,
    between,
    scores_of,
    with_ends,
)
from intelligibility.experiment import ABLATIONS, Experiment
from intelligibility.pages import number

logger = logging.getLogger(__name__)

MEASURE = "dec"  # which the paper's table is of


@dataclass(frozen=True)
class Training:
    """A row of the table: what the recogniser was trained on, and where its run is kept."""

    title: str  # as in the paper
    run: str  # the value of `run=`; "" for the usual one
    hearing_loss: str = "msbg"  # the value of `hearing_loss=`

    def experiment(self, of: Experiment) -> Experiment:
        """Return where the run is kept in the same experiment folder."""
        return replace(of, run=self.run, ablation=ABLATIONS[self.hearing_loss], recogniser="")


TRAININGS = (
    Training("LS", "ls"),
    Training("LS+CLS", "ls_cls"),
    Training("LS+CPC1", ""),
    Training("LS+CLS+CPC1", "ls_cls_cpc1"),
    Training("LS+CLS+CPC1, no MSBG", "ls_cls_cpc1", "none"),
)


def training_scores(
    experiment: Experiment, test: pd.DataFrame, resampler: Resampler
) -> dict[str, Any] | None:
    """Score the decoder's predictions of every run of this experiment folder, and compare them.

    `experiment` is any of the runs, `test` its labelled test signals.

    Returns
    -------
    dict or None
        `scores` by title with intervals, and `comparisons` of each two; None where there is no run
        but the usual one.
    """
    found = {one.title: one.experiment(experiment).predictions for one in TRAININGS}
    found = {title: path for title, path in found.items() if path.is_file()}
    if not found.keys() - {"LS+CPC1"}:
        return None
    column = f"{MEASURE}_prediction"
    for title, path in list(found.items()):
        theirs = read_other(path)
        joined = test[["signal"]].join(theirs, on="signal")
        differ = np.abs(joined["correctness"] - test["correctness"]) > 1e-6
        if column not in theirs or differ.any() or joined[column].isna().all():
            logger.warning("%s: other test signals or answers; run evaluate.py there again", path)
            del found[title]
        else:
            test = test.assign(**{f"{title}_prediction": joined[column]})
    pairs = list(itertools.combinations(reversed(found), 2))
    return {
        "scores": scores_of(test, list(found), resampler),
        "comparisons": comparisons(test, pairs, resampler),
    }


def training_tables(
    trainings: Mapping[str, Any], published: Mapping[str, Sequence[float]]
) -> dict[str, Table]:
    """Lay the runs out beside the paper's rows (RMSE, NCC, KT by title), and their comparisons."""
    rows, shown = [], []
    for title in (one.title for one in TRAININGS):
        row: dict[str, Any] = {"training": title}
        line = {"trained on": title}
        for name, digits in DIGITS.items():
            one = trainings["scores"].get(title, {}).get(name, {"value": None, "interval": None})
            row |= with_ends(name, one)
            ends = f" ({between(one['interval'], digits)})" if one["interval"] else ""
            line[name] = number(one["value"], digits) + ends
        paper = dict(zip(DIGITS, published.get(title, (None, None, None)), strict=True))
        row |= {f"paper_{name}": value for name, value in paper.items()}
        line |= {f"paper {name}": number(value, DIGITS[name]) for name, value in paper.items()}
        rows.append(row)
        shown.append(line)
    caption = (
        "Decoder similarity. LS: LibriSpeech; CLS: LibriSpeech with CEC1's noises; CPC1: this "
        "corpus' training set. With 95 % intervals; a dash where a run is missing."
    )
    title = "Table 2: what the recogniser was trained on"
    tables = {"table2": Table(title, caption, pd.DataFrame(rows), pd.DataFrame(shown))}
    if trainings["comparisons"]:
        compared = comparison_table(trainings["comparisons"], "All by decoder similarity")
        tables["table2_comparisons"] = replace(compared, title="Which training is better?")
    return tables
