"""Prepare and infer: stopped, killed at random moments, on full disks and from a launcher.

`KILLS=30 python -m pytest tests/test_interruptions.py` kills each stage thirty times.
"""

import errno
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import scipy.io.wavfile
import soundfile as sf

import infer
import prepare_data
from benchmarks.made.recogniser import SETTINGS, make_recogniser
from benchmarks.made.release import make_release
from intelligibility.runs import RecipeError
from tests.conftest import RECIPE, configure, run_script

N_KILLS = int(os.environ.get("KILLS", "3"))
SIZES = [f"asr_overrides.{key}={value}" for key, value in SETTINGS.items()]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Return (release, experiment) after both stages went through without a stop."""
    folder = tmp_path_factory.mktemp("whole")
    # As a user's disk may have it: spaces, letters beyond ASCII, and the words of our own names.
    n_train = max(4, 2 * N_KILLS)  # a killed run does at least one signal: there must be enough
    release = make_release(folder / "left ref/Hörgeräte msbg" / "cpc1", n_train=n_train)
    exp = folder / "exp"
    prepare_data.run(configure(release, exp))
    make_recogniser(exp / "transformer_cpc1")
    infer.run(configure(release, exp, *SIZES))
    return release, exp


def outputs(exp: Path) -> dict[str, str]:
    """Return the hash of every wav, table and measure, not of where and when they were made."""
    kinds = (".wav", ".csv", "_similarity.json", "_correctness.json", "list.json")
    return {
        str(path.relative_to(exp)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(exp.rglob("*"))
        if path.name.endswith(kinds)
    }


def assert_no_partial_file(exp: Path) -> None:
    """Read everything that has its final name."""
    for path in exp.rglob("*"):
        if ".part" in path.name or not path.is_file():
            continue
        if path.suffix == ".wav":
            header = sf.info(path, verbose=True)
            assert "should be" not in header.extra_info
            assert path.stat().st_size == 58 + 4 * header.frames
        elif path.suffix == ".json":
            json.loads(path.read_text())


def kill_in_the_middle(
    script: str, arguments: list[str], journal: Path, rng: random.Random
) -> None:
    """Start a stage and kill -9 it, with its workers or without, soon after it has got on."""
    command = [sys.executable, str(RECIPE / script), *arguments]
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    before = journal.stat().st_size if journal.is_file() else 0
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if journal.is_file() and journal.stat().st_size > before:
            break
        time.sleep(0.01)
    time.sleep(rng.uniform(0, 0.4))
    try:
        (os.killpg if rng.random() < 0.5 else os.kill)(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass  # it had ended
    process.wait()


def test_killed_at_random_moments(undisturbed, tmp_path):
    release, whole = undisturbed
    exp, rng = tmp_path / "exp", random.Random(8)
    paths = [f"path.root='{release}'", f"path.exp_folder='{exp}'"]
    for script, arguments, journal in (
        ("prepare_data.py", paths, exp / "cpc1_asr_data/prepared.jsonl"),
        ("infer.py", [*paths, *SIZES], exp / "inference.jsonl"),
    ):
        for _ in range(N_KILLS):
            kill_in_the_middle(script, [*arguments, "n_jobs=2"], journal, rng)
            assert_no_partial_file(exp)
        done = len(journal.read_text().splitlines())
        assert done >= N_KILLS  # every run got on where the last one was killed
        result = run_script(script, *arguments, "n_jobs=1")
        assert result.returncode == 0, result.stderr
        make_recogniser(exp / "transformer_cpc1")
    assert outputs(exp) == outputs(whole)
    assert not list(exp.rglob("*.part*"))


@pytest.fixture(scope="module")
def long_release(tmp_path_factory) -> Path:
    """Return a release that keeps two processes busy for some seconds."""
    return make_release(tmp_path_factory.mktemp("long") / "cpc1", n_train=16, seconds=5.9)


@pytest.fixture
def busy(long_release, tmp_path):
    """Return a run of prepare_data.py that is at work in two processes: its own, and its journal.

    It leads a session of its own, as from a terminal; whatever is left of that is killed.
    """
    exp = tmp_path / "exp"
    command = [sys.executable, str(RECIPE / "prepare_data.py"), f"path.root={long_release}"]
    process = subprocess.Popen(
        [*command, f"path.exp_folder={exp}", "n_jobs=2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    journal = exp / "cpc1_asr_data/prepared.jsonl"
    while process.poll() is None and not (journal.is_file() and journal.stat().st_size):
        time.sleep(0.01)
    assert process.poll() is None and len(in_session(process.pid)) >= 3  # with two workers
    yield process, journal
    for pid in in_session(process.pid):
        os.kill(pid, signal.SIGKILL)
    process.communicate()


def in_session(leader: int) -> list[int]:
    """Return the living processes of a session."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, session = status.read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue  # it ended meanwhile
        if int(session) == leader and state not in "ZX":
            found.append(int(status.parent.name))
    return found


