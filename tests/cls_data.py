"""LibriSpeech and the interferers of CEC1 in small: noise in their layouts."""

import json
from pathlib import Path

import numpy as np
import soundfile as sf

WORDS = {
    "train-clean-100": {
        "19-198-0000": "ADA KEEPS OLD BOATS",
        "19-198-0001": "TWO BOATS",
        "26-495-0000": "PETER SELLS NINE RED CUPS",
    },
    "dev-clean": {"84-121-0000": "ANNA KEEPS CUPS"},
}
CHAPTER = Path("train-clean-100/19/198")
SCENES = [  # dataset, SNR, interferer
    ("train", 2.0, "CIN_fan"),
    ("train", -3.0, "CIN_dryer.wav"),
    ("train", 6.0, "talker"),
    ("dev", -30.0, "CIN_fan"),
    ("train", 30.0, "unknown"),
]


def write_noise(path: Path, seconds: float, rate: int = 44100) -> None:
    """Write noise, different for each name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(list(path.name.encode()))
    sf.write(path, 0.05 * rng.standard_normal(round(seconds * rate)), rate, subtype="PCM_16")


def make_librispeech(root: Path) -> Path:
    """Write three utterances for training and one for development, 2 s each."""
    for subset, words in WORDS.items():
        for name, said in words.items():
            speaker, chapter, _ = name.split("-")
            folder = root / subset / speaker / chapter
            write_noise(folder / f"{name}.flac", 2.0, 16000)
            with (folder / f"{speaker}-{chapter}.trans.txt").open("a") as transcript:
                transcript.write(f"{name} {said}\n")
    return root


def make_cec1(root: Path, noises: str = "noise") -> Path:
    """Write two noises, a talker, and a list of scenes."""
    folder = root / "clarity_data/train/interferers"
    for name in ("CIN_fan", "CIN_dryer"):
        write_noise(folder / noises / f"{name}.wav", 3.0)
    write_noise(folder / "speech/talker.wav", 3.0)
    scenes = [
        {"dataset": dataset, "SNR": snr, "interferer": {"name": name}}
        for dataset, snr, name in SCENES
    ]
    metadata = root / "clarity_data/metadata"
    metadata.mkdir()
    (metadata / "scenes.train.json").write_text(json.dumps(scenes))
    return root
