"""The hearing-loss simulation once more: slow, plain, one step after the other.

Each function does with loops and textbook calls what msbg/ does at once, and shares no code with it
but the tables of numbers. `python tests/msbg/msbg_oracle.py` writes frozen.npz: a short
signal, and what this page makes of it. The tests hold msbg/ against both.
"""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

import numpy as np
from scipy.signal import ellip, filtfilt, firwin, lfilter
from scipy.signal.windows import hamming, kaiser

from msbg.filterbank import DESIGNS
from msbg.transfer import (
    DIFFUSE_FIELD_DB,
    FREE_FIELD_DB,
    FREQUENCIES_HZ,
    ITU_DB,
    ITU_HZ,
    MIDDLE_EAR_DB,
)

RATE = 44100
FROZEN = Path(__file__).with_name("frozen.npz")
FREQUENCIES = [250, 500, 1000, 2000, 3000, 4000, 6000, 8000]
LEVELS = {
    "SEVERE": [30, 25, 25, 50, 65, 75, 75, 90],
    "MODERATE": [25, 35, 50, 45, 50, 45, 65, 70],
    "MILD": [15, 20, 35, 45, 25, 25, 45, 35],
    "NOTHING": [-5, 0, 5, 10, 10, 20, 15, 20],
}
SMEARING = {"SEVERE": (4.0, 2.0), "MODERATE": (2.4, 1.6), "MILD": (1.6, 1.1)}
CASES = {
    "severe_ff": ("SEVERE", "ff", 120.0),
    "severe_df": ("SEVERE", "df", 120.0),
    "moderate_ff": ("MODERATE", "ff", 120.0),
    "moderate_ITU": ("MODERATE", "ITU", 120.0),
    "mild_ff": ("MILD", "ff", 120.0),
    "mild_loud": ("MILD", "ff", 150.0),
    "nothing_ff": ("NOTHING", "ff", 120.0),
    "no_audiogram_ff": (None, "ff", 120.0),
}


def speech_like(n_samples: int = 6615, seed: int = 1) -> np.ndarray:
    """Two voices with a falling pitch, syllables and a pause: (n_samples, 2)."""
    rng = np.random.default_rng(seed)
    seconds = np.arange(n_samples) / RATE
    signal = np.zeros((n_samples, 2))
    for channel, pitch in enumerate((110.0, 190.0)):
        phase = 2 * np.pi * np.cumsum(pitch * (1 - 0.3 * seconds / seconds[-1])) / RATE
        voice = sum(np.cos(k * phase) / k for k in range(1, 40))
        syllables = np.maximum(0, np.sin(2 * np.pi * 14 * seconds + channel)) ** 2
        signal[:, channel] = 0.05 * syllables * (voice + 0.3 * rng.standard_normal(n_samples))
    return signal


@cache
def ear_filter(src_pos: str, backward: bool) -> np.ndarray:
    """Taps between source and cochlea."""
    if src_pos == "ITU":
        eardrum = [float(np.interp(hertz, ITU_HZ, ITU_DB)) for hertz in FREQUENCIES_HZ]
    else:
        eardrum = {"ff": FREE_FIELD_DB, "df": DIFFUSE_FIELD_DB}[src_pos]
    cochlea = [at_eardrum - lost for at_eardrum, lost in zip(eardrum, MIDDLE_EAR_DB, strict=True)]
    below = [*(hertz for hertz in FREQUENCIES_HZ if hertz < RATE / 2), RATE / 2]
    sign = -1 if backward else 1
    gains = [10 ** (sign * np.interp(hertz, FREQUENCIES_HZ, cochlea) / 20) for hertz in below]
    return sampled_fir([hertz / (RATE / 2) for hertz in below], gains, kaiser(1015, 4))


def sampled_fir(frequencies: list[float], gains: list[float], window: np.ndarray) -> np.ndarray:
    """Frequency sampling on 513 points; the cosine sum stands for the inverse transform."""
    response = np.zeros(513)
    first = 0
    for point in range(len(frequencies) - 1):
        last = int(frequencies[point + 1] * 513) - 1
        for k in range(first, last + 1):
            share = (k - first) / (last - first) if last > first else 0.0
            response[k] = (1 - share) * gains[point] + share * gains[point + 1]
        first = last + 1
    half = len(window) // 2
    taps = np.zeros(len(window))
    for n in range(len(window)):
        cosines = np.cos(np.pi * np.arange(1, 512) * (n - half) / 512)
        middle = 2 * np.sum(response[1:512] * cosines)
        taps[n] = (response[0] + middle + response[512] * (-1) ** (n - half)) / 1024
    return taps * window


