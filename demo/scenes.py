"""Stereo scenes at the two ears: a talker in front and an interferer to the side.

A signal with a root mean square of 1.0 is at 120 dB SPL, as in CPC1's hearing-aid outputs: MSBG's
`equiv_0db_spl`, 100 dB SPL, and `ahr`, 20 dB of headroom.
"""

from dataclasses import dataclass

import numpy as np
from scipy.fft import next_fast_len
from scipy.signal import spectrogram

from demo.speech import SAMPLE_RATE

FULL_SCALE = 120.0  # dB SPL of a root mean square of 1.0
LEVEL = 65.0  # dB SPL of the target or of the interferer, whichever is louder
BEFORE, AFTER = 2.0, 1.0  # s of interferer alone, before and after the target
RAMP = 0.05  # s
HEAD_RADIUS = 0.0875  # m
SPEED_OF_SOUND = 343.0  # m/s


@dataclass(frozen=True)
class Scene:
    """The description from which the signals of a scene are made."""

    # Such as S90001, the sentence, and the espeak-ng voice that speaks it.
    name: str
    prompt: str
    voice: str
    interferer: str  # "noise" (speech-shaped) or "talkers" (competing talkers at different places)
    snr: float  # dB, target to interferer in the free field, without the head
    target_azimuth: float  # degrees, 0 in front, positive to the right
    interferer_azimuths: tuple[float, ...]  # one for noise, one per talker


def render(
    scene: Scene,
    target: np.ndarray,
    spectrum: np.ndarray,
    talkers: list[np.ndarray],
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Make the two parts of a scene.

    `target` is the spoken sentence (n_samples,), 44.1 kHz; `spectrum` is that of the speech
    material, from `speech_spectrum`; `talkers` is running speech of the competing talkers, each
    longer than the scene. `rng` draws the noise, or the talkers and where in their text they begin.
    Returns target and interferer at the ears, each (n_samples, 2), left then right, 1.0 is 120 dB
    SPL.
    """
    before, after = round(BEFORE * SAMPLE_RATE), round(AFTER * SAMPLE_RATE)
    target = np.pad(at_level(target, LEVEL + min(scene.snr, 0)), (before, after))
    if scene.interferer == "noise":
        sources = [speech_shaped_noise(spectrum, len(target), rng)]
    else:
        chosen = rng.choice(len(talkers), size=len(scene.interferer_azimuths), replace=False)
        starts = [rng.integers(len(talkers[i]) - len(target)) for i in chosen]
        excerpts = zip(chosen, starts, strict=True)
        sources = [talkers[i][start : start + len(target)] for i, start in excerpts]
    level = LEVEL - max(scene.snr, 0) - 10 * np.log10(len(sources))
    places = zip(sources, scene.interferer_azimuths, strict=True)
    heard = [at_ears(at_level(source, level), azimuth) for source, azimuth in places]
    interferer = np.sum(heard, axis=0)
    return at_ears(target, scene.target_azimuth), _ramped(interferer)


def at_level(signal: np.ndarray, level: float) -> np.ndarray:
    """Scale a signal to `level` dB SPL (root mean square of the whole signal)."""
    return signal * 10 ** ((level - FULL_SCALE) / 20) / np.sqrt(np.mean(signal**2))


def speech_spectrum(speech: list[np.ndarray], n_fft: int = 1024) -> np.ndarray:
    """Return the long-term amplitude spectrum of speech, (n_fft // 2 + 1,), in arbitrary units.

    Welch's, in pieces: for all segments of the miniature at once, a process would take 2.4 GB.
    """
    joined, hop, piece = np.concatenate(speech), n_fft // 2, 1000 * n_fft
    total, n_segments = np.zeros(n_fft // 2 + 1), 0
    for start in range(0, len(joined) - n_fft + 1, piece):
        part = joined[start : start + piece + hop]
        powers = spectrogram(part, SAMPLE_RATE, "hann", n_fft, hop)[2]
        total += powers.sum(axis=1)
        n_segments += powers.shape[1]
    return np.sqrt(total / n_segments)


def speech_shaped_noise(
    spectrum: np.ndarray, n_samples: int, rng: np.random.Generator
) -> np.ndarray:
    """Give white noise the long-term spectrum of the speech material, as matrix tests do."""
    n_fft = next_fast_len(n_samples)
    white = np.fft.rfft(rng.standard_normal(n_fft))
    grid = np.linspace(0, 1, len(spectrum))
    shaped = white * np.interp(np.linspace(0, 1, len(white)), grid, spectrum)
    return np.fft.irfft(shaped, n_fft)[:n_samples]


def at_ears(signal: np.ndarray, azimuth: float) -> np.ndarray:
    """Simulate a distant source at the ears of a rigid spherical head.

    The delay is Woodworth's ray formula; the shadow is the one-pole, one-zero filter of Brown &
    Duda (1998, IEEE Trans. Speech Audio Process. 6:476-488): at high
    frequencies +6 dB for the ear that faces the source and -20 dB in deep shadow, 0 dB at low ones.

    `signal` is (n_samples,), 44.1 kHz; `azimuth` is in degrees, 0 in front, positive to the right.
    Returns (n_samples, 2), left then right.
    """
    # 10 ms of padding, or the delay would wrap round.
    n_fft = next_fast_len(len(signal) + SAMPLE_RATE // 100)
    spectrum = np.fft.rfft(signal, n_fft)
    omega = 2 * np.pi * np.fft.rfftfreq(n_fft, 1 / SAMPLE_RATE)
    ears = []
    for ear_azimuth in (-90.0, 90.0):
        incidence = np.abs((azimuth - ear_azimuth + 180) % 360 - 180)  # degrees, 0 facing the ear
        theta = np.radians(incidence)
        path = -np.cos(theta) if incidence < 90 else theta - np.pi / 2
        delay = HEAD_RADIUS / SPEED_OF_SOUND * (1 + path)
        alpha = 1.05 + 0.95 * np.cos(np.radians(incidence * 180 / 150))
        pole = 2 * SPEED_OF_SOUND / HEAD_RADIUS
        shadow = (1 + 1j * alpha * omega / pole) / (1 + 1j * omega / pole)
        ears.append(np.fft.irfft(spectrum * shadow * np.exp(-1j * omega * delay), n_fft))
    return np.stack(ears, axis=1)[: len(signal)]


def _ramped(signal: np.ndarray) -> np.ndarray:
    n_ramp = round(RAMP * SAMPLE_RATE)
    ramp = np.ones(len(signal))
    ramp[:n_ramp] = np.sin(np.linspace(0, np.pi / 2, n_ramp)) ** 2
    ramp[-n_ramp:] = ramp[:n_ramp][::-1]
    return signal * ramp[:, None]
