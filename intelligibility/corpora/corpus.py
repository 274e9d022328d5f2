"""The record that each corpus' own module fills in, and that all other files read.

A new corpus is a module with such a record, an entry in the list of corpora in `__init__.py`, its
keys in config.yaml, and its page in the docs.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from omegaconf import DictConfig

from intelligibility.corpora.presentation import Archive, Presentation, Response

# {(measure, source): {track, set, "pooled" or kind of average: (RMSE, NCC, KT)}}; RMSE in percent
# words correct.
Published = Mapping[tuple[str, str], Mapping[str, tuple[float, float | None, float | None]]]

PAPER = "paper"  # Tu, Ma & Barker (2022); trained on LibriSpeech, Clarity speech and CPC1
PAPER_THIS_RECIPE = "paper, LS+CPC1"  # trained on LibriSpeech and CPC1, as this recipe does
CHALLENGE = "challenge"  # the challenge's own results


@dataclass(frozen=True)
class Corpus:
    """What the recipe has to know of one corpus."""

    name: str  # the value of `corpus=`; folders go by it
    # Takes the configuration and the track ("" or "_indep"), and returns "train" and "test", or the
    # one that is there, as archives of presentations.
    read: Callable[[DictConfig, str], dict[str, Archive]]
    # Takes the configuration, the track and the presentations of the test, and returns the test
    # responses in path.test_responses.
    late_responses: Callable[[DictConfig, str, list[Presentation]], list[Response]]
    # Below `path` of the configuration: the key that says where "train" lies, and "test".
    data_keys: Mapping[str, str]
    title: str = ""  # what reports call it; "": the name in capitals
    # Keys of the configuration, beside those below `path`, that `read` takes.
    keys: tuple[str, ...] = ()
    release: str = ""  # the outermost folder of its archives
    # The Zenodo record that get_data.py downloads; None where there is none.
    zenodo: int | None = None
    tracks: bool = False  # whether it has a closed and an open track
    # The names of its tests, where it has several; each is scored by itself.
    sets: tuple[str, ...] = ()
    # Whether each set has a training of its own, on which its mapping is fitted, so that the
    # predictions of all sets are pooled before they are scored.
    mapping_per_set: bool = False
    # How many signals the published numbers are of, per track or set.
    n_test_signals: Mapping[str, int] = field(default_factory=dict)
    # The numbers to compare with, of all test signals and of means over listeners and systems.
    published: Published = field(default_factory=dict)
    published_means: Published = field(default_factory=dict)
    # RMSE, NCC and KT of the decoder similarity by what the recogniser was trained on.
    published_trainings: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)

    @property
    def columns(self) -> str:
        """What the scores of several tests are told apart by in Table 1: "track" or "set"."""
        return "track" if self.tracks else "set"
