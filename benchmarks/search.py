"""SpeechBrain's beam search against ours on the same weights: CPU time per utterance, one core.

    python -m benchmarks.search                 # about two minutes, some GB of memory
    python -m benchmarks.search --steps 5

Full size is the published recogniser with random weights, 4 s of noise and beam 66; both searches
stop after the same number of steps, because random weights predict no end. The trained recogniser
is the miniature's (make demo, or overrides of demo/config.yaml) on the first of its test signals.
Both searches have to find the same words.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.infer import speechbrain_search, trained
from benchmarks.made.recogniser import full_size
from infer import list_pairs
from intelligibility.ears import read_speech
from intelligibility.recognisers.beam_search import BeamSearch
from intelligibility.recognisers.speechbrain import SpeechBrainRecogniser, search_settings
from intelligibility.runs import ASR_RATE

SECONDS = 4.0  # of noise, for full size
N_SIGNALS = 20  # of the trained recogniser

Case = tuple[dict[str, Any], SpeechBrainRecogniser, list[Tensor]]  # and encoded signals


def noise_at_full_size(n_steps: int) -> Case:
    """Return the published sizes with random weights, and one encoded signal of noise."""
    hparams, recogniser = full_size(torch.device("cpu"))
    _, encoded, _ = recogniser.encode([0.1 * torch.randn(int(SECONDS * ASR_RATE))])
    hparams["max_decode_ratio"] = (n_steps + 0.5) / encoded.shape[1]
    hparams["valid_search"].max_decode_ratio = hparams["max_decode_ratio"]
    return hparams, recogniser, [encoded]


def some_signals(overrides: list[str]) -> Case:
    """Return a trained recogniser and encoded test signals."""
    experiment, hparams, recogniser = trained([*overrides, "device=cpu"])
    pairs = [pair for pair in list_pairs(experiment) if pair.split == "test"][:N_SIGNALS]
    signals = [read_speech(wav, recogniser.lengths) for pair in pairs for wav in pair.processed]
    return hparams, recogniser, [recogniser.encode([signal])[1] for signal in signals]


def timed(search: Callable[[Tensor], Any], utterances: list[Tensor]) -> tuple[float, list[Any]]:
    """Return the median CPU seconds per utterance and what was found; the first warms up."""
    seconds, found = [], []
    for utterance in (utterances[0], *utterances):
        started = time.process_time()
        found.append(search(utterance))
        seconds.append(time.process_time() - started)
    return statistics.median(seconds[1:]), found[1:]


@torch.no_grad()
def compare(
    hparams: dict[str, Any], recogniser: SpeechBrainRecogniser, utterances: list[Tensor]
) -> str:
    """Time both searches on the same utterances; return a row of the table."""
    settings = search_settings(hparams)
    ours = BeamSearch(recogniser.transformer, hparams["seq_lin"], hparams["ctc_lin"], settings)
    theirs = speechbrain_search(hparams)
    theirs.return_topk = True
    our_seconds, results = timed(lambda x: ours(x)[0], utterances)
    their_seconds, hypotheses = timed(lambda x: theirs(x, torch.ones(1))[0][0, 0], utterances)
    agree = sum(
        list(result.hypotheses[0].tokens)
        == [token for token in tokens.tolist() if token not in (0, settings.eos_index)]
        for result, tokens in zip(results, hypotheses, strict=True)
    )
    steps = statistics.mean(len(result.last_beam_states) for result in results)
    size = (
        f"{hparams['d_model']}, {hparams['num_encoder_layers']} + {hparams['num_decoder_layers']}"
    )
    return (
        f"| {size} | {hparams['output_neurons']} | {settings.beam_size} "
        f"| {statistics.mean(x.shape[1] for x in utterances):.0f} | {steps:.1f} "
        f"| {their_seconds:.3f} | {our_seconds:.3f} | {their_seconds / our_seconds:.1f} "
        f"| {agree} of {len(results)} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=10, help="search steps at full size")
    arguments, overrides = parser.parse_known_args()
    torch.manual_seed(0)
    print(
        "| d_model, layers | tokens | beam | frames | steps | SpeechBrain, s | ours, s | ratio "
        "| same words |\n|---|---|---|---|---|---|---|---|---|"
    )
    print(compare(*some_signals(overrides)), flush=True)
    print(compare(*noise_at_full_size(arguments.steps)), flush=True)


if __name__ == "__main__":
    main()
