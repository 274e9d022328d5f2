"""LibriSpeech and the interferers of CEC1, in small: what is read, and what is wrong with it."""

import pytest

from intelligibility.cls.sources import read_interferers, read_librispeech, read_snrs
from intelligibility.runs import RecipeError
from tests.cls_data import CHAPTER, make_cec1, make_librispeech, write_noise


def faults_of(problems):
    return [(problem.fault, problem.where.rsplit("/", 1)[-1]) for problem in problems]


def test_utterances_have_words_speaker_and_length(tmp_path):
    utterances, problems = read_librispeech(make_librispeech(tmp_path), "train")
    assert problems == []
    assert [one.name for one in utterances] == ["19-198-0000", "19-198-0001", "26-495-0000"]
    first = utterances[0]
    assert (first.words, first.speaker, first.seconds) == ("ADA KEEPS OLD BOATS", "19", 2.0)


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (lambda c: (c / "19-198.trans.txt").unlink(), ("no transcript", "19-198.trans.txt")),
        (lambda c: (c / "19-198-0001.flac").unlink(), ("words without a sound", "19-198-0001")),
        (
            lambda c: (c / "19-198.trans.txt").write_text("19-198-0000 ADA\n"),
            ("sound without words", "19-198-0001.flac"),
        ),
        (
            lambda c: (c / "19-198-0000.flac").write_bytes(b"no sound"),
            ("cannot be read", "19-198-0000.flac"),
        ),
    ],
)
def test_a_faulty_chapter_is_named(tmp_path, damage, fault):
    root = make_librispeech(tmp_path)
    damage(root / CHAPTER)
    assert faults_of(read_librispeech(root, "train")[1]) == [fault]


def test_a_missing_or_empty_subset_is_named(tmp_path):
    (tmp_path / "dev-clean").mkdir()
    assert faults_of(read_librispeech(tmp_path, "train")[1]) == [
        ("no such folder", "train-clean-100")
    ]
    assert faults_of(read_librispeech(tmp_path, "dev")[1]) == [("holds no utterances", "dev-clean")]


@pytest.mark.parametrize("spelt", ["noise", "nosie"])
@pytest.mark.parametrize("below", ["", "clarity_data", "clarity_data/train/interferers"])
def test_interferers_are_found_from_several_folders(tmp_path, spelt, below):
    root = make_cec1(tmp_path, spelt)
    found, problems = read_interferers(root / below, ["noise", "speech"])
    assert problems == []
    assert [(one.path.name, one.kind) for one in found] == [
        ("CIN_dryer.wav", "noise"),
        ("CIN_fan.wav", "noise"),
        ("talker.wav", "speech"),
    ]
    assert len(read_interferers(root / below, ["noise"])[0]) == 2


def test_short_unreadable_and_missing_interferers_are_named(tmp_path):
    root = make_cec1(tmp_path)
    folder = root / "clarity_data/train/interferers"
    write_noise(folder / "noise/blip.wav", 0.3)
    (folder / "noise/broken.wav").write_bytes(b"RIFF")
    (folder / "speech/talker.wav").unlink()
    _, problems = read_interferers(root, ["noise", "speech"])
    assert faults_of(problems) == [
        ("interferer shorter than 2 s", "blip.wav: 0.30 s"),
        ("cannot be read", "broken.wav"),
        ("no interferers", "speech"),
    ]


def test_snrs_are_those_of_training_scenes_with_these_interferers(tmp_path):
    root = make_cec1(tmp_path)
    interferers, _ = read_interferers(root, ["noise", "speech"])
    assert read_snrs(root, interferers) == {"noise": [-3.0, 2.0], "speech": [6.0]}
    assert read_snrs(root, interferers[2:]) == {"speech": [6.0]}


def test_a_scene_without_snr_is_refused(tmp_path):
    root = make_cec1(tmp_path)
    (root / "clarity_data/metadata/scenes.other.json").write_text('[{"interferer": {"name": "x"}}]')
    with pytest.raises(RecipeError, match=r"scenes.other.json: a scene without SNR"):
        read_snrs(root, [])
