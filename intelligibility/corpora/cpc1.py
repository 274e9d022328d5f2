"""The CPC1 release and the experiment made from it: the one place that knows where things are.

Everything is per track: closed ("" in file names) or open ("_indep"). The release is only read.
"""

import csv
import logging
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationToMissingValueError, MissingMandatoryValue

from intelligibility.runs import MAX_JSON, RECIPE, RecipeError, atomic_path, read_json
from msbg import Listener

logger = logging.getLogger(__name__)

TRACKS = {"closed": "", "open": "_indep"}
SPLITS = ("train", "dev", "test")
EARS = ("left", "right")
KINDS = ("msbg", "ref")
MEASURES = ("enc", "dec", "pre", "wcs")
COLUMNS = ("ID", "duration", "wav", "spk_id", "wrd")
LISTENER_FILES = {"train": "listeners.CPC1_train.json", "test": "listeners.CPC1_all.json"}
NO_SPEECH = 2.0  # s at the start of every scene, before the target speaks
ASR_RATE = 16000  # Hz
ARCHIVE = "clarity_CPC1_data"  # what both archives call their outermost folder

OmegaConf.register_new_resolver("recipe", lambda: str(RECIPE), replace=True)

# Hydra refuses keys that config.yaml does not name; these two take any: asr_overrides.batch_size=8
FREE_MAPPINGS = {
    key: DictConfig({}, flags={"struct": False}) for key in ("asr_overrides", "run_opts")
}
ConfigStore.instance().store(name="free_mappings", node=FREE_MAPPINGS)


@dataclass(frozen=True)
class Response:
    """One hearing-aid output as one listener heard it.

    `correctness` is the percentage of words that the listener got right, None where it is not
    released.
    """

    signal: str
    scene: str
    listener: str
    system: str
    prompt: str
    correctness: float | None = None


@dataclass(frozen=True)
class Cpc1:
    """Every file of the release and of the experiment, for one track.

    Attributes
    ----------
    track : str
        "" for the closed track, "_indep" for the open one, as in the release's file names.
    train_data, test_data : Path or None
        The unpacked archives; None when the configuration names none.
    exp_folder, asr_folder : Path
        Where the experiment and its recogniser are written.
    test_responses : Path or None
        The folder of the test responses when they lie beside the release.
    """

    track: str
    train_data: Path | None
    test_data: Path | None
    exp_folder: Path
    asr_folder: Path
    test_responses: Path | None = None

    @classmethod
    def from_config(cls, cfg: DictConfig) -> "Cpc1":
        """Read the paths and the track from the configuration; relative paths count from here."""
        if cfg.cpc1_track not in TRACKS:
            raise RecipeError(f"cpc1_track={cfg.cpc1_track}: expected {' or '.join(TRACKS)}")
        track = TRACKS[cfg.cpc1_track]
        exp_folder = _path(cfg, "exp_folder")
        return cls(
            track=track,
            train_data=_archive(_path(cfg, "cpc1_train_data")),
            test_data=_archive(_path(cfg, "cpc1_test_data")),
            exp_folder=exp_folder,
            asr_folder=_path(cfg, "asr_folder") or exp_folder / f"transformer_cpc1{track}",
            test_responses=_path(cfg, "test_responses"),
        )

    # The release. `split` is "train" (which holds dev as well) or "test".

    def release(self, split: str) -> Path:
        """Return the unpacked archive of a split, or say which key has to name it."""
        folder = self.test_data if split == "test" else self.train_data
        key = f"path.cpc1_{'test' if split == 'test' else 'train'}_data"
        if folder is None:
            raise RecipeError(
                "path.root is not set: give the folder of the unpacked CPC1 archives, in "
                f"config.yaml or as path.root=/data/cpc1 (or {key} alone)"
            )
        if not (folder / "metadata").is_dir():
            raise RecipeError(
                f"{folder}: no metadata folder here; set {key} to the unpacked CPC1 archive, which "
                "holds metadata/ and clarity_data/"
            )
        return folder

    def metadata_file(self, split: str) -> Path:
        """Return the list of a split's signals in the release."""
        return self.release(split) / "metadata" / f"CPC1.{split}{self.track}.json"

    def listeners_file(self, split: str) -> Path:
        """Return the audiograms of a split's listeners in the release."""
        return self.release(split) / "metadata" / LISTENER_FILES[split]

    def hearing_aid_wav(self, split: str, signal: str) -> Path:
        """Return the stereo output of the hearing aid."""
        folder = f"{split}{self.track}"
        return self.release(split) / "clarity_data/HA_outputs" / folder / f"{signal}.wav"

    def reference_wav(self, split: str, scene: str) -> Path:
        """Return the clean anechoic target of a scene, stereo."""
        return self.release(split) / "clarity_data/scenes" / f"{scene}_target_anechoic.wav"

    # The experiment.

    @property
    def data_folder(self) -> Path:
        """Return the folder of ear signals and tables, `$data_root` in the tables."""
        return self.exp_folder / f"cpc1_asr_data{self.track}"

    def scene_list(self, split: str) -> Path:
        """Return the list of training ("train") or development ("dev") scenes."""
        return self.exp_folder / "data_split" / f"scene_{split}_list{self.track}.json"

    def kept_metadata(self, name: str) -> Path:
        """Return the experiment's own copy of a metadata file, for stages without the release."""
        return self.exp_folder / "metadata" / name

    def table(self, ear: str, split: str, kind: str) -> Path:
        """Return the CSV of an ear ("left", "right", "binaural"), a split and a kind."""
        return self.data_folder / f"{ear}_{split}_{kind}.csv"

    def ear_wav(self, split: str, kind: str, ear: str, name: str) -> Path:
        """Return a 16 kHz ear signal; `name` is the signal (msbg) or the scene (ref)."""
        folder = "test" if split == "test" else "train"
        return self.data_folder / folder / f"{ear}_{kind}" / f"{name}.wav"

    def measure_file(self, split: str, measure: str) -> Path:
        """Return the json of one measure, {signal: 0..1}, for "dev" or "test"."""
        what = "correctness" if measure == "wcs" else "similarity"
        return self.exp_folder / f"{split}_{measure}_{what}{self.track}.json"

    def results_file(self, stem: str, suffix: str) -> Path:
        """Return a result of this track, such as results_indep.json."""
        return self.exp_folder / f"{stem}{self.track}{suffix}"

    # What the files say.

    def signals(self, split: str) -> list[Response]:
        """Read the signals of "train" (which holds dev as well) or "test", sorted by name."""
        return read_responses(self._metadata(split, f"CPC1.{split}{self.track}.json"))

    def responses(self, split: str) -> list[Response]:
        """Read the labelled responses of "train" or "test".

        Test responses come from `path.test_responses` when it is set, else from the metadata.
        Damaged entries are left out with a warning: prepare_data.py was told to leave them out.
        """
        name = f"CPC1.{split}{self.track}.json"
        if split == "test" and self.test_responses is not None:
            path = self.test_responses / name
            if not path.is_file():
                raise RecipeError(
                    f"{path}: no such file; set path.test_responses to the folder that holds {name}"
                )
        else:
            path = self._metadata(split, name)
        responses, faults = parse_responses(path)
        if faults:
            logger.warning(
                "%s: %d damaged entries are left out: %s", path, len(faults), listed(faults)
            )
        return responses

    def listeners(self, split: str) -> dict[str, Listener]:
        """Read the listeners of "train" or "test" with their audiograms."""
        path = self._metadata(split, LISTENER_FILES[split])
        try:
            return Listener.load_listener_dict(path)
        except FileNotFoundError:
            raise RecipeError(f"{path}: no such file; it holds the listeners' audiograms") from None
        except ValueError as error:
            raise RecipeError(str(error)) from None

    def _metadata(self, split: str, name: str) -> Path:
        """Return a metadata file of the release, or the copy that prepare_data.py kept."""
        folder = self.test_data if split == "test" else self.train_data
        kept = self.kept_metadata(name)
        if kept.is_file() and (folder is None or not (folder / "metadata" / name).is_file()):
            return kept
        return self.release(split) / "metadata" / name


