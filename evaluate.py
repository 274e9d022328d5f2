"""Stage 4: map similarity to percent words correct; say how good the prediction is, and how sure.

    python evaluate.py                                        # closed track
    python evaluate.py cpc1_track=open
    python evaluate.py path.test_responses=/data/responses    # labels that were released separately
    python evaluate.py compare=other/predictions.csv          # is this run better than another?
    python evaluate.py calibration=other/calibration.json     # fitted elsewhere: no dev data needed

Reads   in exp_folder, whatever infer.py wrote:
            {dev,test}_{enc,dec,pre}_similarity{track}.json, {dev,test}_wcs_correctness{track}.json
            inference{track}.json          which recogniser it was
        the release's metadata/, and `path.test_responses` when it is set
Writes  in exp_folder:
            results{track}.json            scores, intervals, fits, counts, provenance
            predictions{track}.csv         each test signal: response, similarities, predictions
            calibration{track}.json        the fitted mapping, for `calibration=` elsewhere
            submission{track}.csv          signal_ID,intelligibility_score, as the challenge asks
            tables/                        Table 1 and 3, by listener, system, severity; comparisons
            figures/                       PNG and PDF
            report{track}.html             all of it on one page

The logistic is fitted on the dev scenes and applied to the test signals (Tu, Ma & Barker 2022).
Intervals are 95 % intervals of a bootstrap that resamples test scenes; the fitted mapping is held
fixed. Where no test response is known, only predictions and submission are written.
"""

import itertools
import logging
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import pandas as pd
from omegaconf import DictConfig

from intelligibility.corpora.cpc1 import TRACKS, Cpc1
from intelligibility.evaluation.figures import all_figures, save
from intelligibility.evaluation.report import write_report
from intelligibility.evaluation.responses import better_ear, read_signals
from intelligibility.evaluation.scoring import (
    CONFIDENCE,
    Logistic,
    draw_scenes,
    fit_logistic,
    score,
)
from intelligibility.evaluation.tables import (
    NAMES,
    Table,
    all_tables,
    averaged_scores_of,
    by_group,
    comparisons,
    markdown,
    scores_of,
)
from intelligibility.runs import (
    RecipeError,
    logbook,
    provenance,
    read_json,
    reports_errors,
    write_json,
    write_result,
    write_text,
)

logger = logging.getLogger(__name__)

GROUPS = ("listener", "system", "severity")
FEW_SCENES = 20  # percentile intervals from fewer are too narrow to be trusted
METHOD = ("enc", "dec")  # the published method; pre and wcs are there to compare
SUBMITTED = ("dec", "enc", "wcs", "pre")  # the first there is; the published entry took dec


@hydra.main(config_path=".", config_name="config", version_base="1.3")
@reports_errors
def run(cfg: DictConfig) -> None:
    """Evaluate one track."""
    cpc1 = Cpc1.from_config(cfg)
    if cfg.calibration:
        dev, dev_counts, calibration = None, {}, read_calibration(cfg.calibration, cpc1)
    else:
        dev, dev_counts = read_signals(cpc1, "dev")
        calibration = calibrate(dev, cpc1)
        write_json(cpc1.results_file("calibration", ".json"), calibration)

    test, test_counts = read_signals(cpc1, "test")
    measures = predict(test, calibration)
    write_predictions(cpc1, test, measures)
    if not test["correctness"].notna().any():
        logger.warning(
            "No test response is known: scores cannot be computed. Set path.test_responses."
        )
        return

    test = test[test["correctness"].notna()].join(better_ear(cpc1, test["listener"]), on="listener")
    test["scene_number"], scenes = pd.factorize(test["scene"], sort=True)
    if len(scenes) < FEW_SCENES:
        logger.warning("%d test scenes only: the intervals are too narrow", len(scenes))
    drawn = draw_scenes(len(scenes), cfg.seed)
    results = score_all(cfg, test, measures, drawn) | {
        "calibration": calibration,
        "counts": {"dev": dev_counts, "test": test_counts | sizes_of(test)},
        "left_out": left_out_of(cpc1),
        "provenance": provenance(cfg) | {"checkpoint_sha256": checkpoint_of(cpc1)},
    }
    results = write_result(cpc1.results_file("results", ".json"), results)

    groups = {by: by_group(test, measures, by, drawn) for by in GROUPS if test[by].notna().any()}
    tables = all_tables(results, results_of_all_tracks(cpc1), groups)
    for name, table in reversed(tables.items()):
        write_table(cpc1, name, table)
    drawings = {}
    for name, drawing in all_figures(test, dev, measures, groups, calibration["measures"]).items():
        stem = cpc1.results_file(f"figures/{name}", "")
        save(drawing.figure, stem)
        drawings[stem.with_name(f"{stem.name}.png")] = drawing
    report = cpc1.results_file("report", ".html")
    write_report(report, results, tables.values(), drawings)
    logger.info("Wrote %s and, beside it, results, predictions, tables and figures", report)


