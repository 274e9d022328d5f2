"""How figures look: colours, sizes, panels and legends, and how they are saved.

Colours are those of Okabe & Ito (2008), which colour-blind readers tell apart; shapes differ as
well, for print in black and white.
"""

import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.axis import XAxis, YAxis
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from intelligibility.runs import atomic_path

logging.getLogger("fontTools").setLevel(logging.WARNING)  # it would list every glyph

BLUE, ORANGE, GREY = "#0072B2", "#E69F00", "#666666"
COLUMN, PAGE = 3.5, 7.2  # inches: one and two columns of a journal page

STYLE: dict[Any, Any] = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "pdf.fonttype": 42,  # text stays text
}


@dataclass(frozen=True)
class Drawing:
    """A figure and what to say about it."""

    title: str
    caption: str
    figure: Figure


@rc_context(STYLE)
def save(figure: Figure, stem: Path) -> Path:
    """Write a figure as stem.png and stem.pdf, undated, so that equal figures are equal files.

    Returns the PNG.
    """
    for suffix, metadata in ((".png", {"Software": None}), (".pdf", {"CreationDate": None})):
        with atomic_path(stem.with_name(stem.name + suffix)) as part:
            figure.savefig(part, dpi=200, metadata=metadata)
        figure.set_layout_engine("none")  # laid out once, the same in both
    return stem.with_name(f"{stem.name}.png")


def note_above(axes: Axes, x: float, text: str, size: float) -> None:
    """Write above the panel at a place on its horizontal axis."""
    axes.annotate(
        text, (x, 1.0), xycoords=("data", "axes fraction"), xytext=(0, 2),
        textcoords="offset points", ha="center", color=GREY, fontsize=size,
    )  # fmt: skip


def panels_of(
    n: int, columns: int = 2, height: float = 3.0, sharex: bool = False, sharey: bool = False
) -> tuple[Figure, list[Axes]]:
    """Return a figure with n panels, each `height` inches high, on as wide a page as they need."""
    columns = min(n, columns)
    rows = math.ceil(n / columns)
    alone = n == 1 and height == 3.0
    figure = Figure((COLUMN + 0.3 if alone else PAGE, 0.5 + height * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharex=sharex, sharey=sharey)
    panels = list(grid.ravel())
    for spare in panels[n:]:
        spare.remove()
    for lowest in panels[max(0, n - columns) : n]:
        lowest.tick_params(labelbottom=True)
    return figure, panels[:n]


def percent_axis(axis: XAxis | YAxis) -> None:
    """Let an axis run from 0 to 100 %, with a margin."""
    axis.set_ticks(range(0, 101, 20))
    axis.axes.set(**{f"{axis.axis_name}lim": (-4, 104)})


def legend_below(figure: Figure, axes: Axes, columns: int) -> None:
    """Put the legend below the panels, where it covers no data."""
    handles, labels = axes.get_legend_handles_labels()
    legend = figure.legend(handles, labels, loc="outside lower center", ncols=columns)
    for handle in legend.legend_handles:
        if handle is not None and not isinstance(handle, Patch):  # shaded as it is drawn
            handle.set_alpha(1)
