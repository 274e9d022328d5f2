"""Words in a text, and how many of a sentence's words were recognised."""

import logging

import pytest

from intelligibility import words


@pytest.mark.parametrize(
    ("recognised", "prompt", "expected"),
    [
        ("ANNA KEEPS TWO OLD BOATS", "anna keeps two old boats", 1.0),
        ("", "anna keeps two", 0.0),
        ("KEEPS OLD", "anna keeps two old", 0.5),
        ("SO ANNA NEVER KEEPS TWO", "Anna keeps two.", 1.0),  # insertions do not count
        ("TWO TWO TWO", "two nine", 0.5),
        ("I WON'T COME", "i won\u2019t come!", 1.0),
        ("I WONT COME", "I won't come", 2 / 3),
    ],
)
def test_word_correctness_counts_the_words_that_were_right(recognised, prompt, expected):
    assert words.word_correctness(recognised, prompt) == pytest.approx(expected)


def test_a_prompt_without_words_is_refused():
    assert words.words_of("It's twenty-one, o'clock's!") == ["IT'S", "TWENTY", "ONE", "O'CLOCK'S"]
    with pytest.raises(ValueError, match="has no word"):
        words.word_correctness("ANNA", " ... ")


@pytest.mark.parametrize(
    ("texts", "share", "level"),
    [
        (["ANNA KEEPS OLD BOATS", "ANNA"], 1.0, logging.INFO),
        (["", "ANNA"], 0.25, logging.WARNING),
        ([None, None], None, None),
    ],
)
def test_known_words_of_the_clean_references_are_said(caplog, texts, share, level):
    caplog.set_level(logging.INFO)
    found = words.known_words(texts, "anna keeps old boats", words.marked_words)
    assert found == ({} if share is None else {words.KNOWN: share})
    assert words.mean_of_known_words([found, found]) == found
    assert [one.levelno for one in caplog.records] == ([] if level is None else [level])


def test_lost_words_are_marked():
    marked = words.marked_words("ada fig cob", "Ada bed cob, dog")
    assert marked == [("ADA", False), ("BED", True), ("COB", False), ("DOG", True)]


def test_word_errors_count_every_kind():
    assert words.word_errors("ADA BED", "ada bed cob") == (1, 3)
    assert words.word_errors("ADA FIG COB DOG", "ada bed cob") == (2, 3)
    assert words.word_errors("", "ada bed cob") == (3, 3)
    assert words.word_errors("ADA ADA ADA ADA BED COB", "ada bed cob") == (3, 3)


@pytest.mark.parametrize(
    ("reference", "hypothesis", "expected"),
    [
        ("a b c", "a b c", 3),
        ("a b c", "", 0),
        ("a b c", "x a y b z c w", 3),
        ("attached was a note giving his name", "attached was his given name", 3),  # as officially
        ("a b", "b a", 0),  # two exchanged cost as much as one moved
    ],
)
def test_hits_are_counted_as_clarity_does(reference, hypothesis, expected):
    assert len(words.clarity_hits(reference.split(), hypothesis.split())) == expected
