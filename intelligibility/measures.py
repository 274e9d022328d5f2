"""What is compared: the measures of the paper's Table 1, in its order.

Tu, Ma & Barker (2022), Sections 3.2 and 3.3. Every other file reads names, titles and order from
here.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Measure:
    """One comparison of what a recogniser makes of the processed signal and of the reference."""

    name: str  # in the names of files and columns
    title: str  # in tables and figures
    # Which of the recogniser's layers is compared; None: what it makes of the text.
    layer: str | None
    # How the layer is compared: "time", frame by frame, or "words", after alignment by dynamic time
    # warping. Without a layer: "text", the share of the prompt's words that were recognised, or
    # "log-probability", that of the prompt's tokens in the processed signal less that in the
    # reference, or "chosen", as the layer that evaluate.py chooses.
    clock: Literal["time", "words", "text", "log-probability", "chosen"]
    unit: Literal["%", "nats"] = "%"  # "%", stored as 0..1, or "nats"


MEASURES = (
    Measure("wcs", "ASR word correctness", None, "text"),
    Measure("pre", "PreNet (CNN)", "cnn", "time"),
    Measure("enc", "encoder", "encoder", "time"),
    Measure("dec", "decoder", "decoder", "words"),
    # Not in the paper; of recognisers from the hub.
    Measure("prob", "log-probability of the text", None, "log-probability", "nats"),
)
# Not in the paper: of all layers, the one that predicts best on dev.
BEST_LAYER = Measure("layer", "best layer (chosen on dev)", None, "chosen")
METHOD = ("dec", "enc")  # of the published method; the first is the challenge entry's


@dataclass(frozen=True)
class Baseline:
    """A measure without a recogniser, to compare with: baselines.py computes it."""

    # As of a measure.
    name: str
    title: str
    package: str  # whose code it is


BASELINES = (
    Baseline("mbstoi", "MSBG + MBSTOI", "pyclarity"),
    Baseline("haspi", "HASPI", "pyclarity"),
    Baseline("stoi", "STOI", "pystoi"),
    Baseline("estoi", "ESTOI", "pystoi"),
)
