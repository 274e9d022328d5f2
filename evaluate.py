"""Stage 4: map similarity to percent words correct; say how good the prediction is, and how sure.

    python evaluate.py                                        # closed track
    python evaluate.py cpc1_track=open
    python evaluate.py path.test_responses=/data/responses    # labels that were released separately
    python evaluate.py compare=other/predictions.csv          # is this run better than another?
    python evaluate.py compare=CPC2_E011.csv                  # the same of a challenge submission
    python evaluate.py calibration=other/calibration.json     # fitted elsewhere: no dev data needed
    python evaluate.py 'seeds=[1,2,3]'                        # what the choice of dev changes
    python evaluate.py bundle=/data/model                     # what score.py needs, to hand on
    python evaluate.py corpus=cpc2                            # three tests, each with its mapping

Reads   in exp_folder, whatever infer.py and baselines.py wrote:
            {dev,test}_{enc,dec,pre}_similarity{track}.json, {dev,test}_wcs_correctness{track}.json
            {dev,test}_{mbstoi,haspi,stoi,estoi}_similarity{track}.json
            inference{track}.json          which recogniser it was
            baselines{track}.json          which packages they were
        the release's metadata/, and `path.test_responses` when it is set
Writes  in exp_folder:
            results{track}.json            scores, intervals, fits, counts, provenance, and all
                                           numbers that a figure shows
            predictions{track}.csv         each test signal: response, similarities, predictions,
                                           and the prediction interval of each
            calibration{track}.json        the fitted mapping, for `calibration=` elsewhere
            submission{track}.csv          signal_ID,intelligibility_score, as the challenge asks
            tables/                        Table 1 and 3; within listeners and systems, with the
                                           ceiling of the answers; coverage of the prediction
                                           intervals; comparisons; by listener, system, severity,
                                           and CEC and SNR where these differ
            figures/                       PNG and PDF
            report{track}.html             all of it on one page

The logistic is fitted on the dev scenes and applied to the test signals (Tu, Ma & Barker 2022).
Intervals are 95 % intervals of a bootstrap that resamples test scenes; the fitted mapping is held
fixed. Where no test response is known, only mapping, predictions and submission are written; a
challenge of several tests has a submission of each. A mapping that was fitted on a signal of
the test is refused; allow_leak=true leaves such signals out of the test instead.
"""

import logging
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import pandas as pd
from omegaconf import DictConfig

from intelligibility.command_line import provenance, reports_errors
from intelligibility.corpora import corpus_of, known_presentations, late_responses
from intelligibility.corpora.presentation import Presentation, Response
from intelligibility.evaluation.challenge import guard, scores_by_set, set_of_each, where_known
from intelligibility.evaluation.compare import SUBMISSION, comparisons, joined_with, read_other
from intelligibility.evaluation.curve import CURVE
from intelligibility.evaluation.figures import all_figures, figure_numbers
from intelligibility.evaluation.intervals import coverages
from intelligibility.evaluation.layers import layer_scores
from intelligibility.evaluation.layout import CONDITIONS, GROUPS, lay_out, show
from intelligibility.evaluation.mapping import FittedMapping, fit_mapping
from intelligibility.evaluation.responses import better_ear, read_signals, with_conditions
from intelligibility.evaluation.scoring import CONFIDENCE, draw_scenes
from intelligibility.evaluation.split_half import checked_seeds, spread_over_halves
from intelligibility.evaluation.stale import checkpoint_of, left_out_of, made_with, refuse_stale
from intelligibility.evaluation.tables import (
    NAMES,
    Resampler,
    averaged_scores_of,
    by_group,
    records,
    scores_of,
)
from intelligibility.evaluation.trainings import training_scores
from intelligibility.evaluation.within import within_scores
from intelligibility.experiment import Experiment, is_trained_here
from intelligibility.measures import MEASURES, METHOD
from intelligibility.prediction.bundle import check_bundle, write_bundle
from intelligibility.runs import (
    RecipeError,
    remove_partial_files,
    sole_run,
    write_result,
    write_text,
)