def wait_for_all(leader: int, seconds: float) -> list[int]:
    """Wait until nobody of a session is left, and return who is left after so many seconds."""
    deadline = time.monotonic() + seconds
    while (left := in_session(leader)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left


@pytest.mark.parametrize(
    ("send", "stop"), [(os.kill, signal.SIGTERM), (os.killpg, signal.SIGINT)], ids=["term", "^C"]
)
def test_a_run_that_is_asked_to_stop_says_a_line_and_takes_its_workers_along(busy, send, stop):
    """kill reaches the script alone, Ctrl-C all processes of the terminal."""
    process, journal = busy
    send(process.pid, stop)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert wait_for_all(process.pid, 30) == []
    (line,) = [line for line in said.splitlines() if "Stopped" in line]
    assert line.endswith("Stopped: what is done is kept, and the same command goes on")
    assert "Traceback" not in said and "Error" not in said and "Interrupt" not in said, said
    done = len(journal.read_text().splitlines())
    assert 0 < done < 54  # 36 signals and 18 references: it was stopped on its way
    assert_no_partial_file(journal.parent)


def test_workers_do_not_outlive_a_script_that_was_killed(busy):
    process, _ = busy
    process.kill()
    process.wait()
    assert wait_for_all(process.pid, 30) == []  # a second or two, on a machine that is not busy


def write_until_full(monkeypatch, n_files):
    """Let scipy write so many files and then find the disk full, in the middle of the next."""
    write, room = scipy.io.wavfile.write, iter(range(n_files))

    def write_or_fail(path, rate, samples):
        if next(room, None) is None:
            Path(path).write_bytes(b"RIFF")
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, rate, samples)

    monkeypatch.setattr(scipy.io.wavfile, "write", write_or_fail)


def test_a_full_disk_stops_the_run_and_keeps_what_is_whole(undisturbed, tmp_path, caplog):
    release, whole = undisturbed
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit):
        write_until_full(patch, 7)
        prepare_data.run(configure(release, tmp_path))
    assert "No space left on device" in caplog.text and "make room" in caplog.text
    assert_no_partial_file(tmp_path)
    assert len(list(tmp_path.rglob("*.wav"))) == 7
    prepare_data.run(configure(release, tmp_path))
    assert prepared(whole).items() <= outputs(tmp_path).items()


@pytest.fixture
def small_disk(tmp_path):
    """Return a file system of its own of 256 KB: room for a few ear signals."""
    folder = tmp_path / "small disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a file system can be mounted by root only")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_file_system_that_fills_up(undisturbed, small_disk, tmp_path, caplog, monkeypatch):
    release, whole = undisturbed
    with pytest.raises(SystemExit):
        prepare_data.run(configure(release, small_disk / "exp"))
    assert "disk too full" in caplog.text
    assert not (small_disk / "exp").exists()

    monkeypatch.setattr(prepare_data, "check_disk", lambda experiment, sources: [])
    with pytest.raises(SystemExit):
        prepare_data.run(configure(release, small_disk / "exp"))
    assert "No space left on device" in caplog.text and "make room" in caplog.text
    assert_no_partial_file(small_disk)
    shutil.copytree(small_disk / "exp", tmp_path / "exp")
    prepare_data.run(configure(release, tmp_path / "exp"))
    assert prepared(whole).items() <= outputs(tmp_path / "exp").items()


