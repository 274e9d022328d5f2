"""The settings of a training, in the groups that belong together, by their published names."""

from dataclasses import dataclass
from typing import Any, Literal

from sentencepiece import SentencePieceProcessor

from intelligibility.runs import RecipeError


@dataclass(frozen=True)
class Tables:
    """What is trained, validated and tested on."""

    data_folder: str  # where a table lies that is named without a folder
    # The tables.
    train_csv: str | list[str]
    valid_csv: str | list[str]
    test_csv: str | list[str]
    sample_rate: int  # Hz, of all wavs

    def __post_init__(self):
        for key in ("train_csv", "valid_csv", "test_csv"):
            names = getattr(self, key)
            names = names if isinstance(names, list) else [names]
            if not names or not all(isinstance(name, str) for name in names):
                raise RecipeError(f"{key}={getattr(self, key)}: expected a table or a list of them")


@dataclass(frozen=True)
class Vocabulary:
    """The tokenizer, how many pieces it has, and those with a meaning of their own."""

    tokenizer: SentencePieceProcessor
    vocab_size: int
    bos_index: int
    eos_index: int
    unk_index: int


@dataclass(frozen=True)
class Start:
    """What training starts from: see the head of transformer_cpc1.yaml."""

    pretrained: str | None
    pretrained_revision: str
    pretrained_lm_tokenizer_path: str | None
    pretrained_epoch: int
    pretrained_steps: int
    from_scratch: bool
    n_mels: int  # of the features whose statistics come with the start

    def __post_init__(self):
        for key in ("pretrained", "pretrained_lm_tokenizer_path"):
            if not isinstance(getattr(self, key), str | None):
                raise RecipeError(f"{key}={getattr(self, key)}: expected a hub id or a folder")


@dataclass(frozen=True)
class Batches:
    """How the training batches are drawn: `batch_size` signals, or as many of similar length."""

    batch_size: int
    gradient_accumulation: int
    sorting: Literal["random", "ascending", "descending"]
    dynamic_batching: bool
    max_batch_length: float  # s
    num_buckets: int
    seed: int
    train_dataloader_opts: dict[str, Any]
