"""Rows of the table: planted errors come out, and the interval is that of a plain bootstrap."""

import numpy as np
import pytest

from reconstruction.scoring import Transcript, rows_of, wer, wer_interval
from reconstruction.utterances import CONDITIONS


def heard(number: int, errors: int, condition: str = "ref", listener: str = "L1", l1=0.2):
    """Return one signal with planted scores."""
    severity = {"L1": "MILD", "L2": "SEVERE"}[listener]
    about = f"left_S{number}_{listener}", condition, listener, severity, "A B C D E", ""
    return Transcript(*about, errors, 5, l1, 1.0)


def test_rows_hold_what_was_planted():
    first = [heard(k, k % 3) for k in range(6)] + [heard(9, 5, listener="L2", l1=0.6)]
    processed = [heard(k, 4, "msbg", l1=0.5) for k in range(6)]
    processed.append(heard(9, 7, "msbg", "L2", l1=0.9))
    original, copy = (
        [heard(k, errors, c, "L2" if k == 9 else "L1") for k in (*range(6), 9) for c in CONDITIONS]
        for errors in (0, 1)
    )
    rows = rows_of(first + processed, {"source": "x"}, original, copy, seed=0)
    table = {(row["condition"], row["listener"]): row for row in rows}
    assert list(table)[:3] == [("ref", "ALL"), ("ref", "MILD"), ("ref", "SEVERE")]
    whole = table["ref", "ALL"]
    assert whole["n_words"] == 35
    assert whole["wer"] == pytest.approx(100 * 11 / 35)
    assert whole["mel_l1"] == pytest.approx((6 * 0.2 + 0.6) / 7)
    assert whole["skill"] == pytest.approx(1 - (6 * 0.2 + 0.6) / 7)
    assert whole["wer_original"] == 0 and whole["wer_copy"] == 20
    assert whole["excess_wer"] == pytest.approx(100 * 11 / 35 - 20)
    assert table["msbg", "L2"]["wer"] == 140  # insertions
    assert table["msbg", "SEVERE"]["skill"] == pytest.approx(0.1)
    assert table["msbg", "L1"]["wer"] == 80 == table["msbg", "MILD"]["wer"]


def test_the_interval_is_a_bootstrap_over_utterances():
    some = [heard(k, int(errors)) for k, errors in enumerate(np.arange(40) % 4)]
    low, high = wer_interval(some, seed=0)
    rng = np.random.default_rng(3)
    plain = [wer([some[i] for i in rng.integers(40, size=40)]) for _ in range(1000)]
    assert low == pytest.approx(np.percentile(plain, 2.5), abs=1.5)
    assert high == pytest.approx(np.percentile(plain, 97.5), abs=1.5)
    assert low < wer(some) < high
