"""Beside the stages: measures without a recogniser, for the other rows of the paper's tables.

    pip install --no-deps -r requirements-baselines.txt
    python baselines.py                                      # MSBG + MBSTOI, and HASPI
    python baselines.py baselines=[haspi,mbstoi,stoi,estoi]
    python baselines.py n_shards=8 shard=3                   # one of eight parts; then without

Run it after prepare_data.py and before evaluate.py, which maps what it finds in the same way as
the recogniser's similarities.

Reads   exp_folder/presentations{track}.json      what prepare_data.py used; from there, the release
        exp_folder/data_split/                    which scenes are dev
Writes  exp_folder/{dev,test}_{mbstoi,haspi,stoi,estoi}_similarity{track}.json   {signal: index}
        exp_folder/baselines{track}.json          how they were made
        exp_folder/baselines{track}.jsonl         what is done, and from what

mbstoi  the challenge's baseline: MSBG at 44.1 kHz on the hearing-aid output, the clean reference
        shifted by each ear's delay, MBSTOI of both ears together
haspi   better-ear HASPI version 2, as Clarity's later baselines call it; with the audiograms
stoi    better-ear STOI after alignment, and
estoi   extended STOI: they know nothing of the listener's hearing loss

A run that was stopped goes on where it was; what was made from other wavs, audiograms or settings,
or by other versions of the packages, is made again.
"""

import logging
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import soundfile as sf
from omegaconf import DictConfig, OmegaConf

from intelligibility.baselines import index
from intelligibility.command_line import provenance, reports_errors
from intelligibility.corpora.presentation import Presentation, made_from_of, read_presentations
from intelligibility.experiment import Experiment
from intelligibility.journal import Journal, file_stamp
from intelligibility.measures import BASELINES, Baseline
from intelligibility.parallel import in_processes
from intelligibility.runs import (
    RecipeError,
    listed,
    progress,
    read_json,
    shard_of,
    sole_run,
    write_json,
    write_result,
)

logger = logging.getLogger(__name__)

READS = ("baselines", "n_jobs", "shard", "n_shards", "MSBGEar")
ARCHIVES = {"dev": "train", "test": "test"}
TOGETHER = 8  # indices of one reference in one call of a process: a kill loses no more than these


@dataclass(frozen=True)
class Work:
    """One baseline of one signal, of the archive "train" (for dev) or "test"."""

    archive: str
    presentation: Presentation
    baseline: Baseline

    @property
    def key(self) -> str:
        """Return the name of the work in the journal."""
        return f"{self.archive}/{self.presentation.name}/{self.baseline.name}"


@hydra.main(config_path=".", config_name="config", version_base="1.3")
@reports_errors(reads=READS)
def run(cfg: DictConfig) -> None:
    """Compute the baselines of one track's dev and test signals."""
    experiment = Experiment.from_config(cfg)
    baselines = chosen(cfg)
    msbg_settings = OmegaConf.to_container(cfg.MSBGEar)
    used = read_presentations(experiment.presentations)
    measured = {"dev": dev_of(experiment, used), "test": used.get("test", [])}
    with sole_run(experiment.exp_folder, experiment.baselines.stem, cfg.shard, cfg.n_shards):
        journal = compute_all(experiment, measured, baselines, msbg_settings, cfg)
        if cfg.n_shards > 1:
            logger.info(
                "Shard %d of %d is done; run without shard to write the results",
                *(cfg.shard, cfg.n_shards),
            )
            return
        values = values_of(experiment, measured, baselines, journal)
        write_baselines(experiment, values, describe(baselines, used, msbg_settings), cfg)
    n_signals = sum(map(len, measured.values()))
    logger.info(
        "Wrote %s of %d signals to %s",
        *(", ".join(cfg.baselines), n_signals, experiment.exp_folder),
    )


def chosen(cfg: DictConfig) -> list[Baseline]:
    """Return the baselines that are asked for; their packages are there."""
    known = {one.name: one for one in BASELINES}
    names = list(cfg.baselines) if OmegaConf.is_list(cfg.baselines) else []
    if not names or any(name not in known for name in names) or len(names) > len(set(names)):
        raise RecipeError(
            f"baselines={cfg.baselines}: expected a list of {', '.join(known)}, such as "
            "baselines=[mbstoi,haspi]"
        )
    for name in names:
        version_of(known[name])
    return [known[name] for name in names]


def version_of(baseline: Baseline) -> str:
    """Return the version of a baseline's package, or say how to install it."""
    try:
        return version(baseline.package)
    except PackageNotFoundError:
        raise RecipeError(
            f"{baseline.title} needs {baseline.package}, which is not installed: "
            "pip install --no-deps -r requirements-baselines.txt"
        ) from None


def dev_of(experiment: Experiment, used: dict[str, list[Presentation]]) -> list[Presentation]:
    """Return the presentations of the dev scenes."""
    path = experiment.scene_list("dev")
    if not path.is_file():
        raise RecipeError(f"{path}: no such file; run prepare_data.py first, with the same config")
    scenes = set(read_json(path, list))
    return [one for one in used.get("train", []) if one.scene in scenes]


# Computing


