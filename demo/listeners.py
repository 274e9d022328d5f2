"""Simulated listeners: their audiograms, and the words that they repeat.

No person took part. The probability of repeating a word follows from the Speech Intelligibility
Index of the aid's output for the listener's audiogram, through the psychometric function of the
Oldenburg test.
"""

from dataclasses import dataclass

import numpy as np

from demo.scenes import FULL_SCALE
from demo.speech import SAMPLE_RATE
from msbg.audiogram import CLARITY_FREQUENCIES as FREQUENCIES

# Standard audiograms in dB HL at FREQUENCIES: Bisgaard, Vlaming & Dahlquist (2010, Trends Amplif.
# 14:113-120). They end at 6 kHz; 8 kHz repeats that value. N5 to N7 (severe to profound) are left
# out: CPC1 had no such listeners, and MSBG ends at 105 dB HL.
STANDARD_AUDIOGRAMS = {
    "N1": (10, 10, 10, 15, 20, 30, 40, 40),
    "N2": (20, 20, 25, 35, 40, 45, 50, 50),
    "N3": (35, 35, 40, 50, 55, 60, 65, 65),
    "N4": (55, 55, 55, 65, 70, 75, 80, 80),
    "S1": (10, 10, 10, 15, 30, 55, 70, 70),
    "S2": (20, 20, 25, 55, 75, 95, 95, 95),
    "S3": (30, 35, 60, 75, 80, 80, 85, 85),
}
# Left and right ear of each listener, mild to moderately severe as in CPC1.
LISTENERS = {
    "L9001": ("N1", "N1"),
    "L9002": ("N2", "N1"),
    "L9003": ("N2", "N2"),
    "L9004": ("N2", "N3"),
    "L9005": ("N3", "N3"),
    "L9006": ("N4", "N3"),
    "L9007": ("N4", "N4"),
    "L9008": ("S1", "S1"),
    "L9009": ("S1", "S2"),
    "L9010": ("S2", "S2"),
    "L9011": ("S2", "S3"),
    "L9012": ("S1", "N2"),
}

# ANSI S3.5-1997, table 4 (octave bands): edges and centres in Hz, importance, spectrum levels in dB
# of standard speech at normal effort and of the internal noise.
BAND_EDGES = (177, 355, 710, 1420, 2840, 5680, 11360)
BAND_CENTRES = (250, 500, 1000, 2000, 4000, 8000)
BAND_IMPORTANCE = np.array([0.0617, 0.1671, 0.2373, 0.2648, 0.2142, 0.0549])
STANDARD_SPEECH = np.array([34.75, 34.27, 25.01, 17.32, 9.33, 1.13])
INTERNAL_NOISE = np.array([-3.9, -9.7, -12.5, -17.7, -25.9, -7.1])

# Oldenburg sentence test in its own noise (Wagener, Brand & Kollmeier, 1999, Z. Audiol. 38:86-95).
THRESHOLD = -7.1  # dB SNR at which normal-hearing listeners repeat half of the words
SLOPE = 0.171  # share of words per dB there
# Wardenga et al. (2015, Int. J. Audiol. 55:71-79): dB by which each dB HL of pure-tone average
# raises that threshold, measured up to 47 dB HL. Beyond that, audibility determines the score, as a
# part of the index.
THRESHOLD_PER_LOSS = 0.094


@dataclass(frozen=True)
class Answer:
    """The words repeated, in order, their number, and the probability of repeating each word."""

    response: str
    hits: int
    n_words: int
    chance: float


def audiograms(listener: str) -> list[dict[int, float]]:
    """Return the left and the right audiogram of a listener, {Hz: dB HL}."""
    levels = (STANDARD_AUDIOGRAMS[kind] for kind in LISTENERS[listener])
    return [dict(zip(FREQUENCIES, ear, strict=True)) for ear in levels]


def answer(
    prompt: str, listener: str, target: np.ndarray, interferer: np.ndarray, rng: np.random.Generator
) -> Answer:
    """Simulate how a listener, a key of `LISTENERS`, repeats a sentence.

    `target` and `interferer` are the two parts of the hearing aid's output during the target, each
    (n_samples, 2), 44.1 kHz, 1.0 is 120 dB SPL. Each word of the prompt is drawn independently:
    hits are binomial.
    """
    ears = audiograms(listener)
    chances = []
    for ear, audiogram in enumerate(ears):
        speech, noise = spectrum_levels(target[:, ear]), spectrum_levels(interferer[:, ear])
        index = speech_intelligibility_index(speech, noise, [audiogram[f] for f in BAND_CENTRES])
        # The pure-tone average in dB HL, as Wardenga et al. define it.
        loss = float(np.mean([audiogram[f] for f in (500, 1000, 2000, 3000)]))
        chances.append(word_score(index, loss))
    chance = max(chances)  # the better ear decides
    words = prompt.split()
    heard = [word for word in words if rng.random() < chance]
    return Answer(" ".join(heard), len(heard), len(words), chance)


def spectrum_levels(signal: np.ndarray) -> np.ndarray:
    """Return the spectrum level in each octave band, (6,), dB SPL per Hz."""
    power = 2 * np.abs(np.fft.rfft(signal)) ** 2 / len(signal) ** 2
    frequencies = np.fft.rfftfreq(len(signal), 1 / SAMPLE_RATE)
    edges = np.searchsorted(frequencies, BAND_EDGES)
    bands = np.add.reduceat(power, edges)[:-1]
    return FULL_SCALE + 10 * np.log10(bands / np.diff(BAND_EDGES) + 1e-30)


def speech_intelligibility_index(
    speech: np.ndarray, noise: np.ndarray, thresholds: np.ndarray | list[float]
) -> float:
    """Return the Speech Intelligibility Index, 0 to 1, octave-band procedure of ANSI S3.5-1997.

    `speech` and `noise` are spectrum levels, (6,), dB SPL per Hz, E' and N' in the equations;
    `thresholds` are hearing threshold levels, (6,), dB HL, T' there.
    """
    disturbance = np.maximum(noise, INTERNAL_NOISE + np.asarray(thresholds))
    distortion = np.clip(1 - (speech - STANDARD_SPEECH - 10) / 160, 0, 1)
    audibility = np.clip((speech - disturbance + 15) / 30, 0, 1)
    return float(np.sum(BAND_IMPORTANCE * distortion * audibility))


def word_score(index: float, loss: float) -> float:
    """Return the probability of repeating a word at a Speech Intelligibility Index.

    The index is converted to the signal-to-noise ratio that gives the same index in the test's own
    noise, 30 SII - 15 dB. The logistic is that of Brand & Kollmeier (2002, J. Acoust. Soc. Am.
    111:2801-2810), with threshold and slope of the Oldenburg test; `loss` is the ear's pure-tone
    average in dB HL.
    """
    snr = 30 * index - 15
    threshold = THRESHOLD + THRESHOLD_PER_LOSS * loss
    return float(1 / (1 + np.exp(4 * SLOPE * (threshold - snr))))
