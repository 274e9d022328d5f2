"""infer.py against the published procedure: recogniser passes and time per signal.

    python -m benchmarks.infer                              # on the miniature, after make demo
    python -m benchmarks.infer --signals 50 device=cuda     # overrides of demo/config.yaml

The published procedure recognises four ear signals for every hearing-aid output, so the two of a
reference again and again, each with SpeechBrain's search and with a forced decoding of the prompt
whose result is discarded. Both process the same signals, whole scenes, and their similarities are
compared. Time is CPU time on one core, or wall-clock time with a GPU.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from speechbrain.decoders.seq2seq import S2STransformerBeamSearcher
from torch import Tensor

from infer import Pair, hear_and_compare, list_pairs
from intelligibility.ears import read_speech
from intelligibility.experiment import Experiment
from intelligibility.recognisers import Recogniser
from intelligibility.recognisers.settings import load_settings
from intelligibility.recognisers.speechbrain import SpeechBrainRecogniser, keep_products_exact
from intelligibility.runs import RECIPE, pick_device
from intelligibility.similarity import aligned_similarity, framewise_similarity


def speechbrain_search(hparams: dict[str, Any]) -> S2STransformerBeamSearcher:
    """Return SpeechBrain's search as the published recipe sets it for its tests."""
    search = hparams["valid_search"].eval()
    search.beam_size, search.length_normalization = hparams["test_beam_size"], True
    return search


class PublishedProcedure:
    """Every ear signal separately, as in the published code."""

    def __init__(self, hparams: dict[str, Any], recogniser: SpeechBrainRecogniser):
        self.hparams, self.recogniser = hparams, recogniser
        self.search = speechbrain_search(hparams).to(recogniser.device)
        self.last_beam_states = torch.empty(0)
        self.plain_decode = recogniser.transformer.decode
        recogniser.transformer.decode = self.decode

    def decode(self, tokens: Tensor, encoded: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Decode for SpeechBrain's search, and keep the states of beam 0."""
        states, attention = self.plain_decode(tokens, encoded, lengths)
        self.last_beam_states = states[0]
        return states, attention

    @torch.inference_mode()
    def features(self, wav: Path, prompt: str) -> tuple[Tensor, Tensor]:
        """Return the encoder's and the decoder's features of one ear signal."""
        _, encoded, _ = self.recogniser.encode([read_speech(wav, self.recogniser.lengths)])
        tokens = [self.hparams["bos_index"], *self.recogniser.tokenizer.encode_as_ids(prompt)]
        self.plain_decode(torch.tensor([tokens], device=encoded.device), encoded)
        self.search(encoded, torch.ones(1, device=encoded.device))
        return encoded[0].cpu(), self.last_beam_states.cpu()

    def measure(self, groups: list[list[Pair]]) -> Iterator[tuple[Pair, dict[str, float]]]:
        """Measure signals one by one."""
        for pair in (pair for group in groups for pair in group):
            ears = [self.features(wav, pair.prompt) for wav in (*pair.processed, *pair.reference)]
            encoder, decoder = ((layer[:2], layer[2:]) for layer in zip(*ears, strict=True))
            measures = {"enc": framewise_similarity(*encoder), "dec": aligned_similarity(*decoder)}
            yield pair, measures


def ours(
    groups: list[list[Pair]], recogniser: Recogniser
) -> Iterator[tuple[Pair, dict[str, float]]]:
    """Measure signals as infer.py does."""
    results = hear_and_compare(groups, recogniser, "fastdtw", all_layers=False)
    yield from zip((pair for group in groups for pair in group), results, strict=True)


def timed(
    measured: Iterator[tuple[Pair, dict[str, float]]], clock: Callable[[], float]
) -> tuple[float, dict[str, dict[str, float]]]:
    """Return the seconds that measuring takes, and the measures."""
    started = clock()
    found = {pair.key: similarities for pair, similarities in measured}
    return clock() - started, found


def some_groups(experiment: Experiment, n_signals: int) -> list[list[Pair]]:
    """Return groups of the test set with at least `n_signals` signals, if it has as many."""
    groups: dict[tuple, list[Pair]] = defaultdict(list)
    for pair in (pair for pair in list_pairs(experiment) if pair.split == "test"):
        key = pair.reference, pair.prompt
        if key in groups or sum(map(len, groups.values())) < n_signals:
            groups[key].append(pair)
    return list(groups.values())


def trained(overrides: list[str]) -> tuple[Experiment, dict[str, Any], SpeechBrainRecogniser]:
    """Return an experiment with its recogniser and that one's settings, on one thread."""
    with initialize_config_dir(str(RECIPE), version_base="1.3"):
        cfg = compose("demo/config", overrides)
    torch.set_num_threads(1)
    keep_products_exact()
    experiment = Experiment.from_config(cfg)
    hparams = load_settings(cfg, experiment)
    device = pick_device(cfg.device)
    return experiment, hparams, SpeechBrainRecogniser.load(hparams, experiment.save_folder, device)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--signals", type=int, default=24, help="at least so many")
    arguments, overrides = parser.parse_known_args()
    experiment, hparams, recogniser = trained(overrides)
    device = recogniser.device
    groups = some_groups(experiment, arguments.signals)
    n_signals = sum(map(len, groups))
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    list(ours(groups[:1], recogniser))  # warms up
    seconds, found = timed(ours(groups, recogniser), clock)
    name = torch.cuda.get_device_name() if device.type == "cuda" else "one CPU core"
    print(f"{n_signals} signals of {len(groups)} scenes, {name}\n")
    print("| procedure | passes per signal | s per signal | signals per s |\n|---|---|---|---|")
    row = "| {} | {:.2f} | {:.4f} | {:.2f} |"
    passes = 2 + 2 * len(groups) / n_signals
    print(row.format("infer.py", passes, seconds / n_signals, n_signals / seconds), flush=True)
    published = PublishedProcedure(hparams, recogniser)
    seconds, theirs = timed(published.measure(groups), clock)
    print(row.format("published", 4, seconds / n_signals, n_signals / seconds))
    for what in ("enc", "dec"):
        largest = max(abs(found[key][what] - theirs[key][what]) for key in theirs)
        print(f"\nLargest difference of {what} similarities: {largest:.1e}")


if __name__ == "__main__":
    main()
