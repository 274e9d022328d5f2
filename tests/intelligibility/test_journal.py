import json
import os
import shutil

import pytest

from intelligibility.journal import Journal, file_stamp


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data" / "prepared.jsonl"


def test_results_outlive_the_run(path):
    with Journal(path) as journal:
        journal.add("a", {"source": [1, 2]}, {"duration": 1.5})
    assert Journal(path).result("a", {"source": [1, 2]}) == {"duration": 1.5}
    assert Journal(path).result("b", {"source": [1, 2]}) is None


def test_what_changed_is_counted(path):
    with Journal(path) as journal:
        journal.add("a", {"source": [1, 2], "MSBGEar": {"ahr": 20}}, {})
        journal.add("b", {"source": [1, 2], "MSBGEar": {"ahr": 20}}, {})
    journal = Journal(path)
    assert journal.result("a", {"source": [1, 2], "MSBGEar": {"ahr": 15}}) is None
    assert journal.result("b", {"source": [9, 2], "MSBGEar": {"ahr": 15}}) is None
    assert journal.outdated == {"MSBGEar": 2, "source": 1}


@pytest.mark.parametrize("cut", range(1, 40, 3))
def test_a_torn_line_costs_only_itself(path, cut):
    with Journal(path) as journal:
        journal.add("a", {}, {"n": 1})
        journal.add("b", {}, {"n": 2})
    path.write_bytes(path.read_bytes()[:-cut])
    with Journal(path) as journal:
        assert journal.result("a", {}) == {"n": 1}
        journal.add("c", {}, {"n": 3})
    again = Journal(path)
    assert again.result("a", {}) == {"n": 1}
    assert again.result("c", {}) == {"n": 3}
    assert again.result("b", {}) in (None, {"n": 2})  # without its newline the line may be whole


def test_shards_read_each_other_and_the_last_word_counts(path):
    with Journal(path, 0, 2) as first, Journal(path, 1, 2) as second:
        first.add("a", {"ahr": 20}, {"n": 1})
        second.add("b", {"ahr": 20}, {"n": 2})
        second.add("a", {"ahr": 15}, {"n": 3})
    both = Journal(path)
    assert both.result("a", {"ahr": 15}) == {"n": 3}
    assert both.result("a", {"ahr": 20}) is None
    assert both.result("b", {"ahr": 20}) == {"n": 2}


@pytest.mark.parametrize("line", ["[]", "3", '{"key": 1}', '{"key": [], "time": "x"}', "\xff"])
def test_nonsense_in_a_journal_is_passed_over(path, line):
    path.parent.mkdir()
    path.write_text(line + "\n", encoding="latin-1")
    assert Journal(path).latest == {}


def test_a_file_is_known_by_what_is_in_it(tmp_path):
    path, copy = tmp_path / "a.wav", tmp_path / "b.wav"
    content = bytearray(range(256)) * 200
    path.write_bytes(content)
    shutil.copyfile(path, copy)
    os.utime(copy, (0, 0))
    stamp = file_stamp(path)
    assert file_stamp(copy) == stamp
    assert stamp == json.loads(json.dumps(stamp))  # as it comes back from a journal
    for place in (0, 100, len(content) // 2, len(content) - 1):
        changed = bytearray(content)
        changed[place] ^= 1
        copy.write_bytes(changed)
        assert file_stamp(copy) != stamp
    copy.write_bytes(content + b"x")
    assert file_stamp(copy) != stamp
    copy.write_bytes(b"")
    assert file_stamp(copy)[0] == 0
