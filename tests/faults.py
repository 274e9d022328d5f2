"""Ways to damage the small release of conftest.py; each takes the release's folder."""

from pathlib import Path

import numpy as np
import soundfile as sf

from tests.conftest import edit

OF_TRAIN, OF_TEST = (Path(f"clarity_CPC1_data_{name}") for name in ("train", "test"))
TRAIN_WAV = OF_TRAIN / "clarity_data/HA_outputs/train/S10002_L0001_E001.wav"
TEST_WAV = OF_TEST / "clarity_data/HA_outputs/test/S20001_L0002_E001.wav"
TRAIN_LIST = OF_TRAIN / "metadata/CPC1.train.json"
TEST_LIST = OF_TEST / "metadata/CPC1.test.json"
TEST_LISTENERS = OF_TEST / "metadata/listeners.CPC1_all.json"
REFERENCE = OF_TRAIN / "clarity_data/scenes/S10003_target_anechoic.wav"


def remove_wav(release: Path) -> None:
    (release / TEST_WAV).unlink()


def remove_reference(release: Path) -> None:
    (release / REFERENCE).unlink()


def empty_wav(release: Path) -> None:
    (release / TRAIN_WAV).write_bytes(b"")


def truncate_wav(release: Path) -> None:
    (release / TRAIN_WAV).write_bytes((release / TRAIN_WAV).read_bytes()[:-1000])


def mono_wav(release: Path) -> None:
    sf.write(release / TRAIN_WAV, np.zeros(44100 * 3), 44100)


def short_wav(release: Path) -> None:
    sf.write(release / TRAIN_WAV, np.zeros((44100, 2)), 44100)


def long_wav(release: Path) -> None:
    sf.write(release / TRAIN_WAV, np.zeros((101 * 16000, 2)), 16000)


def odd_rate(release: Path) -> None:
    sf.write(release / TRAIN_WAV, np.zeros((44100 * 3, 2)), 12345)


def no_audio(release: Path) -> None:
    (release / TRAIN_WAV).write_text("this is no wav file")


def unknown_listener(release: Path) -> None:
    edit(release / TRAIN_LIST, lambda entries: entries[0].update(listener="L9999"))


def null_level(release: Path) -> None:
    def change(listeners):
        listeners["L0001"]["audiogram_levels_r"][2] = None

    edit(release / TEST_LISTENERS, change)


def too_severe(release: Path) -> None:
    def change(listeners):
        listeners["L0001"]["audiogram_levels_r"][2] = 110

    edit(release / TEST_LISTENERS, change)


def doubled(release: Path) -> None:
    edit(release / TRAIN_LIST, lambda entries: entries.append(dict(entries[4])))


def empty_prompt(release: Path) -> None:
    edit(release / TRAIN_LIST, lambda entries: entries[4].update(prompt=" "))


def damaged_entry(release: Path) -> None:
    edit(release / TRAIN_LIST, lambda entries: entries[4].update(correctness="many"))
