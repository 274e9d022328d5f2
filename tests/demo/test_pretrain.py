"""The demo's pretrained start: its speech, its files, and that it recognises clean speech."""

import json

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir

from demo import pretrain, scenes, speech
from demo.make_miniature import Settings, plan_scenes
from intelligibility.ears import ASR_RATE, resample
from intelligibility.experiment import Experiment
from intelligibility.recognisers.settings import load_settings
from intelligibility.recognisers.speechbrain import (
    SpeechBrainRecogniser,
    load_normaliser,
    load_tokenizer,
    load_weights,
)
from intelligibility.runs import sha256_of
from intelligibility.words import word_correctness
from tests.conftest import RECIPE


def test_its_speech_is_not_that_of_the_miniature():
    taken = {plan.scene.prompt for plan in plan_scenes(Settings())}
    drawn = pretrain.sentences()
    assert {split: len(texts) for split, texts in drawn.items()} == pretrain.N_SENTENCES
    together = [*drawn["train"], *drawn["dev"]]
    assert len(set(together)) == len(together) and taken.isdisjoint(together)
    heard = speech.TARGET_VOICES + speech.COMPETING_VOICES
    assert not set(pretrain.VARIANTS) & {voice.split("+")[1] for voice in heard}


def test_the_files_are_those_of_the_record():
    record = json.loads((pretrain.FOLDER / "provenance.json").read_text())
    assert record["clean_dev_word_error_rate_percent"] <= 5
    assert record["variants"] == pretrain.VARIANTS
    assert record["sentences"] == pretrain.N_SENTENCES
    for name in pretrain.FILES:
        assert sha256_of([pretrain.FOLDER / name]) == record["sha256"][name]
    assert (pretrain.FOLDER / "asr.ckpt").stat().st_size < 4e6


@pytest.fixture(scope="module")
def hparams(tmp_path_factory):
    with initialize_config_dir(str(RECIPE), version_base="1.3"):
        cfg = compose("demo/config", [f"path.exp_folder={tmp_path_factory.mktemp('exp')}"])
    assert cfg.pretrained == str(pretrain.FOLDER) and not cfg.from_scratch
    settings = load_settings(cfg, Experiment.from_config(cfg))
    record = json.loads((pretrain.FOLDER / "provenance.json").read_text())
    assert settings["pretrained_epoch"] == record["epochs"]
    return settings


def test_it_recognises_clean_speech(hparams):
    """A sentence of each tenth voice: at most one word in twenty is wrong."""
    weights = load_weights(pretrain.FOLDER / "asr.ckpt", hparams["model"])
    hparams["model"].load_state_dict(weights, strict=True)
    load_normaliser(hparams["normalize"], pretrain.FOLDER / "normalizer.ckpt", hparams["n_mels"])
    recogniser = SpeechBrainRecogniser(hparams, torch.device("cpu"))
    n_tokens = hparams["output_neurons"]
    load_tokenizer(recogniser.tokenizer, pretrain.FOLDER / "tokenizer.ckpt", n_tokens)
    voices = pretrain.VOICES[::10]
    texts = speech.matrix_sentences(len(voices), np.random.default_rng(5))
    spoken = speech.speak(list(zip(voices, texts, strict=True)))
    signals = []
    for signal in spoken:
        target = np.pad(scenes.at_level(signal, scenes.LEVEL + 20), (0, speech.SAMPLE_RATE))
        heard = resample(target[:, None], speech.SAMPLE_RATE, ASR_RATE)[:, 0]
        signals.append(torch.from_numpy(heard.astype(np.float32)))
    found = zip(recogniser.recognise(signals), texts, strict=True)
    assert np.mean([word_correctness(one.text, text.upper()) for one, text in found]) >= 0.95
