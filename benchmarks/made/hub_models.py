"""Recognisers of the hub's kinds, with random weights and of any size."""

import json
import string
import tempfile
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GenerationConfig,
    PreTrainedModel,
    Wav2Vec2CTCTokenizer,
    Wav2Vec2FeatureExtractor,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperTokenizer,
)

RATE = 16000  # Hz
START, PLAIN = "<|startoftranscript|>", "<|notimestamps|>"
LANGUAGE, TASKS = "<|en|>", ("<|translate|>", "<|transcribe|>")


def whisper_tokenizer(texts: list[str], n_tokens: int, multilingual: bool) -> WhisperTokenizer:
    """Train byte-pair tokens, `n_tokens` with the 256 bytes, and add Whisper's special tokens."""
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    learner.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    learner.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=n_tokens, initial_alphabet=alphabet, show_progress=False, min_frequency=1
        ),
    )
    model = json.loads(learner.to_str())["model"]
    tokenizer = WhisperTokenizer(model["vocab"], [tuple(merge) for merge in model["merges"]])
    signs = [START, *([LANGUAGE] if multilingual else []), *TASKS, PLAIN]
    tokenizer.add_special_tokens({"additional_special_tokens": signs})
    return tokenizer


def make_whisper(
    texts: list[str],
    n_tokens: int = 300,
    multilingual: bool = False,
    seconds: int = 5,
    n_mels: int = 80,
    **sizes: Any,
) -> tuple[WhisperForConditionalGeneration, WhisperFeatureExtractor, WhisperTokenizer]:
    """Make a Whisper with random weights and a window of `seconds`; `sizes` go to WhisperConfig."""
    tokenizer = whisper_tokenizer(texts, n_tokens, multilingual)
    ids = {sign: tokenizer.convert_tokens_to_ids(sign) for sign in (START, PLAIN, *TASKS, LANGUAGE)}
    end = tokenizer.eos_token_id
    defaults = {
        "vocab_size": len(tokenizer),
        "num_mel_bins": n_mels,
        "max_source_positions": 50 * seconds,
        "decoder_start_token_id": ids[START],
        **dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), end),
    }
    config = WhisperConfig(**(defaults | sizes))
    model = WhisperForConditionalGeneration(config)
    settings: dict[str, Any] = {"no_timestamps_token_id": ids[PLAIN]}
    settings["is_multilingual"] = multilingual
    if multilingual:
        settings["lang_to_id"] = {LANGUAGE: ids[LANGUAGE]}
        settings["task_to_id"] = {sign.strip("<|>"): ids[sign] for sign in TASKS}
    # Not derived from the configuration: what is would be dropped when it is read again.
    model.generation_config = GenerationConfig(
        decoder_start_token_id=ids[START],
        max_length=config.max_target_positions,
        **dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), end),
        **settings,
    )
    extractor = WhisperFeatureExtractor(feature_size=n_mels, chunk_length=seconds)
    return model, extractor, tokenizer


def letters_tokenizer() -> Wav2Vec2CTCTokenizer:
    """Return capitals, the apostrophe and a bar between words, as in the hub's CTC recognisers."""
    letters = ["<pad>", "<s>", "</s>", "<unk>", "|", *string.ascii_uppercase, "'"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vocab.json"
        path.write_text(json.dumps({letter: n for n, letter in enumerate(letters)}))
        return Wav2Vec2CTCTokenizer(str(path))


def wave_extractor() -> Wav2Vec2FeatureExtractor:
    """Return the feature extractor that normalises each signal to mean 0 and variance 1."""
    return Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=False)


def save(folder: Path, model: PreTrainedModel, *others: Any) -> Path:
    """Write a recogniser as the hub stores it."""
    for part in (model, *others):
        part.save_pretrained(folder)
    return folder
