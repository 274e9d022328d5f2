"""Stage 1: turn the CPC1 release into what a listener with hearing loss would hear, ear by ear.

    python prepare_data.py path.root=/data/cpc1                    # closed track
    python prepare_data.py path.root=/data/cpc1 cpc1_track=open

Reads   the release, and only reads it: metadata/, clarity_data/HA_outputs/ and clarity_data/scenes/
Writes  exp_folder/data_split/scene_{train,dev}_list{track}.json   the split of the training scenes
        exp_folder/metadata/                                       copies of the lists used
        exp_folder/cpc1_asr_data{track}/                           `$data_root` in the tables:
            {train,test}/{left,right}_{msbg,ref}/*.wav             16 kHz ear signals, float32
            {left,right,binaural}_{train,dev,test}_{msbg,ref}.csv  tables for SpeechBrain
            prepared.jsonl                                         what is done, and from what

Each ear of a hearing-aid output goes alone through the MSBG hearing-loss simulation with that ear's
audiogram, then to 16 kHz, and loses its first two seconds, in which nobody speaks. The clean
reference gets the last two steps only.

All metadata and headers are checked first. `check_only=true` stops there and looks ahead to what
the later stages need; `skip_bad=true` goes on without the signals that cannot be used and lists
them in exp_folder/left_out{track}.json. A run that was stopped goes on where it was, and only what
changed is made again. `shard=3 n_shards=32` does one part of 32; a last run without them writes the
tables.
"""

import itertools
import logging
import math
import random
import shutil
import time
from collections import Counter
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import scipy.io.wavfile
import soundfile as sf
import torch
import torchaudio.functional
from omegaconf import DictConfig, OmegaConf

from intelligibility.corpora.check import (
    CheckedRelease,
    Findings,
    Source,
    check_disk,
    check_later_stages,
    check_release,
)
from intelligibility.corpora.cpc1 import (
    ASR_RATE,
    EARS,
    KINDS,
    NO_SPEECH,
    SPLITS,
    Cpc1,
    listed,
    write_table,
)
from intelligibility.journal import Journal, file_stamp
from intelligibility.parallel import in_processes
from intelligibility.runs import (
    RecipeError,
    atomic_path,
    progress,
    read_json,
    reports_errors,
    shard_of,
    sole_run,
    write_json,
)
from msbg import Ear, simulate

logger = logging.getLogger(__name__)

# Windowed sinc under a Kaiser window, as librosa's "kaiser_best" (resampy, R. Lee & B. McFee).
KAISER_BEST = {
    "lowpass_filter_width": 64,
    "rolloff": 0.9475937167399596,
    "resampling_method": "sinc_interp_kaiser",
    "beta": 14.769656459379492,
}


@hydra.main(config_path=".", config_name="config", version_base="1.3")
@reports_errors
def run(cfg: DictConfig) -> None:
    """Prepare one track of the release."""
    cpc1 = Cpc1.from_config(cfg)
    ear_settings = check_ear_settings(cfg)
    release = check_release(cpc1)
    check_disk(cpc1, release)
    report(release.faults, check_later_stages(cfg, cpc1, release), cfg)
    if cfg.check_only:
        return
    with sole_run(cpc1.data_folder, "prepare_data", cfg.shard, cfg.n_shards):
        if cfg.n_shards == 1:
            remove_partial_files(cpc1.data_folder)
        split_of = split_scenes(cpc1, release.train_scenes, cfg.dev_percent, cfg.seed)
        durations = make_ear_signals(cpc1, release, ear_settings, cfg)
        if cfg.n_shards > 1:
            logger.info(
                "Shard %d of %d is done; a run without shard writes the tables",
                cfg.shard,
                cfg.n_shards,
            )
            return
        write_tables(cpc1, release, split_of, durations)
        keep_metadata(cpc1)
        list_left_out(cpc1, release.faults.left_out)
    logger.info("Wrote %d ear signals and their tables to %s", 2 * len(durations), cpc1.data_folder)


