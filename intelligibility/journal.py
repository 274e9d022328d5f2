"""Finished work, remembered line by line together with what it was made from.

A journal is a jsonl file that only grows: a killed run loses at most the line it was writing.
Shards write a file each and read all of them.
"""

import hashlib
import json
import time
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Any

SAMPLED = 4096  # bytes of a file that are read at a place


class Journal:
    """The results of one stage, each with the settings and sources that made it.

    Parameters
    ----------
    path : Path
        The unsharded journal, such as prepared.jsonl.
    shard, n_shards : int
        This run's part of the work; shard 3 of 32 writes to prepared-3of32.jsonl.
    """

    def __init__(self, path: Path, shard: int = 0, n_shards: int = 1):
        part = f"-{shard}of{n_shards}" if n_shards > 1 else ""
        self.path = path.with_name(f"{path.stem}{part}{path.suffix}")
        self.latest: dict[str, dict[str, Any]] = {}
        self.outdated: Counter[str] = Counter()
        shards = sorted(path.parent.glob(f"{path.stem}-*of*{path.suffix}"))
        for file in [path, *shards] if path.is_file() else shards:
            self._read(file)

    def __enter__(self) -> "Journal":
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._stream = self.path.open("a+b")
        if self._stream.tell() and not self._ends_with_newline():
            self._stream.write(b"\n")  # closes the line that a killed run left torn
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stream.close()

    def result(self, key: str, made_by: dict[str, Any]) -> dict[str, Any] | None:
        """Return the result of `key`, or None when there is none or something else made it.

        What differed is counted in `outdated`, by the name of the entry in `made_by`.
        """
        entry = self.latest.get(key)
        if entry is None:
            return None
        now = json.loads(json.dumps(made_by))
        if changed := [name for name in now if entry["made_by"].get(name) != now[name]]:
            self.outdated.update(changed)
            return None
        return entry["result"]

    def add(self, key: str, made_by: dict[str, Any], result: dict[str, Any]) -> None:
        """Append one result; it is safe from a kill when this returns."""
        entry = {"key": key, "time": time.time(), "made_by": made_by, "result": result}
        line = json.dumps(entry, ensure_ascii=False)
        self.latest[key] = json.loads(line)
        self._stream.write(line.encode() + b"\n")
        self._stream.flush()

    def _ends_with_newline(self) -> bool:
        self._stream.seek(-1, 2)
        return self._stream.read(1) == b"\n"

    def _read(self, file: Path) -> None:
        for line in file.read_bytes().splitlines():
            try:
                entry = json.loads(line)
                key, when = entry["key"], entry["time"]
                kinds = {"key": str, "time": float, "made_by": dict, "result": dict}
                whole = all(isinstance(entry[name], kind) for name, kind in kinds.items())
            except (ValueError, TypeError, KeyError):
                continue  # torn by a kill: the work is done again
            if whole and when >= self.latest.get(key, {"time": 0})["time"]:
                self.latest[key] = entry


def file_stamp(path: Path) -> list[int | str]:
    """Return what tells one version of a file from another, wherever it lies: size and a hash.

    The hash is of a few KiB from its start, middle and end: whole corpora are read anew for a
    resumed run otherwise. Times of change say nothing once a folder has been copied.
    """
    size = path.stat().st_size
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        for place in (0, size // 2, max(0, size - SAMPLED)):
            stream.seek(place)
            digest.update(stream.read(SAMPLED))
    return [size, digest.hexdigest()[:16]]
