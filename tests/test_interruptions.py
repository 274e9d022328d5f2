"""Prepare and infer: stopped, killed at random moments, on full disks and from a launcher.

`KILLS=30 python -m pytest tests/test_interruptions.py` kills each stage thirty times.
"""

import contextlib
import errno
import json
import os
import random
import shutil
import signal
import subprocess
import time
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest
import scipy.io.wavfile
import soundfile as sf

import prepare_data
from benchmarks.made.recogniser import make_recogniser
from benchmarks.made.release import make_release
from tests.conftest import N_KILLS, configure, contents, run_script, start_script
from tests.prepared_data import SIZES


def outputs(exp: Path) -> dict[str, str]:
    """Return the hash of every wav, table and measure, not of where and when they were made."""
    return contents(exp, ".wav", ".csv", "_similarity.json", "_correctness.json", "list.json")


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


def start(written: Path, journal: Path, script: str, *arguments: str) -> ForkServerProcess:
    """Start a stage, and wait until it got on."""
    before = journal.stat().st_size if journal.is_file() else 0
    process = start_script(written, script, *arguments)
    deadline = time.monotonic() + 120
    while process.is_alive() and time.monotonic() < deadline:
        if journal.is_file() and journal.stat().st_size > before:
            break
        time.sleep(0.01)
    return process


def test_killed_at_random_moments(inferred, tmp_path):
    """With the workers or without, soon after the stage has got on."""
    release, whole = inferred
    exp, rng = tmp_path / "exp", random.Random(8)
    paths = [f"path.root='{release}'", f"path.exp_folder='{exp}'"]
    for script, arguments, journal in (
        ("prepare_data.py", paths, exp / "cpc1_asr_data/prepared.jsonl"),
        ("infer.py", [*paths, *SIZES], exp / "inference.jsonl"),
    ):
        for number in range(N_KILLS):  # first in two processes, which import for seconds
            n_jobs = "n_jobs=2" if number == 0 else "n_jobs=1"
            process = start(tmp_path, journal, script, *arguments, n_jobs)
            time.sleep(rng.uniform(0, 0.4))
            with contextlib.suppress(ProcessLookupError):  # it had ended
                (os.killpg if rng.random() < 0.5 else os.kill)(process.pid, signal.SIGKILL)
            process.join()
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
    """Return a run of prepare_data.py that is at work in two processes, and its journal.

    Whatever is left of its session is killed.
    """
    journal = tmp_path / "exp/cpc1_asr_data/prepared.jsonl"
    paths = [f"path.root={long_release}", f"path.exp_folder={tmp_path / 'exp'}"]
    process = start(tmp_path, journal, "prepare_data.py", *paths, "n_jobs=2")
    assert process.is_alive() and len(in_session(process.pid)) >= 3  # with two workers
    yield process, journal
    for pid in in_session(process.pid):
        os.kill(pid, signal.SIGKILL)


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
def test_a_run_that_is_asked_to_stop_says_a_line_and_takes_its_workers_along(
    busy, tmp_path, send, stop
):
    """kill reaches the script alone, Ctrl-C all processes of the terminal."""
    process, journal = busy
    send(process.pid, stop)
    process.join(60)
    assert process.exitcode == 130
    assert wait_for_all(process.pid, 30) == []
    said = (tmp_path / "stderr").read_text()
    (line,) = [line for line in said.splitlines() if "Stopped" in line]
    assert line.endswith("Stopped: what is done is kept, and the same command goes on")
    assert "Traceback" not in said and "Error" not in said and "Interrupt" not in said, said
    done = len(journal.read_text().splitlines())
    assert 0 < done < 54  # 36 signals and 18 references: it was stopped on its way
    assert_no_partial_file(journal.parent)


def test_workers_do_not_outlive_a_script_that_was_killed(busy):
    process, _ = busy
    process.kill()
    assert wait_for_all(process.pid, 30) == []  # a second or two, on a machine that is not busy


def test_a_full_disk_stops_the_run_and_keeps_what_is_whole(
    inferred, tmp_path, refused, monkeypatch
):
    """The disk is full in the middle of the eighth wav."""
    release, whole = inferred
    write, room = scipy.io.wavfile.write, iter(range(7))

    def write_or_fail(path, rate, samples):
        if next(room, None) is None:
            Path(path).write_bytes(b"RIFF")
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, rate, samples)

    with monkeypatch.context() as patch:
        patch.setattr(scipy.io.wavfile, "write", write_or_fail)
        message = refused(prepare_data.run, configure(release, tmp_path))
    assert "No space left on device" in message and "make room" in message
    assert_no_partial_file(tmp_path)
    assert len(list(tmp_path.rglob("*.wav"))) == 7
    prepare_data.run(configure(release, tmp_path))
    assert contents(whole, ".wav", ".csv").items() <= outputs(tmp_path).items()


def launch(script: str, *arguments: str) -> subprocess.CompletedProcess:
    """Run the shards of a stage as jobs of Hydra's submitit launcher on this machine."""
    pytest.importorskip("submitit", reason="requirements-cluster.txt is not installed")
    launcher = ["-m", "hydra/launcher=submitit_local", "n_jobs=1", "n_shards=2", "shard=range(0,2)"]
    return run_script(script, *launcher, *arguments)


def stamps(exp: Path) -> dict[Path, int]:
    """Return the times at which the wavs were written."""
    return {path: path.stat().st_mtime_ns for path in exp.rglob("*.wav")}


def test_shards_by_a_launcher_make_what_one_run_makes(inferred, tmp_path):
    """A shard that failed is named, and only what it lacks is done again."""
    release, whole = shutil.copytree(inferred[0], tmp_path / "cpc1"), inferred[1]
    exp = tmp_path / "exp"
    paths = [f"path.root='{release}'", f"path.exp_folder='{exp}'"]
    wav = min(release.glob("clarity_CPC1_data_train/clarity_data/HA_outputs/train/*.wav"))
    as_it_came = wav.read_bytes()
    audio, rate = sf.read(wav, dtype="float32")
    audio[100] = float("nan")
    sf.write(wav, audio, rate, subtype="FLOAT")
    result = launch("prepare_data.py", *paths)
    assert result.returncode == 1
    assert "of 2: 1 of" in result.stderr and wav.stem in result.stderr
    assert "Traceback" not in result.stderr
    wav.write_bytes(as_it_came)
    before = stamps(exp)
    for script, arguments, journals in (
        ("prepare_data.py", paths, "cpc1_asr_data/prepared-?of2.jsonl"),
        ("infer.py", [*paths, *SIZES], "inference-?of2.jsonl"),
    ):
        result = launch(script, *arguments)
        assert result.returncode == 0, result.stdout + result.stderr
        lines = [len(path.read_text().splitlines()) for path in exp.glob(journals)]
        assert len(lines) == 2 and min(lines) > 0
        result = run_script(script, *arguments, "n_jobs=1")
        assert result.returncode == 0, result.stderr
        assert f"{sum(lines)} of {sum(lines)}" in result.stderr  # all done: only tables to write
        make_recogniser(exp / "transformer_cpc1")
    changed = dict(stamps(exp).items() - before.items())
    assert {path.stem for path in changed} == {wav.stem}
    assert outputs(exp) == outputs(whole)
