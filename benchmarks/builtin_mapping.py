"""The built-in mapping from HASPI to percent words correct, fitted on CPC3's training answers.

    python -m benchmarks.builtin_mapping CPC3_FOLDER

The folder holds CPC3.train.json and listeners.csv of the third Clarity Prediction Challenge, and
haspi.train.jsonl, the challenge's own better-ear HASPI of every training signal
(recipes/cpc3/baseline/precomputed_haspi). Fits the recipe's logistic, prints how well it predicts
listeners and hearing aids that were left out of the fit, and writes
intelligibility/prediction/builtin/haspi_cpc3.json. Numbers are rounded, so the file is the same
byte for byte wherever it is made. It holds no answer of a person, and names only as hashes.
"""

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from intelligibility.corpora.clarity import presented, read_list
from intelligibility.corpora.cpc3 import CORPUS, parse_named, read_severities
from intelligibility.corpora.presentation import Presentation
from intelligibility.evaluation.curve import fit_curve
from intelligibility.evaluation.mapping import FittedMapping, fit_mapping
from intelligibility.evaluation.responses import who_grade
from intelligibility.evaluation.scoring import score
from intelligibility.prediction.haspi_predictor import BUILTIN
from intelligibility.runs import RecipeError, sha256_of, write_text

ANSWERS, SEVERITIES, INDICES = "CPC3.train.json", "listeners.csv", "haspi.train.jsonl"
DIGITS = 6  # that are kept after the point


def main() -> None:
    """Fit, print the table, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--output", type=Path, default=BUILTIN)
    arguments = parser.parse_args()
    presentations, signals = read_signals(arguments.folder)
    mapping = fit_mapping(signals, presentations)
    validation = validate(signals)
    files = {name: arguments.folder / name for name in (ANSWERS, SEVERITIES, INDICES)}
    content = {
        **rounded(mapping.as_json()),
        "validation": rounded(validation),
        "fitted_on": {
            "what": "CPC3's training set: 20 hearing-aid systems, heard by people with hearing "
            "loss; correctness by Clarity's word scoring; HASPI by Clarity's baseline",
            "signals": len(signals),
            **{f"{by}s": int(signals[by].nunique()) for by in ("listener", "system", "scene")},
            "severities": severities(presentations),
            "sha256": {name: sha256_of([path]) for name, path in files.items()},
            "source": {
                "answers and severities": "J. Barker (2025), 3rd Clarity Prediction Challenge "
                "(CPC3) dataset for hearing aid speech intelligibility prediction, Zenodo, "
                f"https://doi.org/10.5281/zenodo.{CORPUS.zenodo}",
                "HASPI": "recipes/cpc3/baseline/precomputed_haspi of "
                "https://github.com/claritychallenge/clarity",
            },
            "licence": {
                "answers and severities": "available for anyone to use, who is asked to cite that "
                "record (https://claritychallenge.org/docs/cpc3/cpc3_download, September 2025), "
                "where the full terms stand; this file holds numbers fitted on the data, not data",
                "HASPI": "MIT, copyright (c) 2022 The PyClarity Team",
            },
        },
        "seen": mapping.seen.as_hashes().as_json() if mapping.seen else None,
    }
    write_text(arguments.output, json.dumps(content, indent=1) + "\n")
    print_table(mapping, validation)
    print(f"\nWrote {arguments.output}, {arguments.output.stat().st_size / 1000:.0f} kB")


def read_signals(folder: Path) -> tuple[list[Presentation], pd.DataFrame]:
    """Return the training presentations, and a row of each: HASPI 0..1, correctness in percent."""
    listeners, _ = read_severities(folder / SEVERITIES)
    responses, problems = read_list(folder / ANSWERS, parse_named)
    nowhere = Path("none.wav")

    def further(one: Any) -> dict[str, Any]:
        wavs = {"processed": nowhere, "reference": nowhere, "lead_in": None}
        return wavs | {"cec": one.scene.partition("_")[0], "sets": ("train",)}

    presentations, unknown = presented(responses, listeners, "no severity", further)
    if problems or unknown:
        raise RecipeError(f"{folder}: {[*problems, *unknown][0]}; restore the files")
    lines = (folder / INDICES).read_text(encoding="utf-8").splitlines()
    haspi = {one["signal"]: one["haspi"] for one in map(json.loads, lines)}
    return presentations, pd.DataFrame(
        {
            "signal": [one.name for one in presentations],
            "listener": [one.listener.id for one in presentations],
            "system": [f"{one.cec} {one.system}" for one in presentations],
            "scene": [one.scene for one in presentations],
            "correctness": [one.correctness for one in presentations],
            "haspi_similarity": [haspi[one.name] for one in presentations],
        }
    )


def validate(signals: pd.DataFrame) -> dict[str, dict[str, float | int | None]]:
    """Score the curve on the signals that it was fitted on, and on groups that were left out."""
    haspi, correctness = signals["haspi_similarity"].to_numpy(), signals["correctness"].to_numpy()
    found = {"fitted on all": scored(fit_curve(haspi, correctness).predict(haspi), correctness, 1)}
    for by in ("listener", "system", "scene"):
        groups = signals[by].to_numpy()
        predicted = np.empty(len(signals))
        names = sorted(set(groups))
        folds = [[name] for name in names] if by != "scene" else np.array_split(names, 10)
        for fold in folds:
            out = np.isin(groups, fold)
            curve = fit_curve(haspi[~out], correctness[~out])
            predicted[out] = curve.predict(haspi[out])
        left_out = f"one {by} left out" if by != "scene" else "a tenth of the scenes left out"
        found[left_out] = scored(predicted, correctness, len(folds))
    return found


def scored(predicted: np.ndarray, correctness: np.ndarray, n_fits: int) -> dict[str, Any]:
    """Return RMSE, NCC and KT of all signals together."""
    scores = score(predicted, correctness)
    return {"fits": n_fits} | {name: scores[name] for name in ("RMSE", "NCC", "KT")}


def severities(presentations: list[Presentation]) -> dict[str, int]:
    """Count the listeners of each severity, by the audiogram that stands in for it."""
    people = {one.listener.id: one.listener for one in presentations}
    return dict(sorted(Counter(who_grade(one) for one in people.values()).items()))


def rounded(content: Any) -> Any:
    """Round all numbers: the last digits differ between processors."""
    if isinstance(content, dict):
        return {key: rounded(one) for key, one in content.items()}
    if isinstance(content, list):
        return [rounded(one) for one in content]
    return round(content, DIGITS) if isinstance(content, float) else content


def print_table(mapping: FittedMapping, validation: dict[str, dict[str, Any]]) -> None:
    """Print the curve and its scores."""
    print(f"haspi: {mapping.fits['haspi'].curve}\n")
    print("| fitted | fits | RMSE | NCC | KT |\n|---|---|---|---|---|")
    for name, one in validation.items():
        scores = f"{one['RMSE']:.2f} | {one['NCC']:.3f} | {one['KT']:.3f}"
        print(f"| {name} | {one['fits']} | {scores} |")


if __name__ == "__main__":
    main()