def gated_rms(signal: np.ndarray) -> float:
    """RMS of the 10 ms windows that are at most 12 dB below the plain RMS."""
    threshold = max(10 * math.log10(np.mean(signal**2)) - 12, -80)
    active = []
    for start in range(0, len(signal) - 440, 441):
        window = signal[start : start + 441]
        if 10 * math.log10(10 ** ((threshold - 30) / 10) + np.mean(window**2)) >= threshold:
            active.append(window)
    return math.sqrt(np.mean(np.concatenate(active) ** 2))


@cache
def roex(lower: float, upper: float) -> np.ndarray:
    """Broadened auditory filters over 256 bins, row by row."""
    filters = np.zeros((256, 256))
    filters[0, 0] = 2 / (lower + upper)
    for i in range(1, 256):
        hertz = i * RATE / 512
        erb = 24.7 * (hertz * 0.00437 + 1)
        for j in range(256):
            g = abs((i - j) / i) * (4 * hertz / (erb * (lower if j < i else upper)))
            filters[i, j] = (1 + g) * math.exp(-g) / (erb * (lower + upper) / (2 * 24.7))
    return filters


@cache
def smearing_matrix(severity: str) -> np.ndarray:
    """Least squares of broad on normal filters, the latter mirrored beyond Nyquist."""
    normal = np.hstack([roex(1, 1), np.zeros((256, 128))])
    for i in range(128, 256):
        for column in range(256, 384):
            mirrored = 2 * i - column
            if mirrored >= 2:
                normal[i, column] = normal[i, mirrored]
    return np.linalg.lstsq(normal, roex(*SMEARING[severity]), rcond=-1)[0][:256]


