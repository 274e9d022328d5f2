"""Draw what the demo ends with: similarity against words correct, the picture in the README.

python -m demo.picture docs/demo.png         # after make demo
"""

import sys
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from intelligibility.runs import RECIPE, atomic_path

PREDICTIONS = RECIPE / "demo/exp/predictions.csv"
LAYERS = {"enc": "encoder", "dec": "decoder"}


def draw(predictions: pd.DataFrame) -> Figure:
    """Draw a panel per layer: one dot per test signal, and the mapping that was fitted on dev."""
    figure = Figure(figsize=(7, 2.8), layout="constrained")
    panels = figure.subplots(1, len(LAYERS), sharey=True)
    for panel, (measure, title) in zip(panels, LAYERS.items(), strict=True):
        by_similarity = predictions.sort_values(f"{measure}_similarity")
        similarity = by_similarity[f"{measure}_similarity"]
        panel.scatter(similarity, by_similarity["correctness"], s=12, alpha=0.5, linewidth=0)
        predicted = by_similarity[f"{measure}_prediction"]
        panel.plot(similarity, predicted, color="tab:red")
        rmse = ((predicted - by_similarity["correctness"]) ** 2).mean() ** 0.5
        panel.set_title(f"{title}: RMSE {rmse:.1f} %", fontsize=10)
        panel.set_xlabel("similarity of the hidden representations")
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("words correct (%)")
    return figure


def main() -> None:
    """Write the picture."""
    output = Path(sys.argv[1]) if sys.argv[1:] else PREDICTIONS.with_name("demo.png")
    figure = draw(pd.read_csv(PREDICTIONS))
    with atomic_path(output) as part, mpl.rc_context({"font.size": 9}):
        figure.savefig(part, dpi=120, format="png", metadata={"Software": None})


if __name__ == "__main__":
    main()
