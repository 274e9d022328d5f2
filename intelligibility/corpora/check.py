"""Check before work: everything that is wrong with a release, found from metadata and headers.

No audio is read. All faults are reported at once, grouped, with counts and examples; hours of work
start only when none is left, or without what is faulty when `skip_bad` says so.
"""

import itertools
import logging
import shutil
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import soundfile as sf
import torch
from omegaconf import DictConfig
from sentencepiece import SentencePieceProcessor

from intelligibility.corpora.cpc1 import (
    ASR_RATE,
    EARS,
    NO_SPEECH,
    Cpc1,
    Response,
    listed,
    parse_responses,
)
from intelligibility.runs import RecipeError, progress, read_json
from msbg import Listener
from msbg.audiogram import TRUSTED_DB_HL

logger = logging.getLogger(__name__)

RATES = (16000, 22050, 24000, 32000, 44100, 48000, 88200, 96000)  # Hz, a release may have
SPEECH_SECONDS = (0.05, 98)  # what the recogniser can take, with room for rounding
N_READERS = 16  # headers read at once: a shared disk answers many requests as fast as one


@dataclass(frozen=True)
class Source:
    """A stereo file of the release that two ear signals are made from.

    `listener` is None for a reference, which nobody's hearing loss touches. `frames` and `rate`
    (Hz) are what the header promises.
    """

    split: str
    kind: str
    name: str
    path: Path
    listener: Listener | None = None
    frames: int = 0
    rate: int = 0

    @property
    def key(self) -> str:
        """Return the name of the work in the journal."""
        return f"{self.split}/{self.kind}/{self.name}"

    @property
    def duration(self) -> float:
        """Return the duration in s."""
        return self.frames / self.rate


