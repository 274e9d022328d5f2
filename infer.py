"""Stage 3: compare what the recogniser makes of each processed signal and of its clean reference.

    python infer.py path.root=/data/cpc1
    python infer.py path.root=/data/cpc1 cpc1_track=open
    python infer.py path.root=/data/cpc1 n_shards=8 shard=3    # one of eight parts; then without

Reads   exp_folder/cpc1_asr_data{track}/{left,right}_{dev,test}_{msbg,ref}.csv and their wavs
        asr_folder/save/CKPT+*, tokenizer.ckpt       the recogniser: the average of all checkpoints
Writes  exp_folder/{dev,test}_{enc,dec,pre}_similarity{track}.json   {signal: 0..1}
        exp_folder/{dev,test}_wcs_correctness{track}.json            the recogniser's own word score
        exp_folder/inference{track}.json                             how they were made
        exp_folder/inference{track}.jsonl                            what is done, and from what

A run that was stopped goes on where it was. What was made by another recogniser, with other
settings or from other wavs is made again. The two ear signals of a reference go through the
recogniser once, however many hearing aids and listeners share its scene. With a GPU one process
recognises many signals at once. Without, `n_jobs` processes of one thread, each with a recogniser
of its own (1.4 GB at full size), take one signal at a time: the numbers do not depend on n_jobs.
"""

import dataclasses
import hashlib
import logging
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hydra
import soundfile as sf
import torch
from joblib import effective_n_jobs
from omegaconf import DictConfig, OmegaConf

from intelligibility.corpora.cpc1 import ASR_RATE, EARS, KINDS, MEASURES, Cpc1, listed, read_table
from intelligibility.journal import Journal, file_stamp
from intelligibility.parallel import in_processes
from intelligibility.recognisers.settings import describe_model, load_settings
from intelligibility.recognisers.speechbrain import (
    SPEECH_LENGTHS,
    Recogniser,
    Recognition,
    checkpoint_files,
    keep_products_exact,
    recogniser_of_process,
    search_settings,
    word_correctness,
    words_of,
)
from intelligibility.runs import (
    RecipeError,
    pick_device,
    progress,
    provenance,
    read_json,
    reports_errors,
    sha256_of,
    shard_of,
    shared_use,
    sole_run,
    write_json,
    write_result,
)
from intelligibility.similarity import DTW, aligned_similarity, framewise_similarity

logger = logging.getLogger(__name__)

SPLITS = ("dev", "test")


@dataclasses.dataclass(frozen=True)
class Signal:
    """One processed signal with its reference: wavs of the left and the right ear."""

    split: str
    name: str
    processed: tuple[Path, Path]
    reference: tuple[Path, Path]
    prompt: str
    duration: float

    @property
    def key(self) -> str:
        """Return the signal's name in the journal."""
        return f"{self.split}/{self.name}"


@hydra.main(config_path=".", config_name="config", version_base="1.3")
@reports_errors
def run(cfg: DictConfig) -> None:
    """Measure the dev and test signals of one track."""
    cpc1 = Cpc1.from_config(cfg)
    if cfg.dtw not in DTW:
        raise RecipeError(f"dtw={cfg.dtw}: expected {' or '.join(DTW)}")
    scenes = group_by_reference(list_signals(cpc1))
    with (
        sole_run(cpc1.exp_folder, f"inference{cpc1.track}", cfg.shard, cfg.n_shards),
        shared_use(cpc1.asr_folder, "train_asr"),  # its checkpoints must not change meanwhile
    ):
        recogniser, inference = load_recogniser(cfg, cpc1)
        durations = {scene[0].key: total_duration(scene) for scene in scenes}
        mine = set(shard_of(durations, cfg.shard, cfg.n_shards))
        part = [scene for scene in scenes if scene[0].key in mine]
        journal = measure_all(part, recogniser, inference, cpc1, cfg)
        if cfg.n_shards > 1:
            logger.info(
                "Shard %d of %d is done; run without shard to write the results",
                cfg.shard,
                cfg.n_shards,
            )
            return
        measures = gather(cpc1, [signal for scene in scenes for signal in scene], journal)
        write_measures(cpc1, measures, inference | {"provenance": provenance(cfg)})
    n_signals = sum(map(len, scenes))
    logger.info("Wrote the measures of %d signals to %s", n_signals, cpc1.exp_folder)


