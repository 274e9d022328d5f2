"""Every file below exp_folder and asr_folder: the one place that knows where things are.

Those of the second system are in reconstruction/places.py.

Everything is per track: closed ("" in file names) or open ("_indep"). The tables that SpeechBrain
reads are written and read here too.
"""

import csv
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from intelligibility.corpora import corpus_of
from intelligibility.runs import MAX_JSON, RecipeError, atomic_path

TRACKS = {"closed": "", "open": "_indep"}
ABLATIONS = {"msbg": "", "none": "no_hearing_loss"}  # and the folder below exp_folder
SPLITS = ("train", "dev", "test")
EARS = ("left", "right")
KINDS = ("msbg", "ref")  # processed, after the hearing loss, and clean reference
OTHER_FOLDERS = ("data_split", "tables", "figures", "logs", "save", "no_hearing_loss")
COLUMNS = ("ID", "duration", "wav", "spk_id", "wrd")


@dataclass(frozen=True)
class SaveFolder:
    """What lies beside the checkpoints, and goes where they go.

    Attributes
    ----------
    path : Path
        `save_folder` of transformer_cpc1.yaml, which a user may set apart from its `output_folder`.
    """

    path: Path

    @property
    def tokenizer(self) -> Path:
        """The SentencePiece model."""
        return self.path / "tokenizer.ckpt"

    @property
    def model_settings(self) -> Path:
        """The settings that the recogniser was trained with, and has to be loaded with."""
        return self.path / "model_settings.json"

    @property
    def part(self) -> Path:
        """Where checkpoints are written and deleted, so that each is whole or absent."""
        return self.path / ".part"

    @property
    def start(self) -> Path:
        """Where the checkpoints go that training started from, once it has its own."""
        return self.path.parent / "start"


@dataclass(frozen=True)
class AsrFolder:
    """Where a recogniser is kept: what train_asr.py writes.

    The log, the word error rates in detail and the save folder have keys in transformer_cpc1.yaml,
    with these places for defaults.

    Attributes
    ----------
    path : Path
        `path.asr_folder` of config.yaml, `output_folder` of transformer_cpc1.yaml.
    """

    path: Path

    @property
    def save_folder(self) -> Path:
        """The checkpoints, whose average is the recogniser."""
        return self.path / "save"

    @property
    def trained_on(self) -> Path:
        """The record of the training data."""
        return self.path / "trained_on.json"

    @property
    def training(self) -> Path:
        """The course of training, epoch by epoch."""
        return self.path / "training.json"

    @property
    def training_plot(self) -> Path:
        """The course of training, drawn."""
        return self.path / "training.png"

    @property
    def log(self) -> Path:
        """SpeechBrain's line per epoch."""
        return self.path / "train_log.txt"

    @property
    def wer(self) -> Path:
        """The word error rate of each test table, and of which recogniser."""
        return self.path / "wer.json"

    def wer_details(self, table: str) -> Path:
        """Return the alignments of one test table, such as left_dev_msbg."""
        return self.path / f"wer_{table}.txt"

    @classmethod
    def below(cls, folder: Path, corpus: str, track: str) -> "AsrFolder":
        """Return where a recogniser is kept when no `path.asr_folder` says so."""
        return cls(folder / f"transformer_{corpus}{track}")


