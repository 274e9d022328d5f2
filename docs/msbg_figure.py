"""What the hearing-loss simulation does to a sentence: spectrograms before and after each severity.

    python -m docs.msbg_figure        # writes docs/msbg_severities.png

A synthetic voice (espeak-ng, from the demo) speaks a sentence at 65 dB SPL, the level of
conversation. Each ear hears it in free field without a hearing aid.
"""

from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator
from scipy.signal import ShortTimeFFT

from demo.listeners import STANDARD_AUDIOGRAMS
from demo.speech import SAMPLE_RATE, speak
from msbg import Audiogram, Ear
from msbg.ear import gated_rms

HERE = Path(__file__).resolve().parent

SENTENCE = ("en-gb-x-rp+f1", "sophie carried nine wooden boats")
SPEECH_DB_SPL = 65
FULL_SCALE_DB_SPL = 120  # Ear's defaults: equiv_0db_spl + ahr
RANGE_DB_SPL = (-10, 65)
TICKS_HZ = (125, 250, 500, 1000, 2000, 4000, 8000)
# By the name that the simulator gives each.
NAMES = {"MILD": "N1", "MODERATE": "N2", "SEVERE": "N3"}
LEVELS_DB_HL = {severity: STANDARD_AUDIOGRAMS[name] for severity, name in NAMES.items()}


@rc_context({"font.size": 9, "axes.titlesize": 10})
def main() -> None:
    """Simulate, draw and save."""
    (speech,) = speak([SENTENCE])
    speech = np.pad(speech, int(0.15 * SAMPLE_RATE))
    speech *= 10 ** ((SPEECH_DB_SPL - FULL_SCALE_DB_SPL) / 20) / gated_rms(speech)

    figure = Figure(figsize=(11, 5.6), layout="constrained")
    axes = figure.subplots(2, 3)
    heard = {"Sentence at 65 dB SPL": speech}
    for severity, levels in {"NOTHING": (0,) * 8, **LEVELS_DB_HL}.items():
        ear = Ear()
        ear.set_audiogram(Audiogram(levels))
        assert ear.cochlea is not None and ear.cochlea.severity == severity
        name = "No loss" if severity == "NOTHING" else f"{severity.capitalize()} loss"
        (heard[name],) = ear.process(speech)
    for axis, (name, signal) in zip(axes.flat, heard.items(), strict=False):
        image = draw_spectrogram(axis, signal)
        axis.set_title(name)
    for axis in axes[:, 0]:
        axis.set_ylabel("Frequency (kHz)")
    draw_audiograms(axes[1, 2])
    bar = figure.colorbar(image, ax=axes, pad=0.015)
    bar.set_label("Level (dB SPL)")
    figure.savefig(HERE / "msbg_severities.png", dpi=130)


def draw_spectrogram(axis: Axes, signal: np.ndarray) -> ScalarMappable:
    """Draw over time and frequency the level, in dB SPL, that a steady tone would have there."""
    window = np.hanning(1024)
    transform = ShortTimeFFT(window, hop=128, fs=SAMPLE_RATE, mfft=2048, scale_to="magnitude")
    power = 2 * np.abs(transform.stft(signal)) ** 2
    level = 10 * np.log10(power + 1e-30) + FULL_SCALE_DB_SPL
    low, high = RANGE_DB_SPL
    image = axis.pcolormesh(
        transform.t(len(signal)), transform.f[1:], level[1:], vmin=low, vmax=high, cmap="magma"
    )
    axis.set(xlim=(0, len(signal) / SAMPLE_RATE), xlabel="Time (s)")
    axis.set(yscale="log", ylim=(100, 12_000))
    axis.yaxis.set_major_locator(FixedLocator(TICKS_HZ))
    axis.yaxis.set_major_formatter(FixedFormatter([f"{hertz / 1000:g}" for hertz in TICKS_HZ]))
    axis.yaxis.set_minor_locator(NullLocator())
    return image


def draw_audiograms(axis: Axes) -> None:
    """Draw the hearing losses the clinical way, more loss lower down."""
    frequencies = Audiogram(LEVELS_DB_HL["MILD"]).frequencies
    for (severity, levels), marker in zip(LEVELS_DB_HL.items(), "os^", strict=True):
        axis.plot(frequencies, levels, marker=marker, label=severity.capitalize())
    axis.set(xscale="log", xlim=(200, 10_000), ylim=(105, -5), title="Audiograms")
    axis.set(xlabel="Frequency (kHz)", ylabel="Hearing level (dB HL)")
    axis.xaxis.set_major_locator(FixedLocator(TICKS_HZ[1:]))
    axis.xaxis.set_major_formatter(FixedFormatter([f"{hertz / 1000:g}" for hertz in TICKS_HZ[1:]]))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.grid(alpha=0.3)
    axis.legend(loc="lower left", frameon=False)


if __name__ == "__main__":
    main()