def load_recogniser(cfg: DictConfig, cpc1: Cpc1) -> tuple[Recogniser, dict[str, Any]]:
    """Load the recogniser; return it with a description of all that decides its measures."""
    for noisy in ("checkpoints", "seed"):
        logging.getLogger(f"speechbrain.utils.{noisy}").setLevel(logging.WARNING)
    torch.set_num_threads(1)
    keep_products_exact()
    hparams = load_settings(cfg, cpc1)
    save_folder = cpc1.asr_folder / "save"
    files = checkpoint_files(save_folder)
    model = hashlib.sha256(describe_model(cfg, cpc1).encode()).hexdigest()
    search = dataclasses.asdict(search_settings(hparams))
    inference = {
        "checkpoint_sha256": sha256_of(files),
        "checkpoints": sorted(path.parent.name for path in files if path.name == "model.ckpt"),
        "settings": search
        | {"decoder_states": cfg.decoder_states, "dtw": cfg.dtw, "model_sha256": model},
    }
    recogniser = Recogniser.load(hparams, save_folder, pick_device(cfg.device), cfg.decoder_states)
    return recogniser, inference


def list_signals(cpc1: Cpc1) -> list[Signal]:
    """List the dev and test signals in the order of their tables."""
    signals, faults = [], []
    for split in SPLITS:
        tables = {
            (kind, ear): {row["ID"]: row for row in read_table(cpc1.table(ear, split, kind))}
            for kind in KINDS
            for ear in EARS
        }
        for name, row in tables["msbg", "left"].items():
            if lacking := [f"{k} {e}" for (k, e), table in tables.items() if name not in table]:
                raise RecipeError(
                    f"{name} is missing from the {split} table of {', '.join(lacking)} in "
                    f"{cpc1.data_folder}; run prepare_data.py again"
                )
            wavs = {kind: tuple(tables[kind, ear][name]["wav"] for ear in EARS) for kind in KINDS}
            faults += [
                f"{wav} is missing" for pair in wavs.values() for wav in pair if not wav.is_file()
            ]
            if not words_of(row["wrd"]):
                faults.append(f"{name} has no word in its prompt")
            signals.append(
                Signal(split, name, wavs["msbg"], wavs["ref"], row["wrd"], row["duration"])
            )
    if faults:
        raise RecipeError(
            f"{len(faults)} faults in the tables of {cpc1.data_folder}: {listed(faults)}; run "
            "prepare_data.py again"
        )
    return signals


def group_by_reference(signals: list[Signal]) -> list[list[Signal]]:
    """Group the signals that share a reference, which is then needed for one group only."""
    groups: dict[tuple[Path, Path], list[Signal]] = defaultdict(list)
    for signal in signals:
        groups[signal.reference].append(signal)
    return list(groups.values())


def total_duration(scene: list[Signal]) -> float:
    """Return the seconds that the recogniser hears, per ear: the signals and their reference."""
    return sum(signal.duration for signal in scene) + scene[0].duration


def measure_all(
    scenes: list[list[Signal]],
    recogniser: Recogniser,
    inference: dict[str, Any],
    cpc1: Cpc1,
    cfg: DictConfig,
) -> Journal:
    """Measure the signals that are not in the journal yet, or were made from something else."""
    made_by = {
        signal.key: {
            "checkpoint_sha256": inference["checkpoint_sha256"],
            "settings": inference["settings"],
            "prompt": signal.prompt,
            "wavs": [file_stamp(wav) for wav in (*signal.processed, *signal.reference)],
        }
        for scene in scenes
        for signal in scene
    }
    path = cpc1.results_file("inference", ".jsonl")
    with Journal(path, cfg.shard, cfg.n_shards) as journal:
        todo = [
            rest
            for scene in scenes
            if (rest := [s for s in scene if journal.result(s.key, made_by[s.key]) is None])
        ]
        n_todo = sum(map(len, todo))
        if journal.outdated:
            logger.warning("Measuring anew, since these changed: %s", dict(journal.outdated))
        logger.info("%d of %d signals are done already", len(made_by) - n_todo, len(made_by))
        n_workers = min(effective_n_jobs(cfg.n_jobs), len(todo))
        if recogniser.device.type == "cpu" and n_workers > 1:
            measured = measure_in_parallel(todo, cfg, n_workers)
        else:
            measured = measure(todo, recogniser, cfg.dtw)
        for signal, measures in progress(measured, "recogniser", n_todo, unit="signal"):
            journal.add(signal.key, made_by[signal.key], measures)
    return journal


