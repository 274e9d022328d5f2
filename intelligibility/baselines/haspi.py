"""Better-ear HASPI, version 2 (J. M. Kates & K. H. Arehart 2021), as Clarity's baselines call it.

The stages are pyclarity's, in the order of its `haspi_v2`, and the index is the same. Ours is
faster: it leaves out the motion of the basilar membrane, which HASPI does not read, analyses the
reference once for all hearing aids, and computes only those samples of the smoothed envelopes that
are kept, every ninth.
"""

import functools
import hashlib
from dataclasses import dataclass

import numpy as np
from clarity.evaluator.haspi import eb
from clarity.evaluator.haspi.ebm import (
    cepstral_correlation_coef,
    fir_modulation_filter,
    modulation_cross_correlation,
)
from clarity.evaluator.haspi.haspi import HASPI_AUDIOGRAM_FREQUENCIES
from clarity.evaluator.haspi.ip import get_neural_net, nn_feed_forward_ensemble
from clarity.utils.audiogram import Audiogram as ClarityAudiogram
from scipy.signal import lfilter

from msbg import Audiogram, Listener

LEVEL = 100.0  # dB SPL of a signal with an RMS of 1, as Clarity's baselines have it
MODEL_RATE = 24000.0  # Hz, of the ear model
N_CHANNELS = 32
OVERSHOOT = 2  # of the inner hair cells' adaptation
NORMAL_HEARING = (0.0,) * len(HASPI_AUDIOGRAM_FREQUENCIES)
CUTOFF = 320.0  # Hz, of the smoothed envelopes
ENVELOPE_RATE = 8 * CUTOFF  # Hz, after smoothing
SILENCE = 2.5  # dB above threshold
DITHER = 0.1  # dB, RMS of the noise of the nerve fibres
N_CEPSTRA = 6
SLOWEST = 0.24  # s, of the filter of the slowest modulations: less speech than that has none


def haspi(
    processed: np.ndarray, reference: np.ndarray, rate: float, listener: Listener, name: str
) -> float:
    """Return the better ear's index, 0..1.

    pyclarity draws from numpy's global generator: compute one index at a time in a process.

    Parameters
    ----------
    processed, reference : (n_samples, 2) array
        Hearing-aid output and clean target, full scale 1.
    rate : float
        Hz, of both.
    listener : Listener
        With the audiograms.
    name : str
        The signal's: it seeds the noise of the model's nerve fibres, as in Clarity's baselines.
    """
    return max(ear.index for ear in haspi_of_ears(processed, reference, rate, listener, name))


@dataclass(frozen=True)
class EarIndex:
    """One ear's index, and the correlations that it is made of."""

    index: float  # 0..1
    # Correlation of the two signals' envelopes, by the rate of the modulation in Hz.
    modulations: dict[float, float]


def haspi_of_ears(
    processed: np.ndarray, reference: np.ndarray, rate: float, listener: Listener, name: str
) -> tuple[EarIndex, EarIndex]:
    """Return the index of the left and of the right ear; the parameters are those of `haspi`."""
    np.random.seed(seed_of(name))
    ears = zip(reference.T, processed.T, listener.ears, strict=True)
    try:
        left, right = (_one_ear(clean, noisy, rate, loss) for clean, noisy, loss in ears)
    except IndexError:  # pyclarity's, where it finds no speech
        raise ValueError("an ear of the reference has no speech, or a signal is short") from None
    return left, right


def _one_ear(clean: np.ndarray, noisy: np.ndarray, rate: float, audiogram: Audiogram) -> EarIndex:
    """Return one ear's index: clean speech with normal hearing, noisy with the hearing loss."""
    given = ClarityAudiogram(levels=audiogram.levels, frequencies=audiogram.frequencies)
    loss = tuple(given.resample(HASPI_AUDIOGRAM_FREQUENCIES).levels)
    # The ear model: envelopes in dB above threshold, (N_CHANNELS, n_samples) at MODEL_RATE.
    clean, noisy = (eb.resample_24khz(signal, rate)[0] for signal in (clean, noisy))
    n_samples = min(len(clean), len(noisy))
    clean, noisy = eb.input_align(clean[:n_samples], noisy[:n_samples])
    compressed, clean_db, bandwidths = _of_reference(np.ascontiguousarray(clean).tobytes())
    _, noisy_db, _ = _hair_cells(noisy, loss, aligned_to=compressed)
    # pyclarity draws noise for the basilar membrane, which HASPI does not read. It is drawn here
    # too, so that the noise of the nerve fibres, which is drawn next, stays the same.
    np.random.standard_normal((2, N_CHANNELS, len(clean)))
    centres = eb.center_frequency(N_CHANNELS)
    smoothed = [
        smoothed_envelopes(eb.group_delay_compensate(one, bandwidths, centres, MODEL_RATE))
        for one in (clean_db, noisy_db)
    ]
    # Correlation of the envelopes' modulations, and the networks that map it to intelligibility.
    cepstra = cepstral_correlation_coef(*smoothed, SILENCE, DITHER, N_CEPSTRA)
    if (seconds := len(cepstra[0]) / ENVELOPE_RATE) < SLOWEST:
        raise ValueError(f"{seconds:.2f} s of speech, of which HASPI needs {SLOWEST} s or more")
    clean_modulation, noisy_modulation, rates = fir_modulation_filter(*cepstra, ENVELOPE_RATE)
    correlations = modulation_cross_correlation(clean_modulation, noisy_modulation)
    *network, largest = get_neural_net()
    index = float(nn_feed_forward_ensemble(correlations, *network)[0] / largest)
    return EarIndex(index, dict(zip(np.ravel(rates).tolist(), correlations.tolist(), strict=True)))


