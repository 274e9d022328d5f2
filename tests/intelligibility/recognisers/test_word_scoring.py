"""Words as they are scored, and the official hits of real answers."""

import pytest

from intelligibility.recognisers.word_scoring import marked_scored_words, scored_words
from intelligibility.runs import read_json
from intelligibility.words import clarity_hits, word_correctness


def correctness(recognised: str, prompt: str) -> float:
    return word_correctness(recognised, prompt, marked_scored_words)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("20", "twenty"),
        ("20%", "twenty percent"),
        ("$5", "five dollars"),
        ("1,960", "one thousand nine hundred and sixty"),
        ("the 3rd", "the third"),
        ("It\u2019s", "its"),
        ("won't", "wont"),
        ("Well-known.", "well known"),
        ("Caf\u00e9", "cafe"),
        ("3.5", "three point five"),
        ("3.14", "three point one four"),
        ("5 2 9", "five two nine"),
        ("25 2", "twenty five two"),
        ("1984", "nineteen eighty four"),
    ],
)
def test_two_ways_of_writing_are_the_same_words(one, other):
    assert scored_words(one) == scored_words(other) != []


@pytest.mark.parametrize(("one", "other"), [("it's", "it is"), ("colour", "color"), ("no", "know")])
def test_other_words_are_others(one, other):
    assert scored_words(one) != scored_words(other)


def test_digits_said_one_by_one_are_words_of_their_own():
    prompt = "the digits five two nine"
    assert scored_words(prompt) == ["the", "digits", "5", "2", "9"]
    for recognised, hits in [("5 2 9", 3), ("529", 3), ("five too nine", 2), ("eight hundred", 0)]:
        assert correctness(f"the digits {recognised}", prompt) == (2 + hits) / 5
    assert correctness("twenty five", "25 people") == 0.5


def test_a_number_that_counts_as_right_is_not_marked_as_lost():
    marked = marked_scored_words("I saw 8 goats", "I saw eight boats")
    assert marked == [("i", False), ("saw", False), ("8", False), ("boats", True)]


def test_spelling_is_that_of_the_mapping():
    assert scored_words("The Colour", {"colour": "color"}) == ["the", "color"]


def test_the_share_is_of_the_prompts_words():
    assert correctness("He's got 2 of them, the others too", "he's got two of these") == 0.8
    assert correctness("", "some words") == 0
    with pytest.raises(ValueError, match="no word"):
        correctness("some words", "...")


def test_the_official_hits_of_real_answers(shared):
    """99.0 % of the sentences were asked for; what differs are mostly homophones."""
    entries = read_json(shared / "cpc3_real/CPC3.train.json", list)
    same = sum(
        len(clarity_hits(scored_words(entry["prompt"]), scored_words(entry["response"])))
        == entry["words_correct"]
        for entry in entries
    )
    assert len(entries) == 15520
    assert same >= 15440
