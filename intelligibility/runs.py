"""What every run needs, whatever its stage: its one error, locks, whole files, versions, device.

Problems travel in three ways and no more. A `RecipeError` is what the user can fix: it stops the
script with a readable message. A `ValueError` is a wrong argument of a function: whoever calls it
knows what that means for the user. A `Problem` (corpora/presentation.py) is a value that checks
before work return; prepare_data.py joins all of them and decides once.

Neither Hydra nor torch is imported here, so that what a notebook takes from here loads fast.
"""

import fcntl
import hashlib
import importlib.metadata
import json
import logging
import os
import platform
import re
import shutil
import sys
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)
logbook = logging.getLogger("logbook")  # goes to the log file only: see config.yaml

RECIPE = Path(__file__).resolve().parent.parent
MAX_BYTES = 500_000_000  # of a file of metadata; all of CPC1's metadata is a hundredth of that
# s of speech that our recogniser takes: its CNN needs three frames of features, 10 ms apart, its
# encoder counts 2500 positions, 40 ms apart. Corpora and recognisers meet here only.
SPEECH_SECONDS = (0.02, 99)
ASR_RATE = 16000  # Hz, of all that a recogniser hears
# The filter of all resampling: a sinc under a Kaiser window, as librosa's "kaiser_best" (resampy,
# R. Lee & B. McFee).
KAISER_BEST: dict[str, Any] = {
    "lowpass_filter_width": 64,
    "rolloff": 0.9475937167399596,
    "resampling_method": "sinc_interp_kaiser",
    "beta": 14.769656459379492,
}
PACKAGES = ("torch", "torchaudio", "speechbrain", "numpy", "scipy", "numba", "soundfile", "fastdtw")


class RecipeError(Exception):
    """What the user can fix: says what was found, what was expected and what to do."""


@contextmanager
def sole_run(folder: Path, name: str, shard: int = 0, n_shards: int = 1) -> Iterator[None]:
    """Keep two runs from the same work in the same folder at once.

    Shards may run beside each other, but not beside the same shard or an unsharded run.

    Another run at it is refused by its name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as locks:
        if n_shards == 1:
            _lock(locks, folder / f".{name}.lock", fcntl.LOCK_EX)
        else:
            _lock(locks, folder / f".{name}.lock", fcntl.LOCK_SH)
            _lock(locks, folder / f".{name}-{shard}of{n_shards}.lock", fcntl.LOCK_EX)
        yield


@contextmanager
def shared_use(folder: Path, name: str) -> Iterator[None]:
    """Keep a `sole_run` of that name from changing a folder while others read it."""
    with ExitStack() as locks:
        if os.access(folder, os.W_OK):  # nothing changes a folder that cannot be written
            _lock(locks, folder / f".{name}.lock", fcntl.LOCK_SH)
        yield


def _lock(locks: ExitStack, path: Path, mode: int) -> None:
    stream = locks.enter_context(path.open("a+", encoding="utf-8"))
    try:
        fcntl.flock(stream, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        holders = [
            file.read_text().strip() for file in sorted(path.parent.glob(f"{path.stem}*.lock"))
        ]
        raise RecipeError(
            f"{path.parent} is in use ({'; '.join(filter(None, holders)) or path.stem[1:]}); wait "
            "until that has ended, or let this run write to another folder"
        ) from None
    except OSError as error:
        logger.warning("%s: no locks on this file system (%s); start no second run", path, error)
        return
    if mode == fcntl.LOCK_EX:
        locks.callback(stream.truncate, 0)
        stream.truncate(0)
        stream.write(f"{Path(sys.argv[0]).name}, process {os.getpid()} on {platform.node()}")
        stream.flush()


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary name to write to; the file gets its final name only when whole.

    It is in the same folder, which is made when absent, with the same suffix; renamed at the end,
    removed on an error.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:12]}.part{path.suffix}")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def remove_partial_files(folder: Path, *names: str) -> None:
    """Remove what killed runs left of these files, patterns below `folder`, under temporary names.

    No other run may be writing them.
    """
    for name in names:
        for path in folder.glob(f"{name}.part.*"):
            path.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Give a temporary folder to fill; it gets its final name only when whole.

    It is beside the final name, whose parent is made when absent; renamed at the end, in place of
    what lies there, and removed on an error. What killed runs left is removed first.
    """
    path = Path(path)
    for left in path.parent.glob(f".{path.name}.*.part"):
        shutil.rmtree(left)
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.part")
    part.mkdir(parents=True)
    try:
        yield part
        if path.exists():
            shutil.rmtree(path)
        os.replace(part, path)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def write_text(path: str | Path, text: str) -> None:
    """Write a text file whole, and leave it untouched when it already says the same."""
    path = Path(path)
    if path.is_file() and path.read_bytes() == text.encode():
        return
    with atomic_path(path) as part:
        part.write_bytes(text.encode())


