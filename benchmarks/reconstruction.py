"""Do reconstructed speech and its scores come from the embeddings? Checks finished layers.

    python -m benchmarks.reconstruction                            # the miniature's, after make
    python -m benchmarks.reconstruction 'layers=[cnn.0,encoder.3]'   # demo-reconstruct

Prints, per layer and for the clean references: how many hypotheses differ when the written wavs are
recognised again; and the word error rate with nothing but the inverter and the embeddings, with the
embeddings of each two utterances exchanged (against their own prompts, and against each other's),
and with zeros for embeddings.
"""

import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from hydra import compose, initialize_config_dir

from intelligibility.command_line import register, resolved
from intelligibility.experiment import Experiment
from intelligibility.runs import RECIPE, read_json
from intelligibility.words import word_errors
from reconstruction.configured import Judge, ReconstructionSettings, judge_of_process
from reconstruction.inverters import Inverter
from reconstruction.jobs import read_heard
from reconstruction.places import LayerFolder, ReconstructionFolder
from reconstruction.scoring import Transcript
from reconstruction.utterances import read_speech


def main() -> None:
    """Check the finished layers of the experiment."""
    register("reconstruction/config.yaml", ReconstructionSettings)
    with initialize_config_dir(str(RECIPE), version_base="1.3"):
        cfg = compose("demo/config", sys.argv[1:])
    torch.set_num_threads(1)
    places = ReconstructionFolder.of(Experiment.from_config(cfg)).layers()
    if cfg.layers is not None:
        places = [place for place in places if place.parts[-2] in cfg.layers]
    print("| layer | other words from the wavs | WER | alone | exchanged | their own | zeros |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for place in places:
        level = read_json(LayerFolder(place).record, dict)["made_by"]["judge"]["level"]
        judge = judge_of_process(resolved(cfg), level)
        print(f"| {'/'.join(place.parts[-3:])} | {check(place, judge)} |", flush=True)


def check(place: Path, judge: Judge) -> str:
    """Return one layer's figures, as cells of a table."""
    files = LayerFolder(place)
    heard = [one for one in read_heard(place)["reconstruction"] if one.condition == "ref"]
    wavs = [files.wav("wav", "ref", one.name) for one in heard]
    again = [judge.hear(read_speech(wav)) for wav in wavs]
    other = sum(text != one.text for text, one in zip(again, heard, strict=True))
    with tempfile.TemporaryDirectory() as alone:
        for path in (files.inverter, files.weights):
            shutil.copy(path, alone)
        inverter = Inverter.load(alone)
    embeddings = [np.load(files.embedding("ref", one.name)) for one in heard]
    exchanged = embeddings.copy()
    for first in range(0, len(heard) - 1, 2):
        exchanged[first], exchanged[first + 1] = exchanged[first + 1], exchanged[first]
    texts = {
        "alone": hear(inverter, judge, embeddings),
        "exchanged": hear(inverter, judge, exchanged),
        "zeros": hear(inverter, judge, [np.zeros_like(one) for one in embeddings]),
    }
    owners = [heard[k ^ 1] if k ^ 1 < len(heard) else heard[k] for k in range(len(heard))]
    figures = (
        wer([one.text for one in heard], heard),
        wer(texts["alone"], heard),
        wer(texts["exchanged"], heard),
        wer(texts["exchanged"], owners),
        wer(texts["zeros"], heard),
    )
    return f"{other} of {len(heard)} | " + " | ".join(f"{figure:.1f}" for figure in figures)


def hear(inverter: Inverter, judge: Judge, embeddings: Sequence[np.ndarray]) -> list[str]:
    """Return the words of speech made of embeddings."""
    return [judge.hear(torch.from_numpy(inverter.invert(one))) for one in embeddings]


def wer(texts: Sequence[str], said: Sequence[Transcript]) -> float:
    """Return the word error rate in percent."""
    errors = [word_errors(text, one.prompt) for text, one in zip(texts, said, strict=True)]
    return 100 * sum(wrong for wrong, _ in errors) / sum(words for _, words in errors)


if __name__ == "__main__":
    main()
