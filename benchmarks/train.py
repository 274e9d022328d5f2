"""What does training cost? Prints tables: padding, then steps per second and memory.

    python -m benchmarks.train padding                       # made durations in the size of CPC1
    python -m benchmarks.train steps                         # full size, fp32 and bf16, on the GPU
    python -m benchmarks.train steps --device cpu --batch-size 2 --steps 2 --precision fp32

`padding` compares an epoch of batches drawn at random with one of dynamic_batching: the share of
padding and the number of batches. `steps` trains the recogniser of transformer_cpc1.yaml on noise
as long as CPC1's signals, from the same weights for each precision, and saves and loads its
checkpoint. The losses of all steps are written to --losses as json.
"""

import argparse
import dataclasses
import json
import resource
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import soundfile
import speechbrain as sb
import torch

import train_asr
from intelligibility.recognisers.settings import read_settings
from intelligibility.recognisers.values import pick
from intelligibility.runs import RECIPE
from intelligibility.training.data import make_dataset, train_loader_options
from intelligibility.training.pretrained import train_tokenizer
from intelligibility.training.settings import Batches, Vocabulary

N_SIGNALS = 6808  # both ears of 70 % of the 4863 signals of CPC1's closed training set
WORDS = ("CLARITY", "ENHANCES", "SPEECH", "FOR", "LISTENERS", "WITH", "HEARING", "LOSS")


def made_durations(count: int, seed: int = 0) -> np.ndarray:
    """Return seconds after the first two: sentences of seven to ten words, then a second."""
    rng = np.random.default_rng(seed)
    return 1 + rng.integers(7, 11, count) * rng.normal(0.33, 0.05, count).clip(0.2)


def compare_padding() -> None:
    """Print the padding of both ways of making batches."""
    durations = made_durations(N_SIGNALS)
    rows = [{"ID": str(i), "wav": "", "duration": s, "wrd": ""} for i, s in enumerate(durations)]
    print(f"{len(rows)} signals of {min(durations):.1f} to {max(durations):.1f} s")
    print(f"{'batches':42} {'padding':>8} {'batches':>8} {'most s':>7}")
    plain = np.random.default_rng(0).permutation(durations)
    drawn = [plain[start : start + 16] for start in range(0, len(plain), 16)]
    show("at random, batch_size=16", drawn)
    folders = {"data_folder": "none", "output_folder": "none"}
    settings = read_settings(RECIPE / "transformer_cpc1.yaml", folders)
    dataset = make_dataset(rows, pick(Vocabulary, settings))  # its tokens are not read
    for buckets in (20, 50, 100, 200):
        batches = Batches(
            batch_size=16,
            gradient_accumulation=4,
            sorting="random",
            dynamic_batching=True,
            max_batch_length=80,
            num_buckets=buckets,
            seed=0,
            train_dataloader_opts={"batch_size": 16},
        )
        sampler = train_loader_options(dataset, batches)["batch_sampler"]
        name = f"dynamic, max_batch_length=80, num_buckets={buckets}"
        show(name, [[durations[index] for index in batch] for batch in sampler])


def padding_share(batches: Iterable[Iterable[float]]) -> float:
    """Return the share of padding, 0 to 1, in batches given as the durations of their signals."""
    lengths = [list(batch) for batch in batches]
    padded = sum(max(batch) * len(batch) for batch in lengths)
    return 1 - sum(map(sum, lengths)) / padded


def show(name: str, batches: Sequence[Sequence[float] | np.ndarray]) -> None:
    """Print one row."""
    most = max(len(batch) * max(batch) for batch in batches)
    print(f"{name:42} {100 * padding_share(batches):7.1f}% {len(batches):8d} {most:7.1f}")


def compare_precisions(arguments: argparse.Namespace) -> None:
    """Print steps per second and memory of each precision."""
    device = torch.cuda.get_device_name() if arguments.device == "cuda" else "CPU"
    print(f"{device}, batch_size={arguments.batch_size}, {arguments.steps} steps of one batch each")
    print("precision  step/s  signals/s  peak GiB  checkpoint MB  save s  load s")
    losses = {}
    with tempfile.TemporaryDirectory() as folder:
        rows = make_signals(
            Path(folder), arguments.batch_size * (arguments.steps + arguments.warm_up)
        )
        for precision in arguments.precision:
            losses[precision] = measure(Path(folder), rows, precision, arguments)
    Path(arguments.losses).write_text(json.dumps(losses))
    print(f"losses of each step: {arguments.losses}")


