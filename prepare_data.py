"""Stage 1: turn the CPC1 release into what a listener with hearing loss would hear, ear by ear.

    python prepare_data.py path.root=/data/cpc1                    # closed track
    python prepare_data.py path.root=/data/cpc1 cpc1_track=open

Reads   the release, and only reads it: metadata/, clarity_data/HA_outputs/ and clarity_data/scenes/
Writes  exp_folder/data_split/scene_{train,dev}_list{track}.json   the split of the training scenes
        exp_folder/metadata/                                       copies of the lists that were used
        exp_folder/cpc1_asr_data{track}/                           `$data_root` in the tables:
            {train,test}/{left,right}_{msbg,ref}/*.wav             16 kHz ear signals, float32
            {left,right,binaural}_{train,dev,test}_{msbg,ref}.csv  tables for SpeechBrain
            prepared.jsonl                                         what is done, and from what

Each ear of a hearing-aid output goes alone through the MSBG hearing-loss simulation with that ear's
audiogram, then to 16 kHz, and loses its first two seconds, in which nobody speaks. The clean
reference gets the last two steps only. A run that was stopped goes on where it was.
"""

import itertools
import logging
import math
import random
import shutil
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import hydra
import numpy as np
import soundfile as sf
import torch
import torchaudio.functional
from joblib import Parallel, delayed, parallel_config
from omegaconf import DictConfig, OmegaConf
from tqdm import tqdm

from intelligibility.cpc1 import EARS, KINDS, SPLITS, Cpc1, listed, write_table
from intelligibility.journal import Journal, file_stamp
from intelligibility.runs import RecipeError, atomic_path, read_json, reports_errors, write_json
from msbg import Listener, simulate

logger = logging.getLogger(__name__)

ASR_RATE = 16000  # Hz
NO_SPEECH = 2.0  # s at the start of every scene, before the target speaks
# Windowed sinc under a Kaiser window, as librosa's "kaiser_best" (resampy, R. Lee & B. McFee).
KAISER_BEST = {
    "lowpass_filter_width": 64,
    "rolloff": 0.9475937167399596,
    "resampling_method": "sinc_interp_kaiser",
    "beta": 14.769656459379492,
}


@dataclass(frozen=True)
class EarJob:
    """One stereo file of the release to be made into two ear signals.

    `listener` is None for a reference, which nobody's hearing loss touches.
    """

    split: str
    kind: str
    name: str
    source: Path
    targets: tuple[Path, Path]
    listener: Listener | None

    @property
    def key(self) -> str:
        """Return the job's name in the journal."""
        return f"{self.split}/{self.kind}/{self.name}"


@hydra.main(config_path=".", config_name="config", version_base="1.3")
@reports_errors
def run(cfg: DictConfig) -> None:
    """Prepare one track of the release."""
    started = time.monotonic()
    cpc1 = Cpc1.from_config(cfg)
    scenes = split_scenes(cpc1, cfg.dev_percent, cfg.seed)
    jobs = list_jobs(cpc1)
    ear_settings = OmegaConf.to_container(cfg.MSBGEar)
    durations = make_ear_signals(cpc1, jobs, ear_settings, cfg)
    if cfg.n_shards > 1:
        logger.info(
            "Shard %d of %d is done; run without shard to write the tables", cfg.shard, cfg.n_shards
        )
        return
    write_tables(cpc1, scenes, durations)
    keep_metadata(cpc1)
    logger.info(
        "Wrote the ear signals and tables of %d files to %s in %.0f s",
        len(jobs),
        cpc1.data_folder,
        time.monotonic() - started,
    )


def split_scenes(cpc1: Cpc1, dev_percent: float, seed: int) -> dict[str, str]:
    """Draw the development scenes; all signals of a scene stay together.

    The same seed, share and scenes give the same split; lists that were put there by hand are kept.

    Returns
    -------
    dict
        "train" or "dev" per training scene.
    """
    if not 0 <= dev_percent < 1:
        raise RecipeError(
            f"dev_percent={dev_percent}: expected a share of the scenes, 0 to below 1"
        )
    scenes = sorted({signal.scene for signal in cpc1.signals("train")})
    if not scenes:
        raise RecipeError(f"{cpc1.metadata_file('train')}: lists no signal; restore the file")
    dev = set(random.Random(seed).sample(scenes, math.floor(len(scenes) * dev_percent)))
    drawn = {"train": [s for s in scenes if s not in dev], "dev": sorted(dev)}
    made_by = {"seed": seed, "dev_percent": dev_percent, "n_scenes": len(scenes)}
    record = cpc1.scene_list("train").with_name(f"made_by{cpc1.track}.json")

    lists = {split: cpc1.scene_list(split) for split in drawn}
    if all(path.is_file() for path in lists.values()) and not record.is_file():
        drawn = {split: read_json(path, list) for split, path in lists.items()}
        if sorted(drawn["train"] + drawn["dev"]) != scenes:
            raise RecipeError(
                f"{lists['train'].parent}: the two lists do not hold each of the {len(scenes)} "
                "training scenes once; mend them, or delete them for a new split"
            )
        logger.info("Kept the scene lists found in %s", lists["train"].parent)
    else:
        if record.is_file() and read_json(record, dict) != made_by:
            logger.warning(
                "The split was made with other settings; drawing it anew with %s", made_by
            )
        write_json(record, made_by)
        for split, path in lists.items():
            write_json(path, drawn[split])
    logger.info("%d training and %d dev scenes", len(drawn["train"]), len(drawn["dev"]))
    return {scene: split for split, names in drawn.items() for scene in names}


