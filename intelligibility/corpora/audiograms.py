"""Audiograms as people have them: a listeners file, a list of numbers, or the name of a standard.

All are converted to the eight frequencies of the Clarity data, for which the hearing-loss
simulation was designed.
"""

import logging
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from intelligibility.corpora.listeners import STAND_INS, read_listeners
from intelligibility.runs import RecipeError, listed
from msbg import Audiogram, Listener
from msbg.audiogram import CLARITY_FREQUENCIES
from msbg.constants import CATCH_UP_DB

logger = logging.getLogger(__name__)

BISGAARD_HZ = (250, 375, 500, 750, 1000, 1500, 2000, 3000, 4000, 6000)
# Standard audiograms, dB HL at BISGAARD_HZ: Bisgaard, Vlaming & Dahlquist (2010), Trends Amplif.
# 14:113-120, Tables 1 and 2; N flat and moderately sloping, S steeply sloping.
BISGAARD_DB = {
    "N1": (10, 10, 10, 10, 10, 10, 15, 20, 30, 40),
    "N2": (20, 20, 20, 22.5, 25, 30, 35, 40, 45, 50),
    "N3": (35, 35, 35, 35, 40, 45, 50, 55, 60, 65),
    "N4": (55, 55, 55, 55, 55, 60, 65, 70, 75, 80),
    "N5": (65, 67.5, 70, 72.5, 75, 80, 80, 80, 80, 80),
    "N6": (75, 77.5, 80, 82.5, 85, 90, 90, 95, 100, 100),
    "N7": (90, 92.5, 95, 100, 105, 105, 105, 105, 105, 105),
    "S1": (10, 10, 10, 10, 10, 10, 15, 30, 55, 70),
    "S2": (20, 20, 20, 22.5, 25, 35, 55, 75, 95, 95),
    "S3": (30, 30, 35, 47.5, 60, 70, 75, 80, 80, 85),
}
# dB HL at CLARITY_FREQUENCIES: no loss, and Clarity's audiograms for three degrees of severity.
CLARITY_DB = {"none": (0,) * 8} | {name.lower(): levels for name, levels in STAND_INS.items()}
IN_KHZ = 20.0  # a frequency here or below is in kHz, not in Hz
# Hz: speech is understood by what is heard between the two, and losses slope.
LOWEST_NEEDED, HIGHEST_NEEDED = 1000, 3000
NAMED_LIMIT = 100.0  # dB HL: higher levels of a standard are limited to this


def listener_of(audiogram: str, listener: str | None = None) -> Listener:
    """Return the listener that a text describes.

    RecipeError for anything else, an unknown listener, or levels for which the simulation is
    not defined.

    Parameters
    ----------
    audiogram : str
        A Clarity listeners file, from which `listener` is taken; or `250:20,500:25,...` in Hz and
        dB HL, for both ears, or `left=250:20,...;right=250:30,...`; or a name: none, mild,
        moderate, moderately severe (Clarity's), N1 to N7, S1 to S3 (Bisgaard et al., 2010).
    listener : str, optional
        The identifier in the file.

    Examples
    --------
    >>> listener_of("500:20,2000:40").audiogram_left.levels.tolist()
    [20.0, 20.0, 30.0, 40.0, 40.0, 40.0, 40.0, 40.0]
    """
    text = audiogram.strip()
    if text.endswith(".json"):
        return _from_file(Path(text).expanduser(), listener)
    if listener is not None:
        raise RecipeError(f"listener={listener}: audiogram={text} is not a listeners file (.json)")
    if ":" in text:
        return _from_lists(text)
    return _from_name(text)


def described(listener: Listener) -> str:
    """Return the audiograms of both ears as `listener_of` reads them.

    >>> described(listener_of("moderate"))
    '250:20,500:20,1000:25,2000:35,3000:40,4000:45,6000:50,8000:55'
    """
    left, right = (
        ",".join(f"{hz:g}:{level:g}" for hz, level in zip(ear.frequencies, ear.levels, strict=True))
        for ear in (listener.audiogram_left, listener.audiogram_right)
    )
    return left if left == right else f"left={left};right={right}"


