"""Train the demo's pretrained start on clean synthetic speech: the LibriSpeech model in miniature.

    python -m demo.pretrain [--folder demo/pretrained] [--work demo/exp_pretrained]

Speaks matrix sentences that the miniature does not contain, with voices that no talker of its
scenes has, as clean references: the target alone, at the directions of the scenes, one ear each.
Level and spectral tilt vary as hearing aids and hearing losses change them. Then train_asr.py
trains a recogniser of the demo's size on them from nothing: nine minutes of CPU time. It writes

    asr.ckpt normalizer.ckpt tokenizer.ckpt   as the published start has them; weights in half
                                              precision, which strict loading widens again
    provenance.json                           what it was trained on, how, and its word error rate

The word error rate is that of the written files, loaded as `pretrained=` loads them, on sentences
that were held out. `--work` keeps sounds and training, so that an interrupted run can go on.
"""

import argparse
import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import soundfile as sf
import torch
from speechbrain.utils.checkpoints import average_checkpoints

from demo import scenes, speech
from demo.make_miniature import HEADROOM, SNRS, Settings, plan_scenes
from intelligibility.ears import ASR_RATE, resample
from intelligibility.experiment import AsrFolder, Experiment, SaveFolder, write_table
from intelligibility.recognisers.checkpoints import read_checkpoints
from intelligibility.runs import RECIPE, RecipeError, atomic_path, sha256_of, versions, write_json

logger = logging.getLogger("pretrain")

FOLDER = Path(__file__).resolve().parent / "pretrained"
FILES = ("asr.ckpt", "normalizer.ckpt", "tokenizer.ckpt")
ACCENTS = ("en", "en-us", "en-gb-x-rp", "en-gb-scotland")
# espeak-ng's variants that sound like people, without those of the scenes' voices.
VARIANTS = (
    "Alex Alicia Andrea Annie Denis Diogo Gene Gene2 Henrique Hugo Jacky Lee Marco Mario Michael "
    "Mike Nguyen Reed RicishayMax RicishayMax2 RicishayMax3 adam anika announcer antonio aunty "
    "benjamin boris caleb david ed edward edward2 f5 grandma grandpa gustave ian iven iven2 iven3 "
    "iven4 john kaukovalta linda m4 m6 m7 m8 marcelo max michel miguel mike2 norbert pablo paul "
    "pedro quincy rob robert sandro shelby steph steph2 steph3 travis victor zac"
).split()
VOICES = tuple(f"{accent}+{variant}" for variant in VARIANTS for accent in ACCENTS)
LOUDER = (-15.0, 10.0)  # dB, by which a hearing aid and a hearing loss change the level
TILT = (-6.0, 3.0)  # dB per octave
N_SENTENCES = {"train": 2400, "dev": 120}
# SpecAugment's changes at a time, and up to which epoch: all three slow down the learning of words.
AUGMENTATIONS = {1: 10, 3: 18}
EPOCHS = max(AUGMENTATIONS.values())
SEED = 2022
NOTICE = (
    "Trained on synthetic speech (espeak-ng) only. No person spoke. It recognises the fifty words "
    "of the demo's matrix sentences and nothing else."
)


def sentences() -> dict[str, list[str]]:
    """Return matrix sentences for training and dev, none of them in the miniature."""
    taken = {plan.scene.prompt for plan in plan_scenes(Settings())}
    n_drawn = sum(N_SENTENCES.values()) + 100  # about a hundredth of them are in the miniature
    drawn = speech.matrix_sentences(n_drawn, np.random.default_rng(SEED))
    free = [sentence for sentence in drawn if sentence not in taken]
    n_train = N_SENTENCES["train"]
    return {"train": free[:n_train], "dev": free[n_train : sum(N_SENTENCES.values())]}


def clean_speech(
    n_sentences: Mapping[str, int] = N_SENTENCES,
) -> Iterator[tuple[str, str, str, np.ndarray]]:
    """Yield split, voice, sentence and one ear's signal (n_samples,), 16 kHz, per utterance."""
    rng = np.random.default_rng(SEED)
    for split, texts in sentences().items():
        texts = texts[: n_sentences[split]]
        voices = [VOICES[number % len(VOICES)] for number in range(len(texts))]
        for number, spoken in enumerate(speech.speak(list(zip(voices, texts, strict=True)))):
            level = scenes.LEVEL + min(rng.choice(SNRS), 0) + rng.uniform(*LOUDER)
            silence = round(scenes.AFTER * speech.SAMPLE_RATE)
            sentence = tilted(spoken, rng.uniform(*TILT))
            target = np.pad(scenes.at_level(sentence, level), (0, silence))
            ears = HEADROOM * scenes.at_ears(target, float(rng.integers(-30, 31)))
            signal = resample(ears[:, number % 2, None], speech.SAMPLE_RATE, ASR_RATE)[:, 0]
            yield split, voices[number], texts[number], signal


