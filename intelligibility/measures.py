"""What is compared: the measures of the paper's Table 1, in its order.

Tu, Ma & Barker (2022), Section 2.3. Every other file reads names, titles and order from here.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Measure:
    """One comparison of what a recogniser makes of the processed signal and of the reference.

    Attributes
    ----------
    name : str
        In the names of files and columns.
    title : str
        In tables and figures.
    layer : str or None
        Which of the recogniser's layers is compared; None: its words, with the prompt.
    clock : str
        What the layer's frames follow: "time" (frame by frame), "words" (aligned first), or "text"
        (the share of the prompt's words).
    """

    name: str
    title: str
    layer: str | None
    clock: Literal["time", "words", "text"]


MEASURES = (
    Measure("wcs", "ASR word correctness", None, "text"),
    Measure("pre", "PreNet (CNN)", "cnn", "time"),
    Measure("enc", "encoder", "encoder", "time"),
    Measure("dec", "decoder", "decoder", "words"),
)
