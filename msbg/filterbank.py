"""Design of the three gammatone filterbanks, by severity of the loss.

Each channel is a gammatone filter (four equal second-order sections), advanced in time so that
the channels line up, and for the higher channels a high-pass filter that cuts the gammatone's
tail towards 0 Hz. Sections are rows (b0, b1, b2, a0, a1, a2), as in `scipy.signal.sosfilt`.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.signal import ellip, freqz_sos, sosfilt

from msbg.constants import SAMPLE_RATE
from msbg.erb import erb, erb_number, frequency

ORDER = 4  # of the gammatone filters
TOP_CENTRE_HZ = 0.87 * SAMPLE_RATE / 2
N_FFT = 8192  # for the analysis of the channels' responses
TAIL_DB = 1.0  # a tail ends where the response has risen by this much from that at 0 Hz


@dataclass(frozen=True)
class BankDesign:
    """What was chosen for a bank; all else follows from it.

    broadening : bandwidth of a channel in equivalent rectangular bandwidths (ERB)
    spacing : distance between channels on the ERB-number scale, above 833 Hz
    low_centres_hz : centre frequencies below 833 Hz, which are closer than `spacing`
    delays : time advance of each channel in samples, lowest channel first
    first_high_passed : first channel with a high-pass filter, counted from 0
    """

    broadening: float
    spacing: float
    low_centres_hz: tuple[float, ...]
    delays: tuple[int, ...]
    first_high_passed: int


# Centres and delays come from the published filterbank files (GT4FBank_Brd*_Spaced*_44100Fs, M. A.
# Stone, 19 November 2013). No rule is known that gives them.
# fmt: off
DESIGNS = {
    "SEVERE": BankDesign(
        3.0, 2.25,
        (83.31770881583843, 133.0673988832827, 204.09758945435803, 302.1646913266675,
         434.0250247649651, 607.8519930062768),
        (229, 204, 166, 133, 106, 83, 65, 50, 39, 31, 24, 19, 15, 12, 9, 7, 5, 4, 4),
        first_high_passed=9),
    "MODERATE": BankDesign(
        2.0, 1.5,
        (65.82694524192573, 95.55458999227949, 134.8830708049496, 185.57021234380215,
         249.40928102138545, 328.2318788750111, 423.94010684525614, 538.5653962797379,
         674.3479672301138),
        (379, 339, 289, 253, 216, 184, 156, 132, 111, 95, 80, 68, 58, 49, 42, 36, 30, 26, 22, 19,
         16, 13, 11, 10, 8, 7, 6, 5),
        first_high_passed=12),
    "MILD": BankDesign(
        1.5, 1.125,
        (72.58201774496074, 97.86130530234148, 129.4489766361951, 168.2019140314725,
         214.9567784867668, 270.52085192508474, 335.6709180005188, 411.1601707100491,
         497.73221811551855, 596.1406352951145, 707.1722644284607, 831.6725250150043),
        (485, 442, 396, 349, 311, 272, 239, 210, 186, 162, 143, 126, 111, 98, 87, 77, 69, 61, 54,
         47, 42, 37, 33, 29, 26, 23, 20, 18, 16, 14, 12, 11, 10, 9, 8, 7),
        first_high_passed=14),
}
# fmt: on
DESIGNS["NOTHING"] = DESIGNS["MILD"]  # no smearing, but the narrowest channels there are


@dataclass(frozen=True)
class Filterbank:
    """One filterbank, ready to run.

    centres_hz : (n_channels,)
    erbs_hz : (n_channels,) equivalent rectangular bandwidths of normal hearing
    gammatone : (n_channels, 6) one section, to be applied four times
    delays : (n_channels,) samples
    high_pass : (n_channels, 6) one section; leaves low channels as they are
    smoother : (n_channels, 6) one section, low-pass for the channel's envelope
    recombination_db : mean gain of the sum of all channels
    """

    centres_hz: np.ndarray
    erbs_hz: np.ndarray
    gammatone: np.ndarray
    delays: np.ndarray
    high_pass: np.ndarray
    smoother: np.ndarray
    recombination_db: float


@cache
def filterbank(severity: str) -> Filterbank:
    """Design the filterbank for "SEVERE", "MODERATE", "MILD" or "NOTHING"."""
    design = DESIGNS[severity]
    centres = centre_frequencies(design)
    erbs = erb(centres)
    gammatone = gammatone_sections(centres, design.broadening * erbs)
    high_pass = np.tile([1.0, 0, 0, 1, 0, 0], (len(centres), 1))
    for channel in range(design.first_high_passed, len(centres)):
        corner = tail_corner(gammatone[channel])
        high_pass[channel] = bessel_high_pass(corner, centres[channel])
    delays = np.array(design.delays)
    return Filterbank(
        centres,
        erbs,
        gammatone,
        delays,
        high_pass,
        smoother=np.array([envelope_low_pass(width) for width in erbs]),
        recombination_db=mean_gain_db(gammatone, delays, high_pass),
    )


def centre_frequencies(design: BankDesign) -> np.ndarray:
    """Equal steps on the ERB-number scale from the top down, then the table below 833 Hz."""
    n_steps = len(design.delays) - len(design.low_centres_hz)
    erb_numbers = erb_number(TOP_CENTRE_HZ) - design.spacing * np.arange(n_steps)[::-1]
    return np.append(design.low_centres_hz, frequency(erb_numbers))


def gammatone_sections(centres: np.ndarray, bandwidths: np.ndarray) -> np.ndarray:
    """Poles at r exp(+-j theta), one zero at r cos(theta), gain one at the centre frequency."""
    radius = np.exp(-2 * np.pi * bandwidths / SAMPLE_RATE)
    theta = 2 * np.pi * centres / SAMPLE_RATE
    zero = radius * np.cos(theta)
    nothing = np.zeros_like(zero)
    sections = np.stack([nothing + 1, -zero, nothing, nothing + 1, -2 * zero, radius**2], axis=1)
    return np.array([_with_unit_gain(*both) for both in zip(sections, centres, strict=True)])


def tail_corner(section: np.ndarray) -> float:
    """Corner of a channel's high-pass filter in Hz: one bin above the end of the tail."""
    _, response = freqz_sos(np.tile(section, (ORDER, 1)), np.arange(N_FFT // 2) * 2 * np.pi / N_FFT)
    level_db = 20 * np.log10(np.abs(response))
    end_of_tail = np.flatnonzero(level_db >= level_db[0] + TAIL_DB)[0]
    return (end_of_tail + 1) * SAMPLE_RATE / N_FFT


def bessel_high_pass(corner: float, centre: float) -> np.ndarray:
    """Second-order Bessel high-pass (Q = 0.577) by bilinear transform, gain one at `centre`."""
    k = np.tan(np.pi * corner / SAMPLE_RATE)
    section = np.array([1, -2, 1, 1 + 3 * k + 3 * k**2, 6 * k**2 - 2, 1 - 3 * k + 3 * k**2])
    return _with_unit_gain(section / section[3], centre)


def envelope_low_pass(erb_hz: float) -> np.ndarray:
    """Elliptic low-pass filter at three quarters of the channel's ERB, but 75 Hz at most."""
    return ellip(2, 0.25, 35, 0.75 * min(100, erb_hz), fs=SAMPLE_RATE, output="sos")[0]


def mean_gain_db(gammatone: np.ndarray, delays: np.ndarray, high_pass: np.ndarray) -> float:
    """Mean level in dB, from 100 Hz to 10 kHz, of the response of all channels added up."""
    impulse = np.zeros(N_FFT)
    impulse[delays.max()] = 1
    total = np.zeros(N_FFT)
    for section, delay, cut in zip(gammatone, delays, high_pass, strict=True):
        channel = sosfilt(np.tile(section, (ORDER, 1)), impulse)
        total += sosfilt([cut], np.append(channel[delay:], np.zeros(delay)))
    hertz = np.fft.rfftfreq(N_FFT, 1 / SAMPLE_RATE)
    level_db = 20 * np.log10(np.abs(np.fft.rfft(total)))
    return level_db[(hertz >= 100) & (hertz <= 10_000)].mean()


def _with_unit_gain(section: np.ndarray, hertz: float) -> np.ndarray:
    """Scale a section's numerator so that its gain at `hertz` is one."""
    _, response = freqz_sos(section, [hertz], fs=SAMPLE_RATE)
    return np.append(section[:3] / np.abs(response), section[3:])
