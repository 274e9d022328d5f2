"""A stage's pieces of work: what an earlier run finished is kept, the rest is done in processes.

A journal is a jsonl file that only grows, one line per finished piece, with everything that
determined its result. A killed run loses at most the line that it was writing. Shards write a file
each and read all of them.
"""

import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

from joblib import effective_n_jobs

from intelligibility.parallel import in_processes
from intelligibility.runs import RecipeError, file_stamp, listed, progress

logger = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = dict[str, Any]  # plain values, as json holds them
Call = Callable[[list[Item]], Iterable[Result | ValueError]]
Done = Iterable[tuple[str, Result | ValueError]]  # by the key of a piece
Stamp = Callable[[Path], list[int | str]]  # what identifies a file's content


@dataclass(frozen=True)
class Piece(Generic[Item]):
    """One piece of work."""

    key: str  # its name in the journal
    item: Item  # what the work is done on: it is handed to the stage's call
    seconds: float = 1.0  # about how long it takes, in any unit: shards get equal shares
    # Pieces of one group go to one shard and, as far as possible, to one call; by default a piece
    # is a group by itself.
    group: str = ""


class Work(Generic[Item]):
    """The pieces of work of one run, and the results of those that are done.

    Parameters
    ----------
    journal : Path
        Where results are kept, such as prepared.jsonl; shard 3 of 32 writes prepared-3of32.jsonl.
    pieces : iterable of Piece
        All pieces of the stage; this run does its shard's.
    made_by : callable
        Returns everything that determines the result of an item, as a dict of plain values. A
        piece is done again when any of it changes. The second argument stands for a file by its
        content: `stamp(path)`.
    what : str
        What the pieces are called in messages, in the plural.
    shard, n_shards : int
        Which part of the pieces, from 0, and of how many.
    is_whole : callable, optional
        Tells from an item and its result whether that result can be kept: whether its files are
        still there, for instance.

    Attributes
    ----------
    results : dict
        By the piece's key, in the order of the pieces once all are done.
    made_by : dict
        By the piece's key, what `made_by` returns.
    failed : dict
        What is wrong with the pieces that could not be done, by their keys.
    outdated : Counter
        How many results are dropped because this entry of `made_by` has changed.

    Examples
    --------
    Squares, in this process; with n_jobs=2 in two:

    >>> import tempfile
    >>> journal = Path(tempfile.mkdtemp(), "squares.jsonl")
    >>> pieces = [Piece(str(number), number) for number in (2, 3)]
    >>> work = Work(journal, pieces, lambda number, stamp: {"power": 2}, "squares")
    >>> work.do(lambda number: {"square": number**2}, n_jobs=1)
    >>> work.results
    {'2': {'square': 4}, '3': {'square': 9}}

    Another run finds them done:

    >>> Work(journal, pieces, lambda number, stamp: {"power": 2}, "squares").todo
    []
    """

    def __init__(
        self,
        journal: Path,
        pieces: Iterable[Piece[Item]],
        made_by: Callable[[Item, Stamp], dict[str, Any]],
        what: str,
        shard: int = 0,
        n_shards: int = 1,
        is_whole: Callable[[Item, Result], bool] = lambda item, result: True,
    ):
        self._journal = Journal(journal, shard, n_shards)
        self._what, self._shard, self._n_shards = what, shard, n_shards
        groups = _groups(pieces)
        seconds = {name: sum(piece.seconds for piece in group) for name, group in groups.items()}
        mine = shard_of(seconds, shard, n_shards)
        self._pieces = [p for name, group in groups.items() if name in mine for p in group]
        n_pieces = len(self._pieces)
        self.made_by = {
            piece.key: made_by(piece.item, self._journal.stamp)
            for piece in progress(self._pieces, f"{what} looked at", n_pieces, what, delay=10)
        }
        self.failed: dict[str, str] = {}
        self.results: dict[str, Result] = {}
        for piece in self._pieces:
            result = self._journal.result(piece.key, self.made_by[piece.key])
            if result is not None and is_whole(piece.item, result):
                self.results[piece.key] = result
        self.todo = [piece for piece in self._pieces if piece.key not in self.results]
        self.outdated = self._journal.outdated
        if self.outdated:
            changed = dict(self.outdated)
            logger.warning("%s to be done anew, since these changed: %s", what, changed)
        logger.info("%d of %d %s are done already", len(self.results), len(self._pieces), what)

    def do(self, call: Callable[[Item], Result], n_jobs: int) -> None:
        """Do what is still to be done, an item at a time, in `n_jobs` processes (-1: one per core).

        `call` returns the result of an item, or raises ValueError when there can be none: the other
        pieces are done all the same. Any other error stops the work.
        """
        self.do_together(partial(_one_by_one, call), n_jobs, at_most=1)

    def do_together(
        self,
        call: Call[Item],
        n_jobs: int = 1,
        at_most: int | None = None,
        at_once: bool = False,
    ) -> None:
        """Do what is still to be done, several items at a time.

        Parameters
        ----------
        call : callable
            Gives the result of each item in a list, in their order, or the ValueError that says
            why there is none.
        n_jobs : int
            In so many processes: a call gets items of one group.
        at_most : int, optional
            Items of a call: a kill loses no more than these.
        at_once : bool
            Hand all items to one call in this process, such as one that uses a GPU.
        """
        started = time.monotonic()
        self._journal.create()
        done = _at_once(call, self.todo) if at_once else self._in_processes(call, n_jobs, at_most)
        for key, result in progress(done, self._what, len(self.todo), unit=self._what):
            if isinstance(result, ValueError):
                self.failed[key] = str(result)
            else:
                self._journal.add(key, self.made_by[key], result)
                self.results[key] = result
        self._journal.keep_stamps()
        keys = [piece.key for piece in self._pieces if piece.key in self.results]
        self.results = {key: self.results[key] for key in keys}
        logger.info("%d %s took %.1f s", len(self.todo), self._what, time.monotonic() - started)
        if self._n_shards > 1:
            logger.info(
                "Shard %d of %d is done; run without shard and n_shards to write the results",
                *(self._shard, self._n_shards),
            )

    def refuse_failed(self, remedy: str) -> None:
        """Raise a RecipeError when pieces failed; `remedy` says what the user can do."""
        if self.failed:
            faults = [f"{key}: {fault}" for key, fault in sorted(self.failed.items())]
            raise RecipeError(
                f"{len(faults)} of {len(self._pieces)} {self._what} failed, the others are done: "
                f"{listed(faults)}; {remedy}"
            )

    def _in_processes(self, call: Call[Item], n_jobs: int, at_most: int | None) -> Done:
        size = at_most or max(1, len(self.todo))
        parts = [
            (call, group[start : start + size])
            for group in _groups(self.todo).values()
            for start in range(0, len(group), size)
        ]
        n_jobs = min(effective_n_jobs(n_jobs), max(1, len(parts)))
        for done in in_processes(_in_a_process, parts, n_jobs):
            yield from done


