"""Where speech begins, in real references and where it was put."""

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from intelligibility.onset import MARGIN, lead_in_of, speech_onset

RATE = 32000
TOLERANCE = 0.05  # s, around where the speech was put
BEGINS = 1.3  # s


def speech(rng: np.random.Generator, seconds: float = 2.0) -> np.ndarray:
    """Return noise with the syllables of speech, from a weak beginning, (n_samples, 2)."""
    time = np.arange(int(seconds * RATE)) / RATE
    envelope = 0.3 + np.abs(np.sin(2 * np.pi * 2 * time))
    envelope *= np.clip(time / 0.1, 0.03, 1)
    return 0.05 * envelope[:, None] * rng.standard_normal((len(time), 2))


@pytest.fixture
def quiet_then_speech() -> np.ndarray:
    """Speech that begins at BEGINS, silence before and after."""
    rng = np.random.default_rng(1)
    before, after = np.zeros((int(BEGINS * RATE), 2)), np.zeros((RATE, 2))
    return np.concatenate([before, speech(rng), after])


def noisy(signal: np.ndarray, floor: float) -> np.ndarray:
    return signal + 10 ** (floor / 20) * np.random.default_rng(2).standard_normal(signal.shape)


def with_click(signal: np.ndarray) -> np.ndarray:
    signal[int(0.4 * RATE) : int(0.405 * RATE)] = 1.0
    return signal


@pytest.mark.parametrize(
    ("change", "tolerance"),
    [
        *((lambda signal, gain=gain: gain * signal, TOLERANCE) for gain in (1.0, 1e-3, 10.0)),
        *((lambda signal, db=db: noisy(signal, db), 2 * TOLERANCE) for db in (-80, -60, -50)),
        (with_click, TOLERANCE),
        (lambda signal: signal * [1, 1e-3], TOLERANCE),
    ],
    ids=[*("whatever the level",) * 3, *("in steady noise",) * 3, "after a click", "in one ear"],
)
def test_the_onset_is_where_the_speech_was_put(quiet_then_speech, change, tolerance) -> None:
    changed = change(quiet_then_speech)
    assert speech_onset(changed, RATE) == pytest.approx(BEGINS, abs=tolerance)
    assert lead_in_of(changed, RATE) == pytest.approx(BEGINS - MARGIN, abs=tolerance)


def test_nothing_is_cut_where_no_quiet_precedes_the_speech() -> None:
    rng = np.random.default_rng(3)
    assert lead_in_of(speech(rng), RATE) == 0
    assert lead_in_of(rng.standard_normal((3 * RATE, 2)), RATE) == 0


@pytest.mark.parametrize("n_samples", [RATE, 5])
def test_silence_has_no_onset(n_samples: int) -> None:
    with pytest.raises(ValueError, match="silent reference"):
        speech_onset(np.zeros((n_samples, 2)), RATE)


@pytest.mark.parametrize(
    ("wav", "begins"),
    [
        ("cpc2_sample/**/S08503_target_ref.wav", 2.94),
        ("cpc1_sample/clarity_CPC1_data_train/**/S08510_target_anechoic.wav", 2.15),
        ("cpc1_sample/clarity_CPC1_data_test/**/S08520_target_anechoic.wav", 2.0),
    ],
)
def test_real_references(shared: Path, wav: str, begins: float) -> None:
    """The cut lies 0.2 s and more before the speech, and next to nothing lies before the cut."""
    reference, rate = sf.read(next(shared.glob(wav)))
    assert speech_onset(reference, rate) == pytest.approx(begins, abs=0.06)
    lead_in = lead_in_of(reference, rate)
    assert lead_in <= begins - 0.2
    lost = np.sum(reference[: int(lead_in * rate)] ** 2) / np.sum(reference**2)
    assert lost < 1e-4  # that is 40 dB below the whole, of breath


def test_both_corpora_cut_the_real_scene_alike(shared: Path) -> None:
    """CPC2 and CPC3 have the same reference under two names."""
    patterns = "cpc2_sample/**/S08503_target_ref.wav", "cpc3_sample/**/*_ref.wav"
    wavs = [wav for pattern in patterns for wav in shared.glob(pattern)]
    assert len(wavs) == 3
    assert len({lead_in_of(*sf.read(wav)) for wav in wavs}) == 1