def calibrate(dev: pd.DataFrame, cpc1: Cpc1) -> dict[str, Any]:
    """Fit the logistic of every measure on the dev signals with a response."""
    checkpoint, fits = checkpoint_of(cpc1), {}
    for measure in NAMES:
        if f"{measure}_similarity" in dev:
            rows = dev.dropna(subset=["correctness", f"{measure}_similarity"])
            pair = rows[f"{measure}_similarity"].to_numpy(), rows["correctness"].to_numpy()
            try:
                logistic = fit_logistic(*pair)
            except RecipeError as error:
                if measure in METHOD:
                    raise
                logger.warning("%s is left out: %s", NAMES[measure], error)
                continue
            fits[measure] = asdict(logistic) | {
                "n_signals": len(rows),
                "RMSE": score(logistic.predict(pair[0]), pair[1])["RMSE"],
            }
            logger.info(
                "%s: x0 = %.2f %%, k = %.4f per %%", NAMES[measure], logistic.x0, logistic.k
            )
            if logistic.k < 0:
                logger.warning("%s: more similar means less intelligible on dev", NAMES[measure])
    return {
        "checkpoint_sha256": checkpoint,
        "mean_correctness": float(dev["correctness"].mean()),
        "measures": fits,
    }


def read_calibration(path: str, cpc1: Cpc1) -> dict[str, Any]:
    """Read a mapping that was fitted elsewhere; warn when it is another recogniser's."""
    content = read_json(Path(path).expanduser(), dict)
    try:
        fits = dict(content["measures"])
        calibration = {
            "checkpoint_sha256": _checksum(content.get("checkpoint_sha256")),
            "mean_correctness": _finite(content["mean_correctness"], 0, 100),
            "measures": {
                measure: {"x0": _finite(fits[measure]["x0"]), "k": _finite(fits[measure]["k"])}
                for measure in NAMES
                if measure in fits
            },
        }
    except (KeyError, TypeError, ValueError) as error:
        raise RecipeError(
            f"{path}: not a calibration of this recipe ({error!r}); expected checkpoint_sha256, "
            "mean_correctness and measures with x0 and k, as evaluate.py writes them"
        ) from None
    ours, theirs = checkpoint_of(cpc1), calibration["checkpoint_sha256"]
    if ours is None or ours != theirs:
        logger.warning(
            "%s was made with checkpoint %s, these similarities with %s: it may not hold here",
            *(path, (theirs or "unknown")[:12], (ours or "unknown")[:12]),
        )
    return calibration


def _finite(value: Any, low: float = -1e300, high: float = 1e300) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (number and low <= value <= high):  # nor is NaN between them
        raise ValueError(f"{value!r:.60} where a number from {low:g} to {high:g} was expected")
    return float(value)


def _checksum(value: Any) -> str | None:
    if value is not None and not (isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value)):
        raise ValueError(f"checkpoint_sha256 is {value!r:.60}, expected 64 hexadecimal digits")
    return value


def checkpoint_of(cpc1: Cpc1) -> str | None:
    """Return the hash of the recogniser that infer.py used, None when it did not record it.

    infer.py writes this record last: without it, the similarities may be of two runs.
    """
    record = cpc1.results_file("inference", ".json")
    if not record.is_file():
        raise RecipeError(
            f"{record}: no such file: infer.py did not run here, or was stopped while it wrote; "
            "run it again"
        )
    try:
        return _checksum(read_json(record, dict).get("checkpoint_sha256"))
    except ValueError as error:
        raise RecipeError(f"{record}: {error}; run infer.py again") from None


def left_out_of(cpc1: Cpc1) -> dict[str, Any] | None:
    """Name the file of signals that prepare_data.py had to leave out; None when all were used."""
    path = cpc1.results_file("left_out", ".json")
    return {"file": path.name, "signals": len(read_json(path, dict))} if path.is_file() else None


def predict(test: pd.DataFrame, calibration: dict[str, Any]) -> list[str]:
    """Add `{measure}_prediction`, percent words correct, to the test signals; and the prior's.

    Returns
    -------
    list of str
        The measures that have both similarities and a logistic.
    """
    measures = [measure for measure in NAMES if f"{measure}_similarity" in test]
    without = [measure for measure in measures if measure not in calibration["measures"]]
    if set(without) & set(METHOD) or without == measures:
        raise RecipeError(
            f"{', '.join(without)}: test similarities, but no logistic; it was fitted for "
            f"{', '.join(calibration['measures']) or 'nothing'}. Run infer.py on dev too"
        )
    measures = [measure for measure in measures if measure in calibration["measures"]]
    for measure in measures:
        fit = calibration["measures"][measure]
        logistic = Logistic(fit["x0"], fit["k"])
        test[f"{measure}_prediction"] = logistic.predict(test[f"{measure}_similarity"])
    test["prior_prediction"] = calibration["mean_correctness"]
    return measures