def list_jobs(cpc1: Cpc1) -> list[EarJob]:
    """List every signal with its listener, and every scene's reference once."""
    jobs = []
    for split in ("train", "test"):
        listeners = cpc1.listeners(split)
        signals = cpc1.signals(split)
        unknown = sorted({s.listener for s in signals} - set(listeners))
        if unknown:
            raise RecipeError(
                f"{cpc1.listeners_file(split)}: no audiogram for listener {listed(unknown)}, who is "
                f"named in {cpc1.metadata_file(split).name}; add it, or remove those signals"
            )
        twice = [name for name, n in Counter(s.signal for s in signals).items() if n > 1]
        if twice:
            raise RecipeError(
                f"{cpc1.metadata_file(split)}: more than one entry for {listed(twice)}"
            )
        for signal in signals:
            source = cpc1.hearing_aid_wav(split, signal.signal)
            jobs.append(
                _job(cpc1, split, "msbg", signal.signal, source, listeners[signal.listener])
            )
        for scene in sorted({s.scene for s in signals}):
            jobs.append(_job(cpc1, split, "ref", scene, cpc1.reference_wav(split, scene), None))
    missing = [str(job.source) for job in jobs if not job.source.is_file()]
    if missing:
        raise RecipeError(
            f"{len(missing)} of {len(jobs)} files named in the metadata are missing: "
            f"{listed(missing, 3)}; complete the release, or remove their entries from the metadata"
        )
    return jobs


def _job(
    cpc1: Cpc1, split: str, kind: str, name: str, source: Path, listener: Listener | None
) -> EarJob:
    targets = tuple(cpc1.ear_wav(split, kind, ear, name) for ear in EARS)
    return EarJob(split, kind, name, source, targets, listener)


def make_ear_signals(
    cpc1: Cpc1, jobs: list[EarJob], ear_settings: dict, cfg: DictConfig
) -> dict[str, float]:
    """Make the ear signals that are not there yet, or were made from something else.

    Returns
    -------
    dict
        Duration in s of the 16 kHz signal, per job key.
    """
    jobs = shard_of(jobs, cfg.shard, cfg.n_shards)
    made_by = {job.key: what_makes(job, ear_settings) for job in jobs}
    with Journal(cpc1.data_folder / "prepared.jsonl", cfg.shard, cfg.n_shards) as journal:
        todo = [job for job in jobs if not is_done(job, journal.result(job.key, made_by[job.key]))]
        if journal.outdated:
            logger.warning("Making signals anew, since these changed: %s", dict(journal.outdated))
        logger.info("%d of %d files are done already", len(jobs) - len(todo), len(jobs))
        resampled, failed = Counter(), []
        with parallel_config("loky", inner_max_num_threads=1):
            results = Parallel(n_jobs=cfg.n_jobs, return_as="generator_unordered")(
                delayed(make_ear_signal)(job, ear_settings) for job in todo
            )
            for key, result in tqdm(results, total=len(todo), unit="file", desc="ear signals"):
                if "error" in result:
                    failed.append(result["error"])
                    continue
                journal.add(key, made_by[key], result)
                if key.split("/")[1] == "msbg" and result["rate"] != ear_settings["sample_rate"]:
                    resampled[result["rate"]] += 1
        for rate, count in sorted(resampled.items()):
            logger.info("%d files at %d Hz were resampled for MSBG", count, rate)
        if failed:
            raise RecipeError(f"{len(failed)} of {len(todo)} files failed: {listed(failed)}")
        return {job.key: journal.latest[job.key]["result"]["duration"] for job in jobs}


def shard_of(jobs: list[EarJob], shard: int, n_shards: int) -> list[EarJob]:
    """Return this shard's part of the work, about equal in duration to the others'."""
    if not 0 <= shard < n_shards:
        raise RecipeError(
            f"shard={shard} n_shards={n_shards}: expected shard from 0 to n_shards - 1"
        )
    if n_shards == 1:
        return jobs
    longest_first = sorted(jobs, key=lambda job: (-sf.info(job.source).duration, job.key))
    loads, parts = [0.0] * n_shards, [[] for _ in range(n_shards)]
    for job in longest_first:
        lightest = loads.index(min(loads))
        loads[lightest] += sf.info(job.source).duration
        parts[lightest].append(job)
    return parts[shard]


