"""Recognisers of the hub's kinds with random weights, a few layers each."""

from pathlib import Path

import pytest
import torch
import transformers

from benchmarks.made.hub_models import letters_tokenizer, make_whisper, save, wave_extractor
from intelligibility.recognisers.batches import BatchRecogniser
from intelligibility.recognisers.hub import fetch_model, load
from intelligibility.recognisers.wav2vec2 import Wav2Vec2Recogniser
from intelligibility.recognisers.whisper import WhisperOptions, WhisperRecogniser

TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}
TEXTS = ["Oscar bought six blue clocks", "Henry carried four round bottles"]
CONVOLUTIONS = {"conv_dim": (16,) * 7, "num_feat_extract_layers": 7, "vocab_size": 32}
CONVOLUTIONS |= {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}
CONVOLUTIONS |= {"intermediate_size": 48, "num_conv_pos_embeddings": 16, "pad_token_id": 0}
CONVOLUTIONS |= {"num_conv_pos_embedding_groups": 4}


def speech(seed: int, seconds: float) -> torch.Tensor:
    """Return noise with the slow fluctuation of speech (n_samples,), 16 kHz."""
    generator = torch.Generator().manual_seed(seed)
    t = torch.arange(int(seconds * 16000)) / 16000
    return 0.1 * torch.randn(len(t), generator=generator) * (1 + torch.sin(2 * torch.pi * 4 * t))


def scatter(model: torch.nn.Module, seed: int = 0) -> None:
    """Draw weights wide enough that outputs differ between signals, and words have an end."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, parameter[0].numel() ** -0.5)
            else:
                parameter.add_(0.1 * torch.randn_like(parameter))


def small_whisper(folder: Path, multilingual: bool = False) -> Path:
    """Write a Whisper that hears 5 s."""
    sizes = {"d_model": 32, "encoder_layers": 2, "decoder_layers": 3, "max_target_positions": 24}
    for part in ("encoder", "decoder"):
        sizes |= {f"{part}_attention_heads": 2, f"{part}_ffn_dim": 48}
    parts = make_whisper(TEXTS, multilingual=multilingual, **sizes)
    model, _, tokenizer = parts
    scatter(model)
    with torch.no_grad():  # ends vary, and words depend on the signal
        model.proj_out.weight[tokenizer.eos_token_id] *= -4 if multilingual else 5
        for block in model.model.decoder.layers:
            block.encoder_attn.out_proj.weight *= 4 if multilingual else 2
    return save(folder, *parts)


def small_ctc(folder: Path, kind: str = "wav2vec2", norm: str = "group") -> Path:
    """Write a wav2vec 2.0 or HuBERT with a CTC head; "layer": as the large ones are built."""
    config, network = {
        "wav2vec2": (transformers.Wav2Vec2Config, transformers.Wav2Vec2ForCTC),
        "hubert": (transformers.HubertConfig, transformers.HubertForCTC),
    }[kind]
    stable = norm == "layer"
    model = network(config(feat_extract_norm=norm, do_stable_layer_norm=stable, **CONVOLUTIONS))
    scatter(model)
    return save(folder, model, wave_extractor(), letters_tokenizer())


def small_encoder(folder: Path) -> Path:
    """Write a WavLM without a head."""
    model = transformers.WavLMModel(
        transformers.WavLMConfig(num_buckets=20, max_bucket_distance=40, **CONVOLUTIONS)
    )
    scatter(model)
    return save(folder, model, wave_extractor())


def load_folder(
    folder: Path, dec_mode: str = "teacher", all_layers: bool = True, window: str = "trained"
) -> WhisperRecogniser | Wav2Vec2Recogniser:
    """Load one of them as infer.py does."""
    options = WhisperOptions(dec_mode, window)
    return load(fetch_model(str(folder)), torch.device("cpu"), options, all_layers)


def assert_alike_alone_and_in_a_batch(
    recogniser: BatchRecogniser, signals: list[torch.Tensor], texts: list[str | None]
) -> None:
    """Compare what is recognised in signals one by one with all of them at once."""
    alone = list(recogniser.recognise(signals, texts))
    recogniser.batch_size = len(signals)
    together = list(recogniser.recognise(signals, texts))
    assert len(alone) == len(signals)
    for one, other in zip(alone, together, strict=True):
        assert one.text == other.text
        assert one.log_prob == pytest.approx(other.log_prob, abs=1e-5)
        assert one.layers.keys() == other.layers.keys()
        for name in one.layers:
            torch.testing.assert_close(one.layers[name], other.layers[name], **TOLERANCE)
