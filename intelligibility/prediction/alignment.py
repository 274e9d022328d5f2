"""Where the sentence is: by how much the processed recording is late, and where the speech lies.

Hearing aids delay by some milliseconds, recordings by any time. Two cross-correlations are searched
up to a second either way. That of the whitened waveforms (Knapp & Carter, 1976, IEEE Trans. ASSP
24:320-327) works in noise in which nobody understands a word, but not where an aid changes phases
from moment to moment. That of the envelopes in bands works there, but in less noise.
"""

from dataclasses import dataclass

import numpy as np
from scipy.signal import butter, sosfilt

from intelligibility.onset import lasting, speech_span
from intelligibility.prediction.recording import Recording, resampled
from intelligibility.runs import ASR_RATE, RecipeError

MAX_DELAY = 1.0  # s, either way
SPEECH_HZ = (200, 5000)  # where the waveforms are compared
WHITENED = 401  # bins over which the spectrum is flattened
BAND_EDGES = np.geomspace(150, 6000, 17)  # Hz
ENVELOPE_RATE = 1000  # Hz
SMOOTH, SLOW = 23, 301  # ms: modulations of the envelopes between the two are kept
LOUDNESS = 0.3  # exponent, so that no single vowel dominates
BESIDE_PEAK = 0.03  # s that belong to the peak
# Measured on 60 signals of the miniature and on real aids of CPC2 and CPC3, with their own
# references and with others. Own: 2.98 and more, or 6.3 and more. Others: at most 2.9 (they share
# words), or 4.3.
SHARP = 2.5  # waveforms: the peak over the highest value elsewhere
HIGH = 5.5  # envelopes: the peak over the mean, in standard deviations
ALIKE = 0.7  # or the correlation of the envelopes itself; 0.49 at most with other references
# Of 120 pairs of different sentences, one had a sharper peak than `SHARP`, 3.6; the same synthetic
# voice says its words. Of 120 pairs of the same sentence, four lie below this.
SURE = 4.0
# s that are kept before and after the speech, silent where there is less. As in CPC1, whose scenes
# are cut where the target begins and end a second after it: recognisers are trained on that.
LEAD, TAIL = 0.0, 1.0
SETTINGS = {"delay": [MAX_DELAY, WHITENED, SHARP, HIGH, ALIKE], "kept": [LEAD, TAIL]}
NEARBY = (0.02, 0.1)  # s before and after the onset, where the first sample is searched
AUDIBLE = 0.02  # of the peak there


@dataclass(frozen=True)
class Sentence:
    """Where one sentence lies in a processed recording and in its reference.

    Attributes
    ----------
    delay : float
        Seconds by which the processed recording is late.
    start : float
        Seconds to drop at the start of both, once the delay is removed.
    stop : float or None
        Seconds at which both end; None: each where its recording ends.
    warnings : list of str
        Why the delay may be wrong.
    """

    delay: float
    start: float
    stop: float | None
    warnings: list[str]


def find_sentence(
    processed: Recording, reference: Recording, align: bool = True, start: float | None = None
) -> Sentence:
    """Find the delay and the sentence in two recordings.

    Parameters
    ----------
    processed, reference : Recording
        The hearing aid's output and the clean speech.
    align : bool
        Whether to search the delay; otherwise it is 0.
    start : float, optional
        Seconds to drop at the start of both, instead of searching the speech in the reference.
    """
    delay, doubt = bulk_delay(processed, reference) if align else (0.0, None)
    begin, stop = span_of(reference) if start is None else (start, None)
    return Sentence(delay, begin, stop, [doubt] if doubt else [])


def span_of(reference: Recording) -> tuple[float, float]:
    """Return where the sentence starts in a clean recording, and where it stops, in s."""
    try:
        onset, end = speech_span(reference.signal, reference.rate)
    except ValueError as error:
        raise RecipeError(f"{reference.name}: {error}") from None
    return max(0.0, _first_sample(reference, onset) - LEAD), end + TAIL


def _first_sample(reference: Recording, onset: float) -> float:
    """Find the start of the speech to the sample, in s.

    The recogniser's frames begin where the recording is cut. To a hundredth of a second, the same
    sentence with another lead-in would be divided into other frames.
    """
    first = max(0, round((onset - NEARBY[0]) * reference.rate))
    last = round((onset + NEARBY[1]) * reference.rate)
    loudness = np.abs(reference.signal[first:last]).max(axis=1)
    return (first + int(np.argmax(loudness > AUDIBLE * loudness.max()))) / reference.rate


def bulk_delay(processed: Recording, reference: Recording) -> tuple[float, str | None]:
    """Find by how much the processed recording is late.

    Returns
    -------
    float
        Seconds; negative where it is early.
    str or None
        A warning where the delay may be wrong.

    Raises
    ------
    RecipeError
        No delay aligns the two: they are not of the same sentence.
    """
    pair = [resampled(one, ASR_RATE).signal.mean(axis=1) for one in (processed, reference)]
    waveforms = np.abs(_whitened_correlation(*pair))
    delay, rest = _peak(waveforms, ASR_RATE)
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
        f"{processed.name} and {reference.name}: no delay up to {MAX_DELAY:g} s aligns them "
        f"(the correlation of waveforms peaks {sharpness:.1f} times above the rest, expected "
        f"{SHARP:g}; that of envelopes {height:.1f} deviations, not {HIGH:g}), so they are not "
        "of the same sentence, or the noise hides it; align=false takes them as they are"
    )


def _whitened_correlation(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    n = 1 << (len(x) + len(y) - 2).bit_length()
    spectra = np.fft.rfft(x, n), np.fft.rfft(y, n)
    even = np.ones(WHITENED) / WHITENED
    power = [np.convolve(np.abs(spectrum) ** 2, even, "same") for spectrum in spectra]
    frequency = np.fft.rfftfreq(n, 1 / ASR_RATE)
    speech = (frequency > SPEECH_HZ[0]) & (frequency < SPEECH_HZ[1])
    cross = spectra[0] * spectra[1].conj() / (np.sqrt(power[0] * power[1]) + 1e-12)
    return _around_zero(np.fft.irfft(np.where(speech, cross, 0), n), ASR_RATE)


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
    step = ASR_RATE // ENVELOPE_RATE
    smooth, slow = np.hanning(SMOOTH) / np.hanning(SMOOTH).sum(), np.ones(SLOW) / SLOW
    bands = []
    for edges in zip(BAND_EDGES[:-1], BAND_EDGES[1:], strict=True):
        band = np.abs(sosfilt(butter(2, edges, "band", fs=ASR_RATE, output="sos"), x))
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
    """Remove a delay from a signal (n, 2): cut its start, or put silence before it."""
    return signal[n_samples:] if n_samples >= 0 else np.pad(signal, ((-n_samples, 0), (0, 0)))


def in_time(recording: Recording, delay: float, stop: float | None) -> np.ndarray:
    """Return the signal (n_samples, 2) without a delay in s, ending at `stop` s if it has one."""
    signal = without_delay(recording.signal, round(delay * recording.rate))
    return signal if stop is None else lasting(signal, round(stop * recording.rate))
