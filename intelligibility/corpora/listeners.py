"""Audiograms of the listeners: measured, from a Clarity file, or standing in for a severity."""

from dataclasses import replace
from pathlib import Path

from intelligibility.corpora.presentation import Problem
from intelligibility.runs import RecipeError, read_json
from msbg import Audiogram, Listener

# dB HL at the eight frequencies of the Clarity data, the same for both ears, as in the baseline of
# Clarity's third challenge; grades of the WHO (2021).
STAND_INS = {
    "Mild": (10, 15, 19, 25, 28, 31, 35, 38),
    "Moderate": (20, 20, 25, 35, 40, 45, 50, 55),
    "Moderately severe": (19, 28, 40, 52, 56, 58, 58, 63),
}


def stand_in(severity: str, name: str) -> Listener:
    """Return a listener with the audiogram that stands in for a severity."""
    return Listener(Audiogram(STAND_INS[severity]), Audiogram(STAND_INS[severity]), name)


def read_listeners(path: Path) -> tuple[dict[str, Listener], list[Problem]]:
    """Read the usable entries of a Clarity listeners file, by listener, and report the others."""
    listeners, problems = {}, []
    try:
        entries = read_json(path, dict)
    except RecipeError as error:
        raise RecipeError(f"{error}; it holds the listeners' audiograms") from None
    for name, entry in entries.items():
        try:
            listener = Listener.from_dict(entry)
            listeners[name] = listener if listener.id == name else replace(listener, id=name)
        except ValueError as error:
            where = f"{name:.60}: {error!s:.300}"
            problems.append(Problem(f"audiogram in {path.name} not usable", where))
    return listeners, problems
