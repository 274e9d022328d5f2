"""What later stages read of prepared signals: the CSV tables, the records, what was left out."""

import itertools
import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from intelligibility.corpora.presentation import Presentation, digest
from intelligibility.experiment import EARS, KINDS, SPLITS, Experiment, write_table
from intelligibility.preparation.check import Source, sources_of
from intelligibility.runs import write_json

logger = logging.getLogger(__name__)


def ear_wavs(experiment: Experiment, source: Source) -> tuple[Path, Path]:
    """Return where the left and the right ear signal go."""
    left, right = (
        experiment.ear_wav(source.archive, source.kind, ear, source.name) for ear in EARS
    )
    return left, right


def remove_tables(experiment: Experiment) -> None:
    """Remove the CSVs; the later stages ask for this one then."""
    for ear, split, kind in itertools.product((*EARS, "binaural"), SPLITS, KINDS):
        experiment.table(ear, split, kind).unlink(missing_ok=True)


def write_tables(
    experiment: Experiment,
    used: Mapping[str, list[Presentation]],
    split_of: Mapping[str, str],
    results: Mapping[str, dict[str, Any]],
) -> None:
    """Write the CSVs that SpeechBrain reads: per ear, and both ears in one ("binaural")."""
    rows: dict[tuple[str, str, str], list[dict[str, Any]]] = {
        key: [] for key in itertools.product((*EARS, "binaural"), SPLITS, KINDS)
    }
    for archive, presentations in used.items():
        for one in presentations:
            split = "test" if archive == "test" else split_of[one.scene]
            for source in sources_of(archive, one):
                for ear, wav in zip(EARS, ear_wavs(experiment, source), strict=True):
                    row = {
                        "ID": one.name,
                        "duration": results[source.key]["duration"],
                        "wav": wav,
                        "spk_id": one.listener.id,
                        "wrd": one.prompt.upper(),
                    }
                    rows[ear, split, source.kind].append(row)
                    binaural = row | {"ID": f"{ear}_{one.name}"}
                    rows["binaural", split, source.kind].append(binaural)
    for (ear, split, kind), table in rows.items():
        write_table(experiment.table(ear, split, kind), table)


def with_digests(
    used: Mapping[str, list[Presentation]],
    results: Mapping[str, dict[str, Any]],
    made_by: Mapping[str, dict[str, Any]],
) -> dict[str, list[Presentation]]:
    """Return the presentations with a digest each of what determined their ear signals."""
    digests = {key: digest(made_by[key]) for key in results}
    with_digest: dict[str, list[Presentation]] = {archive: [] for archive in used}
    for archive, presentations in used.items():
        for one in presentations:
            keys = [source.key for source in sources_of(archive, one)]
            made_from = digest([digests[key] for key in keys])
            found = {
                "lead_in": results[keys[-1]]["lead_in"],
                "delay": results[keys[0]].get("delay", 0.0),  # older journals have none
            }
            with_digest[archive].append(replace(one, **found, made_from=made_from))
    return with_digest


def list_left_out(experiment: Experiment, reasons: Mapping[str, str]) -> None:
    """Write which signals were left out and why; no file when none was."""
    path = experiment.left_out
    if reasons:
        write_json(path, dict(sorted(reasons.items())))
        logger.warning("%d signals were left out; %s says why", len(reasons), path)
    else:
        path.unlink(missing_ok=True)
