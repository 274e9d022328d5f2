"""Measures without a recogniser: MBSTOI, HASPI, STOI and ESTOI, by the packages of their authors.

The packages are optional, so they are imported where they are needed.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from msbg import Listener


def index(
    baseline: str,
    processed: tuple[np.ndarray, int],
    reference: tuple[np.ndarray, int],
    listener: Listener,
    name: str,
    msbg_settings: Mapping[str, Any],
) -> float:
    """Return one baseline's index of one signal, by its name in `BASELINES`.

    0 for a silent signal, for which the packages return NaN or stop; ValueError where the index is
    not defined for these signals.

    Parameters
    ----------
    processed, reference : (n_samples, 2) array and rate in Hz
        Hearing-aid output and clean target, full scale 1.
    baseline, listener, name, msbg_settings
        Which, with the audiograms, the signal's name, which seeds HASPI's noise, and `MSBGEar` of
        config.yaml.
    """
    from intelligibility.ears import resample  # here: HASPI itself runs without torch

    if not reference[0].any():
        raise ValueError("the reference is silent")
    if not processed[0].any():
        return 0.0
    # The hearing aids' 32 kHz and the references' 44.1 kHz must not be mixed.
    rate = msbg_settings["sample_rate"] if baseline == "mbstoi" else reference[1]
    noisy, clean = resample(*processed, rate), resample(*reference, rate)
    if baseline == "mbstoi":
        from intelligibility.baselines.mbstoi import mbstoi

        value = mbstoi(noisy, clean, listener, msbg_settings)
    elif baseline == "haspi":
        from intelligibility.baselines.haspi import haspi

        value = haspi(noisy, clean, rate, listener, name)
    else:
        from intelligibility.baselines.stoi import better_ear_stoi

        value = better_ear_stoi(noisy, clean, rate, extended=baseline == "estoi")
    if not np.isfinite(value):
        raise ValueError(f"{baseline} is {value}")
    return value
