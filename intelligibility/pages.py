"""Self-contained HTML pages (no other file, no network, no script), and what they embed."""

import base64
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from omegaconf import OmegaConf

from intelligibility.runs import write_text


def write_html(
    path: Path,
    template: Path,
    provenance: Mapping[str, Any],
    facts: Mapping[str, Any] | None = None,
    **content: Any,
) -> None:
    """Write a page from a jinja2 template that extends page.html; equal content, equal page.

    `provenance` tells at its end how the content was made: time, command, versions, the resolved
    configuration; and `facts` more, by name. `content` are the variables of the template.
    """
    environment = Environment(
        loader=FileSystemLoader([template.parent, Path(__file__).parent]),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    page = environment.get_template(template.name)
    versions = ", ".join(f"{name} {one}" for name, one in provenance["versions"].items())
    made = {key: provenance[key] for key in ("time", "command")} | dict(facts or {})
    made["versions"] = versions
    configuration = OmegaConf.to_yaml(provenance["config"])
    write_text(path, page.render(content, made=made, configuration=configuration))


def in_base64(write: Callable[[io.BytesIO], Any]) -> str:
    """Return in base64 what `write` writes to a binary file, to embed it in a page."""
    stream = io.BytesIO()
    write(stream)
    return base64.b64encode(stream.getvalue()).decode()


def mp3(signal: np.ndarray, rate: int) -> str:
    """Return a sound as MP3 in base64; one that would clip is scaled down.

    (n_samples,) or (n_samples, n_channels), full scale 1, at `rate` in Hz.
    """
    unclipped = signal / max(1.0, float(np.abs(signal).max()))
    return in_base64(lambda stream: sf.write(stream, unclipped, rate, format="MP3"))


def number(value: float | None, digits: int, missing: str = "–") -> str:
    """Return a number as text with a true minus sign; `missing` for None and NaN."""
    if value is None or np.isnan(value):
        return missing
    return f"{value:,.{digits}f}".replace("-", "−")
