"""Fetching recognisers, from a server on this machine that speaks the hub's API."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants, hf_hub_download
from safetensors.torch import load_file, save_file

from intelligibility.recognisers.hub import AS_TRAINED, fetch_model, load, made_by, unfit
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


def test_a_kind_that_is_not_served_is_named_before_its_weights_are_fetched(hub):
    set_to(architectures=["MoonshineForConditionalGeneration"])(hub.models[NAME] / "config.json")
    served = r"an encoder-decoder \(Whisper.*Wav2Vec2ForCTC.*WavLMModel"
    with pytest.raises(RecipeError, match=f"is a Moonshine.*not served; expected {served}"):
        fetch_model(NAME)
    assert not any("safetensors" in path for path in hub.asked if "/resolve/" in path)


def test_weights_that_could_run_code_are_not_read(hub):
    (hub.models[NAME] / "model.safetensors").unlink()
    with pytest.raises(RecipeError, match="no model.safetensors .* can run code"):
        fetch_model(NAME)


def test_a_folder_of_something_else_and_one_with_a_revision_are_named(whisper, tmp_path):
    with pytest.raises(RecipeError, match="not a model of transformers .*config.json: no such"):
        fetch_model(str(tmp_path))
    with pytest.raises(RecipeError, match="recogniser_revision=v1: .* is a folder, not on the hub"):
        fetch_model(str(whisper), "v1")


def put(text):
    return lambda path: path.write_text(text)


def set_to(**settings):
    return lambda path: edit(path, lambda content: content.update(settings))


def halve(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def with_weight(name, value):
    """Return what fills a weight with a value, or leaves it out; transformers would draw it."""

    def spoil(path):
        weights = load_file(path)
        weights[name].fill_(float("nan") if value is None else value)
        kept = {key: weight for key, weight in weights.items() if value != 0 or key != name}
        save_file(kept, path, {"format": "pt"})

    return spoil


WEIGHTS, EXTRACTOR = "model.safetensors", "preprocessor_config.json"
POINTER = put("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n")
PHONES = put(json.dumps({phone: n for n, phone in enumerate(["<pad>", "<unk>", "|", "aa", "ae"])}))
SPOILT = [
    ("whisper", EXTRACTOR, Path.unlink, "no preprocessor_config.json or .* among its files"),
    ("whisper", "tokenizer.json", Path.unlink, "no tokenizer.json or vocab.json among its files"),
    ("whisper", "generation_config.json", halve, "generation_config.json: cannot be read as json"),
    ("whisper", WEIGHTS, POINTER, "a pointer of Git LFS, not the file itself: run `git lfs pull`"),
    ("whisper", WEIGHTS, halve, "cannot be loaded .*a file is missing or damaged: copy it again"),
    (
        *("whisper", WEIGHTS, with_weight("model.encoder.conv1.bias", None)),
        "conv1.bias are not finite",
    ),
    ("whisper", EXTRACTOR, set_to(feature_size=128), "feature_size is 128, .* takes 80"),
    ("whisper", EXTRACTOR, set_to(sampling_rate=8000), "sampling_rate is 8000, .* takes 16000"),
    ("whisper", EXTRACTOR, set_to(chunk_length=30), "480000 samples.*set chunk_length to 5"),
    ("whisper", "config.json", set_to(decoder_start_token_id=3), "the tokenizer has .* two models"),
    ("whisper", "config.json", set_to(d_model=48), "weights are not in .* not .*48"),
    ("whisper", "config.json", set_to(encoder_layers=1), "weights are of blocks that config.json"),
    ("ctc", WEIGHTS, with_weight("lm_head.weight", 0), "1 weights are not in .*: lm_head.weight"),
    ("ctc", EXTRACTOR, set_to(sampling_rate=8000), "sampling_rate is 8000, .* takes 16000"),
    ("ctc", "config.json", set_to(pad_token_id=5), "blank .* is token 0, the network's is 5"),
    ("ctc", "vocab.json", PHONES, "tokenizer lacks A; B; .*expected the letters of English"),
    (
        *("ctc", "tokenizer_config.json", set_to(tokenizer_class="Wav2Vec2PhonemeCTCTokenizer")),
        "tokenizer is a Wav2Vec2Phoneme.*expected the letters of English",
    ),
]


@pytest.fixture(scope="module")
def ctc(tmp_path_factory):
    return small_hub.small_ctc(tmp_path_factory.mktemp("models") / "ctc")


@pytest.mark.parametrize(("kind", "name", "spoil", "message"), SPOILT)
def test_files_that_are_damaged_or_contradict_each_other_are_named(
    request, tmp_path, kind, name, spoil, message
):
    folder = shutil.copytree(request.getfixturevalue(kind), tmp_path / "model")
    spoil(folder / name)
    with pytest.raises(RecipeError, match=message):
        small_hub.load_folder(folder)


@pytest.mark.parametrize("there", [["tokenizer.json"], ["config.json", "preprocessor_config.json"]])
def test_what_others_put_into_the_cache_is_completed(hub, there):
    for name in there:
        hf_hub_download(NAME, name)
    fetched = fetch_model(NAME)
    assert (fetched.folder / "model.safetensors").is_file()
    assert small_hub.load(fetched, CPU)


def test_signals_that_do_not_fit_are_named_without_reading_weights(whisper, ctc, tmp_path):
    folder = shutil.copytree(whisper, tmp_path / "whisper")
    halve(folder / WEIGHTS)
    signals = {"good": (2.0, small_hub.TEXTS[0]), "no prompt": (5.0, ""), "long": (5.1, "")}
    signals |= {"short": (0.06, ""), "wordy": (2.0, "A LONG PROMPT " * 20)}
    found = unfit(fetch_model(str(folder)), signals)
    assert list(found) == ["long", "short", "wordy"]
    assert "5.10 s of speech; the recogniser takes 0.065 to 5 s" in found["long"]
    assert "is 281 tokens; the recogniser takes 1 to" in found["wordy"]
    assert len(found["wordy"]) < 140  # the prompt is not echoed
    assert list(unfit(fetch_model(str(ctc)), {"short": (0.02, ""), "good": (6.0, "")})) == ["short"]


def test_another_model_has_another_hash(whisper, tmp_path):
    folder = shutil.copytree(whisper, tmp_path / "whisper")
    before = made_by(fetch_model(str(folder)), AS_TRAINED)
    set_to(scale_embedding=True)(folder / "config.json")
    after = made_by(fetch_model(str(folder)), AS_TRAINED)
    assert before["checkpoint_sha256"] != after["checkpoint_sha256"]
    assert before["settings"] == after["settings"]
