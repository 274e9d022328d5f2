"""The controls of one spectrogram, or one layer from embedding to words, made in one process.

A folder is whole or absent; judges hear what it holds afterwards. That of a layer holds

    inverter.json inverter.pt            the trained inverter
    embeddings/{ref,msbg}/<ear>.npy      the layer's embeddings of the scored signals
    reconstruction/{ref,msbg}/<ear>.wav  the speech reconstructed from these two alone
    untrained/, shuffled/                wavs of the floors, for some of the signals
    signals.json                         these wavs, with the losses
    layer.json                           what it was made by
    heard.json                           the usual judge's transcripts, signal by signal
    judges/<name>/heard.json             those of another
"""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
import torch
from torch import Tensor

from intelligibility.ears import ASR_RATE
from intelligibility.runs import atomic_folder, atomic_path, pick_device, read_json, write_json
from intelligibility.words import word_errors
from reconstruction.configured import (
    OWN_JUDGE,
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
    in_progress,
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
    config: str  # the resolved configuration, as JSON, by which the network is loaded
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
    layer: Layer
    controls: ControlsJob  # finished; the layer has the same signals and settings
    embedded: Path  # what `embed_signals` wrote for it; removed at the end

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


@dataclass(frozen=True)
class HearingJob:
    """Everything that a process needs to have a judge hear the wavs of one folder."""

    folder: Path  # of a layer or of controls, finished
    judge: str  # as in `ReconstructionFolder`
    made_by: dict[str, Any]  # everything that determines what it hears, apart from the wavs
    config: str  # the resolved configuration, as JSON, by which the judge is loaded
    level: float  # dB re full scale, at which it hears all signals

    @property
    def record(self) -> Path:
        """The file of the transcripts."""
        return LayerFolder(self.folder).heard(self.judge)


def is_done(record: Path, made_by: Mapping[str, Any]) -> bool:
    """Tell whether a record is there and was made by the same things."""
    expected = json.loads(json.dumps(made_by))  # as the record's file gives it back
    return record.is_file() and read_json(record, dict).get("made_by") == expected


def make_controls(job: ControlsJob) -> None:
    """Write a folder of controls: original, copy and band mean."""
    torch.set_num_threads(1)
    settings, mel = job.settings, LogMel(job.settings.mel)
    vocoder = mel if settings.vocoder == "griffinlim" else NeuralVocoder(settings.vocoder)
    means = {}  # log-mel (bands,) of each condition: every training signal counts the same
    for condition in CONDITIONS:
        spectra = [target_mel(ear, condition, mel, "input").mean(0) for ear in job.training]
        means[condition] = torch.stack(spectra).mean(0)
    with atomic_folder(job.folder) as part:
        files = LayerFolder(part)
        signals: dict[str, list[Transcript]] = {kind: [] for kind in CONTROLS}
        ears = list(product(CONDITIONS, job.scored))
        for condition, ear in in_progress(ears, "controls made"):
            speech = at_level(read_speech(ear.wavs[condition]))
            log_mel = mel(speech)
            flat = means[condition].expand_as(log_mel)
            mean_l1 = float((log_mel - flat).abs().mean())
            copy, bandmean = (
                vocoder.to_wav(one, len(speech), settings.n_iter) for one in (log_mel, flat)
            )
            for kind, sound in zip(CONTROLS, (speech, copy, bandmean), strict=True):
                write_wav(files.wav(kind, condition, ear.name), sound)
                losses = (mean_l1, mean_l1) if kind == "bandmean" else (None, None)
                signals[kind].append(unheard(ear, condition, *losses))
        write_json(files.signals, plain(signals))
        record = {"made_by": job.made_by, "means": {c: mean.tolist() for c, mean in means.items()}}
        write_json(files.controls_record, record)


def hear(job: HearingJob) -> None:
    """Have a judge write down what it hears in the wavs of one folder.

    It is refused after the first clean originals, if it does not understand them.
    """
    torch.set_num_threads(1)
    judge, files = judge_of_process(job.config, job.level), LayerFolder(job.folder)
    name = json.loads(job.config).get("judge", OWN_JUDGE)
    signals = transcripts_of(read_json(files.signals, dict))
    n_tried = min(N_TRIED, len(signals.get("original", ())) // len(CONDITIONS))
    heard: dict[str, list[Transcript]] = {kind: [] for kind in signals}
    every = [(kind, one) for kind, some in signals.items() for one in some]
    for kind, one in in_progress(every, "signals judged"):
        text = judge.hear(read_speech(files.wav(kind, one.condition, one.name)))
        text, prompt = map(judge.as_scored, (text, one.prompt))
        errors, n_words = word_errors(text, prompt)
        found = {"text": text, "prompt": prompt, "errors": errors, "n_words": n_words}
        heard[kind].append(replace(one, **found))
        if kind == "original" and len(heard[kind]) == n_tried:  # clean ones
            check_judge(heard[kind], name)
    write_json(job.record, {"made_by": job.made_by, "heard": plain(heard)})


def plain(transcripts: dict[str, list[Transcript]]) -> dict[str, Any]:
    """Return transcripts by kind as plain values."""
    return {kind: [asdict(one) for one in some] for kind, some in transcripts.items()}


def transcripts_of(content: dict[str, Any]) -> dict[str, list[Transcript]]:
    """Return transcripts by kind from what `plain` made of them."""
    return {kind: [Transcript(**one) for one in some] for kind, some in content.items()}


def read_heard(folder: Path, judge: str = "") -> dict[str, list[Transcript]]:
    """Read what a judge, named as in `ReconstructionFolder`, heard of controls or of a layer."""
    return transcripts_of(read_json(LayerFolder(folder).heard(judge), dict)["heard"])


def invert_layer(job: LayerJob) -> None:
    """Train and invert one layer, embedded before; its folder is whole or absent."""
    torch.set_num_threads(1)
    scored, embedded = job.controls.scored, LayerFolder(job.embedded)
    device = pick_device(json.loads(job.controls.config)["device"])
    with atomic_folder(job.folder) as part:
        files = LayerFolder(part)
        pairs = training_pairs(job, files, embedded)
        inverter = fresh_inverter(job, pairs)
        losses = fit_inverter(pairs, inverter, job.settings.fit, device)
        inverter.save(part)
        for ear, condition in product(scored, CONDITIONS):
            embedding = np.load(embedded.training_array(condition, ear.name, "layer"))
            save_array(files.embedding(condition, ear.name), embedding)

        # From here on, speech is made of the inverter and the embeddings alone.
        inverter = Inverter.load(part)
        signals = {"reconstruction": reconstruct(job, files, "reconstruction", inverter, scored)}
        n_floors = job.settings.n_floors
        few = scored[:: max(1, len(scored) // n_floors)][:n_floors]
        for floor, other in floor_inverters(job, pairs, device):
            signals[floor] = reconstruct(job, files, floor, other, few)
        shutil.rmtree(files.training)
        write_json(files.signals, plain(signals))
        about = {"params": n_parameters(inverter), **losses, "layer": asdict(job.layer)}
        write_json(files.record, {"made_by": job.made_by, **about})
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
    return mel(at_level(read_speech(wav)))


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
) -> list[Transcript]:
    """Make speech of stored embeddings, and write it below `kind`."""
    target = job.settings.target
    means = read_json(job.controls.record, dict)["means"]
    signals = []
    for ear, condition in in_progress(list(product(ears, CONDITIONS)), f"{kind} made"):
        embedding = np.load(files.embedding(condition, ear.name))
        speech = torch.from_numpy(inverter.invert(embedding))
        write_wav(files.wav(kind, condition, ear.name), speech)
        wanted = target_mel(ear, condition, inverter.mel, target)
        found = inverter.log_mel(embedding)
        frames = min(len(wanted), len(found))
        mean = torch.tensor(means[condition if target == "input" else "ref"])
        guesses = (found[:frames], mean)
        losses = [float((wanted[:frames] - guess).abs().mean()) for guess in guesses]
        signals.append(unheard(ear, condition, *losses))
    return signals


def unheard(
    ear: EarSignals, condition: str, mel_l1: float | None, mean_l1: float | None
) -> Transcript:
    """Return the record of a signal that no judge has heard."""
    about = ear.name, condition, ear.listener, ear.severity, ear.prompt
    return Transcript(*about, mel_l1=mel_l1, mean_l1=mean_l1)


def write_wav(path: Path, speech: Tensor) -> None:
    """Write speech as float32, which no peak can clip."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, speech.numpy(), ASR_RATE, subtype="FLOAT")


def save_array(path: Path, values: np.ndarray) -> None:
    """Write an array, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.ascontiguousarray(values))