def shard_of(seconds: Mapping[str, float], shard: int, n_shards: int) -> set[str]:
    """Choose this shard's part of the work, by name: the parts last about as long as each other.

    `seconds` tells about how long each takes. All shards together have every name once.
    """
    if not 0 <= shard < n_shards:
        raise RecipeError(f"shard={shard} n_shards={n_shards}: expected 0 to n_shards - 1")
    loads, part = [0.0] * n_shards, set()
    for name in sorted(seconds, key=lambda name: (-seconds[name], name)):  # longest first
        lightest = loads.index(min(loads))
        loads[lightest] += seconds[name]
        if lightest == shard:
            part.add(name)
    return part


def _groups(pieces: Iterable[Piece[Item]]) -> dict[str, list[Piece[Item]]]:
    groups: dict[str, list[Piece[Item]]] = {}
    for piece in pieces:
        groups.setdefault(piece.group or piece.key, []).append(piece)
    return groups


def _one_by_one(call: Callable[[Item], Result], items: list[Item]) -> Iterator[Result | ValueError]:
    for item in items:
        try:
            yield call(item)
        except ValueError as error:
            yield error


def _at_once(call: Call[Item], pieces: list[Piece[Item]]) -> Done:
    results = call([piece.item for piece in pieces]) if pieces else ()
    return zip((piece.key for piece in pieces), results, strict=True)


