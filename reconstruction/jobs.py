"""The controls of one spectrogram, or one layer from embedding to words, made in one process.

A folder is whole or absent. That of a layer holds

    inverter.json inverter.pt            the trained inverter
    embeddings/{ref,msbg}/<ear>.npy      the layer's embeddings of the scored signals
    wav/{ref,msbg}/<ear>.wav             the speech reconstructed from these two alone
    untrained/, shuffled/                wavs of the floors, for some of the signals
    heard.json                           the judge's transcripts, signal by signal
    layer.json                           what it was made by, and the losses
"""

import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from multiprocessing import parent_process
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
import torch
from torch import Tensor

from intelligibility.ears import ASR_RATE
from intelligibility.runs import (
    atomic_folder,
    atomic_path,
    pick_device,
    progress,
    read_json,
    write_json,
)
from intelligibility.words import word_errors
from reconstruction.configured import (
    OWN_JUDGE,
    Judge,
    LayerSettings,
    NetworkChoice,
    check_judge,
    judge_of_process,
    network_of_process,
)
from reconstruction.fit import (
    TrainingPair,
    band_statistics,
    embedding_scale,
    fit_inverter,
    shuffled,
)
from reconstruction.inverters import Inverter, PatchInverter, Spec, n_parameters
from reconstruction.mel import LogMel, NeuralVocoder, at_level
from reconstruction.networks import Layer, Network
from reconstruction.places import LayerFolder
from reconstruction.scoring import Transcript
from reconstruction.utterances import CONDITIONS, EarSignals, read_speech

EMBEDDING_BYTES = 2  # per value to learn from: float16, in a folder that is removed afterwards
LARGEST = 6e4  # that float16 holds
CONTROLS = ("original", "copy", "bandmean")
N_TRIED = 20  # clean originals, after which a judge that does not understand them is refused


@dataclass(frozen=True)
class ControlsJob:
    """Everything that a process needs to make the controls of one kind of spectrogram."""

    folder: Path  # its final name
    made_by: dict[str, Any]  # everything that determines its content
    training: Sequence[EarSignals]  # what inverters learn from
    scored: Sequence[EarSignals]
    settings: LayerSettings  # sizes, spectrogram, vocoder
    config: str  # the resolved configuration, as JSON, by which network and judge are loaded
    level: float  # dB re full scale, at which the recogniser hears all signals

    @property
    def record(self) -> Path:
        """The file that says what the folder was made by."""
        return LayerFolder(self.folder).controls_record


@dataclass(frozen=True)
class LayerJob:
    """Everything that a process needs to invert one layer."""

    folder: Path  # its final name
    made_by: dict[str, Any]  # everything that determines its content
    choice: NetworkChoice
    layer: Layer
    controls: ControlsJob  # finished; the layer has the same signals and settings
    embedded: Path | None = None  # where its embeddings lie, if they are made with other layers'

    @property
    def settings(self) -> LayerSettings:
        """Sizes, spectrogram, vocoder."""
        return self.controls.settings

    @property
    def record(self) -> Path:
        """The file that says what the folder was made by."""
        return LayerFolder(self.folder).record


@dataclass(frozen=True)
class EmbeddingJob:
    """Everything that a process needs to embed signals at several layers of a network at once."""

    folders: dict[str, Path]  # by the layer's name, as `LayerFolder`; they may hold some already
    choice: NetworkChoice
    ears: Sequence[EarSignals]
    controls: ControlsJob


def is_done(record: Path, made_by: dict[str, Any]) -> bool:
    """Tell whether a record is there and was made by the same things."""
    plain = json.loads(json.dumps(made_by))  # as the record's file gives it back
    return record.is_file() and read_json(record, dict).get("made_by") == plain


