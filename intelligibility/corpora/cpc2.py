"""The release of the second Clarity Prediction Challenge, read only: three sets in one folder.

    clarity_CPC2_data/clarity_data/
        metadata/           CEC{1,2}.train.{1,2,3}.json, CEC2.test.{1,2,3}.json, listeners.json
        HA_outputs/         {signals,train.1,train.2,train.3}/{CEC1,CEC2}/<signal>.wav
        scenes/{CEC1,CEC2}/ <scene>_target_ref.wav, in the test archive <scene>_target_anechoic.wav
        CPC2.test_labels.{1,2,3}.json, when they were released, here or in path.test_responses

Training k and test k share neither listeners nor systems; the three trainings overlap. So each
presentation names its `sets`: a signal of two trainings is one presentation, made and measured
once. A scene's number means another scene in CEC1 than in CEC2: here scenes are CEC1_S08510.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from intelligibility.corpora.corpus import CHALLENGE, Corpus
from intelligibility.corpora.cpc1 import read_listeners
from intelligibility.corpora.presentation import (
    Archive,
    Presentation,
    Problem,
    Response,
    percentage,
    safe_name,
)
from intelligibility.corpora.release import (
    clarity_data,
    configured,
    entries_of,
    responses_of,
    text_of,
    twice,
    wavs_in,
)
from intelligibility.runs import RecipeError
from msbg import Listener

logger = logging.getLogger(__name__)

OUTERMOST = "clarity_CPC2_data"
SETS = ("1", "2", "3")
TRAIN_CECS = ("CEC1", "CEC2")
TEST_CEC = "CEC2"  # no test signal is of CEC1
TEST_LIST, LABELS = "CEC2.test.{k}.json", "CPC2.test_labels.{k}.json"
NAMESAKES = "CEC1 and CEC2 signals of the same name (that of CEC1 would be left out)"
REFERENCES = ("target_ref", "target_anechoic")  # the first that is there


@dataclass(frozen=True)
class Entry:
    """One entry of a list: a signal, its prompt, and how much of it was understood."""

    signal: str
    scene: str
    listener: str
    system: str
    prompt: str
    correctness: float | None


@dataclass(frozen=True)
class Release:
    """The folder of the release, who listened, and where its wavs are."""

    data: Path
    listeners: dict[str, Listener]
    processed: dict[str, dict[str, Path]]
    references: dict[str, dict[str, Path]]

    @classmethod
    def at(cls, data: Path, listeners: dict[str, Listener]) -> "Release":
        """Look which wavs are there: an archive has them in one or another folder."""
        outputs = data / "HA_outputs"
        folders = ["signals", *(f"{part}.{k}" for part in ("train", "test") for k in SETS)]
        return cls(
            data,
            listeners,
            {cec: wavs_in(outputs / name / cec for name in folders) for cec in TRAIN_CECS},
            {cec: wavs_in([data / "scenes" / cec]) for cec in TRAIN_CECS},
        )

    def presentation(self, entry: Entry, cec: str, k: str) -> Presentation:
        """Make the record of one entry."""
        wav = f"{entry.signal}.wav"
        references = [f"{entry.scene}_{kind}.wav" for kind in REFERENCES]
        there = [name for name in references if name in self.references[cec]]
        return Presentation(
            name=entry.signal,
            scene=f"{cec}_{entry.scene}",
            listener=self.listeners[entry.listener],
            system=entry.system,
            prompt=entry.prompt,
            correctness=entry.correctness,
            processed=self.processed[cec].get(wav, self.data / "HA_outputs/signals" / cec / wav),
            reference=self.data / "scenes" / cec / (there or references)[0],
            lead_in=None,
            cec=cec,
            sets=(k,),
        )


def read_archives(cfg: DictConfig, _: str) -> dict[str, Archive]:
    """Read the metadata: "train", all three trainings in one, and "test", all three tests.

    Raises
    ------
    RecipeError
        The folder, the audiograms or both kinds of list are missing: nothing can be skipped then.
    """
    data = clarity_data(cfg, "cpc2_data", OUTERMOST)
    listeners, problems = read_listeners(data / "metadata" / "listeners.json")
    release = Release.at(data, listeners)
    labels = read_labels(cfg, data)
    archives = {"train": _read_train(release), "test": _read_test(release, labels)}
    archives = {name: one for name, one in archives.items() if one is not None}
    if len(archives) == 2:
        archives["train"] = _apart(archives["train"], archives["test"])
    if not archives:
        raise RecipeError(
            f"{data / 'metadata'}: neither training lists (CEC1.train.1.json) nor test lists "
            "(CEC2.test.1.json); restore the folder from the release"
        )
    next(iter(archives.values())).problems.extend(problems)
    return archives


def _read_train(release: Release) -> Archive | None:
    """Read the training lists; None where there is none at all."""
    lists = {
        (cec, k): release.data / "metadata" / f"{cec}.train.{k}.json"
        for cec in TRAIN_CECS
        for k in SETS
    }
    if not any(path.is_file() for path in lists.values()):
        return None
    problems: list[Problem] = []
    known: dict[tuple[str, str], Presentation] = {}
    scenes: set[str] = set()
    for (cec, k), path in lists.items():
        if not path.is_file():
            problems.append(Problem("training set without its list", str(path)))
            continue
        presentations, faults = _read_list(release, path, cec, k)
        problems += faults
        scenes |= {one.scene for one in presentations}
        for one in presentations:
            before = known.setdefault((cec, one.name), one)
            if before is not one:
                known[cec, one.name], fault = _joined(before, one)
                problems += fault
    problems += _without_namesakes(known)
    presentations = sorted(known.values(), key=lambda one: one.name)
    return Archive(release.data / "metadata", presentations, sorted(scenes), problems)


def _joined(before: Presentation, again: Presentation) -> tuple[Presentation, list[Problem]]:
    """Make one of a signal that two training sets list, and say where they contradict."""
    one = replace(before, sets=(*before.sets, *again.sets))
    if (before.prompt, before.correctness) == (again.prompt, again.correctness):
        return one, []
    where = f"{one.name} in sets {' and '.join(one.sets)}"
    return one, [Problem("training sets that contradict each other", where, (one.name,))]


def _without_namesakes(known: dict[tuple[str, str], Presentation]) -> list[Problem]:
    """Take out CEC1 signals that share their name with one of CEC2: files go by these names."""
    problems = []
    for cec, name in list(known):
        if cec == "CEC1" and ("CEC2", name) in known:
            del known[cec, name]
            problems.append(Problem(NAMESAKES, name))
    return problems


def _read_test(release: Release, labels: dict[str, Path]) -> Archive | None:
    """Read the test lists with the labels that there are; None where neither is there."""
    problems: list[Problem] = []
    presentations: list[Presentation] = []
    lists = {k: release.data / "metadata" / TEST_LIST.format(k=k) for k in SETS}
    if not labels and not any(path.is_file() for path in lists.values()):
        return None
    for k in SETS:
        path = lists[k] if lists[k].is_file() else labels.get(k)
        if path is None:
            problems.append(Problem("test set without its list", str(lists[k])))
            continue
        listed, faults = _read_list(release, path, TEST_CEC, k)
        problems += faults
        if k in labels and labels[k] != path:
            listed, faults = _labelled(listed, labels[k])
            problems += faults
        presentations += listed
    double = twice(one.name for one in presentations)
    problems += [Problem("signal in two test sets", name, (name,)) for name in double]
    presentations = sorted({one.name: one for one in presentations}.values(), key=lambda o: o.name)
    scenes = sorted({one.scene for one in presentations})
    return Archive(release.data / "metadata", presentations, scenes, problems)


def _apart(train: Archive, test: Archive) -> Archive:
    """Say which training scenes are tested too, and find signals in training k and test k."""
    both = sorted(set(train.scenes) & set(test.scenes))
    tested = {one.name: one for one in test.presentations}
    problems, apart = [], []
    for one in train.presentations:
        again = tested.get(one.name)
        if again is not None and one.cec != again.cec:
            problems.append(Problem(NAMESAKES, one.name))
            continue
        apart.append(one)
        if again is not None and set(one.sets) & set(again.sets):
            where = f"{one.name} of set {again.sets[0]}"
            problems.append(Problem("signal in training and test of a set", where, (one.name,)))
    if both:
        where = f"{len(both)} of {len(train.scenes)}, for the mappings only"
        problems.append(Problem("training scenes that are tested too", where, stops=""))
    problems = [*train.problems, *problems]
    return replace(train, presentations=apart, problems=problems, dev_only=both)


def _read_list(
    release: Release, path: Path, cec: str, k: str
) -> tuple[list[Presentation], list[Problem]]:
    """Read one list of signals."""
    entries, problems = entries_of(path, entry_of)
    double = twice(entry.signal for entry in entries)
    problems += [Problem(f"signal listed twice in {path.name}", name, (name,)) for name in double]
    presentations = []
    for entry in {entry.signal: entry for entry in entries}.values():
        if entry.listener in release.listeners:
            presentations.append(release.presentation(entry, cec, k))
        else:
            where = f"listener {entry.listener} of {entry.signal}"
            problems.append(Problem("no audiogram in listeners.json", where, (entry.signal,)))
    return presentations, problems


def entry_of(entry: dict[str, Any]) -> Entry:
    """Read one entry; what it says of scene, listener and system has to fit the signal's name."""
    signal = safe_name(entry.get("signal"), "signal")
    names = names_of(signal)
    for field, name in names.items():
        if entry.get(field, name) != name:
            raise ValueError(f"{field} is {entry[field]!r:.60}, but the signal is {signal}")
    correctness = percentage(entry.get("correctness"), "correctness")
    return Entry(signal, **names, prompt=text_of(entry, "prompt"), correctness=correctness)


