"""The records that the stages share: written, read back, and told apart."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from intelligibility.corpora.presentation import (
    Presentation,
    Problem,
    digest,
    in_lines,
    left_out,
    made_from_of,
    read_presentations,
    safe_name,
    write_presentations,
)
from intelligibility.runs import RecipeError
from msbg import Audiogram, Listener
from tests.conftest import edit


def listener(name: str, loss: float = 30) -> Listener:
    """Return a listener whose right ear is the worse."""
    return Listener(Audiogram([loss] * 8), Audiogram([loss + 5.5] * 8), name)


def presentation(number: int, person: Listener, **changes) -> Presentation:
    """Return a presentation of the made-up scene `number`."""
    scene = f"S{number:04d}"
    return Presentation(
        name=f"{scene}_{person.id}_E001",
        scene=scene,
        listener=person,
        system="E001",
        prompt="Fünf “alte” Boote, so",
        correctness=62.5,
        processed=Path(f"/data/{scene}.wav"),
        reference=Path(f"/data/{scene} ref.wav"),
        lead_in=2.0,
        made_from="ab12",
        **changes,
    )


@pytest.fixture
def used() -> dict[str, list[Presentation]]:
    """Return presentations of both archives, to one listener under two audiograms."""
    train = [presentation(n, listener("L1")) for n in (1, 2)]
    test = [presentation(3, listener("L1", 50)), presentation(4, listener("L2", 70))]
    return {"train": train, "test": [test[0], replace(test[1], correctness=None)]}


def plain(one: Presentation) -> dict:
    """Return all that a presentation holds, to be compared: audiograms are arrays."""
    return vars(one) | {"listener": (one.listener.id, one.listener.thresholds)}


def test_what_is_written_is_read_back(used, tmp_path):
    path = tmp_path / "presentations.json"
    write_presentations(path, used, {"seed": 1})
    found = read_presentations(path)
    assert {name: len(ones) for name, ones in found.items()} == {"train": 2, "test": 2}
    for archive in used:
        assert [*map(plain, found[archive])] == [*map(plain, used[archive])]
    assert json.loads(path.read_text())["provenance"] == {"seed": 1}
    write_presentations(path, {"test": used["test"]}, {})
    assert list(read_presentations(path)) == ["test"]


def test_records_that_stay_the_same_keep_their_time(used, tmp_path):
    path = tmp_path / "presentations.json"
    write_presentations(path, used, {"time": "monday"})
    before = path.read_bytes()
    write_presentations(path, used, {"time": "tuesday"})
    assert path.read_bytes() == before
    used["test"][0] = replace(used["test"][0], correctness=0.0)
    write_presentations(path, used, {"time": "tuesday"})
    assert path.read_bytes() != before


def test_ears_that_were_measured_at_other_frequencies_are_refused(tmp_path):
    odd = Listener(Audiogram([30] * 8), Audiogram([30] * 3, [250, 1000, 4000]), "L7")
    with pytest.raises(RecipeError, match="listener L7: the ears were measured at other frequenc"):
        write_presentations(tmp_path / "x.json", {"test": [presentation(1, odd)]}, {})
    assert not (tmp_path / "x.json").exists()


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.pop("listeners"),
        lambda content: content["listeners"]["test"].pop("L2"),
        lambda content: content["listeners"]["train"]["L1"].pop("audiogram_cfs"),
        lambda content: content["listeners"]["train"]["L1"].update(audiogram_levels_l=[1, "x"]),
        lambda content: content.update(train=7),
        lambda content: content["test"].append([]),
        lambda content: content["test"][0].pop("made_from"),
        lambda content: content["test"][0].update(correctness=120),
        lambda content: content["test"][0].update(processed=3),
        lambda content: content["test"][0].update(lead_in="long"),
    ],
)
def test_damaged_records_are_named(used, tmp_path, change):
    path = tmp_path / "presentations.json"
    with pytest.raises(RecipeError, match=r"presentations\.json: no such file; run prepare_data"):
        read_presentations(path)
    write_presentations(path, used, {})
    edit(path, change)
    with pytest.raises(RecipeError, match=r"presentations\.json: .*; run prepare_data\.py again"):
        read_presentations(path)


def test_a_digest_tells_what_ear_signals_were_made_from(used):
    before = made_from_of(used["test"])
    assert made_from_of(reversed(used["test"])) == before
    for change in ({"name": "x"}, {"prompt": "x"}, {"made_from": "x"}):
        assert made_from_of([replace(used["test"][0], **change), used["test"][1]]) != before
    # Answers decide no similarity.
    assert made_from_of([replace(used["test"][0], correctness=None), used["test"][1]]) == before
    assert digest({"a": 1, "b": Path("/x")}) == digest({"b": Path("/x"), "a": 1})


def test_the_first_reason_counts_and_a_notice_is_none():
    problems = [
        Problem("missing file", "a.wav", ("a", "b")),
        Problem("no audiogram", "L1", ("b", "c")),
        Problem("loss above 80 dB HL", "L2", stops=""),
    ]
    assert left_out(problems) == {
        "a": "missing file: a.wav",
        "b": "missing file: a.wav",
        "c": "no audiogram: L1",
    }


def test_problems_of_a_kind_share_a_line():
    problems = [Problem("missing file", f"{name}.wav") for name in "abcde"]
    assert in_lines([*problems[:2], Problem("odd", "x"), *problems[2:]]).splitlines() == [
        "      5 x missing file: a.wav; b.wav; c.wav and 2 more",
        "      1 x odd: x",
    ]


def test_names_that_lead_elsewhere_are_refused():
    assert safe_name("S08510_L0239_E001", "signal") == "S08510_L0239_E001"
    for name in ("", ".", "..", "a/b", "../a", "/a", "a\\b", "~a", "a b", 3, None):
        with pytest.raises(ValueError, match="scene is .*, expected a name such as S08510"):
            safe_name(name, "scene")
