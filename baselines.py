"""Additional script: measures without a recogniser, for the other rows of the paper's tables.

    pip install --no-deps -r requirements-baselines.txt
    python baselines.py                                      # MSBG + MBSTOI, and HASPI
    python baselines.py baselines=[haspi,mbstoi,stoi,estoi]
    python baselines.py n_shards=8 shard=3                   # one of eight parts; then without

Run it after prepare_data.py and before evaluate.py, which maps these measures to percent words
correct in the same way as the recogniser's similarities.

Reads   exp_folder/presentations{track}.json      what prepare_data.py used; from there, the release
        exp_folder/data_split/                    which scenes are dev
Writes  exp_folder/{dev,test}_{mbstoi,haspi,stoi,estoi}_similarity{track}.json   {signal: index}
        exp_folder/baselines{track}.json          how they were made
        exp_folder/baselines{track}.jsonl         the journal: each index, and what determined it

mbstoi  the challenge's baseline: MSBG at 44.1 kHz on the hearing-aid output, the clean reference
        shifted by each ear's delay, MBSTOI of both ears together
haspi   better-ear HASPI version 2, as in Clarity's later baselines; with the audiograms
stoi    better-ear STOI after alignment, and
estoi   extended STOI: both disregard the listener's hearing loss

A run that was stopped continues where it was. An index is computed again when its wavs, the
audiograms, the settings or the version of its package have changed. A signal for which an index is
not defined (too short, a silent reference) stops the run in the end; with skip_bad=true its index
is left out, and evaluate.py compares all measures on the other signals.
"""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import hydra
import numpy as np
from omegaconf import DictConfig, OmegaConf

from intelligibility.baselines import index
from intelligibility.command_line import provenance, reports_errors
from intelligibility.corpora.presentation import Presentation, made_from_of, read_presentations
from intelligibility.experiment import Experiment
from intelligibility.measures import BASELINES, Baseline
from intelligibility.prediction.alignment import SETTINGS as ALIGNMENT_SETTINGS
from intelligibility.prediction.alignment import in_time
from intelligibility.prediction.recording import read_audio, read_recording
from intelligibility.runs import RecipeError, listed, read_json, sole_run, write_json, write_result
from intelligibility.work import Piece, Stamp, Work

logger = logging.getLogger(__name__)

READS = ("baselines", "skip_bad", "n_jobs", "shard", "n_shards", "MSBGEar")
ARCHIVES = {"dev": "train", "test": "test"}
TOGETHER = 8  # indices of one reference in one call of a process: a kill loses no more than these


@dataclass(frozen=True)
class Index:
    """One baseline of one signal of a split, dev or test."""

    split: str
    presentation: Presentation
    baseline: Baseline

    @property
    def key(self) -> str:
        """Return its name in the journal."""
        return f"{ARCHIVES[self.split]}/{self.presentation.name}/{self.baseline.name}"

    def of(self, split: str, baseline: Baseline) -> bool:
        """Return whether it is of this split and baseline."""
        return (self.split, self.baseline) == (split, baseline)


@hydra.main(config_path=".", config_name="config", version_base="1.3")
@reports_errors(reads=READS)
def run(cfg: DictConfig) -> None:
    """Compute the baselines of one track's dev and test signals."""
    experiment = Experiment.from_config(cfg)
    baselines = chosen(cfg)
    msbg_settings = dict(cfg.MSBGEar)
    used = read_presentations(experiment.presentations)
    splits = {"dev": dev_of(experiment, used), "test": used.get("test", [])}
    indices = [
        Index(split, one, baseline)
        for split, presentations in splits.items()
        for one in presentations
        for baseline in baselines
    ]
    # A reference is analysed once for all pieces of its group.
    pieces = [
        Piece(one.key, one, group=f"{one.split} {one.presentation.reference}") for one in indices
    ]
    with sole_run(experiment.exp_folder, experiment.baselines.stem, cfg.shard, cfg.n_shards):
        work = Work(
            experiment.baselines_journal,
            pieces,
            partial(made_by, msbg_settings),
            *("indices", cfg.shard, cfg.n_shards),
        )
        work.do_together(partial(compute, msbg_settings=msbg_settings), cfg.n_jobs, TOGETHER)
        if not cfg.skip_bad:
            work.refuse_failed("fix them and run again, or leave them out with skip_bad=true")
        if cfg.n_shards > 1:
            return
        values = index_files(experiment, baselines, indices, work.results)
        left_out = [one for one in indices if one.key in work.failed]
        if left_out:
            faults = [f"{one.key}: {work.failed[one.key]}" for one in left_out]
            logger.warning("%d indices are left out: %s", len(faults), listed(faults, 20))
        write_baselines(experiment, values, baselines, left_out, used, cfg)
    logger.info(
        "Wrote %s of %d signals to %s",
        *(", ".join(cfg.baselines), sum(map(len, splits.values())), experiment.exp_folder),
    )


