"""Test data seen in fitting or training: what of a test a mapping or a recogniser knew before.

The challenges share their listening tests: CPC3's training holds most of CPC1's and of CPC2's test.
A signal is known by its enhancement challenge (CEC), scene, listener and system, without the "_hr"
that some lists add to a system's name; without the CEC it would be ambiguous. CPC3's dev and eval
go by opaque names, so of them only the sentences can be recognised elsewhere.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from intelligibility.corpora.listeners import STAND_INS
from intelligibility.corpora.presentation import Presentation

COUNTED = ("signals", "scenes", "listeners", "systems", "prompts")
DIGITS = 10  # of a key's SHA-256: one in 70 million other signals is taken for one of CPC3's 15,520
CECS = ("CEC1", "CEC2", "CEC3")


def keys_of(one: Presentation) -> dict[str, str | None]:
    """Return the key of each kind for a presentation; None where it is not released."""
    if one.cec:
        return _keys(one.cec, one.scene, one.listener.id, one.system, one.prompt)
    opaque = f"opaque {one.name}"
    listener = None if one.listener.id in STAND_INS else one.listener.id
    known = {"listeners": listener, "systems": None, "prompts": _words_of(one.prompt)}
    return {"signals": opaque, "scenes": opaque, **known}


def _keys_of_record(one: Mapping[str, Any]) -> dict[str, str | None]:
    """Return the keys of a record in trained_on.json, as far as its tables told them."""
    if one["scene"] is None or one["system"] is None:
        return dict.fromkeys(COUNTED) | {"prompts": _words_of(one["prompt"])}
    challenge = re.match(r"(CEC\d+)_", one["scene"])  # in a corpus of several challenges
    cec = one.get("cec") or (challenge[1] if challenge else "CEC1")
    return _keys(cec, one["scene"], one["listener"], one["system"], one["prompt"])


def _keys(cec: str, scene: str, listener: str, system: str, prompt: str) -> dict[str, str | None]:
    """Return the names that hold in every corpus.

    >>> _keys("CEC2", "CEC2_S08503", "L0212", "E024_hr", "Well, yes.")["signals"]
    'CEC2 S08503 L0212 E024'
    """
    scene, system = scene.removeprefix(f"{cec}_"), system.removesuffix("_hr")
    return {
        "signals": f"{cec} {scene} {listener} {system}",
        "scenes": f"{cec} {scene}",
        "listeners": listener,
        "systems": f"{cec} {system}",
        "prompts": _words_of(prompt),
    }


def _words_of(prompt: str) -> str:
    return " ".join(re.findall(r"[\w']+", prompt.casefold()))


@dataclass(frozen=True)
class Seen:
    """What was seen in training or fitting, by kind, under the keys of `keys_of`."""

    # The keys; or the first `DIGITS` hexadecimal digits of the SHA-256 of each.
    by_kind: Mapping[str, frozenset[str]]
    # Whether they are hashes, as in a file that is published without the names of a corpus.
    hashed: bool = False

    @classmethod
    def of(cls, presentations: Iterable[Presentation]) -> "Seen":
        """Collect the keys of these presentations."""
        return cls._gathered(map(keys_of, presentations))

    @classmethod
    def of_records(cls, heard: Iterable[Mapping[str, Any]]) -> "Seen":
        """Collect the keys of the records in a recogniser's trained_on.json.

        Each has name, scene, listener, system and prompt, None where the tables did not say; and
        cec, where it was recorded.
        """
        return cls._gathered(map(_keys_of_record, heard))

    @classmethod
    def _gathered(cls, keys: Iterable[Mapping[str, str | None]]) -> "Seen":
        known = list(keys)
        by_kind = {kind: {one[kind] for one in known} for kind in COUNTED}
        return cls({kind: frozenset(filter(None, keys)) for kind, keys in by_kind.items()})

    @classmethod
    def from_json(cls, content: Any) -> "Seen":
        """Read what `as_json` gave; ValueError for anything else."""
        try:
            hashed = isinstance(content["signals"], str)
            by_kind = {
                kind: frozenset(_digests(content[kind]) if hashed else content[kind])
                for kind in COUNTED
            }
        except (KeyError, TypeError):
            raise ValueError(f"expected lists of {', '.join(COUNTED)}") from None
        if not all(isinstance(key, str) for keys in by_kind.values() for key in keys):
            raise ValueError("names that are no text")
        return cls(by_kind, hashed)

    def as_json(self) -> dict[str, Any]:
        """Return sorted keys by kind as calibration.json holds them: lists, or a text of hashes."""
        keys = {kind: sorted(self.by_kind[kind]) for kind in COUNTED}
        return {kind: "".join(keys[kind]) for kind in COUNTED} if self.hashed else keys

    def as_hashes(self) -> "Seen":
        """Return the same, without names."""
        if self.hashed:
            return self
        by_kind = {kind: frozenset(map(_digest, keys)) for kind, keys in self.by_kind.items()}
        return Seen(by_kind, hashed=True)

    def has_signal(self, key: str | None) -> bool:
        """Say whether a signal was seen, given its key."""
        if key is None:
            return False
        return (_digest(key) if self.hashed else key) in self.by_kind["signals"]

    def signals_in(self, test: Iterable[Presentation]) -> list[str]:
        """Return the names of the test signals that were seen themselves."""
        return [one.name for one in test if self.has_signal(keys_of(one)["signals"])]

    def has_recording(self, path: Path) -> bool:
        """Say whether a wav is of a signal that was seen, as far as its name and folder tell."""
        return any(map(self.has_signal, _keys_of_wav(path)))

    def overlap(self, test: Iterable[Presentation]) -> dict[str, dict[str, int]]:
        """Count per kind how many of the `known` different ones in the test were `seen`."""
        given = Seen.of(test)
        tested = (given.as_hashes() if self.hashed else given).by_kind
        return {
            kind: {"seen": len(tested[kind] & self.by_kind[kind]), "known": len(tested[kind])}
            for kind in COUNTED
        }


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:DIGITS]


def _digests(text: str) -> list[str]:
    """Split hashes that were written one after another."""
    if len(text) % DIGITS or re.search("[^0-9a-f]", text):
        raise ValueError(f"hashes that are not of {DIGITS} hexadecimal digits each")
    return [text[at : at + DIGITS] for at in range(0, len(text), DIGITS)]


def _keys_of_wav(path: Path) -> list[str]:
    """Return the keys of the signals that a wav may be of, by its name in the Clarity releases.

    CPC3 names the challenge. CPC1 and CPC2 do not; in CPC2 the folder does, and in CPC1 it is CEC1.

    >>> _keys_of_wav(Path("HA_outputs/test.1/CEC2/S08503_L0212_E024_hr.wav"))
    ['CEC2 S08503 L0212 E024']
    >>> _keys_of_wav(Path("signals/CEC1_E001_S08518_L0227.wav"))
    ['CEC1 S08518 L0227 E001']
    """
    if named := re.fullmatch(r"(CEC\d+)_(.+)_(S\d+)_(L\d+)", path.stem):
        cec, system, scene, listener = named.groups()
    elif named := re.fullmatch(r"(S\d+)_(L\d+)_(.+)", path.stem):
        scene, listener, system = named.groups()
        cec = path.parent.name if path.parent.name in CECS else "CEC1"
    else:
        return []
    return [str(_keys(cec, scene, listener, system, "")["signals"])]


def in_words(leaks: Mapping[str, Any]) -> list[str]:
    """Return a sentence each on what the mapping and the recogniser saw of a test, if anything.

    >>> prompts, scenes = {"seen": 0, "known": 3}, {"seen": 2, "known": 3}
    >>> in_words({"mapping": None, "recogniser": {"scenes": scenes, "prompts": prompts}})
    ['The recogniser was trained on some of the test: 2 of 3 scenes']
    """
    sentences = []
    for who, verb in (("mapping", "fitted"), ("recogniser", "trained")):
        overlap = leaks.get(who) or {}
        counts = [f"{n['seen']} of {n['known']} {kind}" for kind, n in overlap.items() if n["seen"]]
        if counts:
            sentences.append(f"The {who} was {verb} on some of the test: {', '.join(counts)}")
    return sentences