def measure(
    scenes: list[list[Signal]], recogniser: Recogniser, dtw: str
) -> Iterator[tuple[Signal, dict[str, float]]]:
    """Measure signals, scene by scene: each reference goes through the recogniser once."""
    wavs = (
        wav
        for scene in scenes
        for pair in (scene[0].reference, *(signal.processed for signal in scene))
        for wav in pair
    )
    recognised = recogniser.recognise(map(read_wav, wavs))
    for scene in scenes:
        reference = next(recognised), next(recognised)
        for signal in scene:
            processed = next(recognised), next(recognised)
            yield signal, compare(signal, processed, reference, dtw)


def measure_in_parallel(
    scenes: list[list[Signal]], cfg: DictConfig, n_workers: int
) -> Iterator[tuple[Signal, dict[str, float]]]:
    """Measure signals, a scene at a time in each of several processes."""
    config = OmegaConf.to_yaml(cfg)
    calls = [(scene, config, cfg.dtw) for scene in scenes]
    for measured in in_processes(measure_scene, calls, n_workers):
        yield from measured


def measure_scene(
    scene: list[Signal], config: str, dtw: str
) -> list[tuple[Signal, dict[str, float]]]:
    """Measure the signals of one scene in a process of their own."""
    return list(measure([scene], recogniser_of_process(config), dtw))


def compare(
    signal: Signal,
    processed: tuple[Recognition, Recognition],
    reference: tuple[Recognition, Recognition],
    dtw: str,
) -> dict[str, float]:
    """Return the measures of one signal from what the recogniser made of its ears, all 0..1."""
    ears = processed, reference
    return {
        "enc": framewise_similarity(*[(left.encoder, right.encoder) for left, right in ears]),
        "dec": aligned_similarity(*[(left.decoder, right.decoder) for left, right in ears], dtw),
        "pre": framewise_similarity(*[(left.cnn, right.cnn) for left, right in ears]),
        "wcs": max(word_correctness(ear.text, signal.prompt) for ear in processed),
    }


def read_wav(path: Path) -> torch.Tensor:
    """Read one ear signal: (n_samples,), float32, 16 kHz."""
    try:
        samples, rate = sf.read(path, dtype="float32")
    except (sf.SoundFileError, OSError) as error:
        raise RecipeError(f"{path}: {error}; run prepare_data.py again") from None
    signal = torch.from_numpy(samples)
    shortest, longest = SPEECH_LENGTHS
    fits = signal.ndim == 1 and shortest <= len(signal) <= longest
    if not fits or rate != ASR_RATE or not signal.isfinite().all():
        raise RecipeError(
            f"{path}: {tuple(signal.shape)} samples at {rate} Hz, expected one channel of "
            f"{shortest} to {longest} finite samples at {ASR_RATE} Hz; run prepare_data.py again"
        )
    return signal


def gather(cpc1: Cpc1, signals: list[Signal], journal: Journal) -> dict[Path, dict[str, float]]:
    """Return what each file of measures has to hold, in the order of the tables."""
    return {
        cpc1.measure_file(split, name): {
            signal.name: journal.latest[signal.key]["result"][name]
            for signal in signals
            if signal.split == split
        }
        for split in SPLITS
        for name in MEASURES
    }


def write_measures(
    cpc1: Cpc1, measures: dict[Path, dict[str, float]], inference: dict[str, Any]
) -> None:
    """Write one json per split and measure, and last the record of how they were made.

    While files change there is no record: evaluate.py takes no mixture of two runs.
    """
    record = cpc1.results_file("inference", ".json")
    if any(not path.is_file() or read_json(path) != values for path, values in measures.items()):
        record.unlink(missing_ok=True)
    for path, values in measures.items():
        write_json(path, values)
    write_result(record, inference)


if __name__ == "__main__":
    run()
