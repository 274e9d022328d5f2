"""What training starts from: a folder, the hub, nothing; and the tokenizer that belongs to it."""

import json
import re
import shutil

import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError

from intelligibility.recognisers.values import pick
from intelligibility.runs import RecipeError, sha256_of
from intelligibility.training import pretrained
from intelligibility.training.settings import Start, Vocabulary
from tests import toy_asr


@pytest.fixture
def hub_files(uninterrupted, tmp_path):
    """Return a folder with the files of the hub's release, made from our own checkpoint."""
    folder = tmp_path / "hub"
    checkpoint = toy_asr.latest(uninterrupted)
    published = toy_asr.published_form(checkpoint, folder / "checkpoint", epoch=110)
    (published / "model.ckpt").rename(folder / "asr.ckpt")
    (published / "normalizer.ckpt").rename(folder / "normalizer.ckpt")
    shutil.rmtree(published)
    shutil.copy(uninterrupted / "save/tokenizer.ckpt", folder)
    return folder


STAGES = {"from_scratch": False, "number_of_epochs": 111, "stage_one_epochs": 90}


def test_starts_from_a_folder_and_then_without_it(toy_data, hub_files, tmp_path, caplog):
    asr = tmp_path / "asr"
    wanted = {**STAGES, "pretrained": str(hub_files), "pretrained_steps": 500}
    toy_asr.train(toy_data, asr, **wanted)
    assert sha256_of([hub_files / "asr.ckpt"]) in caplog.text and str(hub_files) in caplog.text
    course = toy_asr.epochs(asr)
    assert [(entry["epoch"], entry["optimizer"]) for entry in course] == [(111, "SGD")]
    assert course[0]["steps"] == 500 + 4
    assert (asr / "save/tokenizer.ckpt").read_bytes() == (hub_files / "tokenizer.ckpt").read_bytes()
    shutil.rmtree(hub_files)
    toy_asr.train(toy_data, asr, **wanted | {"number_of_epochs": 112})
    assert [entry["epoch"] for entry in toy_asr.epochs(asr)] == [111, 112]


def test_starts_from_a_recogniser_trained_here(toy_data, uninterrupted, tmp_path):
    """Its checkpoints are averaged, and what it was trained on is not forgotten."""
    asr = tmp_path / "asr"
    shutil.copytree(uninterrupted, tmp_path / "start")
    first = toy_asr.latest(tmp_path / "start")
    shutil.copytree(first, second := first.with_name(f"{first.name}b"))
    other = {name: tensor * 3 for name, tensor in toy_asr.load(first / "model.ckpt").items()}
    torch.save(other, second / "model.ckpt")
    record = tmp_path / "start/trained_on.json"
    old = json.loads(record.read_text())
    old["presentations"].append(old["presentations"][0] | {"name": "S1_L1_E1", "scene": "S1"})
    record.write_text(json.dumps(old))
    measured = {**STAGES, "pretrained": str(tmp_path / "start"), "number_of_epochs": 110}
    toy_asr.train(toy_data, asr, **measured)
    installed = toy_asr.load(toy_asr.latest(asr) / "model.ckpt")
    for name, tensor in toy_asr.load(first / "model.ckpt").items():
        if tensor.is_floating_point():
            torch.testing.assert_close(installed[name], 2 * tensor)
    trained_on = json.loads((asr / "trained_on.json").read_text())
    assert trained_on["presentations"] == old["presentations"] and trained_on["tables"] == []


def test_a_start_can_be_measured_without_training(toy_data, hub_files, tmp_path):
    """With as many epochs as it has already: the paper's "LS"."""
    asr, weights = tmp_path / "asr", toy_asr.load(hub_files / "asr.ckpt")
    measured = {**STAGES, "pretrained": str(hub_files), "number_of_epochs": 110}
    for _ in range(2):
        toy_asr.train(toy_data, asr, **measured)
        (checkpoint,) = (asr / "save").glob("CKPT+*")
        installed = toy_asr.load(checkpoint / "model.ckpt")
        shared = weights.keys() & installed.keys()
        assert shared and all(torch.equal(installed[name], weights[name]) for name in shared)
        assert json.loads((asr / "trained_on.json").read_text())["presentations"] == []
    assert set(json.loads((asr / "wer.json").read_text())["WER"]) == {
        "left_dev_msbg",
        "right_dev_msbg",
    }


def test_asks_the_hub_for_the_documented_revision(hub_files, tmp_path, toy_data, monkeypatch):
    asked = []

    def download(repository, name, revision):
        asked.append((repository, name, revision))
        return str(hub_files / name)

    monkeypatch.setattr(pretrained, "hf_hub_download", download)
    name = "speechbrain/asr-transformer-transformerlm-librispeech"
    hparams = toy_asr.settings(toy_data, tmp_path / "asr", **STAGES, pretrained=name)
    start, tokenizer = pick(Start, hparams), tmp_path / "asr/save/tokenizer.ckpt"
    pretrained.provide_start(start, hparams["checkpointer"]())
    pretrained.provide_tokenizer(tokenizer, start, pick(Vocabulary, hparams), [], resumed=True)
    revision = "93d1bdb4a0cf5b2e2878c513ee6c57a06d150001"
    files = ("asr.ckpt", "normalizer.ckpt", "tokenizer.ckpt")
    assert asked == [(name, file, revision) for file in files]


