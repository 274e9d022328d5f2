"""Compiled loops work where nothing can be kept."""

import os
import subprocess
import sys

import numpy as np
from numba.core.caching import CacheImpl

from msbg.compiling import compiled
from tests.conftest import RECIPE


def twice(x):
    return x + x


def test_it_compiles_and_keeps():
    function = compiled()(twice)
    np.testing.assert_array_equal(function(np.arange(3.0)), [0, 2, 4])
    assert function.stats.cache_path


def test_a_cache_that_a_crash_has_torn_is_made_anew(tmp_path):
    (tmp_path / "torn.py").write_text(
        "import numpy as np\n"
        "from msbg.compiling import compiled\n"
        "@compiled()\n"
        "def twice(x):\n"
        "    return x + x\n"
        "print(twice(np.arange(3.0)))\n"
    )
    command = [sys.executable, "torn.py"]
    env = os.environ | {"PYTHONPATH": str(RECIPE), "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    for torn in (None, ("nbi", 0), ("nbi", 20), ("nbc", 0), ("nbc", 20)):
        if torn:
            kind, n_kept = torn
            (file,) = tmp_path.rglob(f"*.{kind}")
            file.write_bytes(file.read_bytes()[:n_kept])
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=env)
        assert done.stdout == "[0. 2. 4.]\n", (torn, done.stderr)


def test_without_a_place_to_keep_it(monkeypatch):
    # As for a user without a home, on a recipe of another's.
    monkeypatch.setattr(CacheImpl, "_locator_classes", [])
    function = compiled(error_model="numpy")(twice)
    np.testing.assert_array_equal(function(np.arange(3.0)), [0, 2, 4])