def write_predictions(cpc1: Cpc1, test: pd.DataFrame, measures: list[str]) -> None:
    """Write predictions.csv and, of the measure that the published entry used, submission.csv."""
    columns = ["signal", "scene", "listener", "system", "correctness"]
    columns += [
        f"{measure}_{what}" for measure in measures for what in ("similarity", "prediction")
    ]
    write_text(cpc1.results_file("predictions", ".csv"), test[columns].to_csv(index=False))
    chosen = next(measure for measure in SUBMITTED if measure in measures)
    submission = test[["signal", f"{chosen}_prediction"]].dropna()
    submission.columns = ["signal_ID", "intelligibility_score"]
    write_text(cpc1.results_file("submission", ".csv"), submission.to_csv(index=False))


def score_all(
    cfg: DictConfig, test: pd.DataFrame, measures: list[str], drawn: np.ndarray
) -> dict[str, Any]:
    """Score every measure over signals and over means, and compare them, all with intervals."""
    scores = scores_of(test, ["prior", *measures], drawn)
    published = {  # the scores alone, as the published results.json has them
        f"{measure}_results": {name: one["value"] for name, one in scored.items()}
        for measure, scored in scores.items()
    }
    return published | {
        "scores": scores,
        "averaged": {
            by: averaged_scores_of(test, measures, by, drawn) for by in ("listener", "system")
        },
        "comparisons": comparisons(*to_compare(test, measures, cfg.compare), drawn),
        "bootstrap": {"resamples": len(drawn), "unit": "scene", "confidence": CONFIDENCE},
    }


def to_compare(
    test: pd.DataFrame, measures: list[str], other: str | None
) -> tuple[pd.DataFrame, list[tuple[str, str]]]:
    """Return the test signals with what there is to compare, and the pairs of names."""
    pairs = list(itertools.combinations(reversed(measures), 2))
    if not other:
        return test, pairs
    path = Path(other).expanduser()
    try:
        theirs = pd.read_csv(path, dtype={"signal": str}).set_index("signal")
        if not theirs.index.is_unique:
            raise ValueError("signals in it more than once")
        shared = [measure for measure in measures if f"{measure}_prediction" in theirs]
        columns = ["correctness", *(f"{measure}_prediction" for measure in shared)]
        theirs = theirs[columns].apply(pd.to_numeric).astype(float)
        if ((theirs < 0) | (theirs > 100)).any(axis=None):
            raise ValueError("values that are not percent, 0 to 100")
        joined = test.join(theirs.add_prefix("other "), on="signal")
        observed = joined["other correctness"]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RecipeError(
            f"compare={other}: not a predictions.csv of this recipe ({error!s:.300})"
        ) from None
    if not shared:
        raise RecipeError(f"compare={other}: holds no prediction by {', '.join(measures)}")
    differ = observed.notna() & (np.abs(observed - joined["correctness"]) > 1e-6)
    if differ.any():
        raise RecipeError(
            f"compare={other}: {differ.sum()} signals have another response there, such as "
            f"{joined['signal'][differ].iloc[0]}; both runs have to be of the same answers"
        )
    return joined, [*pairs, *((measure, f"other {measure}") for measure in shared)]


def sizes_of(test: pd.DataFrame) -> dict[str, int]:
    """Return how many scenes, listeners and systems there are."""
    return {f"{what}s": int(test[what].nunique()) for what in ("scene", "listener", "system")}


def results_of_all_tracks(cpc1: Cpc1) -> dict[str, dict[str, Any]]:
    """Read the results of the tracks that were evaluated so far, this one among them."""
    files = {
        name: replace(cpc1, track=suffix).results_file("results", ".json")
        for name, suffix in TRACKS.items()
    }
    return {name: read_json(path, dict) for name, path in files.items() if path.is_file()}


def write_table(cpc1: Cpc1, name: str, table: Table) -> None:
    """Print a table and write it as CSV (numbers) and as Markdown (for reading)."""
    stem = cpc1.results_file(f"tables/{name}", "")
    if name == "table1":
        stem = cpc1.exp_folder / "tables" / name  # of both tracks
    write_text(stem.with_suffix(".csv"), table.long.to_csv(index=False))
    write_text(stem.with_suffix(".md"), markdown(table.shown))
    text = f"{table.title} ({stem}.csv)\n{markdown(table.shown)}"
    print(f"\n{text}")
    logbook.info("%s", text)


if __name__ == "__main__":
    run()