def seed_of(name: str) -> int:
    """Return the seed of a signal's noise: its name's MD5, modulo 10^8."""
    return int(hashlib.md5(name.encode()).hexdigest(), 16) % 10**8


@functools.lru_cache(maxsize=2)  # both ears of one scene; 60 MB each
def _of_reference(samples: bytes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return _hair_cells(np.frombuffer(samples), NORMAL_HEARING)


def _hair_cells(
    signal: np.ndarray, hearing_loss: tuple[float, ...], aligned_to: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Take a signal, (n_samples,) at 24 kHz, from the middle ear to the inner hair cells.

    Returns
    -------
    compressed, adapted : (N_CHANNELS, n_samples) array
        Envelopes after the outer hair cells, linear, and after the inner, dB above threshold.
    bandwidths : (N_CHANNELS,) array
        Of the filters, relative to normal ones, at this signal's level.
    """
    centres = eb.center_frequency(N_CHANNELS)
    loss = np.stack(eb.loss_parameters(np.array(hearing_loss), centres), axis=1)
    widest = eb.loss_parameters(np.full(len(hearing_loss), 100), centres)[1]
    sound = eb.middle_ear(signal, MODEL_RATE)
    compressed, adapted = (np.empty((N_CHANNELS, len(signal))) for _ in range(2))
    bandwidths = np.empty(N_CHANNELS)
    for n, (ohc_loss, narrowest, knee, ratio, ihc_loss) in enumerate(loss):
        control = gammatone_envelope(sound, widest[n], centres[n])
        bandwidths[n] = eb.bandwidth_adjust(control, narrowest, widest[n], LEVEL)
        envelope = gammatone_envelope(sound, bandwidths[n], centres[n])
        compressed[n], _ = eb.env_compress_basilar_membrane(
            envelope, 0.0, control, ohc_loss, knee, ratio, MODEL_RATE, LEVEL
        )
        if aligned_to is not None:
            compressed[n] = eb.envelope_align(aligned_to[n], compressed[n])
        above_threshold, _ = eb.envelope_sl(compressed[n], 0.0, ihc_loss, LEVEL)
        adapted[n], _ = eb.inner_hair_cell_adaptation(above_threshold, 0.0, OVERSHOOT, MODEL_RATE)
    return compressed, adapted, bandwidths


def gammatone_envelope(signal: np.ndarray, bandwidth: float, centre: float) -> np.ndarray:
    """Return the envelope of a signal (n_samples,) at 24 kHz after a gammatone filter.

    It has fourth order: the signal is demodulated and low-passed by four equal poles (M. Cooke
    1993). `bandwidth` is relative to the equivalent rectangular bandwidth of normal hearing,
    `centre` in Hz. The coefficients are computed as in pyclarity, to the last bit: such narrow
    filters amplify rounding.
    """
    per_sample = 2 * np.pi / MODEL_RATE
    erb = 24.7 + (centre / 9.26449)  # Hz, Moore & Glasberg (1983)
    pole = np.exp(-(bandwidth * per_sample * erb * 1.019))
    a1, a2, a3 = 4.0 * pole, -6.0 * pole * pole, 4.0 * pole * pole * pole
    a4, b2 = -pole * pole * pole * pole, 4.0 * pole * pole
    zeros, poles = [1, a1, b2], [1, -a1, -a2, -a3, -a4]
    gain = 2.0 * (1 - a1 - a2 - a3 - a4) / (1 + a1 + b2)
    n = len(signal)
    carriers = eb.gammatone_bandwidth_demodulation(n, per_sample, centre, np.zeros(n), np.zeros(n))
    sine, cosine = (lfilter(zeros, poles, signal * carrier) for carrier in carriers)
    return gain * np.sqrt(cosine * cosine + sine * sine)


def smoothed_envelopes(envelopes: np.ndarray) -> np.ndarray:
    """Smooth envelopes with a von Hann window: (N_CHANNELS, n_samples) to (n_kept, N_CHANNELS).

    Only the samples that are kept, every ninth, are computed.
    """
    half = round(0.7 / CUTOFF * MODEL_RATE) // 2
    window = np.hanning(2 * half + 2)[1:-1]
    window /= window.sum()
    step = int(MODEL_RATE // ENVELOPE_RATE)
    padded = np.pad(envelopes, ((0, 0), (half - 1, half)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, 2 * half, axis=1)[:, ::step]
    return (frames @ window).T
