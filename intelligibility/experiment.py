"""Every file below exp_folder and asr_folder: the one place that knows where things are.

Those of the second system are in reconstruction/places.py.

Everything is per track: closed ("" in file names) or open ("_indep"). The tables that SpeechBrain
reads are written and read here too.
"""

import csv
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from string import Formatter
from typing import Any

from omegaconf import DictConfig

from intelligibility.corpora import corpus_of
from intelligibility.runs import RecipeError, atomic_path, check_size, read_json

TRACKS = {"closed": "", "open": "_indep"}
ABLATIONS = {"msbg": "", "none": "no_hearing_loss"}  # and the folder below exp_folder
SPLITS = ("train", "dev", "test")
EARS = ("left", "right")
KINDS = ("msbg", "ref")  # processed, after the hearing loss, and clean reference
# Folders of an experiment that are no recogniser's results.
OTHER_FOLDERS = re.compile(
    r"data_split|tables|figures|logs|save|no_hearing_loss|cls_data|reconstruct(_indep)?|"
    r"\w+_asr_data(_indep)?|transformer_\w+"
)
COLUMNS = ("ID", "duration", "wav", "spk_id", "wrd")


@dataclass(frozen=True)
class Place:
    """A file or folder: which folder it lies in, and the pattern of its name.

    As a class attribute it gives an object's path: `experiment.results`. What stands in braces is
    an attribute of that object.
    """

    folder: str
    pattern: str

    def __get__(self, owner: object, kind: type) -> Path:
        return _path(owner, self.folder, self.pattern)


@dataclass(frozen=True)
class Places:
    """Files of one kind, which `experiment.table("left", "dev", "ref")` tells apart by names."""

    folder: str
    pattern: str

    def __get__(self, owner: object, kind: type) -> Callable[..., Path]:
        """Return a function that takes the names in the pattern which are no attributes."""
        return partial(_path, owner, self.folder, self.pattern)


def _path(owner: object, folder: str, pattern: str, *names: str) -> Path:
    fields = [field for _, field, _, _ in Formatter().parse(pattern) if field]
    missing = [field for field in fields if field not in vars(owner)]
    name = pattern.format(**vars(owner), **dict(zip(missing, names, strict=True)))
    return Path(getattr(owner, folder), name)


@dataclass(frozen=True)
class SaveFolder:
    """What lies beside the checkpoints, and goes where they go."""

    # `save_folder` of transformer_cpc1.yaml, which a user may set apart from its `output_folder`.
    path: Path

    tokenizer = Place("path", "tokenizer.ckpt")  # the SentencePiece model
    model_settings = Place("path", "model_settings.json")  # with which it has to be loaded
    part = Place("path", ".part")  # where checkpoints are written and deleted: whole or absent

    @property
    def start(self) -> Path:
        """The checkpoints that training started from, once it has its own."""
        return self.path.parent / "start"


@dataclass(frozen=True)
class AsrFolder:
    """Where a recogniser is kept: what train_asr.py writes.

    transformer_cpc1.yaml has keys for SpeechBrain's logs and for the save folder, with places in
    this folder for defaults.
    """

    path: Path  # `path.asr_folder` of config.yaml, `output_folder` of transformer_cpc1.yaml

    save_folder = Place("path", "save")  # the checkpoints, whose average is the recogniser
    trained_on = Place("path", "trained_on.json")  # the record of the training data
    training = Place("path", "training.json")  # the course of training, epoch by epoch
    training_plot = Place("path", "training.png")
    wer = Place("path", "wer.json")  # the word error rate of each test table


