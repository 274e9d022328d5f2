"""Something like speech: noise that comes in syllables, at random moments."""

import numpy as np


def syllables(seed: int, seconds: float = 2.0, rate: int = 16000) -> np.ndarray:
    """Return (n_samples, 2), the same at both ears, full scale 1; quiet at the ends."""
    rng = np.random.default_rng(seed)
    n_samples = int(seconds * rate)
    envelope = np.zeros(n_samples)
    at = int(0.25 * rate)
    while at < n_samples - 0.45 * rate:
        length = int(rng.uniform(0.08, 0.2) * rate)
        envelope[at : at + length] = rng.uniform(0.4, 1) * np.hanning(length)
        at += length + int(rng.uniform(0.02, 0.15) * rate)
    sound = 0.1 * envelope * rng.standard_normal(n_samples)
    return np.stack([sound, sound], axis=1)
