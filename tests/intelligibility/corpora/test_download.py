"""Downloads over a network that fails, and archives that mean no good."""

import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from intelligibility.corpora import download
from intelligibility.corpora.download import RecordFile, partial_file, read_record
from intelligibility.corpora.unpacking import files_to_move, move, unpacked
from intelligibility.runs import RecipeError
from tests.archive_server import Record, serving

CONTENT = bytes(range(256)) * 20_000  # 5 MB: several blocks


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait between tries."""
    monkeypatch.setattr(download, "LONGEST_WAIT", 0)


def only_file(record: Record) -> RecordFile:
    """Return the one file of a record that is being served."""
    (file,) = read_record(1)
    return file


def test_a_record_is_read_and_its_file_fetched(tmp_path: Path) -> None:
    record = Record({"a.bin": CONTENT})
    with serving(record):
        file = only_file(record)
        assert file.size == len(CONTENT)
        assert file.checksum == f"md5:{hashlib.md5(CONTENT).hexdigest()}"
        assert download.download(file, tmp_path).read_bytes() == CONTENT
        assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]
        record.asked.clear()
        download.download(file, tmp_path)
    assert record.asked == []  # what is there is not fetched again


@pytest.mark.parametrize("ranges", [True, False])
def test_dropped_connections(tmp_path: Path, ranges: bool) -> None:
    """A connection that drops is taken up where it was; from the start if the server must."""
    record = Record({"a.bin": CONTENT}, drop_after=2_000_000, drops=2, ranges=ranges)
    with serving(record):
        assert download.download(only_file(record), tmp_path).read_bytes() == CONTENT
    asked = [wanted for _, wanted in record.asked]
    assert len(asked) == 3
    assert asked[0] == "bytes=0-"
    assert asked[1] != "bytes=0-"


def test_a_busy_server_is_asked_again(tmp_path: Path) -> None:
    """Too many requests and errors of the server pass, for the record as for a file of it."""
    record = Record({"a.bin": CONTENT}, status=[403, 429, 503], busy=[403, 429, 503])
    with serving(record):
        assert download.download(only_file(record), tmp_path).read_bytes() == CONTENT
    assert len(record.asked) == 4
    assert record.agents == {download.HEADERS["User-Agent"]}


@pytest.mark.parametrize("busy", [[404], [503] * 20])
def test_a_record_that_is_not_given(busy: list[int]) -> None:
    """An answer of the server is not taken for a missing network."""
    record = Record({"a.bin": CONTENT}, busy=busy)
    with serving(record), pytest.raises(RecipeError, match=f"{busy[0]}.*try again later"):
        read_record(1)


@pytest.mark.parametrize("status", [[404], [500] * 20])
def test_a_server_without_the_file(tmp_path: Path, status: list[int]) -> None:
    record = Record({"a.bin": CONTENT}, status=status)
    with serving(record), pytest.raises(RecipeError, match="the same command goes on"):
        download.download(only_file(record), tmp_path)


def test_a_connection_that_never_brings_a_byte(tmp_path: Path) -> None:
    """After some fruitless tries it is given up, and what came before is kept."""
    record = Record({"a.bin": CONTENT}, drop_after=0, drops=100)
    with serving(record):
        file = only_file(record)
        partial_file(file, tmp_path).write_bytes(CONTENT[:1000])
        with pytest.raises(RecipeError, match="what came is kept"):
            download.download(file, tmp_path)
        assert partial_file(file, tmp_path).read_bytes() == CONTENT[:1000]


def test_a_wrong_checksum(tmp_path: Path) -> None:
    """A file that is not the record's is deleted, so that the next run downloads it anew."""
    record = Record({"a.bin": CONTENT}, checksums={"a.bin": "md5:" + "0" * 32})
    with serving(record):
        with pytest.raises(RecipeError, match="a.bin: .*it was deleted"):
            download.download(only_file(record), tmp_path)
        assert not any(path.stat().st_size for path in tmp_path.iterdir())
        record.checksums.clear()
        assert download.download(only_file(record), tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("key", ["../a.bin", "/etc/a.bin", "", "a/b"])
def test_names_that_lead_elsewhere(key: str) -> None:
    record = Record({key: CONTENT})
    with serving(record), pytest.raises(RecipeError, match="not the answer of a record"):
        read_record(1)


def test_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "ZENODO", "http://127.0.0.1:9/api/records")
    with pytest.raises(RecipeError, match="127.0.0.1.*is the network there"):
        read_record(1)


