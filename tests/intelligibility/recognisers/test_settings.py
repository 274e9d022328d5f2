"""transformer_cpc1.yaml: the published names and values, each of them read by someone.

Values are compared exactly.
"""

import dataclasses
import re

import pytest
import yaml
from omegaconf import OmegaConf
from speechbrain.utils.run_opts import RunOptions

from intelligibility.experiment import Experiment
from intelligibility.recognisers.settings import load_settings, read_settings
from intelligibility.runs import RECIPE, RecipeError
from intelligibility.training.settings import Batches, Start, Tables, Vocabulary

FILE = RECIPE / "transformer_cpc1.yaml"
PUBLISHED = {"number_of_epochs": 120, "stage_one_epochs": 90, "lr_adam": 1.0, "lr_sgd": 0.000025}
PUBLISHED |= {"batch_size": 16, "gradient_accumulation": 4, "gradient_clipping": 5.0}
PUBLISHED |= {"ctc_weight": 0.3, "loss_reduction": "batchmean", "label_smoothing": 0.1}
PUBLISHED |= {"sorting": "random", "ckpt_interval_minutes": 30}
PUBLISHED |= {"sample_rate": 16000, "n_fft": 400, "n_mels": 80}
PUBLISHED |= {"d_model": 768, "nhead": 8, "num_encoder_layers": 12, "num_decoder_layers": 6}
PUBLISHED |= {"d_ffn": 3072, "transformer_dropout": 0.0, "output_neurons": 5000, "vocab_size": 5000}
PUBLISHED |= {"blank_index": 0, "pad_index": 0, "bos_index": 1, "eos_index": 2, "unk_index": 0}
PUBLISHED |= {"min_decode_ratio": 0.0, "max_decode_ratio": 1.0, "ctc_weight_decode": 0.4}
PUBLISHED |= {"valid_search_interval": 10, "valid_beam_size": 10, "test_beam_size": 66}
# These sit inside blocks in the published file.
PUBLISHED |= {"n_warmup_steps": 25000, "cnn_out_channels": [128, 256, 512]}
SMALL = {"d_model": 32, "nhead": 2, "num_encoder_layers": 1, "num_decoder_layers": 1, "d_ffn": 32}
SMALL |= {"cnn_out_channels": [4, 4, 4], "output_neurons": 12}
FOLDERS = {"data_folder": "data", "output_folder": "out"}


@pytest.fixture(scope="module")
def small():
    return read_settings(FILE, SMALL | FOLDERS)


def test_published_names_and_values():
    class Loader(yaml.SafeLoader):
        pass

    Loader.add_multi_constructor("!", lambda loader, tag, node: f"{tag} {node.value}")
    found = yaml.load(FILE.read_text(), Loader)
    values = {key: found[key] for key in PUBLISHED if key != "vocab_size"}
    assert values == {key: PUBLISHED[key] for key in values}
    assert found["vocab_size"] == "ref <output_neurons>"
    for key in ("data_folder", "output_folder", "cnn_features"):
        assert found[key].startswith("PLACEHOLDER")


def test_no_key_that_nothing_reads():
    text = FILE.read_text()
    sources = [*RECIPE.glob("*.py"), *(RECIPE / "intelligibility").rglob("*.py")]
    code = "\n".join(path.read_text() for path in sources)
    sources_of_speechbrain = set(RunOptions().as_dict()) | {"sorting", "__set_seed"}
    groups = (Tables, Vocabulary, Start, Batches)
    of_groups = {field.name for group in groups for field in dataclasses.fields(group)}
    names = re.findall(r"^(\w+):", text, flags=re.MULTILINE)
    assert len(names) > 60 and len(of_groups) > 20
    for key in names:
        owner = rf"\w\.{key}\b" if key in of_groups else rf"hparams\.{key}\b"
        read = re.search(rf"""{owner}|["']{key}["']""", code)
        assert f"<{key}>" in text or read or key in sources_of_speechbrain, key


def test_speechbrain_today_as_it_was(small):
    """Batch normalisation and attention both ways were defaults when the model was made."""
    kinds = {type(module).__name__ for module in small["CNN"].modules()}
    assert "BatchNorm2d" in kinds and "LayerNorm" not in kinds
    assert small["Transformer"].causal is False
    search = small["valid_search"]
    assert not search.length_normalization
    assert search.ctc_weight == 0.4 and not search.using_eos_threshold
    normalize = small["normalize"].train()  # published: updates until epoch 4; here none, ever
    assert not any(normalize._should_update(epoch) for epoch in range(1, 130))


def test_reading_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    read_settings(FILE, SMALL | FOLDERS)
    assert list(tmp_path.iterdir()) == []


