"""The mapping: what it is fitted on, what its file holds, what is refused."""

import json
import logging

import numpy as np
import pandas as pd
import pytest

from intelligibility.evaluation.curve import fit_curve
from intelligibility.evaluation.mapping import FittedMapping, fit_mapping
from intelligibility.evaluation.scoring import score
from intelligibility.runs import RecipeError

CHECKPOINT = "5e" * 32


@pytest.fixture
def dev():
    """Return dev signals with two measures; the first has no response."""
    rng = np.random.default_rng(0)
    similarity = rng.uniform(0.6, 0.95, 50)
    correctness = np.clip(400 * (similarity - 0.7) + 20 * rng.standard_normal(50), 0, 100)
    correctness[0] = np.nan
    return pd.DataFrame(
        {
            "signal": [f"S{n}" for n in range(50)],
            "system": rng.choice(["E001", "E002"], 50),
            "correctness": correctness,
            "enc_similarity": similarity,
            "dec_similarity": similarity**2,
        }
    )


def test_each_measure_has_the_logistic_of_its_labelled_signals(dev):
    mapping = fit_mapping(dev, [], CHECKPOINT)
    assert list(mapping.fits) == ["enc", "dec"] and mapping.checkpoint_sha256 == CHECKPOINT
    assert mapping.mean_correctness == dev["correctness"].mean()
    x, y = dev["dec_similarity"][1:].to_numpy(), dev["correctness"][1:].to_numpy()
    fit = mapping.fits["dec"]
    assert fit.curve == fit_curve(x, y) and fit.n_signals == 49
    assert fit.rmse == score(mapping.predict("dec", x), y)["RMSE"]


@pytest.mark.parametrize(
    ("similarity", "correctness", "warning"),
    [
        ([0.7, 0.75, 0.8, 0.85, 0.9], [0, 20, 40, 80, 100], None),
        ([0, 0, 0, 0, 0.33], [20, 40, 60, 48, 100], "4 of 5 dev signals have the same similarity"),
        (
            [0, 0, 0.33, 0.5, 0.67],
            [30, 54, 100, 100, 100],
            "a step rather than a logistic, 42 to",
        ),
        ([0.7, 0.71, 0.9, 0.91], [0, 0, 100, 100], "a step rather than a logistic, 0 to 100 %"),
        ([0.7, 0.75, 0.8, 0.9], [50, 52, 49, 51], "nearly flat"),
    ],
)
def test_a_degenerate_logistic_is_warned_of(caplog, similarity, correctness, warning):
    columns = {"enc_similarity": similarity, "correctness": correctness, "system": "E001"}
    fit_mapping(pd.DataFrame(columns | {"signal": [f"S{n}" for n in range(len(similarity))]}), [])
    said = [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]
    assert len(said) == (warning is not None) and all(warning in one for one in said)


def test_it_travels_as_a_file(dev, tmp_path):
    mapping = fit_mapping(dev, [], CHECKPOINT)
    mapping.write(tmp_path / "calibration.json")
    content = json.loads((tmp_path / "calibration.json").read_text())
    assert content["checkpoint_sha256"] == CHECKPOINT
    assert {"x0", "k", "n_signals", "RMSE"} <= set(content["measures"]["enc"])
    read = FittedMapping.read(tmp_path / "calibration.json")
    assert read.mean_correctness == mapping.mean_correctness
    assert read.fits == mapping.fits


def test_older_files_have_no_ranges(dev, tmp_path):
    mapping = fit_mapping(dev, [], CHECKPOINT)
    assert mapping.fits["dec"].prediction_interval is not None
    path = tmp_path / "calibration.json"
    content = mapping.as_json()
    for numbers in content["measures"].values():
        del numbers["range"]
    path.write_text(json.dumps(content))
    assert FittedMapping.read(path).fits["dec"].prediction_interval is None
    content["measures"]["dec"]["range"] = {"at": [50, 60], "low": [-10], "high": [10]}
    path.write_text(json.dumps(content))
    with pytest.raises(RecipeError, match="expected a low and a high at each place"):
        FittedMapping.read(path)


def test_a_file_without_a_checkpoint_is_read_and_warned_of(dev, tmp_path, caplog):
    fit_mapping(dev, [], None).write(tmp_path / "calibration.json")
    mapping = FittedMapping.read(tmp_path / "calibration.json")
    with caplog.at_level(logging.WARNING):
        mapping.warn_unless_made_with(CHECKPOINT, "calibration.json")
    assert "checkpoint unknown, these similarities with 5e5e" in caplog.text
    caplog.clear()
    FittedMapping({}, 50.0, CHECKPOINT).warn_unless_made_with(CHECKPOINT, "calibration.json")
    assert not caplog.text


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "no such file"),
        ("[1, 2]", "expected a dict"),
        ('{"measures": {"dec": {"x0": 50}}, "mean_correctness": 60}', "not a calibration.*'k'"),
        ('{"measures": {"dec": {"x0": "50", "k": 1}}, "mean_correctness": 60}', "'50' where"),
        ('{"measures": {"dec": {"x0": 50, "k": NaN}}, "mean_correctness": 60}', "nan where"),
        ('{"measures": [], "mean_correctness": Infinity}', "inf where a number from 0 to 100"),
        ('{"measures": {}, "mean_correctness": 60, "checkpoint_sha256": 7}', "sha256 is 7"),
    ],
)
def test_what_is_no_calibration_is_refused(tmp_path, content, says):
    path = tmp_path / "other.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(RecipeError, match=says):
        FittedMapping.read(path)
