"""Tables: the right numbers in the right rows, and text that reads."""

import json

import numpy as np
import pytest

from intelligibility.corpora.cpc1 import CORPUS
from intelligibility.evaluation.scoring import draw_scenes, score
from intelligibility.evaluation.tables import (
    Resampler,
    averaged_scores_of,
    averages_table,
    by_group,
    group_table,
    markdown,
    scores_of,
    signals_table,
)


@pytest.fixture(scope="module")
def results(signals, counts):
    """Return what evaluate.py gathers for the tables."""
    measures = ["enc", "dec"]
    return {
        "scores": scores_of(signals, measures, Resampler(counts)),
        "averaged": {
            by: averaged_scores_of(signals, measures, by, counts) for by in ("listener", "system")
        },
    }


def test_each_score_lies_in_its_interval(results):
    for scored in (results["scores"], *results["averaged"].values()):
        for scores in scored.values():
            for one in scores.values():
                assert one["interval"] is None or one["interval"][0] <= one["value"]
                assert one["interval"] is None or one["value"] <= one["interval"][1]


def test_averaged_scores_are_those_of_the_means(signals, results):
    means = signals.groupby("system")[["dec_prediction", "correctness"]].mean()
    expected = score(means["dec_prediction"].to_numpy(), means["correctness"].to_numpy())
    assert results["averaged"]["system"]["dec"]["RMSE"]["value"] == expected["RMSE"]


def test_groups_have_their_own_rmse_and_bias(signals, counts):
    long = by_group(signals, ["enc", "dec"], "listener", counts)
    assert list(long["listener"].unique()) == ["L0001", "L0002", "L0003"] and len(long) == 6
    row = long[(long["listener"] == "L0002") & (long["measure"] == "dec")].iloc[0]
    mine = signals[signals["listener"] == "L0002"]
    error = mine["dec_prediction"] - mine["correctness"]
    assert row["n_signals"] == len(mine)
    assert row["RMSE"] == pytest.approx(np.sqrt((error**2).mean()))
    assert row["bias"] == pytest.approx(error.mean())
    assert row["observed_se"] == pytest.approx(mine["correctness"].std(ddof=0) / len(mine) ** 0.5)
    assert row["bias_low"] < row["bias"] < row["bias_high"]


def test_table_1_has_the_published_row_below_ours_and_the_tracks_side_by_side(results):
    shown = signals_table({"closed": results, "open": results}, CORPUS).shown
    dec = shown.index[shown["measure"] == "decoder"][0]
    assert list(shown["source"][dec : dec + 4]) == [
        "this run",
        "95 % interval",
        "paper",
        "paper, LS+CPC1",
    ]
    assert shown.loc[dec + 2, "closed RMSE"] == "23.1" and shown.loc[dec + 2, "open KT"] == "0.530"
    assert shown.loc[dec, "open NCC"] == f"{results['scores']['dec']['NCC']['value']:.3f}"
    closed_only = signals_table({"closed": results}, CORPUS).shown
    assert not [name for name in closed_only if name.startswith("open")]
    assert shown.map(lambda cell: isinstance(cell, str)).all(axis=None)


def test_every_published_row_is_shown(results):
    shown = signals_table({"closed": results}, CORPUS).shown
    assert (~shown["source"].isin(["this run", "95 % interval"])).sum() == len(CORPUS.published)
    shown = averages_table(results, CORPUS).shown
    published = ~shown["source"].isin(["this run", "95 % interval"])
    assert published.sum() == len(CORPUS.published_means)


def test_what_is_undefined_is_null(signals, counts):
    scored = scores_of(signals, ["flat"], Resampler(counts))["flat"]
    assert json.loads(json.dumps(scored["NCC"])) == {"value": None, "interval": None}


def test_a_single_scene_has_scores_but_no_intervals(signals):
    alone = signals.assign(scene_number=0)
    scored = scores_of(alone, ["dec"], Resampler(draw_scenes(1, seed=1)))["dec"]
    assert scored["RMSE"]["value"] > 0 and scored["RMSE"]["interval"] is None
    shown = group_table(by_group(alone, ["dec"], "system", draw_scenes(1, seed=1)), "").shown
    assert shown["RMSE (95 %)"].str.contains("– to –").all()


def test_markdown_is_aligned(signals, counts):
    text = markdown(group_table(by_group(signals, ["dec"], "system", counts), "").shown)
    lines = text.splitlines()
    assert len({len(line) for line in lines}) == 1 and set(lines[1]) == set("|- ")
    assert lines[2].startswith("| E001 ")
