"""Words of a text, their alignment with a prompt, and how many of the prompt were recognised."""

import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

logger = logging.getLogger(__name__)

KNOWN = "reference_wcs"  # of a signal in infer.py's journal, and on average in inference.json
SUPPORTED = 0.5  # of a text's words in the clean reference: fewer, and it may be another text


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


def marked_words(recognised: str, prompt: str) -> list[tuple[str, bool]]:
    """Return the prompt's words, each with True where it was not recognised.

    Hits are those of SpeechBrain's alignment, as in the published method.
    """
    steps = aligned_words(recognised, prompt)
    hit = {number for operation, number, _ in steps if operation == "="}
    return [(word, number not in hit) for number, word in enumerate(words_of(prompt))]


def word_correctness(
    recognised: str,
    prompt: str,
    marked_words: Callable[[str, str], list[tuple[str, bool]]] = marked_words,
) -> float:
    """Return the share of the prompt's words that were recognised, 0..1, as in a listening test.

    `marked_words` compares the words: a page that shows them marks what is counted here.
    Insertions do not lower the score.
    """
    marked = marked_words(recognised, prompt)
    if not marked:
        raise ValueError(f"the prompt {prompt!r} has no word")
    return sum(not lost for _, lost in marked) / len(marked)


def word_errors(recognised: str, prompt: str) -> tuple[int, int]:
    """Return the number of insertions, deletions and substitutions, and of the prompt's words."""
    steps = aligned_words(recognised, prompt)
    return sum(operation != "=" for operation, _, _ in steps), len(words_of(prompt))


def clarity_hits(reference: Sequence[str], hypothesis: Sequence[str]) -> tuple[int, ...]:
    """Return the numbers of the words of `reference` that `hypothesis` has, as Clarity counts hits.

    The words are aligned with the fewest errors. Where several alignments have equally few, the
    one with the most substitutions counts, as in Clarity's official scores. SpeechBrain's alignment
    prefers insertions and deletions, and may find more hits.
    """
    none: tuple[int, ...] = ()
    # Errors, number of hits, and the hits up to each word.
    best = [(n, 0, none) for n in range(len(hypothesis) + 1)]
    for row, word in enumerate(reference):
        above, best = best, [(row + 1, 0, none)]
        for column, other in enumerate(hypothesis, 1):
            same = word == other
            errors, found, hits = above[column - 1]
            ways = [(errors + (not same), found + same, (*hits, row) if same else hits)]
            ways += [(errors + 1, n, rest) for errors, n, rest in (above[column], best[-1])]
            best.append(min(ways))
    return best[-1][2]


def known_words(
    recognised: Iterable[str | None],
    prompt: str,
    marked_words: Callable[[str, str], list[tuple[str, bool]]],
) -> dict[str, float]:
    """Return the share of a prompt's words that is recognised in the clean reference, as `KNOWN`.

    Of the texts of both ears the better one counts. A recogniser without words has no share.
    """
    texts = [text for text in recognised if text is not None]
    if not texts or not words_of(prompt):
        return {}
    return {KNOWN: max(word_correctness(text, prompt, marked_words) for text in texts)}


def mean_of_known_words(results: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Return the mean of `known_words` over signals, and log it."""
    shares = [result[KNOWN] for result in results if result.get(KNOWN) is not None]
    mean = {KNOWN: sum(shares) / len(shares)} if shares else {}
    log_known_words(mean)
    return mean


def log_known_words(made: Mapping[str, Any]) -> None:
    """Log how many words of the clean references a recogniser knows; warn where those are few."""
    if KNOWN not in made:
        return
    what = "The recogniser understands %.0f %% of the words in the clean references"
    if made[KNOWN] >= SUPPORTED:
        logger.info(what, 100 * made[KNOWN])
    else:
        remedy = "; one that knows more of them, or is trained on such speech, may predict better"
        logger.warning(what + remedy, 100 * made[KNOWN])
