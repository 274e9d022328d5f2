"""Spectral smearing, against the plain version.

Tolerance 1e-9 of the peak. Measured: 6e-13. The matrices have a condition number of 3e5, so that
1e-11 is expected of them with another LAPACK; 1e-16 was measured with the same one.
"""

import numpy as np
import pytest

from msbg import smearing
from tests.msbg import msbg_oracle as oracle

TOLERANCE = 1e-9
SEVERITIES = ["SEVERE", "MODERATE", "MILD"]


@pytest.mark.parametrize("severity", SEVERITIES)
def test_matrix_equals_the_plain_one(severity: str) -> None:
    """Mirror columns included."""
    expected = oracle.smearing_matrix(severity)
    assert np.abs(smearing.smearing_matrix(severity) - expected).max() < TOLERANCE


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("n_samples", [1, 63, 64, 65, 128, 200, 255, 256, 257, 320, 5000, 9000])
def test_equals_the_plain_version(severity: str, n_samples: int) -> None:
    """Lengths around the shift, the frame and the number of frames that are smeared at once."""
    signal = oracle.speech_like(9000)[-n_samples:, 0]
    expected = oracle.smear(signal, smearing.smearing_matrix(severity))
    smeared = smearing.smear(signal, severity)
    assert smeared.shape == expected.shape
    assert np.abs(smeared - expected).max() <= TOLERANCE * np.abs(expected).max()


def test_all_later_sound_is_192_samples_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a matrix that smears nothing: samples 64 to 255 come twice, all else once."""
    monkeypatch.setattr(smearing, "smearing_matrix", lambda severity: np.eye(256))
    rng = np.random.default_rng(0)
    # What is set to zero at Nyquist is left out of the signal, so that it must come through.
    signal = np.convolve(rng.standard_normal(6400), [0.25, 0.5, 0.25])
    smeared = smearing.smear(signal, "MILD")
    repeated = np.concatenate([signal[:256], signal[64:]])
    inner = slice(192, len(signal) - 256)  # where four frames overlap
    assert np.abs(smeared[inner] - repeated[inner]).max() < 0.02 * np.abs(signal).max()
    lags = np.arange(150, 250)
    match = [smeared[lag : lag + 4000] @ signal[:4000] for lag in lags]
    assert lags[np.argmax(match)] == 192