def smear(signal: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Frame by frame. A ring of four frames is read from its oldest one when the signal ends."""
    n = len(signal)
    window = (0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(1, 257) - 0.5) / 256)) / math.sqrt(1.5)
    frame = np.zeros(256)
    frame[: min(n, 256)] = signal[:256]
    ring = [np.zeros(256) for _ in range(4)]  # newest first
    out = []
    for start in range(0, n, 64):
        if start > 0:
            new = np.zeros(64)
            new[: len(signal[start : start + 64])] = signal[start : start + 64]
            frame = np.concatenate([frame[64:], new])
        spectrum = np.fft.fft(frame * window, 512)[:256]
        power = np.abs(spectrum) ** 2
        phase = np.array([z / abs(z) if z != 0 else 0 for z in spectrum])
        smeared = np.sqrt((matrix @ power).astype(complex)) * phase
        full = np.concatenate([smeared, [0], np.conj(smeared[:0:-1])])
        ring = [np.fft.ifft(full).real[:256] * window, *ring[:3]]
        out.append(sum(ring[part][64 * part : 64 * part + 64] for part in range(4)))
    ring = [ring[3], *ring[:3]]
    for first in range(3):
        parts = range(3 - first)
        out.append(sum(ring[k][64 * (first + k) : 64 * (first + k) + 64] for k in parts))
    return np.concatenate(out)


@cache
def sections(severity: str) -> list[dict]:
    """Design every channel on its own."""
    design = DESIGNS[severity]
    centres = list(design.low_centres_hz)
    n_regular = len(design.delays) - len(centres)
    top = 21.4 * math.log10(0.00437 * 0.87 * RATE / 2 + 1)
    for step in range(n_regular - 1, -1, -1):
        centres.append((10 ** ((top - design.spacing * step) / 21.4) - 1) / 0.00437)
    channels = []
    for number, (centre, delay) in enumerate(zip(centres, design.delays, strict=True)):
        erb = 24.7 * (0.00437 * centre + 1)
        radius = math.exp(-2 * math.pi * design.broadening * erb / RATE)
        theta = 2 * math.pi * centre / RATE
        b = [1, -radius * math.cos(theta)]
        a = [1, -2 * radius * math.cos(theta), radius**2]
        b = np.array(b) / gain_at(b, a, centre)
        cut = None
        if number >= design.first_high_passed:
            decibels = [80 * math.log10(gain_at(b, a, k * RATE / 8192)) for k in range(1000)]
            first = next(k for k in range(1000) if decibels[k] - decibels[0] >= 1)
            k = math.tan(math.pi * (first + 1) / 8192)
            d = np.array([1 + 3 * k + 3 * k**2, 6 * k**2 - 2, 1 - 3 * k + 3 * k**2])
            cut = (np.array([1, -2, 1]) / gain_at([1, -2, 1], d, centre), d)
        channels.append({"erb": erb, "gammatone": (b, a), "delay": delay, "cut": cut})
    return channels


def gain_at(b: list, a: list, hertz: float) -> float:
    """Gain of a filter at one frequency."""
    z = np.exp(-2j * np.pi * hertz / RATE)
    return abs(sum(x * z**k for k, x in enumerate(b)) / sum(x * z**k for k, x in enumerate(a)))


def band(signal: np.ndarray, channel: dict) -> np.ndarray:
    """One channel: gammatone, advance, high-pass."""
    for _ in range(4):
        signal = lfilter(*channel["gammatone"], signal)
    advanced = np.zeros(len(signal))
    for n in range(len(signal) - channel["delay"]):
        advanced[n] = signal[n + channel["delay"]]
    return lfilter(*channel["cut"], advanced) if channel["cut"] else advanced


def envelope(channel: np.ndarray, erb: float) -> np.ndarray:
    """Rectify, then low-pass both ways."""
    b, a = ellip(2, 0.25, 35, 0.75 * min(100, erb) / (RATE / 2))
    return filtfilt(b, a, np.abs(channel), padlen=8)


def recombination_gain(channels: list[dict]) -> float:
    """Mean level between 100 Hz and 10 kHz of all channels' responses added up, as a factor."""
    longest = max(channel["delay"] for channel in channels)
    impulse = np.zeros(8192)
    impulse[longest] = 1
    spectrum = np.fft.rfft(sum(band(impulse, channel) for channel in channels))
    kept = [k for k in range(4097) if 100 <= k * RATE / 8192 <= 10_000]
    return 10 ** np.mean([math.log10(abs(spectrum[k])) for k in kept])


def recruit(
    signal: np.ndarray, channels: list[dict], expansion: np.ndarray, max_envelope: float
) -> np.ndarray:
    """Expand each channel by its envelope, and add them up."""
    total = np.zeros(len(signal))
    for channel, ratio in zip(channels, expansion, strict=True):
        in_channel = band(signal, channel)
        smoothed = envelope(in_channel, channel["erb"])
        for n in range(len(signal)):
            limited = min(max(smoothed[n], 1e-9), max_envelope)
            total[n] += in_channel[n] * (limited / max_envelope) ** (ratio - 1)
    return total


def expansion_ratios(severity: str, levels: list[float], frequencies: list[float]) -> np.ndarray:
    """105 / (105 - loss) per channel, the loss interpolated and held beyond the ends."""
    ratios = []
    for channel in sections(severity):
        centre = (channel["erb"] / 24.7 - 1) / 0.00437
        ratios.append(105 / (105 - np.interp(centre, frequencies, levels)))
    return np.array(ratios)


def hear(signal: np.ndarray, severity: str | None, src_pos: str, level_0db: float) -> np.ndarray:
    """Simulate one ear, (n,) to (n_out,), with the audiogram of LEVELS."""
    signal = signal * math.sqrt(np.mean(signal**2)) / gated_rms(signal)
    signal = lfilter(ear_filter(src_pos, backward=False), 1, signal)
    if severity is not None:
        if severity != "NOTHING":
            signal = smear(signal, smearing_matrix(severity))
        channels = sections(severity)
        ratios = expansion_ratios(severity, LEVELS[severity], FREQUENCIES)
        signal = recruit(signal, channels, ratios, 10 ** ((105 - level_0db) / 20))
        signal = signal / recombination_gain(channels)
    signal = lfilter(ear_filter(src_pos, backward=True), 1, signal)
    return lfilter(firwin(133, 18000 / 22050, window=("kaiser", 8)), 1, signal)


def speech_noise(white: np.ndarray) -> np.ndarray:
    """Speech-shaped noise from white noise."""
    hertz = [0, 100, 200, 450, 550, 707, 1000, 1414, 2000, 2828, 4000, 5656, 8000, 16000]
    decibels = [0, 0, 0, 0, -0.5, -4.5, -9, -13.5, -18, -22.5, -27, -31.5, -36, -51]
    points = [(f / 22050, 7.5 / 9 * decibel) for f, decibel in zip(hertz, decibels, strict=True)]
    points.append((1.0, points[-1][1] + 9 * math.log2(points[-1][0])))
    gains = [10 ** (decibel / 20) for _, decibel in points]
    shaped = lfilter(sampled_fir([f for f, _ in points], gains, hamming(443)), 1, white)
    b, a = ellip(3, 0.1, 50, 100 / 22050, "high")
    return filtfilt(b, a, shaped, padlen=9)[221:]


def freeze() -> None:
    """Write the signal and what the oracle makes of it."""
    signal = speech_like()
    frozen = {"signal": signal}
    for name, (severity, src_pos, level_0db) in CASES.items():
        frozen[name] = hear(signal[:, 0], severity, src_pos, level_0db)
    np.savez_compressed(FROZEN, **frozen)


if __name__ == "__main__":
    freeze()