def _in_a_process(call: Call[Item], pieces: list[Piece[Item]]) -> Done:
    return list(_at_once(call, pieces))


class Journal:
    """The results of one stage, each with everything that determined it.

    `path` is the unsharded journal, such as prepared.jsonl; shard 3 of 32 writes to
    prepared-3of32.jsonl, and reads them all.
    """

    def __init__(self, path: Path, shard: int = 0, n_shards: int = 1):
        part = f"-{shard}of{n_shards}" if n_shards > 1 else ""
        self.path = path.with_name(f"{path.stem}{part}{path.suffix}")
        self.latest: dict[str, dict[str, Any]] = {}
        self._stamps: dict[str, list[int | str]] = {}  # size, time of change, hash
        self._new_stamps: dict[str, list[int | str]] = {}
        self.outdated: Counter[str] = Counter()
        shards = sorted(path.parent.glob(f"{path.stem}-*of*{path.suffix}"))
        for file in [path, *shards] if path.is_file() else shards:
            self._read(file)

    def result(self, key: str, made_by: dict[str, Any]) -> Result | None:
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

    def stamp(self, path: Path) -> list[int | str]:
        """Return what identifies a file's content: its size and a hash of all of it.

        The hash is taken again only where the file's size or time of change has changed.
        """
        state = path.stat()
        known = self._stamps.get(str(path), [])
        if known[:2] != [state.st_size, state.st_mtime_ns]:
            known = [state.st_size, state.st_mtime_ns, file_stamp(path)[1]]
            self._stamps[str(path)] = self._new_stamps[str(path)] = known
        return [known[0], known[2]]

    def create(self) -> None:
        """Make this run's file where it is absent: others ask for it to know that a run began."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.open("ab").close()

    def keep_stamps(self) -> None:
        """Append the hashes of files that no result has been added with."""
        if self._new_stamps:
            self._append({})

    def add(self, key: str, made_by: dict[str, Any], result: Result) -> None:
        """Append one result; it is safe from a kill when this returns."""
        entry = {"key": key, "time": time.time(), "made_by": made_by, "result": result}
        self.create()
        self.latest[key] = self._append(entry)

    def _append(self, entry: dict[str, Any]) -> dict[str, Any]:
        """Append a line, with the hashes taken since the last; return it as it will be read."""
        if self._new_stamps:
            entry = entry | {"stamps": self._new_stamps}
            self._new_stamps = {}
        line = json.dumps(entry, ensure_ascii=False)
        with self.path.open("a+b") as stream:
            if stream.tell():
                stream.seek(-1, 2)
                torn = stream.read(1) != b"\n"  # by a kill
                stream.write(b"\n" * torn)
            stream.write(line.encode() + b"\n")
        return json.loads(line)

    def _read(self, file: Path) -> None:
        for line in file.read_bytes().splitlines():
            try:
                entry = json.loads(line)
                if isinstance(entry.get("stamps"), dict):
                    self._stamps |= entry["stamps"]
                key, when = entry["key"], entry["time"]
                kinds = {"key": str, "time": float, "made_by": dict, "result": dict}
                whole = all(isinstance(entry[name], kind) for name, kind in kinds.items())
            except (ValueError, TypeError, KeyError, AttributeError):
                continue  # torn by a kill: the work is done again
            if whole and when >= self.latest.get(key, {"time": 0})["time"]:
                self.latest[key] = entry
