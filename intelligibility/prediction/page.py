"""The page of score.py: scored recordings to listen to, with their spectrograms."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from intelligibility.ears import ASR_RATE, resample
from intelligibility.evaluation.tables import NAMES
from intelligibility.pages import in_base64, mp3, number, write_html
from intelligibility.prediction.prediction import Prediction
from intelligibility.prediction.recording import read_recording
from intelligibility.prediction.rows import Row
from intelligibility.runs import progress

SHOWN_OPEN = 10  # rows that are unfolded at first
WINDOW, STEP = 512, 160  # samples at 16 kHz, of the spectrograms
RANGE = 80.0  # dB, of the spectrograms: of both, so that what is softer is darker
BLUE = "#0072B2"


def write_page(
    path: Path,
    content: Mapping[str, Any],
    rows: Sequence[Row],
    predict: Callable[[Row], Prediction],
    most: int,
) -> None:
    """Write the page.

    `content` holds the results: rows, summary, provenance. `rows` are those of the results, and
    perhaps more; `predict` scores one again for its ear signals, which are not stored. The first
    `most` rows are shown with sound.
    """
    by_name = {row.name: row for row in rows}
    shown = content["rows"][:most]
    cards = [
        card(by_name[one["name"]], one, predict(by_name[one["name"]]))
        for one in progress(shown, "page", len(shown), "row")
    ]
    write_html(
        path,
        Path(__file__).with_name("scores.html"),
        content["provenance"],
        summary=content["summary"],
        mean=mean_in_words,
        lines=content["rows"],
        cards=cards,
        open=SHOWN_OPEN,
        number=number,
    )


def mean_in_words(mean: Mapping[str, Any]) -> str:
    """Return a mean as text, with its interval where there are enough rows."""
    ends = mean["interval"]
    interval = f"{ends[0]:.1f} to {ends[1]:.1f}" if ends else "too few rows for an interval"
    return f"{mean['mean']:.1f} % ({interval}; n = {mean['n']})"


def card(row: Row, result: Mapping[str, Any], prediction: Prediction) -> dict[str, Any]:
    """Return what the page shows for one row."""
    heard = prediction.heard
    before = read_recording(row.processed)
    processed = resample(before.signal, before.rate, ASR_RATE)
    sounds = [("processed", processed)]
    if prediction.course is not None:  # HASPI alone has no signal after the hearing loss
        ears = heard.processed.T
        sounds += [("heard, left ear", ears[0]), ("heard, right ear", ears[1])]
    sounds += [("reference", heard.reference)]
    # One gain for all: what is softer after the hearing loss is softer here.
    loudest = max(1.0, *(float(np.abs(signal).max()) for _, signal in sounds))
    left, right = row.listener.audiogram_left, row.listener.audiogram_right
    same = np.array_equal(left.levels, right.levels)
    return {
        "result": result,
        "measure": NAMES[result["by"]],
        "sounds": [(title, mp3(signal / loudest, ASR_RATE)) for title, signal in sounds],
        "picture": course_picture(prediction),
        "frequencies": left.frequencies,
        "losses": {"both ears": left} if same else {"left ear": left, "right ear": right},
        "compared": prediction.compared,
    }


@rc_context({"font.size": 8, "axes.spines.top": False, "axes.spines.right": False})
def course_picture(prediction: Prediction) -> str:
    """Draw both signals, and below them the similarity over time or HASPI's parts: JPEG, base64."""
    figure = Figure((7.2, 3.2), layout="constrained")
    upper, middle, lower = figure.subplots(3, 1, height_ratios=(2, 2, 1.4))
    heard = prediction.heard
    name = "processed" if prediction.course is None else "heard"
    both = [spectrogram(one.mean(axis=1)) for one in (heard.reference, heard.processed)]
    loudest = max(levels.max() for levels in both)
    for axes, levels, title in zip((upper, middle), both, ("reference", name), strict=True):
        extent = (0, levels.shape[1] * STEP / ASR_RATE, 0, ASR_RATE / 2000)
        colours = {"cmap": "magma", "vmin": -RANGE, "vmax": 0}
        image = axes.imshow(
            levels - loudest, origin="lower", aspect="auto", extent=extent, **colours
        )
        axes.set_ylabel(f"{title}\nkHz")
    figure.colorbar(image, ax=[upper, middle], label="dB re the loudest", pad=0.01, aspect=30)
    if prediction.course is None:
        draw_modulations(lower, prediction)
    else:
        n_frames = len(prediction.course)
        time = (np.arange(n_frames) + 0.5) / n_frames * extent[1]
        lower.plot(time, 100 * prediction.course, color=BLUE, linewidth=1)
        lower.set(ylim=(-5, 105), xlabel="s", ylabel="similarity\nof frames, %")
        lower.set_xlim(0, extent[1])
    return in_base64(
        lambda stream: figure.savefig(stream, format="jpeg", dpi=110, pil_kwargs={"quality": 80})
    )


def draw_modulations(axes: Axes, prediction: Prediction) -> None:
    """Draw what HASPI is made of: the correlation of the envelopes, by modulation rate and ear."""
    for (ear, parts), style in zip(prediction.modulations.items(), ("o-", "s--"), strict=True):
        axes.plot(list(parts), list(parts.values()), style, color=BLUE, markersize=3, label=ear)
    axes.set_xscale("log", base=2)
    rates = list(prediction.modulations["left"])
    axes.set_xticks(rates, [f"{rate:g}" for rate in rates])
    axes.set(ylim=(0, 1), xlabel="modulation, Hz", ylabel="correlation\nof envelopes")
    axes.legend(loc="upper right", ncols=2, frameon=False)


def spectrogram(signal: np.ndarray) -> np.ndarray:
    """Return levels in dB, (frequencies, frames)."""
    padded = np.pad(signal, WINDOW // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::STEP]
    power = np.abs(np.fft.rfft(frames * np.hanning(WINDOW))) ** 2
    return 10 * np.log10(power.T + 1e-10)
