"""Words in a text, and how many of a sentence's words were recognised."""

import re

from speechbrain.utils.edit_distance import alignment, op_table


def words_of(text: str) -> list[str]:
    """Split a text into words in capitals, without punctuation other than apostrophes."""
    return re.findall(r"[^\W_]+(?:'[^\W_]+)*'?", text.upper().replace("\u2019", "'"))


def word_correctness(recognised: str, prompt: str) -> float:
    """Return the share of the prompt's words that were recognised, 0..1, as in a listening test.

    The hits of the alignment with the fewest errors; words too many are not counted against them.
    """
    reference, hypothesis = words_of(prompt), words_of(recognised)
    if not reference:
        raise ValueError(f"the prompt {prompt!r} has no word")
    steps = alignment(op_table(reference, hypothesis))
    return sum(operation == "=" for operation, _, _ in steps) / len(reference)


def marked_words(recognised: str, prompt: str) -> list[tuple[str, bool]]:
    """Return the prompt's words, each with whether it was lost; alignment as above."""
    reference, hypothesis = words_of(prompt), words_of(recognised)
    steps = alignment(op_table(reference, hypothesis))
    kept = {number for operation, number, _ in steps if operation == "="}
    return [(word, number not in kept) for number, word in enumerate(reference)]