logger = logging.getLogger(__name__)

READS = (
    "compare",
    "calibration",
    "seeds",
    "allow_leak",
    "bundle",
    "run",
    "recogniser",
    "hearing_loss",
)
FEW_SCENES = 20  # percentile intervals from fewer are too narrow to be trusted
# What this stage writes, before it is whole: other stages write to the same folder meanwhile.
PARTIAL = tuple(f".{name}*" for name in ("results", "predictions", "submission", "calibration"))
PARTIAL += (".report*", "tables/.*", "figures/.*")


@hydra.main(config_path=".", config_name="config", version_base="1.3")
@reports_errors(reads=READS)
def run(cfg: DictConfig) -> None:
    """Evaluate one track."""
    experiment = Experiment.from_config(cfg)
    seeds, other = check_asked_for(cfg)
    with sole_run(experiment.results_folder, "evaluate"):
        remove_partial_files(experiment.results_folder, *PARTIAL)
        presentations, late = what_was_heard(cfg, experiment)

        # Fit the mapping from similarity to percent words correct on dev, or take another run's.
        per_set = corpus_of(cfg).mapping_per_set
        fit = partial(fit_mapping, train=presentations.get("train", []), per_set=per_set)
        mapping, dev, dev_counts = mapping_and_dev(cfg, experiment, presentations, fit)

        # Predict every test signal, with a response or without, that the mapping was not fitted on.
        test, test_counts, leaks = test_signals(cfg, experiment, mapping, presentations, late)
        measures = predict(test, mapping)
        write_predictions(experiment, test, measures)
        if not test["correctness"].notna().any():
            warn_unlabelled(experiment)
            write_asked_bundle(cfg, experiment, None)
            return

        # Score the predictions and compare them, in the data and in resamples of the test scenes.
        test = labelled(test, presentations.get("test", []))
        drawn = draw_scenes(test["scene_number"].nunique(), cfg.seed)
        groups = {by: by_group(test, measures, by, drawn) for by in groups_of(test)}
        results = score_all(test, measures, drawn, mapping, other, cfg.seed) | {
            "groups": {by: records(long) for by, long in groups.items()},
            "trainings": training_scores(experiment, test, Resampler(drawn)),
            "leaks": leaks,
            "counts": {"dev": dev_counts, "test": test_counts | sizes_of(test)},
        }
        results |= results_with_dev(dev, test, mapping, seeds, fit)
        made = provenance(cfg) | made_with(experiment, cfg.seed)
        results |= {"left_out": left_out_of(experiment), "provenance": made}
        results = write_result(experiment.results, results)

        # Lay them out: tables, figures, and the report that holds both.
        drawings = all_figures(test, dev, measures, groups, mapping, results)
        tables = lay_out(experiment, results, groups, drawings)
        write_asked_bundle(cfg, experiment, results)

    # All files are whole before a word is printed: whoever reads the output may close it.
    logger.info("Wrote %s; results, predictions, tables and figures beside it", experiment.report)
    show(tables)


def check_asked_for(cfg: DictConfig) -> tuple[list[int] | None, pd.DataFrame | None]:
    """Read `seeds` and `compare`; refuse what cannot be done before anything is written."""
    seeds = None if cfg.seeds is None else checked_seeds(cfg.seeds)
    if seeds and cfg.calibration:
        raise RecipeError("seeds: with calibration= there are no dev signals to split")
    if cfg.bundle is not None:
        check_bundle(Path(cfg.bundle).expanduser(), cfg)
    return seeds, read_other(cfg.compare) if cfg.compare else None


def what_was_heard(
    cfg: DictConfig, experiment: Experiment
) -> tuple[Mapping[str, list[Presentation]], list[Response] | None]:
    """Return the presentations by archive, and the test responses that were released later."""
    presentations = known_presentations(cfg, experiment.track, experiment.presentations)
    refuse_stale(experiment, presentations)
    if cfg.path.test_responses is None:
        return presentations, None
    return presentations, late_responses(cfg, experiment.track, presentations.get("test", []))