def test_says_that_the_hub_is_out_of_reach(tmp_path, toy_data, monkeypatch):
    def download(*_, **__):
        raise LocalEntryNotFoundError("no network and nothing in the cache")

    monkeypatch.setattr(pretrained, "hf_hub_download", download)
    message = r"(?s)asr.ckpt could not be fetched from some/model.*folder"
    with pytest.raises(RecipeError, match=message):
        toy_asr.train(toy_data, tmp_path / "asr", **STAGES, pretrained="some/model")


@pytest.mark.parametrize(
    "file, spoil, message",
    [
        ("asr", lambda state: state.pop("2.w.bias"), "2.w.bias is missing"),
        ("asr", lambda state: state.update(extra=torch.zeros(1)), "extra is not in the model"),
        (
            "asr",
            lambda state: state.update({"2.w.bias": torch.zeros(5000)}),
            "2.w.bias is .5000,., expected .40,.",
        ),
        (
            "normalizer",
            lambda state: state["glob_mean"][3].fill_(torch.nan),
            "normalizer.ckpt: glob_mean.*finite",
        ),
    ],
)
def test_loads_pretrained_files_strictly(toy_data, hub_files, tmp_path, file, spoil, message):
    path = hub_files / f"{file}.ckpt"
    state = toy_asr.load(path)
    spoil(state)
    torch.save(state, path)
    with pytest.raises(RecipeError, match=f"(?s){message}.*pretrained_revision"):
        toy_asr.train(toy_data, tmp_path / "asr", **STAGES, pretrained=str(hub_files))
    assert not list((tmp_path / "asr/save").glob("CKPT+*"))


def test_never_starts_from_nothing_unasked(toy_data, tmp_path):
    with pytest.raises(RecipeError) as error:
        toy_asr.train(toy_data, tmp_path, from_scratch=False)
    for way in (f"{tmp_path}/save", "pretrained=", "from_scratch=true"):
        assert way in str(error.value)


def test_a_checkpoint_without_its_tokenizer_is_no_start(toy_data, uninterrupted, tmp_path):
    shutil.copytree(uninterrupted / "save", tmp_path / "save")
    (tmp_path / "save/tokenizer.ckpt").unlink()
    remedy = "asr_overrides.(pretrained_lm_tokenizer_path)=<folder that holds tokenizer.ckpt>"
    message = f"no such file, but there is a checkpoint.*{remedy}"
    with pytest.raises(RecipeError, match=message) as error:
        toy_asr.train(toy_data, tmp_path)
    key = re.search(remedy, str(error.value))[1]
    toy_asr.train(toy_data, tmp_path, **{key: str(uninterrupted / "save")})
    assert (tmp_path / "save/tokenizer.ckpt").is_file()


def test_a_tokenizer_trained_on_the_prompts(learnt):
    """As many pieces as outputs, the published indices, and any capital letter can be written."""
    data, asr = learnt
    hparams = toy_asr.trained_settings(data, asr)
    tokenizer = hparams["tokenizer"]
    assert tokenizer.get_piece_size() == 40
    assert (tokenizer.unk_id(), tokenizer.bos_id(), tokenizer.eos_id()) == (0, 1, 2)
    assert tokenizer.decode_ids(tokenizer.encode_as_ids("QUITE O'ZJX")) == "QUITE O'ZJX"
    assert len(tokenizer.encode_as_ids("ADA BED COB")) < 9
    again = asr.parent / "again.ckpt"
    rows = toy_asr.training_rows(hparams)
    prompts = [row["wrd"] for row in reversed(rows)]
    pretrained.train_tokenizer(pick(Vocabulary, hparams), prompts, again)
    assert again.read_bytes() == (asr / "save/tokenizer.ckpt").read_bytes()


@pytest.mark.parametrize(
    "given, size, message",
    [
        (False, 5000, "output_neurons=5000: the prompts do not yield"),
        (True, 44, "has 40 tokens, expected 44 .output_neurons"),
    ],
    ids=["more than the prompts yield", "another size"],
)
def test_a_tokenizer_that_does_not_fit(toy_data, uninterrupted, tmp_path, given, size, message):
    file = tmp_path / "save/tokenizer.ckpt"
    if given:
        file.parent.mkdir()
        shutil.copy(uninterrupted / "save/tokenizer.ckpt", file)
    with pytest.raises(RecipeError, match=message):
        toy_asr.train(toy_data, tmp_path, output_neurons=size)
    assert file.exists() == given
