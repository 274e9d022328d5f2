"""The settings of a training are picked by their published names, and checked."""

import dataclasses

import pytest

from benchmarks.made.recogniser import small_settings
from intelligibility.recognisers.values import pick
from intelligibility.runs import RecipeError
from intelligibility.training.settings import Batches, Start, Tables, Vocabulary


@pytest.mark.parametrize("group", [Batches, Start, Tables, Vocabulary])
def test_each_group_is_part_of_the_settings(group):
    hparams = small_settings()
    picked = pick(group, hparams)
    assert all(getattr(picked, f.name) is hparams[f.name] for f in dataclasses.fields(group))
    with pytest.raises(dataclasses.FrozenInstanceError):
        picked.seed = 2


@pytest.mark.parametrize(
    "group, change, message",
    [
        (Batches, {"sorting": "upwards"}, "sorting=upwards: expected random, ascending, descend"),
        (Tables, {"train_csv": 5}, "train_csv=5: expected a table or a list of them"),
        (Tables, {"test_csv": []}, r"test_csv=\[\]: expected a table"),
        (Tables, {"valid_csv": ["a.csv", 5]}, "valid_csv=.*: expected a table"),
        (Start, {"pretrained": 5}, "pretrained=5: expected a hub id or a folder"),
    ],
)
def test_refuses(group, change, message):
    with pytest.raises(RecipeError, match=message):
        pick(group, small_settings() | change)
