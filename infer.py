"""Stage 3: compare what the recogniser makes of each processed signal and of its clean reference.

    python infer.py
    python infer.py cpc1_track=open
    python infer.py n_shards=8 shard=3    # one of eight parts; then without
    python infer.py recogniser=openai/whisper-small.en layers=all

Reads   exp_folder/cpc1_asr_data{track}/{left,right}_{dev,test}_{msbg,ref}.csv and their wavs
        exp_folder/presentations{track}.json         what they were made from
        asr_folder/save/CKPT+*, tokenizer.ckpt       the recogniser: the average of all checkpoints
        or `recogniser`, of the hub or a folder      one of transformers that others trained
Writes  exp_folder/{dev,test}_{enc,dec,pre}_similarity{track}.json   {signal: 0..1}
        exp_folder/{dev,test}_wcs_correctness{track}.json            the recogniser's own word score
        exp_folder/{dev,test}_layers_similarity{track}.json          with layers=all
        exp_folder/inference{track}.json                             how they were made
        exp_folder/inference{track}.jsonl                            what is done, and from what

With `recogniser` these lie in a folder of its own below exp_folder, and there may be
{dev,test}_prob_similarity{track}.json: the mean log-probability of the prompt's tokens, in the
processed signal less in the reference. Its decoder is led along the prompt (`dec_mode=generated`:
along its own words). What a recogniser does not have is not written: one without a decoder has no
dec, one without words no wcs and no prob.

A run that was stopped goes on where it was. What was made by another recogniser, with other
settings or from other wavs is made again. The two ear signals of a reference go through the
recogniser once, however many hearing aids and listeners share its scene. With a GPU one process
recognises many signals at once. Without, `n_jobs` processes of one thread, each with a recogniser
of its own (1.4 GB at full size), take one signal at a time: the numbers do not depend on n_jobs.
"""

import dataclasses
import logging
from collections import defaultdict
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import hydra
import soundfile as sf
import torch
from joblib import effective_n_jobs
from omegaconf import DictConfig

from intelligibility.command_line import provenance, reports_errors, resolved
from intelligibility.corpora.presentation import made_from_of, read_presentations
from intelligibility.ears import ASR_RATE
from intelligibility.experiment import EARS, KINDS, Experiment, is_trained_here, read_table
from intelligibility.journal import Journal, file_stamp
from intelligibility.measures import MEASURES
from intelligibility.parallel import in_processes
from intelligibility.recognisers import (
    load_recogniser,
    recogniser_made_by,
    recogniser_of_process,
)
from intelligibility.recognisers.recognition import Recogniser
from intelligibility.recognisers.trained_on import check_unseen
from intelligibility.runs import (
    RecipeError,
    listed,
    pick_device,
    progress,
    read_json,
    shard_of,
    shared_use,
    sole_run,
    write_json,
    write_result,
)
from intelligibility.similarity import DTW, similarities_of, similarities_of_layers
from intelligibility.words import words_of

logger = logging.getLogger(__name__)

READS = (
    *("n_jobs", "device", "shard", "n_shards", "asr_config", "asr_overrides"),
    *("decoder_states", "dtw", "hearing_loss"),
    *("recogniser", "recogniser_revision", "dec_mode", "layers"),
)
COMPARED = ("dev", "test")  # the splits that are measured


@dataclasses.dataclass(frozen=True)
class Pair:
    """The wavs of one processed signal and of its reference, each of the left and right ear."""

    split: str
    name: str
    processed: tuple[Path, Path]
    reference: tuple[Path, Path]
    prompt: str
    duration: float

    @property
    def key(self) -> str:
        """Return the pair's name in the journal."""
        return f"{self.split}/{self.name}"


