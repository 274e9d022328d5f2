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


def test_compiled_code_is_kept_on_disk_and_what_a_crash_has_torn_is_made_anew(tmp_path):
    """The first process compiles and stores, the second one loads."""
    (tmp_path / "torn.py").write_text(
        "import numpy as np\n"
        "from msbg.compiling import compiled\n"
        "@compiled()\n"
        "def twice(x):\n"
        "    return x + x\n"
        "print(twice(np.arange(3.0)), sum(twice.stats.cache_hits.values()))\n"
    )
    command = [sys.executable, "torn.py"]
    env = os.environ | {"PYTHONPATH": str(RECIPE), "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    for kind, n_kept in ((None, 0), (None, 1), ("nbi", 0), ("nbi", 20), ("nbc", 0), ("nbc", 20)):
        n_hits = n_kept if kind is None else 0
        if kind:
            (file,) = tmp_path.rglob(f"*.{kind}")
            file.write_bytes(file.read_bytes()[:n_kept])
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=env)
        assert done.stdout == f"[0. 2. 4.] {n_hits}\n", (kind, n_kept, done.stderr)


def test_without_a_place_to_keep_it(monkeypatch):
    # As for a user without a home, on a recipe of another's.
    monkeypatch.setattr(CacheImpl, "_locator_classes", [])
    function = compiled(error_model="numpy")(twice)
    np.testing.assert_array_equal(function(np.arange(3.0)), [0, 2, 4])
