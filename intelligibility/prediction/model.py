"""Opening a model: a recogniser and its mapping, in an experiment folder, a bundle or on the hub.

A bundle is an experiment folder that holds only the files that prediction needs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from intelligibility.evaluation.mapping import FittedMapping
from intelligibility.experiment import TRACKS, Experiment, checked_run, is_trained_here
from intelligibility.recognisers import (
    HUB_OPTIONS,
    StoredRecogniser,
    choose_recogniser,
    stored_on_hub,
)
from intelligibility.recognisers.settings import refuse_foreign_objects
from intelligibility.runs import RECIPE, RecipeError, read_json

# Of the hearing-loss simulation at the level that people listen at: 0 dB FS is 100 dB SPL.
AS_PLAYED = {"src_pos": "ff", "sample_rate": 44100, "equiv_0db_spl": 100, "ahr": 0}


@dataclass(frozen=True)
class Model:
    """A recogniser and its mapping, found and checked; the recogniser is not loaded yet."""

    recogniser: StoredRecogniser
    mapping: FittedMapping  # from similarity to percent words correct; perhaps without any curve
    msbg_settings: dict[str, Any]  # of the hearing-loss simulation
    dtw: str  # how decoder states are aligned
    experiment: Experiment | None = None  # where its files are; None for a recogniser alone

    @cached_property
    def made_by(self) -> dict[str, Any]:
        """Return everything that determines its predictions, for journals."""
        recogniser = self.recogniser.made_by()
        return {
            "checkpoint_sha256": recogniser["checkpoint_sha256"],
            "settings": recogniser["settings"] | {"dtw": self.dtw},
            "MSBGEar": self.msbg_settings,
            "mapping": self.mapping.as_json(),
        }


def open_model(model: str | Path, revision: str | None = None) -> Model:
    """Find the files of a model, and check that they belong together.

    It is an experiment folder, a bundle, or the hub id of a bundle, of a `revision`.
    """
    folder = Path(model).expanduser().absolute()
    fetched = not folder.is_dir()
    if fetched:
        folder = _fetch(str(model), revision)
    cfg, experiment, inference = _configuration(folder, fetched)
    if not experiment.calibration.is_file():
        raise RecipeError(
            f"{experiment.calibration}: no such file: this model has no mapping to percent words "
            "correct; run evaluate.py there first"
        )
    mapping = FittedMapping.read(experiment.calibration)
    msbg_settings = simulated_with(experiment, cfg.MSBGEar)
    recogniser = choose_recogniser(cfg, experiment)
    found = Model(recogniser, mapping, msbg_settings, cfg.dtw, experiment)
    _check_same(found, experiment, inference)
    return found


def is_recogniser(model: str, revision: str | None = None) -> bool:
    """Say whether a model is a recogniser of `transformers` alone, and no experiment or bundle."""
    folder = Path(model).expanduser()
    if not folder.is_dir():
        found = _small_files(model, revision)
        if found is None:
            return False  # opening it as a model says why it cannot be fetched
        folder = found
    bundled = any(path.is_file() for path in _records(folder).values())
    return (folder / "config.json").is_file() and not bundled


def _records(folder: Path) -> dict[str, Path]:
    """Return where infer.py's record of each track would lie in a folder of results."""
    return {track: Experiment(folder, folder, suffix).inference for track, suffix in TRACKS.items()}


def _is_hub_id(model: str) -> bool:
    return model[:1] not in "/.~" and model.count("/") == 1


def _small_files(model: str, revision: str | None) -> Path | None:
    """Fetch from the hub what tells a recogniser from a bundle; None where it cannot be fetched."""
    if not _is_hub_id(model):
        return None
    from huggingface_hub import snapshot_download

    patterns = ["config.json", "inference*.json"]
    for offline in (True, False):
        try:
            folder = Path(
                snapshot_download(
                    model, revision=revision, allow_patterns=patterns, local_files_only=offline
                )
            )
        except (OSError, ValueError):
            continue
        if any([*folder.glob(pattern)] for pattern in patterns):
            return folder
    return None


