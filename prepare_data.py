"""Stage 1: turn the CPC1 release into what a listener with hearing loss would hear, ear by ear.

    python prepare_data.py path.root=/data/cpc1                    # closed track
    python prepare_data.py path.root=/data/cpc1 cpc1_track=open

Reads   the release, and only reads it: metadata/, clarity_data/HA_outputs/ and clarity_data/scenes/
Writes  exp_folder/data_split/scene_{train,dev}_list{track}.json   the split of the training scenes
        exp_folder/presentations{track}.json                       the signals used, with responses
        exp_folder/cpc1_asr_data{track}/                           `$data_root` in the tables:
            {train,test}/{left,right}_{msbg,ref}/*.wav             16 kHz ear signals, float32
            {left,right,binaural}_{train,dev,test}_{msbg,ref}.csv  tables for SpeechBrain
            prepared.jsonl                                         what is done, and from what

Each ear of a hearing-aid output goes alone through the MSBG hearing-loss simulation with that ear's
audiogram, then to 16 kHz, and loses its first two seconds, in which nobody speaks. The clean
reference gets the last two steps only, and with `hearing_loss=none` so does all else: that lies in
exp_folder/no_hearing_loss, on the same scenes, and shows what the simulation is worth.

All metadata and headers are checked first. `check_only=true` stops there and says what would stop
which stage; `skip_bad=true` goes on without the signals that cannot be used and lists them in
exp_folder/left_out{track}.json. An archive whose path is null is not asked for:
path.cpc1_train_data=null prepares test signals alone (`calibration=other.json` says that their
mapping comes from elsewhere). A run that was stopped goes on where it was, and only what changed is
made again. `shard=3 n_shards=32` does one part of 32; a last run without them writes the tables.
"""

import itertools
import logging
import shutil
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import scipy.io.wavfile
import soundfile as sf
from omegaconf import DictConfig, OmegaConf

from intelligibility.command_line import provenance, reports_errors
from intelligibility.corpora import CORPORA, read_archives
from intelligibility.corpora.presentation import (
    Presentation,
    Problem,
    digest,
    in_lines,
    left_out,
    write_presentations,
)
from intelligibility.ears import ASR_RATE, KAISER_BEST, ear_signals
from intelligibility.experiment import EARS, KINDS, SPLITS, Experiment, write_table
from intelligibility.journal import Journal, file_stamp
from intelligibility.onset import SETTINGS as ONSET_SETTINGS
from intelligibility.onset import lasting, lead_in_of
from intelligibility.parallel import in_processes
from intelligibility.preparation.check import (
    Source,
    check_archives,
    check_headers,
    check_something_left,
    processed_of,
    reference_of,
    usable,
)
from intelligibility.preparation.readiness import check_later_stages
from intelligibility.preparation.split import choose_split, write_split
from intelligibility.runs import (
    RecipeError,
    atomic_path,
    is_number,
    listed,
    progress,
    shard_of,
    sole_run,
    write_json,
)
from msbg import Ear

logger = logging.getLogger(__name__)

READS = (
    "hearing_loss",
    *("dev_percent", "n_jobs", "check_only", "skip_bad", "shard", "n_shards", "MSBGEar"),
    *("asr_config", "asr_overrides", "pretrained", "from_scratch", "calibration"),  # to look ahead
)
LOUD = 8.0  # samples beyond it were never scaled: full scale is 1


@hydra.main(config_path=".", config_name="config", version_base="1.3")
@reports_errors(reads=READS)
def run(cfg: DictConfig) -> None:
    """Prepare one track of the release."""
    experiment = Experiment.from_config(cfg)
    refuse_other_corpora(experiment)
    msbg_settings = check_msbg_settings(cfg)

    # What there is, what is wrong with it, and what the later stages will lack
    archives = read_archives(cfg, experiment.track)
    split_of, hand_made = choose_split(experiment, archives, cfg)
    sources, problems = check_headers(archives)
    problems = [*check_archives(archives), *problems]
    used = usable(archives, left_out(problems))
    dev_scenes = {scene for scene, split in split_of.items() if split == "dev"}
    problems += check_later_stages(cfg, experiment, used, dev_scenes)
    used = usable(archives, left_out(problems))
    sources = needed(sources, used)
    if cfg.hearing_loss == "none":
        sources = [replace(source, listener=None) for source in sources]
    problems += [*check_something_left(archives, used), *check_disk(experiment, sources)]
    gate(problems, cfg)
    if cfg.check_only:
        return

    # The ear signals, and last the tables, without which no later stage begins
    with sole_run(experiment.data_folder, "prepare_data", cfg.shard, cfg.n_shards):
        if cfg.n_shards == 1:
            remove_partial_files(experiment.data_folder)
        if write_split(experiment, split_of, cfg, hand_made):
            remove_tables(experiment)  # they are of the split before
        done, failed = make_ear_signals(experiment, sources, msbg_settings, cfg)
        if cfg.n_shards > 1:
            logger.info(
                "Shard %d of %d is done; a run without shard writes the tables",
                cfg.shard,
                cfg.n_shards,
            )
            return
        problems += problems_of_failed(used, failed)
        used = usable(archives, left_out(problems))
        write_tables(experiment, used, split_of, done)
        write_presentations(experiment.presentations, with_digests(used, done), provenance(cfg))
        list_left_out(experiment, left_out(problems))
    logger.info(
        "Wrote %d ear signals and their tables to %s", 2 * len(done), experiment.data_folder
    )


