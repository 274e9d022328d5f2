"""Where the sentence is: by how much the processed recording is late, and where the speech lies.

Hearing aids delay by some milliseconds, recordings by any time. Two cross-correlations are searched
up to a second either way. That of the whitened waveforms (Knapp & Carter, 1976, IEEE Trans. ASSP
24:320-327) works in noise in which nobody understands a word, but not where an aid changes phases
from moment to moment. That of the envelopes in bands works there, but in less noise.
"""

from dataclasses import dataclass

import numpy as np
from scipy.signal import butter, sosfilt

from intelligibility.onset import contrast, lasting, level_beyond, longest_pause, speech_span
from intelligibility.prediction.recording import (
    FAINT,
    LONGEST,
    LOUD,
    OFFSET,
    OFFSET_PARTS,
    OFFSET_VARIES,
    QUIET,
    SHORTEST,
    Recording,
    active_level,
    resampled,
)
from intelligibility.runs import ASR_RATE, RecipeError

MAX_DELAY = 1.0  # s, either way
SPEECH_HZ = (200, 5000)  # where the waveforms are compared
WHITENED = 401  # bins over which the spectrum is flattened
BAND_EDGES = np.geomspace(150, 6000, 17)  # Hz
ENVELOPE_RATE = 1000  # Hz
SMOOTH, SLOW = 23, 301  # ms: modulations of the envelopes between the two are kept
LOUDNESS = 0.3  # exponent, so that no single vowel dominates
BESIDE_PEAK = 0.03  # s that belong to the peak
# A delay is taken where one of these three is reached. Of 120 signals of the miniature and seven
# real aids of CPC2, beside references of other sentences, the highest are 2.4, 4.4 and 0.41.
# Beside their own, sharpness is 2.6 and more in all but two (2.0, which is refused, and 2.5, whose
# height is 6.5); the aids' height is 6.3 and more, and their correlation 0.7 and more in five.
SHARP = 2.5  # waveforms: the peak over the highest value elsewhere
HIGH = 5.5  # envelopes: the height of the peak over the mean, in standard deviations
ALIKE = 0.7  # envelopes: the correlation at the peak
SURE = 4.0  # a sharpness well above SHARP, below which the user is warned
# s that are kept before and after the speech, silent where there is less. As in CPC1, whose scenes
# are cut where the target begins and end a second after it: recognisers are trained on that.
LEAD, TAIL = 0.0, 1.0
SETTINGS = {
    "delay": [MAX_DELAY, WHITENED, SHARP, HIGH, ALIKE],
    "kept": [LEAD, TAIL],
    "offset": [OFFSET, OFFSET_PARTS, OFFSET_VARIES],
}
# s of speech, below which the user is warned: at a moderate loss, HASPI gives 0.94 to 1 for seven
# unchanged references, but 0.78 to 1 for their first 0.3 to 0.6 s.
BRIEF = 0.6
MISSING = 0.1  # s of the sentence: less at its ends is hardly speech
PAUSE = 0.75  # s within a sentence; the real references at hand have 0.07
# The contrast is by how many dB the loudest frames of the sentence exceed the quietest: 22 and more
# in clean references, less in most hearing-aid outputs, whose pauses noise fills. The two are taken
# for swapped where the reference's contrast is below the first and the output's is higher by the
# second. Of 154 pairs of the miniature and of real aids, none is; turned round, all but 11 are.
CLEAN, CLEANER = 30.0, 4.0  # dB
# Where an output's contrast is above the first, sound outside the sentence is no noise, and where
# its level re the sentence is above the second, another sentence. In those pairs it is 17 dB and
# more below the sentence; with another sentence appended, 3 dB at most.
IN_QUIET, ANOTHER = 22.0, -12.0  # dB
NEARBY = (0.02, 0.1)  # s before and after the onset, where the first sample is searched
AUDIBLE = 0.02  # of the peak there


@dataclass(frozen=True)
class Sentence:
    """Where one sentence lies in a processed recording and in its reference."""

    delay: float  # seconds by which the processed recording is late
    start: float  # seconds to drop at the start of both, once the delay is removed
    stop: float | None  # seconds at which both end; None: each where its recording ends
    speech: tuple[float, float]  # between which seconds somebody speaks in the reference
    warnings: list[str]  # why the delay may be wrong, or the two no pair of one sentence


def find_sentence(
    processed: Recording,
    reference: Recording,
    delay: float | None = None,
    start: float | None = None,
) -> Sentence:
    """Find the delay and the sentence in a processed recording and its clean reference.

    Where they are given, `delay`, the seconds by which the first is late, and `start`, the seconds
    to drop at the start of both, are taken instead.
    """
    try:
        onset, end = speech_span(reference.signal, reference.rate)
    except ValueError as error:
        raise RecipeError(f"{reference.name}: {error}") from None
    if start is not None and start > end - SHORTEST:
        raise RecipeError(
            f"start={start:g}: the speech in {reference.name} ends at {end:.2f} s, so none would "
            "be left"
        )
    doubt = None
    if delay is None:
        delay, doubt = bulk_delay(processed, reference)
    doubts = [*([doubt] if doubt else []), *_doubts(processed, reference, delay, (onset, end))]
    if (spoken := end - max(onset, start or 0.0)) < BRIEF:
        doubts.append(
            f"{reference.name}: {spoken:.2f} s of speech; predictions are of sentences, and those "
            f"of less than {BRIEF} s are wrong at times"
        )
    if start is not None:
        return Sentence(delay, start, None, (onset, end), doubts)
    first = max(0.0, _first_sample(reference, onset) - LEAD)
    return Sentence(delay, first, end + TAIL, (onset, end), doubts)