def tilted(signal: np.ndarray, tilt: float) -> np.ndarray:
    """Change the spectrum of a signal (n_samples,) by `tilt` dB per octave above 250 Hz."""
    octaves = np.log2(np.fft.rfftfreq(len(signal), 1 / speech.SAMPLE_RATE).clip(min=250) / 250)
    return np.fft.irfft(np.fft.rfft(signal) * 10 ** (tilt * octaves / 20), len(signal))


def write_speech(data: Path) -> None:
    """Write one ear signal per sentence, 16 kHz, and the tables clean_{train,dev}.csv."""
    rows: dict[str, list] = {split: [] for split in N_SENTENCES}
    for split, voice, text, signal in clean_speech():
        wav = data / split / f"{split}{len(rows[split]):04d}.wav"
        wav.parent.mkdir(parents=True, exist_ok=True)
        sf.write(wav, signal.astype("float32"), ASR_RATE, subtype="FLOAT")
        row = {"ID": wav.stem, "duration": f"{len(signal) / ASR_RATE:.4f}", "wav": wav}
        rows[split].append(row | {"spk_id": voice, "wrd": text.upper()})
    for split, table in rows.items():
        write_table(data / f"clean_{split}.csv", table)


def train(exp_folder: Path, asr_folder: Path, epochs: int, *overrides: str) -> None:
    """Run train_asr.py on the clean tables with the demo's settings, up to an epoch."""
    tables = {"train_csv": "[clean_train.csv]", "valid_csv": "clean_dev.csv"}
    tables["test_csv"] = "[clean_dev.csv]"
    command = [sys.executable, str(RECIPE / "train_asr.py"), "--config-name", "demo/config"]
    command += [f"path.exp_folder={exp_folder}", f"path.asr_folder={asr_folder}", *overrides]
    command += [f"asr_overrides.{name}={value}" for name, value in tables.items()]
    command += [f"asr_overrides.{name}_epochs={epochs}" for name in ("number_of", "stage_one")]
    subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})


def export(save_folder: Path, folder: Path) -> int:
    """Write the average of the checkpoints as pretrained files; return its optimiser's step."""
    checkpoints = read_checkpoints(save_folder)
    state = average_checkpoints(checkpoints, "model")
    weights = {
        name: tensor.half() if name.endswith((".weight", ".bias", "in_proj_weight")) else tensor
        for name, tensor in state.items()
    }
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / "asr.ckpt") as part:
        torch.save(weights, part)
    shutil.copy(checkpoints[0].paramfiles["normalizer"], folder / "normalizer.ckpt")
    shutil.copy(SaveFolder(save_folder).tokenizer, folder / "tokenizer.ckpt")
    scheduler = torch.load(checkpoints[0].paramfiles["noam_scheduler"], weights_only=True)
    return scheduler["n_steps"]


def main() -> None:
    """Train the start, measure it, and write it with its provenance."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=FOLDER, help="(%(default)s)")
    parser.add_argument("--work", type=Path, default=RECIPE / "demo/exp_pretrained")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    work, folder = given.work.absolute(), given.folder.absolute()
    data = Experiment(work, work / "asr").data_folder
    if not (data / "clean_dev.csv").is_file():
        write_speech(data)
    for n_changes, epochs in AUGMENTATIONS.items():
        changes = "{" + f"min_augmentations: {n_changes}, max_augmentations: {n_changes}" + "}"
        settings = {"latest_checkpoints": 1, "transformer_dropout": 0.1, "augmentation": changes}
        scratch = [f"asr_overrides.{name}={value}" for name, value in settings.items()]
        train(work, work / "asr", epochs, "pretrained=null", "from_scratch=true", *scratch)
    steps = export(AsrFolder(work / "asr").save_folder, folder)
    shutil.rmtree(work / "check", ignore_errors=True)
    train(
        work,
        work / "check",
        EPOCHS,
        f"pretrained={folder}",
        "from_scratch=false",
        f"asr_overrides.pretrained_epoch={EPOCHS}",  # nothing is left to train: it is only tested
    )
    rates = json.loads(AsrFolder(work / "check").wer.read_text())["WER"]
    if (rate := rates["clean_dev"]) > 5:
        raise RecipeError(
            f"a word error rate of {rate:.1f} % on clean speech; expected 5 % or less"
        )
    record = {"notice": NOTICE, "command": "python -m demo.pretrain", "seed": SEED}
    record |= {"sentences": N_SENTENCES, "accents": ACCENTS, "variants": VARIANTS}
    record |= {"louder_db": LOUDER, "tilt_db_per_octave": TILT}
    record |= {"augmentations": AUGMENTATIONS, "epochs": EPOCHS, "steps": steps}
    record |= {"clean_dev_word_error_rate_percent": rate, "versions": versions()}
    record["sha256"] = {name: sha256_of([folder / name]) for name in FILES}
    write_json(folder / "provenance.json", record)
    logger.info("Wrote %s: word error rate %.1f %% on clean speech", folder, rate)


if __name__ == "__main__":
    main()
