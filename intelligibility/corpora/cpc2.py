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

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from intelligibility.corpora.clarity import (
    answered,
    configured,
    presented,
    read_labels,
    read_list,
    release_folder,
)
from intelligibility.corpora.corpus import CHALLENGE, Corpus
from intelligibility.corpora.listeners import read_listeners
from intelligibility.corpora.presentation import Archive, Presentation, Problem, Response, safe_name
from intelligibility.runs import RecipeError
from msbg import Listener

RELEASE = "clarity_CPC2_data"
THREE_SETS = ("1", "2", "3")
CECS = ("CEC1", "CEC2")
TEST_CEC = "CEC2"  # no test signal is of CEC1
TEST_LIST, LABELS = "CEC2.test.{k}.json", "CPC2.test_labels.{k}.json"
NAMESAKES = "CEC1 and CEC2 signals of the same name (that of CEC1 would be left out)"
REFERENCES = ("target_ref", "target_anechoic")  # the first that is there


def read_archives(cfg: DictConfig, _: str) -> dict[str, Archive]:
    """Read the metadata: "train", all three trainings in one, and "test", all three tests.

    Without the folder, the audiograms or both kinds of list nothing can be skipped:
    RecipeError.
    """
    data = release_folder(cfg, "cpc2_data", RELEASE)
    listeners, problems = read_listeners(data / "metadata" / "listeners.json")
    release = Release.at(data, listeners)
    train, test = _read_train(release), _read_test(release, find_labels(cfg, data))
    if train and test:
        train = _without_tested(train, test)
    archives = {name: one for name, one in (("train", train), ("test", test)) if one}
    if not archives:
        raise RecipeError(
            f"{data / 'metadata'}: neither training lists (CEC1.train.1.json) nor test lists "
            "(CEC2.test.1.json); restore the folder from the release"
        )
    next(iter(archives.values())).problems.extend(problems)
    return archives


@dataclass(frozen=True)
class Release:
    """The folder of the release, its listeners, and per CEC its wavs by their file names."""

    data: Path
    listeners: dict[str, Listener]
    processed: dict[str, dict[str, Path]]
    references: dict[str, dict[str, Path]]

    @classmethod
    def at(cls, data: Path, listeners: dict[str, Listener]) -> "Release":
        """List the wavs: an archive has its signals in one folder or another."""
        parts = ["signals", *(f"{part}.{k}" for part in ("train", "test") for k in THREE_SETS)]
        outputs = {cec: [data / "HA_outputs" / part / cec for part in parts] for cec in CECS}
        return cls(
            data,
            listeners,
            {cec: wavs_in(folders) for cec, folders in outputs.items()},
            {cec: wavs_in([data / "scenes" / cec]) for cec in CECS},
        )

    def read(
        self, path: Path, cec: str, k: str, labels: Iterable[Path] = ()
    ) -> tuple[list[Presentation], list[Problem]]:
        """Read one list of signals, all of one CEC."""
        responses, problems = read_list(path, partial(parse, cec), labels)
        further = partial(self._further, cec, k)
        presentations, unheard = presented(
            responses, self.listeners, "no audiogram in listeners.json", further
        )
        return presentations, problems + unheard

    def _further(self, cec: str, k: str, one: Response) -> dict[str, Any]:
        wav = f"{one.signal}.wav"
        references = [f"{one.scene.removeprefix(f'{cec}_')}_{kind}.wav" for kind in REFERENCES]
        there = [name for name in references if name in self.references[cec]]
        return {
            "processed": self.processed[cec].get(wav, self.data / "HA_outputs/signals" / cec / wav),
            "reference": self.data / "scenes" / cec / (there or references)[0],
            "lead_in": None,
            "cec": cec,
            "sets": (k,),
        }


def wavs_in(folders: Iterable[Path]) -> dict[str, Path]:
    """Return the files of several folders by name; of two with one name, the first folder's."""
    found: dict[str, Path] = {}
    for folder in folders:
        if folder.is_dir():
            with os.scandir(folder) as entries:
                for entry in entries:
                    found.setdefault(entry.name, folder / entry.name)
    return found


def parse(cec: str, entry: dict[str, Any]) -> Response:
    """Read one entry; what it says of scene, listener and system has to fit the signal's name."""
    signal = safe_name(entry.get("signal"), "signal")
    names = names_of(signal)
    for field, name in names.items():
        if entry.get(field, name) != name:
            raise ValueError(f"{field} is {entry[field]!r:.60}, but the signal is {signal}")
    return answered(entry, signal, **names | {"scene": f"{cec}_{names['scene']}"})


def names_of(signal: str) -> dict[str, str]:
    """Split a signal's name; a system may hold an underscore.

    >>> names_of("S08503_L0212_E024_hr")
    {'scene': 'S08503', 'listener': 'L0212', 'system': 'E024_hr'}
    """
    parts = signal.split("_", 2)
    if len(parts) < 3 or not all(parts):
        raise ValueError(f"{signal} does not split into scene, listener and system")
    return dict(zip(("scene", "listener", "system"), parts, strict=True))


