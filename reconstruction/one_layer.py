"""One layer from embedding to words: embed, train, invert, judge.

A layer's folder is whole or absent:

    inverter.json inverter.pt            the trained inverter
    embeddings/{ref,msbg}/<ear>.npy      what the layer made of the scored signals
    wav/{ref,msbg}/<ear>.wav             speech back, from these two alone
    untrained/, shuffled/                wavs of the floors, for some of the signals
    heard.json                           what the judge heard, signal by signal
    layer.json                           how it was made, and the losses
"""

import shutil
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
import torch
from torch import Tensor

from intelligibility.runs import read_json, write_json
from intelligibility.words import word_errors
from reconstruction.fit import (
    FitSettings,
    Pair,
    band_statistics,
    check_pairs,
    embedding_scale,
    fit_inverter,
    shuffled,
)
from reconstruction.inverters import Inverter, Spec, n_parameters
from reconstruction.judge import Judge
from reconstruction.mel import RATE, LogMel, NeuralVocoder, at_level
from reconstruction.networks import Layer, Network
from reconstruction.places import LayerFolder
from reconstruction.score import Heard, records
from reconstruction.utterances import CONDITIONS, Ear, read_speech

EMBEDDING_BYTES = 2  # per value to learn from: float16, in a folder that goes when it is learnt
LARGEST = 6e4  # that float16 holds


@dataclass(frozen=True)
class LayerSettings:
    """What decides a layer's numbers beside network, judge and signals.

    Attributes
    ----------
    fit : FitSettings
        The inverter's training.
    mel : str
        Preset of the spectrograms.
    width, divisor : int
        As in `Spec`.
    target : str
        "input": the spectrogram of what the layer heard; "ref": of the clean reference, which is
        enhancement.
    vocoder : str
        griffinlim, or a folder.
    n_iter : int
        Of Griffin-Lim.
    n_floors : int
        Ear signals on which the floors are scored.
    floor_steps : int
        Training steps of the shuffled floor.
    """

    fit: FitSettings
    mel: str
    width: int
    divisor: int
    target: str
    vocoder: str
    n_iter: int
    n_floors: int
    floor_steps: int


@dataclass(frozen=True)
class Controls:
    """What is heard without any layer, and each condition's mean spectrum.

    Attributes
    ----------
    original, copy, bandmean : list of Heard
        The signal itself; its log-mel spectrogram through the vocoder; the condition's band mean
        through the vocoder.
    means : dict of numpy.ndarray
        Mean log-mel per band of the training signals, by condition.
    """

    original: list[Heard]
    copy: list[Heard]
    bandmean: list[Heard]
    means: dict[str, np.ndarray]


class WholeFolder:
    """A folder that gets its name only when all of it is written; remnants are removed.

    Parameters
    ----------
    path : Path
        Its final name. What lay there is replaced.
    """

    def __init__(self, path: Path):
        self.path = path
        self.part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.part")

    def __enter__(self) -> Path:
        for left in self.path.parent.glob(f".{self.path.name}.*.part"):
            shutil.rmtree(left)
        self.part.mkdir(parents=True)
        return self.part

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        if kind is None:
            if self.path.exists():
                shutil.rmtree(self.path)
            self.part.rename(self.path)
        else:
            shutil.rmtree(self.part, ignore_errors=True)


def is_done(record: Path, made_by: dict[str, Any]) -> bool:
    """Say whether a record is of this work, made from the same things."""
    return record.is_file() and read_json(record, dict).get("made_by") == made_by