def refuse_other_corpora(experiment: Experiment) -> None:
    """Keep an experiment on one corpus from being written over by one on another."""
    for corpus in CORPORA:
        other = replace(experiment, corpus=corpus)
        if corpus != experiment.corpus and other.prepared_journal.is_file():
            raise RecipeError(
                f"{experiment.exp_folder} holds an experiment on {corpus}; give corpus="
                f"{experiment.corpus} a path.exp_folder of its own"
            )


def check_msbg_settings(cfg: DictConfig) -> dict[str, Any]:
    """Try the settings of MSBG before thousands of files do."""
    settings = OmegaConf.to_container(cfg.MSBGEar)
    for key in ("equiv_0db_spl", "ahr"):
        if not is_number(settings[key]) or not np.isfinite(settings[key]):
            raise RecipeError(f"MSBGEar.{key}={settings[key]}: expected dB")
    try:
        Ear(**settings)
    except (ValueError, TypeError) as error:
        raise RecipeError(f"MSBGEar: {error}") from None
    return settings


# Before work


def needed(sources: list[Source], used: Mapping[str, list[Presentation]]) -> list[Source]:
    """Return the sources that some usable presentation needs."""
    keys = {
        source(archive, one).key
        for archive, presentations in used.items()
        for one in presentations
        for source in (processed_of, reference_of)
    }
    return [source for source in sources if source.key in keys]


def check_disk(experiment: Experiment, sources: list[Source]) -> list[Problem]:
    """Compare the free space with what the ear signals that are not there yet will take."""
    missing = [source for source in sources if not ear_wavs(experiment, source)[-1].is_file()]
    seconds = sum(source.duration - (source.lead_in or 0) for source in missing)
    needs = seconds * ASR_RATE * 4 * len(EARS) / 1e9  # float32
    folder = experiment.data_folder
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free / 1e9
    logger.info("The ear signals to be made take %.2f GB of %.1f GB free", needs, free)
    if needs <= free:
        return []
    where = f"{folder}: {needs:.2f} GB needed, {free:.2f} GB free"
    return [Problem("disk too full", where, blocking=True)]


def gate(problems: list[Problem], cfg: DictConfig) -> None:
    """Log all problems; stop here unless what is faulty may be left out."""
    for script in ("", "prepare_data.py", "train_asr.py", "infer.py", "evaluate.py"):
        if group := [problem for problem in problems if problem.stops == script]:
            what = f"This stops {script}" if script else "To know (it stops nothing)"
            logger.warning("%s:\n%s", what, in_lines(group))
    stopped = sorted({problem.stops for problem in problems} - {""})
    if cfg.check_only:
        if stopped:
            raise RecipeError(
                f"Checked: not ready, for the reasons above. Stopped: {', '.join(stopped)}"
            )
        logger.info("Checked: ready")
        return
    faults = [problem for problem in problems if problem.stops == "prepare_data.py"]
    if any(fault.blocking for fault in faults) or (faults and not cfg.skip_bad):
        remedy = "" if any(f.blocking for f in faults) else ", or leave it out with skip_bad=true"
        raise RecipeError(f"Nothing was made. Mend what is faulty, as listed above{remedy}")


# The ear signals


def remove_partial_files(folder: Path) -> None:
    """Remove what killed runs left under temporary names."""
    for path in folder.rglob(".*.part.*"):
        path.unlink()


