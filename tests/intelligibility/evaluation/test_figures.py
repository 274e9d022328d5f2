"""Figures: nothing overlaps, axes have units, every signal is drawn."""

import itertools

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from intelligibility.evaluation.curve import Curve
from intelligibility.evaluation.figures import all_figures, figure_numbers
from intelligibility.evaluation.intervals import PredictionInterval
from intelligibility.evaluation.mapping import Fit, FittedMapping
from intelligibility.evaluation.scoring import draw_scenes
from intelligibility.evaluation.tables import by_group
from intelligibility.evaluation.within import within_scores

FIT = Curve(80.0, 0.2)
LEVELS = {"NOTHING": 10.0, "MILD": 25.0, "MODERATE": 45.0, "SEVERE": 65.0}


def made(n, n_listeners, n_systems, measures):
    """Return test signals with predictions and hearing losses."""
    rng = np.random.default_rng(0)
    listener = rng.integers(0, n_listeners, n)
    severity = np.array(list(LEVELS))[listener % 4]
    frame = pd.DataFrame(
        {
            "scene_number": rng.integers(0, 20, n),
            "listener": [f"L{number:04d}" for number in listener],
            "system": [f"E{number:03d}" for number in rng.integers(1, n_systems + 1, n)],
            "correctness": rng.choice([0.0, 20, 40, 60, 80, 100], n),
            "severity": severity,
            "level": [LEVELS[name] for name in severity] + 5 * (listener / n_listeners),
        }
    )
    for measure in measures:
        frame[f"{measure}_similarity"] = rng.uniform(0.6, 0.95, n)
        frame[f"{measure}_prediction"] = FIT.predict(frame[f"{measure}_similarity"])
    return frame


def drawn(test, dev, measures):
    """Return every figure of these signals."""
    counts = draw_scenes(20, seed=1, n_resamples=20)
    groups = {by: by_group(test, measures, by, counts) for by in ("listener", "system", "severity")}
    expected = PredictionInterval((20.0, 55.0, 85.0), (-30.0, -50.0, -40.0), (20.0, 40.0, 30.0))
    fits = {measure: Fit(FIT, prediction_interval=expected) for measure in measures}
    results = {
        "within": within_scores(test, measures, counts, seed=1),
        "figures": figure_numbers(test, measures),
    }
    return all_figures(test, dev, measures, groups, FittedMapping(fits, 50.0), results)


def texts_of(figure):
    """Draw a figure; return the texts that can be seen, with the boxes that they fill."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    unseen = set()  # the labels of ticks beyond the ends of an axis are there but not drawn
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        low, high = sorted(axis.get_view_interval())
        for tick in axis.get_major_ticks():
            if not low <= tick.get_loc() <= high:
                unseen |= {tick.label1, tick.label2}
    texts = [text for text in figure.findobj(Text) if text.get_visible() and text not in unseen]
    boxes = [(text.get_text(), text.get_window_extent(canvas.get_renderer())) for text in texts]
    return [(text, box) for text, box in boxes if text.strip() and box.width > 0]


SIZES = {
    "CPC1": (2421, 27, 10, ["wcs", "pre", "enc", "dec"]),
    "small": (160, 8, 4, ["enc", "dec"]),
    "one measure": (60, 3, 2, ["dec"]),
    "three measures": (200, 13, 13, ["wcs", "enc", "dec"]),
    "many listeners": (3000, 150, 30, ["dec"]),
}


@pytest.mark.parametrize("size", SIZES)
def test_no_text_overlaps_and_axes_have_units(size):
    n, n_listeners, n_systems, measures = SIZES[size]
    test = made(n, n_listeners, n_systems, measures)
    figures = drawn(test, made(n // 3 + 5, n_listeners, n_systems, measures), measures)
    names = ["scatter", "by_listener", "by_system", "residuals", "reliability"]
    assert [name for name in figures if name != "within"] == names
    for name, drawing in figures.items():
        texts = texts_of(drawing.figure)
        for (one, box), (other, its) in itertools.combinations(texts, 2):
            across = min(box.x1, its.x1) - max(box.x0, its.x0)
            along = min(box.y1, its.y1) - max(box.y0, its.y0)
            assert min(across, along) < 1, f"{name}: {one!r} over {other!r}"
        page = drawing.figure.bbox
        for text, box in texts:
            assert page.x0 - 1 <= box.x0 and box.x1 <= page.x1 + 1, f"{name}: {text!r} is cut"
            assert page.y0 - 1 <= box.y0 and box.y1 <= page.y1 + 1, f"{name}: {text!r} is cut"
        for axes in drawing.figure.axes:
            assert axes.get_ylabel().endswith(("(%)", "correlation of means"))
        if name == "within":
            continue  # across measures, whose names stand at the ticks
        labels = {axes.get_xlabel() for axes in drawing.figure.axes} - {""}
        by = name.removeprefix("by_")
        assert all(label.endswith((")", "listeners' mean")) for label in labels), labels
        assert labels if by == name else any(label.startswith(by) for label in labels)


def test_every_signal_is_in_the_scatter_and_the_legend_is_outside():
    test, dev = made(160, 8, 4, ["dec"]), made(50, 8, 4, ["dec"])
    figure = drawn(test, dev, ["dec"])["scatter"].figure
    texts_of(figure)
    (axes,) = figure.axes
    assert sorted(len(cloud.get_offsets()) for cloud in axes.collections if cloud.get_label() in
                  ("test", "dev")) == [50, 160]  # fmt: skip
    assert axes.get_legend() is None
    assert not axes.bbox.overlaps(figure.legends[0].get_window_extent())


def test_the_means_are_those_of_the_table():
    test = made(160, 8, 4, ["dec"])
    table = by_group(test, ["dec"], "system", draw_scenes(20, seed=1, n_resamples=20))
    (axes,) = drawn(test, None, ["dec"])["by_system"].figure.axes
    listeners, predicted = (bar.lines[0].get_ydata().astype(float) for bar in axes.containers)
    table = table.sort_values("observed")
    np.testing.assert_allclose(listeners, table["observed"])
    np.testing.assert_allclose(predicted, table["predicted"])


@pytest.mark.parametrize("n", [1, 2, 9])
def test_few_signals_and_constant_predictions_are_drawn(n):
    test = made(n, 1, 1, ["dec"]).assign(dec_similarity=0.8, dec_prediction=50.0)
    for drawing in drawn(test, None, ["dec"]).values():
        assert texts_of(drawing.figure)
