"""Test signals that several tests of the evaluation share."""

import json

import numpy as np
import pandas as pd
import pytest

from intelligibility.evaluation.scoring import draw_scenes

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


@pytest.fixture(scope="session")
def real_answers(shared):
    """Return the answers to CPC3's training signals, with HASPI's index and the parts of names."""
    folder = shared / "cpc3_real"
    signals = pd.DataFrame(json.loads((folder / "CPC3.train.json").read_text()))
    lines = (folder / "haspi.train.jsonl").read_text().splitlines()
    signals = signals.merge(pd.DataFrame(map(json.loads, lines)), on="signal")
    assert len(signals) == 15520
    names = signals["signal"].str.extract(r"^(CEC\d)_(.+)_(S\d+)_(L\d+)$")
    return signals.assign(system=names[0] + " " + names[1], scene=names[2], listener=names[3])