def _read_train(release: Release) -> Archive | None:
    """Read the training lists; None where there is none at all."""
    metadata = release.data / "metadata"
    lists = {(cec, k): metadata / f"{cec}.train.{k}.json" for cec in CECS for k in THREE_SETS}
    if not any(path.is_file() for path in lists.values()):
        return None
    problems: list[Problem] = []
    known: dict[tuple[str, str], Presentation] = {}
    scenes: set[str] = set()
    for (cec, k), path in lists.items():
        if not path.is_file():
            problems.append(Problem("training set without its list", str(path)))
            continue
        presentations, faults = release.read(path, cec, k)
        problems += faults
        for one in presentations:
            scenes.add(one.scene)
            before = known.get((cec, one.name))
            known[cec, one.name] = one if before is None else _joined(before, one, problems)
    for cec, name in list(known):
        if cec != TEST_CEC and (TEST_CEC, name) in known:  # files go by these names
            del known[cec, name]
            problems.append(Problem(NAMESAKES, name))
    presentations = sorted(known.values(), key=lambda one: one.name)
    return Archive(metadata, presentations, sorted(scenes), problems)


def _joined(before: Presentation, again: Presentation, problems: list[Problem]) -> Presentation:
    """Return one presentation of a signal that two training sets list; note a contradiction."""
    where = f"{again.name} in sets {' and '.join((*before.sets, *again.sets))}"
    if set(before.sets) & set(again.sets):
        problems.append(Problem("signal listed twice in a training set", where, (again.name,)))
    elif (before.prompt, before.correctness) != (again.prompt, again.correctness):
        fault = "training sets that contradict each other"
        problems.append(Problem(fault, where, (again.name,)))
    return replace(before, sets=(*before.sets, *again.sets))


def _read_test(release: Release, labels: dict[str, Path]) -> Archive | None:
    """Read the test lists with the labels that there are; None where neither is there."""
    metadata = release.data / "metadata"
    problems: list[Problem] = []
    presentations: list[Presentation] = []
    lists = {k: metadata / TEST_LIST.format(k=k) for k in THREE_SETS}
    if not labels and not any(path.is_file() for path in lists.values()):
        return None
    for k, path in lists.items():
        mine = [labels[k]] if k in labels else []
        if path.is_file() or mine:  # the labels list the signals as well
            path = path if path.is_file() else mine[0]
            listed, faults = release.read(path, TEST_CEC, k, mine)
            presentations += listed
            problems += faults
        else:
            problems.append(Problem("test set without its list", str(path)))
    presentations.sort(key=lambda one: one.name)
    return Archive(metadata, presentations, sorted({one.scene for one in presentations}), problems)


def _without_tested(train: Archive, test: Archive) -> Archive:
    """Return the training without signals of a name in the test, and with the scenes tested too."""
    both = sorted(set(train.scenes) & set(test.scenes))
    tested = {one.name: one for one in test.presentations}
    kept, problems = [], list(train.problems)
    for one in train.presentations:
        again = tested.get(one.name)
        if again is not None and one.cec != again.cec:
            problems.append(Problem(NAMESAKES, one.name))
            continue
        kept.append(one)
        if again is not None and set(one.sets) & set(again.sets):
            where = f"{one.name} of set {again.sets[0]}"
            problems.append(Problem("signal in training and test of a set", where, (one.name,)))
    if both:
        where = f"{len(both)} of {len(train.scenes)}, for the mappings only"
        problems.append(Problem("training scenes that are tested too", where, stops=""))
    return replace(train, presentations=kept, problems=problems, dev_only=both)


def find_labels(cfg: DictConfig, data: Path | None) -> dict[str, Path]:
    """Return the file of labels per test set, from path.test_responses or from the release."""
    late = configured(cfg, "test_responses")
    places = [late / LABELS, late / TEST_LIST] if late else []
    places += [data / LABELS, data / "metadata" / LABELS] if data else []
    found: dict[str, Path] = {}
    for place in places:
        for k in THREE_SETS:
            path = place.with_name(place.name.format(k=k))
            if path.is_file():
                found.setdefault(k, path)
    if late and not any(path.parent == late for path in found.values()):
        raise RecipeError(
            f"{late}: no {LABELS.format(k=1)} here, nor 2 or 3; set path.test_responses to the "
            "folder that holds them"
        )
    return found


def late_responses(cfg: DictConfig, _: str, test: Iterable[Presentation]) -> list[Response]:
    """Read the test labels in path.test_responses."""
    return read_labels(find_labels(cfg, None).values(), partial(parse, TEST_CEC), test)


# The challenge's results: the constant, its baseline (HASPI and a logistic), the best entry, and
# E022, the entry of this method's authors with another recogniser and without MSBG.
CORPUS = Corpus(
    name="cpc2",
    read=read_archives,
    late_responses=late_responses,
    data_keys={"train": "cpc2_data", "test": "cpc2_data"},
    release=RELEASE,
    zenodo=17045970,
    sets=THREE_SETS,
    mapping_per_set=True,
    n_test_signals={"1": 305, "2": 294, "3": 298},
    published={
        ("prior", CHALLENGE): {"pooled": (40.0, None, None)},
        ("haspi", CHALLENGE): {"pooled": (28.7, 0.70, None)},
        ("e022", CHALLENGE): {"pooled": (25.7, 0.77, None)},
        ("best", CHALLENGE): {"pooled": (25.1, 0.78, None)},
    },
)
