"""Make noisy LibriSpeech ("CLS"), on which the paper's best recogniser is trained before CPC1.

    python prepare_cls.py path.librispeech=/data/LibriSpeech path.cec1=/data/clarity_CEC1_data

Reads   path.librispeech/{train-clean-100,dev-clean}   FLAC and transcripts, 100 and 5 hours
        path.cec1/clarity_data/train/interferers/      noises (and talkers) of CEC1's training set
        path.cec1/**/metadata/scenes*.json             if there, the SNRs of CEC1's training scenes
Writes  exp_folder/cls_data/{train,dev}/<speaker>/     mixtures, 16 kHz, 16-bit FLAC, about 8 GB
        exp_folder/cls_data/cls_{train,dev}.csv        tables for SpeechBrain
        exp_folder/cls_data/{mixed.jsonl,mixed.json}   what is done and from what; counts, settings

Each utterance is mixed with an excerpt of an interferer at a speech-weighted signal-to-noise ratio,
all three drawn with `seed` and its name. They are added at 16 kHz, without a room.
What the paper does not say is a key: `cls.interferers` (noise | both), `cls.snr` (null: as CEC1's
training scenes have them, or uniform from -6 to 12 dB where there is no list; or [lowest,highest]).
All input is checked first; `check_only=true` stops there. A run that was stopped goes on where it
was. `shard=3 n_shards=32` does one part of 32; a last run without them writes the tables. Then

    python train_asr.py data=cls pretrained=speechbrain/asr-transformer-transformerlm-librispeech
"""

import logging
import zlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import soundfile as sf
from omegaconf import DictConfig, ListConfig

from intelligibility.cls.mixing import excerpt, mix
from intelligibility.cls.places import ClsFolder
from intelligibility.cls.sources import (
    FOLDERS,
    SUBSETS,
    Interferer,
    Utterance,
    read_interferers,
    read_librispeech,
    read_snrs,
)
from intelligibility.command_line import provenance, reports_errors
from intelligibility.corpora.presentation import Problem, in_lines
from intelligibility.ears import ASR_RATE
from intelligibility.experiment import Experiment, write_table
from intelligibility.runs import (
    RecipeError,
    atomic_path,
    is_number,
    lacking_room,
    remove_partial_files,
    sole_run,
    write_json,
)
from intelligibility.work import Piece, Stamp, Work

logger = logging.getLogger(__name__)

READS = ("cls", "n_jobs", "check_only", "shard", "n_shards")
SNRS = (-6.0, 12.0)  # dB, where neither cls.snr nor a list of CEC1's scenes says otherwise
BYTES_PER_SAMPLE = 1.4  # of a noisy FLAC


@dataclass(frozen=True)
class Mixture:
    """What one mixture is made of."""

    utterance: Utterance
    interferer: Interferer
    snr: float  # dB, speech-weighted
    start: float  # where in the interferer the excerpt begins, 0 to 1
    target: Path  # where the mixture is written


@hydra.main(config_path=".", config_name="config", version_base="1.3")
@reports_errors(reads=READS)
def run(cfg: DictConfig) -> None:
    """Mix the training and the development set."""
    # What there is, and what is wrong with it
    librispeech, cec1 = source_folder(cfg, "librispeech"), source_folder(cfg, "cec1")
    given, kinds = snr_bounds(cfg), interferer_kinds(cfg)
    utterances, problems = {}, []
    for split in SUBSETS:
        utterances[split], found = read_librispeech(librispeech, split)
        problems += found
    interferers, found = read_interferers(cec1, kinds)
    folder = ClsFolder.below(Experiment.from_config(cfg).exp_folder)
    problems += found + check_disk(folder, utterances)
    if problems:
        raise RecipeError(f"Nothing was made:\n{in_lines(problems)}")
    snrs, bounds = {} if given else read_snrs(cec1, interferers), given or SNRS
    log_sources(utterances, interferers, snrs, bounds)
    if cfg.check_only:
        return

    # The mixtures, and last the tables, without which train_asr.py does not begin
    pieces = []
    for split, ones in utterances.items():
        for one in ones:
            target = folder.flac(split, one.speaker, one.name)
            mixture = draw(one, interferers, snrs, bounds, cfg.seed, target)
            pieces.append(Piece(f"{split}/{one.name}", mixture, one.seconds))
    with sole_run(folder.path, "prepare_cls", cfg.shard, cfg.n_shards):
        if cfg.n_shards == 1:
            remove_partial_files(folder.path, "**/.*")
        shards = cfg.shard, cfg.n_shards
        work = Work(folder.journal, pieces, made_by, "mixtures", *shards, is_whole=is_there)
        work.do(make, cfg.n_jobs)
        work.refuse_failed("fix them and run again")
        if cfg.n_shards > 1:
            return
        for split in SUBSETS:
            mine = [piece for piece in pieces if piece.key.startswith(f"{split}/")]
            rows = [table_row(p.item, work.results[p.key]["duration"]) for p in mine]
            write_table(folder.table(split), rows)
        write_json(folder.record, provenance(cfg) | describe(pieces, snrs, bounds))
    logger.info("Wrote %d mixtures and their tables to %s", len(pieces), folder.path)


# Before work


def source_folder(cfg: DictConfig, name: str) -> Path:
    """Return the folder that path.librispeech or path.cec1 names."""
    given = cfg.path[name]
    folder = Path(str(given)).expanduser().absolute()
    if given is None or not folder.is_dir():
        raise RecipeError(f"path.{name}={given}: expected a folder; see prepare_cls.py --help")
    return folder


