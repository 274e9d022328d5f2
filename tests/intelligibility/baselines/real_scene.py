"""The real signal of CPC1, where it lies beside the checkout."""

import json
from pathlib import Path

import soundfile as sf

from msbg import Listener


def real_scene(shared: Path) -> tuple:
    """Return (processed, rate), (reference, rate), listener and name of a real signal of CPC1."""
    archive = shared / "cpc1_sample/clarity_CPC1_data_test"
    name = "S08520_L0216_E001"
    noisy = sf.read(archive / f"clarity_data/HA_outputs/test/{name}.wav")
    clean = sf.read(archive / "clarity_data/scenes/S08520_target_anechoic.wav")
    entries = json.loads((archive / "metadata/listeners.CPC1_all.json").read_text())
    return noisy, clean, Listener.from_dict(entries["L0216"]), name
