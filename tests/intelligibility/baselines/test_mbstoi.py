"""MSBG + MBSTOI against pyclarity called by hand, as the challenge's baseline calls it.

Tolerance: 1e-9 of the index (1e-15 as measured); delays are equal.
"""

import importlib

import numpy as np
import pytest
from scipy.signal import unit_impulse

from benchmarks.made.sounds import MSBG, listener, processed, syllables
from intelligibility.baselines import index
from intelligibility.ears import resample
from msbg import Ear, Listener, simulate
from tests.intelligibility.baselines.real_scene import real_scene

pytest.importorskip("clarity", reason="pip install --no-deps -r requirements-baselines.txt")
ours = importlib.import_module("intelligibility.baselines.mbstoi")
RATE = 44100


def by_hand(noisy, clean, who):
    """Do what the challenge's baseline does for one signal, with an impulse of its own."""
    mbstoi = importlib.import_module("clarity.evaluator.mbstoi")
    utils = importlib.import_module("clarity.evaluator.mbstoi.mbstoi_utils")
    impulse = np.stack([unit_impulse(len(noisy), RATE // 2)] * 2, axis=1)
    heard, impulse = simulate(noisy, who, **MSBG), simulate(impulse, who, **MSBG)
    delays = utils.find_delay_impulse(impulse, initial_value=RATE // 2).astype(int).ravel()
    n_samples = max(len(clean) + max(delays), len(heard))  # it stops where the second is longer
    reference, signal = np.zeros((2, n_samples, 2))
    for ear in (0, 1):
        reference[delays[ear] : delays[ear] + len(clean), ear] = clean[:, ear]
    signal[: len(heard)] = heard
    return mbstoi.mbstoi(*reference.T, *signal.T, RATE, 1), tuple(delays)


@pytest.mark.parametrize("noise", [0.003, 0.05])
def test_is_the_challenges_baseline(noise):
    clean = syllables(RATE, 1.6)
    noisy = processed(clean, noise)
    expected, delays = by_hand(noisy, clean, listener())
    assert ours.mbstoi(noisy, clean, listener(), MSBG) == pytest.approx(expected, abs=1e-9)
    assert ours.impulse_delays(listener(), len(noisy), MSBG) == delays
    assert 0.05 < expected < 0.99


def test_both_ears_alike_and_silence_within():
    """Where trials tie, and where segments hold nothing, pyclarity's choice has to be ours."""
    clean = np.repeat(syllables(RATE, 1.6)[:, :1], 2, axis=1)
    noisy = processed(clean, 0.0)
    noisy[:, 1], noisy[: RATE // 2] = noisy[:, 0], 0.0
    theirs = importlib.import_module("clarity.evaluator.mbstoi")
    expected = theirs.mbstoi(*clean.T, *noisy.T, RATE, 1)
    assert ours.compare_binaural(clean, noisy) == pytest.approx(expected, abs=1e-9)


def test_too_little_speech_says_so():
    short = syllables(RATE, 1.2)[: RATE // 4]
    with pytest.raises(ValueError, match="frames of speech, expected at least 30"):
        ours.compare_binaural(short, short)


def test_on_a_real_scene(shared):
    (noisy, rate), (clean, clean_rate), who, name = real_scene(shared)
    resampled = resample(noisy, rate, RATE)
    expected, _ = by_hand(resampled, resample(clean, clean_rate, RATE), who)
    got = index("mbstoi", (noisy, rate), (clean, clean_rate), who, name, MSBG)
    assert got == pytest.approx(expected, abs=1e-9)


def test_the_delay_is_that_of_an_impulse_as_long_as_the_signal(shared):
    """L0206's hangs on the length: 1177 samples where the silence is 1.1 s, 1176 where longer."""
    archive = shared / "cpc1_sample/clarity_CPC1_data_test/metadata/listeners.CPC1_all.json"
    people = Listener.load_listener_dict(archive)
    assert len(people) == 27
    for name in ("L0200", "L0206", "L0216", "L0239"):
        who = people[name]
        for seconds in (1.1, 3.7):
            n_samples = int(seconds * RATE)
            delays = []
            for audiogram in (who.audiogram_left, who.audiogram_right):
                ear = Ear(**MSBG)
                ear.set_audiogram(audiogram)
                heard = ear.process(unit_impulse(n_samples, ours.IMPULSE_AT))[0]
                delays.append(int(np.argmax(heard)) - ours.IMPULSE_AT)
            assert ours.impulse_delays(who, n_samples, MSBG) == tuple(delays), (name, seconds)


def test_a_signal_longer_than_its_reference_is_compared_whole():
    clean = syllables(RATE, 1.6)
    longer = np.concatenate([processed(clean, 0.01), np.zeros((RATE // 2, 2))])
    # The silence changes the level that MSBG takes the signal for, and with it the index a little.
    assert ours.mbstoi(longer, clean, listener(), MSBG) == pytest.approx(
        ours.mbstoi(processed(clean, 0.01), clean, listener(), MSBG), abs=0.1
    )


def test_silence_lets_no_word_through():
    clean = syllables(RATE, 1.2), RATE
    silence = np.zeros_like(clean[0]), RATE
    for baseline in ("mbstoi", "haspi", "stoi"):
        assert index(baseline, silence, clean, listener(), "S1", MSBG) == 0.0