def check_ear_settings(cfg: DictConfig) -> dict[str, Any]:
    """Try the settings of MSBG before thousands of files do."""
    settings = OmegaConf.to_container(cfg.MSBGEar)
    try:
        Ear(**settings)
        levels = [float(settings[key]) for key in ("equiv_0db_spl", "ahr")]
    except (ValueError, TypeError) as error:
        raise RecipeError(f"MSBGEar: {error}") from None
    if not np.isfinite(levels).all():
        raise RecipeError(f"MSBGEar: levels are {levels}, expected dB")
    return settings


def remove_partial_files(folder: Path) -> None:
    """Remove what killed runs left under temporary names."""
    for path in folder.rglob(".*.part.*"):
        path.unlink()


def report(faults: Findings, later: Findings, cfg: DictConfig) -> None:
    """Log all that is wrong; stop unless it may be left out."""
    if later.groups:
        logger.warning("The later stages will lack:\n%s", later.text())
    if faults.groups:
        logger.warning("The release is not whole:\n%s", faults.text())
    if cfg.check_only and (faults.groups or later.groups):
        raise RecipeError("Checked: not ready, for the reasons above")
    if cfg.check_only:
        logger.info("Checked: ready")
    elif faults.blocking or (faults.groups and not cfg.skip_bad):
        raise RecipeError(
            "Nothing was made. Mend the above, or leave out what is faulty with skip_bad=true"
        )


def split_scenes(cpc1: Cpc1, scenes: list[str], dev_percent: float, seed: int) -> dict[str, str]:
    """Draw the development scenes; all signals of a scene stay together.

    The same seed, share and scenes give the same split; lists that were put there by hand are kept.

    Returns
    -------
    dict
        "train" or "dev" per training scene.
    """
    dev = set(random.Random(seed).sample(scenes, math.floor(len(scenes) * dev_percent)))
    drawn = {"train": [s for s in scenes if s not in dev], "dev": sorted(dev)}
    files = {split: cpc1.scene_list(split) for split in drawn}
    record = files["train"].with_name(f"made_by{cpc1.track}.json")
    made_by = read_json(record, dict) if record.is_file() else {}

    found = {split: read_json(path, list) for split, path in files.items() if path.is_file()}
    if len(found) == 2 and found != made_by.get("drawn"):
        if sorted(map(str, found["train"] + found["dev"])) != scenes:
            raise RecipeError(
                f"{record.parent}: the two scene lists were made by hand and do not hold each of "
                f"the {len(scenes)} training scenes once; mend them, or delete them for new ones"
            )
        logger.info("Kept the scene lists found in %s", record.parent)
        drawn = found
    elif found != drawn:
        if found:
            logger.warning("Other scenes, seed or dev_percent than before: a new split is drawn")
        for path in files.values():
            path.unlink(missing_ok=True)  # half a new split must not look like lists made by hand
        write_json(record, {"seed": seed, "dev_percent": dev_percent, "drawn": drawn})
        for split, path in files.items():
            write_json(path, drawn[split])
    logger.info("%d training and %d dev scenes", len(drawn["train"]), len(drawn["dev"]))
    return {scene: split for split, names in drawn.items() for scene in names}


