"""Which layer of a recogniser predicts best: a curve fitted for each, and a choice on dev alone."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure

from intelligibility.evaluation.curve import CURVE, Curve, fit_curve
from intelligibility.evaluation.drawing import BLUE, GREY, ORANGE, PAGE, STYLE, Drawing
from intelligibility.evaluation.scoring import score
from intelligibility.evaluation.tables import NAMES, Table
from intelligibility.pages import number
from intelligibility.runs import RecipeError

SHOWN = {"RMSE": 1, "NCC": 3}  # the scores, and their digits
ROUNDING = 1e-5  # of similarities that are equal
TITLE = "Layers of the recogniser"


def layers_of(signals: pd.DataFrame) -> list[str]:
    """Return the layers of which there are similarities, front end first."""
    columns = [one for one in map(str, signals) if one.endswith("_similarity")]
    names = [one.removesuffix("_similarity") for one in columns]
    return [name for name in names if name not in NAMES]


def choose_layer(dev: pd.DataFrame) -> str | None:
    """Return the layer with the lowest RMSE on dev, None where there is none."""
    on_dev = {
        layer: _score(curve, dev, layer)["RMSE"] or 0.0
        for layer in layers_of(dev)
        if (curve := _curve_of(dev, layer))
    }
    return min(on_dev, key=lambda layer: on_dev[layer], default=None)


def layer_scores(dev: pd.DataFrame, test: pd.DataFrame, chosen: str) -> dict[str, Any]:
    """Score the curve of every layer, fitted on dev, on dev and test.

    Both are from `read_signals`, signals without a response do not count; dev chose `chosen`.

    Returns
    -------
    dict
        `chosen`, and `scores`: {layer: {"dev": {"RMSE": ..., "NCC": ...}, "test": ...}}, or None
        for a layer whose similarity is the same everywhere.
    """
    scores: dict[str, dict[str, dict[str, float | None]] | None] = {}
    for layer in layers_of(dev):
        scores[layer] = None
        if (curve := _curve_of(dev, layer)) is not None:
            splits = {"dev": dev, "test": test}
            scores[layer] = {split: _score(curve, rows, layer) for split, rows in splits.items()}
    return {"chosen": chosen, "scores": scores}


def _curve_of(dev: pd.DataFrame, layer: str) -> Curve | None:
    """Fit the curve of one layer; None where none is determined.

    What enters a decoder that is led along a text has one similarity everywhere, but for rounding.
    """
    known = dev[dev["correctness"].notna()]
    similarity = known[f"{layer}_similarity"].to_numpy()
    if not len(similarity) or np.ptp(similarity) < ROUNDING:
        return None
    try:
        return fit_curve(similarity, known["correctness"].to_numpy())
    except RecipeError:
        return None


def _score(curve: Curve, signals: pd.DataFrame, layer: str) -> dict[str, float | None]:
    known = signals[signals["correctness"].notna()]
    predicted = curve.predict(known[f"{layer}_similarity"].to_numpy())
    found = score(predicted, known["correctness"].to_numpy())
    return {name: found[name] for name in SHOWN}


def layers_table(found: Mapping[str, Any]) -> Table:
    """Lay out the scores of every layer, as `layer_scores` found them."""
    rows = [
        {"layer": layer}
        | {
            f"{split} {name}": scores[split][name] if scores else None
            for split in ("dev", "test")
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
