"""Loudness recruitment: each auditory channel expanded so that soft sounds are lost.

Moore and Glasberg (1993), J. Acoust. Soc. Am. 94, 2050-2062: a channel is multiplied by its own
envelope to the power of (expansion ratio - 1). At the catch-up level nothing changes.
"""

from __future__ import annotations

import numpy as np
from scipy.signal import ellip, filtfilt, sosfilt

from msbg.audiogram import Audiogram
from msbg.constants import CATCH_UP_DB, SAMPLE_RATE
from msbg.filterbank import ORDER, filterbank
from msbg.smearing import smear

MIN_ENVELOPE = 1e-9


class Cochlea:
    """An impaired cochlea.

    Parameters
    ----------
    audiogram : Audiogram
        Its severity sets the smearing and the filterbank, its levels the expansion.
    """

    def __init__(self, audiogram: Audiogram) -> None:
        self.severity = audiogram.severity
        self.bank = filterbank(self.severity)
        loss = np.interp(self.bank.centres_hz, audiogram.frequencies, audiogram.levels)
        self.expansion = CATCH_UP_DB / (CATCH_UP_DB - loss)

    def simulate(self, signal: np.ndarray, level_0db: float) -> np.ndarray:
        """Smear, split into channels, expand, add up.

        Parameters
        ----------
        signal : ndarray, (n_samples,)
            Sound at the cochlea.
        level_0db : float
            dB SPL that full scale stands for.

        Returns
        -------
        ndarray, (n_samples,) without loss, else (64 * (ceil(n_samples / 64) + 3),)
        """
        if self.severity != "NOTHING":
            signal = smear(signal, self.severity)
        max_envelope = 10 ** (0.05 * (CATCH_UP_DB - level_0db))
        heard = sum(
            self._expand_channel(signal, channel, max_envelope)
            for channel in range(len(self.expansion))
        )
        return heard * 10 ** (-0.05 * self.bank.recombination_db)

    def _expand_channel(self, signal: np.ndarray, channel: int, max_envelope: float) -> np.ndarray:
        """Filter one channel out of the signal and expand it by its envelope."""
        delay = min(self.bank.delays[channel], len(signal))
        band = sosfilt(np.tile(self.bank.gammatone[channel], (ORDER, 1)), signal)
        band = np.append(band[delay:], np.zeros(delay))
        band = sosfilt(self.bank.high_pass[channel : channel + 1], band)
        cutoff = 0.75 * min(100, self.bank.erbs_hz[channel])
        low_pass = ellip(2, 0.25, 35, cutoff / (SAMPLE_RATE / 2))
        envelope = filtfilt(*low_pass, np.abs(band), padlen=8)
        envelope = np.clip(envelope, MIN_ENVELOPE, max_envelope)
        return band * (envelope / max_envelope) ** (self.expansion[channel] - 1)
