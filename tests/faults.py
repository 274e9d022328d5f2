"""Ways to damage the small release of conftest.py; each takes the release's folder."""

from collections.abc import Callable
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


def _file(file: Path, change: Callable[[Path], object]) -> Callable[[Path], object]:
    """Return a function that changes one file of the release that it is given."""
    return lambda release: change(release / file)


def _wav(n_samples: int | tuple[int, int], rate: int = 44100) -> Callable[[Path], object]:
    """Return a function that puts silence of this shape in the place of a signal."""
    return _file(TRAIN_WAV, lambda path: sf.write(path, np.zeros(n_samples), rate))


def _list(change: Callable[[list[dict]], object]) -> Callable[[Path], object]:
    return _file(TRAIN_LIST, lambda path: edit(path, change))


def _level(level: float | None) -> Callable[[Path], object]:
    def change(listeners: dict) -> None:
        listeners["L0001"]["audiogram_levels_r"][2] = level

    return _file(TEST_LISTENERS, lambda path: edit(path, change))


remove_wav = _file(TEST_WAV, Path.unlink)
remove_reference = _file(REFERENCE, Path.unlink)
empty_wav = _file(TRAIN_WAV, lambda path: path.write_bytes(b""))
truncate_wav = _file(TRAIN_WAV, lambda path: path.write_bytes(path.read_bytes()[:-1000]))
no_audio = _file(TRAIN_WAV, lambda path: path.write_text("this is no wav file"))
mono_wav = _wav(44100 * 3)
short_wav = _wav((44100, 2))
long_wav = _wav((101 * 16000, 2), 16000)
odd_rate = _wav((44100 * 3, 2), 12345)
unknown_listener = _list(lambda entries: entries[0].update(listener="L9999"))
doubled = _list(lambda entries: entries.append(dict(entries[4])))
empty_prompt = _list(lambda entries: entries[4].update(prompt=" "))
wordless_prompt = _list(lambda entries: entries[4].update(prompt="% .."))
damaged_entry = _list(lambda entries: entries[4].update(correctness="many"))
null_level = _level(None)
too_severe = _level(110)
