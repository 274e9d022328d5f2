"""The training, validation and test sets: checked rows of the tables, and how batches are drawn."""

import hashlib
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import soundfile
import speechbrain as sb
import torch
from speechbrain.dataio.dataset import DynamicItemDataset
from speechbrain.dataio.sampler import DynamicBatchSampler

from intelligibility.experiment import read_table
from intelligibility.runs import RecipeError, listed, read_json, write_json

logger = logging.getLogger(__name__)

OUTPUTS = ["id", "sig", "wrd", "tokens_bos", "tokens_eos", "tokens"]


def read_tables(hparams: dict[str, Any], key: str) -> dict[str, list[dict[str, Any]]]:
    """Read the tables that a setting names; a name without a folder lies in `data_folder`.

    Returns
    -------
    dict
        The rows of each table under its name, such as left_dev_msbg.

    Raises
    ------
    RecipeError
        No such table, or one without rows.
    """
    names = hparams[key] if isinstance(hparams[key], list) else [hparams[key]]
    tables = {}
    for name in names:
        # A reference such as <data_folder>/x.csv has its folder already, which may be relative.
        path = Path(name) if Path(name).name != name else Path(hparams["data_folder"]) / name
        tables[path.stem] = read_table(path)
        if not tables[path.stem]:
            raise RecipeError(f"{path}: no rows; training needs signals in every table of {key}")
    return tables


def one_row_per_wav(tables: Iterable[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Join tables; a reference that serves many signals is listed once. IDs stay unique."""
    rows = {row["wav"]: row for table in tables for row in table}
    return [row | {"ID": "/".join(row["wav"].with_suffix("").parts[-2:])} for row in rows.values()]


def check_rows(rows: Iterable[dict[str, Any]], hparams: dict[str, Any]) -> None:
    """Name every signal that could not be trained on, before the first step.

    Raises
    ------
    RecipeError
        A wav is missing, empty, or not mono at `sample_rate`; a prompt is empty or has a token
        outside the vocabulary.
    """
    faults = []
    for row in rows:
        if fault := _wav_fault(row["wav"], hparams["sample_rate"]) or _prompt_fault(
            row["wrd"], hparams
        ):
            faults.append(f"{row['ID']}: {fault}")
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


def _prompt_fault(prompt: str, hparams: dict[str, Any]) -> str | None:
    tokens = hparams["tokenizer"].encode_as_ids(prompt)
    if not tokens:
        return "the prompt is empty; correct wrd in the table"
    if hparams["unk_index"] in tokens:
        return f"the prompt {prompt!r} has a token outside the vocabulary of tokenizer.ckpt"
    return None


def record_data(
    hparams: dict[str, Any], names: Iterable[str], rows: list[dict[str, Any]], goes_on: bool
) -> None:
    """Write what is trained on to trained_on.json; warn when it was something else before.

    Parameters
    ----------
    hparams : dict
        The settings.
    names : iterable of str
        The training tables.
    rows : list of dict
        Their checked rows.
    goes_on : bool
        Whether the latest checkpoint was trained here. Its record is kept, or it has none.
    """
    path = Path(hparams["output_folder"]) / "trained_on.json"
    now = {"tables": list(names), "signals": len(rows), "sha256": data_sha256(rows)}
    if not goes_on:
        write_json(path, now)
    elif path.is_file() and (then := read_json(path, dict)) != now:
        logger.warning(
            "%s was trained on other data: %s, now %s; delete %s to train anew",
            hparams["save_folder"],
            *(f"{data.get('signals')} signals of {data.get('tables')}" for data in (then, now)),
            path.parent,
        )


def data_sha256(rows: Iterable[dict[str, Any]]) -> str:
    """Return one hash of the signals' IDs, prompts, sizes, and 4 KiB from the middle of each wav.

    Another model of the ear keeps every length, so sizes alone would not tell; the whole of CPC1's
    training set is gigabytes.
    """
    digest = hashlib.sha256()
    for row in sorted(rows, key=lambda row: row["ID"]):
        size = row["wav"].stat().st_size
        digest.update(repr((row["ID"], row["wrd"], size)).encode())
        with row["wav"].open("rb") as stream:
            stream.seek(size // 2)
            digest.update(stream.read(4096))
    return digest.hexdigest()


def make_dataset(rows: Iterable[dict[str, Any]], hparams: dict[str, Any]) -> DynamicItemDataset:
    """Turn rows into a SpeechBrain dataset of waveforms (n_samples,) and token sequences."""
    tokenizer = hparams["tokenizer"]

    @sb.utils.data_pipeline.takes("wav")
    @sb.utils.data_pipeline.provides("sig")
    def audio_pipeline(wav):
        return torch.from_numpy(soundfile.read(wav, dtype="float32")[0])

    @sb.utils.data_pipeline.takes("wrd")
    @sb.utils.data_pipeline.provides("tokens_bos", "tokens_eos", "tokens")
    def text_pipeline(wrd):
        tokens = tokenizer.encode_as_ids(wrd)
        yield torch.LongTensor([hparams["bos_index"], *tokens])
        yield torch.LongTensor([*tokens, hparams["eos_index"]])
        yield torch.LongTensor(tokens)

    data = {row["ID"]: {key: row[key] for key in ("wav", "duration", "wrd")} for row in rows}
    return DynamicItemDataset(data, [audio_pipeline, text_pipeline], OUTPUTS)


def in_order(dataset: DynamicItemDataset, sorting: str) -> DynamicItemDataset:
    """Sort by duration, "ascending" or "descending"; "random" leaves the order to the sampler."""
    if sorting not in ("random", "ascending", "descending"):
        raise RecipeError(f"sorting={sorting}: expected random, ascending or descending")
    if sorting == "random":
        return dataset
    return dataset.filtered_sorted(sort_key="duration", reverse=sorting == "descending")


def train_loader_options(dataset: DynamicItemDataset, hparams: dict[str, Any]) -> dict[str, Any]:
    """Return the training loader's options: `batch_size` signals, or batches of similar length."""
    options = dict(hparams["train_dataloader_opts"])
    check_updates(len(dataset) / options["batch_size"], hparams)
    if not hparams["dynamic_batching"]:
        return options | {"shuffle": hparams["sorting"] == "random"}
    del options["batch_size"]
    sampler = DynamicBatchSampler(
        dataset,
        max_batch_length=hparams["max_batch_length"],
        num_buckets=hparams["num_buckets"],
        shuffle=hparams["sorting"] == "random",
        batch_ordering=hparams["sorting"],
        seed=hparams["seed"],
    )
    return options | {"batch_sampler": sampler}


def check_updates(batches: float, hparams: dict[str, Any]) -> None:
    """Refuse an epoch that is too short for a single update."""
    if batches < (accumulation := hparams["gradient_accumulation"]):
        raise RecipeError(
            f"an epoch has {batches:.1f} batches of batch_size={hparams['batch_size']}, and an "
            f"update takes gradient_accumulation={accumulation} of them: the recogniser would not "
            "learn; lower one of them"
        )
