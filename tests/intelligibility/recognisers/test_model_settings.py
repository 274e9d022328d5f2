"""The settings that a recogniser was trained with are recorded, and others refused by name."""

import json

import pytest

from benchmarks.made.recogniser import small_settings
from intelligibility.recognisers.model_settings import check_model_settings
from intelligibility.runs import RecipeError, write_json


def described(**changes):
    return small_settings(**changes)["model_settings"]


def test_describes_by_the_names_that_a_user_gives():
    settings = described()
    assert settings["nhead"] == 2 and settings["d_model"] == 32 and settings["n_mels"] == 80
    assert settings["Transformer.normalize_before"] is False
    assert settings["CNN.norm"] == "!name:speechbrain.nnet.normalization.BatchNorm2d"
    assert settings["CNN.input_shape"] == [8, 10, 80]
    assert not [name for name in settings if "dropout" in name or "epoch" in name]
    assert settings == json.loads(json.dumps(settings))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"nhead": 1}, "nhead is 1, trained with 2"),
        ({"Transformer": {"nhead": 1}}, "nhead is 1, trained with 2"),
        ({"Transformer": {"normalize_before": True}}, "Transformer.normalize_before is True, tr"),
        ({"Transformer": {"causal": True}}, "Transformer.causal is True, trained with False"),
        ({"Transformer": {"max_length": 99}}, "Transformer.max_length is 99, trained with it ab"),
        ({"n_fft": 512}, "n_fft is 512, trained with 400"),
        ({"compute_features": {"n_fft": 512}}, "compute_features.n_fft is 512, trained with it "),
        ({"CNN": {"kernel_sizes": [5, 3, 1]}}, r"CNN.kernel_sizes is \[5, 3, 1\], trained with"),
        ({"normalize": {"norm_type": "sentence"}}, "normalize.norm_type is sentence, trained"),
    ],
)
def test_other_settings_are_refused_by_name(tmp_path, changes, message):
    write_json(tmp_path / "model_settings.json", described())
    with pytest.raises(RecipeError, match=f"trained with other settings: {message}"):
        check_model_settings(tmp_path, described(**changes))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"seed": 9},
        {"transformer_dropout": 0.3, "Transformer": {"dropout": 0.2}},
        {"number_of_epochs": 3, "batch_size": 2, "test_beam_size": 9},
    ],
)
def test_what_decides_nothing_may_differ(tmp_path, caplog, changes):
    write_json(tmp_path / "model_settings.json", described())
    check_model_settings(tmp_path, described(**changes))
    assert "trained with" not in caplog.text


def test_a_folder_that_records_none_is_warned_of_once(tmp_path, caplog):
    for _ in range(3):
        check_model_settings(tmp_path, described())
    assert caplog.text.count("nothing records the settings") == 1