def make_ear_signals(
    experiment: Experiment, sources: list[Source], msbg_settings: dict[str, Any], cfg: DictConfig
) -> tuple[dict[str, dict[str, Any]], dict[Source, str]]:
    """Make the ear signals that are not there yet, or were made from something else.

    Returns
    -------
    done : dict
        Per key of a source: `duration` in s of the 16 kHz signals, `made_from`, a digest, and
        the `lead_in` in s that was cut off.
    failed : dict
        What is wrong with the sources that failed.
    """
    durations = {source.key: source.duration for source in sources}
    mine = set(shard_of(durations, cfg.shard, cfg.n_shards))
    part = {source.key: source for source in sources if source.key in mine}
    made_by = {key: what_makes(source, msbg_settings) for key, source in part.items()}
    targets = {key: ear_wavs(experiment, source) for key, source in part.items()}
    with Journal(experiment.prepared_journal, cfg.shard, cfg.n_shards) as journal:
        results = {key: journal.result(key, made_by[key]) for key in part}
        todo = [key for key in part if not is_there(targets[key], results[key])]
        if journal.outdated:
            logger.warning("Making ear signals anew, for a change of: %s", dict(journal.outdated))
            remove_tables(experiment)  # no later stage may take a mixture of old and new
        logger.info("%d of %d files are done already", len(part) - len(todo), len(part))
        started = time.monotonic()
        calls = [(part[key], targets[key], msbg_settings) for key in todo]
        made = in_processes(make_ear_signal, calls, cfg.n_jobs)
        for key, result in progress(made, "ear signals", len(todo)):
            results[key] = result
            if result["fault"] is None:
                journal.add(key, made_by[key], result)
    logger.info("%d files took %.1f s", len(todo), time.monotonic() - started)
    log_resampled([part[key] for key in todo], msbg_settings["sample_rate"])
    log_odd(results)
    failed = {part[key]: r["fault"] for key, r in results.items() if r["fault"] is not None}
    stop_at(failed, len(part), cfg.skip_bad)
    done = {
        key: {
            "duration": result["duration"],
            "made_from": digest(made_by[key]),
            "lead_in": result["lead_in"],
        }
        for key, result in results.items()
        if result["fault"] is None
    }
    return done, failed


def make_ear_signal(
    source: Source, targets: tuple[Path, Path], msbg_settings: dict[str, Any]
) -> tuple[str, dict[str, Any]]:
    """Read one stereo file, simulate the hearing loss of its listener, write both ears at 16 kHz.

    Returns
    -------
    tuple of str and dict
        The source's key, and {"duration" in s, "bytes" of each file, "odd": what is strange about
        the sound, "fault" in words or None}.
    """
    try:
        signal, lead_in = read_stereo(source), source.lead_in
        if source.cut_by is not None:
            reference, rate = sf.read(source.cut_by, always_2d=True)
            lead_in = lead_in_of(reference, rate)
            signal = lasting(signal, round(len(reference) / rate * source.rate))
        speech = ear_signals(signal, source.rate, source.listener, msbg_settings, lead_in)
        if not len(speech):
            raise ValueError(f"no longer than the {lead_in:g} s before the speech")
    except (sf.SoundFileError, ValueError, OSError) as error:
        return source.key, {"fault": str(error)}
    for channel, target in zip(speech.T, targets, strict=True):
        write_wav(target, channel)
    n_bytes = [target.stat().st_size for target in targets]
    result = {"duration": len(speech) / ASR_RATE, "bytes": n_bytes, "fault": None}
    return source.key, result | {"odd": oddity(signal), "lead_in": lead_in}


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


def oddity(signal: np.ndarray) -> str | None:
    """Say what is strange about a sound that can be processed all the same."""
    peak = float(np.abs(signal).max())
    if peak == 0:
        return "silent"
    return "samples far beyond full scale (1)" if peak > LOUD else None


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


def ear_wavs(experiment: Experiment, source: Source) -> tuple[Path, Path]:
    """Return where the left and the right ear signal go."""
    left, right = (
        experiment.ear_wav(source.archive, source.kind, ear, source.name) for ear in EARS
    )
    return left, right


def what_makes(source: Source, msbg_settings: dict[str, Any]) -> dict[str, Any]:
    """Return all that decides the ear signals: when any of it changes, they are made anew."""
    made_by = {
        "source": file_stamp(source.path),
        "resampling": KAISER_BEST,
        "lead_in": source.lead_in,
    }
    if source.cut_by is not None:
        made_by["cut_by"] = [file_stamp(source.cut_by), ONSET_SETTINGS]
    if source.listener is not None:
        ears = (source.listener.audiogram_left, source.listener.audiogram_right)
        made_by["MSBGEar"] = msbg_settings
        made_by["audiograms"] = [[ear.frequencies.tolist(), ear.levels.tolist()] for ear in ears]
    return made_by


