"""What predicts: a recogniser and its mapping, in an experiment folder, a bundle or on the hub.

A bundle is an experiment folder with nothing in it but what predicting needs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from intelligibility.evaluation.mapping import FittedMapping
from intelligibility.experiment import TRACKS, Experiment, is_trained_here
from intelligibility.recognisers import load_recogniser, recogniser_made_by
from intelligibility.recognisers.recognition import Recogniser
from intelligibility.recognisers.settings import refuse_foreign_objects
from intelligibility.runs import RECIPE, RecipeError, pick_device, read_json


@dataclass(frozen=True)
class Model:
    """A model that was opened, its recogniser not loaded yet.

    Attributes
    ----------
    cfg : DictConfig
        The configuration that it was made with.
    experiment : Experiment
        Where its files are.
    mapping : Mapping
        From similarity to percent words correct.
    msbg_settings : mapping
        Of the hearing-loss simulation.
    described : mapping
        All that decides what it computes, for journals.
    """

    cfg: DictConfig
    experiment: Experiment
    mapping: FittedMapping
    msbg_settings: Mapping[str, Any]
    described: dict[str, Any]

    @property
    def dtw(self) -> str:
        """How decoder states are aligned."""
        return self.cfg.dtw

    def load_recogniser(self, device: str) -> Recogniser:
        """Load the recogniser on a device: auto, cpu or cuda."""
        return load_recogniser(self.cfg, self.experiment, pick_device(device))


def open_model(model: str | Path, revision: str | None = None) -> Model:
    """Find the files of a model, and check that they belong together.

    Parameters
    ----------
    model : str or Path
        An experiment folder, a bundle, or the hub id of a bundle.
    revision : str, optional
        Of the hub id.

    Raises
    ------
    RecipeError
        Something is missing, or the mapping is of another recogniser or of other settings.
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
    described = recogniser_made_by(cfg, experiment)
    _check_same(experiment, mapping, inference, described | {"dtw": cfg.dtw})
    msbg_settings = _msbg_settings(cfg, experiment)
    decisive = {
        "checkpoint_sha256": described["checkpoint_sha256"],
        "settings": described["settings"] | {"dtw": cfg.dtw},
        "MSBGEar": msbg_settings,
        "mapping": mapping.as_json(),
    }
    return Model(cfg, experiment, mapping, msbg_settings, decisive)


def _fetch(model: str, revision: str | None) -> Path:
    if model[:1] in "/.~" or model.count("/") != 1:
        raise RecipeError(
            f"model={model}: no such folder; give an experiment folder, a bundle that "
            "evaluate.py bundle= wrote, or the hub id of one, owner/name"
        )
    # Here, since most models are folders.
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(model, revision=revision))
    except (OSError, ValueError) as error:  # all that the hub's client raises, offline included
        raise RecipeError(
            f"model={model}: could not be fetched from the hub, revision {revision or 'main'} "
            f"({str(error):.300}); check name, revision and network, or give a folder"
        ) from error


def _configuration(folder: Path, fetched: bool) -> tuple[DictConfig, Experiment, dict[str, Any]]:
    """Return the configuration with which infer.py ran in a folder, wherever that lies now."""
    records = {
        track: folder / Experiment(folder, folder, suffix).inference.name
        for track, suffix in TRACKS.items()
    }
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
    defaults = OmegaConf.load(RECIPE / "config.yaml")
    for hydras in ("hydra", "defaults"):
        del defaults[hydras]
    cfg = OmegaConf.merge(defaults, made_with)
    if cfg.hearing_loss == "none":
        raise RecipeError(f"{folder}: made without a hearing loss, so it knows of no audiogram")
    # What is measured with a recogniser from the hub lies in a folder below the experiment's.
    exp_folder = folder if is_trained_here(cfg) else folder.parent
    cfg.path.exp_folder, cfg.cpc1_track = str(exp_folder), track
    settings = RECIPE / cfg.asr_config
    if (folder / settings.name).is_file():  # a bundle brings its own
        settings = folder / settings.name
        cfg.asr_config = str(settings)
    if fetched or settings.absolute().is_relative_to(folder):
        refuse_foreign_objects(settings)
    return cfg, Experiment.from_config(cfg), inference


def _msbg_settings(cfg: DictConfig, experiment: Experiment) -> dict[str, Any]:
    """Return the simulation's settings; the records of prepare_data.py know them for sure."""
    if experiment.presentations.is_file():
        prepared = read_json(experiment.presentations, dict).get("provenance", {})
        if "MSBGEar" in prepared.get("config", {}):
            return dict(prepared["config"]["MSBGEar"])
    return OmegaConf.to_container(cfg.MSBGEar, resolve=True)


def _check_same(
    experiment: Experiment,
    mapping: FittedMapping,
    inference: Mapping[str, Any],
    described: Mapping[str, Any],
) -> None:
    recogniser = described["checkpoint_sha256"]
    if mapping.checkpoint_sha256 != recogniser:
        raise RecipeError(
            f"{experiment.calibration}: fitted with recogniser "
            f"{(mapping.checkpoint_sha256 or 'unknown')[:12]}, but the one in "
            f"{experiment.asr_folder} is {recogniser[:12]}; run infer.py and evaluate.py again"
        )
    now = described["settings"] | {"dtw": described["dtw"]}
    measured = inference.get("settings", {})
    if differ := [key for key in now if measured.get(key) != now[key]]:
        raise RecipeError(
            f"{experiment.inference}: the similarities that the mapping was fitted on were made "
            f"with another {', '.join(differ)}; run infer.py and evaluate.py again"
        )