def compute_all(
    experiment: Experiment,
    measured: dict[str, list[Presentation]],
    baselines: list[Baseline],
    msbg_settings: dict[str, Any],
    cfg: DictConfig,
) -> Journal:
    """Compute what is not in the journal yet, or was made from something else."""
    groups = group_by_reference(measured, baselines)
    sizes = {name: float(len(group)) for name, group in groups.items()}
    mine = [groups[name] for name in shard_of(sizes, cfg.shard, cfg.n_shards)]
    made_by = {work.key: what_makes(work, msbg_settings) for group in mine for work in group}
    with Journal(experiment.baselines_journal, cfg.shard, cfg.n_shards) as journal:
        todo = [
            [work for work in group if journal.result(work.key, made_by[work.key]) is None]
            for group in mine
        ]
        n_todo = sum(map(len, todo))
        if journal.outdated:
            logger.warning("Computing anew, since these changed: %s", dict(journal.outdated))
        logger.info("%d of %d indices are done already", len(made_by) - n_todo, len(made_by))
        calls = [
            (group[at : at + TOGETHER], msbg_settings)
            for group in todo
            for at in range(0, len(group), TOGETHER)
        ]
        faults = []
        computed = (one for results in in_processes(compute, calls, cfg.n_jobs) for one in results)
        for key, result in progress(computed, "baselines", n_todo, unit="index"):
            if result["fault"] is None:
                journal.add(key, made_by[key], result)
            else:
                faults.append(f"{key}: {result['fault']}")
    if faults:
        raise RecipeError(
            f"{len(faults)} of {len(made_by)} indices failed, the others are done: "
            f"{listed(sorted(faults))}; mend the signals, or leave them out with prepare_data.py"
        )
    return journal


def group_by_reference(
    measured: dict[str, list[Presentation]], baselines: list[Baseline]
) -> dict[str, list[Work]]:
    """Group the work that shares a reference, which is then analysed for one group only."""
    groups = defaultdict(list)
    for split, presentations in measured.items():
        for one in presentations:
            works = [Work(ARCHIVES[split], one, baseline) for baseline in baselines]
            groups[f"{split} {one.reference}"] += works
    return dict(groups)


def what_makes(work: Work, msbg_settings: dict[str, Any]) -> dict[str, Any]:
    """Return all that decides an index: when any of it changes, it is computed anew."""
    one, baseline = work.presentation, work.baseline
    made_by: dict[str, Any] = {
        "wavs": [_stamp(path) for path in (one.processed, one.reference)],
        baseline.package: version_of(baseline),
    }
    if baseline.name in ("mbstoi", "haspi"):
        ears = (one.listener.audiogram_left, one.listener.audiogram_right)
        made_by["audiograms"] = [[ear.frequencies.tolist(), ear.levels.tolist()] for ear in ears]
    if baseline.name == "mbstoi":
        made_by["MSBGEar"] = msbg_settings
    return made_by


def _stamp(path: Path) -> list[int | str]:
    try:
        return file_stamp(path)
    except OSError as error:
        raise RecipeError(
            f"{path}: {error.strerror}; the release has to lie where prepare_data.py found it"
        ) from None


def compute(works: list[Work], msbg_settings: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Compute the indices of a few signals with the same reference, in a process of their own."""
    return list(_computed(works, msbg_settings))


def _computed(
    works: list[Work], msbg_settings: dict[str, Any]
) -> Iterator[tuple[str, dict[str, Any]]]:
    wavs: dict[Path, tuple[np.ndarray, int]] = {}
    for work in works:
        one = work.presentation
        try:
            for path in (one.processed, one.reference):
                if path not in wavs:
                    wavs[path] = sf.read(path, dtype="float64", always_2d=True)
            value = index(
                work.baseline.name,
                *(wavs[path] for path in (one.processed, one.reference)),
                *(one.listener, one.name, msbg_settings),
            )
            yield work.key, {"index": value, "fault": None}
        except (sf.SoundFileError, ValueError, OSError) as error:
            yield work.key, {"fault": str(error)}


# The results


def values_of(
    experiment: Experiment,
    measured: dict[str, list[Presentation]],
    baselines: list[Baseline],
    journal: Journal,
) -> dict[Path, dict[str, float]]:
    """Return what each file has to hold."""
    return {
        experiment.baseline_file(split, baseline.name): {
            one.name: journal.latest[Work(ARCHIVES[split], one, baseline).key]["result"]["index"]
            for one in presentations
        }
        for baseline in baselines
        for split, presentations in measured.items()
    }


def describe(
    baselines: list[Baseline], used: dict[str, list[Presentation]], msbg_settings: dict[str, Any]
) -> dict[str, dict[str, Any]]:
    """Say all that decides the indices."""
    ear_signals = {archive: made_from_of(presentations) for archive, presentations in used.items()}
    return {
        one.name: {
            "package": f"{one.package} {version_of(one)}",
            "MSBGEar": msbg_settings if one.name == "mbstoi" else None,
            "ear_signals": ear_signals,
        }
        for one in baselines
    }


def write_baselines(
    experiment: Experiment,
    values: dict[Path, dict[str, float]],
    described: dict[str, dict[str, Any]],
    cfg: DictConfig,
) -> None:
    """Write a json per split and baseline, and last the record of how they were made.

    While files change they are not in the record: evaluate.py takes no mixture of two runs. What
    other runs computed here stays in it.
    """
    path = experiment.baselines
    record = read_json(path, dict) if path.is_file() else {}
    others = {
        name: one for name, one in record.get("baselines", {}).items() if name not in described
    }
    if any(not file.is_file() or read_json(file) != one for file, one in values.items()):
        write_json(path, record | {"baselines": others})
    for file, one in values.items():
        write_json(file, one)
    write_result(path, {"baselines": others | described, "provenance": provenance(cfg)})


if __name__ == "__main__":
    run()