def make_controls(
    folder: Path,
    training: Sequence[Ear],
    scored: Sequence[Ear],
    settings: LayerSettings,
    judge: Judge,
    made_by: dict[str, Any],
) -> None:
    """Write a folder of controls: original, copy and band mean, with what the judge heard."""
    mel = LogMel(settings.mel)
    vocoder = mel if settings.vocoder == "griffinlim" else NeuralVocoder(settings.vocoder)
    means = {}
    for condition in CONDITIONS:
        spectra = [mel(speech[None])[0].mean(0) for _, speech in signals(training, [condition])]
        means[condition] = torch.stack(spectra).mean(0)
    with WholeFolder(folder) as part:
        files = LayerFolder(part)
        heard: dict[str, list[Heard]] = {"original": [], "copy": [], "bandmean": []}
        for condition in CONDITIONS:
            for ear, speech in signals(scored, [condition]):
                log_mel = mel(speech[None])
                flat = means[condition].expand_as(log_mel)
                mean_l1 = float((log_mel - flat).abs().mean())
                sounds = {
                    "original": (speech, None),
                    "copy": (vocoder.to_wav(log_mel, len(speech), settings.n_iter)[0], None),
                    "bandmean": (vocoder.to_wav(flat, len(speech), settings.n_iter)[0], mean_l1),
                }
                for kind, (sound, l1) in sounds.items():
                    wav = write_wav(files.wav(kind, condition, ear.name), sound)
                    heard[kind].append(listen(judge, wav, ear, condition, l1, l1 and mean_l1))
        write_json(files.heard, {kind: records(some) for kind, some in heard.items()})
        write_json(
            files.controls_record,
            {"made_by": made_by, "means": {c: mean.tolist() for c, mean in means.items()}},
        )


def read_controls(folder: Path) -> Controls:
    """Read what `make_controls` wrote."""
    heard = read_heard(folder)
    means = read_json(LayerFolder(folder).controls_record, dict)["means"]
    arrays = {condition: np.array(mean, dtype=np.float32) for condition, mean in means.items()}
    return Controls(heard["original"], heard["copy"], heard["bandmean"], arrays)


def read_heard(folder: Path) -> dict[str, list[Heard]]:
    """Read heard.json of a folder of controls or of a layer."""
    content = read_json(LayerFolder(folder).heard, dict)
    return {kind: [Heard(**one) for one in some] for kind, some in content.items()}


