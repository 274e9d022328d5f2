"""A release in the CPC1 layout: noise in place of speech, two listeners, one hearing aid."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile as sf

from msbg.audiogram import CLARITY_FREQUENCIES

LEVELS = {"L0001": [15, 20, 25, 35, 45, 50, 60, 65], "L0002": [40, 45, 50, 60, 65, 75, 80, 85]}
WORDS = ["anna", "keeps", "two", "old", "boats", "peter", "sells", "nine", "red", "cups"]


def make_release(
    root: Path, n_train: int = 4, n_test: int = 2, rate: int = 44100, seconds: float = 2.2
) -> Path:
    """Write both archives with both tracks; two listeners hear every scene."""
    rng = np.random.default_rng(0)
    for split, n_scenes, listeners_file in (
        ("train", n_train, "listeners.CPC1_train.json"),
        ("test", n_test, "listeners.CPC1_all.json"),
    ):
        archive = root / f"clarity_CPC1_data_{split}"
        entries = []
        for number in range(n_scenes):
            scene = f"S{'12'[split == 'test']}{number:04d}"
            target = babble(rng, seconds, 44100)
            write(archive / f"clarity_data/scenes/{scene}_target_anechoic.wav", target, 44100)
            for listener, level in zip(LEVELS, (0.02, 0.2), strict=True):
                signal = f"{scene}_{listener}_E001"
                noisy = babble(rng, seconds, rate) + level * rng.standard_normal(
                    (int(seconds * rate), 2)
                )
                for track in ("", "_indep"):
                    folder = archive / f"clarity_data/HA_outputs/{split}{track}"
                    write(folder / f"{signal}.wav", noisy, rate)
                hits = int(rng.integers(6))
                entry = {"prompt": " ".join(rng.choice(WORDS, 5)), "scene": scene, "n_words": 5}
                entry |= {"hits": hits, "listener": listener, "system": "E001"}
                entry |= {"correctness": 20.0 * hits, "response": "", "volume": 50}
                entries.append(entry | {"signal": signal})
        for track in ("", "_indep"):
            dump(archive / f"metadata/CPC1.{split}{track}.json", entries)
        dump(archive / "metadata" / listeners_file, listeners())
    return root


def listeners() -> dict:
    """Return the content of the listeners file."""
    return {name: listener_entry(name, levels, 5) for name, levels in LEVELS.items()}


def listener_entry(name: str, levels: Sequence[float], worse: float) -> dict:
    """Return a listener's entry: levels in dB HL, the right ear `worse` dB worse, up to 100."""
    return {
        "name": name,
        "audiogram_cfs": list(CLARITY_FREQUENCIES),
        "audiogram_levels_l": list(levels),
        "audiogram_levels_r": [min(100, level + worse) for level in levels],
    }


def babble(rng: np.random.Generator, seconds: float, rate: int) -> np.ndarray:
    """Return noise with the slow fluctuations of speech, (n_samples, 2)."""
    n_samples = int(seconds * rate)
    envelope = 1 + np.sin(2 * np.pi * 4 * np.arange(n_samples) / rate)
    return 0.02 * envelope[:, None] * rng.standard_normal((n_samples, 2))


def write(path: Path, signal: np.ndarray, rate: int) -> None:
    """Write 16-bit audio; make its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, signal, rate, subtype="PCM_16")


def dump(path: Path, content: object) -> None:
    """Write json; make its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
