"""The releases, read only: what they hold, as records, and what is wrong with them."""

from pathlib import Path

from omegaconf import DictConfig

from intelligibility.corpora import cpc1
from intelligibility.corpora.presentation import Archive, Presentation, read_presentations


def read_archives(cfg: DictConfig, track: str) -> dict[str, Archive]:
    """Read the metadata of the configured release, "train" and "test" (or what there is)."""
    return cpc1.read_archives(cfg, track)


def known_presentations(cfg: DictConfig, track: str, kept: Path) -> dict[str, list[Presentation]]:
    """Return the presentations that prepare_data.py kept; the release's where it did not run.

    The second is for similarities that were made elsewhere, by the published code for one.
    """
    if kept.is_file():
        return read_presentations(kept)
    archives = read_archives(cfg, track)
    return {name: archive.presentations for name, archive in archives.items()}
