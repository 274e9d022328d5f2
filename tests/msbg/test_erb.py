"""The ERB scale: its formula, its slope, and its inverse."""

import numpy as np
import pytest

from msbg.erb import erb, erb_number, frequency


def test_bandwidth_at_one_kilohertz() -> None:
    assert erb(1000) == pytest.approx(24.7 * 5.37)
    assert erb(np.array([0, 1000])).tolist() == pytest.approx([24.7, 132.639])


def test_one_number_is_one_bandwidth() -> None:
    """The slope of the scale is the inverse of the bandwidth, to its printed constants (0.5 %)."""
    hertz = np.array([100.0, 1000.0, 8000.0])
    per_hertz = erb_number(hertz + 0.5) - erb_number(hertz - 0.5)
    assert per_hertz * erb(hertz) == pytest.approx(np.ones(3), rel=5e-3)


def test_frequency_undoes_the_number() -> None:
    hertz = np.array([0.0, 50.0, 1000.0, 20_000.0])
    assert frequency(erb_number(hertz)) == pytest.approx(hertz, rel=1e-12)
