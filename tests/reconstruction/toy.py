"""A toy language of chords, a recogniser that knows it by construction, and a network of frames."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import soundfile as sf
import torch
from torch import Tensor

from reconstruction.fit import FitSettings
from reconstruction.jobs import LayerSettings
from reconstruction.mel import LogMel
from reconstruction.networks import Layer
from reconstruction.utterances import EarSignals

RATE = 16000
WORDS = ("ADA", "BED", "COB", "DOG", "EEL", "FIG")
SLOT = RATE // 4  # samples of a word
PARTIALS = [200 * 1.25**number * 2.0 ** np.arange(4) for number in range(len(WORDS))]  # Hz
CLEAR = 0.4  # share of the energy that a chord's partials have when it is understood


def say(words: Iterable[str]) -> np.ndarray:
    """Return a quarter of a second per word (n_samples,)."""
    t = np.arange(SLOT) / RATE
    chords = [np.sin(2 * np.pi * PARTIALS[WORDS.index(w)][:, None] * t).sum(0) for w in words]
    return np.concatenate([0.1 * chord * np.hanning(SLOT) for chord in chords])


class ToyRecogniser:
    """Hears the chord that most of a slot's energy belongs to, or nothing."""

    lengths = (320, 99 * RATE)

    def transcribe(self, signals: Iterable[Tensor]) -> Iterator[str]:
        """Yield the words of each signal."""
        for signal in signals:
            n_slots = round(len(signal) / SLOT)
            slots = np.resize(signal.numpy(), (max(1, n_slots), SLOT))
            heard = [word for word in map(self.word_of, slots) if word]
            yield " ".join(heard)

    @staticmethod
    def word_of(slot: np.ndarray) -> str | None:
        """Return the word of one slot."""
        power = np.abs(np.fft.rfft(slot * np.hanning(SLOT))) ** 2
        frequencies = np.fft.rfftfreq(SLOT, 1 / RATE)
        shares = [
            power[(np.abs(frequencies[:, None] / partials - 1) < 0.06).any(1)].sum() / power.sum()
            for partials in PARTIALS
        ]
        return WORDS[int(np.argmax(shares))] if max(shares) > CLEAR else None


class ToyNetwork:
    """One layer whose frames hold a mixture of a log-mel spectrogram's bands, and one of zeros."""

    layers = (
        Layer("mixture", 1, 320, (40,), patches=False),
        Layer("nothing", 2, 320, (40,), patches=False),
    )

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.mixing = torch.randn(80, 40, generator=generator) / 9
        self.mel = LogMel("asr")

    def embed(self, speech: Tensor) -> dict[str, Tensor]:
        """Return a frame for every two of the spectrogram."""
        frames = self.mel(speech)[::2] @ self.mixing
        return {"mixture": frames, "nothing": frames * 0}


def make_ears(folder: Path, n_scenes: int, first: int = 0, n_words: int = 5) -> list[EarSignals]:
    """Write the left and right ear of scenes, processed and reference, and list them."""
    rng = np.random.default_rng(first)
    severities = {"L1": "MILD", "L2": "SEVERE"}
    ears = []
    for number in range(first, first + n_scenes):
        scene, listener = f"S{number:04d}", f"L{1 + number % 2}"
        words = [str(word) for word in rng.choice(WORDS, n_words)]
        for side in ("left", "right"):
            wavs = {}
            for condition, noise in (("ref", 0.0005), ("msbg", 0.02 if listener == "L1" else 0.06)):
                wavs[condition] = folder / f"{side}_{condition}_{scene}.wav"
                folder.mkdir(parents=True, exist_ok=True)
                signal = say(words)
                signal = signal + noise * rng.standard_normal(len(signal))
                sf.write(wavs[condition], signal.astype("float32"), RATE, subtype="FLOAT")
            labels = {"talker": f"T{number % 3}", "interferer": "noise", "snr": float(number % 7)}
            about = (scene, listener, "E1", severities[listener], " ".join(words), wavs, labels)
            ears.append(EarSignals(f"{side}_{scene}_{listener}_E1", *about))
    return ears


def layer_settings(steps: int = 120, **changes) -> LayerSettings:
    """Return settings that learn the toy language in seconds."""
    fit = FitSettings(steps, batch=8, learning_rate=3e-3, seed=0)
    fields = {"fit": fit, "mel": "asr", "width": 48, "divisor": 16, "target": "input"}
    fields |= {"vocoder": "griffinlim", "n_iter": 12, "n_floors": 4, "floor_steps": 40}
    return LayerSettings(**fields | changes)
