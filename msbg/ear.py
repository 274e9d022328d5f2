"""An ear with a hearing loss, and the one call for a listener with two.

simulate(signal, listener)              stereo in, stereo out
Ear(src_pos="ff").process(signal)       one ear, as in Clarity's simulator
"""

import logging

import numpy as np

from msbg.audiogram import Audiogram, Listener
from msbg.cochlea import Cochlea
from msbg.constants import SAMPLE_RATE
from msbg.level_sounds import level_sounds
from msbg.transfer import EARDRUM_DB, cochlea_to_source, fir_filter, source_to_cochlea

MAX_SAMPLE = 1e6  # full scale is 1; what exceeds it so far was never scaled
GATE_WINDOW = 441  # samples, 10 ms
GATE_RELATIVE_DB = -12.0  # windows this far below the plain RMS do not count
GATE_FLOOR_DB = -80.0  # dB re full scale

logger = logging.getLogger(__name__)


class Ear:
    """One ear, impaired once it has an audiogram.

    Parameters
    ----------
    src_pos : str
        Where the sound was recorded: "ff" (frontal free field), "df" (diffuse field) or "ITU"
        (ear reference point of a head and torso simulator).
    sample_rate : float
        Hz; only 44100 is defined.
    equiv_0db_spl, ahr : float
        Their sum is the level in dB SPL that full scale stands for; `ahr` is the headroom.
    """

    def __init__(
        self,
        src_pos: str = "ff",
        sample_rate: float = SAMPLE_RATE,
        equiv_0db_spl: float = 100.0,
        ahr: float = 20.0,
    ) -> None:
        if src_pos not in EARDRUM_DB:
            raise ValueError(f"src_pos is {src_pos!r}, expected one of {', '.join(EARDRUM_DB)}")
        if sample_rate != SAMPLE_RATE:
            raise ValueError(
                f"sample_rate is {sample_rate} Hz; the simulation is defined at {SAMPLE_RATE} Hz "
                "only, so resample first"
            )
        self.src_pos = src_pos
        self.sample_rate = sample_rate
        self.equiv_0db_spl = equiv_0db_spl
        self.ahr = ahr
        self.cochlea: Cochlea | None = None

    def set_audiogram(self, audiogram: Audiogram) -> None:
        """Give the ear a hearing loss."""
        self.cochlea = Cochlea(audiogram)

    def process(self, signal: np.ndarray, between_level_sounds: bool = False) -> list[np.ndarray]:
        """Simulate what this ear makes of a signal.

        Parameters
        ----------
        signal : ndarray, (n_samples,), (n_samples, 1) or (n_samples, 2)
            44.1 kHz, full scale 1. Every channel goes through this same ear.
        between_level_sounds : bool
            Put a tone and noise of the signal's level before it, and a pause after it: what
            Clarity's simulator calls add_calibration.

        Returns
        -------
        list of ndarray, (n_out,)
            One per channel, float64. With a loss, 192 samples late and 192 to 255 longer.
        """
        checked = _checked(signal).T
        channels = list(checked)
        if self.cochlea is None:
            logger.warning("No audiogram was set: this ear filters, but has no hearing loss.")
        plain_rms = np.sqrt(np.mean(checked**2))
        # The level is corrected by plain over gated RMS, the latter of the first channel only.
        gain = plain_rms / (gated_rms(channels[0]) or plain_rms or 1.0)
        if between_level_sounds:
            before, after = level_sounds(plain_rms)
            channels = [np.concatenate([before, gain * channel, after]) for channel in channels]
            gain = 1.0
        return [self._hear(channel, gain) for channel in channels]

    def _hear(self, channel: np.ndarray, gain: float) -> np.ndarray:
        """Source to cochlea, through the cochlea, and back to the source."""
        sound = fir_filter(channel, gain * source_to_cochlea(self.src_pos))
        if self.cochlea is not None:
            sound = self.cochlea.simulate(sound, self.equiv_0db_spl + self.ahr)
        return fir_filter(sound, cochlea_to_source(self.src_pos))


def simulate(
    signal: np.ndarray,
    listener: Listener,
    src_pos: str = "ff",
    sample_rate: float = SAMPLE_RATE,
    equiv_0db_spl: float = 100.0,
    ahr: float = 20.0,
) -> np.ndarray:
    """Simulate what a listener hears, each ear with its own hearing loss.

    Parameters
    ----------
    signal : ndarray, (n_samples, 2)
        Left and right, 44.1 kHz, full scale 1.
    listener : Listener
        Whose ears to imitate.
    src_pos, sample_rate, equiv_0db_spl, ahr
        As for `Ear`.

    Returns
    -------
    ndarray, (n_out, 2)
        float64. Where one ear's output is shorter, zeros are put in front of it.

    Raises
    ------
    ValueError
        On another shape or rate, integer samples, or samples that are not finite.
    """
    signal = _checked(signal)
    if signal.shape[1] != 2:
        raise ValueError(f"signal has shape {signal.shape}, expected (n_samples, 2)")
    ears = []
    for channel, audiogram in zip(signal.T, listener.ears, strict=True):
        ear = Ear(src_pos, sample_rate, equiv_0db_spl, ahr)
        ear.set_audiogram(audiogram)
        ears += ear.process(channel)
    n_out = max(len(ear) for ear in ears)
    return np.stack([np.pad(ear, (n_out - len(ear), 0)) for ear in ears], axis=1)


def gated_rms(channel: np.ndarray, rate: int = SAMPLE_RATE) -> float:
    """RMS over the 10 ms windows that are loud enough to count as active; 0 if none is.

    Parameters
    ----------
    channel : ndarray, (n_samples,)
        Full scale 1.
    rate : int
        Hz.
    """
    window = round(GATE_WINDOW * rate / SAMPLE_RATE)
    threshold = max(np.mean(channel**2) * 10 ** (GATE_RELATIVE_DB / 10), 10 ** (GATE_FLOOR_DB / 10))
    n_windows = len(channel) // window
    power = np.mean(channel[: n_windows * window].reshape(n_windows, window) ** 2, axis=1)
    # The published gate adds a floor 30 dB below the threshold before it compares.
    active = power[power + threshold * 1e-3 >= threshold]
    return float(np.sqrt(active.mean())) if len(active) else 0.0


def _checked(signal: np.ndarray) -> np.ndarray:
    """Check a signal at the door; give it as float64, (n_samples, n_channels)."""
    signal = np.asarray(signal)
    if not np.issubdtype(signal.dtype, np.floating):
        raise ValueError(f"signal holds {signal.dtype}, expected floats with full scale 1")
    if signal.ndim not in (1, 2) or len(signal) == 0 or signal.shape[1:] not in ((), (1,), (2,)):
        raise ValueError(
            f"signal has shape {signal.shape}, expected (n_samples,), (n_samples, 1) or "
            "(n_samples, 2), with at least one sample"
        )
    wrong = np.argwhere(~np.isfinite(signal))
    if len(wrong):
        raise ValueError(
            f"signal holds {signal[tuple(wrong[0])]} at {tuple(map(int, wrong[0]))} and "
            f"{len(wrong) - 1} more values that are not finite"
        )
    if np.abs(signal).max() > MAX_SAMPLE:
        raise ValueError(
            f"signal reaches {np.abs(signal).max():g}, expected floats with full scale 1"
        )
    return signal.astype(np.float64, copy=False).reshape(len(signal), -1)
