"""Check before work: everything that is wrong with the files of a corpus, found from their headers.

No audio is read, and nothing here knows which corpus it is. All problems are reported at once,
grouped, with counts and examples; hours of work start only when none is left, or without what is
faulty when `skip_bad` says so.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig

from intelligibility.corpora import CORPORA
from intelligibility.corpora.presentation import (
    Archive,
    Presentation,
    Problem,
    in_lines,
    left_out,
)
from intelligibility.experiment import EARS, Experiment
from intelligibility.prediction.recording import LOWEST_RATE, header_of
from intelligibility.preparation.readiness import check_later_stages
from intelligibility.runs import ASR_RATE, SPEECH_SECONDS, RecipeError, lacking_room, progress
from intelligibility.words import words_of
from msbg import Ear, Listener
from msbg.audiogram import TRUSTED_DB_HL

logger = logging.getLogger(__name__)

RATES = (16000, 22050, 24000, 32000, 44100, 48000, 88200, 96000)  # Hz, a release may have
SHORTEST, LONGEST = SPEECH_SECONDS[0] + 0.03, SPEECH_SECONDS[1] - 1  # s, with room for rounding
LENGTHS_DIFFER = 0.5  # s between a signal and its reference; releases differ by hundredths
N_READERS = 16  # headers read at once: a shared disk answers many requests as fast as one


@dataclass(frozen=True)
class Source:
    """A stereo file of the release that two ear signals are made from.

    `listener` is None for a reference, which gets no hearing-loss simulation. `frames` and `rate`
    (Hz) are what the header promises; `lead_in` (s) is dropped. Where it is None, the reference
    `cut_by` says where to cut, and how long the signal lasts. `own` and `delay` (s) are those of
    its presentation: an own recording has a `cut_by` always.
    """

    archive: str
    kind: str
    name: str
    path: Path
    lead_in: float | None
    listener: Listener | None = None
    cut_by: Path | None = None
    frames: int = 0
    rate: int = 0
    own: bool = False
    delay: float | None = 0.0

    @property
    def key(self) -> str:
        """Return the name of the work in the journal."""
        return f"{self.archive}/{self.kind}/{self.name}"

    @property
    def duration(self) -> float:
        """Return the duration in s."""
        return self.frames / self.rate


def sources_of(archive: str, one: Presentation) -> tuple[Source, Source]:
    """Return the hearing aid's output and the clean reference, which a scene's signals share."""
    cut_by = one.reference if one.lead_in is None or one.own else None
    processed = Source(archive, "msbg", one.name, one.processed, one.lead_in, one.listener, cut_by)
    reference = Source(archive, "ref", one.scene, one.reference, one.lead_in, None, cut_by)
    if one.own:
        processed = replace(processed, own=True, delay=one.delay)
        reference = replace(reference, own=True)
    return processed, reference


def check_before_work(
    cfg: DictConfig,
    experiment: Experiment,
    archives: Mapping[str, Archive],
    split_of: Mapping[str, str],
) -> tuple[list[Source], dict[str, list[Presentation]], list[Problem]]:
    """Find everything that is wrong, or will be lacking in later stages, before hours of work.

    Returns the files to make ear signals from; the presentations that can be used, per archive; and
    what is wrong with the others.
    """
    sources, problems = check_headers(archives)
    problems = [*check_archives(archives), *problems]
    used = usable(archives, left_out(problems))
    dev_scenes = {scene for scene, split in split_of.items() if split == "dev"}
    problems += check_later_stages(cfg, experiment, used, dev_scenes)
    keys = {
        source.key
        for archive, presentations in used.items()
        for one in presentations
        for source in sources_of(archive, one)
    }
    sources = [source for source in sources if source.key in keys]
    if cfg.hearing_loss == "none":
        sources = [replace(source, listener=None) for source in sources]
    problems += [
        Problem("no usable signal left", str(archive.metadata), blocking=True)
        for name, archive in archives.items()
        if not used[name]
    ]
    return sources, used, problems + check_disk(experiment, sources)


def check_archives(archives: Mapping[str, Archive]) -> list[Problem]:
    """Look for what is wrong with the lists of signals themselves."""
    problems = [problem for archive in archives.values() for problem in archive.problems]
    for archive in archives.values():
        problems += _check_list(archive)
    problems += _check_overlap(archives)
    return problems + _severe_losses(archives)


def _check_list(archive: Archive) -> Iterator[Problem]:
    copies = Counter(one.name for one in archive.presentations)
    references: dict[str, Path] = {}
    for one in archive.presentations:
        if copies[one.name] > 1:
            fault = f"signal listed twice in {archive.metadata.name}"
            yield Problem(fault, one.name, (one.name,))
        elif not words_of(one.prompt):
            what = "prompt without a word" if one.prompt.strip() else "empty prompt"
            yield Problem(f"{what} in {archive.metadata.name}", one.name, (one.name,))
        elif references.setdefault(one.scene, one.reference) != one.reference:
            yield Problem("scene with two references", f"{one.scene} of {one.name}", (one.name,))


def _check_overlap(archives: Mapping[str, Archive]) -> Iterator[Problem]:
    """Name training signals of scenes that are tested on: they would be learnt by heart."""
    if len(archives) < 2:
        return
    tested = {one.scene for one in archives["test"].presentations}
    signals = {(one.scene, one.name) for one in archives["test"].presentations}
    never_trained_on = set(archives["train"].dev_only)
    for one in archives["train"].presentations:
        if one.scene in never_trained_on:
            continue
        if (one.scene, one.name) in signals:
            yield Problem("signal in both training and test", one.name, (one.name,))
        elif one.scene in tested:
            where = f"{one.scene} of {one.name}"
            yield Problem("scene in both training and test", where, (one.name,))


def _severe_losses(archives: Mapping[str, Archive]) -> list[Problem]:
    listeners = {one.listener for archive in archives.values() for one in archive.presentations}
    severe = {
        listener.id
        for listener in listeners
        for ear in listener.ears
        if ear.levels.max() > TRUSTED_DB_HL
    }
    fault = (
        f"listener with losses above {TRUSTED_DB_HL:g} dB HL, where MSBG is unrealistically strong"
    )
    return [Problem(fault, name, stops="") for name in sorted(severe)]


def check_headers(archives: Mapping[str, Archive]) -> tuple[list[Source], list[Problem]]:
    """Read the header of every file.

    Returns the files whose header is sound, sorted by their key; and what is wrong with the others,
    or with pairs whose lengths do not fit.
    """
    users: dict[Source, list[str]] = {}
    for name, archive in archives.items():
        for one in archive.presentations:
            for source in sources_of(name, one):
                users.setdefault(source, []).append(one.name)
    sources: dict[str, Source] = {}
    problems: list[Problem] = []
    with ThreadPoolExecutor(N_READERS) as readers:
        found = readers.map(_read_header, users, users.values())
        for one in progress(found, "headers", len(users)):
            if isinstance(one, Problem):
                problems.append(one)
            else:
                sources[one.key] = one
    for name, archive in archives.items():
        problems += _check_lengths(name, archive, sources)
    return [sources[key] for key in sorted(sources)], problems


def _check_lengths(name: str, archive: Archive, sources: Mapping[str, Source]) -> Iterator[Problem]:
    """Notice references that end long before or after the signal: most likely of another scene."""
    for one in archive.presentations:
        keys = [source.key for source in sources_of(name, one)]
        if not one.own and all(key in sources for key in keys):
            lasts, reference_lasts = (sources[key].duration for key in keys)
            if abs(lasts - reference_lasts) > LENGTHS_DIFFER:
                where = f"{one.name} of {lasts:.1f} s, reference {reference_lasts:.1f} s"
                yield Problem("signal and reference of other lengths", where, stops="")


def _read_header(source: Source, users: list[str]) -> Source | Problem:
    """Return a source with the frames and the rate of its header, or what is wrong with it."""
    try:
        header = header_of(source.path)
        if source.own and (header.channels > 2 or header.samplerate < LOWEST_RATE):
            raise ValueError(
                f"{header.channels} channels at {header.samplerate} Hz, expected one or two at "
                f"{LOWEST_RATE} Hz or more"
            )
        if not source.own and header.channels != 2:
            raise ValueError(
                f"{header.channels} channels where 2 are expected (left and right ear)"
            )
        if not source.own and header.samplerate not in RATES:
            raise ValueError(f"unexpected sample rate of {header.samplerate} Hz")
        before = source.lead_in or 0.0
        speech = header.frames / header.samplerate - before
        if speech < SHORTEST:
            raise ValueError(f"file no longer than the {before:g} s before the speech")
        if speech > LONGEST:
            raise ValueError(f"file with more than {LONGEST} s of speech")
    except ValueError as error:
        return Problem(str(error), str(source.path), tuple(users))
    return replace(source, frames=header.frames, rate=header.samplerate)


def usable(
    archives: Mapping[str, Archive], left_out: Mapping[str, str]
) -> dict[str, list[Presentation]]:
    """Return the presentations without those that are left out, per archive."""
    return {
        name: [one for one in archive.presentations if one.name not in left_out]
        for name, archive in archives.items()
    }


def check_disk(experiment: Experiment, sources: list[Source]) -> list[Problem]:
    """Compare the free space with what the ear signals that are not there yet will take."""
    missing = [
        source
        for source in sources
        if not experiment.ear_wav(source.archive, source.kind, EARS[-1], source.name).is_file()
    ]
    seconds = sum(source.duration - (source.lead_in or 0) for source in missing)
    n_bytes = seconds * ASR_RATE * 4 * len(EARS)  # float32
    lack = lacking_room(experiment.data_folder, n_bytes, "the ear signals to be made")
    return [Problem("disk too full", lack, blocking=True)] if lack else []


def gate(problems: list[Problem], cfg: DictConfig) -> None:
    """Log all problems; stop here unless what is faulty may be left out."""
    for script in ("", "prepare_data.py", "train_asr.py", "evaluate.py"):
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
        raise RecipeError(f"Nothing was made. Fix what is faulty, as listed above{remedy}")


def problems_of_failed(
    used: Mapping[str, list[Presentation]], sources: list[Source], failed: Mapping[str, str]
) -> list[Problem]:
    """Return problems that leave out the presentations which need a source that failed."""
    problems = []
    for source in sources:
        if source.key in failed:
            users = tuple(
                one.name
                for one in used[source.archive]
                if source.name == (one.name if source.kind == "msbg" else one.scene)
            )
            problems.append(Problem(failed[source.key], str(source.path), users))
    return problems


def check_msbg_settings(cfg: DictConfig) -> dict[str, Any]:
    """Try the settings of MSBG before thousands of files do."""
    settings: dict[str, Any] = dict(cfg.MSBGEar)
    for key in ("equiv_0db_spl", "ahr"):
        if not np.isfinite(settings[key]):
            raise RecipeError(f"MSBGEar.{key}={settings[key]}: expected dB")
    try:
        Ear(**settings)
    except (ValueError, TypeError) as error:
        raise RecipeError(f"MSBGEar: {error}") from None
    return settings


def refuse_other_corpora(experiment: Experiment) -> None:
    """Keep an experiment on one corpus from being written over by one on another."""
    for corpus in CORPORA:
        other = replace(experiment, corpus=corpus)
        if corpus != experiment.corpus and other.prepared_journal.is_file():
            raise RecipeError(
                f"{experiment.exp_folder} holds an experiment on {corpus}; give corpus="
                f"{experiment.corpus} a path.exp_folder of its own"
            )
