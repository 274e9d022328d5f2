"""Something like speech: noise in syllables, each with a spectrum of its own, at random moments."""

import numpy as np


def syllables(seed: int, seconds: float = 2.0, rate: int = 16000) -> np.ndarray:
    """Return (n_samples, 2), the same at both ears, full scale 1; quiet at the ends."""
    rng = np.random.default_rng(seed)
    sound = np.zeros(int(seconds * rate))
    at = int(0.25 * rate)
    while at < len(sound) - 0.45 * rate:
        length = int(rng.uniform(0.08, 0.2) * rate)
        spectrum = np.fft.rfft(rng.standard_normal(length))
        octaves = np.log2(np.fft.rfftfreq(length, 1 / rate) + 1) - rng.uniform(8.5, 11.5)
        syllable = np.fft.irfft(spectrum * np.exp(-((octaves / 0.4) ** 2)), length)
        loud = rng.uniform(0.4, 1) * np.hanning(length) * syllable
        sound[at : at + length] = 0.05 * loud / syllable.std()
        at += length + int(rng.uniform(0.02, 0.15) * rate)
    return np.stack([sound, sound], axis=1)
