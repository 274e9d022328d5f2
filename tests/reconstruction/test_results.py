"""Tables for people, and what is said about depth."""

import re

import pandas as pd
import pytest

from reconstruction.page import write_index
from reconstruction.results import in_order, show_layers, summary, trends

VALUES = {"floats_per_s": 100.0, "params": 10, "mel_l1_train": 0.3, "wer_ci_lo": 0, "wer_ci_hi": 9}


def make_row(layer: str, depth: int | None, condition: str, wer: float, kind="layer") -> dict:
    """Return one row for all listeners."""
    inverter = {"layer": "reccnn", "untrained": "reccnn, untrained"}.get(kind, "")
    about = {"source": "net", "layer": layer, "depth": depth, "inverter": inverter, "kind": kind}
    scores = {"listener": "ALL", "wer": wer, "mel_l1": wer / 100, "skill": 1 - wer / 100}
    return about | scores | VALUES | {"condition": condition}


@pytest.fixture
def rows() -> list[dict]:
    """Return three layers with floors and controls, in no order."""
    found = []
    for condition, more in (("msbg", 20), ("ref", 0)):
        found.append(make_row("bandmean", None, condition, 99, "bandmean"))
        for depth, (layer, wer) in enumerate((("a", 5.0), ("b", 9.0), ("c", 40.0)), start=1):
            found.append(make_row(layer, depth, condition, wer + more))
            found.append(make_row(layer, depth, condition, 100, "untrained"))
        found.append(make_row("copy", None, condition, 2 + more, "copy"))
        found.append(make_row("original", None, condition, 1 + more, "original"))
    return found


def test_ceilings_come_first_and_the_floor_last(rows):
    table = in_order([*rows, *rows])
    assert len(table) == len(rows)  # controls that layers share come once
    layers = [(row["layer"], row["kind"]) for row in table if row["condition"] == "ref"]
    assert [name for name, _ in layers] == ["original", "copy", *"aabbcc", "bandmean"]
    assert layers[2:4] == [("a", "layer"), ("a", "untrained")]


def test_trends_are_rank_correlations_with_depth(rows):
    found = trends(pd.DataFrame(in_order(rows)))
    assert found["net reccnn ref"] == {
        "spearman_depth_mel_l1": pytest.approx(1.0),
        "spearman_depth_wer": pytest.approx(1.0),
    }
    for row in rows:
        row["wer"] = 3.0
    assert trends(pd.DataFrame(rows))["net reccnn msbg"]["spearman_depth_wer"] is None


def test_the_table_has_both_conditions_beside_each_other(rows):
    about = {"task": "talker", "accuracy": 90.0, "chance": 17.0, "n_held_out": 8, "classes": ["x"]}
    lines = summary(pd.DataFrame(in_order(rows)), {"net": about}).splitlines()
    assert "Trained on talker (1 classes): 90 % right on held-out scenes (8 signals)" in lines[4]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    cells = next(row for row in rows if row[:2] == ["b", "reccnn"])
    assert cells[2:5] == ["100", "10", "0.300"]
    assert cells[5:8] == ["0.090", "0.91", "9.0 (0.0 to 9.0)"]
    assert cells[8:] == ["0.290", "0.71", "29.0 (0.0 to 9.0)"]


def test_each_network_of_the_index_leads_to_its_own_page(rows, tmp_path):
    table = show_layers(pd.DataFrame(in_order(rows)))
    heard = [(name, [{"audio": "", "text": "words"}] * 2) for name in table["layer"].unique()]
    examples = [{"title": "", "rows": heard}]
    about = {"folder": "{}", "about": "", "table": table, "examples": examples}
    names = ["vggish-snr-reccnn", "vggish-snr-recgan"]
    chapters = {f"pages/{name}.html": about | {"title": name} for name in names}
    provenance = {"time": "", "command": "", "versions": {}, "config": {}}
    write_index(tmp_path / "index.html", chapters, provenance)
    parts = (tmp_path / "index.html").read_text().split("<h2")[1:3]
    assert [re.findall('href="pages/(.+).html"', part) for part in parts] == [[n] for n in names]
