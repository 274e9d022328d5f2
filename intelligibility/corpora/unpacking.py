"""Archives unpacked so that nothing lands, or points, outside the folder meant for them."""

import logging
import os
import shutil
import stat
import tarfile
import uuid
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from intelligibility.runs import RecipeError, listed

logger = logging.getLogger(__name__)

SUFFIXES = (".tar.gz", ".tgz", ".tar", ".tar.bz2", ".tar.xz", ".zip")


@dataclass(frozen=True)
class Member:
    """One thing in an archive.

    Attributes
    ----------
    name : str
        As it stands in the archive.
    size : int
        Bytes.
    ordinary : bool
        Whether it is a file, a folder or a link.
    link : str or None
        Where a link points to.
    link_from : str
        The folder that `link` counts from.
    """

    name: str
    size: int
    ordinary: bool
    link: str | None = None
    link_from: str = ""


@contextmanager
def unpacked(archive: Path, near: Path) -> Iterator[Path]:
    """Unpack an archive, whole, into a folder of its own that is gone afterwards.

    Parameters
    ----------
    archive : Path
        A tar or zip file.
    near : Path
        The folder in which that folder is made: what is moved from it stays on its disk.

    Raises
    ------
    RecipeError
        The archive is damaged, needs more room than there is, or holds what would be written or
        would point outside.
    """
    for left in near.glob(".unpacking.*"):
        shutil.rmtree(left)
    folder = near / f".unpacking.{uuid.uuid4().hex[:12]}"
    folder.mkdir(parents=True)
    try:
        if archive.suffix.lower() == ".zip":
            _unzip(archive, folder)
        else:
            _untar(archive, folder)
        yield folder
    except (tarfile.TarError, zipfile.BadZipFile, EOFError) as error:
        raise RecipeError(
            f"{archive}: cannot be unpacked ({error}); delete it and run again"
        ) from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _untar(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as tar:
        check = Check(archive, folder)
        for entry in tar:
            link = entry.linkname if entry.issym() or entry.islnk() else None
            # A hard link names its target from the top of the archive.
            link_from = "" if entry.islnk() else str(PurePosixPath(entry.name).parent)
            ordinary = entry.isfile() or entry.isdir() or link is not None
            check(Member(entry.name, entry.size, ordinary, link, link_from))
            tar.extract(entry, folder, filter="data")


def _unzip(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as zipped:
        check = Check(archive, folder)
        for entry in zipped.infolist():
            mode = entry.external_attr >> 16
            ordinary = stat.S_IFMT(mode) in (0, stat.S_IFREG, stat.S_IFDIR)
            # `filename` was cleaned already; what to judge is the name as it stands.
            check(Member(entry.orig_filename, entry.file_size, ordinary))
            zipped.extract(entry, folder)


class Check:
    """Refuse what an honest release has no use for, before anything of it is written."""

    def __init__(self, archive: Path, folder: Path) -> None:
        self.archive, self.folder = archive, folder
        self.links: set[PurePosixPath] = set()

    def __call__(self, member: Member) -> None:
        """Look at one member."""
        path = PurePosixPath(member.name)
        if not member.ordinary:
            self.refuse(member, "is neither a file, a folder nor a link")
        if not _stays_inside("", member.name):
            self.refuse(member, "would be written outside the folder")
        if any(parent in self.links for parent in path.parents):
            self.refuse(member, "would be written through a link")
        if member.link is not None:
            if not _stays_inside(member.link_from, member.link):
                self.refuse(member, f"links to {member.link!r:.60}, outside the folder")
            self.links.add(path)
        free = shutil.disk_usage(self.folder).free
        if member.size > free:
            raise RecipeError(
                f"{self.archive}: {member.name} takes {member.size / 1e9:.2f} GB of "
                f"{free / 1e9:.2f} GB free; make room and run again"
            )

    def refuse(self, member: Member, why: str) -> None:
        """Stop: nothing of this archive is used."""
        raise RecipeError(
            f"{self.archive}: refused, for {member.name!r:.100} {why}; nothing of it was kept. "
            "This is no archive of the challenge as it was released"
        )


def _stays_inside(start: str, name: str) -> bool:
    """Say whether a relative name, counted from `start`, can not leave the top folder.

    Steps up may only come first: after a step into what may be a link, nobody knows where up is.
    """
    if not name or name.startswith("/") or any(sign in name for sign in "\\:\0"):
        return False
    depth, steps = len(PurePosixPath(start).parts), PurePosixPath(name).parts
    n_up = next((n for n, step in enumerate(steps) if step != ".."), len(steps))
    return n_up <= depth and ".." not in steps[n_up:]


def merge(source: Path, target: Path, stays: Callable[[Path], bool]) -> list[str]:
    """Move the files of one folder into another on the same disk.

    Parameters
    ----------
    source, target : Path
        Both folders.
    stays : callable
        Says of a file in the target, which is there already, whether it is to stay.

    Returns
    -------
    list of str
        The files that were moved, relative to the target.
    """
    moved, stayed = [], []
    for folder, folders, names in os.walk(source):
        linked = [name for name in folders if Path(folder, name).is_symlink()]
        place = target / Path(folder).relative_to(source)
        place.mkdir(parents=True, exist_ok=True)
        for name in sorted((*names, *linked)):
            file = place / name
            if os.path.lexists(file) and stays(file):
                stayed.append(file.name)
            else:
                os.replace(Path(folder, name), file)
                moved.append(file.relative_to(target).as_posix())
    if stayed:
        logger.info("%d files were there and stay as they are: %s", len(stayed), listed(stayed))
    return moved
