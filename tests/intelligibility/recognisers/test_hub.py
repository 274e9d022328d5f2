"""Fetching recognisers, from a server on this machine that speaks the hub's API."""

import shutil
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from intelligibility.recognisers.hub import fetch_model, load, made_by
from intelligibility.runs import RecipeError
from tests.conftest import edit
from tests.intelligibility.recognisers import small_hub
from tests.intelligibility.recognisers.hub_server import COMMIT, Hub, asked_by_all

NAME = "somebody/whisper-small.en"
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def whisper(tmp_path_factory):
    return small_hub.small_whisper(tmp_path_factory.mktemp("models") / "whisper")


@pytest.fixture
def hub(whisper, tmp_path, monkeypatch):
    """Return a hub that has the small Whisper, as the one that huggingface_hub asks."""
    hub = Hub()
    hub.models[NAME] = shutil.copytree(whisper, tmp_path / "hub")
    (hub.models[NAME] / "pytorch_model.bin").write_bytes(b"could run code")
    (hub.models[NAME] / "modeling_whisper.py").write_text("raise SystemExit")
    with asked_by_all(hub, tmp_path / "cache", monkeypatch):
        yield hub


@pytest.mark.parametrize("revision", [None, "main", "v1", COMMIT])
def test_it_is_fetched_once_and_its_commit_is_known(hub, whisper, revision):
    fetched = fetch_model(NAME, revision)
    assert (fetched.commit, fetched.revision, fetched.source) == (COMMIT, revision, NAME)
    assert fetched.architecture == "WhisperForConditionalGeneration"
    names = {path.name for path in fetched.folder.iterdir()}
    assert names == {path.name for path in whisper.iterdir()}  # no code, no other weights
    assert hub.asked
    hub.asked.clear()
    hub.models.clear()  # as if the network were gone
    assert fetch_model(NAME, revision) == fetched
    assert not hub.asked


def test_it_recognises_as_its_folder_does(hub, whisper):
    signal = small_hub.speech(1, 2)
    ours, theirs = (
        next(one.recognise([signal], small_hub.TEXTS[:1]))
        for one in (load(fetch_model(NAME), CPU), small_hub.load_folder(whisper))
    )
    assert ours.text == theirs.text
    assert ours.layers["decoder"].equal(theirs.layers["decoder"])


def test_a_fetch_that_was_stopped_is_completed(hub, monkeypatch):
    fetched = fetch_model(NAME)
    (fetched.folder / "model.safetensors").unlink()
    assert fetch_model(NAME) == fetched
    assert (fetched.folder / "model.safetensors").is_file()


@pytest.mark.parametrize("revision", ["v9", "f" * 40])
def test_a_revision_that_is_not_there_is_named(hub, revision):
    message = f"recogniser_revision={revision}: the hub has .* no such revision"
    with pytest.raises(RecipeError, match=message):
        fetch_model(NAME, revision)


@pytest.mark.parametrize("name", ["somebody/else", "not a name", "/no/such/folder", "a/b/c"])
def test_a_model_that_is_not_there_is_named(hub, name):
    with pytest.raises(RecipeError, match=f"recogniser={name} .*no such folder, and no such model"):
        fetch_model(name)


def test_a_gated_model_is_named(hub):
    hub.gated.add(NAME)
    with pytest.raises(RecipeError, match=f"recogniser={NAME} .*its owners ask for consent"):
        fetch_model(NAME)


def test_a_network_that_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # where nobody listens
    with pytest.raises(RecipeError, match="could not be fetched .*check the network"):
        fetch_model(NAME)


def change(folder, name="config.json", **settings):
    edit(folder / name, lambda content: content.update(settings))


def test_a_kind_that_is_not_served_is_named_before_its_weights_are_fetched(hub):
    change(hub.models[NAME], architectures=["MoonshineForConditionalGeneration"])
    served = r"an encoder-decoder \(Whisper.*Wav2Vec2ForCTC.*WavLMModel"
    with pytest.raises(RecipeError, match=f"is a Moonshine.*not served; expected {served}"):
        fetch_model(NAME)
    assert not any("safetensors" in path for path in hub.asked if "/resolve/" in path)


def test_weights_that_could_run_code_are_not_read(hub):
    (hub.models[NAME] / "model.safetensors").unlink()
    with pytest.raises(RecipeError, match="no model.safetensors among its files"):
        fetch_model(NAME)


def test_a_folder_of_something_else_and_one_with_a_revision_are_named(whisper, tmp_path):
    with pytest.raises(RecipeError, match="not a model of transformers .*config.json: no such"):
        fetch_model(str(tmp_path))
    with pytest.raises(RecipeError, match="recogniser_revision=v1: .* is a folder, not on the hub"):
        fetch_model(str(whisper), "v1")


@pytest.mark.parametrize(
    ("make", "name", "spoil"),
    [
        (small_hub.small_whisper, "preprocessor_config.json", Path.unlink),
        (small_hub.small_whisper, "tokenizer.json", Path.unlink),
        (small_hub.small_ctc, "preprocessor_config.json", Path.unlink),
        (small_hub.small_ctc, "vocab.json", Path.unlink),
        (small_hub.small_ctc, "model.safetensors", lambda path: path.write_bytes(b"damaged")),
    ],
)
def test_a_file_that_is_missing_or_damaged_is_named(tmp_path, make, name, spoil):
    spoil(make(tmp_path) / name)
    with pytest.raises(RecipeError, match="cannot be loaded .*a file is missing or damaged"):
        small_hub.load_folder(tmp_path)


def test_a_weight_that_is_missing_is_named(tmp_path):
    """Otherwise transformers would draw it, and the words would be those of a coin."""
    folder = small_hub.small_ctc(tmp_path / "ctc")
    weights = load_file(folder / "model.safetensors")
    del weights["lm_head.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(RecipeError, match="1 weights are not in the files: lm_head.weight"):
        small_hub.load_folder(folder)


def test_a_window_that_does_not_fit_is_named(whisper, tmp_path):
    folder = shutil.copytree(whisper, tmp_path / "whisper")
    change(folder, "preprocessor_config.json", chunk_length=30)
    with pytest.raises(RecipeError, match="a window of 480000 samples.*set chunk_length to 5"):
        small_hub.load_folder(folder)


def test_another_model_has_another_hash(whisper, tmp_path):
    folder = shutil.copytree(whisper, tmp_path / "whisper")
    before = made_by(fetch_model(str(folder)), "teacher")
    change(folder, scale_embedding=True)
    after = made_by(fetch_model(str(folder)), "teacher")
    assert before["checkpoint_sha256"] != after["checkpoint_sha256"]
    assert before["settings"] == after["settings"]
