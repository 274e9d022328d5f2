"""Words of a text, their alignment with a prompt, and how many of the prompt were recognised."""

import re
from collections.abc import Sequence


def words_of(text: str) -> list[str]:
    """Split a text into words in capitals, without punctuation other than apostrophes."""
    return re.findall(r"[^\W_]+(?:'[^\W_]+)*'?", text.upper().replace("\u2019", "'"))


def aligned_words(recognised: str, prompt: str) -> list[tuple[str, int | None, int | None]]:
    """Align the recognised words with the prompt's, with the fewest errors.

    Returns
    -------
    list of (str, int or None, int or None)
        Each step: "=" (hit), "S" (substitution), "D" (deletion) or "I" (insertion), the number of
        the prompt's word and that of the recognised word.
    """
    # Imported here: what only splits texts into words runs without SpeechBrain.
    from speechbrain.utils.edit_distance import alignment, op_table

    return alignment(op_table(words_of(prompt), words_of(recognised)))


def word_correctness(recognised: str, prompt: str) -> float:
    """Return the share of the prompt's words that were recognised, 0..1, as in a listening test.

    Hits are those of SpeechBrain's alignment, as in the published method. Insertions do not lower
    the score.
    """
    reference = words_of(prompt)
    if not reference:
        raise ValueError(f"the prompt {prompt!r} has no word")
    steps = aligned_words(recognised, prompt)
    return sum(operation == "=" for operation, _, _ in steps) / len(reference)


def marked_words(recognised: str, prompt: str) -> list[tuple[str, bool]]:
    """Return the prompt's words, each with True where it was not recognised."""
    steps = aligned_words(recognised, prompt)
    hit = {number for operation, number, _ in steps if operation == "="}
    return [(word, number not in hit) for number, word in enumerate(words_of(prompt))]


def word_errors(recognised: str, prompt: str) -> tuple[int, int]:
    """Return the number of insertions, deletions and substitutions, and of the prompt's words."""
    steps = aligned_words(recognised, prompt)
    return sum(operation != "=" for operation, _, _ in steps), len(words_of(prompt))


def clarity_hits(reference: Sequence[str], hypothesis: Sequence[str]) -> int:
    """Count the words of `reference` that are also in `hypothesis`, as Clarity counts hits.

    The words are aligned with the fewest errors. Where several alignments have equally few, the
    one with the most substitutions counts, as in Clarity's official scores. SpeechBrain's alignment
    prefers insertions and deletions, and may find more hits.
    """
    best = [(n, 0) for n in range(len(hypothesis) + 1)]  # errors and hits up to each word
    for row, word in enumerate(reference, 1):
        above, best = best, [(row, 0)]
        for column, other in enumerate(hypothesis, 1):
            same = word == other
            errors, found = above[column - 1]
            ways = [(errors + (not same), found + same)]
            ways += [(errors + 1, found) for errors, found in (above[column], best[-1])]
            best.append(min(ways))
    return best[-1][1]
