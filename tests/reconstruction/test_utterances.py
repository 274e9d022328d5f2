"""Which signals are learnt from and which are scored."""

from collections import Counter
from dataclasses import replace
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile as sf

from intelligibility.runs import RecipeError
from reconstruction.utterances import (
    EarSignals,
    check_disjoint,
    choose_scored,
    choose_training,
    median_level,
    read_scenes,
    read_speech,
    scene_labels,
)


def ears(n_scenes: int, n_listeners: int = 3) -> list[EarSignals]:
    """Return ears without wavs: every listener hears every scene."""
    found = []
    for scene, listener, side in product(range(n_scenes), range(n_listeners), ("left", "right")):
        name = f"{side}_S{scene}_L{listener}"
        wavs = {"ref": Path(f"{side}_S{scene}.wav"), "msbg": Path(f"{name}.wav")}
        about = f"S{scene}", f"L{listener}", "E1", "MILD", "ADA BED", wavs
        found.append(EarSignals(name, *about))
    return found


def test_listeners_are_scored_equally_often_and_no_reference_twice():
    chosen = choose_scored(ears(20), 18, seed=1)
    assert Counter(ear.listener for ear in chosen) == {"L0": 6, "L1": 6, "L2": 6}
    assert len({ear.wavs["ref"] for ear in chosen}) == 18
    assert chosen == choose_scored(reversed(ears(20)), 18, seed=1)
    assert chosen != choose_scored(ears(20), 18, seed=2)


def test_fewer_are_scored_where_references_run_out_and_none_without_words():
    assert len(choose_scored(ears(5), 100, seed=1)) == 10
    with pytest.raises(RecipeError, match="6 ear signals to score, expected 8"):
        choose_scored(ears(3), 100, seed=1)
    every = [replace(ear, prompt="#") if ear.listener == "L1" else ear for ear in ears(20)]
    assert {ear.listener for ear in choose_scored(every, 18, seed=1)} == {"L0", "L2"}


def test_training_signals_are_halved_between_the_conditions():
    chosen = choose_training(ears(20), 30, seed=1)
    assert len(chosen) == 15 and chosen == choose_training(reversed(ears(20)), 30, seed=1)
    assert len(choose_training(ears(20), 10**6, seed=1)) == 120


def test_recordings_in_no_release_have_no_list_of_scenes():
    assert read_scenes([SimpleNamespace(reference=Path("/flat/clean.wav"))], "train") == {}


def test_scenes_in_both_parts_are_refused():
    every = ears(6)
    check_disjoint(every[:12], every[18:])
    with pytest.raises(RecipeError, match="1 of the scenes to score are learnt from too, S2"):
        check_disjoint(every[:18], every[12:])
    renamed = [replace(ear, scene="S99") for ear in every[:6]]
    with pytest.raises(RecipeError, match="references to score are learnt from"):
        check_disjoint(renamed, every[:6])


def test_speech_that_cannot_be_used_is_refused(tmp_path):
    wav = tmp_path / "one.wav"
    for samples, rate, reason in (
        (np.zeros((4000, 2)), 16000, "one channel"),
        (np.zeros(4000), 44100, "16000 Hz"),
        (np.full(4000, np.nan), 16000, "finite"),
        (np.zeros(400), 16000, "takes 0.2 to"),
    ):
        sf.write(wav, samples, rate, subtype="FLOAT")
        with pytest.raises(RecipeError, match=reason):
            read_speech(wav)
    wav.write_bytes(b"RIFF")
    with pytest.raises(RecipeError, match="run prepare_data.py again"):
        read_speech(wav)


def test_the_level_is_the_median_of_what_can_be_heard(tmp_path):
    paths = []
    for number, rms in enumerate((0.0, 0.001, 0.01, 0.1)):
        paths.append(tmp_path / f"{number}.wav")
        sf.write(paths[-1], np.tile([rms, -rms], 4000), 16000, subtype="FLOAT")
    assert median_level(paths) == -40.0
    with pytest.raises(RecipeError, match="all of 1 references are silent"):
        median_level(paths[:1])


def test_labels_of_a_scene():
    interferer = {"type": "noise", "name": "CIN_fan_014"}
    cpc1 = {"target": {"name": "T010_G0N_02468"}, "interferer": interferer, "SNR": 0.586}
    assert scene_labels(cpc1) == {"talker": "T010", "interferer": "noise", "snr": 0.586}
    assert scene_labels({}) == {}
    assert scene_labels({"target": "T010", "interferer": None, "SNR": "loud"}) == {}
