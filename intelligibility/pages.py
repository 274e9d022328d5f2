"""Pages of HTML to keep and to share: no other file, no network, no script."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from omegaconf import OmegaConf

from intelligibility.runs import write_text


def write_html(path: Path, template: Path, config: Mapping[str, Any], **content: Any) -> None:
    """Write a page; equal content gives an equal page.

    Parameters
    ----------
    path : Path
        Where.
    template : Path
        What it says, on top of page.html beside this file.
    config : mapping
        The resolved configuration, which stands at its end.
    content : Any
        What the template names.
    """
    environment = Environment(
        loader=FileSystemLoader([template.parent, Path(__file__).parent]),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    page = environment.get_template(template.name)
    write_text(path, page.render(content, configuration=OmegaConf.to_yaml(config)))
