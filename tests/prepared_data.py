"""What infer.py reads, as prepare_data.py leaves it, and what infer.py writes."""

import json
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import soundfile as sf
import torch

from benchmarks.made.recogniser import SETTINGS
from intelligibility.experiment import EARS, write_table
from intelligibility.runs import read_json
from tests.conftest import contents

LISTENERS = ("L0001", "L0002")
SIZES = [f"asr_overrides.{name}={json.dumps(value)}" for name, value in SETTINGS.items()]
# What makes training a matter of seconds, beside the sizes.
TRAINING = {"output_neurons": 40, "number_of_epochs": 2, "stage_one_epochs": 1, "batch_size": 4}
TRAINING |= {"gradient_accumulation": 1, "valid_search_interval": 2, "valid_beam_size": 2}
TRAINING_SIZES = [*SIZES, *(f"asr_overrides.{name}={value}" for name, value in TRAINING.items())]


def heard_by_both(split: str, seconds: Sequence[float], prompts: Sequence[str]) -> dict:
    """Return signals for `write_tables`: every scene is heard by both listeners."""
    return {
        f"S{split == 'test':d}{number:04d}_{listener}_E001": (duration, prompt)
        for number, (duration, prompt) in enumerate(zip(seconds, prompts, strict=True))
        for listener in LISTENERS
    }


def write_tables(
    data: Path,
    split: str,
    signals: dict[str, tuple[float, str]],
    sound: Callable[[str, float], np.ndarray],
) -> None:
    """Write the tables of a split and its wavs, of signals with their durations and prompts.

    `sound` is given a wav's path below the data folder and a duration in s, and returns samples at
    16 kHz. Signals of one scene have one reference.
    """
    for ear in EARS:
        for kind in ("msbg", "ref"):
            rows = []
            for name, (duration, prompt) in signals.items():
                scene, listener, _ = name.split("_")
                wav = data / split / f"{ear}_{kind}/{scene if kind == 'ref' else name}.wav"
                wav.parent.mkdir(parents=True, exist_ok=True)
                sf.write(wav, sound(str(wav.relative_to(data)), duration), 16000, subtype="FLOAT")
                row = {"ID": name, "duration": duration, "wav": wav}
                rows.append(row | {"spk_id": listener, "wrd": prompt})
            write_table(data / f"{ear}_{split}_{kind}.csv", rows)


def seed_of(name: str) -> int:
    """Return a seed for a wav by its name."""
    return zlib.crc32(name.encode())


def measures(folder: Path, split: str, name: str) -> dict[str, float]:
    """Read one json of measures."""
    what = "correctness" if name == "wcs" else "similarity"
    return read_json(folder / f"{split}_{name}_{what}.json", dict)


def outputs(folder: Path) -> dict[str, str]:
    """Return the hashes of all measures."""
    return contents(folder, "_similarity.json", "_correctness.json")


def mean_of_best(processed: list[torch.Tensor], reference: list[torch.Tensor]) -> float:
    """Compare sequences of one length plainly: the best pair of ears counts in each frame."""
    cosines = [torch.cosine_similarity(a, b, dim=-1) for a in processed for b in reference]
    return torch.stack(cosines).amax(0).mean().item()