def what_makes(job: EarJob, ear_settings: dict) -> dict:
    """Return all that decides a job's ear signals: when any of it changes, they are made anew."""
    made_by = {"source": file_stamp(job.source), "resampling": KAISER_BEST}
    if job.listener is not None:
        ears = (job.listener.audiogram_left, job.listener.audiogram_right)
        made_by["MSBGEar"] = ear_settings
        made_by["audiograms"] = [[list(ear.frequencies), list(ear.levels)] for ear in ears]
    return made_by


def is_done(job: EarJob, result: dict | None) -> bool:
    """Tell whether both ear signals are there in the size that was written."""
    return result is not None and all(
        target.is_file() and target.stat().st_size == n_bytes
        for target, n_bytes in zip(job.targets, result["bytes"], strict=True)
    )


def make_ear_signal(job: EarJob, ear_settings: dict) -> tuple[str, dict]:
    """Read one stereo file, simulate the hearing loss of its listener, write both ears at 16 kHz.

    Returns
    -------
    tuple of str and dict
        The job's key, and {"rate", "duration", "bytes"} or {"error"}.
    """
    torch.set_num_threads(1)
    try:
        signal, rate = read_stereo(job.source)
        source_rate = rate
        if job.listener is not None:
            signal = resample(signal, rate, ear_settings["sample_rate"])
            signal = simulate(signal, job.listener, **ear_settings)
            rate = ear_settings["sample_rate"]
        speech = resample(signal, rate, ASR_RATE)[int(NO_SPEECH * ASR_RATE) :]
        if len(speech) == 0:
            raise ValueError(f"lasts no longer than the {NO_SPEECH} s before the speech")
        for channel, target in zip(speech.T, job.targets, strict=True):
            with atomic_path(target) as part:
                # PCM 16 would clip the peaks that MSBG makes.
                sf.write(part, channel, ASR_RATE, subtype="FLOAT", format="WAV")
    except (sf.SoundFileError, ValueError, OSError) as error:
        return job.key, {"error": f"{job.source}: {error}"}
    n_bytes = [target.stat().st_size for target in job.targets]
    return job.key, {"rate": source_rate, "duration": len(speech) / ASR_RATE, "bytes": n_bytes}


def read_stereo(path: Path) -> tuple[np.ndarray, int]:
    """Read a stereo file: (n_samples, 2), float64, -1 to 1, and its rate in Hz."""
    signal, rate = sf.read(path, dtype="float64", always_2d=True)
    if signal.shape[1] != 2:
        raise ValueError(f"has {signal.shape[1]} channels, expected 2 (left and right ear)")
    if not np.isfinite(signal).all():
        raise ValueError("holds samples that are not finite")
    return signal, rate


def resample(signal: np.ndarray, rate: int, new_rate: int) -> np.ndarray:
    """Bring a signal (n_samples, n_channels) from one rate in Hz to another."""
    if rate == new_rate:
        return signal
    wave = torch.from_numpy(np.ascontiguousarray(signal.T))
    return torchaudio.functional.resample(wave, rate, new_rate, **KAISER_BEST).numpy().T


def write_tables(cpc1: Cpc1, split_of: dict[str, str], durations: dict[str, float]) -> None:
    """Write the CSVs that SpeechBrain reads: per ear, and both ears in one ("binaural")."""
    rows = {key: [] for key in itertools.product((*EARS, "binaural"), SPLITS, KINDS)}
    for release_split in ("train", "test"):
        for signal in cpc1.signals(release_split):
            split = "test" if release_split == "test" else split_of[signal.scene]
            for kind in KINDS:
                name = signal.signal if kind == "msbg" else signal.scene
                for ear in EARS:
                    row = {
                        "ID": signal.signal,
                        "duration": durations[f"{release_split}/{kind}/{name}"],
                        "wav": cpc1.ear_wav(split, kind, ear, name),
                        "spk_id": signal.listener,
                        "wrd": signal.prompt.upper(),
                    }
                    rows[ear, split, kind].append(row)
                    rows["binaural", split, kind].append(row | {"ID": f"{ear}_{signal.signal}"})
    for (ear, split, kind), table in rows.items():
        write_table(cpc1.table(ear, split, kind), table)


def keep_metadata(cpc1: Cpc1) -> None:
    """Copy the lists that were used, so that evaluate.py needs no release."""
    for split in ("train", "test"):
        for source in (cpc1.metadata_file(split), cpc1.listeners_file(split)):
            with atomic_path(cpc1.kept_metadata(source.name)) as part:
                shutil.copyfile(source, part)


if __name__ == "__main__":
    run()
