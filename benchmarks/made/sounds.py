"""Speech-like sounds and a listener, for tests and benchmarks without a corpus."""

from typing import Any

import numpy as np

from msbg import Audiogram, Listener

MSBG: dict[str, Any] = {"src_pos": "ff", "sample_rate": 44100, "equiv_0db_spl": 100, "ahr": 20}


def syllables(rate: int, seconds: float, seed: int = 0) -> np.ndarray:
    """Return voiced syllables of varying pitch between pauses, (n_samples, 2), 0.05 RMS."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * rate)) / rate
    pitch = 120 + 30 * np.sin(2 * np.pi * 0.7 * t)
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    voice = sum(np.sin(k * phase) / k for k in range(1, 25))
    voice = voice + 0.2 * rng.standard_normal(len(t))
    envelope = np.clip(np.sin(2 * np.pi * 3.1 * t), 0, None) * (0.5 + 0.5 * rng.random())
    ears = np.stack([envelope * voice, 0.8 * np.roll(envelope * voice, round(3e-4 * rate))], axis=1)
    return 0.05 * ears / np.sqrt(np.mean(ears**2))


def processed(clean: np.ndarray, noise: float, seed: int = 1) -> np.ndarray:
    """Return the sound with noise, delayed by 3 ms and slightly compressed."""
    rng = np.random.default_rng(seed)
    late = np.roll(clean, 130, axis=0) + noise * rng.standard_normal(clean.shape)
    return np.tanh(4 * late) / 4


def listener(name: str = "L1") -> Listener:
    """Return a listener with a moderate loss, worse on the right."""
    levels = [15, 20, 25, 35, 45, 50, 60, 65]
    return Listener(Audiogram(levels), Audiogram([level + 10 for level in levels]), name)
