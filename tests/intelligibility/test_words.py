"""Words in a text, and how many of a sentence's words were recognised."""

import pytest

from intelligibility.words import marked_words, word_correctness, words_of


@pytest.mark.parametrize(
    ("recognised", "prompt", "expected"),
    [
        ("ANNA KEEPS TWO OLD BOATS", "anna keeps two old boats", 1.0),
        ("", "anna keeps two", 0.0),
        ("KEEPS OLD", "anna keeps two old", 0.5),
        ("SO ANNA NEVER KEEPS TWO", "Anna keeps two.", 1.0),  # words too many do not count
        ("TWO TWO TWO", "two nine", 0.5),
        ("I WON'T COME", "i won\u2019t come!", 1.0),
        ("I WONT COME", "I won't come", 2 / 3),
    ],
)
def test_word_correctness_counts_the_words_that_were_right(recognised, prompt, expected):
    assert word_correctness(recognised, prompt) == pytest.approx(expected)


def test_a_prompt_without_words_is_refused():
    assert words_of("It's twenty-one, o'clock's!") == ["IT'S", "TWENTY", "ONE", "O'CLOCK'S"]
    with pytest.raises(ValueError, match="has no word"):
        word_correctness("ANNA", " ... ")


def test_lost_words_are_marked():
    assert marked_words("ada fig cob", "Ada bed cob, dog") == [
        ("ADA", False),
        ("BED", True),
        ("COB", False),
        ("DOG", True),
    ]
