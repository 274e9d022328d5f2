"""Stage 3: compare what the recogniser makes of each processed signal and of its clean reference.

    python infer.py
    python infer.py cpc1_track=open n_shards=8 shard=3    # one of eight parts; then without
    python infer.py recogniser=openai/whisper-small.en

Reads   exp_folder/{corpus}_asr_data{track}/{left,right}_{dev,test}_{msbg,ref}.csv and their wavs
        exp_folder/presentations{track}.json         what they were made from
        asr_folder/save/CKPT+*, tokenizer.ckpt       the recogniser: the average of all checkpoints
        or `recogniser`, of the hub or a folder      one of transformers that others trained
Writes  exp_folder/{dev,test}_{enc,dec,pre}_similarity{track}.json   {signal: 0..1}
        exp_folder/{dev,test}_wcs_correctness{track}.json            the recogniser's own word score
        exp_folder/{dev,test}_layers_similarity{track}.json          hub, or layers=all
        exp_folder/inference{track}.json                             how they were made
        exp_folder/inference{track}.jsonl                            what is done, and from what

With `recogniser` these lie in a folder of its own below exp_folder, with {dev,test}_prob_similarity
{track}.json, the mean log-probability of the prompt's tokens in the processed signal less that in
the reference. Its decoder follows the prompt (dec_mode). What it cannot give has no file.

A run that was stopped continues, and signals measured with other settings, another recogniser or
other wavs are measured again. With a GPU one process recognises many signals at once; without one,
`n_jobs` processes of one thread (1.4 GB at full size) take one at a time, with the same numbers.
"""

import logging
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby, product
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig

from intelligibility.command_line import provenance, reports_errors, resolved
from intelligibility.corpora.presentation import Presentation, made_from_of, read_presentations
from intelligibility.ears import read_speech
from intelligibility.experiment import EARS, KINDS, Experiment, is_trained_here, read_table
from intelligibility.measures import MEASURES
from intelligibility.recognisers import (
    check_fit,
    every_layer,
    recogniser_made_by,
    recogniser_of_process,
)
from intelligibility.recognisers.recognition import Recogniser
from intelligibility.recognisers.trained_on import check_unseen
from intelligibility.runs import (
    RecipeError,
    listed,
    pick_device,
    read_json,
    shared_use,
    sole_run,
    write_json,
    write_result,
)
from intelligibility.similarity import COMPARISON, DTW, similarities_of, similarities_of_layers
from intelligibility.words import known_words, mean_of_known_words, words_of
from intelligibility.work import Piece, Result, Stamp, Work

logger = logging.getLogger(__name__)

READS = (
    *("n_jobs", "device", "shard", "n_shards", "asr_config", "asr_overrides"),
    *("decoder_states", "dtw", "hearing_loss"),
    *("run", "recogniser", "recogniser_revision", "dec_mode", "window", "layers"),
)
COMPARED = ("dev", "test")  # the splits that are measured
CHECKED = 20  # references whose words are asked for, to see whether they are understood


@dataclass(frozen=True)
class Pair:
    """The wavs of one processed signal and of its reference, each of the left and right ear."""

    split: str
    name: str
    processed: tuple[Path, Path]
    reference: tuple[Path, Path]
    prompt: str
    duration: float
    checked: bool  # whether the reference's words are asked for

    @property
    def key(self) -> str:
        """Return the pair's name in the journal."""
        return f"{self.split}/{self.name}"


