"""The miniature's LibriSpeech and CEC1 noises, in small, as prepare_cls.py reads them."""

import numpy as np
import soundfile as sf

from demo import make_cls, pretrain
from demo.make_miniature import SNRS
from intelligibility.cls.sources import read_interferers, read_librispeech, read_snrs


def test_prepare_cls_finds_speech_noises_and_snrs(tmp_path, monkeypatch):
    monkeypatch.setattr(pretrain, "N_SENTENCES", {"train": 14, "dev": 3})
    monkeypatch.setattr(make_cls, "N_UTTERANCES", {"train": 13, "dev": 3})
    monkeypatch.setattr(make_cls, "N_NOISES", 1)
    make_cls.write_librispeech(tmp_path / "LibriSpeech")
    make_cls.write_noises(tmp_path / "cec1/clarity_data")
    sentences = pretrain.sentences()
    for split, n_utterances in make_cls.N_UTTERANCES.items():
        utterances, problems = read_librispeech(tmp_path / "LibriSpeech", split)
        assert problems == []
        expected = [text.upper() for text in sentences[split][:n_utterances]]
        assert sorted(one.words for one in utterances) == sorted(expected)
        assert len({one.speaker for one in utterances}) == n_utterances
    interferers, problems = read_interferers(tmp_path / "cec1", ["noise"])
    assert problems == [] and len(interferers) == 3
    assert set(read_snrs(tmp_path / "cec1", interferers)["noise"]) == set(SNRS)
    for one in interferers:
        sound, rate = sf.read(one.path)
        assert rate == 44100 and sound.ndim == 1 and 0.02 < np.std(sound) < 0.5