def prepared(exp: Path) -> dict[str, str]:
    """Return the hashes of what the prepare stage writes."""
    return {name: sha for name, sha in outputs(exp).items() if name.endswith((".wav", ".csv"))}


def test_a_read_only_release_will_do(undisturbed, tmp_path):
    if os.geteuid() == 0:
        pytest.skip("nothing is read-only to root; that nothing is written there has its own test")
    release, _ = undisturbed
    for folder in release.rglob("*"):
        folder.chmod(0o555 if folder.is_dir() else 0o444)
    prepare_data.run(configure(release, tmp_path))


def launch(script: str, *arguments: str) -> subprocess.CompletedProcess:
    """Run the shards of a stage as jobs of Hydra's submitit launcher on this machine."""
    launcher = ["-m", "hydra/launcher=submitit_local", "n_jobs=1", "n_shards=2", "shard=range(0,2)"]
    return run_script(script, *launcher, *arguments)


def test_shards_by_a_launcher_make_what_one_run_makes(undisturbed, tmp_path):
    pytest.importorskip("submitit", reason="requirements-cluster.txt is not installed")
    release, whole = undisturbed
    paths = [f"path.root='{release}'", f"path.exp_folder='{tmp_path}'"]
    for script, arguments, journals in (
        ("prepare_data.py", paths, "cpc1_asr_data/prepared-?of2.jsonl"),
        ("infer.py", [*paths, *SIZES], "inference-?of2.jsonl"),
    ):
        result = launch(script, *arguments)
        assert result.returncode == 0, result.stdout + result.stderr
        lines = [len(path.read_text().splitlines()) for path in tmp_path.glob(journals)]
        assert len(lines) == 2 and min(lines) > 0
        result = run_script(script, *arguments, "n_jobs=1")
        assert result.returncode == 0, result.stderr
        assert f"{sum(lines)} of {sum(lines)}" in result.stderr  # all done: only tables to write
        make_recogniser(tmp_path / "transformer_cpc1")
    assert outputs(tmp_path) == outputs(whole)


def test_a_failed_shard_is_named_and_only_it_is_done_again(tmp_path):
    pytest.importorskip("submitit", reason="requirements-cluster.txt is not installed")
    release = make_release(tmp_path / "cpc1", n_train=2)
    folder = release / "clarity_CPC1_data_train/clarity_data/HA_outputs/train"
    wav = min(folder.glob("*.wav"))
    audio, rate = sf.read(wav)
    spoilt = audio.astype("float32")
    spoilt[100] = float("nan")
    sf.write(wav, spoilt, rate, subtype="FLOAT")
    arguments = ["prepare_data.py", f"path.root={release}", f"path.exp_folder={tmp_path}/exp"]
    result = launch(*arguments)
    assert result.returncode == 1
    assert "of 2: 1 of" in result.stderr and wav.stem in result.stderr
    assert "Traceback" not in result.stderr

    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "exp").rglob("*.wav")}
    sf.write(wav, audio, rate)
    result = launch(*arguments)
    assert result.returncode == 0, result.stderr
    changed = [
        p for p in (tmp_path / "exp").rglob("*.wav") if stamps.get(p) != p.stat().st_mtime_ns
    ]
    assert {path.stem for path in changed} == {wav.stem}


def test_infer_and_prepare_may_not_share_a_folder_with_themselves(undisturbed, caplog):
    release, exp = undisturbed
    with infer.sole_run(exp, "inference"), pytest.raises(SystemExit):
        infer.run(configure(release, exp, *SIZES))
    assert "is in use (" in caplog.text
    with pytest.raises(RecipeError, match="is in use"), infer.sole_run(exp, "inference"):
        with infer.sole_run(exp, "inference"):
            pass
