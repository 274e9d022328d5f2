"""Equivalent rectangular bandwidth (ERB) of normal auditory filters, and the scale built on it.

Glasberg and Moore (1990), Hear. Res. 47, 103-138.
"""

import numpy as np

ERB_AT_0_HZ = 24.7  # Hz
PER_HERTZ = 0.00437  # growth with frequency
NUMBERS_PER_DECADE = 21.4  # ERB numbers per tenfold of (PER_HERTZ * frequency + 1)


def erb(hertz: np.ndarray) -> np.ndarray:
    """ERB in Hz of the filter centred on a frequency."""
    return ERB_AT_0_HZ * (PER_HERTZ * hertz + 1)


def erb_number(hertz: np.ndarray | float) -> np.ndarray:
    """How many ERBs lie below a frequency."""
    return NUMBERS_PER_DECADE * np.log10(PER_HERTZ * hertz + 1)


def frequency(erb_number: np.ndarray) -> np.ndarray:
    """Return the frequency in Hz below which so many ERBs lie."""
    return (10 ** (erb_number / NUMBERS_PER_DECADE) - 1) / PER_HERTZ
