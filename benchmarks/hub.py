"""Whispers: what infer.py costs beside a plain loop, and how well each layer predicts.

    python -m benchmarks.hub cost openai/whisper-tiny.en        # on the miniature, after make demo
    python -m benchmarks.hub cost FOLDER --signals 12 --seconds 5 device=cuda path.exp_folder=...
    python -m benchmarks.hub memory FOLDER
    python -m benchmarks.hub layers docs/hub_layers.png miniature-trained/whisper-tiny.en ...
    python -m benchmarks.hub measures scene-signal/whisper-base

The plain loop processes each ear separately, as the documentation of transformers shows it:
`generate` for the words, `forward` for the layers and the log-probability of the text, for both
ears of the signal and of its reference. infer.py recognises a reference once, in either window.
All receive the same ear signals of whole scenes, repeated until they last `--seconds`, and their
measures are compared. Time is CPU time on one core, or wall-clock time with a GPU; that of the
words is a part of it.

Memory is that of two processes which hold the recogniser at the same time, as with n_jobs=2, after
a signal of three seconds. The figure is of folders CORPUS-WINDOW/RECOGNISER with the results of
infer.py: by layer, the NCC of the test signals, with a curve that was fitted on dev and the
bootstrap over scenes of evaluate.py; of a corpus without dev signals, Pearson's correlation of the
similarity and the interval of Fisher's z. `measures` prints the latter of every measure and
baseline.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile as sf
import torch
from hydra import compose, initialize_config_dir
from matplotlib import rc_context
from matplotlib.figure import Figure
from scipy.stats import pearsonr
from torch import Tensor

from benchmarks.infer import ours, some_groups, timed
from infer import Pair
from intelligibility.corpora.presentation import ARCHIVES
from intelligibility.ears import read_speech
from intelligibility.evaluation.curve import fit_curve
from intelligibility.evaluation.drawing import BLUE, ORANGE, PAGE, STYLE, legend_below
from intelligibility.evaluation.layers import ROUNDING
from intelligibility.evaluation.scoring import (
    SCORES,
    bootstrap_scores,
    draw_scenes,
    interval,
    score,
)
from intelligibility.experiment import Experiment
from intelligibility.recognisers.hub import fetch_model, load
from intelligibility.recognisers.recognition import Recognition
from intelligibility.recognisers.whisper import (
    SAMPLES_PER_FRAME,
    WhisperOptions,
    WhisperRecogniser,
)
from intelligibility.runs import ASR_RATE, RECIPE, atomic_path, pick_device, read_json
from intelligibility.similarity import similarities_of

PLAIN = "plain loop"
# The window, and whether the words of every reference are recognised, which no measure needs.
PROCEDURES = {
    PLAIN: ("trained", True),
    "infer.py window=trained, words of references too": ("trained", True),
    "infer.py window=trained": ("trained", False),
    "infer.py window=signal, words of references too": ("signal", True),
    "infer.py window=signal": ("signal", False),
}


class PlainLoop:
    """Every ear of every signal separately, with transformers alone."""

    def __init__(self, recogniser: WhisperRecogniser):
        self.ours, self.model = recogniser, recogniser.model

    @torch.inference_mode()
    def recognise(self, signal: Tensor, text: str) -> Recognition:
        """Return layers, words and log-probability of one ear."""
        extract, tokenizer = self.ours.extractor, self.ours.tokenizer
        extracted = extract(signal.numpy(), sampling_rate=ASR_RATE, return_tensors="pt")
        features = extracted.input_features.to(self.model.device)
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


def cost(arguments: argparse.Namespace, overrides: list[str]) -> None:
    """Print what each procedure costs, and by how much its measures differ from the plain loop."""
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
        for name, (window, checked) in PROCEDURES.items():
            recogniser = load(model, device, WhisperOptions(window=window))
            assert isinstance(recogniser, WhisperRecogniser)
            plain = PlainLoop(recogniser).measure if name == PLAIN else None
            measure = plain or partial(ours, recogniser=recogniser)
            asked = [[replace(pair, checked=checked) for pair in group] for group in groups]
            list(measure(asked[:1]))  # warms up
            spent = watched(recogniser, clock)
            taken[name], found[name] = timed(measure(asked), clock)
            numbers = (one / n_signals for one in (spent["passes"], taken[name], spent["words"]))
            print("| {} | {:.2f} | {:.2f} | {:.2f} |".format(name, *numbers), flush=True)
    first = found.pop(PLAIN)
    for name, second in found.items():
        print(
            f"\n{name}: the plain loop takes {taken[PLAIN] / taken[name]:.2f} times as long.",
            end=" ",
        )
        for one in next(iter(first.values())):
            largest = max(abs(first[key][one] - second[key][one]) for key in first)
            print(f"{one} differs by up to {largest:.1e}.", end=" ")
    print()


def memory(arguments: argparse.Namespace, overrides: list[str]) -> None:
    """Print what two processes with a recogniser each hold."""
    print("| process | | resident, MB | of its own, MB |")
    print("|---|---|---|---|", flush=True)
    new = torch.multiprocessing.get_context("spawn")
    both = new.Barrier(2)
    processes = [new.Process(target=hold, args=(arguments.recogniser, both, n)) for n in (1, 2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()


def hold(recogniser: str, both: Barrier, number: int) -> None:
    """Print the memory of this process before there is a recogniser, and after its first signal."""
    for what in ("libraries", "with the recogniser"):
        if what != "libraries":
            loaded = load(fetch_model(recogniser), torch.device("cpu"), all_layers=True)
            next(loaded.recognise([torch.randn(3 * ASR_RATE)], ["What was said"]))
        both.wait()
        lines = Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]
        held = {name: 1.024e-3 * int(kib) for name, kib, _ in map(str.split, lines)}
        own = held["Private_Clean:"] + held["Private_Dirty:"]
        print(f"| {number} | {what} | {held['Rss:']:.0f} | {own:.0f} |", flush=True)
        both.wait()


def correlation(
    dev: pd.DataFrame, test: pd.DataFrame, layer: str
) -> tuple[float, float, float] | None:
    """Return how predictions from one layer, and the answers on test, correlate; and the interval.

    None where the similarity is the same in every signal.
    """
    similarity, answers = test[layer].to_numpy(), test["correctness"].to_numpy()
    if np.ptp(similarity) < ROUNDING:
        return None
    if dev.empty:
        pearson = pearsonr(similarity, answers)
        return (pearson.statistic, *pearson.confidence_interval())
    curve = fit_curve(dev[layer].to_numpy(), dev["correctness"].to_numpy())
    predicted = curve.predict(similarity)
    scenes, scene = np.unique(test["scene"], return_inverse=True)
    resamples = bootstrap_scores(predicted, answers, scene, draw_scenes(len(scenes), seed=1))
    ncc = score(predicted, answers)["NCC"]
    ends = interval(resamples["NCC"], ncc, SCORES["NCC"])
    assert ncc is not None and ends is not None
    return ncc, ends[0], ends[1]


def answers_of(folder: Path) -> pd.DataFrame:
    """Return scene and percent words correct of every signal, by name."""
    archives = read_json(folder.parent / "presentations.json", dict)
    entries = [entry for archive in ARCHIVES for entry in archives.get(archive, [])]
    return pd.DataFrame(entries).set_index("signal")[["scene", "correctness"]]


def measures(arguments: argparse.Namespace, overrides: list[str]) -> None:
    """Print how each measure of the test signals correlates with the answers."""
    files = [*arguments.folder.glob("test_*.json"), *arguments.folder.parent.glob("test_*.json")]
    known = answers_of(arguments.folder)
    print("| measure | Pearson (95 %, Fisher's z) |\n|---|---|")
    for file in sorted(files):
        if (name := file.stem.split("_")[1]) != "layers":
            test = known.join(pd.Series(read_json(file, dict), name=name), how="inner")
            found = correlation(pd.DataFrame(), test, name)
            print("| {} | {:.2f} ({:.2f} to {:.2f}) |".format(name, *found or [np.nan] * 3))


def correlations(folder: Path) -> dict[str, tuple[float, float, float] | None]:
    """Return every layer's correlation and interval, of the results in a folder."""
    known = answers_of(folder)
    dev, test = (
        pd.DataFrame(read_json(folder / f"{split}_layers_similarity.json", dict)).join(known)
        for split in ("dev", "test")
    )
    return {layer: correlation(dev, test, layer) for layer in map(str, test) if layer not in known}