def _from_file(path: Path, listener: str | None) -> Listener:
    listeners, problems = read_listeners(path)
    if listener is None:
        raise RecipeError(f"{path}: give listener=, one of {listed([*listeners])}")
    if listener not in listeners:
        faults = [one.where for one in problems if one.where.startswith(f"{listener}:")]
        why = faults[0] if faults else f"it contains {listed([*listeners])}"
        raise RecipeError(f"listener={listener}: not in {path}; {why}")
    return listeners[listener]


def _from_lists(text: str) -> Listener:
    ears = {"left": text, "right": text}
    if "=" in text:
        try:
            ears = dict(part.strip().split("=", 1) for part in text.strip(";").split(";"))
        except ValueError:
            ears = {}
        if set(ears) != {"left", "right"}:
            raise RecipeError(f"audiogram={text}: expected left=250:20,...;right=250:20,...")
    return Listener(_from_list(ears["left"]), _from_list(ears["right"]), id="audiogram")


def _from_list(text: str) -> Audiogram:
    try:
        points = [point.partition(":") for point in text.strip(",").split(",")]
        if bare := [frequency for frequency, _, level in points if not level]:
            raise ValueError(f"{bare[0]} has no level")
        if len(points) == 1:
            logger.warning("audiogram=%s: one level, used at all frequencies", text)
        pairs = sorted((float(frequency), float(level)) for frequency, _, level in points)
        frequencies, levels = zip(*pairs, strict=True)
        if 0 < frequencies[0] <= IN_KHZ:
            raise ValueError(f"a frequency of {frequencies[0]:g}: is it in kHz?")
        if len(points) > 1 and frequencies[-1] < HIGHEST_NEEDED:
            what = "audiogram=%s: ends at %g Hz; its last level is used up to 8000 Hz"
            logger.warning(what, text, frequencies[-1])
        if len(points) > 1 and frequencies[0] > LOWEST_NEEDED:
            what = "audiogram=%s: begins at %g Hz; its first level is used down to 250 Hz"
            logger.warning(what, text, frequencies[0])
        return at_clarity_frequencies(frequencies, levels)
    except ValueError as error:
        raise RecipeError(
            f"audiogram={text}: {error}; expected dB HL at frequencies in Hz, such as "
            "250:20,500:25,1000:30,2000:40,4000:50,8000:60"
        ) from None


def _from_name(text: str) -> Listener:
    name = text.replace("_", " ")
    if name.lower() in CLARITY_DB:
        ear = Audiogram(CLARITY_DB[name.lower()])
    elif name.upper() in BISGAARD_DB:
        levels = np.array(BISGAARD_DB[name.upper()])
        if levels.max() >= CATCH_UP_DB:
            logger.warning(
                "%s has levels for which the simulation is not defined; limited to %g dB HL",
                name.upper(),
                NAMED_LIMIT,
            )
            levels = np.minimum(levels, NAMED_LIMIT)
        ear = at_clarity_frequencies(BISGAARD_HZ, levels)
    else:
        raise RecipeError(
            f"audiogram={text}: no such audiogram; give a listeners file (.json) and listener=, a "
            f"list such as 250:20,500:25, or one of {', '.join((*CLARITY_DB, *BISGAARD_DB))}"
        )
    return Listener(ear, ear, id=name)


def at_clarity_frequencies(frequencies: ArrayLike, levels: ArrayLike) -> Audiogram:
    """Interpolate levels over log frequency; beyond the ends the outermost level is used.

    ValueError for what is no audiogram.
    """
    given = Audiogram(levels, frequencies)
    wanted = np.log(CLARITY_FREQUENCIES)
    return Audiogram(np.interp(wanted, np.log(given.frequencies), given.levels))