def names_of(signal: str) -> dict[str, str]:
    """Split a signal's name; a system may hold an underscore.

    >>> names_of("S08503_L0212_E024_hr")
    {'scene': 'S08503', 'listener': 'L0212', 'system': 'E024_hr'}
    """
    parts = signal.split("_", 2)
    if len(parts) < 3 or not all(parts):
        raise ValueError(f"{signal} does not split into scene, listener and system")
    return dict(zip(("scene", "listener", "system"), parts, strict=True))


# Labels of the tests, which were released later.


def read_labels(cfg: DictConfig, data: Path | None) -> dict[str, Path]:
    """Return the file of labels per test set, from path.test_responses or from the release."""
    late = configured(cfg, "test_responses")
    places = [late and late / LABELS, late and late / TEST_LIST]
    places += [data and data / LABELS, data and data / "metadata" / LABELS]
    found: dict[str, Path] = {}
    for place in filter(None, places):
        for k in SETS:
            path = place.with_name(place.name.format(k=k))
            if path.is_file():
                found.setdefault(k, path)
    if late is not None and not any(path.parent == late for path in found.values()):
        raise RecipeError(
            f"{late}: no {LABELS.format(k=1)} here, nor 2 or 3; set path.test_responses to the "
            "folder that holds them"
        )
    return found