def make_controls(job: ControlsJob) -> None:
    """Write a folder of controls: original, copy and band mean, with the judge's transcripts."""
    torch.set_num_threads(1)
    judge = judge_of_process(job.config, job.level)
    settings, mel = job.settings, LogMel(job.settings.mel)
    vocoder = mel if settings.vocoder == "griffinlim" else NeuralVocoder(settings.vocoder)
    name = json.loads(job.config).get("judge", OWN_JUDGE)
    means = {}  # log-mel (bands,) of each condition: every training signal counts the same
    for condition in CONDITIONS:
        spectra = [target_mel(ear, condition, mel, "input").mean(0) for ear in job.training]
        means[condition] = torch.stack(spectra).mean(0)
    with atomic_folder(job.folder) as part:
        files = LayerFolder(part)
        heard: dict[str, list[Transcript]] = {kind: [] for kind in CONTROLS}
        ears = list(product(CONDITIONS, job.scored))
        for condition, ear in in_progress(ears, "originals judged"):
            wav = files.wav("original", condition, ear.name)
            write_wav(wav, at_level(read_speech(ear.wavs[condition])))
            heard["original"].append(transcribe(judge, wav, ear, condition))
            if len(heard["original"]) == min(N_TRIED, len(job.scored)):  # clean ones
                check_judge(heard["original"], name)
        for condition, ear in in_progress(ears, "copies and band means judged"):
            speech = at_level(read_speech(ear.wavs[condition]))
            log_mel = mel(speech[None])
            flat = means[condition].expand_as(log_mel)
            mean_l1 = float((log_mel - flat).abs().mean())
            copy, bandmean = (
                vocoder.to_wav(one, len(speech), settings.n_iter)[0] for one in (log_mel, flat)
            )
            for kind, sound in (("copy", copy), ("bandmean", bandmean)):
                wav = write_wav(files.wav(kind, condition, ear.name), sound)
                losses = (mean_l1, mean_l1) if kind == "bandmean" else ()
                heard[kind].append(transcribe(judge, wav, ear, condition, *losses))
        write_heard(files, heard)
        record = {"made_by": job.made_by, "means": {c: mean.tolist() for c, mean in means.items()}}
        write_json(files.controls_record, record)


def in_progress(items: list[Any], what: str) -> Iterable[Any]:
    """Show progress by signal, where no other process's bar would be overwritten."""
    return items if parent_process() else progress(items, what, len(items), "signal", delay=10)


def write_heard(files: LayerFolder, heard: dict[str, list[Transcript]]) -> None:
    """Write heard.json of a folder of controls or of a layer."""
    write_json(files.heard, {kind: [asdict(one) for one in some] for kind, some in heard.items()})


def read_heard(folder: Path) -> dict[str, list[Transcript]]:
    """Read heard.json of a folder of controls or of a layer."""
    content = read_json(LayerFolder(folder).heard, dict)
    return {kind: [Transcript(**one) for one in some] for kind, some in content.items()}


