"""A real scene of CPC2 through the ears and a recogniser: what must not change its similarities."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch
from omegaconf import OmegaConf

import prepare_data
from benchmarks.made.recogniser import make_recogniser, small_settings
from intelligibility.corpora import read_archives
from intelligibility.ears import ASR_RATE
from intelligibility.experiment import Experiment
from intelligibility.preparation.check import Source, sources_of
from intelligibility.preparation.tables import ear_wavs
from intelligibility.recognisers.speechbrain import SpeechBrainRecogniser
from intelligibility.similarity import similarities_of
from tests.conftest import configure

MORE = 438  # samples: so much do the released lengths of this scene's signals differ
WHOLE = 3.6  # s: what this real sentence takes, from 2.9 s on, without its first and last breath


@pytest.fixture(scope="module")
def sources(shared: Path) -> tuple[Source, Source]:
    """The longest of the real signals, and the reference of all of them."""
    root = shared / "cpc2_sample"
    presentations = read_archives(configure(root, root, "corpus=cpc2"), "")["train"].presentations
    longest = max(presentations, key=lambda one: sf.info(one.processed).frames)
    return tuple(
        replace(source, frames=sf.info(source.path).frames, rate=sf.info(source.path).samplerate)
        for source in sources_of("train", longest)
    )


def ears(source: Source, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Make both ear signals as prepare_data.py does, and read them."""
    experiment = Experiment(folder, folder)
    settings = OmegaConf.to_container(configure(folder, folder).MSBGEar)
    prepare_data.make_ear_signals(experiment, settings, source)
    left, right = (sf.read(wav, dtype="float32")[0] for wav in ear_wavs(experiment, source))
    return left, right


def with_end(source: Source, folder: Path, n_samples: int) -> Source:
    """Write the signal with noise in place of what follows `n_samples`; name that."""
    signal, rate = sf.read(source.path)
    noise = 0.1 * np.random.default_rng(0).standard_normal((MORE, 2))
    signal = np.concatenate([signal[:n_samples], noise])
    wav = folder / f"{n_samples}.wav"
    sf.write(wav, signal, rate, subtype="PCM_16")
    return replace(source, path=wav, frames=len(signal))


def test_what_follows_the_reference_does_not_count(
    sources: tuple[Source, Source], tmp_path: Path
) -> None:
    """Some hundred samples more at the end, of whatever, change no similarity."""
    processed, reference = sources
    assert processed.frames > reference.frames
    recogniser = SpeechBrainRecogniser.load(
        small_settings(), make_recogniser(tmp_path / "asr"), torch.device("cpu")
    )
    clean = ears(reference, tmp_path)
    measured = []
    for source in (
        processed,
        with_end(processed, tmp_path, processed.frames),
        with_end(processed, tmp_path, reference.frames),
    ):
        heard = ears(source, tmp_path)
        left, right, *others = recogniser.recognise(map(torch.from_numpy, (*clean, *heard)))
        measured.append(similarities_of(tuple(others), (left, right), "ALL HIS LONG LIFE"))
    assert measured[0] == measured[1] == measured[2]
    assert 0 < measured[0]["enc"] < 1


def test_the_speech_is_whole(sources: tuple[Source, Source], tmp_path: Path) -> None:
    """Signal and reference start together, before the speech, and hold all of it."""
    processed, reference = sources
    clean, heard = ears(reference, tmp_path), ears(processed, tmp_path)
    whole = (reference.frames / reference.rate - 2.44) * ASR_RATE  # the onset less the margin
    assert abs(len(clean[0]) - whole) < 0.1 * ASR_RATE
    assert np.abs(len(heard[0]) - len(clean[0])) < 0.02 * ASR_RATE  # MSBG adds 4 to 6 ms
    power = clean[0] ** 2
    start = int(0.2 * ASR_RATE)
    assert power[:start].sum() < 1e-4 * power.sum()  # silence first
    assert power[-start:].sum() < 1e-4 * power.sum()  # and last
    assert power[start : start + int(WHOLE * ASR_RATE)].sum() > 0.99 * power.sum()