@hydra.main(config_path=".", config_name="config", version_base="1.3")
@reports_errors(reads=READS)
def run(cfg: DictConfig) -> None:
    """Measure the dev and test signals of one track."""
    experiment = Experiment.from_config(cfg)
    device = pick_device(cfg.device)
    if cfg.dtw not in DTW:
        raise RecipeError(f"dtw={cfg.dtw}: expected {' or '.join(DTW)}")
    pairs = list_pairs(experiment, is_trained_here(cfg))
    if is_trained_here(cfg):
        refuse_trained_on(experiment, pairs)
    groups = group_by_reference(pairs)
    with (
        sole_run(experiment.results_folder, experiment.inference.stem, cfg.shard, cfg.n_shards),
        shared_use(experiment.data_folder, "prepare_data"),  # the wavs must not change meanwhile,
        nothing_is_trained(cfg, experiment),
    ):
        inference = describe_inference(cfg, experiment)
        durations = {group[0].key: total_duration(group) for group in groups}
        mine = set(shard_of(durations, cfg.shard, cfg.n_shards))
        part = [group for group in groups if group[0].key in mine]
        journal = measure_all(part, device, inference, experiment, cfg)
        if cfg.n_shards > 1:
            logger.info(
                "Shard %d of %d is done; run without shard to write the results",
                cfg.shard,
                cfg.n_shards,
            )
            return
        similarities = gather(experiment, pairs, journal)
        write_similarities(experiment, similarities, inference | {"provenance": provenance(cfg)})
    logger.info("Wrote the measures of %d signals to %s", len(pairs), experiment.results_folder)


def nothing_is_trained(cfg: DictConfig, experiment: Experiment) -> AbstractContextManager[None]:
    """Keep our own recogniser from changing meanwhile; those of others do not."""
    if not is_trained_here(cfg):
        return nullcontext()
    return shared_use(experiment.asr_folder, "train_asr")


def describe_inference(cfg: DictConfig, experiment: Experiment) -> dict[str, Any]:
    """Say all that decides the similarities: the recogniser, the comparison, the ear signals."""
    inference = recogniser_made_by(cfg, experiment)
    inference["settings"] |= {"dtw": cfg.dtw}
    if experiment.presentations.is_file():
        used = read_presentations(experiment.presentations)
        inference["ear_signals"] = {
            archive: made_from_of(presentations) for archive, presentations in used.items()
        }
    return inference


# What there is to measure


def refuse_trained_on(experiment: Experiment, pairs: list[Pair]) -> None:
    """Stop before signals are measured with a recogniser that has learnt their scenes by heart."""
    scene_of = {}
    if experiment.presentations.is_file():
        used = read_presentations(experiment.presentations)
        scene_of = {one.name: one.scene for archive in used.values() for one in archive}
    check_unseen(experiment.asr_folder, {pair.name: scene_of.get(pair.name) for pair in pairs})


def list_pairs(experiment: Experiment, with_prompts: bool = True) -> list[Pair]:
    """List the dev and test signals in the order of their tables.

    `with_prompts` says whether each needs a prompt.
    """
    pairs, faults = [], []
    for split in COMPARED:
        tables = {
            (kind, ear): {row["ID"]: row for row in read_table(experiment.table(ear, split, kind))}
            for kind in KINDS
            for ear in EARS
        }
        for name, row in tables["msbg", "left"].items():
            if lacking := [f"{k} {e}" for (k, e), table in tables.items() if name not in table]:
                raise RecipeError(
                    f"{name} is missing from the {split} table of {', '.join(lacking)} in "
                    f"{experiment.data_folder}; run prepare_data.py again"
                )
            wavs = {kind: tuple(tables[kind, ear][name]["wav"] for ear in EARS) for kind in KINDS}
            faults += [
                f"{wav} is missing" for ears in wavs.values() for wav in ears if not wav.is_file()
            ]
            if with_prompts and not words_of(row["wrd"]):
                faults.append(f"{name} has no word in its prompt")
            pairs.append(Pair(split, name, wavs["msbg"], wavs["ref"], row["wrd"], row["duration"]))
    if faults:
        raise RecipeError(
            f"{len(faults)} faults in the tables of {experiment.data_folder}: {listed(faults)}; "
            "run prepare_data.py again"
        )
    return pairs