@dataclass(frozen=True)
class Experiment:
    """Where one track of an experiment is kept."""

    # Everything that is written, and the recogniser, which other experiments may share.
    exp_folder: Path
    asr_folder: Path
    # "" for the closed track, "_indep" for the open one, as in the release's file names.
    track: str = ""
    corpus: str = "cpc1"  # the name of its corpus
    # The folder for what is measured with a third-party recogniser; "" for one trained here.
    recogniser: str = ""
    ablation: str = ""  # the folder for everything that is made without a hearing loss; "" with one
    # The folder of a further recogniser trained here and of its results, below the others; "" for
    # the usual one.
    run: str = ""

    # prepare_data.py: ear signals and tables, `$data_root` in the tables; what was used, and why
    # other signals were not; the lists of scenes ("train" and "dev").
    prepared_folder = Place("exp_folder", "{ablation}")
    data_folder = Place("prepared_folder", "{corpus}_asr_data{track}")
    prepared_journal = Place("data_folder", "prepared.jsonl")
    presentations = Place("prepared_folder", "presentations{track}.json")
    left_out = Place("prepared_folder", "left_out{track}.json")
    split_record = Place("exp_folder", "data_split/made_by{track}.json")
    scene_list = Places("exp_folder", "data_split/scene_{split}_list{track}.json")
    table = Places("data_folder", "{ear}_{split}_{kind}.csv")  # left, right or binaural

    # train_asr.py: the checkpoints; all else of it is in AsrFolder and SaveFolder.
    save_folder = Place("asr_folder", "save")

    # infer.py: what is measured with one recogniser, {signal: value} for "dev" or "test", of all
    # layers {layer: {signal: 0..1}}; the record of how, written last.
    results_folder = Place("prepared_folder", "{recogniser}{run}")  # one of the two is ""
    inference = Place("results_folder", "inference{track}.json")
    inference_journal = Place("results_folder", "inference{track}.jsonl")
    layers_file = Places("results_folder", "{split}_layers_similarity{track}.json")

    # baselines.py, which knows neither recognisers nor ear signals: {signal: index}.
    baseline_file = Places("exp_folder", "{split}_{baseline}_similarity{track}.json")
    baselines = Place("exp_folder", "baselines{track}.json")
    baselines_journal = Place("exp_folder", "baselines{track}.jsonl")

    # evaluate.py: scores, fits, counts; each test signal; the mapping; all of it on one page.
    results = Place("results_folder", "results{track}.json")
    predictions = Place("results_folder", "predictions{track}.csv")
    calibration = Place("results_folder", "calibration{track}.json")
    report = Place("results_folder", "report{track}.html")
    figure = Places("results_folder", "figures/{name}{track}")  # without its suffix

    @classmethod
    def from_config(cls, cfg: DictConfig) -> "Experiment":
        """Read the folders and the track; relative folders count from where the script runs."""
        if cfg.cpc1_track not in TRACKS:
            raise RecipeError(f"cpc1_track={cfg.cpc1_track}: expected {' or '.join(TRACKS)}")
        track = TRACKS[cfg.cpc1_track]
        corpus = corpus_of(cfg)
        if track and not corpus.tracks:
            raise RecipeError(f"cpc1_track={cfg.cpc1_track}: {corpus.name} has no tracks")
        if cfg.hearing_loss not in ABLATIONS:
            expected = " or ".join(ABLATIONS)
            raise RecipeError(f"hearing_loss={cfg.hearing_loss}: expected {expected}")
        ablation = ABLATIONS[cfg.hearing_loss]
        exp_folder = Path(str(cfg.path.exp_folder)).expanduser().absolute()
        run = checked_run(cfg)
        asr_folder = default_asr_folder(exp_folder / ablation / run, cfg.corpus, track)
        if cfg.path.asr_folder is not None:
            asr_folder = Path(str(cfg.path.asr_folder)).expanduser().absolute()
        recogniser = "" if is_trained_here(cfg) else folder_name(str(cfg.recogniser))
        return cls(exp_folder, asr_folder, track, cfg.corpus, recogniser, ablation, run)

    def of_track(self, name: str) -> "Experiment":
        """Return the same experiment's other track, "closed" or "open"."""
        return replace(self, track=TRACKS[name])

    @property
    def asr(self) -> AsrFolder:
        """The recogniser's folder."""
        return AsrFolder(self.asr_folder)

    def refuse_other_recogniser(self, made_by: Mapping[str, Any]) -> None:
        """Refuse to write over results of a recogniser that lies, or lay, in another folder.

        `made_by` is what determines the numbers of the recogniser at hand. Two folders of one name
        share a results folder.
        """
        if not self.recogniser or not self.inference.is_file():
            return
        there = read_json(self.inference, dict)
        places = [*there.get("checkpoints", ()), *made_by["checkpoints"]]
        is_same = there.get("checkpoint_sha256") == made_by["checkpoint_sha256"]
        if not is_same and len({*places}) > 1 and any(Path(one).is_absolute() for one in places):
            raise RecipeError(
                f"{self.results_folder} holds the results of another recogniser, {places[0]}; "
                f"rename {places[-1]}, or give it a path.exp_folder of its own"
            )

    def ear_wav(self, split: str, kind: str, ear: str, name: str) -> Path:
        """Return a 16 kHz ear signal; `name` is the signal (msbg) or the scene (ref)."""
        archive = "test" if split == "test" else "train"
        return self.data_folder / archive / f"{ear}_{kind}" / f"{name}.wav"

    def measure_file(self, split: str, measure: str) -> Path:
        """Return the json of one measure, {signal: value}, for "dev" or "test"."""
        what = "correctness" if measure == "wcs" else "similarity"
        return self.results_folder / f"{split}_{measure}_{what}{self.track}.json"

    def submission_of(self, name: str) -> Path:
        """Return the submission of one set of the challenge; "" for all of them."""
        return self.results_folder / f"submission{self.track}{name and f'_{name}'}.csv"

    def result_table(self, name: str) -> Path:
        """Return a table without its suffix; Table 1 is of both tracks."""
        track = "" if name == "table1" else self.track
        return self.results_folder / "tables" / f"{name}{track}"