def _path(cfg: DictConfig, key: str) -> Path | None:
    try:
        value = cfg.path[key]
    except (InterpolationToMissingValueError, MissingMandatoryValue):
        return None
    return None if value is None else Path(str(value)).expanduser().absolute()


def _archive(folder: Path | None) -> Path | None:
    """Accept the archive's own outermost folder below the one that was named."""
    if folder is not None and not (folder / "metadata").is_dir() and (folder / ARCHIVE).is_dir():
        return folder / ARCHIVE
    return folder


def read_responses(path: str | Path) -> list[Response]:
    """Read a CPC1 metadata file.

    Parameters
    ----------
    path : str or Path
        Such as CPC1.train.json: a list of mappings with at least signal, scene, listener, system
        and prompt.

    Returns
    -------
    list of Response
        Sorted by signal.

    Raises
    ------
    RecipeError
        The file is missing or damaged, or an entry lacks a field or holds an impossible value.
    """
    responses, faults = parse_responses(path)
    if faults:
        raise RecipeError(f"{path}: {listed(faults)}; restore the file from the release")
    return responses


def parse_responses(path: str | Path) -> tuple[list[Response], list[str]]:
    """Read a CPC1 metadata file as far as it is sound: the responses, and what is wrong."""
    responses, faults = [], []
    for number, entry in enumerate(read_json(path, list), start=1):
        try:
            responses.append(_response(entry))
        except ValueError as error:
            faults.append(f"entry {number}: {error}")
    return sorted(responses, key=lambda response: response.signal), faults


def _response(entry: Any) -> Response:
    if not isinstance(entry, dict):
        raise ValueError(f"{entry!r:.60} where a mapping was expected")
    for field in ("signal", "scene", "listener", "system"):
        # These become file names: nothing in them may lead to another folder.
        name = entry.get(field)
        if not (isinstance(name, str) and re.fullmatch(r"\w[\w.+-]{0,200}", name, flags=re.ASCII)):
            raise ValueError(f"{field} is {name!r:.60}, expected a name such as S08510")
    if not isinstance(entry.get("prompt"), str):
        raise ValueError(f"prompt is {entry.get('prompt')!r:.60}, expected the sentence")
    correctness = entry.get("correctness")
    if correctness is not None:
        number = isinstance(correctness, int | float) and not isinstance(correctness, bool)
        if not (number and 0 <= correctness <= 100):
            raise ValueError(f"correctness is {correctness!r:.60}, expected percent, 0 to 100")
        correctness = float(correctness)
    names = (entry[field] for field in ("signal", "scene", "listener", "system"))
    return Response(*names, entry["prompt"], correctness)


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


def listed(items: list[str], most: int = 5) -> str:
    """Return the first few of many items in one line, with a count of the rest."""
    rest = f" and {len(items) - most} more" if len(items) > most else ""
    return "; ".join(items[:most]) + rest
