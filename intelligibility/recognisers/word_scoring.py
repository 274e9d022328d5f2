"""How many words of a sentence were recognised, whoever wrote them down.

A recogniser that others trained writes 20 % where a listener wrote twenty per cent, and color for
colour. Both texts are brought to one way of writing, with the normaliser of `transformers` that is
usual for Whisper, as far as it does what was done with the listeners' answers: contractions stay
one word, and their apostrophe does not count, since Clarity's scoring took its and it's for the
same. `python -m benchmarks.word_scoring` compares with that scoring.
"""

import re
from collections.abc import Mapping

from transformers.models.whisper.english_normalizer import (
    EnglishNumberNormalizer,
    remove_symbols_and_diacritics,
)

from intelligibility.words import clarity_hits

in_figures = EnglishNumberNormalizer()
OF_NUMBERS = ".%$¢€£"  # signs that are words when they stand beside a number


def scored_words(text: str, spelling: Mapping[str, str] | None = None) -> list[str]:
    """Return the words of a text as they are scored.

    Parameters
    ----------
    text : str
        What somebody wrote down.
    spelling : mapping of str to str, optional
        Words that are written in two ways, and the one that counts, in small letters.

    Examples
    --------
    >>> scored_words("It's 20% off, in twenty-one colours!", {"colours": "colors"})
    ['its', '20%', 'off', 'in', '21', 'colors']
    """
    text = re.sub("['\u2019]", "", text.lower())
    text = re.sub(r"(\d),(\d)", r"\1\2", text)
    text = remove_symbols_and_diacritics(text, keep=OF_NUMBERS)
    text = re.sub(r"(?<!\d)\.|\.(?!\d)|(?<!\d)%|[$¢€£](?!\d)", " ", text)
    return [(spelling or {}).get(word, word) for word in in_figures(text).split()]


def normalised_correctness(
    recognised: str, prompt: str, spelling: Mapping[str, str] | None = None
) -> float:
    """Return the share of the prompt's words that were recognised, 0..1, as in a listening test.

    Both texts are normalised, and hits are counted as Clarity does. Insertions do not lower the
    score.
    """
    reference = scored_words(prompt, spelling)
    if not reference:
        raise ValueError(f"the prompt {prompt!r} has no word")
    return clarity_hits(reference, scored_words(recognised, spelling)) / len(reference)
