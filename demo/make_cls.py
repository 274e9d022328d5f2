"""Lay the pretraining speech out as LibriSpeech, and noises as CEC1 has them, for prepare_cls.py.

    python -m demo.make_cls [--folder demo/data_cls]

Writes below the folder, once,

    LibriSpeech/{train-clean-100,dev-clean}/<voice>/<chapter>/   FLAC and transcripts: the first 600
                                                                 training and all dev sentences of
                                                                 demo/pretrain.py
    clarity_CEC1_data/clarity_data/train/interferers/noise/      steady and fluctuating noises, and
                                                                 babble of the pretraining voices
    clarity_CEC1_data/clarity_data/metadata/scenes.train.json    their SNRs, those of the miniature

No scene of the miniature has these noises: its own are drawn anew for each scene, from the spectrum
of other voices, and its talkers are others.
"""

import argparse
import itertools
import logging
from pathlib import Path

import numpy as np
import soundfile as sf

from demo import scenes, speech
from demo.make_miniature import SNRS
from demo.pretrain import SEED, VOICES, clean_speech, sentences
from intelligibility.ears import ASR_RATE
from intelligibility.runs import RECIPE, atomic_folder, write_json, write_text

logger = logging.getLogger("make_cls")

FOLDER = RECIPE / "demo/data_cls"
N_UTTERANCES = {"train": 600, "dev": 120}
SUBSETS = {"train": "train-clean-100", "dev": "dev-clean"}
N_NOISES = 6  # of each kind
SECONDS = 15.0  # of a noise
FLUCTUATION = 4.0  # Hz


def write_librispeech(root: Path) -> None:
    """Write the clean speech in LibriSpeech's layout: one chapter per voice."""
    words: dict[Path, list[str]] = {}
    for split, voice, text, signal in clean_speech(N_UTTERANCES):
        speaker = str(1000 + VOICES.index(voice))
        chapter = root / SUBSETS[split] / speaker / "1"
        chapter.mkdir(parents=True, exist_ok=True)
        lines = words.setdefault(chapter, [])
        name = f"{speaker}-1-{len(lines):04d}"
        sf.write(chapter / f"{name}.flac", np.clip(signal, -1, 1), ASR_RATE, subtype="PCM_16")
        lines.append(f"{name} {text.upper()}")
    for chapter, lines in words.items():
        transcript = chapter / f"{chapter.parent.name}-1.trans.txt"
        write_text(transcript, "\n".join([*lines, ""]))


def write_noises(data: Path) -> None:
    """Write the noises, mono at 44.1 kHz, and a list of scenes that gives their SNRs."""
    rng = np.random.default_rng(SEED)
    folder = data / "train/interferers/noise"
    folder.mkdir(parents=True)
    lines = sentences()["dev"]
    voices = rng.choice(VOICES, 12, replace=False)
    spoken = speech.speak([(str(voice), " ".join(rng.choice(lines, 8))) for voice in voices])
    spectrum = scenes.speech_spectrum(spoken)
    n_samples = round(SECONDS * speech.SAMPLE_RATE)
    names = []
    for number in range(N_NOISES):
        steady = scenes.speech_shaped_noise(spectrum, n_samples, rng)
        phase = 2 * np.pi * FLUCTUATION * np.arange(n_samples) / speech.SAMPLE_RATE
        other = scenes.speech_shaped_noise(spectrum, n_samples, rng)
        chosen = rng.choice(len(spoken), 4, replace=False)
        babble = sum(
            np.resize(np.roll(spoken[i], rng.integers(n_samples)), n_samples) for i in chosen
        )
        kinds = {
            "steady": steady,
            "fluctuating": other * (1 + 0.9 * np.sin(phase)),
            "babble": babble,
        }
        for kind, noise in kinds.items():
            names.append(f"CIN_{kind}_{number}.wav")
            scaled = 0.5 * noise / np.abs(noise).max()
            sf.write(folder / names[-1], scaled, speech.SAMPLE_RATE, subtype="PCM_16")
    entries = [
        {"dataset": "train", "SNR": snr, "interferer": {"name": name, "type": "noise"}}
        for name, snr in itertools.product(names, SNRS)
    ]
    write_json(data / "metadata/scenes.train.json", entries)


def main() -> None:
    """Write the folders that prepare_cls.py reads."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=FOLDER, help="(%(default)s)")
    folder = parser.parse_args().folder.absolute()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if not folder.exists():
        with atomic_folder(folder) as part:
            write_librispeech(part / "LibriSpeech")
            write_noises(part / "clarity_CEC1_data/clarity_data")
    logger.info("Speech and noises for prepare_cls.py are in %s", folder)


if __name__ == "__main__":
    main()