def test_config_gives_folders_seed_and_overrides(tmp_path):
    overrides = SMALL | {"train_dataloader_opts": {"batch_size": 3}}
    cfg = {"asr_config": FILE.name, "asr_overrides": overrides, "seed": 17, "pretrained": None}
    cfg = OmegaConf.create(cfg | {"pretrained_revision": "abc", "from_scratch": True})
    hparams = load_settings(cfg, Experiment(tmp_path, tmp_path / "asr", "_indep"))
    assert hparams["train_csv"] == str(tmp_path / "cpc1_asr_data_indep/binaural_train_msbg.csv")
    assert hparams["save_folder"] == str(tmp_path / "asr/save")
    assert (hparams["seed"], hparams["from_scratch"], hparams["d_ffn"]) == (17, True, 32)
    assert hparams["train_dataloader_opts"]["batch_size"] == 3


@pytest.mark.parametrize(
    "change, message",
    [
        ({"batchsize": 3}, "transformer_cpc1.yaml, asr_overrides: .*'batchsize' not found"),
        ({"cnn_features": 160}, "cnn_features=160: is computed from .*, here 80; leave it out"),
        ({"nhead": 5}, "embed_dim must be divisible by num_heads; see asr_overrides"),
        ({"cnn_out_channels": [16]}, r"=\[16\]: expected 3 whole numbers, such as \[128, 256"),
        ({"cnn_out_channels": 16}, "cnn_out_channels=16: expected 3 whole numbers, such as"),
        ({"lm_weight": 0.6}, "lm_weight=0.6.*leave it out"),
        ({"CNN": {"strids": [1]}}, "ConvolutionFrontEnd.*argument 'strids'.*see asr_overrides"),
        ({"batch_size": "abc"}, "asr_overrides: batch_size=abc: expected a whole number of at lea"),
        ({"batch_size": 0, "nhead": 2.0}, "nhead=2.0: .*whole number of at least 1; batch_size=0"),
        ({"test_beam_size": 0}, "test_beam_size=0: expected a whole number of at least 1"),
        ({"test_beam_size": "abc"}, "test_beam_size=abc: expected a whole number of at least 1"),
        ({"batch_size": None}, "batch_size=None: expected a whole number"),
        ({"train_dataloader_opts": {"batch_size": 0}}, "train_dataloader_opts.batch_size=0: exp"),
        ({"train_dataloader_opts": 5}, "train_dataloader_opts=5: expected settings by name"),
        ({"lr_adam": float("nan")}, "lr_adam=nan: expected a number of at least 0"),
        ({"dynamic_batching": "often"}, "dynamic_batching=often: expected true or false"),
        ({"augmentation": {"min_augmentations": "few"}}, "min_augmentations=few: expected a num"),
    ],
)
def test_refuses_what_does_not_fit(change, message):
    with pytest.raises(RecipeError, match=message):
        read_settings(FILE, SMALL | FOLDERS | change)


@pytest.mark.parametrize("change", ["batch_size: abc", "{lr_adam: 1e-3x}"])
def test_refuses_what_does_not_fit_in_text_too(change):
    with pytest.raises(RecipeError, match="expected a .*number of at least"):
        read_settings(FILE, change)


def test_takes_values_of_the_right_kind():
    change = {"lr_adam": 1, "num_workers": 0, "train_csv": ["a.csv", "b.csv"], "Adam": {"lr": 0.5}}
    change |= {"max_batch_length": 60, "ckpt_interval_minutes": 0, "label_smoothing": 0}
    found = read_settings(FILE, SMALL | FOLDERS | change)
    assert found["train_csv"] == ["a.csv", "b.csv"] and found["num_workers"] == 0


def test_former_settings_that_change_nothing_are_ignored(small):
    found = read_settings(FILE, SMALL | FOLDERS | {"cnn_features": 80, "lm_weight": 0.0})
    assert found["cnn_features"] == small["cnn_features"] == 80
    assert found["model_settings"] == small["model_settings"]
    assert found["model_settings"]["cnn_features"] == 80  # as records of earlier versions have it


def test_a_file_of_an_earlier_version_is_read(tmp_path):
    text = FILE.read_text().replace("cnn_features: !PLACEHOLDER", "cnn_features: 10240")
    (tmp_path / "old.yaml").write_text(text + "\nlm_weight: 0.0\n")
    assert read_settings(tmp_path / "old.yaml", SMALL | FOLDERS)["cnn_features"] == 80


@pytest.mark.parametrize(
    ("overrides", "missing"),
    [({"data_folder": "x"}, "output"), ({"output_folder": "x"}, "data"), ("", "output"), ({}, "")],
)
def test_names_a_folder_that_is_not_given(overrides, missing):
    with pytest.raises(RecipeError, match=f"{missing}_folder' is a !PLACEHOLDER"):
        read_settings(FILE, overrides)


def test_names_a_file_that_is_not_there():
    with pytest.raises(RecipeError, match="other.yaml: no such file"):
        read_settings(RECIPE / "other.yaml", {})
