"""Tables and batches: bad input is named before the first step; every signal is drawn once."""

import shutil

import numpy as np
import pytest
import soundfile
import speechbrain as sb
import torch

import train_asr
from benchmarks.train import padding_share
from intelligibility.experiment import read_table, write_table
from intelligibility.recognisers.values import pick
from intelligibility.runs import RecipeError
from intelligibility.training import data
from intelligibility.training.settings import Batches, Tables, Vocabulary
from tests import toy_asr

# Bad input, named before the first step


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda row: row["wav"].unlink(), "missing"),
        (lambda row: soundfile.write(row["wav"], np.zeros(800), 8000), "8000 Hz.*16000 Hz"),
        (lambda row: soundfile.write(row["wav"], np.zeros((800, 2)), 16000), "2 channels"),
        (lambda row: soundfile.write(row["wav"], np.zeros(0), 16000), "0 samples"),
        (lambda row: row.update(wrd=""), "prompt is empty"),
        (lambda row: row.update(wrd="ADA \u00c9T\u00c9"), "outside the vocabulary"),
    ],
    ids=["no wav", "rate", "stereo", "empty wav", "no prompt", "vocabulary"],
)
def test_names_bad_input_before_the_first_step(toy_data, tmp_path, monkeypatch, change, message):
    copy = shutil.copytree(toy_data, tmp_path / "data")
    table = copy / "binaural_dev_msbg.csv"
    rows = read_table(table)
    change(rows[1])
    write_table(table, rows)
    monkeypatch.setattr(train_asr.ASR, "fit_batch", None)
    name = "/".join(rows[1]["wav"].with_suffix("").parts[-2:])
    with pytest.raises(RecipeError, match=f"{name}.*{message}"):
        toy_asr.train(copy, tmp_path / "asr")


def test_names_an_empty_table(toy_data, tmp_path):
    copy = shutil.copytree(toy_data, tmp_path / "data")
    write_table(copy / "left_dev_msbg.csv", [])
    with pytest.raises(RecipeError, match=r"left_dev_msbg.csv: no rows.*test_csv"):
        toy_asr.train(copy, tmp_path / "asr")


def test_finds_the_tables_of_a_relative_folder(toy_data, tmp_path, monkeypatch):
    monkeypatch.chdir(toy_data.parent)
    hparams = toy_asr.settings(toy_data.name, tmp_path, train_csv=["binaural_train_msbg.csv"])
    for key in ("train_csv", "valid_csv", "test_csv"):
        for name, rows in data.read_tables(pick(Tables, hparams), key).items():
            assert rows == read_table(toy_data / f"{name}.csv")


def test_refuses_an_epoch_without_an_update(toy_data, tmp_path):
    with pytest.raises(RecipeError, match="4.0 batches.*gradient_accumulation=5"):
        toy_asr.train(toy_data, tmp_path, gradient_accumulation=5)


# Batches


def loaded(folder, asr, epoch, **changes):
    """Return the ids and signals of an epoch's training batches."""
    hparams = toy_asr.trained_settings(folder, asr, **changes)
    rows = toy_asr.training_rows(hparams)
    dataset = data.in_order(data.make_dataset(rows, pick(Vocabulary, hparams)), hparams["sorting"])
    brain = toy_asr.brain_of(hparams)
    kinds = data.train_loader_options(dataset, pick(Batches, hparams))
    brain.train_sampler = kinds.get("batch_sampler")
    loader = brain.make_dataloader(dataset, sb.Stage.TRAIN, None, **kinds)
    brain.train_sampler.set_epoch(epoch)
    return [(batch.id, batch.sig[0]) for batch in loader]


@pytest.mark.parametrize("dynamic", [False, True])
def test_batches_do_not_depend_on_the_number_of_workers(learnt, dynamic):
    options = {"dynamic_batching": dynamic, "max_batch_length": 8, "num_buckets": 4}
    alone = loaded(*learnt, epoch=2, **options)
    shared = loaded(*learnt, epoch=2, **options, num_workers=2)
    assert [ids for ids, _ in alone] == [ids for ids, _ in shared]
    assert all(torch.equal(one, other) for (_, one), (_, other) in zip(alone, shared, strict=True))


def test_batches_of_similar_length_hold_every_signal_and_less_padding(learnt):
    options = {"dynamic_batching": True, "max_batch_length": 8, "num_buckets": 30}
    plain, similar = loaded(*learnt, epoch=1), loaded(*learnt, epoch=1, **options)
    names = [sorted(name for ids, _ in batches for name in ids) for batches in (plain, similar)]
    assert names[0] == names[1] and len(names[0]) == 160
    hparams = toy_asr.settings(*learnt)
    rows = toy_asr.training_rows(hparams)
    lengths = {row["ID"]: row["duration"] for row in rows}
    shares = [padding_share([lengths[n] for n in ids] for ids, _ in b) for b in (plain, similar)]
    assert shares[1] < shares[0] / 2
    assert all(sum(lengths[name] for name in ids) <= 8.5 for ids, _ in similar)
    again = loaded(*learnt, epoch=2, **options)
    assert [ids for ids, _ in again] != [ids for ids, _ in similar]


def test_padding_share_of_a_known_case():
    assert padding_share([[1.0, 3.0], [2.0]]) == pytest.approx(2 / 8)


@pytest.mark.parametrize("sorting, reverse", [("ascending", False), ("descending", True)])
def test_sorts_by_duration(learnt, sorting, reverse):
    hparams = toy_asr.trained_settings(*learnt, sorting=sorting)
    rows = toy_asr.training_rows(hparams)
    dataset = data.in_order(data.make_dataset(rows, pick(Vocabulary, hparams)), sorting)
    durations = [dataset.data[name]["duration"] for name in dataset.data_ids]
    assert durations == sorted(durations, reverse=reverse)
    assert data.train_loader_options(dataset, pick(Batches, hparams))["shuffle"] is False