def is_there(targets: tuple[Path, Path], result: dict[str, Any] | None) -> bool:
    """Tell whether both ear signals are there, in the size that was written."""
    return result is not None and all(
        target.is_file() and target.stat().st_size == n_bytes
        for target, n_bytes in zip(targets, result["bytes"], strict=True)
    )


def log_resampled(sources: list[Source], msbg_rate: int) -> None:
    """Count the hearing-aid outputs that came at another rate than MSBG's."""
    rates = Counter(source.rate for source in sources if source.kind == "msbg")
    for rate, count in sorted(rates.items()):
        how = "as it is" if rate == msbg_rate else f"resampled to {msbg_rate} Hz"
        logger.info("%d hearing-aid outputs at %d Hz went into MSBG %s", count, rate, how)


def log_odd(results: Mapping[str, dict[str, Any]]) -> None:
    """Name the files whose sound is strange; they are used as they are."""
    odd = [f"{key}: {result['odd']}" for key, result in results.items() if result.get("odd")]
    if odd:
        logger.warning("%d files are used, but strange: %s", len(odd), listed(odd))


def stop_at(failed: Mapping[Source, str], n_sources: int, skip_bad: bool) -> None:
    """Stop when files failed, unless they may be left out."""
    if failed and not skip_bad:
        reasons = [f"{source.path}: {fault}" for source, fault in failed.items()]
        raise RecipeError(
            f"{len(failed)} of {n_sources} files failed, the others are done: {listed(reasons)}; "
            "mend them and run again, or leave them out with skip_bad=true"
        )


def problems_of_failed(
    used: Mapping[str, list[Presentation]], failed: Mapping[Source, str]
) -> list[Problem]:
    """Return problems that leave out the presentations which need a file that failed."""
    problems = []
    for source, fault in failed.items():
        users = tuple(
            one.name
            for one in used[source.archive]
            if source.name == (one.name if source.kind == "msbg" else one.scene)
        )
        problems.append(Problem(fault, str(source.path), users))
    return problems


# The tables and records


def remove_tables(experiment: Experiment) -> None:
    """Remove the CSVs; the later stages ask for this one then."""
    for ear, split, kind in itertools.product((*EARS, "binaural"), SPLITS, KINDS):
        experiment.table(ear, split, kind).unlink(missing_ok=True)


def with_digests(
    used: Mapping[str, list[Presentation]], done: Mapping[str, dict[str, Any]]
) -> dict[str, list[Presentation]]:
    """Return the presentations with a digest each of what their ear signals were made from."""
    return {
        archive: [
            replace(
                one,
                lead_in=done[reference_of(archive, one).key]["lead_in"],
                made_from=digest(
                    [done[of(archive, one).key]["made_from"] for of in (processed_of, reference_of)]
                ),
            )
            for one in presentations
        ]
        for archive, presentations in used.items()
    }


def write_tables(
    experiment: Experiment,
    used: Mapping[str, list[Presentation]],
    split_of: Mapping[str, str],
    done: Mapping[str, dict[str, Any]],
) -> None:
    """Write the CSVs that SpeechBrain reads: per ear, and both ears in one ("binaural")."""
    rows = {key: [] for key in itertools.product((*EARS, "binaural"), SPLITS, KINDS)}
    for archive, presentations in used.items():
        for one in presentations:
            split = "test" if archive == "test" else split_of[one.scene]
            for source in (processed_of(archive, one), reference_of(archive, one)):
                for ear, wav in zip(EARS, ear_wavs(experiment, source), strict=True):
                    row = {
                        "ID": one.name,
                        "duration": done[source.key]["duration"],
                        "wav": wav,
                        "spk_id": one.listener.id,
                        "wrd": one.prompt.upper(),
                    }
                    rows[ear, split, source.kind].append(row)
                    binaural = row | {"ID": f"{ear}_{one.name}"}
                    rows["binaural", split, source.kind].append(binaural)
    for (ear, split, kind), table in rows.items():
        write_table(experiment.table(ear, split, kind), table)


def list_left_out(experiment: Experiment, reasons: Mapping[str, str]) -> None:
    """Write which signals were left out and why; no file when none was."""
    path = experiment.left_out
    if reasons:
        write_json(path, dict(sorted(reasons.items())))
        logger.warning("%d signals were left out; %s says why", len(reasons), path)
    else:
        path.unlink(missing_ok=True)


if __name__ == "__main__":
    run()