def mapping_and_dev(
    cfg: DictConfig,
    experiment: Experiment,
    presentations: Mapping[str, list[Presentation]],
    fit: Callable[..., FittedMapping],
) -> tuple[FittedMapping, pd.DataFrame | None, dict[str, int]]:
    """Return the mapping, with the dev signals that it was fitted on and their counts."""
    checkpoint = checkpoint_of(experiment)
    if cfg.calibration:
        mapping = FittedMapping.read(cfg.calibration)
        mapping.warn_unless_made_with(checkpoint, cfg.calibration)
        return mapping, None, {}
    dev, counts = read_signals(experiment, "dev", presentations)
    if experiment.presentations.is_file() and (counts["missing"] or counts["unknown"]):
        raise RecipeError(
            f"{experiment.scene_list('dev')}: {counts['missing']} signals of these scenes have "
            f"no similarity, and {counts['unknown']} with one are of other scenes: the split "
            "is not the one that was measured; run prepare_data.py and infer.py again"
        )
    mapping = fit(dev, checkpoint_sha256=checkpoint)
    mapping.add_layer(dev)
    mapping.write(experiment.calibration)
    return mapping, dev, counts


def test_signals(
    cfg: DictConfig,
    experiment: Experiment,
    mapping: FittedMapping,
    presentations: Mapping[str, list[Presentation]],
    late: list[Response] | None,
) -> tuple[pd.DataFrame, dict[str, int], dict[str, Any]]:
    """Return the test signals that may be scored, their counts, and those that were seen before."""
    test, counts = read_signals(experiment, "test", presentations, late)
    test["set"] = set_of_each(test["signal"], presentations.get("test", []))
    trained_on = experiment.asr.trained_on if is_trained_here(cfg) else None
    test, leaks = guard(mapping, test, presentations.get("test", []), trained_on, cfg.allow_leak)
    counts["matched"] = int(test["correctness"].notna().sum())
    return test, counts, leaks


def predict(test: pd.DataFrame, mapping: FittedMapping) -> list[str]:
    """Add `{measure}_prediction`, percent words correct, to the test signals; and the prior's.

    Returns the measures that have both similarities and a fitted curve.
    """
    mapping.add_layer(test)
    measures = [measure for measure in NAMES if f"{measure}_similarity" in test]
    without = [measure for measure in measures if measure not in mapping.fits]
    if set(without) & set(METHOD) or without == measures:
        raise RecipeError(
            f"{', '.join(without)}: test similarities, but no {CURVE}; it was fitted for "
            f"{', '.join(mapping.fits) or 'nothing'}. Run infer.py on dev too"
        )
    measures = [measure for measure in measures if measure in mapping.fits]
    for name in sorted(set(test["set"])):
        own, rows = mapping.of_set(name), test["set"] == name
        for measure in measures:
            similarities = test.loc[rows, f"{measure}_similarity"]
            test.loc[rows, f"{measure}_prediction"] = own.predict(measure, similarities)
            if (expected := own.fits[measure].prediction_interval) is not None:
                ends = expected.around(test.loc[rows, f"{measure}_prediction"])
                test.loc[rows, [f"{measure}_low", f"{measure}_high"]] = np.column_stack(ends)
        test.loc[rows, "prior_prediction"] = own.mean_correctness
    return measures


def write_predictions(experiment: Experiment, test: pd.DataFrame, measures: list[str]) -> None:
    """Write predictions.csv and, of the measure that the published entry used, submission.csv."""
    columns = ["signal", "scene", "listener", "system", "correctness"]
    columns += [f"{one}_{what}" for one in measures for what in ("similarity", "prediction")]
    ends = [f"{one}_{end}" for one in measures for end in ("low", "high")]
    columns += [name for name in ends if name in test]
    write_text(experiment.predictions, test[columns].to_csv(index=False))
    chosen = next(one for one in (*METHOD, *(one.name for one in MEASURES)) if one in measures)
    sets = {"": test} | {str(name): rows for name, rows in test.groupby("set") if name}
    for name, rows in sets.items():
        submission = rows[["signal", f"{chosen}_prediction"]].dropna()
        write_text(
            experiment.submission_of(name), submission.to_csv(index=False, header=list(SUBMISSION))
        )


