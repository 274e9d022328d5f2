"""get_data.py against a server of Zenodo's API: parts, a network that fails, hostile archives."""

import io
import re
import tarfile
from pathlib import Path

import pytest

import get_data
from benchmarks.made.release import make_release
from demo.layouts import lay_out
from intelligibility.corpora.unpacking import move
from intelligibility.runs import RecipeError, read_json
from tests.archive_server import Record, serving
from tests.conftest import configure, run_script
from tests.intelligibility.corpora.test_download import tar_of

CPC2 = {
    "train": "clarity_CPC2_data.v1_1.tgz",
    "test": "clarity_CPC2_data.test.v1_0.tgz",
    "labels": "clarity_CPC2_data.test_labels.v1_0.tgz",
}


def tar(folder: Path, *patterns: str) -> bytes:
    """Return a tar.gz of the files below a folder that fit."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for path in sorted({path for pattern in patterns for path in folder.glob(pattern)}):
            if path.is_file():
                archive.add(path, path.relative_to(folder))
    return packed.getvalue()


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A small CPC2 in three archives, and what else a record may hold."""
    folder = tmp_path_factory.mktemp("record")
    lay_out(make_release(folder / "cpc1", n_train=2, n_test=2), folder / "release", "cpc2")
    release, data = folder / "release", "clarity_CPC2_data/clarity_data"
    tests = [path.name for path in release.glob(f"{data}/HA_outputs/signals/CEC2/S2*")]
    assert tests
    return {
        CPC2["train"]: tar(
            release,
            *(f"{data}/metadata/*.train.*", f"{data}/metadata/listeners.json"),
            *(f"{data}/HA_outputs/signals/*/S1*", f"{data}/scenes/*/S1*"),
        ),
        CPC2["test"]: tar(
            release,
            *(f"{data}/metadata/*.test.*", f"{data}/metadata/listeners.json"),
            *(f"{data}/HA_outputs/signals/*/S2*", f"{data}/scenes/*/S2*"),
        ),
        CPC2["labels"]: tar(release, f"{data}/CPC2.test_labels.*"),
        "clarity_CPC2_demo_data.tgz": b"not fetched",
        "README.md": b"neither",
    }


