"""The utterances of LibriSpeech, and the interferers of CEC1 with the SNRs of its scenes."""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import soundfile as sf

from intelligibility.corpora.presentation import Problem
from intelligibility.runs import RecipeError, read_json

SUBSETS = {"train": "train-clean-100", "dev": "dev-clean"}
# Folders of interferers; CEC1's documentation spells the first one "nosie".
FOLDERS = {"noise": ("noise", "nosie"), "speech": ("speech",)}
SHORTEST = 2.0  # s of an interferer


@dataclass(frozen=True)
class Utterance:
    """A sentence of LibriSpeech: its name, speaker, words in capitals, FLAC and seconds."""

    name: str
    speaker: str
    words: str
    path: Path
    seconds: float


@dataclass(frozen=True)
class Interferer:
    """A sound of CEC1's training set, "noise" or "speech"."""

    path: Path
    kind: str


def read_librispeech(root: Path, split: str) -> tuple[list[Utterance], list[Problem]]:
    """Read one subset of LibriSpeech, sorted by name, and what is wrong with it.

    `root` is the folder LibriSpeech, which holds train-clean-100 and dev-clean; `split` is "train"
    or "dev". Wrong are sounds without words or words without a sound, chapters without a
    transcript, and files that cannot be read.
    """
    folder = root / SUBSETS[split]
    if not folder.is_dir():
        return [], [Problem("no such folder", str(folder))]
    utterances, problems = [], []
    for chapter in sorted(path for path in folder.glob("*/*") if path.is_dir()):
        name = "-".join(chapter.parts[-2:])
        transcript = chapter / f"{name}.trans.txt"
        sounds = {path.stem: path for path in chapter.glob("*.flac")}
        if not transcript.is_file():
            problems.append(Problem("no transcript", str(transcript)))
            continue
        lines = transcript.read_text(encoding="utf-8").splitlines()
        words = {key: said.strip() for key, _, said in (line.partition(" ") for line in lines)}
        problems += [
            Problem("sound without words", str(sounds[k])) for k in sounds if not words.get(k)
        ]
        problems += [
            Problem("words without a sound", str(chapter / k)) for k in words if k not in sounds
        ]
        for key in sorted(set(sounds) & {key for key, said in words.items() if said}):
            try:
                seconds = sf.info(sounds[key]).duration
            except (OSError, RuntimeError):
                problems.append(Problem("cannot be read", str(sounds[key])))
                continue
            speaker = chapter.parent.name
            utterances.append(Utterance(key, speaker, words[key], sounds[key], seconds))
    if not utterances and not problems:
        problems = [Problem("holds no utterances", str(folder))]
    return utterances, problems


def read_interferers(root: Path, kinds: list[str]) -> tuple[list[Interferer], list[Problem]]:
    """Read the interferers of CEC1's training set, and of no other, sorted by kind and name.

    `root` is the folder clarity_CEC1_data, or one that holds it, or the folder interferers itself;
    `kinds` are "noise", "speech" or both. Problems: no such folder, files that cannot be read,
    sounds that are too short.
    """
    found, problems = [], []
    for kind in kinds:
        places = [f for name in FOLDERS[kind] for f in _places(root, f"train/interferers/{name}")]
        wavs = sorted({path for place in places for path in place.glob("*.wav")})
        if not wavs:
            where = root / f"clarity_data/train/interferers/{kind}"
            problems.append(Problem("no interferers", str(where)))
        for path in wavs:
            try:
                seconds = sf.info(path).duration
            except (OSError, RuntimeError):
                problems.append(Problem("cannot be read", str(path)))
                continue
            if seconds < SHORTEST:
                fault = f"interferer shorter than {SHORTEST:g} s"
                problems.append(Problem(fault, f"{path}: {seconds:.2f} s"))
            found.append(Interferer(path, kind))
    return found, problems


def read_snrs(root: Path, interferers: list[Interferer]) -> dict[str, list[float]]:
    """Return the signal-to-noise ratios in dB of CEC1's training scenes by the interferer's kind.

    They come from all lists scenes*.json below `root`; scenes with other interferers do not count.
    """
    kinds = {one.path.stem: one.kind for one in interferers}
    found = defaultdict(list)
    for path in sorted(root.rglob("metadata/scenes*.json")):
        for scene in read_json(path, list):
            try:
                dataset, snr = scene.get("dataset", "train"), float(scene["SNR"])
                kind = kinds.get(Path(str(scene["interferer"]["name"])).stem)
            except (AttributeError, KeyError, TypeError, ValueError):
                raise RecipeError(
                    f"{path}: a scene without SNR or interferer; restore the file, or give "
                    "cls.snr=[-6,12]"
                ) from None
            if kind and "train" in str(dataset):
                found[kind].append(snr)
    return {kind: sorted(snrs) for kind, snrs in found.items()}


def _places(root: Path, below: str) -> list[Path]:
    """Return the folders that hold interferers, however much of the path `root` has."""
    parts = Path(below).parts
    tried = [
        root / prefix / Path(*parts[first:])
        for prefix in ("", "clarity_data", "clarity_CEC1_data/clarity_data")
        for first in range(len(parts))
    ]
    return [folder for folder in dict.fromkeys(tried) if folder.is_dir()]