@dataclass
class Findings:
    """What is wrong, by kind of fault; and which signals cannot be used because of it."""

    groups: dict[str, list[str]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    blocking: bool = False

    def add(self, fault: str, where: object, signals: Iterable[str] = ()) -> None:
        """Note one fault and the signals that it makes unusable."""
        self.groups.setdefault(fault, []).append(str(where))
        for signal in signals:
            self.left_out.setdefault(signal, f"{fault}: {where}")

    def text(self) -> str:
        """Return a line per kind of fault, with its count and examples."""
        return "\n".join(
            f"  {len(places):5d} x {fault}: {listed(places, 3)}"
            for fault, places in self.groups.items()
        )


@dataclass
class CheckedRelease:
    """The usable part of a release, and what is wrong with the rest."""

    signals: dict[str, list[Response]]
    sources: list[Source]
    train_scenes: list[str]
    faults: Findings

    def leave_out(self, source: Source, fault: str) -> None:
        """Note that a file cannot be used after all, and with it the signals that need it."""
        users = [
            entry.signal
            for entry in self.signals[source.split]
            if source.name == (entry.signal if source.kind == "msbg" else entry.scene)
        ]
        self.faults.add(fault, source.path, users)


def check_release(cpc1: Cpc1) -> CheckedRelease:
    """Read the metadata and every header of one track.

    Raises
    ------
    RecipeError
        A folder or a whole metadata file is missing or damaged: nothing can be skipped then.
    """
    faults, signals, users = Findings(), {}, {}
    for split in ("train", "test"):
        listeners = _usable_listeners(cpc1, split, faults)
        signals[split] = _usable_entries(cpc1, split, listeners, faults)
        for signal in signals[split]:
            wav = cpc1.hearing_aid_wav(split, signal.signal)
            processed = Source(split, "msbg", signal.signal, wav, listeners[signal.listener])
            reference = Source(split, "ref", signal.scene, cpc1.reference_wav(split, signal.scene))
            users[processed] = [signal.signal]
            users.setdefault(reference, []).append(signal.signal)
    _warn_of_severe_losses({s.listener for s in users if s.listener is not None})
    sources = []
    with ThreadPoolExecutor(N_READERS) as readers:
        headers = readers.map(_read_header, users)
        for source, header in zip(users, progress(headers, "headers", len(users)), strict=True):
            if isinstance(header, str):
                faults.add(header, source.path, users[source])
            else:
                sources.append(replace(source, frames=header[0], rate=header[1]))
    for split, entries in signals.items():
        signals[split] = [entry for entry in entries if entry.signal not in faults.left_out]
    wanted = {(split, s.signal) for split, entries in signals.items() for s in entries}
    wanted |= {(split, s.scene) for split, entries in signals.items() for s in entries}
    sources = [source for source in sources if (source.split, source.name) in wanted]
    for split, entries in signals.items():
        if not entries:
            faults.add("no usable signal left", cpc1.metadata_file(split))
            faults.blocking = True
    # Drawn over all scenes that are listed, the split stays the same whatever is left out.
    scenes = sorted({entry.scene for entry in parse_responses(cpc1.metadata_file("train"))[0]})
    sources.sort(key=lambda source: source.key)
    return CheckedRelease(signals, sources, scenes, faults)


def _usable_listeners(cpc1: Cpc1, split: str, faults: Findings) -> dict[str, Listener]:
    path = cpc1.listeners_file(split)
    listeners = {}
    for name, entry in read_json(path, dict).items():
        try:
            listeners[name] = Listener.from_dict(entry)
        except ValueError as error:
            faults.add(f"audiogram in {path.name} not usable", f"{name}: {error}")
    return listeners


def _usable_entries(
    cpc1: Cpc1, split: str, listeners: dict[str, Listener], faults: Findings
) -> list[Response]:
    path = cpc1.metadata_file(split)
    entries, damaged = parse_responses(path)
    for fault in damaged:
        faults.add(f"damaged entry in {path.name}", fault)
    if not entries:
        raise RecipeError(f"{path}: lists no usable signal; restore the file from the release")
    copies = Counter(entry.signal for entry in entries)
    usable = []
    for entry in entries:
        if copies[entry.signal] > 1:
            faults.add(f"signal listed twice in {path.name}", entry.signal, [entry.signal])
        elif entry.listener not in listeners:
            faults.add(
                f"no audiogram in {cpc1.listeners_file(split).name}",
                f"listener {entry.listener} of {entry.signal}",
                [entry.signal],
            )
        elif not entry.prompt.strip():
            faults.add(f"empty prompt in {path.name}", entry.signal, [entry.signal])
        else:
            usable.append(entry)
    return usable


def _warn_of_severe_losses(listeners: set[Listener]) -> None:
    severe = sorted(
        {
            listener.id
            for listener in listeners
            for ear in (listener.audiogram_left, listener.audiogram_right)
            if ear.levels.max() > TRUSTED_DB_HL
        }
    )
    if severe:
        logger.warning(
            "%d listeners have losses above %g dB HL, where MSBG is unrealistically strong: %s",
            len(severe),
            TRUSTED_DB_HL,
            listed(severe, 30),
        )


def _read_header(source: Source) -> tuple[int, int] | str:
    """Return the frames and the rate that a header promises, or what is wrong with the file."""
    try:
        if source.path.stat().st_size == 0:
            return "empty file"
        header = sf.info(source.path, verbose=True)
    except FileNotFoundError:
        return "missing file"
    except (OSError, sf.SoundFileError):
        return "file that cannot be read as audio"
    if header.channels != 2:
        return f"{header.channels} channels where 2 are expected (left and right ear)"
    if header.samplerate not in RATES:
        return f"unexpected sample rate of {header.samplerate} Hz"
    if "should be" in header.extra_info:  # libsndfile's words for a chunk that the file cuts short
        return "truncated file"
    speech = header.frames / header.samplerate - NO_SPEECH
    if speech < SPEECH_SECONDS[0]:
        return f"file no longer than the {NO_SPEECH:g} s before the speech"
    if speech > SPEECH_SECONDS[1]:
        return f"file with more than {SPEECH_SECONDS[1]} s of speech"
    return header.frames, header.samplerate


def check_disk(cpc1: Cpc1, release: CheckedRelease) -> None:
    """Compare the free space with what the ear signals that are not there yet will take."""
    missing = [
        source
        for source in release.sources
        if not cpc1.ear_wav(source.split, source.kind, EARS[-1], source.name).is_file()
    ]
    seconds = sum(source.duration - NO_SPEECH for source in missing)
    needed = seconds * ASR_RATE * 4 * len(EARS) / 1e9  # float32
    folder = cpc1.data_folder
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free / 1e9
    logger.info("The ear signals to be made take %.2f GB of %.1f GB free", needed, free)
    if needed > free:
        release.faults.add("disk too full", f"{folder}: {needed:.2f} GB needed, {free:.2f} GB free")
        release.faults.blocking = True


def check_later_stages(cfg: DictConfig, cpc1: Cpc1, release: CheckedRelease) -> Findings:
    """Look for what train_asr.py, infer.py and evaluate.py will need."""
    needs = Findings()
    save = cpc1.asr_folder / "save"
    if any(save.glob("CKPT+*")):
        if cfg.check_only:  # reading weights takes its time
            _check_recogniser(cfg, cpc1, needs)
    elif cfg.pretrained:
        _check_pretrained(cfg.pretrained, release, needs)
    elif not cfg.from_scratch:
        needs.add("recogniser to start from", f"put a checkpoint in {save}, or set pretrained")
    if (save / "tokenizer.ckpt").is_file():
        _check_prompts(save / "tokenizer.ckpt", release)
    try:
        labelled = {r.signal for r in cpc1.responses("test") if r.correctness is not None}
    except RecipeError as error:
        needs.add("responses to the test signals", error)
        return needs
    for signal in release.signals["test"]:
        if signal.signal not in labelled:
            needs.add("response to a test signal, in path.test_responses", signal.signal)
    return needs


def _check_recogniser(cfg: DictConfig, cpc1: Cpc1, needs: Findings) -> None:
    # Here, since no other use of this module should wait for SpeechBrain.
    from intelligibility.recognisers.settings import load_settings
    from intelligibility.recognisers.speechbrain import Recogniser

    try:
        Recogniser.load(load_settings(cfg, cpc1), cpc1.asr_folder / "save", torch.device("cpu"))
    except RecipeError as error:
        needs.add("recogniser that fits the settings", error)


def _check_pretrained(pretrained: str, release: CheckedRelease, needs: Findings) -> None:
    folder = Path(pretrained).expanduser()
    if not folder.is_dir():
        if pretrained[0] in "/.~":
            needs.add("pretrained recogniser", f"{pretrained} is no folder")
        return  # a hub id: what it holds is known when it is fetched
    for name in ("asr.ckpt", "normalizer.ckpt", "tokenizer.ckpt"):
        if not (folder / name).is_file():
            needs.add("pretrained recogniser", f"{folder / name} is missing")
    if (folder / "tokenizer.ckpt").is_file():
        _check_prompts(folder / "tokenizer.ckpt", release)


def _check_prompts(tokenizer_file: Path, release: CheckedRelease) -> None:
    try:
        tokenizer = SentencePieceProcessor(model_file=str(tokenizer_file))
    except (RuntimeError, OSError):
        release.faults.add("tokenizer that cannot be read", tokenizer_file)
        return
    for signal in itertools.chain(*release.signals.values()):
        if tokenizer.unk_id() in tokenizer.encode(signal.prompt.upper()):
            release.faults.add(
                "prompt that the tokenizer cannot write",
                f"{signal.signal}: {signal.prompt}",
                [signal.signal],
            )
