"""Means, differences and scores of many rows, with planted numbers."""

import numpy as np
import pytest

from intelligibility.prediction.summary import as_frame, summarise


def result(number: int, system: str, percent: float, correctness: float | None = None) -> dict:
    listener = f"L{number % 3}"
    return {
        "name": f"{system}_{number}",
        "listener": listener,
        "system": system,
        "correctness": correctness,
        "pair": f"{listener}/{number}",
        "percent": percent,
        "by": "dec",
        "rmse": 23.0,
        "interval": None,
        "percents": {"dec": percent},
        "similarities": {"dec": 0.8},
        "by_ear": {"left": {"dec": 0.7}, "right": {"dec": 0.8}},
        "words": {"left": "A", "right": "A B"},
        "text": "a b",
        "text_given": True,
        "delay": 0.005,
        "level": 65.0,
        "processed": f"{system}_{number}.wav",
        "reference": f"{number}.wav",
        "audiogram": "N2",
        "warnings": ["one", "two"],
    }


def results(n: int, better_by: float = 10.0) -> list[dict]:
    rng = np.random.default_rng(0)
    easy = rng.uniform(20, 80, n)
    both = (("A", 0.0), ("B", better_by))
    return [
        result(i, name, float(easy[i] + more + rng.normal()), float(easy[i]))
        for i in range(n)
        for name, more in both
    ]


def test_a_paired_difference_is_found_that_the_means_alone_would_hide():
    summary = summarise(results(40), seed=1)
    (one,) = summary["differences"]
    assert (one["a"], one["b"], one["better"]) == ("A", "B", "B")
    assert one["a_less_b"]["mean"] == pytest.approx(-10, abs=1)
    low, high = one["a_less_b"]["interval"]
    assert low < -10 < high < 0 and high - low < 2
    assert (
        summary["means"]["system"]["A"]["interval"][1]
        > summary["means"]["system"]["B"]["mean"] - 10
    )
    assert summary["scores"]["rows"] == 80 and summary["scores"]["NCC"] > 0.9


def test_equal_systems_are_not_told_apart():
    (one,) = summarise(results(40, 0.0), seed=1)["differences"]
    assert one["better"] is None


def test_few_rows_have_no_interval():
    summary = summarise(results(5), seed=1)
    assert summary["mean"]["interval"] is None
    assert summary["differences"][0]["better"] is None


def test_rows_without_names_have_no_groups():
    rows = [one | {"system": "", "listener": "", "correctness": None} for one in results(3)]
    summary = summarise(rows, seed=1)
    assert summary["means"] == {"system": {}, "listener": {}} and "scores" not in summary


def test_the_table_has_a_line_per_row():
    frame = as_frame(results(2))
    assert len(frame) == 4
    assert {"predicted", "dec_similarity", "left_dec_similarity", "right_words"} <= set(frame)
    assert frame["delay_ms"].tolist() == [5.0] * 4 and frame["warnings"][0] == "one; two"
