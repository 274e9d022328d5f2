"""Archives unpacked so that nothing lands, or points, outside the folder meant for them.

What tarfile's own filter refuses is left to it. Before Python 3.11.13, 3.12.11 and 3.13.4 links
could lead that filter outside, so names and links are checked here as well, more strictly.
"""

import logging
import os
import posixpath
import shutil
import stat
import tarfile
import uuid
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from intelligibility.runs import RecipeError, listed

logger = logging.getLogger(__name__)

SUFFIXES = (".tar.gz", ".tgz", ".tar", ".tar.bz2", ".tar.xz", ".zip")


@contextmanager
def unpacked(archive: Path, near: Path) -> Iterator[Path]:
    """Unpack a tar or zip file, whole, into a folder of its own that is removed afterwards.

    That folder is made in `near`: what is moved from it stays on its disk. Refused are a damaged
    archive, one that needs more room than there is, and one of which anything would be written, or
    would point, outside.
    """
    for left in near.glob(".unpacking.*"):
        shutil.rmtree(left)
    folder = near / f".unpacking.{uuid.uuid4().hex[:12]}"
    folder.mkdir(parents=True)
    try:
        (_unzip if archive.suffix.lower() == ".zip" else _untar)(archive, folder)
        yield folder
    except tarfile.FilterError as error:
        raise RecipeError(
            f"{archive}: refused ({error}); nothing of it was kept. This is no archive of the "
            "challenge as it was released"
        ) from None
    except (tarfile.TarError, zipfile.BadZipFile, EOFError) as error:
        raise RecipeError(
            f"{archive}: cannot be unpacked ({error}); delete it and run again"
        ) from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _untar(archive: Path, folder: Path) -> None:
    links: set[PurePosixPath] = set()
    with tarfile.open(archive) as tar:
        for entry in tar:
            path = PurePosixPath(entry.name)
            _check(entry.name, entry.size, folder)
            if links & set(path.parents):
                raise tarfile.FilterError(f"{entry.name!r:.100} would be written through a link")
            if entry.issym() or entry.islnk():
                # A hard link names its target from the top of the archive.
                start = "" if entry.islnk() else str(path.parent)
                if not _stays_inside(start, entry.linkname):
                    raise tarfile.FilterError(f"{entry.name!r:.100} links outside the folder")
                links.add(path)
            tar.extract(entry, folder, filter="data")


def _unzip(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as zipped:
        for entry in zipped.infolist():
            # `filename` was cleaned already; what to judge is the name as it stands.
            _check(entry.orig_filename, entry.file_size, folder)
            if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise tarfile.FilterError(f"{entry.filename!r:.100} is neither a file nor a folder")
            zipped.extract(entry, folder)


def _check(name: str, size: int, folder: Path) -> None:
    """Refuse a member that would be written outside the folder, or has no room there."""
    if not _stays_inside("", name):
        raise tarfile.FilterError(f"{name!r:.100} would be written outside the folder")
    free = shutil.disk_usage(folder).free
    if size > free:
        raise RecipeError(
            f"{folder.parent}: {name} takes {size / 1e9:.2f} GB of {free / 1e9:.2f} GB free; make "
            "room and run again"
        )


def _stays_inside(start: str, name: str) -> bool:
    """Return whether a relative name, counted from `start`, can not leave the top folder.

    Steps up may only come first: after a step into what may be a link, nobody knows where up is.
    """
    ups_first = PurePosixPath(posixpath.normpath(name)) == PurePosixPath(name)
    first = posixpath.normpath(posixpath.join(start, name)).split("/")[0]
    unusual = any(sign in name for sign in "\\:\0")
    return bool(name) and ups_first and first not in ("", "..") and not unusual


def files_to_move(source: Path, target: Path, stays: Callable[[Path], bool]) -> list[str]:
    """List the files of one folder that are to be moved into another, relative to both.

    `stays` tells of a file that is in the target already whether it is to stay.
    """
    moved, stayed = [], []
    for folder, folders, names in os.walk(source):
        linked = [name for name in folders if Path(folder, name).is_symlink()]
        place = target / Path(folder).relative_to(source)
        for name in sorted((*names, *linked)):
            file = place / name
            if os.path.lexists(file) and stays(file):
                stayed.append(file.name)
            else:
                moved.append(file.relative_to(target).as_posix())
    if stayed:
        logger.info("%d files were there and stay as they are: %s", len(stayed), listed(stayed))
    return moved


def move(names: Iterable[str], source: Path, target: Path) -> None:
    """Move files of one folder into another on the same disk."""
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(source / name, target / name)
