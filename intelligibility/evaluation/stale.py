"""Are the similarities still those of the ear signals and of the recogniser that lie here now?

infer.py and baselines.py record what they measured; a later run of prepare_data.py or train_asr.py
makes it stale. results.json repeats what else these records tell: checkpoint, seeds, left out.
"""

import logging
from collections.abc import Mapping
from typing import Any

from intelligibility.corpora.presentation import Presentation, made_from_of
from intelligibility.evaluation.mapping import checked_sha256
from intelligibility.experiment import Experiment
from intelligibility.measures import BASELINES
from intelligibility.runs import RecipeError, listed, read_json
from intelligibility.words import log_known_words

logger = logging.getLogger(__name__)


def refuse_stale(experiment: Experiment, presentations: Mapping[str, list[Presentation]]) -> None:
    """Raise RecipeError where similarities are of other ear signals or another recogniser."""
    inference = read_inference(experiment)
    log_known_words(inference)
    measured = set(inference.get("checkpoints") or ())
    there = {path.name for path in experiment.save_folder.glob("CKPT*")}
    if there and not experiment.recogniser and not measured <= there:
        raise RecipeError(
            f"{experiment.inference}: the similarities are of {listed(sorted(measured))}, which "
            f"{experiment.save_folder} does not hold any more: the recogniser was trained since; "
            "run infer.py again"
        )
    prepared = experiment.presentations
    now = {archive: made_from_of(ones) for archive, ones in presentations.items()}
    if prepared.is_file() and inference.get("ear_signals") not in (None, now):
        raise RecipeError(
            f"{experiment.inference}: the similarities are of other ear signals, audiograms or "
            f"prompts than {prepared.name} now holds; run infer.py again"
        )
    # Without the hearing loss, as an ablation, the records differ and the signals are the same.
    comparable = prepared.is_file() and not experiment.ablation
    _refuse_stale_baselines(experiment, now if comparable else None)


def _refuse_stale_baselines(experiment: Experiment, now: Mapping[str, Any] | None) -> None:
    """Refuse indices of other signals than `now`, where that is known, or of two runs."""
    path = experiment.baselines
    recorded = read_json(path, dict).get("baselines", {}) if path.is_file() else {}
    for one in BASELINES:
        if not experiment.baseline_file("test", one.name).is_file():
            continue
        if one.name not in recorded:
            raise RecipeError(
                f"{path}: nothing about {one.name}: baselines.py was stopped while it wrote; run "
                "it again, or remove the files of that measure"
            )
        if now is not None and recorded[one.name].get("ear_signals") != now:
            raise RecipeError(
                f"{path}: {one.name} is of other signals, audiograms or prompts than "
                f"{experiment.presentations.name} now holds; run baselines.py again"
            )


def read_inference(experiment: Experiment) -> dict[str, Any]:
    """Read how the similarities were made.

    infer.py writes this record last: without it, the similarities may be of two runs.
    """
    if not experiment.inference.is_file():
        raise RecipeError(
            f"{experiment.inference}: no such file: infer.py did not run here, or was stopped "
            "while it wrote; run it again"
        )
    return read_json(experiment.inference, dict)


def checkpoint_of(experiment: Experiment) -> str | None:
    """Return the hash of the recogniser that infer.py used; None where it recorded none."""
    try:
        return checked_sha256(read_inference(experiment).get("checkpoint_sha256"))
    except ValueError as error:
        raise RecipeError(f"{experiment.inference}: {error}; run infer.py again") from None


def made_with(experiment: Experiment, seed: int) -> dict[str, Any]:
    """Return the hash of the recogniser, and the seed of each stage; None where unrecorded.

    `seed` is that of evaluate.py itself.
    """
    split = experiment.split_record
    training = experiment.asr.training
    trained = training.is_file() and not experiment.recogniser
    records = {
        "prepare_data.py": read_json(split, dict) if split.is_file() else {},
        "train_asr.py": read_json(training, dict).get("settings", {}) if trained else {},
        "infer.py": read_inference(experiment).get("provenance", {}),
    }
    seeds = {script: record.get("seed") for script, record in records.items()}
    if seeds["prepare_data.py"] not in (None, seed):
        logger.warning(
            "seed=%s draws the bootstrap; the dev scenes were drawn with seed=%s",
            *(seed, seeds["prepare_data.py"]),
        )
    seeds["evaluate.py"] = seed
    return {"checkpoint_sha256": checkpoint_of(experiment), "seeds": seeds}


def left_out_of(experiment: Experiment) -> dict[str, Any] | None:
    """Name the file of signals that prepare_data.py had to leave out; None when all were used."""
    path = experiment.left_out
    return {"file": path.name, "signals": len(read_json(path, dict))} if path.is_file() else None
