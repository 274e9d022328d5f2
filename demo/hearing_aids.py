"""Four simulated hearing aids, each a gain over time and frequency that depends on its input.

Because the gain is known, it can be applied to target and interferer separately, so that the
listener model can measure the signal-to-noise ratio and the audibility at the aid's output.
"""

from collections.abc import Callable, Sequence

import numpy as np
from scipy.signal import istft, stft
from scipy.signal.windows import hann

from demo.scenes import FULL_SCALE
from demo.speech import SAMPLE_RATE

WINDOW, HOP = 512, 256  # samples; 11.6 ms and 5.8 ms
COMPRESSION_RATIO = 2.0
COMPRESSION_LEVEL = 65.0  # dB SPL at which the compressing aid gives its prescribed gain
ATTACK, RELEASE = 0.005, 0.1  # s
NOISE_REDUCTION_FLOOR = 10 ** (-12 / 20)  # the least gain of the noise reduction

# NAL-R, Byrne & Dillon (1986, Ear Hear. 7:257-265): the constant k in dB at frequencies in Hz.
NAL_R_FREQUENCIES = (250, 500, 1000, 2000, 3000, 4000, 6000)
NAL_R_CONSTANTS = (-17, -8, 1, -1, -2, -2, -2)


def process(
    system: str, parts: Sequence[np.ndarray], audiograms: Sequence[dict[int, float]]
) -> list[np.ndarray]:
    """Process the parts of a scene with a key of `SYSTEMS`, a hearing aid that hears their sum.

    `parts` are target and interferer at the ears, each (n_samples, 2), 44.1 kHz, 1.0 is 120 dB SPL;
    `audiograms` are left and right, {Hz: dB HL}. Returns the parts after the aid, (n_samples, 2),
    whose sum is the aid's output.
    """
    outputs = np.empty_like(parts)
    frequencies = np.fft.rfftfreq(WINDOW, 1 / SAMPLE_RATE)
    for ear, audiogram in enumerate(audiograms):
        heard = stft([part[:, ear] for part in parts], nperseg=WINDOW, noverlap=WINDOW - HOP)[2]
        gain = SYSTEMS[system](heard.sum(axis=0), frequencies, audiogram)
        _, aided = istft(heard * gain, nperseg=WINDOW, noverlap=WINDOW - HOP)
        outputs[:, :, ear] = aided[:, : outputs.shape[1]]
    return list(outputs)


def nal_r(frequencies: np.ndarray, audiogram: dict[int, float]) -> np.ndarray:
    """Return the NAL-R insertion gain in dB, (n_frequencies,), never below 0 dB.

    Byrne & Dillon (1986): G(f) = 0.05 (H500 + H1000 + H2000) + 0.31 H(f) + k(f), here interpolated
    over the logarithm of frequency and held beyond 250 Hz and 6 kHz.
    """
    common = 0.05 * (audiogram[500] + audiogram[1000] + audiogram[2000])
    loss = np.array([audiogram[f] for f in NAL_R_FREQUENCIES])
    gain = np.maximum(common + 0.31 * loss + np.array(NAL_R_CONSTANTS), 0)
    return np.interp(np.log(np.maximum(frequencies, 1)), np.log(NAL_R_FREQUENCIES), gain)


def linear(heard: np.ndarray, frequencies: np.ndarray, audiogram: dict[int, float]) -> np.ndarray:
    """Amplify all frequencies equally, by half the mean loss at 0.5, 1 and 2 kHz (Lybarger, 1944).

    Returns factors (n_frequencies, 1).
    """
    gain = (audiogram[500] + audiogram[1000] + audiogram[2000]) / 3 / 2
    return np.full((len(frequencies), 1), _factor(gain))


def prescribed(
    heard: np.ndarray, frequencies: np.ndarray, audiogram: dict[int, float]
) -> np.ndarray:
    """Amplify by NAL-R. Returns factors (n_frequencies, 1)."""
    return _factor(nal_r(frequencies, audiogram))[:, None]


