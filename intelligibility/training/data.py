"""The training, validation and test sets: checked rows of the tables, and how batches are drawn."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import soundfile
import speechbrain as sb
import torch
from speechbrain.dataio.dataset import DynamicItemDataset
from speechbrain.dataio.sampler import DynamicBatchSampler

from intelligibility.experiment import read_table
from intelligibility.runs import RecipeError, listed
from intelligibility.training.settings import Batches, Tables, Vocabulary

OUTPUTS = ["id", "sig", "wrd", "tokens_bos", "tokens_eos", "tokens"]
Row = dict[str, Any]


def read_tables(tables: Tables, key: str) -> dict[str, list[Row]]:
    """Read the tables that a setting names; a name without a folder lies in `data_folder`.

    Returns the rows of each table, of which there are some, by its name, such as left_dev_msbg.
    """
    names = getattr(tables, key)
    found = {}
    for name in names if isinstance(names, list) else [names]:
        # A reference such as <data_folder>/x.csv has its folder already, which may be relative.
        path = Path(name) if Path(name).name != name else Path(tables.data_folder) / name
        found[path.stem] = read_table(path)
        if not found[path.stem]:
            raise RecipeError(f"{path}: no rows; training needs signals in every table of {key}")
    return found


def one_row_per_wav(tables: Iterable[list[Row]]) -> list[Row]:
    """Join tables; a reference that serves many signals is listed once. IDs stay unique."""
    rows = {row["wav"]: row for table in tables for row in table}
    return [row | {"ID": "/".join(row["wav"].with_suffix("").parts[-2:])} for row in rows.values()]


def check_rows(rows: Iterable[Row], sample_rate: int, vocabulary: Vocabulary) -> None:
    """Refuse signals that could not be trained on, before the first step.

    A wav is missing, empty, or not mono at `sample_rate` Hz; a prompt is empty or has a token
    outside the vocabulary.
    """
    faults = [
        f"{row['ID']}: {fault}"
        for row in rows
        if (fault := _wav_fault(row["wav"], sample_rate) or _prompt_fault(row["wrd"], vocabulary))
    ]
    if faults:
        raise RecipeError(f"{len(faults)} signals cannot be used: {listed(faults)}")


def _wav_fault(path: Path, sample_rate: int) -> str | None:
    try:
        info = soundfile.info(path)
    except (OSError, RuntimeError):
        return f"{path} is missing or no sound file; run prepare_data.py again"
    if (info.samplerate, info.channels) != (sample_rate, 1) or info.frames == 0:
        return (
            f"{path} has {info.channels} channels at {info.samplerate} Hz, {info.frames} samples; "
            f"expected one channel at {sample_rate} Hz"
        )
    return None


def _prompt_fault(prompt: str, vocabulary: Vocabulary) -> str | None:
    tokens = vocabulary.tokenizer.encode_as_ids(prompt)
    if not tokens:
        return "the prompt is empty; correct wrd in the table"
    if vocabulary.unk_index in tokens:
        return f"the prompt {prompt!r} has a token outside the vocabulary of tokenizer.ckpt"
    return None


def make_dataset(rows: Iterable[Row], vocabulary: Vocabulary) -> DynamicItemDataset:
    """Turn rows into a SpeechBrain dataset of waveforms (n_samples,) and token sequences."""

    @sb.utils.data_pipeline.takes("wav")
    @sb.utils.data_pipeline.provides("sig")
    def audio_pipeline(wav: Path) -> torch.Tensor:
        return torch.from_numpy(soundfile.read(wav, dtype="float32")[0])

    @sb.utils.data_pipeline.takes("wrd")
    @sb.utils.data_pipeline.provides("tokens_bos", "tokens_eos", "tokens")
    def text_pipeline(wrd: str) -> Iterator[torch.Tensor]:
        tokens = vocabulary.tokenizer.encode_as_ids(wrd)
        yield torch.LongTensor([vocabulary.bos_index, *tokens])
        yield torch.LongTensor([*tokens, vocabulary.eos_index])
        yield torch.LongTensor(tokens)

    data = {row["ID"]: {key: row[key] for key in ("wav", "duration", "wrd")} for row in rows}
    return DynamicItemDataset(data, [audio_pipeline, text_pipeline], OUTPUTS)


def in_order(dataset: DynamicItemDataset, sorting: str) -> DynamicItemDataset:
    """Sort by duration, "ascending" or "descending"; "random" leaves the order to the sampler."""
    if sorting == "random":
        return dataset
    return dataset.filtered_sorted(sort_key="duration", reverse=sorting == "descending")


def train_loader_options(dataset: DynamicItemDataset, batches: Batches) -> dict[str, Any]:
    """Return the training loader's options: `batch_size` signals, or batches of similar length."""
    options = dict(batches.train_dataloader_opts)
    n_batches = len(dataset) / options["batch_size"]
    if n_batches < batches.gradient_accumulation:
        raise RecipeError(
            f"an epoch has {n_batches:.1f} batches of batch_size={batches.batch_size}, and an "
            f"update takes gradient_accumulation={batches.gradient_accumulation} of them: the "
            "recogniser would not learn; lower one of them"
        )
    if not batches.dynamic_batching:
        return options | {"shuffle": batches.sorting == "random"}
    del options["batch_size"]
    sampler = DynamicBatchSampler(
        dataset,
        max_batch_length=batches.max_batch_length,
        num_buckets=batches.num_buckets,
        shuffle=batches.sorting == "random",
        batch_ordering=batches.sorting,
        seed=batches.seed,
    )
    return options | {"batch_sampler": sampler}