def write_json(path: str | Path, content: Any) -> None:
    """Write `content` as json, whole, and leave the file untouched when it is the same."""
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def read_json(path: str | Path, expected: type = object) -> Any:
    """Read a json file whose outermost value is a `list` or a `dict`, as `expected`.

    A file that is missing, is not json, or holds another kind of value is refused.
    """
    path = Path(path)
    try:
        check_size(path)
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RecipeError(f"{path}: no such file") from None
    except (OSError, ValueError, RecursionError) as error:
        raise RecipeError(f"{path}: cannot be read as json ({error}); restore the file") from None
    if not isinstance(content, expected):
        raise RecipeError(
            f"{path}: holds a {type(content).__name__}, expected a {expected.__name__}; "
            "restore the file"
        )
    return content


def check_size(path: Path) -> None:
    """Raise a ValueError for a file larger than any metadata, so that nothing of it is read."""
    if (size := path.stat().st_size) > MAX_BYTES:
        raise ValueError(f"{size / 1e6:.0f} MB where at most {MAX_BYTES / 1e6:.0f} MB are expected")


def lacking_room(folder: Path, needed: float, what: str) -> str:
    """Log how many bytes `what` needs; return what is lacking on the disk, "" if nothing.

    The folder need not be there yet.
    """
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    balance = f"{needed / 1e9:.2f} GB are needed for {what}, {free / 1e9:.2f} GB free"
    logger.info(balance)
    return "" if needed <= free else f"{folder}: {balance}"


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide the numbers."""
    return {"python": platform.python_version()} | {
        name: importlib.metadata.version(name) for name in PACKAGES
    }


def write_result(path: str | Path, content: Mapping[str, Any]) -> dict[str, Any]:
    """Write a json result that holds a `provenance`; return what the file then holds.

    When only the provenance's time and command differ from the file that is there, that file stays
    as it is: its time is when these numbers were first made.
    """
    path, content = Path(path), dict(content)
    if path.is_file():
        old = read_json(path, dict)
        if _timeless(old) == _timeless(json.loads(json.dumps(content))):
            return old
    write_json(path, content)
    return content


def _timeless(result: dict[str, Any]) -> dict[str, Any]:
    provenance = dict(result.get("provenance") or {})
    return result | {
        "provenance": {k: v for k, v in provenance.items() if k not in ("time", "command")}
    }


def progress(items: Iterable, what: str, total: int, unit: str = "file", delay: float = 0) -> tqdm:
    """Show progress, rate and time left: a bar on a terminal, a line a minute in a file.

    Nothing is shown of what takes less than `delay` seconds.
    """
    options: dict[str, Any] = {"unit": unit, "disable": not total, "delay": delay}
    if not sys.stderr.isatty():
        line = "{desc}: {n_fmt} of {total_fmt}, {rate_fmt}, {elapsed} so far, {remaining} left\n"
        options |= {"mininterval": 60, "bar_format": line}
    return tqdm(items, what, total, **options)


def sha256_of(paths: Iterable[str | Path]) -> str:
    """Return the SHA-256 of the files' contents, one after another, as hexadecimal digits."""
    digest = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def file_stamp(path: Path) -> list[int | str]:
    """Return what identifies a file's content, wherever it lies: its size and a hash of all of it.

    A time of change says nothing once a folder has been copied. A journal remembers the hash, so
    that a resumed run need not read a whole corpus again: see Journal.stamp.
    """
    return [path.stat().st_size, sha256_of([path])[:16]]


def pick_device(name: str) -> "torch.device":
    """Return the torch device that `device` in the configuration asks for.

    auto (the GPU when there is one), cpu, cuda, or cuda:1 and the like.
    """
    import torch  # here, so that a stage without a recogniser does not wait for it

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise RecipeError(f"device={name}: expected auto, cpu, cuda, or cuda:1 and the like")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise RecipeError(f"device={name}, but torch sees no GPU; use device=cpu or device=auto")
    if name.startswith("cuda:") and int(name[5:]) >= (n_gpus := torch.cuda.device_count()):
        raise RecipeError(f"device={name}, but the last GPU that torch sees is cuda:{n_gpus - 1}")
    return torch.device(name)


def is_whole(value: object) -> bool:
    """Tell whether a value is a whole number, and neither True nor False."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    """Tell whether a value from a file is a number; Python counts True and False among them."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def listed(items: list[str], most: int = 5) -> str:
    """Return the first few of many items in one line, with a count of the rest."""
    rest = f" and {len(items) - most} more" if len(items) > most else ""
    return "; ".join(items[:most]) + rest
