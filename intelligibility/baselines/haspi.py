"""Better-ear HASPI, version 2 (J. M. Kates & K. H. Arehart 2021), as Clarity's baselines call it.

The index is pyclarity's. Its ear model also follows the motion of the basilar membrane, which
HASPI never reads, analyses the reference anew for every hearing aid, and smooths envelopes at 24
kHz of which it keeps every ninth sample. Ours, made of pyclarity's own parts, leaves that out; it
stands in for pyclarity's, and the index stays the same.
"""

import functools
import hashlib
import importlib
from dataclasses import dataclass
from unittest import mock

import numpy as np
from clarity.evaluator.haspi import eb
from clarity.utils.audiogram import Audiogram
from scipy.signal import lfilter

from msbg import Audiogram as OurAudiogram
from msbg import Listener

pyclarity = importlib.import_module("clarity.evaluator.haspi.haspi")

LEVEL = 100.0  # dB SPL of a signal with an RMS of 1, as Clarity's baselines have it
MODEL_RATE = 24000.0  # Hz, of the ear model
N_CHANNELS = 32
OVERSHOOT = 2  # of the inner hair cells' adaptation
NORMAL_HEARING = (0.0,) * len(pyclarity.HASPI_AUDIOGRAM_FREQUENCIES)


def haspi(
    processed: np.ndarray, reference: np.ndarray, rate: float, listener: Listener, name: str
) -> float:
    """Return the better ear's index, 0..1.

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
    np.random.seed(seed_of(name))  # pyclarity draws from numpy's global generator
    ears = zip(
        reference.T, processed.T, (listener.audiogram_left, listener.audiogram_right), strict=True
    )
    with (
        mock.patch.object(pyclarity, "ear_model", ear_model),
        mock.patch.object(pyclarity, "env_filter", smoothed_envelopes),
    ):
        return max(
            float(pyclarity.haspi_v2(clean, rate, noisy, rate, _their(audiogram), LEVEL)[0])
            for clean, noisy, audiogram in ears
        )


def seed_of(name: str) -> int:
    """Return the seed of a signal's noise: its name's MD5, modulo 10^8."""
    return int(hashlib.md5(name.encode()).hexdigest(), 16) % 10**8


def _their(audiogram: OurAudiogram) -> Audiogram:
    return Audiogram(levels=audiogram.levels, frequencies=audiogram.frequencies)


@dataclass(frozen=True)
class Envelopes:
    """What the ear model makes of a signal, per channel: (N_CHANNELS, n_samples) each.

    Attributes
    ----------
    compressed : array
        After the outer hair cells, linear.
    adapted : array
        After the inner hair cells, dB above threshold.
    bandwidths : (N_CHANNELS,) array
        Of the filters, relative to normal ones, at this signal's level.
    """

    compressed: np.ndarray
    adapted: np.ndarray
    bandwidths: np.ndarray


def ear_model(
    reference: np.ndarray,
    reference_rate: float,
    processed: np.ndarray,
    processed_rate: float,
    hearing_loss: np.ndarray,
    itype: int,
    level1: float,
    shift: float | None = None,
) -> tuple:
    """Do what HASPI needs of pyclarity's function of this name, with its arguments.

    Returns
    -------
    tuple
        Envelopes of the reference, None, envelopes of the processed signal, None, None, None, rate
        in Hz. None stands where HASPI reads nothing.
    """
    if itype != 0 or shift is not None:
        raise ValueError("this ear model is for intelligibility alone")
    clean, _ = eb.resample_24khz(reference, reference_rate)
    noisy, _ = eb.resample_24khz(processed, processed_rate)
    n_samples = min(len(clean), len(noisy))
    clean, noisy = eb.input_align(clean[:n_samples], noisy[:n_samples])
    of_clean = _envelopes_of_reference(np.ascontiguousarray(clean).tobytes(), level1)
    of_noisy = _envelopes(noisy, tuple(hearing_loss), level1, aligned_to=of_clean.compressed)
    # Noise on the basilar membrane, which nobody reads: what is drawn after it stays the same.
    np.random.standard_normal((2, N_CHANNELS, len(clean)))
    centres = eb.center_frequency(N_CHANNELS)
    clean_db, noisy_db = (
        eb.group_delay_compensate(one.adapted, of_clean.bandwidths, centres, MODEL_RATE)
        for one in (of_clean, of_noisy)
    )
    return clean_db, None, noisy_db, None, None, None, MODEL_RATE


@functools.lru_cache(maxsize=2)  # both ears of one scene; 60 MB each
def _envelopes_of_reference(samples: bytes, level: float) -> Envelopes:
    return _envelopes(np.frombuffer(samples), NORMAL_HEARING, level)


def _envelopes(
    signal: np.ndarray,
    hearing_loss: tuple[float, ...],
    level: float,
    aligned_to: np.ndarray | None = None,
) -> Envelopes:
    """Take a signal, (n_samples,) at 24 kHz, from the middle ear to the inner hair cells."""
    centres = eb.center_frequency(N_CHANNELS)
    loss = np.stack(eb.loss_parameters(np.array(hearing_loss), centres), axis=1)
    widest = eb.loss_parameters(np.full(len(hearing_loss), 100), centres)[1]
    sound = eb.middle_ear(signal, MODEL_RATE)
    compressed, adapted = (np.empty((N_CHANNELS, len(signal))) for _ in range(2))
    bandwidths = np.empty(N_CHANNELS)
    for n, (ohc_loss, narrowest, knee, ratio, ihc_loss) in enumerate(loss):
        control = gammatone_envelope(sound, widest[n], centres[n])
        bandwidths[n] = eb.bandwidth_adjust(control, narrowest, widest[n], level)
        envelope = gammatone_envelope(sound, bandwidths[n], centres[n])
        compressed[n], _ = eb.env_compress_basilar_membrane(
            envelope, 0.0, control, ohc_loss, knee, ratio, MODEL_RATE, level
        )
        if aligned_to is not None:
            compressed[n] = eb.envelope_align(aligned_to[n], compressed[n])
        above_threshold, _ = eb.envelope_sl(compressed[n], 0.0, ihc_loss, level)
        adapted[n], _ = eb.inner_hair_cell_adaptation(above_threshold, 0.0, OVERSHOOT, MODEL_RATE)
    return Envelopes(compressed, adapted, bandwidths)


def gammatone_envelope(signal: np.ndarray, bandwidth: float, centre: float) -> np.ndarray:
    """Return the envelope behind a gammatone filter of fourth order.

    The signal is demodulated and low-passed by four equal poles (M. Cooke 1993). The coefficients
    are worked out as in pyclarity, to the last bit: filters this narrow magnify their rounding.

    Parameters
    ----------
    signal : (n_samples,) array
        24 kHz.
    bandwidth : float
        Relative to the equivalent rectangular bandwidth of normal hearing.
    centre : float
        Hz.
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


def smoothed_envelopes(
    reference: np.ndarray, processed: np.ndarray, cutoff: float, new_rate: float, rate: float
) -> tuple[np.ndarray, np.ndarray]:
    """Do what pyclarity's env_filter does, with its arguments: low-pass and keep fewer samples.

    Parameters
    ----------
    reference, processed : (N_CHANNELS, n_samples) array
        dB.
    cutoff, new_rate, rate : float
        Hz.

    Returns
    -------
    reference, processed : (n_kept, N_CHANNELS) array
        Every floor(rate / new_rate)th sample.
    """
    half = round(0.7 / cutoff * rate) // 2
    window = np.hanning(2 * half + 2)[1:-1]
    window /= window.sum()
    step = int(rate // new_rate)

    def smoothed(envelopes: np.ndarray) -> np.ndarray:
        padded = np.pad(envelopes, ((0, 0), (half - 1, half)))
        frames = np.lib.stride_tricks.sliding_window_view(padded, 2 * half, axis=1)[:, ::step]
        return (frames @ window).T

    return smoothed(reference), smoothed(processed)
