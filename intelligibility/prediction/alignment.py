"""By how much a processed sound is late.

Hearing aids delay by some milliseconds, recordings by anything. Both cross-correlations below are
looked at up to a second either way. That of the waveforms, whitened (Knapp & Carter, 1976, IEEE
Trans. ASSP 24:320-327), holds in noise in which nobody understands a word, but not where an aid
changes phases from moment to moment; that of the envelopes in bands holds there, but in less noise.
"""

import numpy as np
from scipy.signal import butter, sosfilt

from intelligibility.prediction.sound import Sound, at_rate
from intelligibility.runs import RecipeError

RATE = 16000  # Hz, of what is compared
MAX_DELAY = 1.0  # s, either way
SPEECH_HZ = (200, 5000)  # where the waveforms are compared
WHITENED = 401  # bins over which the spectrum is flattened
BAND_EDGES = np.geomspace(150, 6000, 17)  # Hz
ENVELOPE_RATE = 1000  # Hz
SMOOTH, SLOW = 23, 301  # ms, of the envelopes: what is kept lies between
LOUDNESS = 0.3  # exponent, so that no single vowel decides
BESIDE_PEAK = 0.03  # s that belong to the peak
# Measured on 60 signals of the miniature and on real aids of CPC2 and CPC3, with their own
# references and with others: own 2.98 and more, or 6.3; others 2.9 at most (they share words), 4.3.
SHARP = 2.5  # waveforms: the peak over the highest value elsewhere
HIGH = 5.5  # envelopes: the peak over the mean, in standard deviations
ALIKE = 0.7  # or their correlation itself; others 0.49 at most
# Of 120 pairs of different sentences one got through, whose words the same synthetic voice says:
# 3.6. Of 120 pairs of the same, four lie below.
SURE = 4.0


def bulk_delay(processed: Sound, reference: Sound) -> tuple[float, str | None]:
    """Find by how much the processed sound is late.

    Returns
    -------
    float
        Seconds; negative where it is early.
    str or None
        Why it may be wrong, where it may.

    Raises
    ------
    RecipeError
        No delay makes the two alike: they are not of the same sentence.
    """
    pair = [at_rate(sound, RATE).signal.mean(axis=1) for sound in (processed, reference)]
    waveforms = np.abs(_whitened_correlation(*pair))
    delay, rest = _peak(waveforms, RATE)
    sharpness = waveforms.max() / rest.max()
    if sharpness >= SHARP:
        doubt = (
            f"{processed.name}: found {1000 * delay:.0f} ms late with little certainty (the "
            f"correlation peaks {sharpness:.1f} times above the rest); is it of the same sentence?"
        )
        return delay, doubt if sharpness < SURE else None
    envelopes = _envelope_correlation(*pair)
    delay, rest = _peak(envelopes, ENVELOPE_RATE)
    height = (envelopes.max() - rest.mean()) / rest.std()
    if height >= HIGH or envelopes.max() >= ALIKE:
        return delay, None
    raise RecipeError(
        f"{processed.name} and {reference.name}: no delay up to {MAX_DELAY:g} s makes them alike "
        f"(the correlation of waveforms peaks {sharpness:.1f} times above the rest, expected "
        f"{SHARP:g}; that of envelopes {height:.1f} deviations, not {HIGH:g}), so they are not "
        "of the same sentence, or the noise hides it; align=false takes them as they are"
    )


def _whitened_correlation(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    n = 1 << (len(x) + len(y) - 2).bit_length()
    spectra = np.fft.rfft(x, n), np.fft.rfft(y, n)
    even = np.ones(WHITENED) / WHITENED
    power = [np.convolve(np.abs(spectrum) ** 2, even, "same") for spectrum in spectra]
    frequency = np.fft.rfftfreq(n, 1 / RATE)
    speech = (frequency > SPEECH_HZ[0]) & (frequency < SPEECH_HZ[1])
    cross = spectra[0] * spectra[1].conj() / (np.sqrt(power[0] * power[1]) + 1e-12)
    return _around_zero(np.fft.irfft(np.where(speech, cross, 0), n), RATE)


def _envelope_correlation(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    envelopes = _envelopes(x), _envelopes(y)
    n = 1 << (envelopes[0].shape[1] + envelopes[1].shape[1] - 2).bit_length()
    spectra = [
        np.fft.rfft(bands / (np.linalg.norm(bands, axis=1, keepdims=True) + 1e-12), n)
        for bands in envelopes
    ]
    mean = (spectra[0] * spectra[1].conj()).mean(axis=0)
    return _around_zero(np.fft.irfft(mean, n), ENVELOPE_RATE)


def _envelopes(x: np.ndarray) -> np.ndarray:
    """Return the modulations of speech in every band, (n_bands, n_ms)."""
    step = RATE // ENVELOPE_RATE
    smooth, slow = np.hanning(SMOOTH) / np.hanning(SMOOTH).sum(), np.ones(SLOW) / SLOW
    bands = []
    for edges in zip(BAND_EDGES[:-1], BAND_EDGES[1:], strict=True):
        band = np.abs(sosfilt(butter(2, edges, "band", fs=RATE, output="sos"), x))
        level = band[: len(band) // step * step].reshape(-1, step).mean(axis=1)
        loudness = np.maximum(np.convolve(level, smooth, "same"), 1e-7) ** LOUDNESS
        bands.append(loudness - np.convolve(np.pad(loudness, SLOW // 2, "edge"), slow, "valid"))
    return np.array(bands)


def _around_zero(correlation: np.ndarray, rate: int) -> np.ndarray:
    """Return a circular correlation at lags from -MAX_DELAY to MAX_DELAY."""
    most = min(round(MAX_DELAY * rate), len(correlation) // 2 - 1)
    return np.concatenate([correlation[-most:], correlation[: most + 1]])


def _peak(correlation: np.ndarray, rate: int) -> tuple[float, np.ndarray]:
    """Return the lag of the peak in s, and the correlation elsewhere."""
    best, beside = int(correlation.argmax()), round(BESIDE_PEAK * rate)
    rest = np.delete(correlation, slice(max(0, best - beside), best + beside + 1))
    return (best - len(correlation) // 2) / rate, rest


def without_delay(signal: np.ndarray, n_samples: int) -> np.ndarray:
    """Take a delay out of a signal (n, 2): cut its start, or put silence before it."""
    return signal[n_samples:] if n_samples >= 0 else np.pad(signal, ((-n_samples, 0), (0, 0)))
