"""Work that is done once, and the journal of what is done."""

import logging
import os

import pytest

from intelligibility import work
from intelligibility.runs import RecipeError, file_stamp
from intelligibility.work import Journal, Piece, Work


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data" / "prepared.jsonl"


def test_results_outlive_the_run_and_what_changed_is_counted(path):
    made_by = {"source": [1, 2], "MSBGEar": {"ahr": 20}}
    for key in ("a", "b"):
        Journal(path).add(key, made_by, {"duration": 1.5})
    journal = Journal(path)
    assert journal.result("a", made_by) == {"duration": 1.5}
    assert journal.result("c", made_by) is None
    assert journal.result("a", made_by | {"MSBGEar": {"ahr": 15}}) is None
    assert journal.result("b", {"source": [9, 2], "MSBGEar": {"ahr": 15}}) is None
    assert journal.outdated == {"MSBGEar": 2, "source": 1}


@pytest.mark.parametrize("cut", range(1, 40, 3))
def test_a_torn_line_costs_only_itself(path, cut):
    journal = Journal(path)
    journal.add("a", {}, {"n": 1})
    journal.add("b", {}, {"n": 2})
    path.write_bytes(path.read_bytes()[:-cut])
    journal = Journal(path)
    assert journal.result("a", {}) == {"n": 1}
    journal.add("c", {}, {"n": 3})
    again = Journal(path)
    assert again.result("a", {}) == {"n": 1}
    assert again.result("c", {}) == {"n": 3}
    assert again.result("b", {}) in (None, {"n": 2})  # without its newline the line may be whole


def test_shards_read_each_other_and_the_last_word_counts(path):
    first, second = Journal(path, 0, 2), Journal(path, 1, 2)
    first.add("a", {"ahr": 20}, {"n": 1})
    second.add("b", {"ahr": 20}, {"n": 2})
    second.add("a", {"ahr": 15}, {"n": 3})
    both = Journal(path)
    assert both.result("a", {"ahr": 15}) == {"n": 3}
    assert both.result("a", {"ahr": 20}) is None
    assert both.result("b", {"ahr": 20}) == {"n": 2}


def test_a_changed_file_is_noticed_wherever_it_changed_and_read_again_only_then(
    path, tmp_path, monkeypatch
):
    wav = tmp_path / "a.wav"
    wav.write_bytes(bytes(100_000))

    def todo():
        work = Work(path, [Piece("a", wav)], lambda item, stamp: {"source": stamp(item)}, "files")
        work.do(lambda item: {"size": item.stat().st_size}, n_jobs=1)
        return len(work.todo)

    assert todo() == 1
    read = []
    monkeypatch.setattr(work, "file_stamp", lambda path: read.append(path) or file_stamp(path))
    assert todo() == 0 and not read  # the hash is remembered with size and time of change
    content = bytearray(100_000)
    content[30_000] = 1
    wav.write_bytes(content)
    os.utime(wav, (1, 1))
    assert todo() == 1 and read == [wav]
    os.utime(wav, (2, 2))  # as a copy has it
    assert todo() == 0 and read == [wav, wav]
    assert todo() == 0 and read == [wav, wav]


NUMBERS = [
    Piece(f"n{number}", number, group="even" if number % 2 == 0 else "odd") for number in range(6)
]


def halve(number):
    if number == 3:
        raise ValueError("three cannot be halved")
    return {"half": number / 2}


def sums(numbers):
    """Return each number with the sum of those that came in the same call."""
    return [{"sum": sum(numbers)} if number else ValueError("nothing") for number in numbers]


def work_of(path, power=1, **options):
    return Work(path, NUMBERS, lambda number, stamp: {"power": power}, "numbers", **options)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_every_piece_is_done_once_and_one_that_fails_costs_only_itself(path, n_jobs, caplog):
    caplog.set_level(logging.INFO)
    work = work_of(path)
    work.do(halve, n_jobs)
    assert list(work.results) == ["n0", "n2", "n4", "n1", "n5"] and not work.outdated
    assert work.results["n5"] == {"half": 2.5}
    assert work.failed == {"n3": "three cannot be halved"}
    with pytest.raises(RecipeError, match="1 of 6 numbers failed.*n3: three.*; leave it out"):
        work.refuse_failed("leave it out")
    again = work_of(path)
    assert [piece.key for piece in again.todo] == ["n3"]
    assert "5 of 6 numbers are done already" in caplog.text


def test_what_changed_or_is_no_longer_whole_is_done_again(path):
    work_of(path).do(halve, 1)
    changed = work_of(path, power=2)
    assert len(changed.todo) == 6 and changed.outdated == {"power": 5}
    partly = work_of(path, is_whole=lambda number, result: number < 2)
    assert [piece.item for piece in partly.todo] == [2, 4, 3, 5] and not partly.outdated


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"n_jobs": 2}, [6, 6, 9, 9, 9]),
        ({"at_most": 2}, [2, 4, 4, 4, 5]),
        ({"at_once": True}, [15] * 5),
    ],
)
def test_a_call_gets_items_of_one_group_unless_it_takes_all_at_once(path, options, expected):
    work = work_of(path)
    work.do_together(sums, **options)
    assert sorted(result["sum"] for result in work.results.values()) == expected
    assert work.failed == {"n0": "nothing"}


def test_shards_do_every_group_once_and_a_last_run_finds_all_done(path):
    parts = [work_of(path, shard=shard, n_shards=3) for shard in range(3)]
    assert sorted(len(part.todo) for part in parts) == [0, 3, 3]
    for part in parts:
        part.do_together(sums)
    whole = work_of(path)
    assert len(whole.results) == 5 and [piece.key for piece in whole.todo] == ["n0"]