def make_ear_signals(
    cpc1: Cpc1, release: CheckedRelease, ear_settings: dict[str, Any], cfg: DictConfig
) -> dict[str, float]:
    """Make the ear signals that are not there yet, or were made from something else.

    Returns
    -------
    dict
        Duration in s of the 16 kHz signals, per key of a source; what failed is missing.
    """
    durations = {source.key: source.duration for source in release.sources}
    mine = set(shard_of(durations, cfg.shard, cfg.n_shards))
    sources = {source.key: source for source in release.sources if source.key in mine}
    made_by = {key: what_makes(source, ear_settings) for key, source in sources.items()}
    targets = {key: ear_wavs(cpc1, source) for key, source in sources.items()}
    with Journal(cpc1.data_folder / "prepared.jsonl", cfg.shard, cfg.n_shards) as journal:
        done = {key: journal.result(key, made_by[key]) for key in sources}
        todo = [key for key in sources if not is_whole(targets[key], done[key])]
        if journal.outdated:
            logger.warning("Making ear signals anew, for a change of: %s", dict(journal.outdated))
            remove_tables(cpc1)  # no later stage may take a mixture of old and new
        logger.info("%d of %d files are done already", len(sources) - len(todo), len(sources))
        started = time.monotonic()
        calls = [(sources[key], targets[key], ear_settings) for key in todo]
        made = in_processes(make_ear_signal, calls, cfg.n_jobs)
        for key, result in progress(made, "ear signals", len(todo)):
            done[key] = result
            if result["fault"] is None:
                journal.add(key, made_by[key], result)
    logger.info("%d files took %.1f s", len(todo), time.monotonic() - started)
    log_resampled([sources[key] for key in todo], ear_settings["sample_rate"])
    leave_out_failed(release, {sources[key]: done[key]["fault"] for key in sources}, cfg.skip_bad)
    return {key: result["duration"] for key, result in done.items() if result["fault"] is None}


def make_ear_signal(
    source: Source, targets: tuple[Path, Path], ear_settings: dict
) -> tuple[str, dict]:
    """Read one stereo file, simulate the hearing loss of its listener, write both ears at 16 kHz.

    Returns
    -------
    tuple of str and dict
        The source's key, and {"duration" in s, "bytes" of each file, "fault" in words or None}.
    """
    try:
        signal, rate = read_stereo(source), source.rate
        if source.listener is not None:
            signal = resample(signal, rate, ear_settings["sample_rate"])
            signal = simulate(signal, source.listener, **ear_settings)
            rate = ear_settings["sample_rate"]
    except (sf.SoundFileError, ValueError, OSError) as error:
        return source.key, {"fault": str(error)}
    speech = resample(signal, rate, ASR_RATE)[int(NO_SPEECH * ASR_RATE) :]
    for channel, target in zip(speech.T.astype(np.float32), targets, strict=True):
        write_wav(target, channel)
    n_bytes = [target.stat().st_size for target in targets]
    return source.key, {"duration": len(speech) / ASR_RATE, "bytes": n_bytes, "fault": None}


def read_stereo(source: Source) -> np.ndarray:
    """Read a stereo file: (n_samples, 2), float64, -1 to 1."""
    signal, rate = sf.read(source.path, dtype="float64", always_2d=True)
    if (len(signal), rate) != (source.frames, source.rate):
        raise ValueError(
            f"{len(signal)} samples at {rate} Hz where the header promised {source.frames} at "
            f"{source.rate} Hz: the file changed while the run went on"
        )
    if not np.isfinite(signal).all():
        raise ValueError("samples that are not finite")
    return signal


def resample(signal: np.ndarray, rate: int, new_rate: int) -> np.ndarray:
    """Bring a signal (n_samples, n_channels) from one rate in Hz to another."""
    if rate == new_rate:
        return signal
    wave = torch.from_numpy(np.ascontiguousarray(signal.T))
    return torchaudio.functional.resample(wave, rate, new_rate, **KAISER_BEST).numpy().T


def write_wav(path: Path, signal: np.ndarray) -> None:
    """Write one ear, (n_samples,) float32: PCM 16 would clip the peaks that MSBG makes.

    scipy writes it, because libsndfile stamps a float file with the time: no two runs would agree.
    """
    try:
        with atomic_path(path) as part:
            scipy.io.wavfile.write(part, ASR_RATE, signal)
    except OSError as error:
        raise RecipeError(
            f"{path}: cannot be written ({error}); make room and run again: what is done is kept"
        ) from None


def ear_wavs(cpc1: Cpc1, source: Source) -> tuple[Path, Path]:
    """Return where the left and the right ear signal go."""
    left, right = (cpc1.ear_wav(source.split, source.kind, ear, source.name) for ear in EARS)
    return left, right


