"""Which layer of a recogniser predicts best: a curve fitted for each, and a choice on dev alone."""

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure

from intelligibility.evaluation.curve import CURVE, fit_curve
from intelligibility.evaluation.drawing import BLUE, GREY, ORANGE, PAGE, STYLE, Drawing
from intelligibility.evaluation.scoring import score
from intelligibility.evaluation.tables import Table
from intelligibility.experiment import Experiment
from intelligibility.pages import number
from intelligibility.runs import RecipeError, listed, read_json

logger = logging.getLogger(__name__)

SHOWN = {"RMSE": 1, "NCC": 3}  # the scores, and their digits
TITLE = "Layers of the recogniser"


def layer_scores(
    experiment: Experiment, dev: pd.DataFrame, test: pd.DataFrame
) -> dict[str, Any] | None:
    """Fit the curve of every layer on dev, score it on dev and test, and choose on dev alone.

    Parameters
    ----------
    experiment : Experiment
        Where infer.py wrote with layers=all.
    dev, test : DataFrame
        From `read_signals`; those without a response do not count.

    Returns
    -------
    dict or None
        `chosen`, the layer with the lowest RMSE on dev, and `scores`: {layer: {"dev": {"RMSE": ...,
        "NCC": ...}, "test": ...}}, or None for a layer whose similarity is the same everywhere.
        None where no layers were measured.

    Raises
    ------
    RecipeError
        The layers are of other signals than the measures.
    """
    if not all(experiment.layers_file(split).is_file() for split in ("dev", "test")):
        return None
    splits = {"dev": dev, "test": test}
    layers = {split: _layers_of(experiment, split, rows) for split, rows in splits.items()}
    known = {split: rows[rows["correctness"].notna()] for split, rows in splits.items()}
    scores: dict[str, dict[str, dict[str, float | None]] | None] = {}
    for layer in map(str, layers["dev"]):
        try:
            similarity = layers["dev"].loc[known["dev"]["signal"], layer].to_numpy()
            curve = fit_curve(similarity, known["dev"]["correctness"])
        except RecipeError:  # along one text, what enters the decoder is the same everywhere
            scores[layer] = None
            continue
        scored = scores[layer] = {}
        for split, rows in known.items():
            similarity = layers[split].loc[rows["signal"], layer].to_numpy()
            found = score(curve.predict(similarity), rows["correctness"])
            scored[split] = {name: found[name] for name in SHOWN}
    on_dev = {layer: one["dev"]["RMSE"] or 0.0 for layer, one in scores.items() if one}
    if not on_dev:
        return None
    chosen = min(on_dev, key=lambda layer: on_dev[layer])
    logger.info("Of %d layers %s has the lowest RMSE on dev", len(scores), chosen)
    return {"chosen": chosen, "scores": scores}


def _layers_of(experiment: Experiment, split: str, signals: pd.DataFrame) -> pd.DataFrame:
    """Read the layers of these signals, in their order."""
    path = experiment.layers_file(split)
    try:
        layers = pd.DataFrame(read_json(path, dict), dtype=float)
    except (ValueError, TypeError) as error:
        raise RecipeError(f"{path}: {error}; run infer.py again with layers=all") from None
    lacking = sorted(set(signals["signal"]) - set(layers.index[layers.notna().all(axis=1)]))
    if lacking:
        raise RecipeError(
            f"{path}: lacks {listed(lacking, 3)}, of which there are measures; run infer.py again "
            "with layers=all"
        )
    return layers.loc[signals["signal"]]


def layers_table(found: Mapping[str, Any]) -> Table:
    """Lay out the scores of every layer, as `layer_scores` found them."""
    nothing: dict[str, Any] = {"dev": {}, "test": {}}
    rows = [
        {"layer": layer}
        | {
            f"{split} {name}": (scores or nothing)[split].get(name)
            for split in nothing
            for name in SHOWN
        }
        | {"chosen": layer == found["chosen"]}
        for layer, scores in found["scores"].items()
    ]
    long = pd.DataFrame(rows)
    shown = long.drop(columns="chosen")
    shown["layer"] += np.where(long["chosen"], " (chosen)", "")
    for column in shown.columns[1:]:
        digits = SHOWN[column.split()[1]]
        shown[column] = [number(value, digits) for value in long[column]]
    caption = (
        f"A {CURVE} of each layer's similarity, fitted on dev, applied to dev and test. The layer "
        f"with the lowest RMSE on dev is {found['chosen']}; the test scores had no part in the "
        "choice. cnn: the front end; encoder.0, decoder.0: what enters the first block; encoder.n, "
        "decoder.n: what leaves the n-th."
    )
    return Table(TITLE, caption, long, shown)


@rc_context(STYLE)
def layers_drawing(found: Mapping[str, Any]) -> Drawing:
    """Draw NCC and RMSE by layer, dev and test, as `layer_scores` found them."""
    figure = Figure((PAGE, 3.2), layout="constrained")
    panels = figure.subplots(1, len(SHOWN))
    units = {"RMSE": "RMSE (% words correct)", "NCC": "NCC"}
    layers = list(found["scores"])
    parts = [layer.split(".")[0] for layer in layers]
    for axes, name in zip(panels, SHOWN, strict=True):
        for part in dict.fromkeys(parts):  # joined by a line
            at = [n for n, one in enumerate(layers) if parts[n] == part and found["scores"][one]]
            for split, colour, marker in (("dev", ORANGE, "^"), ("test", BLUE, "o")):
                values = [found["scores"][layers[n]][split][name] for n in at]
                values = [np.nan if value is None else value for value in values]
                axes.plot(at, values, marker=marker, ms=4, lw=0.9, color=colour, label=split)
        axes.axvline(layers.index(found["chosen"]), color=GREY, ls=":", lw=0.9)
        axes.set(ylabel=units[name])
        axes.set_xticks(range(len(layers)), layers, rotation=90)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles[:2], labels[:2], loc="outside lower center", ncols=2)
    caption = (
        f"Scores of a {CURVE} of each layer's similarity, fitted on dev. The dotted line marks the "
        f"layer with the lowest RMSE on dev, {found['chosen']}; the test scores had no part in the "
        "choice."
    )
    return Drawing(TITLE, caption, figure)
