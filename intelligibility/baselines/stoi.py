"""Better-ear STOI and ESTOI, by pystoi, between signals brought into line.

C. H. Taal, R. C. Hendriks, R. Heusdens & J. Jensen (2011), IEEE Trans. Audio Speech Lang. Process.
19, 2125-2136; J. Jensen & C. H. Taal (2016), ibid. 24, 2009-2022. Neither knows of hearing loss.
"""

import warnings

import numpy as np
import pystoi
from scipy.signal import correlate

LONGEST_DELAY = 0.1  # s, of a hearing-aid output behind or before its reference


def better_ear_stoi(
    processed: np.ndarray, reference: np.ndarray, rate: float, extended: bool
) -> float:
    """Return the better ear's index of STOI, or, `extended`, of ESTOI.

    ESTOI also takes account of fluctuating noise. Hearing-aid output and clean target are
    (n_samples, 2), full scale 1, at `rate` in Hz. With less than 0.4 s of speech the measures are
    not defined: ValueError.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)  # pystoi's word for too little speech
        try:
            return max(
                float(pystoi.stoi(*aligned(clean, noisy, rate), rate, extended=extended))
                for clean, noisy in zip(reference.T, processed.T, strict=True)
            )
        except RuntimeWarning as warning:
            raise ValueError(str(warning)) from None


def aligned(clean: np.ndarray, noisy: np.ndarray, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Shift the noisy signal to where it correlates best with the clean one, within 0.1 s.

    Returns clean and noisy, (n_samples,), as long as both signals reach.
    """
    longest = round(LONGEST_DELAY * rate)
    lags = np.arange(1 - len(clean), len(noisy))
    near = np.abs(lags) <= longest
    delay = lags[near][np.argmax(np.abs(correlate(noisy, clean, method="fft"))[near])]
    clean, noisy = clean[max(0, -delay) :], noisy[max(0, delay) :]
    n_samples = min(len(clean), len(noisy))
    return clean[:n_samples], noisy[:n_samples]