def group_by_reference(pairs: list[Pair]) -> list[list[Pair]]:
    """Group the signals that share a reference, which is then needed for one group only.

    They share its prompt as well, unless the release is odd: a recogniser may be led along it.
    """
    groups: dict[tuple[tuple[Path, Path], str], list[Pair]] = defaultdict(list)
    for pair in pairs:
        groups[pair.reference, pair.prompt].append(pair)
    return list(groups.values())


def total_duration(group: list[Pair]) -> float:
    """Return the seconds that the recogniser hears, per ear: the signals and their reference."""
    return sum(pair.duration for pair in group) + group[0].duration


# Measuring


def measure_all(
    groups: list[list[Pair]],
    device: torch.device,
    inference: dict[str, Any],
    experiment: Experiment,
    cfg: DictConfig,
) -> Journal:
    """Measure the signals that are not in the journal yet, or were made from something else."""
    made_by = {
        pair.key: {
            "checkpoint_sha256": inference["checkpoint_sha256"],
            "settings": inference["settings"],
            "prompt": pair.prompt,
            "wavs": [file_stamp(wav) for wav in (*pair.processed, *pair.reference)],
        }
        for group in groups
        for pair in group
    }
    with Journal(experiment.inference_journal, cfg.shard, cfg.n_shards) as journal:
        todo = [
            [one for one in group if not is_done(journal.result(one.key, made_by[one.key]), cfg)]
            for group in groups
        ]
        todo = [rest for rest in todo if rest]
        n_todo = sum(map(len, todo))
        if journal.outdated:
            logger.warning("Measuring anew, since these changed: %s", dict(journal.outdated))
        logger.info("%d of %d signals are done already", len(made_by) - n_todo, len(made_by))
        measured = measure_on(device, todo, inference["checkpoint_sha256"], experiment, cfg)
        for pair, similarities in progress(measured, "recogniser", n_todo, unit="signal"):
            journal.add(pair.key, made_by[pair.key], similarities)
    return journal


def is_done(result: dict[str, Any] | None, cfg: DictConfig) -> bool:
    """Tell whether a signal's measures are there, and its layers where they are asked for."""
    return result is not None and (cfg.layers is None or "layers" in result)


def measure_on(
    device: torch.device,
    groups: list[list[Pair]],
    checkpoint_sha256: str,
    experiment: Experiment,
    cfg: DictConfig,
) -> Iterator[tuple[Pair, dict[str, float]]]:
    """Measure signals: on a GPU in this process, else a group at a time in several."""
    if device.type == "cpu":
        config = resolved(cfg)
        n_jobs = min(effective_n_jobs(cfg.n_jobs), max(1, len(groups)))
        calls = [(group, config, checkpoint_sha256, cfg.dtw) for group in groups]
        for measured in in_processes(measure_group, calls, n_jobs):
            yield from measured
    elif groups:
        yield from measure(groups, load_recogniser(cfg, experiment, device), cfg.dtw)


def measure_group(
    group: list[Pair], config: str, checkpoint_sha256: str, dtw: str
) -> list[tuple[Pair, dict[str, float]]]:
    """Measure the signals of one group in a process of their own."""
    return list(measure([group], recogniser_of_process(config, checkpoint_sha256), dtw))


