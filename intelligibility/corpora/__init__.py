"""The releases, read only: what they hold, as records, and what is wrong with them."""

import logging
from collections.abc import Iterable
from pathlib import Path

from omegaconf import DictConfig

from intelligibility.corpora import cpc1, cpc2, cpc3
from intelligibility.corpora.cpc1 import Response
from intelligibility.corpora.presentation import Archive, Presentation, in_lines, read_presentations
from intelligibility.runs import RecipeError

logger = logging.getLogger(__name__)


def read_archives(cfg: DictConfig, track: str) -> dict[str, Archive]:
    """Read the metadata of the configured release, "train" and "test" (or what there is)."""
    if cfg.corpus == "cpc2":
        return cpc2.read_archives(cfg)
    if cfg.corpus == "cpc3":
        return cpc3.read_archives(cfg)
    return cpc1.read_archives(cfg, track)


def late_responses(cfg: DictConfig, track: str, test: Iterable[Presentation]) -> list[Response]:
    """Read the test responses in path.test_responses, which were released beside the data.

    CPC3's labels do not say of which scene or listener they are, so the presentations of the test
    do; labels of none of them are left out. CPC1's say all of it.
    """
    folder = Path(str(cfg.path.test_responses)).expanduser().absolute()
    if cfg.corpus == "cpc1":
        return cpc1.late_responses(folder, track)
    late = cpc2.late_responses(cfg) if cfg.corpus == "cpc2" else cpc3.late_responses(folder)
    known = {one.name: one for one in test}
    return [
        Response(
            *(one.signal, known[one.signal].scene, known[one.signal].listener.id),
            *(known[one.signal].system, known[one.signal].prompt, one.correctness),
        )
        for one in late
        if one.signal in known and one.correctness is not None
    ]


def known_presentations(cfg: DictConfig, track: str, kept: Path) -> dict[str, list[Presentation]]:
    """Return the presentations that prepare_data.py kept; the release's where it did not run.

    The second is for similarities that were made elsewhere, by the published code for one.
    """
    if kept.is_file():
        return read_presentations(kept)
    try:
        archives = read_archives(cfg, track)
    except RecipeError as error:
        raise RecipeError(
            f"{kept}: no such file; run prepare_data.py first, with the same config. (Where the "
            f"similarities are from elsewhere, the release will do: {error})"
        ) from None
    if faults := [problem for archive in archives.values() for problem in archive.problems]:
        logger.warning("The release's metadata, without what is faulty:\n%s", in_lines(faults))
    return {name: archive.presentations for name, archive in archives.items()}