def warn_unlabelled(experiment: Experiment) -> None:
    """Warn that there is nothing to score with, and of scores that an earlier run left."""
    logger.warning("No test response is known: scores cannot be computed. Set path.test_responses.")
    if experiment.results.is_file():
        logger.warning("%s holds the scores of an earlier run", experiment.results)


def labelled(test: pd.DataFrame, presentations: list[Presentation]) -> pd.DataFrame:
    """Return the test signals with a response, with `scene_number` and their hearing losses."""
    listeners = {one.listener.id: one.listener for one in presentations}
    test = test[test["correctness"].notna()]
    test = test.join(better_ear(listeners, test["listener"]), on="listener")
    test = where_known(with_conditions(test, presentations), presentations)
    test["scene_number"], scenes = pd.factorize(test["scene"], sort=True)
    if len(scenes) < FEW_SCENES:
        logger.warning("%d test scenes only: the intervals are too narrow", len(scenes))
    return test


def groups_of(test: pd.DataFrame) -> list[str]:
    """Return the columns by which the test signals are grouped."""
    several = [by for by in CONDITIONS if by in test and test[by].nunique() > 1]
    return [by for by in GROUPS if test[by].notna().any()] + several


def sizes_of(test: pd.DataFrame) -> dict[str, int]:
    """Return how many scenes, listeners and systems the test signals have."""
    return {f"{by}s": int(test[by].nunique()) for by in ("scene", "listener", "system")}


def score_all(
    test: pd.DataFrame,
    measures: list[str],
    drawn: np.ndarray,
    mapping: FittedMapping,
    other: pd.DataFrame | None,
    seed: int,
) -> dict[str, Any]:
    """Score every measure over signals, sets and means, and compare them, all with intervals."""
    resampler, scored = Resampler(drawn), ["prior", *measures]
    of_means = {measure: mapping.fits[measure].interval_of_means for measure in measures}
    joined, pairs = joined_with(test, measures, other)
    scores = scores_of(test, scored, resampler)
    published = {  # the scores alone, as the published results.json has them
        f"{measure}_results": {name: one["value"] for name, one in by_name.items()}
        for measure, by_name in scores.items()
    }
    return published | {
        "scores": scores,
        "sets": scores_by_set(test, scored, resampler),
        "averaged": {
            by: averaged_scores_of(test, measures, by, drawn)
            for by in ("listener", "system")
            if test[by].notna().any()
        },
        "comparisons": comparisons(joined, pairs, resampler),
        "bootstrap": {"resamples": len(drawn), "unit": "scene", "confidence": CONFIDENCE},
        "within": within_scores(test, measures, drawn, seed),
        "ranges": coverages(test, measures, of_means, drawn),
        "figures": figure_numbers(test, measures),
        "calibration": mapping.as_json(),
    }


def results_with_dev(
    dev: pd.DataFrame | None,
    test: pd.DataFrame,
    mapping: FittedMapping,
    seeds: list[int] | None,
    fit: Callable[..., FittedMapping],
) -> dict[str, Any]:
    """Return the results that need the dev signals too: scores over random halves, and by layer."""
    found: dict[str, Any] = {"halves": None}
    if dev is not None and seeds:
        found["halves"] = spread_over_halves(dev, test, seeds, fit, predict)
    if dev is not None and mapping.layer and not mapping.by_set:
        found["layers"] = layer_scores(dev, test, mapping.layer)
    return found


def write_asked_bundle(
    cfg: DictConfig, experiment: Experiment, results: dict[str, Any] | None
) -> None:
    """Write the bundle that `bundle` asks for: what score.py needs, in one folder."""
    if cfg.bundle is not None:
        folder = Path(str(cfg.bundle)).expanduser().absolute()
        write_bundle(folder, cfg, experiment, results)
        logger.info("Wrote the bundle %s; fill in the licence in its README.md", folder)


if __name__ == "__main__":
    run()
