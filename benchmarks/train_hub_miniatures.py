"""Train small recognisers of the hub's kinds on the miniature, to see that they measure something.

    python -m benchmarks.train_hub_miniatures whisper demo/exp /tmp/small-whisper
    python -m benchmarks.train_hub_miniatures wav2vec2 demo/exp /tmp/small-wav2vec2
    python infer.py --config-name demo/config recogniser=/tmp/small-whisper layers=all

Needs the miniature's exp_folder after prepare_data.py. Both learn from nothing, on the training
signals after the hearing-loss simulation and on their references, both ears, and are written as
they would lie on the hub. Whisper's encoder learns through a CTC head besides, which is then thrown
away: attention alone finds no alignment in an hour and a half of speech. Prints the loss, the CPU
time, and the share of the dev prompts' words that are recognised.
"""

import argparse
import csv
import math
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import soundfile as sf
import torch
from torch import Tensor
from transformers import Wav2Vec2Config, Wav2Vec2ForCTC

from benchmarks.made.hub_models import (
    PLAIN,
    letters_tokenizer,
    make_whisper,
    save,
    wave_extractor,
)
from intelligibility.recognisers.hub import fetch_model, load
from intelligibility.words import word_correctness

IGNORED = -100  # the label of what no loss is wanted for, in transformers
CTC_WEIGHT = 0.7
EPOCHS = {"whisper": 20, "wav2vec2": 10}  # about 15 minutes on one core
Recording = tuple[np.ndarray, str]  # signal, prompt


def read_recordings(exp_folder: Path, split: str, kinds: tuple[str, ...]) -> list[Recording]:
    """Read the ear signals of a split with their prompts, each wav once."""
    data, found = exp_folder / "cpc1_asr_data", {}
    for kind in kinds:
        for ear in ("left", "right"):
            with (data / f"{ear}_{split}_{kind}.csv").open(newline="") as table:
                for row in csv.DictReader(table):
                    found[row["wav"].replace("$data_root", str(data))] = row["wrd"]
    return [(sf.read(wav, dtype="float32")[0], prompt) for wav, prompt in found.items()]


def fit(
    network: torch.nn.Module,
    batch_loss: Callable[[list[int]], Tensor],
    n_items: int,
    arguments: argparse.Namespace,
    write: Callable[[], object],
) -> None:
    """Train with AdamW: the learning rate rises over a tenth of the steps, then falls to 0.

    `write` is called after every epoch.
    """
    rng = np.random.default_rng(arguments.seed)
    n_steps = arguments.epochs * (n_items // arguments.batch)
    optimiser = torch.optim.AdamW(network.parameters(), arguments.rate, (0.9, 0.98))
    warmup = n_steps / 10
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser,
        lambda step: min((step + 1) / warmup, (1 + math.cos(math.pi * step / n_steps)) / 2),
    )
    network.train()
    for epoch in range(arguments.epochs):
        order, losses = rng.permutation(n_items), []
        for first in range(0, n_items - arguments.batch + 1, arguments.batch):
            loss = batch_loss(order[first : first + arguments.batch].tolist())
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            losses.append(loss.item())
        minutes = time.process_time() / 60
        print(f"epoch {epoch + 1}: loss {np.mean(losses):.3f}, {minutes:.1f} CPU min", flush=True)
        write()


