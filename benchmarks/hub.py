"""infer.py with a Whisper against a plain loop: encoder passes and time per signal.

    python -m benchmarks.hub                          # the size of whisper-base, random weights
    python -m benchmarks.hub --scenes 2 --signals 6   # six signals share each reference
    python -m benchmarks.hub --device cuda

The plain loop processes each ear separately, as the documentation of transformers shows it:
`generate` for the words, `forward` for the layers and the log-probability of the text, for both
ears of the signal and of its reference. Both receive the same 3 s of noise in place of speech, and
stop after as many tokens as a sentence has, because random weights predict no end. The script also
compares their measures. Time is CPU time on one core, or wall-clock time with a GPU.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
import torch
from torch import Tensor

from benchmarks.infer import ours
from benchmarks.made.hub_models import RATE, make_whisper
from infer import Pair
from intelligibility.ears import read_speech
from intelligibility.recognisers.recognition import Recognition
from intelligibility.recognisers.whisper import SAMPLES_PER_FRAME, WhisperRecogniser
from intelligibility.similarity import similarities_of

SECONDS = 3.0
MOST_TOKENS = 20  # of a sentence, with what precedes it
PROMPT = "it will remain off the song sheet"
BASE: dict[str, Any] = {  # of whisper-base
    "vocab_size": 51865,
    "d_model": 512,
    "encoder_layers": 6,
    "decoder_layers": 6,
    "encoder_attention_heads": 8,
    "decoder_attention_heads": 8,
    "encoder_ffn_dim": 2048,
    "decoder_ffn_dim": 2048,
}


class PlainLoop:
    """Every ear of every signal separately, with transformers alone."""

    def __init__(self, recogniser: WhisperRecogniser):
        self.ours, self.model = recogniser, recogniser.model

    @torch.inference_mode()
    def recognise(self, signal: Tensor, text: str) -> Recognition:
        """Return layers, words and log-probability of one ear."""
        extract, tokenizer = self.ours.extractor, self.ours.tokenizer
        features = extract(signal.numpy(), sampling_rate=RATE, return_tensors="pt").input_features
        features = features.to(self.model.device)
        words = tokenizer.decode(
            self.model.generate(features, return_timestamps=False)[0], skip_special_tokens=True
        )
        tokens, first = self.ours.tokens_of(text), len(self.ours.prefix) - 1
        given = torch.tensor([[*self.ours.prefix, *tokens]], device=self.model.device)
        found = self.model(features, decoder_input_ids=given, output_hidden_states=True)
        scores = found.logits[0, first:-1].log_softmax(-1)
        frames = -(-len(signal) // SAMPLES_PER_FRAME)
        front = found.encoder_hidden_states[0][0] - self.model.get_encoder().embed_positions.weight
        layers = {
            "cnn": front[:frames].cpu(),
            "encoder": found.encoder_hidden_states[-1][0, :frames].cpu(),
            "decoder": found.decoder_hidden_states[-1][0, first:].cpu(),
        }
        log_prob = scores[range(len(tokens)), tokens].mean().item()
        return Recognition(layers, words.strip(), log_prob, clocks={"decoder": "text"})

    def measure(self, groups: list[list[Pair]]) -> Iterator[tuple[Pair, dict[str, float]]]:
        """Measure signals one by one."""
        for pair in (pair for group in groups for pair in group):
            wavs = (read_speech(w, self.ours.lengths) for w in (*pair.processed, *pair.reference))
            left, right, *reference = (self.recognise(wav, pair.prompt) for wav in wavs)
            ears = (left, right), (reference[0], reference[1])
            marked = self.ours.marked_words
            yield pair, similarities_of(*ears, pair.prompt, "fastdtw", marked)


def make_groups(folder: Path, n_scenes: int, n_signals: int) -> list[list[Pair]]:
    """Write noise for every ear of `n_scenes` scenes with `n_signals` signals each."""
    rng = np.random.default_rng(0)
    envelope = 0.1 + 0.1 * np.sin(2 * np.pi * 4 * np.arange(int(SECONDS * RATE)) / RATE)

    def ears(name: str) -> tuple[Path, Path]:
        paths = folder / f"left_{name}.wav", folder / f"right_{name}.wav"
        for path in paths:
            noise = (envelope * rng.standard_normal(len(envelope))).astype("float32")
            sf.write(path, noise, RATE, subtype="FLOAT")
        return paths

    groups = []
    for scene in range(n_scenes):
        reference = ears(f"S{scene}")
        names = [f"S{scene}_{number}" for number in range(n_signals)]
        groups.append(
            [Pair("test", name, ears(name), reference, PROMPT, SECONDS) for name in names]
        )
    return groups


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=1)
    parser.add_argument("--signals", type=int, default=3, help="per scene")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    device = torch.device(arguments.device)
    model, extractor, tokenizer = make_whisper([PROMPT], seconds=30, **BASE)
    model.generation_config.max_length = MOST_TOKENS
    recogniser = WhisperRecogniser(model, extractor, tokenizer, device)
    passes = [0]
    encoder = model.get_encoder().layers[0]
    encoder.register_forward_hook(
        lambda block, inputs, output: passes.__setitem__(0, passes[0] + len(output))
    )
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    n_signals = arguments.scenes * arguments.signals
    parameters = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    print(f"{parameters:.0f} M parameters, {n_signals} signals of {SECONDS:g} s, {device}\n")
    print("| procedure | passes of the encoder per signal | s per signal |\n|---|---|---|")
    taken, found = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        groups = make_groups(Path(folder), arguments.scenes, arguments.signals)
        plain = PlainLoop(recogniser)
        plain.recognise(
            read_speech(groups[0][0].processed[0], recogniser.lengths), PROMPT
        )  # warms up
        for name, measured in (
            ("infer.py", ours(groups, recogniser)),
            ("plain loop", plain.measure(groups)),
        ):
            passes[0], started = 0, clock()
            found[name] = {pair.key: measures for pair, measures in measured}
            taken[name] = clock() - started
            numbers = passes[0] / n_signals, taken[name] / n_signals
            print("| {} | {:.2f} | {:.2f} |".format(name, *numbers), flush=True)
    print(f"\nThe plain loop takes {taken['plain loop'] / taken['infer.py']:.2f} times as long.")
    first, second = found.values()
    largest = max(abs(first[key][name] - second[key][name]) for key in first for name in first[key])
    print(f"Largest difference of any measure: {largest:.1e}")


if __name__ == "__main__":
    main()
