"""infer.py with a Whisper against a plain loop: encoder passes and time per signal.

    python -m benchmarks.hub openai/whisper-tiny.en        # on the miniature, after make demo
    python -m benchmarks.hub FOLDER --signals 12 --seconds 5 device=cuda path.exp_folder=...

The plain loop processes each ear separately, as the documentation of transformers shows it:
`generate` for the words, `forward` for the layers and the log-probability of the text, for both
ears of the signal and of its reference. infer.py recognises a reference once, in either window.
All receive the same ear signals of whole scenes, repeated until they last `--seconds`, and their
measures are compared. Time is CPU time on one core, or wall-clock time with a GPU; that of the
words is a part of it.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import soundfile as sf
import torch
from hydra import compose, initialize_config_dir
from torch import Tensor

from benchmarks.infer import ours, some_groups, timed
from infer import Pair
from intelligibility.ears import read_speech
from intelligibility.experiment import Experiment
from intelligibility.recognisers.hub import fetch_model, load
from intelligibility.recognisers.recognition import Recognition
from intelligibility.recognisers.whisper import (
    SAMPLES_PER_FRAME,
    WINDOWS,
    WhisperOptions,
    WhisperRecogniser,
)
from intelligibility.runs import ASR_RATE, RECIPE, pick_device
from intelligibility.similarity import similarities_of


class PlainLoop:
    """Every ear of every signal separately, with transformers alone."""

    def __init__(self, recogniser: WhisperRecogniser):
        self.ours, self.model = recogniser, recogniser.model

    @torch.inference_mode()
    def recognise(self, signal: Tensor, text: str) -> Recognition:
        """Return layers, words and log-probability of one ear."""
        extract, tokenizer = self.ours.extractor, self.ours.tokenizer
        features = extract(
            signal.numpy(), sampling_rate=ASR_RATE, return_tensors="pt"
        ).input_features
        features = features.to(self.model.device)
        told = {"language": "en", "task": "transcribe"} if len(self.ours.prefix) > 2 else {}
        said = self.model.generate(features, **told)
        words = tokenizer.decode(said[0], skip_special_tokens=True)
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


def lasting(seconds: float, groups: list[list[Pair]], folder: Path) -> list[list[Pair]]:
    """Write the ear signals of all pairs again, each repeated until it lasts so long."""

    def longer(wavs: tuple[Path, Path]) -> tuple[Path, Path]:
        written = []
        for wav in wavs:
            signal, rate = sf.read(wav, dtype="float32")
            written.append(folder / f"{wav.parent.name}_{wav.name}")
            sf.write(written[-1], np.resize(signal, round(seconds * rate)), rate, subtype="FLOAT")
        return written[0], written[1]

    return [
        [
            replace(pair, processed=longer(pair.processed), reference=longer(pair.reference))
            for pair in group
        ]
        for group in groups
    ]


def watched(recogniser: WhisperRecogniser, clock: Callable[[], float]) -> dict[str, float]:
    """Count the signals that pass the encoder from now on, and the seconds that words take."""
    spent = {"passes": 0.0, "words": 0.0}
    generate = recogniser.generate

    def timed_words(encoded: Tensor, most: list[int]) -> tuple[list[list[int]], list[bool]]:
        started = clock()
        found = generate(encoded, most)
        spent["words"] += clock() - started
        return found

    def count(block: torch.nn.Module, inputs: tuple, output: Tensor) -> None:
        spent["passes"] += len(output)

    recogniser.model.get_encoder().layers[0].register_forward_hook(count)
    recogniser.generate = timed_words  # type: ignore[method-assign]
    return spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recogniser", help="a Whisper: a hub id or a folder")
    parser.add_argument("--signals", type=int, default=6, help="at least so many")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of each")
    arguments, overrides = parser.parse_known_args()
    with initialize_config_dir(str(RECIPE), version_base="1.3"):
        cfg = compose("demo/config", overrides)
    torch.set_num_threads(1)
    device = pick_device(cfg.device)
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    groups = some_groups(Experiment.from_config(cfg), arguments.signals)
    n_signals, model = sum(map(len, groups)), fetch_model(arguments.recogniser)
    print(f"{n_signals} signals of {arguments.seconds:g} s, {len(groups)} references, {device}\n")
    print("| procedure | passes of the encoder per signal | s per signal | of it words |")
    print("|---|---|---|---|")
    found, taken = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        groups = lasting(arguments.seconds, groups, Path(folder))
        for name in ("plain loop", *WINDOWS):
            options = WhisperOptions(window="trained" if name == "plain loop" else name)
            recogniser = load(model, device, options)
            assert isinstance(recogniser, WhisperRecogniser)
            plain = PlainLoop(recogniser)
            measure = (
                plain.measure if name == "plain loop" else partial(ours, recogniser=recogniser)
            )
            list(measure(groups[:1]))  # warms up
            spent = watched(recogniser, clock)
            taken[name], found[name] = timed(measure(groups), clock)
            label = name if name == "plain loop" else f"infer.py window={name}"
            numbers = (one / n_signals for one in (spent["passes"], taken[name], spent["words"]))
            print("| {} | {:.2f} | {:.2f} | {:.2f} |".format(label, *numbers), flush=True)
    for name in WINDOWS:
        ratio = taken["plain loop"] / taken[name]
        print(f"\nThe plain loop takes {ratio:.2f} times as long as window={name}.", end=" ")
        first, second = found["plain loop"], found[name]
        for one in next(iter(first.values())):
            largest = max(abs(first[key][one] - second[key][one]) for key in first)
            print(f"{one} differs by up to {largest:.1e}.", end=" ")
    print()


if __name__ == "__main__":
    main()
