"""What a mapping was fitted on, or a recogniser trained on, met again in a test.

The challenges share their listening tests: CPC3's training holds most of CPC1's and of CPC2's test.
A signal is known by its enhancement challenge (CEC), scene, listener and system, without the "_hr"
that some lists add to a system's name; without the CEC it would be ambiguous. CPC3's dev and eval
go by opaque names, so of them only the sentences can be recognised elsewhere.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from intelligibility.corpora.presentation import Presentation

KINDS = ("signals", "scenes", "listeners", "systems", "prompts")


def signal_key(cec: str, scene: str, listener: str, system: str) -> str:
    """Return the name by which a signal is known in every corpus.

    >>> signal_key("CEC2", "S08503", "L0212", "E024_hr")
    'CEC2 S08503 L0212 E024'
    """
    return f"{cec} {scene} {listener} {system.removesuffix('_hr')}"


def keys_of(one: Presentation) -> dict[str, str | None]:
    """Return by what each kind is known of a presentation; None where it is not released."""
    prompt = " ".join(re.findall(r"[\w']+", one.prompt.casefold()))
    if not one.cec:
        own = f"opaque {one.name}"
        return {
            "signals": own,
            "scenes": own,
            "listeners": None,
            "systems": None,
            "prompts": prompt,
        }
    scene = one.scene.removeprefix(f"{one.cec}_")  # where a corpus tells scenes apart by the CEC
    return {
        "signals": signal_key(one.cec, scene, one.listener.id, one.system),
        "scenes": f"{one.cec} {scene}",
        "listeners": one.listener.id,
        "systems": f"{one.cec} {one.system.removesuffix('_hr')}",
        "prompts": prompt,
    }


@dataclass(frozen=True)
class Seen:
    """What was seen in training or fitting, by kind, under the keys of `keys_of`."""

    by_kind: Mapping[str, frozenset[str]]

    @classmethod
    def of(cls, presentations: Iterable[Presentation]) -> "Seen":
        """Note what these presentations are known by."""
        seen: dict[str, set[str]] = {kind: set() for kind in KINDS}
        for one in presentations:
            for kind, key in keys_of(one).items():
                if key is not None:
                    seen[kind].add(key)
        return cls({kind: frozenset(keys) for kind, keys in seen.items()})

    @classmethod
    def from_json(cls, content: Any) -> "Seen":
        """Read what `as_json` gave.

        Raises
        ------
        ValueError
            It is something else.
        """
        try:
            by_kind = {kind: frozenset(content[kind]) for kind in KINDS}
        except (KeyError, TypeError):
            raise ValueError(f"expected lists of {', '.join(KINDS)}") from None
        if not all(isinstance(key, str) for keys in by_kind.values() for key in keys):
            raise ValueError("names that are no text")
        return cls(by_kind)

    def as_json(self) -> dict[str, list[str]]:
        """Return lists, for the files that remember."""
        return {kind: sorted(self.by_kind[kind]) for kind in KINDS}

    def signals_in(self, test: Iterable[Presentation]) -> list[str]:
        """Return the names of the test signals that were seen themselves."""
        return [one.name for one in test if keys_of(one)["signals"] in self.by_kind["signals"]]

    def overlap(self, test: Iterable[Presentation]) -> dict[str, dict[str, int]]:
        """Count what the test shares with what was seen.

        Returns
        -------
        dict
            Per kind: `seen` of `known` different ones in the test.
        """
        tested = Seen.of(test).by_kind
        return {
            kind: {"seen": len(tested[kind] & self.by_kind[kind]), "known": len(tested[kind])}
            for kind in KINDS
        }


def in_words(overlap: Mapping[str, Mapping[str, int]]) -> str:
    """Say in a line what was seen of a test; empty where nothing was.

    >>> in_words({"scenes": {"seen": 2, "known": 3}, "prompts": {"seen": 0, "known": 3}})
    '2 of 3 scenes'
    """
    return ", ".join(
        f"{count['seen']} of {count['known']} {kind}"
        for kind, count in overlap.items()
        if count["seen"]
    )