def invert_layer(job: LayerJob) -> None:
    """Train, invert and judge one layer, embedded before or here; its folder is whole or absent."""
    torch.set_num_threads(1)
    config, level, scored = job.controls.config, job.controls.level, job.controls.scored
    judge = judge_of_process(config, level)
    device = pick_device(json.loads(config)["device"])
    with atomic_folder(job.folder) as part:
        files = LayerFolder(part)
        embedded = LayerFolder(job.embedded or part)
        ears = [*job.controls.training, *scored]
        embed_signals(EmbeddingJob({job.layer.name: embedded.path}, job.choice, ears, job.controls))
        pairs = training_pairs(job, files, embedded)
        inverter = fresh_inverter(job, pairs)
        losses = fit_inverter(pairs, inverter, job.settings.fit, device)
        inverter.save(part)
        for ear, condition in product(scored, CONDITIONS):
            embedding = np.load(embedded.training_array(condition, ear.name, "layer"))
            save_array(files.embedding(condition, ear.name), embedding)

        # From here on, speech is made of the inverter and the embeddings alone.
        inverter = Inverter.load(part)
        heard = {"reconstruction": reconstruct(job, files, "wav", inverter, scored, judge)}
        n_floors = job.settings.n_floors
        few = scored[:: max(1, len(scored) // n_floors)][:n_floors]
        for floor, other in floor_inverters(job, pairs, device):
            heard[floor] = reconstruct(job, files, floor, other, few, judge)
        shutil.rmtree(files.training)
        write_heard(files, heard)
        about = {"params": n_parameters(inverter), **losses, "layer": asdict(job.layer)}
        write_json(files.record, {"made_by": job.made_by, **about})
    if job.embedded:
        shutil.rmtree(job.embedded)


def embed_signals(job: EmbeddingJob) -> None:
    """Write the embeddings of signals at several layers; a signal that has them is not heard again.

    Those to learn from are float16, those to score float32, as the network gives them.
    """
    torch.set_num_threads(1)
    network: Network | None = None
    training = {ear.name for ear in job.controls.training}
    for ear, condition in in_progress(list(product(job.ears, CONDITIONS)), "signals embedded"):
        files = {
            layer: LayerFolder(folder).training_array(condition, ear.name, "layer")
            for layer, folder in job.folders.items()
        }
        if all(file.is_file() for file in files.values()):
            continue
        network = network or network_of_process(job.controls.config, job.choice, job.controls.level)
        found = network.embed(at_level(read_speech(ear.wavs[condition])))
        for layer, file in files.items():
            values = found[layer].numpy()
            if ear.name in training:
                values = values.clip(-LARGEST, LARGEST).astype(np.float16)
            with atomic_path(file) as part:
                save_array(part, values)


def training_pairs(job: LayerJob, files: LayerFolder, embedded: LayerFolder) -> list[TrainingPair]:
    """Return the training pairs of a layer: embedding, and log-mel of the target, written here."""
    mel, pairs = LogMel(job.settings.mel), []
    for ear, condition in product(job.controls.training, CONDITIONS):
        embedding = embedded.training_array(condition, ear.name, "layer")
        pair = TrainingPair(ear.scene, embedding, files.training_array(condition, ear.name, "mel"))
        save_array(pair.log_mel, target_mel(ear, condition, mel, job.settings.target).numpy())
        pairs.append(pair)
    return pairs


def target_mel(ear: EarSignals, condition: str, mel: LogMel, target: str) -> Tensor:
    """Return the log-mel spectrogram (frames, bands) that the inverter should give."""
    wav = ear.wavs[condition if target == "input" else "ref"]
    return mel(at_level(read_speech(wav))[None])[0]


def fresh_inverter(job: LayerJob, pairs: Sequence[TrainingPair]) -> Inverter:
    """Return an untrained inverter that knows the bands' statistics."""
    settings = job.settings
    torch.manual_seed(settings.fit.seed)
    spec = Spec(job.layer, settings.mel, settings.width, settings.divisor, settings.fit.paper)
    mean, deviation = band_statistics(pairs)
    sound = settings.vocoder, settings.n_iter, settings.fit.seed
    inverter = Inverter(spec, mean, deviation, *sound)
    if isinstance(inverter.body, PatchInverter):
        inverter.body.scale.fill_(embedding_scale(pairs))
    return inverter


def floor_inverters(
    job: LayerJob, pairs: Sequence[TrainingPair], device: torch.device
) -> Iterator[tuple[str, Inverter]]:
    """Give an inverter without training, and one trained on pairs of different utterances."""
    yield "untrained", fresh_inverter(job, pairs).eval()
    if not job.settings.floor_steps:
        return
    inverter = fresh_inverter(job, pairs)
    less = replace(job.settings.fit, steps=job.settings.floor_steps)
    fit_inverter(shuffled(pairs), inverter, less, device, apart=True)
    yield "shuffled", inverter


def reconstruct(
    job: LayerJob,
    files: LayerFolder,
    kind: str,
    inverter: Inverter,
    ears: Sequence[EarSignals],
    judge: Judge,
) -> list[Transcript]:
    """Make speech of stored embeddings, write it below `kind`, and have it transcribed."""
    target = job.settings.target
    means = read_json(job.controls.record, dict)["means"]
    heard = []
    for ear, condition in in_progress(list(product(ears, CONDITIONS)), f"{kind} judged"):
        embedding = np.load(files.embedding(condition, ear.name))
        speech = torch.from_numpy(inverter.invert(embedding))
        wav = write_wav(files.wav(kind, condition, ear.name), speech)
        wanted = target_mel(ear, condition, inverter.mel, target)
        found = inverter.log_mel(embedding)
        frames = min(len(wanted), len(found))
        mean = torch.tensor(means[condition if target == "input" else "ref"])
        guesses = (found[:frames], mean)
        losses = [float((wanted[:frames] - guess).abs().mean()) for guess in guesses]
        heard.append(transcribe(judge, wav, ear, condition, *losses))
    return heard


def transcribe(
    judge: Judge,
    wav: Path,
    ear: EarSignals,
    condition: str,
    mel_l1: float | None = None,
    mean_l1: float | None = None,
) -> Transcript:
    """Have a written wav transcribed, and count its wrong words."""
    text = judge.hear(read_speech(wav))
    errors, n_words = word_errors(text, ear.prompt)
    about = ear.name, condition, ear.listener, ear.severity, ear.prompt
    return Transcript(*about, text, errors, n_words, mel_l1, mean_l1)


def write_wav(path: Path, speech: Tensor) -> Path:
    """Write speech as float32, which no peak can clip; return the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, speech.numpy(), ASR_RATE, subtype="FLOAT")
    return path


def save_array(path: Path, values: np.ndarray) -> None:
    """Write an array, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.ascontiguousarray(values))