def make_signals(folder: Path, count: int) -> list[dict]:
    """Write noise of realistic length with random prompts: only lengths matter here."""
    rng = np.random.default_rng(0)
    rows = []
    for number, seconds in enumerate(made_durations(count)):
        wav = folder / f"{number}.wav"
        noise = 0.05 * rng.standard_normal(int(16000 * seconds))
        soundfile.write(wav, noise.astype("float32"), 16000, subtype="FLOAT")
        prompt = " ".join(rng.choice(WORDS, rng.integers(7, 11)))
        rows.append({"ID": str(number), "wav": wav, "duration": seconds, "wrd": prompt})
    return rows


def make_brain(
    folder: Path, rows: list[dict], precision: str, arguments: argparse.Namespace
) -> tuple[train_asr.ASR, sb.dataio.dataset.DynamicItemDataset]:
    """Return the full-size recogniser ready for its first step, and its data."""
    overrides = {
        "from_scratch": True,
        "gradient_accumulation": 1,
        "batch_size": arguments.batch_size,
    }
    folders = {"data_folder": str(folder), "output_folder": str(folder / precision)}
    settings = read_settings(RECIPE / "transformer_cpc1.yaml", overrides | folders)
    tokenizer = folder / "tokenizer.ckpt"
    vocabulary = pick(Vocabulary, settings)
    # Eight words yield far fewer pieces than there are outputs.
    pieces = dataclasses.replace(vocabulary, vocab_size=60)
    train_tokenizer(pieces, [row["wrd"] for row in rows], tokenizer)
    settings["tokenizer"].load(str(tokenizer))
    options = train_asr.run_options(
        {"precision": precision, "noprogressbar": True}, arguments.device
    )
    brain = train_asr.ASR(
        settings["modules"], settings["Adam"], settings, options, settings["checkpointer"]()
    )
    brain.on_fit_start()
    brain.on_stage_start(sb.Stage.TRAIN, 1)
    brain.modules.train()
    settings["epoch_counter"].current = 1
    dataset = make_dataset(rows, vocabulary)
    brain.fit_normaliser(dataset)
    return brain, dataset


def measure(
    folder: Path, rows: list[dict], precision: str, arguments: argparse.Namespace
) -> list[float]:
    """Train for some steps, print a row of the table, return the losses."""
    brain, dataset = make_brain(folder, rows, precision, arguments)
    options = brain.hparams.train_dataloader_opts
    losses: list[float] = []
    for batch in brain.make_dataloader(dataset, sb.Stage.VALID, None, **options):
        if len(losses) == arguments.warm_up:
            started = clock(arguments.device)
        brain.step += 1
        losses.append(float(brain.fit_batch(batch)))
    rate = arguments.steps / (clock(arguments.device) - started)
    memory = peak_memory(arguments.device)
    started = clock(arguments.device)
    saved = brain.checkpointer.save_checkpoint()
    middle = clock(arguments.device)
    brain.checkpointer.load_checkpoint(saved)
    size = saved.paramfiles["model"].stat().st_size / 1e6
    print(
        f"{precision:9} {rate:7.3f} {rate * arguments.batch_size:10.2f} {memory:9.2f} {size:14.1f} "
        f"{middle - started:7.2f} {clock(arguments.device) - middle:7.2f}"
    )
    return losses


def clock(device: str) -> float:
    """Return seconds, when the device has done what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def peak_memory(device: str) -> float:
    """Return the most memory used so far, GiB: the GPU's since the last call, or this process's."""
    if device == "cuda":
        peak = torch.cuda.max_memory_allocated() / 2**30
        torch.cuda.reset_peak_memory_stats()
        return peak
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("what", choices=["padding", "steps"])
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--precision", nargs="+", default=["fp32", "bf16"])
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--warm-up", type=int, default=5)
    parser.add_argument("--losses", default="losses.json")
    arguments = parser.parse_args()
    if arguments.what == "padding":
        compare_padding()
    else:
        compare_precisions(arguments)


if __name__ == "__main__":
    main()