def chosen(cfg: DictConfig) -> list[Baseline]:
    """Return the configured baselines; check that their packages are installed."""
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
    """Return the version of a baseline's package; without one, say how to install it."""
    try:
        return version(baseline.package)
    except PackageNotFoundError:
        raise RecipeError(
            f"{baseline.title} needs {baseline.package}, which is not installed: "
            "pip install --no-deps -r requirements-baselines.txt"
        ) from None


def dev_of(experiment: Experiment, used: dict[str, list[Presentation]]) -> list[Presentation]:
    """Return the presentations of the dev scenes; none where there is no training data."""
    if "train" not in used:
        return []
    path = experiment.scene_list("dev")
    if not path.is_file():
        raise RecipeError(f"{path}: no such file; run prepare_data.py first, with the same config")
    scenes = set(read_json(path, list))
    return [one for one in used["train"] if one.scene in scenes]


# Computing


def made_by(msbg_settings: dict[str, Any], one: Index, stamp: Stamp) -> dict[str, Any]:
    """Return everything that determines an index."""
    package = one.baseline.package
    try:
        wavs = [stamp(path) for path in (one.presentation.processed, one.presentation.reference)]
    except OSError as error:
        raise RecipeError(
            f"{error.filename}: {error.strerror}; the release has to lie where prepare_data.py "
            "found it"
        ) from None
    determined_by: dict[str, Any] = {"wavs": wavs, package: version_of(one.baseline)}
    if one.presentation.own:
        determined_by["own"] = [one.presentation.delay, ALIGNMENT_SETTINGS]
    if one.baseline.name in ("mbstoi", "haspi"):
        determined_by["audiograms"] = one.presentation.listener.thresholds
    if one.baseline.name == "mbstoi":
        determined_by["MSBGEar"] = msbg_settings
    return determined_by


def compute(
    indices: list[Index], msbg_settings: dict[str, Any]
) -> Iterator[dict[str, float] | ValueError]:
    """Compute the indices of a few signals with the same reference."""
    wavs: dict[Path, tuple[np.ndarray, int]] = {}
    for one in indices:
        signal = one.presentation
        try:
            for path in (signal.processed, signal.reference):
                if path not in wavs:
                    wavs[path] = _read(path, signal)
            value = index(
                *(one.baseline.name, wavs[signal.processed], wavs[signal.reference]),
                *(signal.listener, signal.name, msbg_settings),
            )
            yield {"index": value}
        except (ValueError, RecipeError) as error:
            yield ValueError(str(error))


def _read(path: Path, signal: Presentation) -> tuple[np.ndarray, int]:
    """Read both ears of a wav, (n_samples, 2), and its rate; an own recording without its delay."""
    if not signal.own:
        return read_audio(path)
    recording = read_recording(path)
    delay = signal.delay if path == signal.processed else 0.0
    return in_time(recording, delay or 0.0, None), recording.rate


# The results


def index_files(
    experiment: Experiment,
    baselines: list[Baseline],
    indices: list[Index],
    results: Mapping[str, dict[str, float]],
) -> dict[Path, dict[str, float]]:
    """Return what each file of a split and baseline holds: the indices that are defined."""
    return {
        experiment.baseline_file(split, baseline.name): {
            one.presentation.name: results[one.key]["index"]
            for one in indices
            if one.of(split, baseline) and one.key in results
        }
        for baseline in baselines
        for split in ARCHIVES
    }


def write_baselines(
    experiment: Experiment,
    values: dict[Path, dict[str, float]],
    baselines: list[Baseline],
    left_out: list[Index],
    used: dict[str, list[Presentation]],
    cfg: DictConfig,
) -> None:
    """Write a json per split and baseline, and last the record of how they were made.

    While its files change, a baseline is not in the record, so that evaluate.py cannot read a
    mixture of two runs. Baselines of other runs stay in the record.
    """
    ear_signals = {archive: made_from_of(presentations) for archive, presentations in used.items()}
    described = {
        one.name: {
            "package": f"{one.package} {version_of(one)}",
            "MSBGEar": dict(cfg.MSBGEar) if one.name == "mbstoi" else None,
            "ear_signals": ear_signals,
            "left_out": {
                split: [out.presentation.name for out in left_out if out.of(split, one)]
                for split in ARCHIVES
            },
        }
        for one in baselines
    }
    path = experiment.baselines
    record = read_json(path, dict) if path.is_file() else {}
    others = {k: one for k, one in record.get("baselines", {}).items() if k not in described}
    if any(not file.is_file() or read_json(file) != one for file, one in values.items()):
        write_json(path, record | {"baselines": others})
    for file, one in values.items():
        write_json(file, one)
    write_result(path, {"baselines": others | described, "provenance": provenance(cfg)})


if __name__ == "__main__":
    run()
