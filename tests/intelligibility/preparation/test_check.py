"""What is wrong with a release, found from its lists and headers, and what can be used of it."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import soundfile as sf

from intelligibility.corpora import read_archives
from intelligibility.corpora.presentation import Archive, Problem, left_out
from intelligibility.preparation.check import (
    check_archives,
    check_headers,
    sources_of,
    usable,
)
from tests import faults
from tests.conftest import configure, edit

N_SIGNALS = 12


def read(release, *overrides: str) -> dict[str, Archive]:
    """Return the archives of a release whose listeners hear well enough for MSBG."""
    for listeners in release.glob("*/metadata/listeners*.json"):
        edit(listeners, lambda people: people["L0002"].update(audiogram_levels_r=[75] * 8))
        edit(listeners, lambda people: people["L0002"].update(audiogram_levels_l=[70] * 8))
    return read_archives(configure(release, release / "exp", *overrides), "")


def check(release) -> tuple[list[Problem], set[str], list]:
    """Return the problems, the names that can be used and the sources of a release."""
    archives = read(release)
    sources, of_headers = check_headers(archives)
    problems = [*check_archives(archives), *of_headers]
    used = usable(archives, left_out(problems))
    return problems, {one.name for ones in used.values() for one in ones}, sources


def test_nothing_is_wrong_with_a_sound_release(release):
    problems, used, sources = check(release)
    assert problems == [] and len(used) == N_SIGNALS
    keys = [source.key for source in sources]
    assert keys == sorted(keys) and len(keys) == N_SIGNALS + 6  # a reference per scene
    assert keys[0] == "test/msbg/S20000_L0001_E001" and keys[-1] == "train/ref/S10003"
    for source in sources:
        assert (source.rate, source.duration) == (44100, pytest.approx(2.2, abs=0.01))
        assert (source.listener is None) == (source.kind == "ref")


FAULTS = [
    (faults.remove_wav, "missing file", "S20001_L0002_E001.wav", 1),
    (faults.remove_reference, "missing file", "S10003_target_anechoic.wav", 2),
    (faults.empty_wav, "empty file", "S10002_L0001_E001.wav", 1),
    (faults.truncate_wav, "truncated file", "S10002_L0001_E001.wav", 1),
    (faults.mono_wav, "1 channels where 2 are expected", "S10002_L0001_E001.wav", 1),
    (faults.short_wav, "no longer than the 2 s before the speech", "S10002_L0001_E001.wav", 1),
    (faults.long_wav, "file with more than 98 s of speech", "S10002_L0001_E001.wav", 1),
    (faults.odd_rate, "unexpected sample rate of 12345 Hz", "S10002_L0001_E001.wav", 1),
    (faults.no_audio, "cannot be read as audio", "S10002_L0001_E001.wav", 1),
    (faults.unknown_listener, "no audiogram in listeners.CPC1_train.json", "listener L9999", 1),
    (faults.null_level, "audiogram in listeners.CPC1_all.json not usable", "L0001", 2),
    (faults.too_severe, "audiogram in listeners.CPC1_all.json not usable", "110 dB HL", 2),
    (faults.doubled, "signal listed twice in CPC1.train.json", "S10002_L0001_E001", 1),
    (faults.empty_prompt, "empty prompt in CPC1.train.json", "S10002_L0001_E001", 1),
    (faults.wordless_prompt, "prompt without a word in CPC1.train", "S10002_L0001_E001", 1),
    (faults.damaged_entry, "damaged entry in CPC1.train.json", "correctness is 'many'", 1),
]


@pytest.mark.parametrize(("spoil", "fault", "where", "n_lost"), FAULTS)
def test_a_fault_is_found_from_lists_and_headers(release, spoil, fault, where, n_lost):
    spoil(release)
    problems, used, _ = check(release)
    found = [one for one in problems if fault in one.fault]
    assert found and any(where in one.where for one in found)
    assert all(one.stops == "prepare_data.py" for one in problems)
    assert len(used) == N_SIGNALS - n_lost and not used & set(left_out(problems))
    assert not (release / "exp").exists()


def test_all_faults_are_found_at_once(release):
    for spoil in (faults.remove_wav, faults.remove_reference, faults.mono_wav, faults.null_level):
        spoil(release)
    problems, used, _ = check(release)
    kinds = [problem.fault.split(" (")[0] for problem in problems]
    assert sorted({*kinds}) == [
        "1 channels where 2 are expected",
        "audiogram in listeners.CPC1_all.json not usable",
        "missing file",
        "no audiogram in listeners.CPC1_all.json",
    ]
    assert len(used) == N_SIGNALS - 1 - 2 - 1 - 2


def learn_a_test_scene(release, scene: str = "S20000") -> None:
    """Let the training list hold a scene of the test, heard through another system."""
    folder = release / faults.OF_TRAIN / "clarity_data"
    name = f"{scene}_L0001_E002"
    tested = release / faults.OF_TEST / "clarity_data"
    wav = tested / f"HA_outputs/test/{scene}_L0001_E001.wav"
    shutil.copy(wav, folder / f"HA_outputs/train/{name}.wav")
    reference = f"scenes/{scene}_target_anechoic.wav"
    shutil.copy(tested / reference, folder / reference)
    edit(
        release / faults.TRAIN_LIST,
        lambda entries: entries.append(
            entries[0] | {"scene": scene, "signal": name, "listener": "L0001", "system": "E002"}
        ),
    )


def test_a_scene_that_is_trained_and_tested_on_is_found(release):
    learn_a_test_scene(release)
    (problem,), used, _ = check(release)
    assert problem.fault == "scene in both training and test"
    assert problem.where == "S20000 of S20000_L0001_E002"
    # What is left out is the training signal: the test stays as published.
    assert left_out([problem]).keys() == {"S20000_L0001_E002"} and len(used) == N_SIGNALS


def test_a_signal_that_is_trained_and_tested_on_is_found(release):
    learn_a_test_scene(release)
    folder = release / faults.OF_TRAIN / "clarity_data/HA_outputs/train"
    (folder / "S20000_L0001_E002.wav").rename(folder / "S20000_L0001_E001.wav")
    edit(
        release / faults.TRAIN_LIST, lambda entries: entries[-1].update(signal="S20000_L0001_E001")
    )
    problems, _, _ = check(release)
    assert [problem.fault for problem in problems] == ["signal in both training and test"]
    assert problems[0].signals == ("S20000_L0001_E001",)


@pytest.mark.parametrize(("seconds", "noticed"), [(3.2, True), (2.6, False), (2.25, False)])
def test_a_reference_of_another_length_is_a_notice(release, seconds, noticed):
    wav = release / faults.REFERENCE
    signal, rate = sf.read(wav)
    sf.write(wav, np.resize(signal, (int(seconds * rate), 2)), rate)
    problems, used, _ = check(release)
    assert len(used) == N_SIGNALS
    assert len(problems) == (2 if noticed else 0)  # two listeners heard the scene
    for problem in problems:
        assert problem.fault == "signal and reference of other lengths" and problem.stops == ""
        assert problem.where.endswith("of 2.2 s, reference 3.2 s")


def test_a_reference_that_ends_a_second_early_is_a_notice(release):
    for path in release.glob("clarity_CPC1_data_train/clarity_data/HA_outputs/train/S10003*"):
        signal, rate = sf.read(path)
        sf.write(path, np.resize(signal, (int(3.2 * rate), 2)), rate)
    problems, used, _ = check(release)
    assert [one.where for one in problems] == [
        f"S10003_{listener}_E001 of 3.2 s, reference 2.2 s" for listener in ("L0001", "L0002")
    ]
    assert {one.stops for one in problems} == {""} and len(used) == N_SIGNALS


def test_losses_where_msbg_is_not_trusted_are_a_notice(release):
    """L0002 of conftest.py hears up to 90 dB HL, in both archives; L0001 not beyond 70."""
    problems = check_archives(read_archives(configure(release, release / "exp"), ""))
    assert [(one.where, one.stops, one.signals) for one in problems] == [("L0002", "", ())]
    assert problems[0].fault.startswith("listener with losses above 80 dB HL, where MSBG is")


def test_a_scene_has_one_reference(release):
    archives = read(release)
    first, second, *others = archives["train"].presentations
    assert first.scene == second.scene
    second = replace(second, reference=others[-1].reference)
    archives["train"] = replace(archives["train"], presentations=[first, second, *others])
    (problem,) = check_archives(archives)
    assert problem.fault == "scene with two references" and problem.signals == (second.name,)


def test_one_archive_alone_can_be_checked(release):
    archives = read(release, "path.cpc1_train_data=null")
    sources, problems = check_headers(archives)
    assert len(sources) == 6 and problems == [] and check_archives(archives) == []


def test_signals_share_the_source_of_their_reference(release):
    archives = read(release)
    first, second, third, *_ = archives["train"].presentations
    (heard, clean), (other, same), (_, another) = (
        sources_of("train", one) for one in (first, second, third)
    )
    assert clean == same != another and heard != other