def do_layer(
    folder: Path,
    layer: Layer,
    network: Network,
    judge: Judge,
    training: Sequence[Ear],
    scored: Sequence[Ear],
    controls: Controls,
    settings: LayerSettings,
    made_by: dict[str, Any],
    device: torch.device,
) -> None:
    """Embed, train, invert and judge one layer; its folder appears when it is whole."""
    with WholeFolder(folder) as part:
        files = LayerFolder(part)
        pairs = embed_training(files, layer, network, training, settings)
        inverter = fresh_inverter(layer, settings, pairs)
        losses = fit_inverter(pairs, inverter, settings.fit, device)
        inverter.save(part)
        for ear, condition, embedding in embed(scored, layer, network):
            save_array(files.embedding(condition, ear.name), embedding)

        # From here on the inverter and the embeddings are all that speech is made of.
        inverter = Inverter.load(part)
        heard = {
            "reconstruction": sound_out(files, "wav", inverter, scored, controls, settings, judge)
        }
        few = scored[:: max(1, len(scored) // settings.n_floors)][: settings.n_floors]
        for floor, other in floor_inverters(layer, settings, pairs, device):
            heard[floor] = sound_out(files, floor, other, few, controls, settings, judge)
        shutil.rmtree(files.training)
        write_json(files.heard, {kind: records(some) for kind, some in heard.items()})
        about = {"params": n_parameters(inverter), **losses, "layer": asdict(layer)}
        write_json(files.record, {"made_by": made_by, **about})


def signals(ears: Iterable[Ear], conditions: Iterable[str]) -> Iterator[tuple[Ear, Tensor]]:
    """Read ear signals at `LEVEL`."""
    conditions = list(conditions)
    for ear in ears:
        for condition in conditions:
            yield ear, at_level(read_speech(ear.wavs[condition]))


def embed(
    ears: Iterable[Ear], layer: Layer, network: Network
) -> Iterator[tuple[Ear, str, np.ndarray]]:
    """Give every signal's embedding at a layer."""
    for ear in ears:
        for condition in CONDITIONS:
            speech = at_level(read_speech(ear.wavs[condition]))
            yield ear, condition, network.embed(speech, [layer.name])[layer.name].numpy()


def embed_training(
    files: LayerFolder,
    layer: Layer,
    network: Network,
    training: Sequence[Ear],
    settings: LayerSettings,
) -> list[Pair]:
    """Write the training pairs of a layer: embedding, and log-mel of the target."""
    mel, pairs = LogMel(settings.mel), []
    for ear, condition, embedding in embed(training, layer, network):
        halves = (files.training_array(condition, ear.name, what) for what in ("layer", "mel"))
        pair = Pair(ear.scene, *halves)
        save_array(pair.embedding, embedding.clip(-LARGEST, LARGEST).astype(np.float16))
        save_array(pair.log_mel, target_mel(ear, condition, mel, settings.target).numpy())
        pairs.append(pair)
    check_pairs(pairs)
    return pairs


def target_mel(ear: Ear, condition: str, mel: LogMel, target: str) -> Tensor:
    """Return the log-mel spectrogram (frames, bands) that the inverter should give."""
    wav = ear.wavs[condition if target == "input" else "ref"]
    return mel(at_level(read_speech(wav))[None])[0]


def fresh_inverter(layer: Layer, settings: LayerSettings, pairs: Sequence[Pair]) -> Inverter:
    """Return an untrained inverter that knows the bands' statistics."""
    torch.manual_seed(settings.fit.seed)
    spec = Spec(layer, settings.mel, settings.width, settings.divisor, settings.fit.paper)
    sound = {"vocoder": settings.vocoder, "n_iter": settings.n_iter, "seed": settings.fit.seed}
    inverter = Inverter(spec, *band_statistics(pairs), **sound)
    if layer.patches:
        inverter.body.scale.fill_(embedding_scale(pairs))
    return inverter


def floor_inverters(
    layer: Layer, settings: LayerSettings, pairs: Sequence[Pair], device: torch.device
) -> Iterator[tuple[str, Inverter]]:
    """Give an inverter without training, and one trained on pairs of different utterances."""
    yield "untrained", fresh_inverter(layer, settings, pairs).eval()
    if not settings.floor_steps:
        return
    inverter = fresh_inverter(layer, settings, pairs)
    less = replace(settings.fit, steps=settings.floor_steps)
    fit_inverter(shuffled(pairs), inverter, less, device, apart=True)
    yield "shuffled", inverter


def sound_out(
    files: LayerFolder,
    kind: str,
    inverter: Inverter,
    ears: Sequence[Ear],
    controls: Controls,
    settings: LayerSettings,
    judge: Judge,
) -> list[Heard]:
    """Make speech of stored embeddings, write it, and have it judged."""
    heard = []
    for ear in ears:
        for condition in CONDITIONS:
            embedding = np.load(files.embedding(condition, ear.name))
            wav = files.wav(kind, condition, ear.name)
            write_wav(wav, torch.from_numpy(inverter.invert(embedding)))
            wanted = target_mel(ear, condition, inverter.mel, settings.target)
            found = inverter.log_mel(embedding)
            frames = min(len(wanted), len(found))
            mean = torch.from_numpy(
                controls.means[condition if settings.target == "input" else "ref"]
            )
            losses = [
                float((wanted[:frames] - guess).abs().mean()) for guess in (found[:frames], mean)
            ]
            heard.append(listen(judge, wav, ear, condition, *losses))
    return heard


def listen(
    judge: Judge, wav: Path, ear: Ear, condition: str, mel_l1: float | None, mean_l1: float | None
) -> Heard:
    """Have a written wav transcribed, and count its wrong words."""
    (text,) = judge.transcribe([wav])
    errors, n_words = word_errors(text, ear.prompt)
    about = ear.name, condition, ear.listener, ear.severity, ear.prompt
    return Heard(*about, text, errors, n_words, mel_l1, mean_l1)


def write_wav(path: Path, speech: Tensor) -> Path:
    """Write speech as float32, which no peak can clip; return the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, speech.numpy(), RATE, subtype="FLOAT")
    return path


def save_array(path: Path, values: np.ndarray) -> None:
    """Write an array, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.ascontiguousarray(values))
