"""Better-ear STOI and ESTOI against pystoi called by hand. Tolerance: 1e-9 of the index."""

import numpy as np
import pytest

from benchmarks.made.sounds import MSBG, listener, processed, syllables
from intelligibility.baselines import index

pystoi = pytest.importorskip("pystoi", reason="pip install --no-deps -r requirements-baselines.txt")
RATE = 16000


@pytest.mark.parametrize("extended", [False, True])
@pytest.mark.parametrize("delay", [-700, 0, 700])
def test_is_pystois_once_aligned(extended, delay):
    clean = syllables(RATE, 2.0)
    noisy = clean + 0.05 * np.random.default_rng(0).standard_normal(clean.shape)
    noisy[:, 1] += 0.2 * np.random.default_rng(1).standard_normal(len(clean))  # the worse ear
    if delay >= 0:
        heard = np.concatenate([np.zeros((delay, 2)), noisy])
        expected = pystoi.stoi(clean[:, 0], noisy[:, 0], RATE, extended=extended)
    else:
        heard = noisy[-delay:]
        expected = pystoi.stoi(clean[-delay:, 0], heard[:, 0], RATE, extended=extended)
    name = "estoi" if extended else "stoi"
    got = index(name, (heard, RATE), (clean, RATE), listener(), "S1", MSBG)
    assert got == pytest.approx(expected, abs=1e-9)
    assert 0.1 < expected < 0.95


def test_more_noise_is_less():
    clean = syllables(RATE, 2.0)
    values = [
        index("estoi", (processed(clean, noise), RATE), (clean, RATE), listener(), "S1", MSBG)
        for noise in (0.01, 0.1, 0.5)
    ]
    assert values == sorted(values, reverse=True)


def test_too_little_speech_says_so():
    clean = syllables(RATE, 0.3)
    with pytest.raises(ValueError, match="(?i)frames"):
        index("stoi", (clean, RATE), (clean, RATE), listener(), "S1", MSBG)


@pytest.mark.parametrize("baseline", ["mbstoi", "haspi", "stoi", "estoi"])
@pytest.mark.parametrize(("gain", "n_samples"), [(0, 88200), (1, 441), (1, 1)])
def test_what_has_no_index_is_a_value_error_of_every_baseline(baseline, gain, n_samples):
    pytest.importorskip("clarity", reason="pip install --no-deps -r requirements-baselines.txt")
    clean = gain * syllables(44100, 2.0)[22050:][:n_samples]
    noisy = np.full((n_samples, 2), 0.01)
    with pytest.raises(ValueError):
        index(baseline, (noisy, 44100), (clean, 44100), listener(), "S1", MSBG)
