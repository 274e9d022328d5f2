"""The course of training: a line per epoch, and training.json, whole after interruptions."""

import pytest

from intelligibility.runs import RecipeError, read_json, write_json
from intelligibility.training.log import add_epoch, epoch_in_a_line, read_epochs

ENTRY = {"train_loss": 14.6, "valid_loss": 23.9, "ACC": 0.898, "lr": 1e-3, "optimizer": "Adam"}


def entry(epoch, **changes):
    return {"epoch": epoch, "steps": 4 * epoch} | ENTRY | changes


def test_the_line_of_an_epoch():
    assert "word error" not in epoch_in_a_line(entry(3), 15)  # test_examples.py has the others


def test_adds_epochs_and_draws_them(tmp_path):
    assert read_epochs(tmp_path) == []
    for epoch in (1, 2, 3):
        add_epoch(tmp_path, entry(epoch, **({"WER": 40.0} if epoch == 2 else {})), {"seed": 1})
    assert [found["epoch"] for found in read_epochs(tmp_path)] == [1, 2, 3]
    assert read_json(tmp_path / "training.json")["seed"] == 1
    assert (tmp_path / "training.png").read_bytes().startswith(b"\x89PNG")


def test_what_an_interrupted_run_left_is_replaced(tmp_path):
    for epoch, loss in ((1, 9.0), (2, 8.0), (3, 7.0), (2, 6.0)):
        add_epoch(tmp_path, entry(epoch, valid_loss=loss), {})
    assert [found["valid_loss"] for found in read_epochs(tmp_path)] == [9.0, 6.0]


@pytest.mark.parametrize(
    "content", [{}, {"epochs": 3}, {"epochs": [1]}, {"epochs": [{"epoch": 1}]}, {"epochs": {}}]
)
def test_a_damaged_course_is_named(tmp_path, content):
    write_json(tmp_path / "training.json", content)
    with pytest.raises(RecipeError, match="training.json: does not hold epochs"):
        read_epochs(tmp_path)
