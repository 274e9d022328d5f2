"""An impaired cochlea: smeared spectrum, then loudness recruitment in each auditory channel."""

import numpy as np

from msbg.audiogram import Audiogram
from msbg.constants import CATCH_UP_DB
from msbg.filterbank import filterbank
from msbg.recruitment import expand_channels
from msbg.smearing import smear


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
        heard = expand_channels(signal, self.bank, self.expansion, max_envelope)
        heard *= 10 ** (-0.05 * self.bank.recombination_db)
        return heard