def default_asr_folder(folder: Path, corpus: str, track: str) -> Path:
    """Return where a recogniser is kept when no `path.asr_folder` says so."""
    return folder / f"transformer_{corpus}{track}"


def is_trained_here(cfg: DictConfig) -> bool:
    """Return whether the configured recogniser is the one that train_asr.py trains."""
    return cfg.recogniser is None


def checked_run(cfg: DictConfig) -> str:
    """Return the folder of a further recogniser that `run` names; data=cls alone makes ls_cls."""
    name = cfg.get("run")  # a model made before there were runs has none
    if name is None:
        return "ls_cls" if cfg.get("data") == "cls" else ""
    if not re.fullmatch(r"[a-z0-9]\w*", str(name)) or OTHER_FOLDERS.fullmatch(str(name)):
        raise RecipeError(f"run={name}: expected a name such as ls_cls, in small letters")
    if not is_trained_here(cfg):
        raise RecipeError(f"run={name}: is for recognisers trained here; leave recogniser out")
    return str(name)


def folder_name(recogniser: str) -> str:
    """Return a file name for a recogniser: openai/whisper-small.en is openai--whisper-small.en.

    A folder's is its last part.
    """
    path = Path(recogniser).expanduser()
    named = path.resolve().name if path.is_dir() else recogniser.strip("/.~").replace("/", "--")
    if not named or OTHER_FOLDERS.fullmatch(named):
        raise RecipeError(f"recogniser={recogniser}: expected a hub id, or a folder with a name")
    return named


def read_table(path: str | Path) -> list[dict[str, Any]]:
    """Read one of the recipe's CSVs, a dict per row.

    ID (str), duration (float, s), wav (absolute Path), spk_id (str) and wrd (str). Refused: no such
    table, one of more than 500 MB, other columns, or a wav outside its folder.
    """
    path = Path(path)
    if not path.is_file():
        raise RecipeError(f"{path}: no such table; run prepare_data.py first, with the same config")
    try:
        check_size(path)
        with path.open(newline="", encoding="utf-8") as stream:
            rows = list(csv.reader(stream))
        if not rows or tuple(rows[0]) != COLUMNS:
            raise ValueError(f"columns {rows[0] if rows else []}, expected {list(COLUMNS)}")
        return [_row(row, path.parent.resolve()) for row in rows[1:]]
    except (OSError, ValueError, csv.Error) as error:
        raise RecipeError(f"{path}: {error}; run prepare_data.py again to rebuild it") from None


def _row(values: list[str], root: Path) -> dict[str, Any]:
    if len(values) != len(COLUMNS):
        raise ValueError(f"row {values!r:.80} has {len(values)} fields, expected {len(COLUMNS)}")
    row: dict[str, Any] = dict(zip(COLUMNS, values, strict=True))
    row["duration"] = float(row["duration"])
    if not 0 < row["duration"] < math.inf:
        raise ValueError(f"{row['ID']}: duration is {values[1]}, expected seconds")
    row["wav"] = Path(row["wav"].replace("$data_root", str(root), 1)).resolve()
    if not row["wav"].is_relative_to(root):
        raise ValueError(f"{row['ID']}: wav {values[2]} lies outside {root}")
    return row


def write_table(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write one of the recipe's CSVs whole; `wav` (Path) is stored relative to `$data_root`."""
    with atomic_path(path) as part, part.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for row in rows:
            relative = row["wav"].relative_to(path.parent)
            writer.writerow(row | {"wav": f"$data_root/{relative.as_posix()}"})
