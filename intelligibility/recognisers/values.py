"""Settings that come from a user: a value of the wrong type becomes a readable message."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from intelligibility.runs import RecipeError, is_number, is_whole

Group = TypeVar("Group")
EXPECTED = {bool: "true or false", int: "a whole number", float: "a number"}


def type_fault(name: str, value: Any, kind: Any, least: float | None = None) -> str | None:
    """Return what is wrong with the type or the range of a setting; None for nothing.

    `kind` is bool, int, float or a Literal (of other types nothing is wrong here), and `least` the
    lowest number that is allowed.

    >>> type_fault("batch_size", "many", int, least=1)
    'batch_size=many: expected a whole number of at least 1'
    """
    if get_origin(kind) is Literal:
        fits, expected = value in get_args(kind), ", ".join(get_args(kind))
    elif kind is bool:
        fits, expected = isinstance(value, bool), EXPECTED[bool]
    elif kind in (int, float):
        fits = (is_whole if kind is int else is_number)(value)
        fits = fits and (least is None or least <= value < math.inf)
        expected = EXPECTED[kind] + (f" of at least {least}" if least is not None else "")
    else:
        return None
    return None if fits else f"{name}={value}: expected {expected}"


def pick(group: type[Group], settings: Mapping[str, Any]) -> Group:
    """Return the settings that belong to a group, a dataclass, checked by its types.

    A value of another type is refused.
    """
    kinds = get_type_hints(group)
    values = {name: settings[name] for name in kinds}
    faults: Iterable[str | None] = (type_fault(n, value, kinds[n]) for n, value in values.items())
    if found := list(filter(None, faults)):
        raise RecipeError("; ".join(found))
    return group(**values)
