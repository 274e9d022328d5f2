"""Sounds of known level to put around a signal: a tone and speech-shaped noise."""

import numpy as np
from scipy.signal import ellip, filtfilt, lfilter
from scipy.signal.windows import hamming

from msbg.constants import SAMPLE_RATE
from msbg.transfer import frequency_sampling_fir

SILENCE = np.zeros(int(0.05 * SAMPLE_RATE))
TONE_HZ, TONE_SECONDS, NOISE_SECONDS = 520, 0.5, 2
NOISE_SEED = 2008
N_NOISE_TAPS = 443  # 10 ms

# Long-term spectrum of speech as in Moore et al. (2008), Ear Hear. 29: flat to 500 Hz, then
# falling by 7.5 dB per octave to 8 kHz.
SPEECH_HZ = np.array([0, 100, 200, 450, 550, 707, 1000, 1414, 2000, 2828, 4000, 5656, 8000, 16000])
SPEECH_DB = (7.5 / 9) * np.array(
    [0, 0, 0, 0, -0.5, -4.5, -9, -13.5, -18, -22.5, -27, -31.5, -36, -51]
)


def level_sounds(rms: float) -> tuple[np.ndarray, np.ndarray]:
    """Sounds to put before and after a signal of this RMS.

    Parameters
    ----------
    rms : float
        Root mean square of the tone and of the noise; full scale is 1.

    Returns
    -------
    before : ndarray, (n,)
        50 ms of silence, a tone of 0.5 s, silence, noise of 2 s, silence.
    after : ndarray, (n,)
        50 ms of silence.
    """
    # The reference draws other noise on each call. A seed makes results repeatable.
    n_noise = NOISE_SECONDS * SAMPLE_RATE
    white = np.random.default_rng(NOISE_SEED).random(n_noise + N_NOISE_TAPS) - 0.5
    noise = speech_shaped(white)[:n_noise]
    noise *= rms / np.sqrt(np.mean(noise**2))
    return np.concatenate([SILENCE, rms * tone(), SILENCE, noise, SILENCE]), SILENCE


def tone() -> np.ndarray:
    """A tone of 520 Hz and unit RMS; 1.4142 is the published approximation of sqrt(2)."""
    seconds = np.arange(1, TONE_SECONDS * SAMPLE_RATE + 1) / SAMPLE_RATE
    return 1.4142 * np.sin(2 * np.pi * TONE_HZ * seconds)


def speech_shaped(white: np.ndarray) -> np.ndarray:
    """Give white noise the long-term spectrum of speech, without what lies below 100 Hz.

    Parameters
    ----------
    white : ndarray, (n_samples,)
        White noise.

    Returns
    -------
    ndarray, (n_samples - 221,)
        Advanced by the delay of the filter.
    """
    nyquist = SAMPLE_RATE / 2
    frequencies = np.append(SPEECH_HZ / nyquist, 1.0)
    # 9 dB per octave less up to Nyquist, with the sign that the reference gives it.
    level_db = np.append(SPEECH_DB, SPEECH_DB[-1] + 9 * np.log2(frequencies[-2]))
    taps = frequency_sampling_fir(frequencies, 10 ** (level_db / 20), hamming(N_NOISE_TAPS))
    high_pass = ellip(3, 0.1, 50, 100 / nyquist, "high")
    return filtfilt(*high_pass, lfilter(taps, 1, white), padlen=9)[N_NOISE_TAPS // 2 :]
