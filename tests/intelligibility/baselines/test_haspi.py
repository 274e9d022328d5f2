"""Better-ear HASPI against pyclarity called by hand: to 1e-9 of the index (1e-15 as measured)."""

import hashlib
import importlib

import numpy as np
import pytest

from benchmarks.made.sounds import MSBG, listener, processed, syllables
from intelligibility.baselines import index
from intelligibility.ears import resample
from tests.intelligibility.baselines.real_scene import real_scene

pytest.importorskip("clarity", reason="pip install --no-deps -r requirements-baselines.txt")


def by_hand(noisy, clean, rate, who, name):
    """Call pyclarity as the baseline of the third prediction challenge does."""
    haspi = importlib.import_module("clarity.evaluator.haspi")
    audiograms = importlib.import_module("clarity.utils.audiogram")
    theirs = audiograms.Listener(
        *(
            audiograms.Audiogram(levels=ear.levels, frequencies=ear.frequencies)
            for ear in (who.audiogram_left, who.audiogram_right)
        )
    )
    np.random.seed(int(hashlib.md5(name.encode("utf-8")).hexdigest(), 16) % (10**8))
    return haspi.haspi_v2_be(*clean.T, *noisy.T, rate, theirs)


@pytest.mark.parametrize(("rate", "noise"), [(32000, 0.005), (44100, 0.05)])
def test_is_pyclaritys(rate, noise):
    clean = syllables(rate, 1.2)
    noisy = processed(clean, noise)
    expected = by_hand(noisy, clean, rate, listener(), "S1_L1_E1")
    got = index("haspi", (noisy, rate), (clean, rate), listener(), "S1_L1_E1", MSBG)
    assert got == pytest.approx(expected, abs=1e-9)
    assert 0.005 < expected < 0.999


def test_a_reference_heard_before_gives_the_same_number():
    clean = syllables(32000, 1.2)
    first, second = (processed(clean, noise) for noise in (0.02, 0.04))
    reference = clean, 32000
    index("haspi", (first, 32000), reference, listener(), "S1_L1_E1", MSBG)
    again = index("haspi", (second, 32000), reference, listener(), "S1_L1_E2", MSBG)
    assert again == pytest.approx(by_hand(second, clean, 32000, listener(), "S1_L1_E2"), abs=1e-9)


def test_a_fragment_of_speech_is_refused():
    signal = syllables(32000, 1.2)[16000:22400], 32000
    with pytest.raises(ValueError, match=r"0.05 s of speech, of which HASPI needs 0.24 s"):
        index("haspi", signal, signal, listener(), "S1_L1_E1", MSBG)


def test_the_name_seeds_the_noise():
    clean = syllables(32000, 1.2)
    noisy = processed(clean, 0.04), 32000
    values = [
        index("haspi", noisy, (clean, 32000), listener(), name, MSBG) for name in ("a", "b", "a")
    ]
    assert values[0] == values[2] != values[1]


def test_on_a_real_scene(shared):
    (noisy, rate), (clean, clean_rate), who, name = real_scene(shared)
    expected = by_hand(resample(noisy, rate, clean_rate), clean, clean_rate, who, name)
    got = index("haspi", (noisy, rate), (clean, clean_rate), who, name, MSBG)
    assert got == pytest.approx(expected, abs=1e-9)
