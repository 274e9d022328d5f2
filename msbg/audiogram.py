"""Audiograms and listeners, and the reader of the Clarity listeners files."""

import json
import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from msbg.constants import CATCH_UP_DB

CLARITY_FREQUENCIES = (250, 500, 1000, 2000, 3000, 4000, 6000, 8000)  # Hz
TRUSTED_DB_HL = 80.0  # the simulation was designed for losses up to here
SEVERITY_LIMITS_DB_HL = {"MILD": 15.0, "MODERATE": 35.0, "SEVERE": 56.0}  # above these
SEVERITIES = ("NOTHING", *SEVERITY_LIMITS_DB_HL)  # from the least to the most

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False, init=False)
class Audiogram:
    """Hearing thresholds of one ear.

    Parameters
    ----------
    levels : array_like, (n_frequencies,)
        Thresholds in dB HL, finite and below the catch-up level of 105 dB.
    frequencies : array_like, (n_frequencies,)
        The frequencies of the thresholds in Hz, ascending; by default the eight of the Clarity
        data.

    Raises
    ------
    ValueError
        An entry is missing, not finite, out of order or too large; the message names it.
    """

    levels: np.ndarray
    frequencies: np.ndarray

    def __init__(self, levels: ArrayLike, frequencies: ArrayLike = CLARITY_FREQUENCIES) -> None:
        """Check both once, and store them as read-only float64 arrays."""
        frequencies = _numbers("frequencies", frequencies)
        levels = _numbers("levels", levels)
        if len(levels) != len(frequencies):
            raise ValueError(
                f"{len(levels)} levels for {len(frequencies)} frequencies; "
                "an audiogram needs one level per frequency"
            )
        if frequencies[0] <= 0 or np.any(np.diff(frequencies) <= 0):
            raise ValueError(
                f"frequencies are {frequencies.tolist()} Hz; "
                "they must be positive and ascending, none twice"
            )
        too_high = [
            f"{level:g} dB HL at {frequency:g} Hz"
            for level, frequency in zip(levels, frequencies, strict=True)
            if level >= CATCH_UP_DB
        ]
        if too_high:
            raise ValueError(
                f"levels hold {', '.join(too_high)}; the simulation is defined below its "
                f"catch-up level of {CATCH_UP_DB:g} dB, so limit them (80 to 90 dB is advised)"
            )
        object.__setattr__(self, "frequencies", frequencies)
        object.__setattr__(self, "levels", levels)

    @property
    def mean_level(self) -> float:
        """Mean threshold from 2 to 8 kHz, dB HL; 0 without an entry there, as in the reference."""
        critical = self.levels[(self.frequencies >= 2000) & (self.frequencies <= 8000)]
        return float(critical.mean()) if len(critical) else 0.0

    @property
    def severity(self) -> str:
        """SEVERE, MODERATE, MILD or NOTHING, by the mean level.

        These limits (56, 35 and 15 dB HL) choose the amount of smearing and the filterbank. They
        are not the descriptors of the British Society of Audiology.
        """
        n_exceeded = sum(self.mean_level > limit for limit in SEVERITY_LIMITS_DB_HL.values())
        return SEVERITIES[n_exceeded]


@dataclass(frozen=True, eq=False)
class Listener:
    """A person: one audiogram per ear, and an identifier.

    A warning is logged when a loss exceeds 80 dB HL: the simulation was designed for less, and its
    recruitment is then unrealistically strong.
    """

    audiogram_left: Audiogram
    audiogram_right: Audiogram
    id: str = ""

    def __post_init__(self) -> None:
        """Warn of losses for which the simulation was not designed."""
        left, right = (ear.levels.max() for ear in self.ears)
        if max(left, right) > TRUSTED_DB_HL:
            logger.warning(
                "Listener %s: losses up to %g (left) and %g dB HL (right); above %g dB HL the "
                "simulation is unrealistic.",
                self.id or "without id",
                left,
                right,
                TRUSTED_DB_HL,
            )

    @property
    def ears(self) -> tuple[Audiogram, Audiogram]:
        """The audiograms of the left and of the right ear."""
        return self.audiogram_left, self.audiogram_right

    @property
    def thresholds(self) -> list[list[list[float]]]:
        """Frequencies in Hz and levels in dB HL of the left and of the right ear, as lists."""
        return [[ear.frequencies.tolist(), ear.levels.tolist()] for ear in self.ears]

    @property
    def better_ear(self) -> Audiogram:
        """The audiogram with the lower mean level; the left one where they are equal."""
        return min(self.ears, key=lambda ear: ear.mean_level)

    @staticmethod
    def from_dict(listener: dict[str, Any]) -> "Listener":
        """Read one entry of a Clarity listeners file.

        Parameters
        ----------
        listener : dict
            With `name`, `audiogram_cfs` (Hz), `audiogram_levels_l` and `audiogram_levels_r`
            (dB HL).

        Raises
        ------
        ValueError
            A key is missing or wrong; the message names it.
        """
        if not isinstance(listener, dict):
            raise ValueError(f"found {listener!r}, expected a mapping with name and audiogram")
        for key in ("name", "audiogram_cfs", "audiogram_levels_l", "audiogram_levels_r"):
            if listener.get(key) is None:
                found = "is null" if key in listener else "is missing"
                raise ValueError(
                    f"'{key}' {found}; expected keys as in the Clarity listeners files"
                )
        if not isinstance(listener["name"], str):
            raise ValueError(f"'name' is {listener['name']!r}, expected text such as \"L0239\"")
        ears: list[Audiogram] = []
        for key in ("audiogram_levels_l", "audiogram_levels_r"):
            try:
                ears.append(Audiogram(listener[key], listener["audiogram_cfs"]))
            except ValueError as error:
                raise ValueError(f"'{key}' with 'audiogram_cfs': {error}") from error
        left, right = ears
        return Listener(left, right, listener["name"])

    @staticmethod
    def load_listener_dict(filename: str | Path) -> "dict[str, Listener]":
        """Read a Clarity listeners file (JSON) into listeners by their identifier.

        Raises
        ------
        ValueError
            The file cannot be read as such; the message names the listener and the key.
        """
        try:
            entries = json.loads(Path(filename).read_text(encoding="utf-8"))
        except json.JSONDecodeError as error:
            raise ValueError(f"{filename}: not a JSON file ({error})") from error
        if not isinstance(entries, dict):
            raise ValueError(
                f"{filename}: expected listeners by identifier, found a {type(entries).__name__}"
            )
        listeners = {}
        for identifier, entry in entries.items():
            try:
                listeners[identifier] = Listener.from_dict(entry)
            except ValueError as error:
                raise ValueError(f"{filename}: listener {identifier}: {error}") from error
        return listeners


def _numbers(name: str, values: Any) -> np.ndarray:
    """Check that `values` is a list of finite numbers; return a read-only float64 copy."""
    if isinstance(values, str | bytes) or not np.iterable(values):
        raise ValueError(f"{name} is {values!r}, expected a list of numbers")
    values = list(values)
    for place, value in enumerate(values):
        is_number = isinstance(value, int | float | np.integer | np.floating)
        if not is_number or isinstance(value, bool) or not abs(value) <= sys.float_info.max:
            raise ValueError(f"{name}[{place}] is {value!r}, expected a finite number")
    if not values:
        raise ValueError(f"{name} is empty, expected at least one number")
    numbers = np.array(values, dtype=np.float64)
    numbers.setflags(write=False)
    return numbers
