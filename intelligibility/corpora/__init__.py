"""The releases, read only: what they hold, as records, and what is wrong with them."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from intelligibility.corpora import cpc1, cpc2, cpc3, table
from intelligibility.corpora.corpus import Corpus
from intelligibility.corpora.presentation import (
    Archive,
    Presentation,
    Response,
    in_lines,
    read_presentations,
)
from intelligibility.runs import RecipeError

logger = logging.getLogger(__name__)

CORPORA = {one.name: one for one in (cpc1.CORPUS, cpc2.CORPUS, cpc3.CORPUS, table.CORPUS)}


def corpus_of(config: DictConfig | Mapping[str, Any]) -> Corpus:
    """Return the corpus of a configuration.

    One that was kept before there were several does not name its corpus, which is CPC1.

    An unknown one is refused.
    """
    name = config.get("corpus", cpc1.CORPUS.name)
    if name not in CORPORA:
        raise RecipeError(f"corpus={name}: expected {', '.join(CORPORA)}")
    return CORPORA[name]


def read_archives(cfg: DictConfig, track: str) -> dict[str, Archive]:
    """Read the metadata of the configured corpus, "train" and "test" (or what there is)."""
    return corpus_of(cfg).read(cfg, track)


def late_responses(cfg: DictConfig, track: str, test: list[Presentation]) -> list[Response]:
    """Read the test responses in path.test_responses, which were released separately."""
    return corpus_of(cfg).late_responses(cfg, track, test)


def known_presentations(cfg: DictConfig, track: str, kept: Path) -> dict[str, list[Presentation]]:
    """Return the presentations that prepare_data.py kept; the release's where it did not run.

    The second is for similarities that were made elsewhere, such as those of CPC1 by the published
    code.
    """
    if kept.is_file():
        return read_presentations(kept)
    try:
        archives = read_archives(cfg, track)
    except RecipeError as error:
        raise RecipeError(
            f"{kept}: no such file; run prepare_data.py first, with the same config. (Similarities "
            f"that were made elsewhere need the corpus instead: {error})"
        ) from None
    if faults := [problem for archive in archives.values() for problem in archive.problems]:
        logger.warning("The release's metadata, without what is faulty:\n%s", in_lines(faults))
    return {name: archive.presentations for name, archive in archives.items()}
