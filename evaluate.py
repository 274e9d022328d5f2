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
                                           and the range to expect around each
            calibration{track}.json        the fitted mapping, for `calibration=` elsewhere
            submission{track}.csv          signal_ID,intelligibility_score, as the challenge asks
            tables/                        Table 1 and 3; within listeners and systems, with the
                                           ceiling of the answers; ranges; comparisons; by listener,
                                           system, severity, and CEC and SNR where these differ
            figures/                       PNG and PDF
            report{track}.html             all of it on one page

The logistic is fitted on the dev scenes and applied to the test signals (Tu, Ma & Barker 2022).
Intervals are 95 % intervals of a bootstrap that resamples test scenes; the fitted mapping is held
fixed. Where no test response is known, only predictions and submission are written; a challenge
of several tests has a submission of each. A mapping that was fitted on a signal of the test is
refused; allow_leak=true leaves such signals out of the test instead.
"""

import itertools
import logging
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import pandas as pd
from omegaconf import DictConfig

from intelligibility.command_line import provenance, reports_errors
from intelligibility.corpora import CORPORA, corpus_of, known_presentations, late_responses
from intelligibility.corpora.presentation import Presentation, made_from_of
from intelligibility.evaluation.binned import figure_numbers
from intelligibility.evaluation.challenge import (
    guard,
    read_submission,
    scores_by_set,
    set_of_each,
    submission_to_compare,
    where_known,
    write_submissions,
)
from intelligibility.evaluation.curve import CURVE
from intelligibility.evaluation.figures import Drawing, all_figures, save
from intelligibility.evaluation.further_tables import further_tables
from intelligibility.evaluation.intervals import PROBABILITY, SENTENCES, coverages
from intelligibility.evaluation.layers import layer_scores, layers_drawing, layers_table
from intelligibility.evaluation.mapping import FittedMapping, checked_sha256, fit_mapping
from intelligibility.evaluation.report import write_report
from intelligibility.evaluation.responses import (
    Answers,
    better_ear,
    read_signals,
    with_conditions,
)
from intelligibility.evaluation.scoring import CONFIDENCE, draw_scenes
from intelligibility.evaluation.split_half import checked_seeds, spread_over_halves
from intelligibility.evaluation.tables import (
    NAMES,
    Resampler,
    Table,
    all_tables,
    averaged_scores_of,
    by_group,
    comparisons,
    markdown,
    records,
    scores_of,
)
from intelligibility.evaluation.within import within_scores
from intelligibility.experiment import TRACKS, Experiment, is_trained_here
from intelligibility.measures import BASELINES, MEASURES, METHOD
from intelligibility.prediction.bundle import check_new, write_bundle
from intelligibility.runs import (
    RecipeError,
    listed,
    logbook,
    read_json,
    sole_run,
    write_result,
    write_text,
)

logger = logging.getLogger(__name__)

READS = ("compare", "calibration", "seeds", "allow_leak", "bundle", "recogniser", "hearing_loss")
GROUPS = ("listener", "system", "severity", "grade")
CONDITIONS = ("CEC", "SNR")  # where a corpus has several
FEW_SCENES = 20  # percentile intervals from fewer are too narrow to be trusted
WRITTEN = ("results", "predictions", "submission", "calibration", "report")  # and two folders


@hydra.main(config_path=".", config_name="config", version_base="1.3")
@reports_errors(reads=READS)
def run(cfg: DictConfig) -> None:
    """Evaluate one track."""
    experiment = Experiment.from_config(cfg)
    check_asked_for(cfg)
    with sole_run(experiment.results_folder, "evaluate"):
        remove_partial_files(experiment.results_folder)
        presentations, answers = read_answers(cfg, experiment)

        # The mapping from similarity to percent words correct: fitted on dev, or another run's.
        mapping, dev, dev_counts = mapping_and_dev(cfg, experiment, answers, presentations)

        # Predict every test signal, with a response or without, that the mapping does not know.
        tested = presentations.get("test", [])
        test, test_counts, leaks = test_signals(cfg, experiment, mapping, answers, tested)
        measures = predict(test, mapping)
        write_predictions(experiment, test, measures)
        if not test["correctness"].notna().any():
            logger.warning(
                "No test response is known: scores cannot be computed. Set path.test_responses."
            )
            hand_on(cfg, experiment, None)
            return

        # Score the predictions, in the data and in resamples of the test scenes.
        test = labelled(test, answers, tested)
        drawn = draw_scenes(test["scene_number"].nunique(), cfg.seed)
        groups = {by: by_group(test, measures, by, drawn) for by in groups_of(test)}
        results = score_all(cfg, test, measures, drawn) | {
            "within": within_scores(test, measures, drawn, cfg.seed),
            "ranges": covered(test, measures, mapping, drawn),
            "halves": halves(cfg, dev, test, presentations.get("train", [])),
            "groups": {by: records(long) for by, long in groups.items()},
            "figures": figure_numbers(test, measures),
            "calibration": mapping.as_json(),
            "leaks": leaks,
            "counts": {"dev": dev_counts, "test": test_counts | sizes_of(test)},
        }
        layers = None if dev is None or mapping.by_set else layer_scores(experiment, dev, test)
        if layers is not None:
            results["layers"] = layers
        results = write_result(experiment.results, results | how_made(cfg, experiment))

        # Lay them out: tables, figures, and the report that holds both.
        drawings = all_figures(test, dev, measures, groups, mapping, results)
        tables = lay_out(experiment, results, groups, drawings)
        hand_on(cfg, experiment, results)

    # All files are whole before a word is printed: the reader of the words may go away.
    logger.info(
        "Wrote %s and, beside it, results, predictions, tables and figures", experiment.report
    )
    show({experiment.result_table(name): table for name, table in reversed(tables.items())})


def check_asked_for(cfg: DictConfig) -> None:
    """Refuse what cannot be done before anything is written."""
    if cfg.seeds is not None:
        checked_seeds(cfg.seeds)
    if cfg.compare and not Path(cfg.compare).expanduser().is_file():
        raise RecipeError(
            f"compare={cfg.compare}: no such file; expected a predictions.csv of this recipe, or a "
            "submission"
        )
    if cfg.bundle is not None:
        check_new(Path(cfg.bundle).expanduser())


def test_signals(
    cfg: DictConfig,
    experiment: Experiment,
    mapping: FittedMapping,
    answers: Answers,
    tested: list[Presentation],
) -> tuple[pd.DataFrame, dict[str, int], dict[str, Any]]:
    """Return the test signals that may be scored, how many there are, and what was seen before."""
    test, counts = read_signals(experiment, "test", answers)
    test["set"] = set_of_each(test["signal"], tested)
    trained_on = experiment.trained_on if is_trained_here(cfg) else None
    test, leaks = guard(mapping, test, tested, trained_on, cfg.allow_leak)
    counts["matched"] = int(test["correctness"].notna().sum())
    return test, counts, leaks


def how_made(cfg: DictConfig, experiment: Experiment) -> dict[str, Any]:
    """Return what results.json says of how it was made."""
    stages = {
        "checkpoint_sha256": checkpoint_of(experiment),
        "seeds": seeds_of_stages(cfg, experiment),
    }
    return {"left_out": left_out_of(experiment), "provenance": provenance(cfg) | stages}


def lay_out(
    experiment: Experiment,
    results: dict[str, Any],
    groups: dict[str, pd.DataFrame],
    drawings: dict[str, Drawing],
) -> dict[str, Table]:
    """Write the tables, the figures and the report; return the tables."""
    tables = all_tables(results, results_beside(experiment, results), groups)
    tables = with_further(tables, further_tables(results))
    if "layers" in results:
        tables["layers"] = layers_table(results["layers"])
        drawings = drawings | {"layers": layers_drawing(results["layers"])}
    for name, table in tables.items():
        write_table(experiment.result_table(name), table)
    files = {
        write_figure(experiment.figure(name), drawing): drawing
        for name, drawing in drawings.items()
    }
    write_report(experiment.report, results, tables.values(), files)
    return tables


def hand_on(cfg: DictConfig, experiment: Experiment, results: dict[str, Any] | None) -> None:
    """Write the bundle that `bundle` asks for: all that score.py needs, in one folder."""
    if cfg.bundle is not None:
        folder = Path(str(cfg.bundle)).expanduser().absolute()
        write_bundle(folder, cfg, experiment, results)
        logger.info("Wrote the bundle %s; fill in the licence in its README.md", folder)


def remove_partial_files(folder: Path) -> None:
    """Remove what a killed run of this stage left under temporary names."""
    ours = [folder.glob(f".{stem}*.part.*") for stem in WRITTEN]
    below = [(folder / name).glob(".*.part.*") for name in ("tables", "figures")]
    for path in itertools.chain(*ours, *below):
        path.unlink(missing_ok=True)


def read_answers(
    cfg: DictConfig, experiment: Experiment
) -> tuple[dict[str, list[Presentation]], Answers]:
    """Read what the listeners answered, from the records of prepare_data.py and late responses.

    Returns
    -------
    presentations : dict
        The records, per archive.
    answers : Answers
        What the listeners answered.

    Raises
    ------
    RecipeError
        The ear signals were made anew, or the recogniser trained, since infer.py measured them.
    """
    presentations = known_presentations(cfg, experiment.track, experiment.presentations)
    check_recogniser(experiment)
    measured = read_inference(experiment).get("ear_signals")
    if experiment.presentations.is_file() and measured is not None:
        now = {name: made_from_of(ones) for name, ones in presentations.items()}
        if measured != now:
            raise RecipeError(
                f"{experiment.inference}: the similarities are of other ear signals, audiograms or "
                f"prompts than {experiment.presentations.name} now holds; run infer.py again"
            )
    check_baselines(experiment, presentations)
    late = None
    if cfg.path.test_responses is not None:
        late = late_responses(cfg, experiment.track, presentations.get("test", []))
    return presentations, Answers.of(presentations, late)


def check_recogniser(experiment: Experiment) -> None:
    """Refuse similarities of a recogniser that is not the one in its folder any more."""
    measured = set(read_inference(experiment).get("checkpoints") or ())
    now = {path.name for path in experiment.save_folder.glob("CKPT*")}
    if now and not experiment.recogniser and not measured <= now:
        raise RecipeError(
            f"{experiment.inference}: the similarities are of {listed(sorted(measured))}, which "
            f"{experiment.save_folder} does not hold any more: the recogniser was trained since; "
            "run infer.py again"
        )


def check_baselines(experiment: Experiment, presentations: dict[str, list[Presentation]]) -> None:
    """Refuse indices of baselines.py that are of other signals, or of two runs."""
    path = experiment.baselines
    recorded = read_json(path, dict).get("baselines", {}) if path.is_file() else {}
    now = {archive: made_from_of(ones) for archive, ones in presentations.items()}
    for one in BASELINES:
        if not experiment.baseline_file("test", one.name).is_file():
            continue
        if one.name not in recorded:
            raise RecipeError(
                f"{path}: nothing about {one.name}: baselines.py was stopped while it wrote; run "
                "it again, or remove the files of that measure"
            )
        # Without a hearing loss, as an ablation, the records are others and the signals the same.
        comparable = experiment.presentations.is_file() and not experiment.ablation
        if comparable and recorded[one.name].get("ear_signals") != now:
            raise RecipeError(
                f"{path}: {one.name} is of other signals, audiograms or prompts than "
                f"{experiment.presentations.name} now holds; run baselines.py again"
            )


def mapping_and_dev(
    cfg: DictConfig,
    experiment: Experiment,
    answers: Answers,
    presentations: dict[str, list[Presentation]],
) -> tuple[FittedMapping, pd.DataFrame | None, dict[str, int]]:
    """Return the mapping, with the dev signals that it was fitted on and their counts."""
    checkpoint = checkpoint_of(experiment)
    if cfg.calibration:
        mapping = FittedMapping.read(cfg.calibration)
        mapping.warn_unless_made_with(checkpoint, cfg.calibration)
        return mapping, None, {}
    dev, counts = read_signals(experiment, "dev", answers)
    if experiment.presentations.is_file() and (counts["missing"] or counts["unknown"]):
        raise RecipeError(
            f"{experiment.scene_list('dev')}: {counts['missing']} of its signals have no "
            f"similarity, and {counts['unknown']} that have one are not of its scenes: the split "
            "is not the one that was measured; run prepare_data.py and infer.py again"
        )
    train = presentations.get("train", [])
    mapping = fit_mapping(dev, train, checkpoint, corpus_of(cfg).mapping_per_set)
    mapping.write(experiment.calibration)
    return mapping, dev, counts


def labelled(
    test: pd.DataFrame, answers: Answers, presentations: list[Presentation]
) -> pd.DataFrame:
    """Return the test signals with a response, with `scene_number` and their hearing losses."""
    test = test[test["correctness"].notna()].join(
        better_ear(answers.listeners, test["listener"]), on="listener"
    )
    test = where_known(with_conditions(test, presentations), presentations)
    test["scene_number"], scenes = pd.factorize(test["scene"], sort=True)
    if len(scenes) < FEW_SCENES:
        logger.warning("%d test scenes only: the intervals are too narrow", len(scenes))
    return test


def groups_of(test: pd.DataFrame) -> list[str]:
    """Return by what the test signals can be told apart."""
    several = [by for by in CONDITIONS if by in test and test[by].nunique() > 1]
    return [by for by in GROUPS if test[by].notna().any()] + several


def covered(
    test: pd.DataFrame, measures: list[str], mapping: FittedMapping, drawn: np.ndarray
) -> dict[str, Any]:
    """Tell how many test answers lie within the ranges that the mapping gives."""
    of_means = {measure: mapping.fits[measure].interval_of_means for measure in measures}
    return {
        "level": PROBABILITY,
        "sentences": SENTENCES,
        "measures": coverages(test, measures, of_means, drawn),
    }


def halves(
    cfg: DictConfig, dev: pd.DataFrame | None, test: pd.DataFrame, train: list[Presentation]
) -> dict[str, Any] | None:
    """Return the spread of the scores over random halves of dev, where `seeds` asks for it."""
    if cfg.seeds is None:
        return None
    seeds = checked_seeds(cfg.seeds)
    if dev is None:
        raise RecipeError("seeds: with calibration= there are no dev signals to split")
    per_set = corpus_of(cfg).mapping_per_set
    return spread_over_halves(
        dev, test, seeds, lambda half: fit_mapping(half, train, None, per_set), predict
    )


def read_inference(experiment: Experiment) -> dict[str, Any]:
    """Read how the similarities were made.

    infer.py writes this record last: without it, the similarities may be of two runs.
    """
    if not experiment.inference.is_file():
        raise RecipeError(
            f"{experiment.inference}: no such file: infer.py did not run here, or was stopped "
            "while it wrote; run it again"
        )
    return read_json(experiment.inference, dict)


def checkpoint_of(experiment: Experiment) -> str | None:
    """Return the hash of the recogniser that infer.py used, None when it did not record it."""
    try:
        return checked_sha256(read_inference(experiment).get("checkpoint_sha256"))
    except ValueError as error:
        raise RecipeError(f"{experiment.inference}: {error}; run infer.py again") from None


def seeds_of_stages(cfg: DictConfig, experiment: Experiment) -> dict[str, int | None]:
    """Return the seed that each stage ran with; None where it left no record of it."""
    split = experiment.split_record
    training = experiment.asr.training
    trained = training.is_file() and not experiment.recogniser
    records = {
        "prepare_data.py": read_json(split, dict) if split.is_file() else {},
        "train_asr.py": read_json(training, dict).get("settings", {}) if trained else {},
        "infer.py": read_json(experiment.inference, dict).get("provenance", {}),
    }
    seeds = {script: record.get("seed") for script, record in records.items()}
    if seeds["prepare_data.py"] not in (None, cfg.seed):
        logger.warning(
            "seed=%s draws the bootstrap; the dev scenes were drawn with seed=%s",
            *(cfg.seed, seeds["prepare_data.py"]),
        )
    return seeds | {"evaluate.py": cfg.seed}


def left_out_of(experiment: Experiment) -> dict[str, Any] | None:
    """Name the file of signals that prepare_data.py had to leave out; None when all were used."""
    path = experiment.left_out
    return {"file": path.name, "signals": len(read_json(path, dict))} if path.is_file() else None


def predict(test: pd.DataFrame, mapping: FittedMapping) -> list[str]:
    """Add `{measure}_prediction`, percent words correct, to the test signals; and the prior's.

    Returns
    -------
    list of str
        The measures that have both similarities and a logistic.
    """
    measures = [measure for measure in NAMES if f"{measure}_similarity" in test]
    without = [measure for measure in measures if measure not in mapping.fits]
    if set(without) & set(METHOD) or without == measures:
        raise RecipeError(
            f"{', '.join(without)}: test similarities, but no {CURVE}; it was fitted for "
            f"{', '.join(mapping.fits) or 'nothing'}. Run infer.py on dev too"
        )
    measures = [measure for measure in measures if measure in mapping.fits]
    sets = test["set"] if "set" in test else pd.Series("", test.index)
    for name in sorted(set(sets)):
        own, rows = mapping.of_set(name), sets == name
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
    columns += [
        f"{measure}_{what}" for measure in measures for what in ("similarity", "prediction")
    ]
    columns += [
        name
        for measure in measures
        for name in (f"{measure}_low", f"{measure}_high")
        if name in test
    ]
    write_text(experiment.predictions, test[columns].to_csv(index=False))
    chosen = next(one for one in (*METHOD, *(one.name for one in MEASURES)) if one in measures)
    write_submissions(experiment, test, chosen)


def score_all(
    cfg: DictConfig, test: pd.DataFrame, measures: list[str], drawn: np.ndarray
) -> dict[str, Any]:
    """Score every measure over signals and over means, and compare them, all with intervals."""
    resampler = Resampler(drawn)
    scores = scores_of(test, ["prior", *measures], resampler)
    published = {  # the scores alone, as the published results.json has them
        f"{measure}_results": {name: one["value"] for name, one in scored.items()}
        for measure, scored in scores.items()
    }
    return published | {
        "scores": scores,
        "sets": scores_by_set(test, ["prior", *measures], resampler),
        "averaged": {
            by: averaged_scores_of(test, measures, by, drawn)
            for by in ("listener", "system")
            if test[by].notna().any()
        },
        "comparisons": comparisons(*pairs_to_compare(test, measures, cfg.compare), resampler),
        "bootstrap": {"resamples": len(drawn), "unit": "scene", "confidence": CONFIDENCE},
    }


def pairs_to_compare(
    test: pd.DataFrame, measures: list[str], other: str | None
) -> tuple[pd.DataFrame, list[tuple[str, str]]]:
    """Return the test signals with what there is to compare, and the pairs of names."""
    pairs = list(itertools.combinations(reversed(measures), 2))
    if not other:
        return test, pairs
    path = Path(other).expanduser()
    try:
        if (submission := read_submission(path)) is not None:
            return submission_to_compare(test, submission, measures, pairs)
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
            f"compare={other}: neither a predictions.csv of this recipe nor a submission "
            f"({error!s:.300})"
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


def results_beside(experiment: Experiment, results: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what stands side by side in Table 1: the tracks of CPC1 so far, or a challenge's sets.

    Only CPC2 pools its tests.
    """
    corpus = CORPORA[experiment.corpus]
    if not corpus.tracks:
        pooled = {"pooled": results} if corpus.mapping_per_set else {}
        return pooled | results["sets"] or {"test": results}
    files = {track: experiment.of_track(track).results for track in TRACKS}
    return {track: read_json(path, dict) for track, path in files.items() if path.is_file()}


def with_further(tables: dict[str, Table], further: dict[str, Table]) -> dict[str, Table]:
    """Put further tables behind the paper's, before comparisons and groups."""
    papers = {name: table for name, table in tables.items() if name in ("table1", "table3")}
    return papers | further | tables


def write_table(stem: Path, table: Table) -> None:
    """Write a table as CSV (numbers) and as Markdown (for reading)."""
    write_text(stem.with_suffix(".csv"), table.long.to_csv(index=False))
    write_text(stem.with_suffix(".md"), markdown(table.shown))


def write_figure(stem: Path, drawing: Drawing) -> Path:
    """Write a figure as PNG and PDF; return the PNG."""
    save(drawing.figure, stem)
    return stem.with_name(f"{stem.name}.png")


def show(tables: dict[Path, Table]) -> None:
    """Print the tables, each with the file that holds its numbers, and keep them in the log."""
    texts = [f"{one.title} ({stem}.csv)\n{markdown(one.shown)}" for stem, one in tables.items()]
    for text in texts:
        logbook.info("%s", text)
    for text in texts:
        print(f"\n{text}", flush=True)


if __name__ == "__main__":
    run()