# Unpacking.


def tar_of(path: Path, *members: tuple[str, str, object]) -> Path:
    """Write a tar of (kind, name, content or target)."""
    kinds = {"link": tarfile.SYMTYPE, "hard": tarfile.LNKTYPE, "fifo": tarfile.FIFOTYPE}
    with tarfile.open(path, "w:gz") as tar:
        for kind, name, content in members:
            entry = tarfile.TarInfo(name)
            if kind == "file":
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
            else:
                entry.type, entry.linkname = kinds[kind], content or ""
                tar.addfile(entry)
    return path


HOSTILE = {
    "a name that goes up": [("file", "../evil", b"x")],
    "a name that goes up from within": [("file", "data/../../evil", b"x")],
    "an absolute name": [("file", "/tmp/evil", b"x")],
    "an absolute link": [("link", "data/link", "/etc/passwd")],
    "a link that goes up": [("link", "data/link", "../../evil")],
    "a hard link that goes up": [("hard", "data/link", "../evil")],
    "a file through a link": [("link", "link", "data"), ("file", "link/evil", b"x")],
    "a link up through a link": [("link", "a", "."), ("link", "b", "a/a/../..")],
    "a pipe": [("fifo", "data/pipe", None)],
}


@pytest.mark.parametrize("members", HOSTILE.values(), ids=HOSTILE)
def test_hostile_tar(tmp_path: Path, members: list[tuple]) -> None:
    """An archive that reaches outside is refused by name, and leaves nothing behind."""
    archive = tar_of(tmp_path / "a.tar.gz", ("file", "data/fine", b"fine"), *members)
    near = tmp_path / "inner/root"
    with pytest.raises(RecipeError, match="refused"), unpacked(archive, near):
        pass
    assert not list(near.iterdir())
    assert not list(tmp_path.rglob("evil"))


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil", "..\\evil", "C:evil"])
def test_hostile_zip(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(name, b"x")
    with pytest.raises(RecipeError, match="refused"), unpacked(tmp_path / "a.zip", tmp_path / "r"):
        pass


def test_links_within_an_archive_are_kept(tmp_path: Path) -> None:
    """A training set may link to the signals that it shares."""
    archive = tar_of(
        tmp_path / "a.tgz",
        ("file", "top/signals/CEC1/a.wav", b"sound"),
        ("link", "top/train.1/CEC1/a.wav", "../../signals/CEC1/a.wav"),
        ("hard", "top/train.2/a.wav", "top/signals/CEC1/a.wav"),
        ("link", "top/train.3", "train.2"),
    )
    with unpacked(archive, tmp_path) as source:
        moved = files_to_move(source, tmp_path / "root", lambda path: False)
        move(moved, source, tmp_path / "root")
    assert len(moved) == 4
    for name in ("train.1/CEC1/a.wav", "train.2/a.wav", "train.3/a.wav"):
        assert (tmp_path / "root/top" / name).read_bytes() == b"sound"


def test_a_damaged_archive(tmp_path: Path) -> None:
    archive = tar_of(tmp_path / "a.tar.gz", ("file", "data/a", bytes(range(256)) * 1000))
    archive.write_bytes(archive.read_bytes()[:-200])
    with pytest.raises(RecipeError, match="cannot be unpacked"), unpacked(archive, tmp_path / "r"):
        pass
    assert not list((tmp_path / "r").iterdir())
