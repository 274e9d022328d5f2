"""Real spoken digits as a listening test: the miniature's hearing aids and simulated listeners.

    git clone https://github.com/Jakobovski/free-spoken-digit-dataset
    python -m benchmarks.digits free-spoken-digit-dataset/recordings digits

Each scene is four digits, spoken by one of the corpus' six talkers and heard by two of the
miniature's listeners through a hearing aid each, in speech-shaped noise from the side. Nobody
listened: answers follow the Speech Intelligibility Index, as in demo/listeners.py. The table is for
corpus=table path.table=digits/listening_test.csv.
"""

import argparse
import csv
import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile as sf
from scipy.signal import resample_poly

from demo import hearing_aids, listeners, scenes
from demo.make_miniature import HEADROOM, SNRS
from demo.speech import SAMPLE_RATE

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
N_DIGITS, HEARD_BY = 4, 2
GAP = 0.1  # s between digits
COLUMNS = (
    *("processed", "reference", "text", "correctness", "listener", "audiogram", "system"),
    *("scene", "snr", "start", "delay"),
)


def spoken(
    recordings: Path, talker: str, digits: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Return digits by one talker, one after the other, at the miniature's rate."""
    gap = np.zeros(round(GAP * SAMPLE_RATE))
    parts = []
    for digit in digits:
        takes = sorted(recordings.glob(f"{digit}_{talker}_*.wav"))
        signal, rate = sf.read(takes[rng.integers(len(takes))])
        parts += [resample_poly(signal / np.abs(signal).max(), SAMPLE_RATE, rate), gap]
    return np.concatenate(parts[:-1])


def rows_of(folder: Path, recordings: Path, n_scenes: int) -> Iterator[list[object]]:
    """Write the wavs of every scene; yield its rows of the table."""
    rng = np.random.default_rng(1)
    talkers = sorted({path.stem.split("_")[1] for path in recordings.glob("*.wav")})
    pairs = list(itertools.product(listeners.LISTENERS, hearing_aids.SYSTEMS))
    digits = rng.integers(10, size=(n_scenes, N_DIGITS))
    voices = [talkers[number % len(talkers)] for number in range(n_scenes)]
    targets = [spoken(recordings, *one, rng) for one in zip(voices, digits, strict=True)]
    spectrum = scenes.speech_spectrum(targets)
    for number, target in enumerate(targets):
        prompt = " ".join(WORDS[digit] for digit in digits[number])
        snr = SNRS[rng.integers(len(SNRS))]
        name, side = f"D{number:03d}", float(rng.integers(30, 91) * rng.choice((-1, 1)))
        scene = scenes.Scene(name, prompt, voices[number], "noise", snr, 0.0, (side,))
        parts = scenes.render(scene, target, spectrum, [], rng)
        reference = Path("references", f"{name}.wav")
        write(folder / reference, parts[0] * HEADROOM)
        begin = round(scenes.BEFORE * SAMPLE_RATE)
        for one in rng.choice(len(pairs), HEARD_BY, replace=False):
            listener, system = pairs[one]
            aided = hearing_aids.process(system, parts, listeners.audiograms(listener))
            processed = Path("processed", f"{name}_{listener}_{system}.wav")
            write(folder / processed, aided[0] + aided[1])
            heard = [part[begin : begin + len(target)] for part in aided]
            answer = listeners.answer(prompt, listener, heard[0], heard[1], rng)
            correct = 100 * answer.hits / answer.n_words
            row = [processed, reference, prompt, correct, listener, audiogram_of(listener), system]
            yield [*row, name, snr, scenes.BEFORE, 0]


def audiogram_of(listener: str) -> str:
    """Write both audiograms as a table has them."""
    return ";".join(
        f"{ear}=" + ",".join(f"{hz}:{level}" for hz, level in levels.items())
        for ear, levels in zip(("left", "right"), listeners.audiograms(listener), strict=True)
    )


def write(path: Path, signal: np.ndarray) -> None:
    """Write a wav as the miniature's are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, np.clip(signal, -1, 1), SAMPLE_RATE, subtype="PCM_16")


def main() -> None:
    """Write listening_test.csv and its wavs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recordings", type=Path, help="of the free spoken digit dataset")
    parser.add_argument("folder", type=Path, help="to write")
    parser.add_argument("--scenes", type=int, default=80)
    arguments = parser.parse_args()
    rows = list(rows_of(arguments.folder, arguments.recordings, arguments.scenes))
    with (arguments.folder / "listening_test.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([COLUMNS, *rows])


if __name__ == "__main__":
    main()
