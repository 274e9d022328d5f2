"""Tables: the right numbers in the right rows, and text that reads."""

import json
import logging

import numpy as np
import pandas as pd
import pytest

from intelligibility.corpora.cpc1 import CORPUS
from intelligibility.evaluation.scoring import draw_scenes, score
from intelligibility.evaluation.tables import (
    Resampler,
    averaged_scores_of,
    by_group,
    comparison_frame,
    comparisons,
    markdown,
    scores_of,
    show_comparisons,
    show_groups,
    show_scores,
    table_1,
    table_3,
)
from intelligibility.runs import RecipeError

logger = logging.getLogger(__name__)
N_SCENES = 30


@pytest.fixture(scope="module")
def signals():
    """Return 300 test signals; "dec" predicts better than "enc", "flat" is a constant."""
    rng = np.random.default_rng(0)
    observed = rng.choice([0.0, 20, 40, 60, 80, 100], 300)
    return pd.DataFrame(
        {
            "scene_number": rng.integers(0, N_SCENES, 300),
            "listener": rng.choice(["L0001", "L0002", "L0003"], 300),
            "system": rng.choice(["E001", "E002"], 300),
            "correctness": observed,
            "dec_prediction": np.clip(observed + 10 * rng.standard_normal(300), 0, 100),
            "enc_prediction": np.clip(observed + 40 * rng.standard_normal(300), 0, 100),
            "flat_prediction": 50.0,
        }
    )


@pytest.fixture(scope="module")
def counts():
    """Return the draws of every test here."""
    return draw_scenes(N_SCENES, seed=1, n_resamples=200)


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
    long = table_1({"closed": results, "open": results}, CORPUS)
    shown = show_scores(long, "track")
    dec = shown.index[shown["measure"] == "decoder"][0]
    assert list(shown["source"][dec : dec + 4]) == [
        "this run",
        "95 % interval",
        "paper",
        "paper, LS+CPC1",
    ]
    assert shown.loc[dec + 2, "closed RMSE"] == "23.1" and shown.loc[dec + 2, "open KT"] == "0.530"
    assert shown.loc[dec, "open NCC"] == f"{results['scores']['dec']['NCC']['value']:.3f}"
    closed_only = show_scores(table_1({"closed": results}, CORPUS), "track")
    assert not [name for name in closed_only if name.startswith("open")]
    assert shown.map(lambda cell: isinstance(cell, str)).all(axis=None)


def test_every_published_row_is_shown(results):
    shown = show_scores(table_1({"closed": results}, CORPUS), "track")
    assert (~shown["source"].isin(["this run", "95 % interval"])).sum() == len(CORPUS.published)
    shown = show_scores(table_3(results, CORPUS), "average")
    published = ~shown["source"].isin(["this run", "95 % interval"])
    assert published.sum() == len(CORPUS.published_means)


def test_the_better_measure_is_named_and_equals_are_not(signals, counts):
    equal = signals.assign(twin_prediction=signals["dec_prediction"])
    compared = comparisons(
        equal, [("dec", "enc"), ("enc", "dec"), ("dec", "twin")], Resampler(counts)
    )
    assert [one["better"] for one in compared] == ["dec"] * 6 + [None] * 3
    assert [one["p"] < 0.05 for one in compared] == [True] * 6 + [False] * 3
    assert compared[0]["difference"] == -compared[3]["difference"]
    mirrored = [-end for end in reversed(compared[3]["interval"])]  # the same draws for both
    assert compared[0]["interval"] == pytest.approx(mirrored)
    shown = show_comparisons(comparison_frame(compared))
    assert list(shown["better"]) == ["dec"] * 6 + ["not distinguishable"] * 3


def test_measures_are_compared_over_the_signals_that_both_have(signals, counts):
    partial = signals.copy()
    partial.loc[:99, "enc_prediction"] = np.nan
    one = comparisons(partial, [("dec", "enc")], Resampler(counts))[0]
    both = partial.iloc[100:]
    assert one["n_signals"] == 200
    expected = score(both["dec_prediction"].to_numpy(), both["correctness"].to_numpy())["RMSE"]
    assert one["value_a"] == expected
    partial.loc[100:, "dec_prediction"] = np.nan
    with pytest.raises(RecipeError, match="dec and enc predict no signal in common"):
        comparisons(partial, [("dec", "enc")], Resampler(counts))


def test_what_is_undefined_is_a_dash_and_null(signals, counts):
    scored = scores_of(signals, ["flat"], Resampler(counts))["flat"]
    assert json.loads(json.dumps(scored["NCC"])) == {"value": None, "interval": None}
    compared = comparisons(signals, [("dec", "flat")], Resampler(counts))
    assert [one["p"] is None for one in compared] == [False, True, True]
    shown = show_comparisons(comparison_frame(compared))
    assert shown["of b"].iloc[1] == "–" and shown["p"].iloc[1] == "–"


def test_a_single_scene_has_scores_but_no_intervals(signals):
    alone = signals.assign(scene_number=0)
    scored = scores_of(alone, ["dec"], Resampler(draw_scenes(1, seed=1)))["dec"]
    assert scored["RMSE"]["value"] > 0 and scored["RMSE"]["interval"] is None
    shown = show_groups(by_group(alone, ["dec"], "system", draw_scenes(1, seed=1)))
    assert shown["RMSE (95 %)"].str.contains("– to –").all()


def test_markdown_is_aligned(signals, counts):
    text = markdown(show_groups(by_group(signals, ["dec"], "system", counts)))
    lines = text.splitlines()
    assert len({len(line) for line in lines}) == 1 and set(lines[1]) == set("|- ")
    assert lines[2].startswith("| E001 ")
