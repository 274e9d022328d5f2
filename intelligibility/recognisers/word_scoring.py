"""How many words of a sentence were recognised, whoever wrote them down.

A recogniser that others trained writes 20 % where a listener wrote twenty per cent, and color for
colour. Both texts are brought to one way of writing, with the normaliser of `transformers` that is
usual for Whisper, as far as it does what was done with the listeners' answers: contractions stay
one word, and their apostrophe does not count, since Clarity's scoring took its and it's for the
same. `python -m benchmarks.word_scoring` compares with that scoring.
"""

import re
from collections.abc import Mapping
from itertools import pairwise

from transformers.models.whisper.english_normalizer import (
    EnglishNumberNormalizer,
    remove_symbols_and_diacritics,
)

from intelligibility.words import clarity_hits

in_figures = EnglishNumberNormalizer()
OF_NUMBERS = ".%$¢€£"  # signs that are words when they stand beside a number
DIGIT = r"(?:\d|zero|one|two|three|four|five|six|seven|eight|nine)"
BETWEEN_DIGITS = re.compile(rf"(?<!\S)({DIGIT})\s+(?={DIGIT}(?!\S))")
DECIMALS = re.compile(rf"\bpoint(?:\s+{DIGIT}(?!\S))+")


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

    Digits that are said one by one are words of their own:

    >>> scored_words("five two nine")
    ['5', '2', '9']
    """
    text = re.sub("['\u2019]", "", text.lower())
    text = re.sub(r"(\d),(\d)", r"\1\2", text)
    text = remove_symbols_and_diacritics(text, keep=OF_NUMBERS)
    text = re.sub(r"(?<!\d)\.|\.(?!\d)|(?<!\d)%|[$¢€£](?!\d)", " ", text)
    # The normaliser would make one number of digits in a row.
    text = DECIMALS.sub(lambda found: re.sub(r"\s+", "_", found[0]), text)
    parts = BETWEEN_DIGITS.sub(r"\1\n", text).replace("_", " ").split("\n")
    words = [word for part in parts for word in in_figures(part).split()]
    return [(spelling or {}).get(word, word) for word in words]


def marked_scored_words(
    recognised: str, prompt: str, spelling: Mapping[str, str] | None = None
) -> list[tuple[str, bool]]:
    """Return the prompt's words as they are scored, each with True where it was not recognised.

    Both texts are normalised, and hits are counted as Clarity does. Where the prompt has digits in
    a row, 529 stands for five two nine.
    """
    reference = scored_words(prompt, spelling)
    hypothesis = scored_words(recognised, spelling)
    if any(len(one) == len(two) == 1 and (one + two).isdigit() for one, two in pairwise(reference)):
        numbers = {word for word in hypothesis if word.isdigit() and word not in reference}
        hypothesis = [part for word in hypothesis for part in (word if word in numbers else [word])]
    hits = clarity_hits(reference, hypothesis)
    return [(word, number not in hits) for number, word in enumerate(reference)]
