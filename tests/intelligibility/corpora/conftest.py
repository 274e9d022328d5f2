"""A small release in the layout of the corpus that a module of tests is about: its `CORPUS`."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.made.release import make_release
from demo.layouts import lay_out
from intelligibility.corpora import read_archives
from intelligibility.corpora.presentation import Archive, in_lines
from intelligibility.preparation.check import check_archives, check_headers
from tests.conftest import configure, edit


@pytest.fixture(scope="module")
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small release; tests that change it take a copy."""
    corpus = request.module.CORPUS
    folder = tmp_path_factory.mktemp(corpus)
    lay_out(make_release(folder / "cpc1"), folder / "release", corpus)
    return folder / "release"


@pytest.fixture
def root(whole: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(whole, tmp_path / "root"))


@pytest.fixture
def read(request: pytest.FixtureRequest) -> Callable[..., dict[str, Archive]]:
    """Read a release as the configuration says."""
    corpus = f"corpus={request.module.CORPUS}"
    return lambda root, *more: read_archives(configure(root, root / "exp", corpus, *more), "")


@pytest.fixture
def all_problems(read: Callable[..., dict[str, Archive]]) -> Callable[[Path], str]:
    """Return everything that a check finds, but for the losses of the small release's people."""

    def check(root: Path) -> str:
        archives = read(root)
        problems = [*check_archives(archives), *check_headers(archives)[1]]
        return in_lines(one for one in problems if "losses above" not in one.fault)

    return check


def spoil(data: Path, file: str, change: Callable | None) -> None:
    """Change a list of the metadata, or remove it or another file."""
    found = [*data.glob(file), *data.glob(f"**/{file}.json")]
    assert found
    for path in found:
        path.unlink() if change is None else edit(path, change)


def first(**changes: object) -> Callable[[list[dict]], object]:
    """Return what changes the first entry of a list."""
    return lambda entries: entries[0].update(changes)


def twice(entries: list[dict]) -> None:
    """List the first entry a second time."""
    entries.append(entries[0])