def what_makes(source: Source, ear_settings: dict) -> dict:
    """Return all that decides the ear signals: when any of it changes, they are made anew."""
    made_by = {"source": file_stamp(source.path), "resampling": KAISER_BEST}
    if source.listener is not None:
        ears = (source.listener.audiogram_left, source.listener.audiogram_right)
        made_by["MSBGEar"] = ear_settings
        made_by["audiograms"] = [[ear.frequencies.tolist(), ear.levels.tolist()] for ear in ears]
    return made_by


def is_whole(targets: tuple[Path, Path], result: dict | None) -> bool:
    """Tell whether both ear signals are there, in the size that was written."""
    return result is not None and all(
        target.is_file() and target.stat().st_size == n_bytes
        for target, n_bytes in zip(targets, result["bytes"], strict=True)
    )


def log_resampled(sources: list[Source], ear_rate: int) -> None:
    """Count the hearing-aid outputs that came at another rate than MSBG's."""
    rates = Counter(source.rate for source in sources if source.kind == "msbg")
    for rate, count in sorted(rates.items()):
        how = "as it is" if rate == ear_rate else f"resampled to {ear_rate} Hz"
        logger.info("%d hearing-aid outputs at %d Hz went into MSBG %s", count, rate, how)


def leave_out_failed(
    release: CheckedRelease, faults: dict[Source, str | None], skip_bad: bool
) -> None:
    """Stop when files failed, or note which signals have to do without them."""
    for source, fault in faults.items():
        if fault is not None:
            release.leave_out(source, fault)
    failed = [f"{source.path}: {fault}" for source, fault in faults.items() if fault is not None]
    if failed and not skip_bad:
        raise RecipeError(
            f"{len(failed)} of {len(faults)} files failed, the others are done: {listed(failed)}; "
            "mend them and run again, or leave them out with skip_bad=true"
        )


def remove_tables(cpc1: Cpc1) -> None:
    """Remove the CSVs; the later stages ask for this one then."""
    for ear, split, kind in itertools.product((*EARS, "binaural"), SPLITS, KINDS):
        cpc1.table(ear, split, kind).unlink(missing_ok=True)


def write_tables(
    cpc1: Cpc1, release: CheckedRelease, split_of: dict[str, str], durations: dict[str, float]
) -> None:
    """Write the CSVs that SpeechBrain reads: per ear, and both ears in one ("binaural")."""
    rows = {key: [] for key in itertools.product((*EARS, "binaural"), SPLITS, KINDS)}
    for folder, entries in release.signals.items():
        for entry in entries:
            if entry.signal in release.faults.left_out:
                continue
            split = "test" if folder == "test" else split_of[entry.scene]
            for kind, name in (("msbg", entry.signal), ("ref", entry.scene)):
                for ear in EARS:
                    row = {
                        "ID": entry.signal,
                        "duration": durations[f"{folder}/{kind}/{name}"],
                        "wav": cpc1.ear_wav(split, kind, ear, name),
                        "spk_id": entry.listener,
                        "wrd": entry.prompt.upper(),
                    }
                    rows[ear, split, kind].append(row)
                    rows["binaural", split, kind].append(row | {"ID": f"{ear}_{entry.signal}"})
    for (ear, split, kind), table in rows.items():
        write_table(cpc1.table(ear, split, kind), table)


def keep_metadata(cpc1: Cpc1) -> None:
    """Copy the lists that were used, so that the later stages need no release."""
    for split in ("train", "test"):
        for source in (cpc1.metadata_file(split), cpc1.listeners_file(split)):
            with atomic_path(cpc1.kept_metadata(source.name)) as part:
                shutil.copyfile(source, part)


def list_left_out(cpc1: Cpc1, left_out: dict[str, str]) -> None:
    """Write which signals were left out and why; no file when none was."""
    path = cpc1.results_file("left_out", ".json")
    if left_out:
        write_json(path, dict(sorted(left_out.items())))
        logger.warning("%d signals were left out; %s says why", len(left_out), path)
    else:
        path.unlink(missing_ok=True)


if __name__ == "__main__":
    run()