@hydra.main(config_path=".", config_name="config", version_base="1.3")
@reports_errors(reads=READS)
def run(cfg: DictConfig) -> None:
    """Measure the dev and test signals of one track."""
    experiment = Experiment.from_config(cfg)
    on_cpu = pick_device(cfg.device).type == "cpu"
    if cfg.dtw not in DTW:
        raise RecipeError(f"dtw={cfg.dtw}: expected {' or '.join(DTW)}")
    pairs = list_pairs(experiment, with_prompts=is_trained_here(cfg))
    check_fit(cfg, experiment, {pair.key: (pair.duration, pair.prompt) for pair in pairs})
    recorded = experiment.presentations.is_file()
    used = read_presentations(experiment.presentations) if recorded else {}
    if is_trained_here(cfg):
        scenes = {one.name: one.scene for archive in used.values() for one in archive}
        check_unseen(experiment.asr_folder, {pair.name: scenes.get(pair.name) for pair in pairs})
    with (
        sole_run(experiment.results_folder, experiment.inference.stem, cfg.shard, cfg.n_shards),
        shared_use(experiment.data_folder, "prepare_data"),  # the wavs must not change meanwhile,
        shared_use(experiment.asr_folder, "train_asr") if is_trained_here(cfg) else nullcontext(),
    ):
        inference = inference_made_by(cfg, experiment, used)
        experiment.refuse_other_recogniser(inference)
        pieces = [
            # Signals that share a reference go together: it is recognised once for all of them.
            Piece(pair.key, pair, pair.duration, f"{pair.reference[0].stem} {pair.prompt}")
            for pair in pairs
        ]
        work = Work(
            *(experiment.inference_journal, pieces, partial(pair_made_by, inference)),
            *("signals", cfg.shard, cfg.n_shards),
            is_whole=lambda _, result: not every_layer(cfg) or "layers" in result,
        )
        recogniser = resolved(cfg), inference["checkpoint_sha256"]
        call = partial(measure, recogniser, cfg.dtw, every_layer(cfg))
        work.do_together(call, cfg.n_jobs, at_once=not on_cpu)
        if cfg.n_shards > 1:
            return
        inference |= mean_of_known_words(work.results.values())
        if loops := sum(bool(result.get("loops")) for result in work.results.values()):
            logger.warning("The recogniser repeated itself in %d signals, and was stopped", loops)
        similarities = similarity_files(experiment, pairs, work.results)
        write_similarities(experiment, similarities, inference | {"provenance": provenance(cfg)})
    logger.info("Wrote the measures of %d signals to %s", len(pairs), experiment.results_folder)


# From two signals to a similarity


def measure(
    recogniser_of: tuple[str, str], dtw: str, all_layers: bool, pairs: list[Pair]
) -> Iterator[Result]:
    """Measure signals; a reference is recognised once for all pairs in a row that share it.

    Yields
    ------
    dict
        Of each pair, its measures by their names; "loops", the ears in which the recognised words
        did not end; and, with `all_layers`, the similarities of all layers as "layers".
    """
    recogniser = recogniser_of_process(*recogniser_of)
    groups = [list(group) for _, group in groupby(pairs, lambda one: (one.reference, one.prompt))]
    if all(words_of(pair.prompt) for pair in pairs):
        yield from hear_and_compare(groups, recogniser, dtw, all_layers)
        return
    for group in groups:
        prompt = group[0].prompt if words_of(group[0].prompt) else transcript(group[0], recogniser)
        with_prompt = [replace(pair, prompt=prompt) for pair in group]
        yield from hear_and_compare([with_prompt], recogniser, dtw, all_layers)


def hear_and_compare(
    groups: list[list[Pair]], recogniser: Recogniser, dtw: str, all_layers: bool
) -> Iterator[Result]:
    """Let the recogniser hear both ears of each reference and of its signals, and compare."""
    utterances = [
        (wav, group[0].prompt or None, group[0].checked or ears != group[0].reference)
        for group in groups
        for ears in (group[0].reference, *(pair.processed for pair in group))
        for wav in ears
    ]
    wavs, texts, words = zip(*utterances, strict=True)
    signals = (read_speech(wav, recogniser.lengths) for wav in wavs)
    recognised, marked = recogniser.recognise(signals, texts, words), recogniser.marked_words
    for group in groups:
        reference = next(recognised), next(recognised)
        known = known_words([ear.text for ear in reference], group[0].prompt, marked)
        for pair in group:
            processed = next(recognised), next(recognised)
            result: Result = similarities_of(processed, reference, pair.prompt, dtw, marked)
            result["loops"] = sum(not ear.ended for ear in processed)
            if all_layers:
                result["layers"] = similarities_of_layers(processed, reference, dtw)
            yield result | known


def transcript(pair: Pair, recogniser: Recogniser) -> str:
    """Return what a recogniser understands of a clean reference whose prompt is not known."""
    reference = pair.reference[0]
    text = next(recogniser.recognise([read_speech(reference, recogniser.lengths)])).text
    if text is not None and not words_of(text):
        raise RecipeError(f"{reference}: neither a prompt nor an understood word; give prompts")
    return text or ""  # one without words needs no prompt


