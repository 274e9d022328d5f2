"""What training and test have in common, on the real names of three challenges."""

import json
from pathlib import Path

import pytest

from intelligibility.corpora.cpc3 import names_of
from intelligibility.corpora.listeners import stand_in
from intelligibility.corpora.presentation import Presentation
from intelligibility.evaluation.leaks import COUNTED, Seen, in_words, keys_of


def presentation(
    cec: str, scene: str, listener: str, system: str, prompt: str = "a word", name: str = ""
) -> Presentation:
    """Return a presentation of which only the names matter."""
    name = name or f"{scene}_{listener}_{system}"
    nowhere = Path("nowhere.wav")
    person = stand_in("Mild", listener)
    return Presentation(
        *(name, scene, person, system, prompt, 50.0, nowhere, nowhere, None), cec=cec
    )


@pytest.fixture(scope="module")
def cpc3_train(shared: Path) -> Seen:
    """What a mapping fitted on all of CPC3's training remembers."""
    entries = json.loads((shared / "cpc3_real/CPC3.train.json").read_text())
    assert len(entries) == 15520
    named = [(*names_of(entry["signal"]), entry["prompt"]) for entry in entries]
    return Seen.of(
        presentation(cec, f"{cec}_{scene}", listener, system, prompt)
        for cec, system, scene, listener, prompt in named
    )


@pytest.mark.parametrize(("name", "n_met", "n"), [("test", 2001, 2421), ("test_indep", 513, 632)])
def test_cpc3_holds_most_of_cpc1(
    shared: Path, cpc3_train: Seen, name: str, n_met: int, n: int
) -> None:
    """The real names meet in the real numbers."""
    path = shared / f"cpc1_sample/test_listener_responses/CPC1.{name}.json"
    entries = json.loads(path.read_text())
    fields = ("scene", "listener", "system", "prompt", "signal")
    tested = [presentation("CEC1", *(entry[field] for field in fields)) for entry in entries]
    assert len(tested) == n
    assert len(cpc3_train.signals_in(tested)) == n_met
    overlap = cpc3_train.overlap(tested)
    assert overlap["signals"] == {"seen": n_met, "known": n}
    assert overlap["prompts"]["seen"] >= overlap["scenes"]["seen"] > 0


def test_what_names_a_signal() -> None:
    """The "_hr" of a system does not count; the challenge does."""
    seen = Seen.of([presentation("CEC2", "CEC2_S08503", "L0212", "E024_hr")])
    same = presentation("CEC2", "S08503", "L0212", "E024")
    assert seen.signals_in([same]) == ["S08503_L0212_E024"]
    others = [
        presentation("CEC1", "S08503", "L0212", "E024"),
        presentation("CEC2", "S08504", "L0212", "E024"),
        presentation("CEC2", "S08503", "L0213", "E024"),
        presentation("CEC2", "S08503", "L0212", "E025"),
    ]
    assert seen.signals_in(others) == []
    assert seen.overlap(others)["scenes"] == {"seen": 1, "known": 3}
    (sentence,) = in_words({"mapping": seen.overlap(others), "recogniser": None})
    assert sentence.endswith("1 of 3 scenes, 1 of 2 listeners, 1 of 3 systems, 1 of 1 prompts")


def test_opaque_names_meet_by_name_and_by_prompt() -> None:
    """Of CPC3's dev and eval only the sentence can be recognised; the same name is the same."""
    opaque = presentation("", "0a7c", "Mild", "", "All his long life,", name="0a7c")
    assert keys_of(opaque)["listeners"] is None
    seen = Seen.of([presentation("CEC2", "S1", "L1", "E1", "all his  long life")])
    assert seen.signals_in([opaque]) == []
    assert seen.overlap([opaque])["prompts"] == {"seen": 1, "known": 1}
    assert Seen.of([opaque]).signals_in([opaque]) == ["0a7c"]


def test_it_survives_a_file(tmp_path: Path) -> None:
    seen = Seen.of([presentation("CEC1", "S1", "L1", "E1"), presentation("CEC1", "S2", "L1", "E1")])
    assert set(seen.as_json()) == set(COUNTED)
    assert Seen.from_json(json.loads(json.dumps(seen.as_json()))) == seen
    for damaged in ({}, None, [1], {kind: [1] for kind in COUNTED}):
        with pytest.raises(ValueError):
            Seen.from_json(damaged)