def measure(
    groups: list[list[Pair]], recogniser: Recogniser, dtw: str
) -> Iterator[tuple[Pair, dict[str, Any]]]:
    """Measure signals, group by group: each reference goes through the recogniser once.

    Yields
    ------
    tuple of Pair and dict
        Its measures by their names, and its layers' similarities, where there are such, as
        "layers".
    """
    if not all(words_of(group[0].prompt) for group in groups):
        if len(groups) > 1:
            for group in groups:
                yield from measure([group], recogniser, dtw)
            return
        groups = [with_transcript(groups[0], recogniser)]
    wavs = [
        (wav, group[0].prompt)
        for group in groups
        for ears in (group[0].reference, *(pair.processed for pair in group))
        for wav in ears
    ]
    signals = (read_wav(wav, recogniser.lengths) for wav, _ in wavs)
    recognised = recogniser.recognise(signals, (prompt or None for _, prompt in wavs))
    for group in groups:
        reference = next(recognised), next(recognised)
        for pair in group:
            processed = next(recognised), next(recognised)
            result = similarities_of(
                processed, reference, pair.prompt, dtw, recogniser.word_correctness
            )
            if "encoder.0" in reference[0].layers:
                result["layers"] = similarities_of_layers(processed, reference, dtw)
            yield pair, result


def with_transcript(group: list[Pair], recogniser: Recogniser) -> list[Pair]:
    """Let a recogniser write down what was said, where no prompt says it: in the clean reference.

    One that has no words needs none.
    """
    reference = group[0].reference[0]
    text = next(recogniser.recognise([read_wav(reference, recogniser.lengths)])).text
    if text is not None and not words_of(text):
        raise RecipeError(
            f"{reference}: there is no prompt, and the recogniser understands no word of the clean "
            "reference; give prompts"
        )
    return [dataclasses.replace(pair, prompt=text or "") for pair in group]


def read_wav(path: Path, lengths: tuple[int, int]) -> torch.Tensor:
    """Read one ear signal: (n_samples,), float32, 16 kHz."""
    try:
        samples, rate = sf.read(path, dtype="float32")
    except (sf.SoundFileError, OSError) as error:
        raise RecipeError(f"{path}: {error}; run prepare_data.py again") from None
    signal = torch.from_numpy(samples)
    shortest, longest = lengths
    fits = signal.ndim == 1 and shortest <= len(signal) <= longest
    if not fits or rate != ASR_RATE or not signal.isfinite().all():
        raise RecipeError(
            f"{path}: {tuple(signal.shape)} samples at {rate} Hz, expected one channel of "
            f"{shortest} to {longest} finite samples at {ASR_RATE} Hz; run prepare_data.py again"
        )
    return signal


# The results


def gather(
    experiment: Experiment, pairs: list[Pair], journal: Journal
) -> dict[Path, dict[str, Any]]:
    """Return what each file of similarities has to hold, in the order of the tables.

    A measure that the recogniser does not have has no file.
    """
    results = {pair: journal.latest[pair.key]["result"] for pair in pairs}
    files: dict[Path, dict[str, Any]] = {}
    for split in COMPARED:
        ours = {pair.name: result for pair, result in results.items() if pair.split == split}
        for measure in MEASURES:
            if all(measure.name in result for result in results.values()):
                values = {name: result[measure.name] for name, result in ours.items()}
                files[experiment.measure_file(split, measure.name)] = values
        if results and all("layers" in result for result in results.values()):
            files[experiment.layers_file(split)] = {
                layer: {name: result["layers"][layer] for name, result in ours.items()}
                for layer in next(iter(results.values()))["layers"]
            }
    return files


def write_similarities(
    experiment: Experiment, similarities: dict[Path, dict[str, Any]], inference: dict[str, Any]
) -> None:
    """Write one json per split and measure, and last the record of how they were made.

    While files change there is no record: evaluate.py takes no mixture of two runs.
    """
    record = experiment.inference
    for path in files_of(experiment) - set(similarities):  # of another recogniser in this folder
        path.unlink(missing_ok=True)
    if any(not path.is_file() or read_json(path) != s for path, s in similarities.items()):
        record.unlink(missing_ok=True)
    for path, values in similarities.items():
        write_json(path, values)
    write_result(record, inference)


def files_of(experiment: Experiment) -> set[Path]:
    """Return every file of similarities that there can be."""
    measures = [measure.name for measure in MEASURES]
    files = {experiment.measure_file(split, name) for split in COMPARED for name in measures}
    return files | {experiment.layers_file(split) for split in COMPARED}


if __name__ == "__main__":
    run()