def snr_bounds(cfg: DictConfig) -> tuple[float, float] | None:
    """Return the lowest and the highest signal-to-noise ratio that cls.snr gives, if any."""
    given = cfg.cls.snr
    if given is None:
        return None
    numbers = isinstance(given, ListConfig) and len(given) == 2 and all(map(is_number, given))
    if not numbers or not given[0] <= given[1]:
        raise RecipeError(f"cls.snr={given}: expected null or [lowest,highest] in dB")
    return float(given[0]), float(given[1])


def interferer_kinds(cfg: DictConfig) -> list[str]:
    """Return the kinds of interferers that cls.interferers asks for."""
    kinds = {"noise": ["noise"], "both": list(FOLDERS)}
    if cfg.cls.interferers not in kinds:
        raise RecipeError(f"cls.interferers={cfg.cls.interferers}: expected {' or '.join(kinds)}")
    return kinds[cfg.cls.interferers]


def check_disk(folder: ClsFolder, utterances: dict[str, list[Utterance]]) -> list[Problem]:
    """Compare the free space with what the mixtures that are missing will take."""
    missing = [
        one.seconds
        for split, ones in utterances.items()
        for one in ones
        if not folder.flac(split, one.speaker, one.name).is_file()
    ]
    n_bytes = sum(missing) * ASR_RATE * BYTES_PER_SAMPLE
    lack = lacking_room(folder.path, n_bytes, "the mixtures to be made")
    return [Problem("disk too full", lack)] if lack else []


def log_sources(
    utterances: dict[str, list[Utterance]],
    interferers: list[Interferer],
    snrs: dict[str, list[float]],
    bounds: tuple[float, float],
) -> None:
    """Log how much speech and noise there is, and the signal-to-noise ratios."""
    for split, ones in utterances.items():
        hours = sum(one.seconds for one in ones) / 3600
        logger.info("%s: %d utterances, %.1f hours", SUBSETS[split], len(ones), hours)
    kinds = Counter(one.kind for one in interferers)
    logger.info("interferers: %s", ", ".join(f"{n} of {kind}" for kind, n in kinds.items()))
    for kind in kinds:
        logger.info("SNRs in %s: %s", kind, snrs_in_words(kind, snrs, bounds))


def snrs_in_words(kind: str, snrs: dict[str, list[float]], bounds: tuple[float, float]) -> str:
    """Return what the signal-to-noise ratios with one kind of interferer are drawn from."""
    if kind in snrs:
        return f"those of {len(snrs[kind])} scenes, {snrs[kind][0]:g} to {snrs[kind][-1]:g} dB"
    return f"uniform from {bounds[0]:g} to {bounds[1]:g} dB"


# The mixtures


def draw(
    utterance: Utterance,
    interferers: list[Interferer],
    snrs: dict[str, list[float]],
    bounds: tuple[float, float],
    seed: int,
    target: Path,
) -> Mixture:
    """Draw interferer, signal-to-noise ratio and excerpt: the same whatever else is mixed."""
    rng = np.random.default_rng([seed, zlib.crc32(utterance.name.encode())])
    interferer = interferers[rng.integers(len(interferers))]
    listed = snrs.get(interferer.kind)
    snr = rng.choice(listed) if listed else rng.uniform(*bounds)
    return Mixture(utterance, interferer, float(snr), float(rng.random()), target)


def made_by(mixture: Mixture, stamp: Stamp) -> dict[str, Any]:
    """Return everything that determines a mixture."""
    speech, noise = mixture.utterance.path, mixture.interferer.path
    return {
        "speech": stamp(speech),
        "interferer": [noise.name, stamp(noise)],
        "snr": mixture.snr,
        "start": mixture.start,
    }


def make(mixture: Mixture) -> dict[str, Any]:
    """Write one mixture; return its `duration` in s and its size in `bytes`."""
    try:
        speech, rate = sf.read(mixture.utterance.path, dtype="float64", always_2d=True)
        if rate != ASR_RATE:
            raise ValueError(f"{mixture.utterance.path}: {rate} Hz, expected {ASR_RATE} Hz")
        speech = speech[:, 0]
        noise = excerpt(mixture.interferer.path, mixture.start, len(speech))
        mixed = mix(speech, noise, mixture.snr)
    except sf.SoundFileError as error:
        raise ValueError(str(error)) from None
    with atomic_path(mixture.target) as part:
        sf.write(part, mixed, ASR_RATE, format="FLAC", subtype="PCM_16")
    return {"duration": len(mixed) / ASR_RATE, "bytes": mixture.target.stat().st_size}


def is_there(mixture: Mixture, result: dict[str, Any]) -> bool:
    """Return whether a mixture is there, in the size that was written."""
    return mixture.target.is_file() and mixture.target.stat().st_size == result["bytes"]


def table_row(mixture: Mixture, duration: float) -> dict[str, Any]:
    """Return the row of a mixture in SpeechBrain's table."""
    one = mixture.utterance
    row = {"ID": one.name, "duration": duration, "wav": mixture.target}
    return row | {"spk_id": one.speaker, "wrd": one.words.upper()}


def describe(
    pieces: list[Piece[Mixture]],
    snrs: dict[str, list[float]],
    bounds: tuple[float, float],
) -> dict[str, Any]:
    """Return what was mixed, in numbers, for the record."""
    drawn = [piece.item.snr for piece in pieces]
    kinds = Counter(piece.item.interferer.kind for piece in pieces)
    return {
        "utterances": dict(Counter(piece.key.split("/")[0] for piece in pieces)),
        "interferers": dict(kinds),
        "snrs": {kind: snrs_in_words(kind, snrs, bounds) for kind in kinds},
        "snr_mean_and_std": [float(np.mean(drawn)), float(np.std(drawn))],
    }


if __name__ == "__main__":
    run()
