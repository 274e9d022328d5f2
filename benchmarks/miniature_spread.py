"""How far do the demo's results depend on rounding and seeds? Trains its recogniser seven times.

    make demo                                                   # prepares the miniature, once
    python -m benchmarks.miniature_spread /tmp/spread           # three seeds, five kinds of kernels
    python -m benchmarks.miniature_spread /tmp/spread --seeds 1 2 --kernels native
    python -m benchmarks.miniature_spread /tmp/spread asr_overrides.transformer_dropout=0.2

Each run trains, measures and evaluates in a folder of its own below the one given, on the ear
signals of demo/exp; a run that is there already is kept. Without options the runs are seeds 1, 2
and 3 with this processor's kernels, and seed 1 with four other kinds. The first table has the RMSE
in percent words correct, on the dev signals that the mapping was fitted on and on the test signals;
settings are chosen by the first. The second is the root mean square difference of two runs'
predictions for the same signal, over all pairs of runs. The third says what the simulated listeners
leave to any measure: the RMSE of predicting the probabilities of which their answers were drawn,
and of predicting these from everything but the listener.
"""

import argparse
import itertools
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import logit

from benchmarks.made.experiment import link_demo
from intelligibility.evaluation.curve import fit_curve
from intelligibility.experiment import Experiment
from intelligibility.measures import MEASURES
from intelligibility.runs import RECIPE, read_json

# Variables that make PyTorch, oneDNN, MKL and OpenBLAS compute as on another processor.
KERNELS = {
    "native": {},
    "haswell": {
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "OPENBLAS_CORETYPE": "Haswell",
    },
    "skylakex": {
        "ATEN_CPU_CAPABILITY": "avx512",
        "ONEDNN_MAX_CPU_ISA": "AVX512_CORE",
        "MKL_ENABLE_INSTRUCTIONS": "AVX512",
        "OPENBLAS_CORETYPE": "SkylakeX",
    },
    "generic": {
        "ATEN_CPU_CAPABILITY": "default",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
        "OPENBLAS_CORETYPE": "Nehalem",
    },
    "default": {"ATEN_CPU_CAPABILITY": "default"},
}
SEVEN = [*((seed, "native") for seed in (1, 2, 3)), *((1, name) for name in list(KERNELS)[1:])]


def run_once(folder: Path, seed: int, kernels: str, overrides: list[str]) -> Experiment:
    """Train, measure and evaluate with one seed of the training and one kind of kernels."""
    experiment = Experiment(folder, folder / "transformer_cpc1")
    if experiment.results.is_file():
        return experiment
    link_demo(folder, "cpc1_asr_data", "data_split", "presentations.json")
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | KERNELS[kernels]
    for script, given in (
        ("train_asr.py", [f"seed={seed}", *overrides]),
        ("infer.py", ["n_jobs=1", *overrides]),
        ("evaluate.py", []),
    ):
        command = [sys.executable, str(RECIPE / script), "--config-name", "demo/config"]
        command += [f"path.exp_folder={folder}", *given]
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    return experiment


def rmses(experiment: Experiment) -> dict[tuple[str, str], float]:
    """Return the RMSE of each measure on the dev and on the test signals, percent words correct."""
    results = read_json(experiment.results, dict)
    fits = results["calibration"]["measures"]
    found = {}
    for name in (measure.name for measure in MEASURES if measure.name in fits):
        found[name, "dev"] = fits[name]["RMSE"]
        found[name, "test"] = results[f"{name}_results"]["RMSE"]
    return found


def apart(experiments: Iterable[Experiment]) -> pd.Series:
    """Return how far the predictions of two runs differ, the root mean square over all pairs."""
    tables = [pd.read_csv(one.predictions).set_index("signal") for one in experiments]
    predictions = [table.filter(regex="_prediction$") for table in tables]
    squares = [(one - other) ** 2 for one, other in itertools.combinations(predictions, 2)]
    return pd.concat(squares).mean().pow(0.5).rename(lambda name: name.removesuffix("_prediction"))


def floors() -> pd.DataFrame:
    """Return the RMSE of two measures that nobody has, on the dev and on the test signals.

    One knows how likely each word was to be repeated. The other knows what the scene and the
    hearing aid contribute to that, but not the listener: logits of the probabilities are taken for
    a sum of the three, and the curve is fitted to the first two on the dev signals.
    """
    answers = []
    for split in ("train", "test"):
        metadata = RECIPE / f"demo/data/clarity_CPC1_data_{split}/metadata"
        scenes = {one["scene"]: one for one in read_json(metadata / f"scenes.CPC1_{split}.json")}
        for one in read_json(metadata / f"CPC1.{split}.json"):
            scene = scenes[one["scene"]]
            one["heard"] = f"{scene['SNR']} {scene['interferer']['type']}"
            answers.append(one | {"chance": scene["chances"][one["signal"]]})
    table = pd.DataFrame(answers)
    chance = table.chance.clip(1e-4, 1 - 1e-4)
    factors = pd.get_dummies(table[["heard", "system", "listener"]], dtype=float)
    shares = pd.Series(np.linalg.lstsq(factors, logit(chance), rcond=None)[0], factors.columns)
    of_listener = factors.filter(like="listener") @ shares.filter(like="listener")
    without = logit(chance) - of_listener
    dev = table.scene.isin(read_json(RECIPE / "demo/exp/data_split/scene_dev_list.json"))
    predictions = {
        "probabilities": 100 * chance,
        "without the listener": fit_curve(without[dev], table.correctness[dev]).predict(without),
    }
    errors = pd.DataFrame(predictions).sub(table.correctness, axis=0)
    splits = {"dev": errors[dev], "test": errors[table.scene.isin(scenes)]}
    return pd.DataFrame({split: (rows**2).mean() ** 0.5 for split, rows in splits.items()})


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=lambda text: Path(text).absolute())
    parser.add_argument("--seeds", nargs="+", type=int)
    parser.add_argument("--kernels", nargs="+", choices=KERNELS)
    parser.add_argument("overrides", nargs="*", help="of the recogniser, such as asr_overrides.x=1")
    arguments = parser.parse_intermixed_args()
    chosen = SEVEN
    if arguments.seeds or arguments.kernels:
        chosen = list(itertools.product(arguments.seeds or [1], arguments.kernels or ["native"]))
    runs = {
        (seed, kernels): run_once(
            arguments.folder / f"seed{seed}-{kernels}", seed, kernels, arguments.overrides
        )
        for seed, kernels in chosen
    }
    table = pd.DataFrame({run: rmses(experiment) for run, experiment in runs.items()}).T
    least, most = table.min(), table.max()
    for name, row in (("least", least), ("most", most), ("spread", most - least)):
        table.loc[(name, ""), :] = row
    print(table.round(1).to_string())
    if len(runs) > 1:
        print(apart(runs.values()).round(1).to_string())
    print(floors().round(1).to_string())


if __name__ == "__main__":
    main()