def _doubts(
    processed: Recording, reference: Recording, delay: float, speech: tuple[float, float]
) -> list[str]:
    """Return what tells that two recordings are not of one sentence, whole in both."""
    doubts = []
    onset, end = speech
    if (late := -delay - onset) > MISSING:
        doubts.append(f"{processed.name}: begins {late:.2f} s after the sentence, silent till then")
    if (early := end - len(processed.signal) / processed.rate + delay) > MISSING:
        doubts.append(f"{processed.name}: ends {early:.2f} s before the sentence, silent from then")
    if (pause := longest_pause(reference.signal, reference.rate, speech)) > PAUSE:
        doubts.append(
            f"{reference.name}: a pause of {pause:.1f} s in the speech; one sentence is expected"
        )
    if doubts:
        return doubts
    clean = contrast(reference.signal, reference.rate, speech)
    in_line = in_time(processed, delay, None)
    heard = contrast(in_line, processed.rate, speech)
    if heard > IN_QUIET and level_beyond(in_line, processed.rate, speech) > ANOTHER:
        doubts.append(
            f"{processed.name}: as loud a sound outside {onset:.1f} to {end:.1f} s, where "
            f"{reference.name} speaks; one sentence is expected"
        )
    if clean < CLEAN and heard > clean + CLEANER:
        doubts.append(
            f"{reference.name}: in its pauses {clean:.0f} dB below the speech, where "
            f"{processed.name} is {heard:.0f} dB below; are the two swapped?"
        )
    return doubts


def level_and_warnings(
    processed: Recording, reference: Recording, sentence: Sentence, full_scale: float
) -> tuple[float, list[str]]:
    """Return the level of the reference's speech in dB SPL, and what may make the prediction worse.

    `full_scale` is the level of 0 dB FS in dB SPL. The warnings are of what is unusual about the
    recordings and their levels, each with a name.
    """
    warnings = [*processed.warnings, *reference.warnings, *sentence.warnings]
    spoken = slice(*(round(second * processed.rate) for second in sentence.speech))
    speaking = in_time(processed, sentence.delay, sentence.speech[1])[spoken]
    rms = float(np.sqrt(np.mean(np.square(speaking), axis=0)).max())
    if rms == 0:
        raise RecipeError(f"{processed.name}: is silent where {reference.name} speaks")
    scale = f"0 dB FS is taken for {full_scale:.0f} dB SPL"
    level, heard = active_level(reference) + full_scale, 20 * np.log10(rms) + full_scale
    if not QUIET <= level <= LOUD:
        warnings.append(
            f"{reference.name}: speech at {level:.0f} dB SPL, expected {QUIET:g} to {LOUD:g}, "
            f"where {scale}; set speech_level or full_scale_db_spl, or MSBGEar.ahr in a corpus"
        )
    if heard < FAINT:
        warnings.append(f"{processed.name}: at {heard:.0f} dB SPL, hardly audible, where {scale}")
    return level, warnings


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
    """Find by how many seconds the processed recording is late; negative where it is early.

    With it comes a warning where the delay may be wrong, or None. RecipeError where no delay up to
    `MAX_DELAY` aligns the two.
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
    anywhere = np.abs(_whitened_correlation(pair[0], pair[1], LONGEST))
    far, rest = _peak(anywhere, ASR_RATE)
    if anywhere.max() / rest.max() >= SHARP:
        early, which = ("late", processed) if far > 0 else ("early", reference)
        raise RecipeError(
            f"{processed.name}: {abs(far):.2f} s {early}, but no delay beyond {MAX_DELAY:g} s is "
            f"removed; trim {which.name} at its start, so that both begin together"
        )
    raise RecipeError(
        f"{processed.name} and {reference.name}: no delay up to {MAX_DELAY:g} s aligns them "
        f"(the correlation of waveforms peaks {sharpness:.1f} times above the rest, expected "
        f"{SHARP:g}; that of envelopes {height:.1f} deviations, not {HIGH:g}), so they are not "
        "of the same sentence, or begin at other times, or the noise hides it; trim them so that "
        "both begin together: align=false takes them as they are"
    )


def _whitened_correlation(x: np.ndarray, y: np.ndarray, most: float = MAX_DELAY) -> np.ndarray:
    n = 1 << (len(x) + len(y) - 2).bit_length()
    spectra = np.fft.rfft(x, n), np.fft.rfft(y, n)
    even = np.ones(WHITENED) / WHITENED
    power = [np.convolve(np.abs(spectrum) ** 2, even, "same") for spectrum in spectra]
    frequency = np.fft.rfftfreq(n, 1 / ASR_RATE)
    speech = (frequency > SPEECH_HZ[0]) & (frequency < SPEECH_HZ[1])
    cross = spectra[0] * spectra[1].conj() / (np.sqrt(power[0] * power[1]) + 1e-12)
    return _around_zero(np.fft.irfft(np.where(speech, cross, 0), n), ASR_RATE, most)


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


def _around_zero(correlation: np.ndarray, rate: int, most: float = MAX_DELAY) -> np.ndarray:
    """Return a circular correlation at lags from -`most` to `most` s, if it has them."""
    lags = min(round(most * rate), len(correlation) // 2 - 1)
    return np.concatenate([correlation[-lags:], correlation[: lags + 1]])


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
