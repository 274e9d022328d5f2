"""Test data seen in fitting or training: what of a test a mapping or a recogniser knew before.

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

COUNTED = ("signals", "scenes", "listeners", "systems", "prompts")


def signal_key(cec: str, scene: str, listener: str, system: str) -> str:
    """Return the name by which a signal is known in every corpus.

    >>> signal_key("CEC2", "S08503", "L0212", "E024_hr")
    'CEC2 S08503 L0212 E024'
    """
    return f"{cec} {scene} {listener} {system.removesuffix('_hr')}"


def keys_of(one: Presentation) -> dict[str, str | None]:
    """Return by what each kind is known of a presentation; None where it is not released."""
    prompt = _words_of(one.prompt)
    if not one.cec:
        own = f"opaque {one.name}"
        unknown = {"listeners": None, "systems": None}
        return {"signals": own, "scenes": own, **unknown, "prompts": prompt}
    return {**_names(one.cec, one.scene, one.listener.id, one.system), "prompts": prompt}


def _names(cec: str, scene: str, listener: str, system: str) -> dict[str, str]:
    scene = scene.removeprefix(f"{cec}_")  # where a corpus tells scenes apart by the CEC
    return {
        "signals": signal_key(cec, scene, listener, system),
        "scenes": f"{cec} {scene}",
        "listeners": listener,
        "systems": f"{cec} {system.removesuffix('_hr')}",
    }


def _words_of(prompt: str) -> str:
    return " ".join(re.findall(r"[\w']+", prompt.casefold()))


@dataclass(frozen=True)
class Seen:
    """What was seen in training or fitting, by kind, under the keys of `keys_of`."""

    by_kind: Mapping[str, frozenset[str]]

    @classmethod
    def of(cls, presentations: Iterable[Presentation]) -> "Seen":
        """Note what these presentations are known by."""
        seen: dict[str, set[str]] = {kind: set() for kind in COUNTED}
        for one in presentations:
            for kind, key in keys_of(one).items():
                if key is not None:
                    seen[kind].add(key)
        return cls({kind: frozenset(keys) for kind, keys in seen.items()})

    @classmethod
    def of_records(cls, heard: Iterable[Mapping[str, Any]]) -> "Seen":
        """Note what the records in a recogniser's trained_on.json are known by.

        Each has name, scene, listener, system and prompt, None where the tables did not say.
        """
        seen: dict[str, set[str]] = {kind: set() for kind in COUNTED}
        for one in heard:
            seen["prompts"].add(_words_of(one["prompt"]))
            if one["scene"] is None or one["system"] is None:
                continue
            challenge = re.match(r"(CEC\d+)_", one["scene"])  # where a corpus tells scenes apart
            cec = challenge[1] if challenge else "CEC1"
            for kind, key in _names(cec, one["scene"], one["listener"], one["system"]).items():
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
            by_kind = {kind: frozenset(content[kind]) for kind in COUNTED}
        except (KeyError, TypeError):
            raise ValueError(f"expected lists of {', '.join(COUNTED)}") from None
        if not all(isinstance(key, str) for keys in by_kind.values() for key in keys):
            raise ValueError("names that are no text")
        return cls(by_kind)

    def as_json(self) -> dict[str, list[str]]:
        """Return lists, for the files that remember."""
        return {kind: sorted(self.by_kind[kind]) for kind in COUNTED}

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
            for kind in COUNTED
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
