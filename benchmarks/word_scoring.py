"""Our counts of correct words against the official ones, on the listeners' own answers.

    python -m benchmarks.word_scoring CPC3.train.json

Counts the correct words of every answer in a Clarity metadata file (fields prompt, response, and
words_correct or hits) in three ways: with the alignment of the published word score; with the
normaliser and the alignment for recognisers from the hub; and with Whisper's whole normaliser,
which expands contractions. Prints for how many sentences each count equals the official one, and
the first sentences in which the second differs (--all: all of them).
"""

import argparse
from collections import Counter
from pathlib import Path

from transformers.models.whisper.english_normalizer import EnglishTextNormalizer

from intelligibility.recognisers.word_scoring import scored_words
from intelligibility.runs import read_json
from intelligibility.words import clarity_hits, word_correctness, words_of


def published(answer: str, prompt: str) -> int:
    """Count as for the trained recogniser."""
    return round(word_correctness(answer, prompt) * len(words_of(prompt)))


def normalised(answer: str, prompt: str) -> int:
    """Count as for a recogniser from the hub."""
    return len(clarity_hits(scored_words(prompt), scored_words(answer)))


def expanded(answer: str, prompt: str) -> int:
    """Count with the whole of Whisper's normaliser."""
    normalise = EnglishTextNormalizer({})
    return len(clarity_hits(normalise(prompt).split(), normalise(answer).split()))


WAYS = {
    "as published": published,
    "normalised": normalised,
    "normalised, contractions expanded": expanded,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("metadata", type=Path)
    parser.add_argument("--all", action="store_true", help="list all sentences that differ")
    arguments = parser.parse_args()
    entries = read_json(arguments.metadata, list)
    official = [entry.get("words_correct", entry.get("hits")) for entry in entries]
    texts = [(entry["response"], entry["prompt"]) for entry in entries]
    print(f"| scoring | of {len(entries)} sentences, equal to the official count | fewer | more |")
    print("|---|---|---|---|")
    for name, count in WAYS.items():
        found = [count(*pair) for pair in texts]
        signs = Counter((a > b) - (a < b) for a, b in zip(found, official, strict=True))
        print(f"| {name} | {signs[0]} ({signs[0] / len(found):.2%}) | {signs[-1]} | {signs[1]} |")
        if count is normalised:
            counted = found
    print("\nours, official: prompt | answer")
    rows = zip(counted, official, texts, strict=True)
    differ = [(*pair, *text) for *pair, text in rows if pair[0] != pair[1]]
    for ours, theirs, answer, prompt in differ if arguments.all else differ[:20]:
        print(f"{ours}, {theirs}: {prompt} | {answer}")


if __name__ == "__main__":
    main()