def noise_reducing(
    heard: np.ndarray, frequencies: np.ndarray, audiogram: dict[int, float]
) -> np.ndarray:
    """Amplify by NAL-R after a Wiener filter. Returns factors (n_frequencies, n_frames).

    The a priori signal-to-noise ratio follows Ephraim & Malah (1984, IEEE Trans. Acoust. Speech
    Signal Process. 32:1109-1121, "decision-directed", weight 0.98).
    """
    power = np.abs(heard) ** 2 + np.finfo(float).tiny
    noise = track_noise(power)
    gain = np.empty_like(power)
    clean = np.zeros(len(power))
    for frame in range(power.shape[1]):
        now = np.maximum(power[:, frame] / noise[:, frame] - 1, 0)
        prior = 0.98 * clean / noise[:, frame] + 0.02 * now
        gain[:, frame] = np.maximum(prior / (1 + prior), NOISE_REDUCTION_FLOOR)
        clean = gain[:, frame] ** 2 * power[:, frame]
    return gain * prescribed(heard, frequencies, audiogram)


def compressing(
    heard: np.ndarray, frequencies: np.ndarray, audiogram: dict[int, float]
) -> np.ndarray:
    """Amplify by NAL-R at 65 dB SPL, less above, more below. Returns (n_frequencies, n_frames)."""
    window = hann(WINDOW, sym=False)  # stft divides by its sum
    power = (
        2 * np.sum(np.abs(heard) ** 2, axis=0) * np.sum(window) ** 2 / np.sum(window**2) / WINDOW
    )
    level = FULL_SCALE + 10 * np.log10(power + 1e-12)
    smooth = np.empty_like(level)
    state = COMPRESSION_LEVEL
    for frame, now in enumerate(level):
        seconds = ATTACK if now > state else RELEASE
        state += (1 - np.exp(-HOP / SAMPLE_RATE / seconds)) * (now - state)
        smooth[frame] = state
    change = (1 / COMPRESSION_RATIO - 1) * (smooth - COMPRESSION_LEVEL)
    return prescribed(heard, frequencies, audiogram) * _factor(np.minimum(change, 15))


def track_noise(power: np.ndarray) -> np.ndarray:
    """Track the power spectrum of the noise under speech.

    Gerkmann & Hendriks (2012, IEEE Trans. Audio Speech Lang. Process. 20:1383-1393): each frame
    updates the noise in proportion to the probability that it holds no speech (a priori SNR of
    15 dB, smoothing factors 0.8 and 0.9). `power` is that of the noisy signal, (n_frequencies,
    n_frames), whose first frames contain no speech; that of the noise has the same shape.
    """
    prior = 10**1.5
    noise = power[:, 1:11].mean(axis=1)
    smooth = np.zeros(len(power))
    tracked = np.empty_like(power)
    for frame in range(power.shape[1]):
        now = power[:, frame]
        odds = (1 + prior) * np.exp(-np.minimum(now / noise, 200) * prior / (1 + prior))
        speech = 1 / (1 + odds)
        smooth = 0.9 * smooth + 0.1 * speech
        # Otherwise a band that stays loud would never be taken for noise again.
        speech = np.where(smooth > 0.99, np.minimum(speech, 0.99), speech)
        noise = 0.8 * noise + 0.2 * (speech * noise + (1 - speech) * now)
        tracked[:, frame] = noise
    return tracked


def _factor(decibels: np.ndarray | float) -> np.ndarray:
    return 10 ** (np.asarray(decibels) / 20)


GainRule = Callable[[np.ndarray, np.ndarray, dict[int, float]], np.ndarray]
SYSTEMS: dict[str, GainRule] = {
    "E901": linear,
    "E902": prescribed,
    "E903": noise_reducing,
    "E904": compressing,
}
