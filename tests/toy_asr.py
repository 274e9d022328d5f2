"""A toy language of chords and a recogniser small enough to learn it in seconds."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
import yaml

import train_asr
from intelligibility.experiment import write_table
from intelligibility.recognisers.settings import read_settings
from intelligibility.recognisers.speechbrain import load_tokenizer
from intelligibility.recognisers.values import pick
from intelligibility.runs import RECIPE
from intelligibility.training.data import one_row_per_wav, read_tables
from intelligibility.training.settings import Tables

RATE = 16000  # Hz
WORDS = ("ADA", "BED", "COB", "DOG", "EEL", "FIG")
SETTINGS = {"seed": 3, "from_scratch": True, "number_of_epochs": 4, "stage_one_epochs": 3}
SETTINGS |= {"train_csv": ["binaural_train_msbg.csv", "binaural_train_ref.csv"]}
SETTINGS |= {"batch_size": 8, "gradient_accumulation": 1, "num_workers": 0}
SETTINGS |= {"ctc_weight": 0.5, "lr_adam": 0.1, "n_warmup_steps": 30}
SETTINGS |= {"cnn_out_channels": [4, 4, 8], "d_model": 48, "nhead": 2, "d_ffn": 64}
SETTINGS |= {"num_encoder_layers": 1, "num_decoder_layers": 1, "transformer_dropout": 0.1}
SETTINGS |= {"output_neurons": 40, "valid_dataloader_opts": {"batch_size": 8}}
SETTINGS |= {"valid_search_interval": 4, "valid_beam_size": 2, "test_beam_size": 4}

NO_MASKS = {"augmentation": {"min_augmentations": 0, "max_augmentations": 0}}
LEARNS = NO_MASKS | {"number_of_epochs": 14, "stage_one_epochs": 13, "valid_search_interval": 14}
NEW, OLD = ".multihead_attn", ".mutihead_attn"  # SpeechBrain 0.5.x misspelt it


def say(words: list[str]) -> np.ndarray:
    """Return a quarter of a second per word (n_samples,), each word a chord of its own."""
    t = np.arange(RATE // 4) / RATE
    spoken = []
    for word in words:
        partials = 200 * 1.25 ** WORDS.index(word) * 2.0 ** np.arange(4)
        tone = np.sin(2 * np.pi * partials[:, None] * t).sum(0) * np.hanning(len(t))
        spoken += [0.1 * tone, np.zeros(RATE // 40)]
    return np.concatenate(spoken)


def make_tables(folder: Path, n_train: int = 16, n_dev: int = 4) -> Path:
    """Write tables and wavs as prepare_data.py leaves them; return the data folder."""
    rng = np.random.default_rng(0)
    for split, count, first in (("train", n_train, 90000), ("dev", n_dev, 95000)):
        rows: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for scene in range(first, first + count):
            words = list(rng.choice(WORDS, rng.integers(2, 6)))
            for kind, noise in (("msbg", 0.02), ("ref", 0.0005)):
                for ear in ("left", "right"):
                    name = f"S{scene}_L9001_E901" if kind == "msbg" else f"S{scene}"
                    wav = folder / "train" / f"{ear}_{kind}" / f"{name}.wav"
                    wav.parent.mkdir(parents=True, exist_ok=True)
                    signal = say(words)
                    signal += noise * rng.standard_normal(len(signal))
                    soundfile.write(wav, signal.astype("float32"), RATE, subtype="FLOAT")
                    row = {"duration": len(signal) / RATE, "wav": wav, "spk_id": "L9001"}
                    row |= {"ID": f"S{scene}_L9001_E901", "wrd": " ".join(words)}
                    rows.setdefault((ear, kind), []).append(row)
        for kind in ("msbg", "ref"):
            both = []
            for ear in ("left", "right"):
                write_table(folder / f"{ear}_{split}_{kind}.csv", rows[ear, kind])
                both += [row | {"ID": f"{ear}_{row['ID']}"} for row in rows[ear, kind]]
            write_table(folder / f"binaural_{split}_{kind}.csv", both)
    return folder


def settings(data: Path, asr: Path, **changes: Any) -> dict[str, Any]:
    """Return fresh hparams for a run on the toy language."""
    folders = {"data_folder": str(data), "output_folder": str(asr)}
    return read_settings(RECIPE / "transformer_cpc1.yaml", SETTINGS | folders | changes)


def training_rows(hparams: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows that a run trains on."""
    return one_row_per_wav(read_tables(pick(Tables, hparams), "train_csv").values())


def trained_settings(data: Path, asr: Path, **changes: Any) -> dict[str, Any]:
    """Return fresh hparams with the tokenizer that a run has left."""
    hparams = settings(data, asr, **changes)
    load_tokenizer(hparams["tokenizer"], asr / "save/tokenizer.ckpt", hparams["output_neurons"])
    return hparams


def train(data: Path, asr: Path, run_opts: dict[str, Any] | None = None, **changes: Any) -> None:
    """Run the stage in this process, in one thread: in it the same bits come out again."""
    torch.set_num_threads(1)
    train_asr.keep_speechbrain_quiet()
    options = train_asr.run_options({"noprogressbar": True} | (run_opts or {}), "cpu")
    train_asr.train(settings(data, asr, **changes), options)


def epochs(asr: Path) -> list[dict[str, Any]]:
    """Return the epochs that training.json holds."""
    return json.loads((asr / "training.json").read_text())["epochs"]


def brain_of(hparams: dict[str, Any], **run_opts: Any) -> train_asr.ASR:
    """Return what trains with these settings, on the CPU and without checkpoints."""
    options = train_asr.run_options(run_opts, "cpu")
    return train_asr.ASR(hparams["modules"], hparams["Adam"], hparams, options, None)


def latest(asr: Path) -> Path:
    """Return the latest checkpoint's folder."""
    return max((asr / "save").glob("CKPT+*"))


def load(path: Path) -> dict[str, Any]:
    """Read a file of tensors."""
    return torch.load(path, "cpu", weights_only=True)


def published_form(checkpoint: Path, folder: Path, epoch: int) -> Path:
    """Rewrite a checkpoint as SpeechBrain 0.5.x leaves it after a test."""
    folder.mkdir(parents=True)
    for name in ("noam_scheduler", "dataloader-TRAIN"):
        shutil.copy(checkpoint / f"{name}.ckpt", folder)
    model = load(checkpoint / "model.ckpt")
    torch.save(
        {name.replace(NEW, OLD): value for name, value in model.items()}, folder / "model.ckpt"
    )
    normaliser = load(checkpoint / "normalizer.ckpt")
    normaliser |= {"count": 7, "spk_dict_mean": {}, "spk_dict_std": {}, "spk_dict_count": {}}
    torch.save(normaliser, folder / "normalizer.ckpt")  # 0.5.x counts batches, not frames
    (folder / "counter.ckpt").write_text(str(epoch))
    (folder / "brain.ckpt").write_text("avg_train_loss: 0.0\nstep: 80\n")
    meta = {"ACC": 1.1, "end-of-epoch": True, "epoch": None, "unixtime": 1.6e9}
    (folder / "CKPT.yaml").write_text(yaml.dump(meta))
    return folder