def _labelled(listed: list[Presentation], path: Path) -> tuple[list[Presentation], list[Problem]]:
    """Give the presentations of one test set their labels."""
    labels, problems = entries_of(path, entry_of)
    known = {one.signal: one.correctness for one in labels}
    strangers = sorted(set(known) - {one.name for one in listed})
    problems += [Problem("label without a signal", name, stops="") for name in strangers]
    labelled = [replace(one, correctness=known.get(one.name, one.correctness)) for one in listed]
    return labelled, problems


def late_responses(cfg: DictConfig, _: str, test: Iterable[Presentation]) -> list[Response]:
    """Read the test labels in path.test_responses; damaged entries are left out with a warning."""
    responses: list[Entry] = []
    for path in read_labels(cfg, None).values():
        entries, problems = entries_of(path, entry_of)
        responses += entries
        if problems:
            logger.warning("%s: %d damaged entries are left out", path, len(problems))
    return responses_of(test, [(one.signal, one.correctness) for one in responses])


# The challenge's results: the constant, its baseline (HASPI and a logistic), the best entry, and
# E022, the entry of this method's authors with another recogniser and without MSBG.
CORPUS = Corpus(
    name="cpc2",
    read=read_archives,
    late_responses=late_responses,
    data_keys={"train": "cpc2_data", "test": "cpc2_data"},
    release=OUTERMOST,
    zenodo=17045970,
    sets=SETS,
    mapping_per_set=True,
    n_test_signals={"1": 305, "2": 294, "3": 298},
    published={
        ("prior", CHALLENGE): {"pooled": (40.0, None, None)},
        ("haspi", CHALLENGE): {"pooled": (28.7, 0.70, None)},
        ("e022", CHALLENGE): {"pooled": (25.7, 0.77, None)},
        ("best", CHALLENGE): {"pooled": (25.1, 0.78, None)},
    },
)
