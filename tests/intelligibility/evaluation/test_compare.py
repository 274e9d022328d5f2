"""Comparisons of predictions: who is better, over which signals, and what is undefined."""

import numpy as np
import pytest

from intelligibility.evaluation.compare import comparison_table, comparisons, read_other
from intelligibility.evaluation.scoring import score
from intelligibility.evaluation.tables import Resampler
from intelligibility.runs import RecipeError


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
    shown = comparison_table(compared, "").shown
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


def test_what_is_undefined_is_a_dash(signals, counts):
    compared = comparisons(signals, [("dec", "flat")], Resampler(counts))
    assert [one["p"] is None for one in compared] == [False, True, True]
    shown = comparison_table(compared, "").shown
    assert shown["of b"].iloc[1] == "–" and shown["p"].iloc[1] == "–"


@pytest.mark.parametrize("header", ["", "signal_ID,intelligibility_score\n"])
def test_a_submission_of_shares_is_refused(tmp_path, header):
    path = tmp_path / "submission.csv"
    path.write_text(header + "S1_L1_E1,0.8\nS2_L1_E1,0\nS3_L1_E1,1\n")
    with pytest.raises(RecipeError, match="shares, 0 to 1, where percent, 0 to 100"):
        read_other(path)
    path.write_text(header + "S1_L1_E1,0.8\nS2_L1_E1,0\nS3_L1_E1,10\n")
    assert len(read_other(path)) == 3