def train_whisper(recordings: list[Recording], arguments: argparse.Namespace) -> None:
    """Train an encoder of three blocks and a decoder of two, with a window of 5 s."""
    texts = [prompt.capitalize() for _, prompt in recordings]
    model, extractor, tokenizer = make_whisper(
        texts,
        n_tokens=320,
        d_model=128,
        encoder_layers=3,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=256,
        decoder_ffn_dim=256,
        max_target_positions=48,
        dropout=0.1,
        apply_spec_augment=True,
        mask_time_prob=0.1,
        mask_feature_prob=0.1,
    )
    signals = [signal for signal, _ in recordings]
    features = extractor(signals, sampling_rate=16000, return_tensors="pt").input_features
    plain, end = tokenizer.convert_tokens_to_ids(PLAIN), tokenizer.eos_token_id
    tokens = [
        torch.tensor(tokenizer(" " + text, add_special_tokens=False).input_ids) for text in texts
    ]
    labels = [torch.tensor([plain, *row.tolist(), end]) for row in tokens]
    ctc_head = torch.nn.Linear(model.config.d_model, len(tokenizer))

    def batch_loss(chosen: list[int]) -> Tensor:
        padded = torch.nn.utils.rnn.pad_sequence([labels[n] for n in chosen], True, IGNORED)
        output = model(features[chosen], labels=padded)
        log_probs = ctc_head(output.encoder_last_hidden_state).log_softmax(-1)
        ctc = torch.nn.functional.ctc_loss(
            log_probs.transpose(0, 1),
            torch.cat([tokens[n] for n in chosen]),
            torch.tensor([-(-len(signals[n]) // 320) for n in chosen]),
            torch.tensor([len(tokens[n]) for n in chosen]),
            blank=end,
        )
        return CTC_WEIGHT * ctc + (1 - CTC_WEIGHT) * output.loss

    both = torch.nn.ModuleList([model, ctc_head])
    write = partial(save, arguments.folder, model, extractor, tokenizer)
    fit(both, batch_loss, len(recordings), arguments, write)


def train_wav2vec2(recordings: list[Recording], arguments: argparse.Namespace) -> None:
    """Train a CTC recogniser of letters on the waveform, with three blocks."""
    extractor, tokenizer = wave_extractor(), letters_tokenizer()
    config = Wav2Vec2Config(
        vocab_size=len(tokenizer),
        pad_token_id=tokenizer.pad_token_id,
        conv_dim=(128, 128, 128),
        conv_kernel=(256, 8, 4),
        conv_stride=(40, 4, 2),
        conv_bias=True,
        feat_extract_norm="layer",
        do_stable_layer_norm=True,
        num_feat_extract_layers=3,
        hidden_size=128,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=256,
        num_conv_pos_embeddings=32,
        num_conv_pos_embedding_groups=8,
        mask_time_prob=0.05,
        layerdrop=0.0,
        hidden_dropout=0.1,
        attention_dropout=0.0,
        activation_dropout=0.0,
        feat_proj_dropout=0.0,
        ctc_loss_reduction="mean",
        ctc_zero_infinity=True,
    )
    model = Wav2Vec2ForCTC(config)
    start_from_bands(model)
    values = [
        torch.from_numpy(extractor(signal, sampling_rate=16000).input_values[0])
        for signal, _ in recordings
    ]
    labels = [torch.tensor(tokenizer(prompt).input_ids) for _, prompt in recordings]

    def batch_loss(chosen: list[int]) -> Tensor:
        pad = torch.nn.utils.rnn.pad_sequence
        mask = pad([torch.ones(len(values[n]), dtype=torch.long) for n in chosen], True)
        return model(
            pad([values[n] for n in chosen], True),
            attention_mask=mask,
            labels=pad([labels[n] for n in chosen], True, IGNORED),
        ).loss

    write = partial(save, arguments.folder, model, extractor, tokenizer)
    fit(model, batch_loss, len(recordings), arguments, write)


def start_from_bands(model: Wav2Vec2ForCTC) -> None:
    """Let the first convolution be a filter bank: an hour and a half is short to find one.

    Sines and cosines under a Hann window of 16 ms, centred from 100 to 7000 Hz, equally far apart
    on the mel scale.
    """
    weight = model.wav2vec2.feature_extractor.conv_layers[0].conv.weight  # (channels, 1, samples)
    n_bands, length = len(weight) // 2, weight.shape[-1]
    mel = np.linspace(*(2595 * np.log10(1 + np.array([100, 7000]) / 700)), n_bands)
    phase = 2 * np.pi * 700 * (10 ** (mel / 2595) - 1)[:, None] * np.arange(length) / 16000
    bands = np.hanning(length) * np.concatenate([np.sin(phase), np.cos(phase)])
    bands /= np.linalg.norm(bands, axis=1, keepdims=True)
    with torch.no_grad():
        weight.copy_(torch.from_numpy(bands)[:, None])
    weight.requires_grad = False


def main() -> None:
    """Train one of the two."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=["whisper", "wav2vec2"])
    parser.add_argument("exp_folder", type=Path, help="of the miniature, after prepare_data.py")
    parser.add_argument("folder", type=Path, help="where the recogniser goes")
    parser.add_argument("--epochs", type=int, help="default: 20 of Whisper, 10 of wav2vec 2.0")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=1e-3, help="the highest learning rate")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    arguments.epochs = arguments.epochs or EPOCHS[arguments.kind]
    torch.manual_seed(arguments.seed)
    np.random.seed(arguments.seed)  # transformers draws what it masks with it
    torch.set_num_threads(arguments.threads)
    started = time.perf_counter()
    recordings = read_recordings(arguments.exp_folder, "train", ("msbg", "ref"))
    {"whisper": train_whisper, "wav2vec2": train_wav2vec2}[arguments.kind](recordings, arguments)
    recogniser = load(fetch_model(str(arguments.folder)), torch.device("cpu"))
    for kind in ("ref", "msbg"):
        held_out = read_recordings(arguments.exp_folder, "dev", (kind,))
        signals, prompts = zip(*held_out, strict=True)
        found = recogniser.recognise(map(torch.from_numpy, signals), [None] * len(signals))
        shares = [word_correctness(f.text, p) for f, p in zip(found, prompts, strict=True)]
        print(f"words of dev {kind}: {np.mean(shares):.1%}")
    minutes = (time.perf_counter() - started) / 60
    print(f"{minutes:.1f} min by the clock, {time.process_time() / 60:.1f} min of CPU")


if __name__ == "__main__":
    main()
