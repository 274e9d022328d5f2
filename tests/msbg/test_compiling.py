"""Compiled loops work where nothing can be kept."""

import numpy as np
from numba.core.caching import CacheImpl

from msbg.compiling import compiled


def twice(x):
    return x + x


def test_it_compiles_and_keeps():
    function = compiled()(twice)
    np.testing.assert_array_equal(function(np.arange(3.0)), [0, 2, 4])
    assert function.stats.cache_path


def test_without_a_place_to_keep_it(monkeypatch):
    # As for a user without a home, on a recipe of another's.
    monkeypatch.setattr(CacheImpl, "_locator_classes", [])
    function = compiled(error_model="numpy")(twice)
    np.testing.assert_array_equal(function(np.arange(3.0)), [0, 2, 4])
