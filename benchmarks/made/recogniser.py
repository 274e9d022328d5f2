"""A complete recogniser in a save folder, with random weights, small enough for a test."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece
import torch
from speechbrain.utils.checkpoints import Checkpointer

from intelligibility.experiment import AsrFolder, SaveFolder
from intelligibility.recognisers.settings import read_settings
from intelligibility.recognisers.speechbrain import SpeechBrainRecogniser
from intelligibility.runs import RECIPE

WORDS = ("ANNA", "KEEPS", "TWO", "OLD", "BOATS", "PETER", "SELLS", "NINE", "RED", "CUPS")
SETTINGS: dict[str, Any] = {
    "seed": 3,
    "cnn_out_channels": [4, 4, 8],
    "d_model": 32,
    "nhead": 2,
    "num_encoder_layers": 1,
    "num_decoder_layers": 2,
    "d_ffn": 48,
    "output_neurons": 30,
    "test_beam_size": 4,
}


def small_settings(**changes: Any) -> dict[str, Any]:
    """Return fresh hparams; the same seed gives the same weights."""
    folders = {"data_folder": "/none", "output_folder": "/none"}
    return read_settings(RECIPE / "transformer_cpc1.yaml", SETTINGS | folders | changes)


def full_size(device: torch.device, **changes: Any) -> tuple[dict[str, Any], SpeechBrainRecogniser]:
    """Return the published recogniser with random weights, and its settings."""
    folders = {"data_folder": "/none", "output_folder": "/none"}
    hparams = read_settings(RECIPE / "transformer_cpc1.yaml", folders | changes)
    hparams["normalize"].glob_mean = torch.full((hparams["n_mels"],), -20.0)
    hparams["normalize"].glob_std = torch.full((hparams["n_mels"],), 10.0)
    return hparams, SpeechBrainRecogniser(hparams, device)


def make_recogniser(asr_folder: Path, n_checkpoints: int = 1, words: Sequence[str] = WORDS) -> Path:
    """Write checkpoints of differently seeded weights and a tokenizer; return the save folder."""
    save_folder = AsrFolder(asr_folder).save_folder
    for number in range(n_checkpoints):
        hparams = small_settings(seed=number)
        with torch.no_grad():
            hparams["seq_lin"].w.weight *= 6  # else all tokens are almost equally probable
            hparams["ctc_lin"].w.weight *= 6
        normalize = hparams["normalize"]
        normalize.count = 100
        normalize.glob_mean = torch.linspace(-20, -40, 80) + number
        normalize.glob_std = torch.full((80,), 10.0)
        recoverables = {"model": hparams["model"], "normalizer": normalize}
        Checkpointer(save_folder, recoverables).save_checkpoint(name=f"epoch_{number}")
    tokenizer = make_tokenizer(SETTINGS["output_neurons"], words)
    SaveFolder(save_folder).tokenizer.write_bytes(tokenizer)
    return save_folder


def make_tokenizer(n_tokens: int, words: Sequence[str] = WORDS) -> bytes:
    """Return a SentencePiece model for sentences of these words, in capitals."""
    rng = np.random.default_rng(0)
    sentences = (" ".join(rng.choice(words, 5)) for _ in range(200))
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=sentences,
        model_writer=model,
        vocab_size=n_tokens,
        minloglevel=2,
    )
    return model.getvalue()


def babble(seed: int, seconds: float) -> torch.Tensor:
    """Return noise with the slow fluctuations of speech: (n_samples,), float32, 16 kHz."""
    generator = torch.Generator().manual_seed(seed)
    n_samples = int(16000 * seconds)
    envelope = 1 + torch.sin(2 * torch.pi * 4 * torch.arange(n_samples) / 16000)
    return 0.05 * envelope * torch.randn(n_samples, generator=generator)