def open_recogniser(
    source: str, revision: str | None = None, calibration: str | Path | None = None
) -> Model:
    """Find a recogniser's files, and the mapping that `calibration` names.

    Without one, no measure is mapped, the level is that at which people listen, and decoder states
    are aligned as published. Refused: no such recogniser, or a mapping that belongs to another one.
    """
    stored = stored_on_hub(source, revision)
    alone = Model(stored, FittedMapping({}, 0.0), dict(AS_PLAYED), "fastdtw")
    if calibration is None:
        return alone
    path = Path(calibration).expanduser().absolute()
    mapping = FittedMapping.read(path)
    sha256 = alone.made_by["checkpoint_sha256"]
    if mapping.checkpoint_sha256 != sha256:
        raise RecipeError(
            f"calibration={calibration}: fitted with recogniser "
            f"{(mapping.checkpoint_sha256 or 'unknown')[:12]}, but {source} is {sha256[:12]}"
        )
    cfg, experiment, _ = _configuration(path.parent, False)
    options = {name: cfg[name] for name in HUB_OPTIONS}  # as the similarities were made with
    stored = stored_on_hub(source, revision, mapping.layer is not None, options)
    return Model(stored, mapping, simulated_with(experiment, cfg.MSBGEar), cfg.dtw)


def _fetch(model: str, revision: str | None) -> Path:
    if not _is_hub_id(model):
        raise RecipeError(
            f"model={model}: no such folder; give an experiment folder, a bundle that "
            "evaluate.py bundle= wrote, or the hub id of one, owner/name"
        )
    # Imported here: most models are folders.
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(model, revision=revision))
    except (OSError, ValueError) as error:  # what the hub's client raises, also without network
        raise RecipeError(
            f"model={model}: could not be fetched from the hub, revision {revision or 'main'} "
            f"({str(error):.300}); check name, revision and network, or give a folder"
        ) from error


def _configuration(folder: Path, fetched: bool) -> tuple[DictConfig, Experiment, dict[str, Any]]:
    """Return the configuration with which infer.py ran in a folder, wherever that lies now."""
    records = _records(folder)
    track = next((name for name, path in records.items() if path.is_file()), None)
    if track is None:
        raise RecipeError(
            f"{folder}: no inference.json here, so no model; give a folder in which infer.py and "
            "evaluate.py ran, or a bundle"
        )
    inference = read_json(records[track], dict)
    try:
        made_with = inference["provenance"]["config"]
    except (KeyError, TypeError):
        raise RecipeError(
            f"{records[track]}: does not say with which configuration it was made; run infer.py "
            "again"
        ) from None
    defaults = DictConfig(OmegaConf.load(RECIPE / "config.yaml"))
    for hydras in ("hydra", "defaults"):
        del defaults[hydras]
    cfg = DictConfig(OmegaConf.merge(defaults, made_with))
    if cfg.hearing_loss == "none":
        raise RecipeError(f"{folder}: made without a hearing loss, so it disregards audiograms")
    # Results of a recogniser from the hub, or of a run, are in a folder below the experiment's.
    is_below = not is_trained_here(cfg) or checked_run(cfg)
    exp_folder = folder.parent if is_below else folder
    cfg.path.exp_folder, cfg.cpc1_track = str(exp_folder), track
    settings = RECIPE / cfg.asr_config
    if (folder / settings.name).is_file():  # a bundle has its own
        settings = folder / settings.name
        cfg.asr_config = str(settings)
    if fetched or settings.absolute().is_relative_to(folder):
        refuse_foreign_objects(settings)
    return cfg, Experiment.from_config(cfg), inference


def simulated_with(experiment: Experiment, otherwise: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of the simulation as prepare_data.py recorded them, if it did."""
    recorded = None
    if experiment.presentations.is_file():
        provenance = read_json(experiment.presentations, dict).get("provenance", {})
        recorded = provenance.get("config", {}).get("MSBGEar")
    return recorded or dict(otherwise)


def _check_same(model: Model, experiment: Experiment, inference: Mapping[str, Any]) -> None:
    sha256, settings = model.made_by["checkpoint_sha256"], model.made_by["settings"]
    if (fitted_with := model.mapping.checkpoint_sha256) != sha256:
        raise RecipeError(
            f"{experiment.calibration}: fitted with recogniser {(fitted_with or 'unknown')[:12]}, "
            f"but the one in {experiment.asr_folder} is {sha256[:12]}; run infer.py and "
            "evaluate.py again"
        )
    measured = inference.get("settings", {})
    if differ := [key for key in settings if measured.get(key) != settings[key]]:
        raise RecipeError(
            f"{experiment.inference}: the similarities that the mapping was fitted on were made "
            f"with another {', '.join(differ)}; run infer.py and evaluate.py again"
        )