@pytest.fixture
def verdicts(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Note what prepare_data.py is asked, without asking it."""
    asked: list[list[str]] = []
    monkeypatch.setattr(
        get_data.subprocess,
        "run",
        lambda words, check: asked.append(words) or type("Ended", (), {"returncode": 0})(),
    )
    return asked


def run(root: Path, record: Record, *overrides: str, corpus: str = "cpc2") -> None:
    """Fetch from a record that is being served."""
    with serving(record):
        get_data.run(configure(root, root / "exp", f"corpus={corpus}", *overrides))


@pytest.fixture
def record(archives: dict[str, bytes]) -> Record:
    """A record that holds them."""
    return Record(dict(archives))


@pytest.mark.parametrize(
    ("only", "parts"),
    [("null", {"train", "test", "labels"}), ("[test,labels]", {"test", "labels"})],
)
def test_from_nothing_to_a_release_that_is_ready(tmp_path, record, capfd, only, parts) -> None:
    """The archives come over a bad network, are unpacked, and prepare_data.py checks them."""
    record.drop_after, record.drops = 100_000, 3
    run(tmp_path, record, f"only={only}")
    # A recogniser and more dev signals are missing, which is reported; the release is whole.
    checked = capfd.readouterr().err
    assert "This stops prepare_data.py" not in checked
    assert "This stops train_asr.py" in checked
    data = tmp_path / "clarity_CPC2_data/clarity_data"
    assert len(list(data.glob("HA_outputs/signals/*/*.wav"))) == (8 if only == "null" else 4)
    assert (data / "CPC2.test_labels.1.json").is_file()
    assert {name for name, _ in record.asked} == {CPC2[part] for part in parts}


def test_the_command_line() -> None:
    """`only=test,labels` is a list; a key that is not read is refused before anything else."""
    words = ["get_data.py", "only=test,labels", "only=test", "path.root=/a,b"]
    assert get_data.with_lists(words) == [words[0], "only=[test,labels]", *words[2:]]
    result = run_script("get_data.py", "corpus=cpc2", "only=test,labels", "device=cpu")
    assert result.returncode == 1 and "device: get_data.py does not read this" in result.stderr


def test_what_is_there_is_left_alone(tmp_path, record, verdicts) -> None:
    """A second run fetches nothing, not even after the archives were deleted; own files stay."""
    mine = tmp_path / "clarity_CPC2_data/clarity_data/metadata/listeners.json"
    mine.parent.mkdir(parents=True)
    mine.write_text("{}")
    run(tmp_path, record)
    assert mine.read_text() == "{}"
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.wav")}
    record.asked.clear()
    for name in CPC2.values():
        (tmp_path / "archives" / name).unlink()
    run(tmp_path, record)
    assert record.asked == []
    assert {path: path.stat().st_mtime_ns for path in files} == files
    assert len(verdicts) == 2
    assert "check_only=true" in verdicts[0]


def test_the_order_of_archives_does_not_matter(tmp_path, record, verdicts) -> None:
    """Where two archives hold a file, the test's is kept, whichever came first."""
    data = "clarity_CPC2_data/clarity_data/metadata"
    packed = tar_of(tmp_path / "a.tgz", ("file", f"{data}/listeners.json", b"test"))
    record.files[CPC2["test"]] = packed.read_bytes()
    for folder, orders in (("a", ("train", "test")), ("b", ("test", "train"))):
        for part in orders:
            run(tmp_path / folder, record, f"only=[{part}]")
        assert (tmp_path / folder / data / "listeners.json").read_text() == "test"


def test_a_killed_run_goes_on(tmp_path: Path, record: Record, verdicts: list[list[str]]) -> None:
    """Half an archive and half an unpacking are taken up."""
    name, content = CPC2["train"], record.files[CPC2["train"]]
    (tmp_path / "archives").mkdir()
    (tmp_path / "archives" / f"{name}.part").write_bytes(content[:70_000])
    (tmp_path / "archives" / "tmpab12cd_e").touch()
    (tmp_path / ".unpacking.0123/half").mkdir(parents=True)
    run(tmp_path, record, "only=[train]")
    assert record.asked == [(name, "bytes=70000-")]
    assert not list(tmp_path.glob(".unpacking*")) + list(tmp_path.glob("archives/tmp*"))
    assert verdicts


def test_a_run_killed_amid_the_moving_knows_its_files(tmp_path, record, verdicts, monkeypatch):
    name = CPC2["labels"]
    run(tmp_path / "whole", record, "only=[labels]")

    def move_one(names: list[str], source: Path, target: Path) -> None:
        move(names[:1], source, target)
        raise RecipeError("killed")

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(get_data, "move", move_one)
        run(tmp_path / "killed", record, "only=[labels]")
    run(tmp_path / "killed", record, "only=[labels]")
    lists = [list(folder.glob(f"archives/{name}.*.json")) for folder in sorted(tmp_path.iterdir())]
    (killed,), (whole,) = ([read_json(path, dict) for path in some] for some in lists)
    assert killed == whole and len(whole["files"]) > 1


@pytest.mark.parametrize("what", ["checksum", "room", "part"])
def test_what_ends_in_words(tmp_path, record, verdicts, caplog, monkeypatch, what) -> None:
    """A wrong checksum, a full disk, an unknown part."""
    overrides, said = (), ""
    if what == "checksum":
        record.checksums[CPC2["labels"]] = "md5:" + "0" * 32
        said = f"{CPC2['labels']}: .*it was deleted"
    elif what == "room":
        usage = type("Usage", (), {"free": 1000})()
        monkeypatch.setattr(get_data.shutil, "disk_usage", lambda path: usage)
        said = "0.00 GB free; make room"
    else:
        overrides, said = ("only=[everything]",), "only=everything: expected train, test, labels"
    with pytest.raises(SystemExit):
        run(tmp_path, record, *overrides)
    assert re.search(said, caplog.messages[-1], flags=re.S)
    assert not verdicts


def test_sizes_come_first(tmp_path: Path, record: Record, caplog: pytest.LogCaptureFixture) -> None:
    """check_only lists what there is and what is missing, and fetches nothing."""
    with caplog.at_level("INFO"):
        run(tmp_path, record, "check_only=true")
    assert record.asked == []
    assert "0 of 3 files are done" in caplog.text
    assert all(name in caplog.text for name in record.files)


def test_cpc1_and_its_labels(tmp_path: Path, verdicts: list[list[str]]) -> None:
    """Its two archives have the same folder inside; labels are found wherever they lie."""
    made = make_release(tmp_path / "made", n_train=1, n_test=1)
    files = {}
    for split, name in (
        ("train", "clarity_CPC1_data.v1_1.tgz"),
        ("test", "clarity_CPC1_data.test.v1.tgz"),
    ):
        folder = tmp_path / split
        folder.mkdir()
        (made / f"clarity_CPC1_data_{split}").rename(folder / "clarity_CPC1_data")
        files[name] = tar(folder, "**/*")
    labels = tmp_path / "labels/somewhere/deep"
    labels.mkdir(parents=True)
    (labels / "CPC1.test.json").write_text("[]")
    files["clarity_CPC1_test_listener_responses.tgz"] = tar(tmp_path / "labels", "**/*")
    run(tmp_path / "root", Record(files), corpus="cpc1")
    (words,) = verdicts
    root = tmp_path / "root"
    assert f"path.test_responses='{root}/clarity_CPC1_data_labels/somewhere/deep'" in words
    for split in ("train", "test"):
        assert (root / f"clarity_CPC1_data_{split}/clarity_CPC1_data/metadata").is_dir()
    assert not any("null" in str(word) for word in words)


def test_cpc3_has_two_tests(tmp_path: Path) -> None:
    """`only=test` means dev and eval there."""
    names = {
        "clarity_CPC3_data.v1_0.tar.gz": "train",
        "clarity_CPC3_data.dev.v1_0.tar.gz": "dev",
        "clarity_CPC3_data.eval.v1_0.tar.gz": "eval",
        "CPC3_dev_labels.zip": "labels",
    }
    for name, part in names.items():
        assert get_data.part_named(name) == part
    with serving(Record({name: b"x" for name in names})):
        files = get_data.read_record(1)
        chosen = [file.name for file in get_data.choose(files, "test")]
        assert chosen == [name for name, part in names.items() if part in ("dev", "eval")]
        with pytest.raises(RecipeError, match="the record has no such part"):
            get_data.choose([file for file in files if "label" not in file.name], "labels")
