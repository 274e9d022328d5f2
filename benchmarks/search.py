"""SpeechBrain's beam search against ours on the same weights: CPU time per utterance, one core.

    python -m benchmarks.search                 # about two minutes, some GB of memory
    python -m benchmarks.search --steps 5
    python -m benchmarks.search --trained path.exp_folder=/data/exp ...      # a trained recogniser

Full size is the published recogniser with random weights, 4 s of noise and beam 66; both searches
stop after the same number of steps, because random weights predict no end. `--trained` takes
overrides of demo/config.yaml; by default it is the miniature's recogniser (make demo) on the first
of its test signals. Both searches have to find the same words.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from torch import Tensor

from infer import list_pairs
from intelligibility.ears import read_speech
from intelligibility.experiment import Experiment
from intelligibility.recognisers.beam_search import BeamSearch
from intelligibility.recognisers.settings import load_settings, read_settings
from intelligibility.recognisers.speechbrain import SpeechBrainRecogniser, search_settings
from intelligibility.runs import RECIPE

CPU = torch.device("cpu")
SECONDS = 4.0  # of noise, for full size
N_SIGNALS = 20  # of the trained recogniser


def full_size(n_steps: int) -> tuple[dict[str, Any], SpeechBrainRecogniser, list[Tensor]]:
    """Return the published sizes with random weights, and one encoded signal."""
    folders = {"data_folder": "none", "output_folder": "none"}
    hparams = read_settings(RECIPE / "transformer_cpc1.yaml", folders)
    hparams["normalize"].glob_mean = torch.full((hparams["n_mels"],), -20.0)
    hparams["normalize"].glob_std = torch.full((hparams["n_mels"],), 10.0)
    recogniser = SpeechBrainRecogniser(hparams, CPU)
    noise = 0.1 * torch.randn(int(SECONDS * hparams["sample_rate"]))
    _, encoded, _ = recogniser.encode([noise])
    hparams["max_decode_ratio"] = (n_steps + 0.5) / encoded.shape[1]
    hparams["test_search"].max_decode_ratio = hparams["max_decode_ratio"]
    return hparams, recogniser, [encoded]


def trained(overrides: list[str]) -> tuple[dict[str, Any], SpeechBrainRecogniser, list[Tensor]]:
    """Return a trained recogniser and encoded test signals."""
    with initialize_config_dir(str(RECIPE), version_base="1.3"):
        cfg = compose("demo/config", overrides)
    experiment = Experiment.from_config(cfg)
    hparams = load_settings(cfg, experiment)
    recogniser = SpeechBrainRecogniser.load(hparams, experiment.save_folder, CPU)
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
    theirs = hparams["test_search"].eval()
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
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=10, help="search steps at full size")
    parser.add_argument("--trained", action="store_true", help="the trained recogniser alone")
    arguments, overrides = parser.parse_known_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(
        "| d_model, layers | tokens | beam | frames | steps | SpeechBrain, s | ours, s | ratio "
        "| same words |\n|---|---|---|---|---|---|---|---|---|"
    )
    print(compare(*trained(overrides)), flush=True)
    if not arguments.trained:
        print(compare(*full_size(arguments.steps)), flush=True)


if __name__ == "__main__":
    main()
