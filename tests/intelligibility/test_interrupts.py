"""Ctrl-C and SIGTERM while a script still imports, and once it has."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import RECIPE

SCRIPTS = sorted(path.name for path in RECIPE.glob("*.py"))
# Python imports it by itself, before the script: it raises the signal as a module is looked for.
SIGNAL_AT = """
import importlib.abc, os, signal, sys

class Interruption(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == os.environ["SIGNAL_AT"]:
            signal.raise_signal(int(os.environ["SIGNAL"]))

sys.meta_path.insert(0, Interruption())
"""


def interrupted(
    folder: Path, *command: str, at: str, by: signal.Signals = signal.SIGINT
) -> subprocess.CompletedProcess:
    """Run a script that gets a signal as it imports a module."""
    (folder / "sitecustomize.py").write_text(SIGNAL_AT)
    given = {"PYTHONPATH": str(folder), "SIGNAL_AT": at, "SIGNAL": str(int(by))}
    return subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        cwd=RECIPE,
        env=os.environ | given,
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize("command", [*([name] for name in SCRIPTS), ["-m", "demo.make_miniature"]])
def test_from_the_first_slow_import_on_a_line_ends_it(command, tmp_path):
    result = interrupted(tmp_path, *command, at="numpy" if "-m" in command else "hydra")
    assert (result.returncode, result.stderr) == (130, "Stopped before it began\n")


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_within_a_library_no_error_of_its_own_takes_the_place_of_the_line(by, tmp_path):
    result = interrupted(tmp_path, "evaluate.py", at="pandas._libs.lib", by=by)
    assert (result.returncode, result.stderr) == (130, "Stopped before it began\n")


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_after_the_imports_hydra_is_interrupted_in_a_line_too(by, tmp_path):
    at = "hydra._internal.core_plugins"  # it looks for plugins when all is imported
    result = interrupted(tmp_path, "evaluate.py", f"path.exp_folder={tmp_path}", at=at, by=by)
    assert result.returncode == -signal.SIGINT  # 130 for a shell
    assert result.stderr == "Stopped: what is done is kept, and the same command goes on\n"


def test_a_fault_of_ours_keeps_its_traceback(tmp_path):
    fault = "import sys\nsys.modules['soundfile'] = None\n"  # as if it were not installed
    (tmp_path / "sitecustomize.py").write_text(fault)
    result = subprocess.run(
        [sys.executable, "prepare_data.py"],
        capture_output=True,
        text=True,
        cwd=RECIPE,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        check=False,
    )
    assert result.returncode == 1
    assert "Traceback" in result.stderr and "soundfile" in result.stderr


def test_who_imports_the_recipe_keeps_the_signals(tmp_path):
    code = (
        "import signal, sys; import intelligibility.command_line;"
        "assert signal.getsignal(signal.SIGINT) is signal.default_int_handler;"
        "assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL;"
        "assert sys.excepthook is sys.__excepthook__"
    )
    subprocess.run([sys.executable, "-c", code], cwd=RECIPE, check=True)