# What determines a similarity


def inference_made_by(
    cfg: DictConfig, experiment: Experiment, used: dict[str, list[Presentation]]
) -> dict[str, Any]:
    """Return everything that determines the similarities: recogniser, comparison, ear signals."""
    inference = recogniser_made_by(cfg, experiment)
    inference["settings"] |= {"dtw": cfg.dtw}
    inference["measures"] = {one.name: [one.layer, one.clock] for one in MEASURES}
    inference["comparison"] = COMPARISON
    if used:
        inference["ear_signals"] = {archive: made_from_of(ones) for archive, ones in used.items()}
    return inference


def pair_made_by(inference: dict[str, Any], pair: Pair, stamp: Stamp) -> dict[str, Any]:
    """Return everything that determines the similarities of one signal."""
    of_all = ("checkpoint_sha256", "settings", "measures", "comparison")
    return {name: inference[name] for name in of_all} | {
        "prompt": pair.prompt,
        "wavs": [stamp(wav) for wav in (*pair.processed, *pair.reference)],
    }


# What there is to measure


def list_pairs(experiment: Experiment, with_prompts: bool = True) -> list[Pair]:
    """List the dev and test signals in the order of their tables; each may need a prompt."""
    pairs: list[Pair] = []
    faults: list[str] = []
    references: dict[tuple[Path, Path], bool] = {}  # with a prompt; whether checked
    for split in COMPARED:
        tables = {
            (kind, ear): {row["ID"]: row for row in read_table(experiment.table(ear, split, kind))}
            for kind, ear in product(KINDS, EARS)
        }
        for name, row in tables["msbg", "left"].items():
            wavs = {key: table[name]["wav"] for key, table in tables.items() if name in table}
            absent = sorted(" ".join(key) for key in tables.keys() - wavs.keys())
            faults += [f"{name} is missing from the {split} table of {table}" for table in absent]
            faults += [f"{wav} is missing" for wav in wavs.values() if not wav.is_file()]
            if with_prompts and not words_of(row["wrd"]):
                faults.append(f"{name} has no word in its prompt")
            if not faults:
                processed, reference = ((wavs[kind, "left"], wavs[kind, "right"]) for kind in KINDS)
                if words_of(prompt := row["wrd"]):
                    references.setdefault(reference, len(references) < CHECKED)
                checked = references.get(reference, False)
                signal = (split, name, processed, reference)
                pairs.append(Pair(*signal, prompt, row["duration"], checked))
    if faults:
        raise RecipeError(
            f"{len(faults)} faults in the tables of {experiment.data_folder}: {listed(faults)}; "
            "run prepare_data.py again"
        )
    return pairs


# The results


def similarity_files(
    experiment: Experiment, pairs: list[Pair], results: dict[str, Result]
) -> dict[Path, dict[str, Any]]:
    """Return what each file holds; a measure that the recogniser cannot give has none."""
    files: dict[Path, dict[str, Any]] = {}
    for split in COMPARED:
        found = {pair.name: results[pair.key] for pair in pairs if pair.split == split}
        for measure in MEASURES:
            if all(measure.name in result for result in results.values()):
                values = {name: result[measure.name] for name, result in found.items()}
                files[experiment.measure_file(split, measure.name)] = values
        if results and all("layers" in result for result in results.values()):
            files[experiment.layers_file(split)] = {
                layer: {name: result["layers"][layer] for name, result in found.items()}
                for layer in next(iter(results.values()))["layers"]
            }
    return files


def write_similarities(
    experiment: Experiment, similarities: dict[Path, dict[str, Any]], inference: dict[str, Any]
) -> None:
    """Write one json per split and measure, and last the record of how they were made.

    While files change there is no record, so that evaluate.py takes no mixture of two runs.
    """
    record = experiment.inference
    possible = {experiment.measure_file(split, one.name) for split in COMPARED for one in MEASURES}
    possible |= {experiment.layers_file(split) for split in COMPARED}
    for path in possible - set(similarities):  # of another recogniser in this folder
        path.unlink(missing_ok=True)
    if any(not path.is_file() or read_json(path) != s for path, s in similarities.items()):
        record.unlink(missing_ok=True)
    for path, values in similarities.items():
        write_json(path, values)
    write_result(record, inference)


if __name__ == "__main__":
    run()