@rc_context(STYLE)
def layers(arguments: argparse.Namespace, overrides: list[str]) -> None:
    """Draw a panel per recogniser and corpus, a line per window."""
    folders = {(one.name, *one.parent.name.split("-", 1)): one for one in arguments.folders}
    recognisers, corpora, _ = (list(dict.fromkeys(ones)) for ones in zip(*folders, strict=True))
    figure = Figure((PAGE, 2.3 * len(recognisers)), layout="constrained")
    panels = figure.subplots(
        len(recognisers), len(corpora), sharey=True, sharex="row", squeeze=False
    )
    for (recogniser, corpus, window), folder in folders.items():
        axes = panels[recognisers.index(recogniser), corpora.index(corpus)]
        found = correlations(folder)
        colour, shift = (BLUE, -0.1) if window == "trained" else (ORANGE, 0.1)
        for part in ("cnn", "encoder", "decoder"):
            rows = [
                (n, *one) for n, (name, one) in enumerate(found.items()) if one and part in name
            ]
            at, values, low, high = np.array(rows).T
            axes.errorbar(
                at + shift, values, (values - low, high - values), marker="o", ms=3, lw=0.9,
                color=colour, elinewidth=0.5, label=f"window={window}" if part == "cnn" else None,
            )  # fmt: skip
        axes.set_xticks(range(len(found)), found, rotation=90)
        axes.set_title(f"{recogniser.removeprefix('whisper-')}, {corpus}")
    for axes in panels[:, 0]:
        axes.set_ylabel("NCC")
    legend_below(figure, panels[0, 0], 2)
    with atomic_path(arguments.png) as unfinished:
        figure.savefig(unfinished, dpi=130, format="png", metadata={"Software": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    costs = commands.add_parser("cost", help="print a table of seconds per signal")
    costs.set_defaults(call=cost)
    costs.add_argument("recogniser", help="a Whisper: a hub id or a folder")
    costs.add_argument("--signals", type=int, default=6, help="at least so many")
    costs.add_argument("--seconds", type=float, default=5.0, help="length of each")
    held = commands.add_parser("memory", help="print what two processes with a recogniser hold")
    held.set_defaults(call=memory)
    held.add_argument("recogniser", help="a Whisper: a hub id or a folder")
    drawn = commands.add_parser("layers", help="draw the correlation by layer")
    drawn.set_defaults(call=layers)
    drawn.add_argument("png", type=Path)
    drawn.add_argument("folders", type=Path, nargs="+", help="CORPUS-WINDOW/RECOGNISER")
    printed = commands.add_parser("measures", help="print correlations with the answers")
    printed.set_defaults(call=measures)
    printed.add_argument("folder", type=Path, help="a recogniser's, in exp_folder")
    arguments, overrides = parser.parse_known_args()
    if overrides and arguments.call is not cost:
        parser.error(f"{' '.join(overrides)}: only cost takes overrides of the configuration")
    arguments.call(arguments, overrides)


if __name__ == "__main__":
    main()
