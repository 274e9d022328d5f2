"""What many tests need: a release, a configuration, a script run as a user runs it."""

import functools
import hashlib
import json
import multiprocessing.forkserver
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from joblib.externals.loky import reusable_executor
from omegaconf import DictConfig
from threadpoolctl import threadpool_limits

from benchmarks.made.release import dump, make_release
from intelligibility.command_line import register
from intelligibility.configuration import Settings
from msbg.smearing import BROADENING, smearing_matrix

# Whoever is started in the background ignores Ctrl-C, and so would the scripts that we start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

RECIPE = Path(__file__).resolve().parent.parent
SHARED = RECIPE.parent / "shared"
SCRIPTS = ("prepare_data", "train_asr", "infer", "evaluate", "score", "baselines", "prepare_cls")
N_KILLS = int(os.environ.get("KILLS", "3"))  # of each stage, in test_interruptions.py


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems() -> None:
    """Drop SpeechBrain's placeholders for modules that are not installed, such as k2.

    Hypothesis looks at every loaded module, and a look at one of these raises.
    """
    for name, module in list(sys.modules.items()):
        if type(module).__module__ == "speechbrain.utils.importutils":
            del sys.modules[name]


@pytest.fixture(scope="session", autouse=True)
def matrices_of_one_thread() -> None:
    """Keep in this process the smearing matrices that the scripts have, which differ in last bits.

    A stage computes in one thread. Whichever test came first would keep those of several.
    """
    with threadpool_limits(1):
        for severity in BROADENING:
            smearing_matrix(severity)


def edit(path: Path, change: object) -> None:
    """Read json, let `change` alter it in place, and write it."""
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    dump(path, content)


def become_script(script: Path, words: list[str], cwd: Path, written: Path) -> None:
    """Run a script as Python started from a terminal does; what it prints goes to `written`.

    Modules of ours are imported anew, from the script's folder; those of others are there.
    """
    for number, name in enumerate(("stdout", "stderr"), start=1):
        os.dup2(os.open(written / name, os.O_WRONLY | os.O_CREAT), number)
    os.setsid()
    os.chdir(cwd)
    multiprocessing.set_start_method(None, force=True)
    ours = {path.stem for path in RECIPE.iterdir()}
    for name in [name for name in sys.modules if name.partition(".")[0] in ours]:
        del sys.modules[name]
    elsewhere = [path for path in sys.path if path not in ("", str(RECIPE))]
    sys.path[:] = [str(script.parent), *elsewhere]
    sys.argv = [str(script), *words]
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    finally:  # a fork ends without atexit, and would wait 300 s for joblib's idle processes
        if reusable_executor._executor is not None:
            reusable_executor._executor.shutdown(wait=False, kill_workers=True)


@functools.cache
def forks() -> multiprocessing.context.ForkServerContext:
    """Return what starts processes that have imported what scripts import: seconds less each."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*SCRIPTS, "tests.conftest"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.chdir(RECIPE)
        multiprocessing.forkserver.ensure_running()
    return context


def start_script(
    written: Path, script: str | Path, *overrides: str, cwd: Path | None = None
) -> multiprocessing.context.ForkServerProcess:
    """Start a stage in a session of its own, as a user does from a terminal."""
    arguments = (RECIPE / script, overrides, cwd or Path.cwd(), written)
    process = forks().Process(target=become_script, args=arguments)
    process.start()
    return process


def run_script(
    script: str | Path, *overrides: str, cwd: Path | None = None
) -> subprocess.CompletedProcess:
    """Run a stage as a user does, from a terminal, and return what it printed."""
    with tempfile.TemporaryDirectory() as folder:
        process = start_script(Path(folder), script, *overrides, cwd=cwd)
        process.join(600)
        process.kill()
        written = [(Path(folder) / name).read_text() for name in ("stdout", "stderr")]
    return subprocess.CompletedProcess([script, *overrides], process.exitcode, *written)


def configure(
    root: Path,
    exp_folder: Path,
    *overrides: str,
    own: str | None = None,
    settings: type[Settings] = Settings,
) -> DictConfig:
    """Return config.yaml as a script gets it, with its own keys, without starting a process."""
    register(own, settings)
    paths = [f"path.root='{root}'", f"path.exp_folder='{exp_folder}'", "n_jobs=1"]
    with initialize_config_dir(str(RECIPE), version_base="1.3"):
        return compose("config", [*paths, *overrides])


@pytest.fixture
def refused(caplog: pytest.LogCaptureFixture) -> Callable[..., str]:
    """Return a function that makes a call that has to end with a message, and returns the log."""

    def call(stage: Callable, *arguments: object) -> str:
        caplog.clear()
        with pytest.raises(SystemExit) as stop:
            stage(*arguments)
        assert stop.value.code == 1
        return caplog.text

    return call


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Save the seconds that evaluate.py's figures take."""
    import evaluate

    monkeypatch.setattr(evaluate, "all_figures", lambda *_: {})


def contents(folder: Path, *suffixes: str) -> dict[str, str]:
    """Return the hashes of the files below a folder, by their relative paths."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and (not suffixes or path.name.endswith(suffixes))
    }


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that fills with the lengths of the signals that a recogniser takes."""
    from intelligibility.recognisers.batches import BatchRecogniser

    lengths = []
    for kind in BatchRecogniser.__subclasses__():

        def noting(self, batch, plain=kind.recognise_batch):
            lengths.extend(len(signal) for signal, *_ in batch)
            return plain(self, batch)

        monkeypatch.setattr(kind, "recognise_batch", noting)
    return lengths


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """Return the folder of a fresh small release."""
    return make_release(tmp_path / "cpc1")


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of reference material, which lies beside some checkouts only."""
    if not SHARED.is_dir():
        pytest.skip("no reference material beside this checkout")
    return SHARED


@pytest.fixture(scope="session")
def inferred(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a release and an experiment that waits for evaluate.py; read only."""
    import infer
    import prepare_data
    from benchmarks.made.recogniser import make_recogniser
    from tests.prepared_data import SIZES

    folder = tmp_path_factory.mktemp("inferred")
    # As a user's disk may have it: spaces, letters beyond ASCII, and the words of our own names.
    release, exp = folder / "left ref/Hörgeräte msbg/cpc1", folder / "exp"
    make_release(release, n_train=max(8, 2 * N_KILLS), n_test=3)
    prepare_data.run(configure(release, exp))
    make_recogniser(exp / "transformer_cpc1")
    infer.run(configure(release, exp, *SIZES))
    return release, exp


# Trainings that several test modules look at; the imports are slow, and only these need them.


@pytest.fixture(scope="session")
def toy_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the tables and wavs of a few toy signals; read only."""
    from tests import toy_asr

    return toy_asr.make_tables(tmp_path_factory.mktemp("few"), 8, 2)


@pytest.fixture(scope="session")
def uninterrupted(toy_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a recogniser trained in one go, with dropout and masks, through the switch to SGD."""
    from tests import toy_asr

    asr = tmp_path_factory.mktemp("uninterrupted")
    toy_asr.train(toy_data, asr)
    return asr


@pytest.fixture(scope="session")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return data and recogniser of one training from scratch that learns; read only."""
    from tests import toy_asr

    root = tmp_path_factory.mktemp("learnt")
    data = toy_asr.make_tables(root / "data", 40, 8)
    toy_asr.train(data, root / "asr", **toy_asr.LEARNS)
    return data, root / "asr"