@dataclass(frozen=True)
class Experiment:
    """Where one track of an experiment is kept.

    Attributes
    ----------
    exp_folder, asr_folder : Path
        All that is written, and the recogniser, which other experiments may share.
    track : str
        "" for the closed track, "_indep" for the open one, as in the release's file names.
    corpus : str
        The name of its corpus.
    recogniser : str
        The folder for what is measured with a recogniser of somebody else's; "" for our own.
    ablation : str
        The folder for all that is made without a hearing loss; "" with one.
    """

    exp_folder: Path
    asr_folder: Path
    track: str = ""
    corpus: str = "cpc1"
    recogniser: str = ""
    ablation: str = ""

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
        asr_folder = AsrFolder.below(exp_folder / ablation, cfg.corpus, track).path
        if cfg.path.asr_folder is not None:
            asr_folder = Path(str(cfg.path.asr_folder)).expanduser().absolute()
        recogniser = "" if is_trained_here(cfg) else folder_name(str(cfg.recogniser))
        return cls(exp_folder, asr_folder, track, cfg.corpus, recogniser, ablation)

    def of_track(self, name: str) -> "Experiment":
        """Return the same experiment's other track, "closed" or "open"."""
        return replace(self, track=TRACKS[name])

    # What prepare_data.py writes.

    @property
    def prepared_folder(self) -> Path:
        """All that is made of the release, but the lists of scenes."""
        return self.exp_folder / self.ablation

    @property
    def data_folder(self) -> Path:
        """The folder of ear signals and tables, `$data_root` in the tables."""
        return self.prepared_folder / f"{self.corpus}_asr_data{self.track}"

    @property
    def prepared_journal(self) -> Path:
        """Which ear signals are done, and from what."""
        return self.data_folder / "prepared.jsonl"

    @property
    def presentations(self) -> Path:
        """The records that were used: all that the later stages know of the release."""
        return self.prepared_folder / f"presentations{self.track}.json"

    @property
    def left_out(self) -> Path:
        """Signals that could not be used, and why; no file when all could."""
        return self.prepared_folder / f"left_out{self.track}.json"

    @property
    def split_record(self) -> Path:
        """How the two lists of scenes were drawn."""
        return self.exp_folder / "data_split" / f"made_by{self.track}.json"

    def scene_list(self, split: str) -> Path:
        """Return the list of training ("train") or development ("dev") scenes."""
        return self.exp_folder / "data_split" / f"scene_{split}_list{self.track}.json"

    def table(self, ear: str, split: str, kind: str) -> Path:
        """Return the CSV of an ear ("left", "right", "binaural"), a split and a kind."""
        return self.data_folder / f"{ear}_{split}_{kind}.csv"

    def ear_wav(self, split: str, kind: str, ear: str, name: str) -> Path:
        """Return a 16 kHz ear signal; `name` is the signal (msbg) or the scene (ref)."""
        archive = "test" if split == "test" else "train"
        return self.data_folder / archive / f"{ear}_{kind}" / f"{name}.wav"

    # What train_asr.py writes: all of it in AsrFolder and SaveFolder, here what other stages read.

    @property
    def asr(self) -> AsrFolder:
        """The recogniser's folder."""
        return AsrFolder(self.asr_folder)

    @property
    def save_folder(self) -> Path:
        """The checkpoints, whose average is the recogniser."""
        return self.asr.save_folder

    @property
    def tokenizer(self) -> Path:
        """The SentencePiece model."""
        return SaveFolder(self.save_folder).tokenizer

    @property
    def trained_on(self) -> Path:
        """The record of the training data."""
        return self.asr.trained_on

    # What infer.py writes.

    @property
    def results_folder(self) -> Path:
        """All that is measured with one recogniser, and what becomes of it."""
        return self.prepared_folder / self.recogniser

    @property
    def inference(self) -> Path:
        """The record of how the similarities were made, written last."""
        return self.results_folder / f"inference{self.track}.json"

    @property
    def inference_journal(self) -> Path:
        """Which signals are measured, and from what."""
        return self.results_folder / f"inference{self.track}.jsonl"

    def measure_file(self, split: str, measure: str) -> Path:
        """Return the json of one measure, {signal: value}, for "dev" or "test"."""
        what = "correctness" if measure == "wcs" else "similarity"
        return self.results_folder / f"{split}_{measure}_{what}{self.track}.json"

    def layers_file(self, split: str) -> Path:
        """Return the json of all layers' similarities, {layer: {signal: 0..1}}."""
        return self.results_folder / f"{split}_layers_similarity{self.track}.json"

    # What baselines.py writes. It knows no recogniser, nor ear signals.

    def baseline_file(self, split: str, baseline: str) -> Path:
        """Return the json of one baseline, {signal: index}, for "dev" or "test"."""
        return self.exp_folder / f"{split}_{baseline}_similarity{self.track}.json"

    @property
    def baselines(self) -> Path:
        """The record of how the baselines were computed."""
        return self.exp_folder / f"baselines{self.track}.json"

    @property
    def baselines_journal(self) -> Path:
        """Which baselines of which signals are computed, and from what."""
        return self.exp_folder / f"baselines{self.track}.jsonl"

    # What evaluate.py writes.

    @property
    def results(self) -> Path:
        """Scores, intervals, fits, counts, provenance."""
        return self.results_folder / f"results{self.track}.json"

    @property
    def predictions(self) -> Path:
        """Each test signal with its similarities and predictions."""
        return self.results_folder / f"predictions{self.track}.csv"

    @property
    def submission(self) -> Path:
        """The predictions in the challenge's columns."""
        return self.results_folder / f"submission{self.track}.csv"

    def submission_of(self, name: str) -> Path:
        """Return the submission of one set of the challenge; "" for all of them."""
        return self.results_folder / f"submission{self.track}{name and f'_{name}'}.csv"

    @property
    def calibration(self) -> Path:
        """The fitted mapping, for runs elsewhere."""
        return self.results_folder / f"calibration{self.track}.json"

    @property
    def report(self) -> Path:
        """All of it on one page."""
        return self.results_folder / f"report{self.track}.html"

    def result_table(self, name: str) -> Path:
        """Return a table without its suffix; Table 1 is of both tracks."""
        track = "" if name == "table1" else self.track
        return self.results_folder / "tables" / f"{name}{track}"

    def figure(self, name: str) -> Path:
        """Return a figure without its suffix."""
        return self.results_folder / "figures" / f"{name}{self.track}"


def is_trained_here(cfg: DictConfig) -> bool:
    """Return whether the configured recogniser is the one that train_asr.py trains."""
    return cfg.recogniser is None


def folder_name(recogniser: str) -> str:
    """Return a file name for a recogniser: openai/whisper-small.en is openai--whisper-small.en.

    A folder's is its last part.
    """
    path = Path(recogniser).expanduser()
    named = path.resolve().name if path.is_dir() else recogniser.strip("/.~").replace("/", "--")
    if not named or named in OTHER_FOLDERS:
        raise RecipeError(f"recogniser={recogniser}: expected a hub id, or a folder with a name")
    return named


def read_table(path: str | Path) -> list[dict[str, Any]]:
    """Read one of the recipe's CSVs.

    Returns
    -------
    list of dict
        ID (str), duration (float, s), wav (absolute Path), spk_id (str) and wrd (str) per row.

    Raises
    ------
    RecipeError
        No such table, one of more than 500 MB, other columns, or a wav outside its folder.
    """
    path = Path(path)
    if not path.is_file():
        raise RecipeError(f"{path}: no such table; run prepare_data.py first, with the same config")
    try:
        if path.stat().st_size > MAX_JSON:  # no metadata is larger, whatever its format
            raise ValueError(
                f"{path.stat().st_size / 1e6:.0f} MB where at most {MAX_JSON / 1e6:.0f} MB are "
                "expected"
            )
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
