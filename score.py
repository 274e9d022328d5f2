"""Score your own hearing aid: two recordings, an audiogram, a percentage of words.

    python score.py processed=ha.wav reference=clean.wav audiogram=moderate
    python score.py processed=ha.wav reference=clean.wav audiogram=moderate \\
        text="the boat is late" model=openai/whisper-base.en
    python score.py table=signals.csv output=scores.csv model=/data/exp

model       nothing: HASPI, mapped to percent words correct by what 26 people with hearing loss
            answered in Clarity's third challenge (pip install --no-deps -r
            requirements-baselines.txt). A recogniser's hub id or folder: the share of the words
            that it recognises after the hearing loss, uncalibrated. An experiment folder in which
            evaluate.py ran, a bundle (evaluate.py bundle=FOLDER), or the hub id of a bundle: the
            method, with its own mapping. model_revision is of a hub id
processed   the hearing aid's output, WAV or FLAC, mono or stereo, 8 kHz or more
reference   the clean speech. The delay between the two is found and removed (unless align=false);
            the sentence is found in the reference (start=2.0: drop two seconds, as in CPC1)
audiogram   none, mild, moderate, moderately severe, N1 to N7, S1 to S3 (Bisgaard et al., 2010); or
            250:20,500:25,... (left=...;right=...); or a Clarity listeners file with listener=L0239
text        the sentence; without it the recogniser's transcript of the reference is used
table       CSV with the columns processed and reference and, each optional, text, listener,
            audiogram, system, name, correctness; its paths are relative to its own folder. Or a
            folder with NAME_processed.wav and NAME_reference.wav, or with the folders processed/
            and reference/ that hold the same names
output      CSV; beside it the same as .json with a summary, and .jsonl, the journal
report      true: also a page, output with .html, to listen to report_rows of the recordings
calibration calibration.json of an experiment with the recogniser that model names

`speech_level=65` sets the reference's speech to 65 dB SPL; `full_scale_db_spl` is the level of
0 dB FS (default: 100 dB SPL, or as in the data of the experiment). `ear=left` listens with one ear.
`by=enc` predicts by another measure. A table is checked before work; a bad row stops the run,
unless skip_bad=true leaves it out. A run that was stopped continues where it was.
"""

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig

from intelligibility.command_line import provenance, reports_errors
from intelligibility.configuration import ScoreSettings
from intelligibility.corpora.audiograms import listener_of
from intelligibility.evaluation.tables import NAMES
from intelligibility.prediction.haspi_predictor import BETTER, NAME, refuse_missing_pyclarity
from intelligibility.prediction.model import is_recogniser
from intelligibility.prediction.page import mean_in_words, write_page
from intelligibility.prediction.prediction import Conditions, Prediction
from intelligibility.prediction.predictor import AnyPredictor, model_made_by, predictor_of_process
from intelligibility.prediction.recording import read_recording
from intelligibility.prediction.rows import Row, check_row, made_by, read_folder, read_rows
from intelligibility.prediction.summary import as_frame, summarise
from intelligibility.runs import (
    RecipeError,
    listed,
    pick_device,
    sole_run,
    write_result,
    write_text,
)
from intelligibility.words import mean_of_known_words
from intelligibility.work import Piece, Work

logger = logging.getLogger(__name__)

PLAIN = ("processed", "reference", "audiogram", "listener", "text", "table", "output", "model")
OPTIONS = ("align", "start", "full_scale_db_spl", "speech_level", "ear")
READS = (
    *(*PLAIN, *OPTIONS, "model_revision", "calibration", "by", "report", "report_rows"),
    *("skip_bad", "n_jobs", "device"),
)


@hydra.main(config_path=".", config_name="config", version_base="1.3")
@reports_errors(reads=READS, plain=PLAIN, own="score.yaml", settings=ScoreSettings)
def run(cfg: DictConfig) -> None:
    """Score one pair of recordings, or a table of them."""
    conditions = Conditions(**{name: cfg[name] for name in OPTIONS})
    rows = rows_to_score(cfg)
    model = cfg.model and str(cfg.model), cfg.model_revision, cfg.calibration
    check_model(cfg, model)
    device = str(pick_device(cfg.device)) if cfg.model else "cpu"
    load = partial(predictor_of_process, *model, device, cfg.by)
    if cfg.output is None:
        say(score(load(), rows[0], conditions))
        return
    output = output_of(cfg, rows)
    with sole_run(output.parent, output.stem):
        work = Work(
            output.with_suffix(".jsonl"),
            [Piece(row.name, row) for row in rows],
            partial(made_by, conditions=conditions, model=model_made_by(*model), by=cfg.by),
            "rows",
        )
        n_jobs = cfg.n_jobs if device == "cpu" else 1
        work.do(partial(score_row, load=load, conditions=conditions), n_jobs)
        results = results_of(work, rows, cfg.skip_bad)
        write_text(output, as_frame(results).to_csv(index=False))
        content = write_result(
            output.with_suffix(".json"),
            {
                "rows": results,
                "summary": summarise(results, cfg.seed),
                "provenance": provenance(cfg),
            },
        )
        if cfg.report:
            page = output.with_suffix(".html")
            again = partial(score, load(), conditions=conditions)
            write_page(page, content, rows, again, cfg.report_rows)
            logger.info("Wrote %s", page)
    logger.info("Wrote %d rows to %s, and a summary beside it", len(results), output)
    mean_of_known_words(results)
    say_summary(content["summary"])


def score(predictor: AnyPredictor, row: Row, conditions: Conditions) -> Prediction:
    """Predict the percentage of words correct for one row; the predictors have the method."""
    processed, reference = read_recording(row.processed), read_recording(row.reference)
    return predictor.predict(processed, reference, None, row.listener, row.text, conditions)


def score_row(row: Row, load: Callable[[], AnyPredictor], conditions: Conditions) -> dict[str, Any]:
    """Score one row in a process, which loads the model once."""
    try:
        return score(load(), row, conditions).as_json()
    except RecipeError as error:
        raise ValueError(f"line {row.line}: {error}" if row.line else str(error)) from None


def results_of(work: Work[Row], rows: list[Row], skip_bad: bool) -> list[dict[str, Any]]:
    """Return the results in the order of the rows; refuse rows that failed, or leave them out."""
    if not skip_bad:
        work.refuse_failed("fix them and run again, or leave them out with skip_bad=true")
    if failed := [*work.failed.values()]:
        logger.warning("%d rows are left out: %s", len(failed), listed(failed, 20))
    if not work.results:
        raise RecipeError("no row is left")
    return [row.as_json() | work.results[row.name] for row in rows if row.name in work.results]


def output_of(cfg: DictConfig, rows: list[Row]) -> Path:
    """Return the CSV to write; refuse a name under which an input would be overwritten."""
    output = Path(str(cfg.output)).expanduser().absolute()
    if output.suffix != ".csv" or output.is_dir():
        raise RecipeError(f"output={cfg.output}: expected a file that ends in .csv")
    inputs = [path for row in rows for path in (row.processed, row.reference)]
    inputs += [Path(str(cfg[key])).expanduser() for key in ("table", "audiogram") if cfg[key]]
    read = {path.resolve() for path in inputs}
    written = [output.with_suffix(suffix) for suffix in (".csv", ".json", ".jsonl", ".html")]
    if clash := [path for path in written if path.resolve() in read]:
        raise RecipeError(f"output={cfg.output}: {clash[0]} is an input; give another name")
    return output


def check_model(cfg: DictConfig, model: tuple[str | None, str | None, str | None]) -> None:
    """Refuse keys that have no meaning for this model, and a model that cannot be opened."""
    name, revision, calibration = model
    if name is None:
        refuse_missing_pyclarity()
        given = [k for k in ("model_revision", "calibration", "by") if cfg[k] not in (None, NAME)]
        if given:
            raise RecipeError(f"{given[0]}={cfg[given[0]]}: without model=, HASPI predicts")
    elif calibration is not None and not is_recogniser(name, revision):
        raise RecipeError(f"calibration={calibration}: {name} has a mapping of its own")


# Rows to score


def rows_to_score(cfg: DictConfig) -> list[Row]:
    """Return the rows, checked as far as the headers of the recordings tell."""
    if cfg.table is not None:
        return rows_of_table(cfg)
    lacking = [name for name in ("processed", "reference", "audiogram") if cfg[name] is None]
    if lacking:
        raise RecipeError(f"{' and '.join(lacking)}: missing; give {'=... '.join(lacking)}=...")
    if cfg.report and cfg.output is None:
        raise RecipeError("report=true: give output=FILE.csv, beside which the page is written")
    processed = Path(str(cfg.processed)).expanduser()
    reference = Path(str(cfg.reference)).expanduser()
    listener = listener_of(str(cfg.audiogram), cfg.listener)
    text = None if cfg.text is None else str(cfg.text)
    row = Row(0, processed.stem, processed, reference, listener, text)
    check_row(row)
    return [row]


def rows_of_table(cfg: DictConfig) -> list[Row]:
    """Return the rows of a table that can be scored; refuse the others, or leave them out."""
    if single := [name for name in ("processed", "reference", "text") if cfg[name] is not None]:
        raise RecipeError(f"{single[0]}= and table=: give one of the two")
    if cfg.output is None:
        raise RecipeError("table=: give output=FILE.csv too")
    table = Path(str(cfg.table)).expanduser().absolute()
    read = read_folder if table.is_dir() else read_rows
    rows, problems = read(table, cfg.audiogram, cfg.listener)
    if problems:
        texts = [f"{one.where}: {one.fault}" for one in problems]
        if not cfg.skip_bad:
            raise RecipeError(
                f"{table} cannot be scored, {listed(texts)}; fix it, or leave these rows out with "
                "skip_bad=true"
            )
        logger.warning("%s: %d rows are left out: %s", table, len(texts), listed(texts, 20))
    if not rows:
        raise RecipeError(f"{table}: no row is left")
    return rows


# Output on the terminal


def say(prediction: Prediction) -> None:
    """Print one prediction, how sure it is, and what would be better."""
    print(f"{prediction.percent:.0f} % of the words correct, {how_sure(prediction)}")
    for name, similarity in prediction.similarities.items():
        ears = ", ".join(f"{ear} {one[name]:.3f}" for ear, one in prediction.by_ear.items())
        percent = prediction.percents.get(name)
        so = "" if percent is None else f" -> {percent:.0f} %"
        print(f"  {NAMES[name]}: {similarity:.3f} ({ears}){so}")
    if any(above_both_ears(prediction, name) for name in prediction.similarities):
        print("  above both ears alone: the better ear is chosen in every frame, as published")
    if prediction.fitted_on:
        print(f"  HASPI is mapped by {prediction.fitted_on}")
    if prediction.words:
        transcript = "the recogniser's transcript of the reference"
        source = "given" if prediction.text_given else transcript
        print(f"  sentence ({source}): {prediction.text}")
    if prediction.reference_wcs is not None:
        known = 100 * prediction.reference_wcs
        print(f"  of its words the recogniser understands {known:.0f} % in the clean reference")
    for ear, words in prediction.words.items():
        if words is not None:
            print(f"  recognised, {ear} ear: {words}")
    heard = prediction.heard
    print(f"  delay {1000 * heard.delay:.1f} ms; speech at {heard.level:.0f} dB SPL")
    if prediction.by == NAME:
        print(f"  better: {BETTER}")
    for warning in heard.warnings:
        print(f"  warning: {warning}")


def above_both_ears(prediction: Prediction, name: str) -> bool:
    """Say whether the similarity of the better ear is above that of either ear alone, as shown."""
    ears = [round(one[name], 3) for one in prediction.by_ear.values()]
    return round(prediction.similarities[name], 3) > max(ears)


def how_sure(prediction: Prediction) -> str:
    """Return by what a prediction was made, and its interval and error where they are known."""
    by = f"by {NAMES[prediction.by]}"
    if prediction.rmse is None:
        return f"{by}, uncalibrated: what the recogniser got right, not yet what people do"
    error = f"RMSE of a single sentence {prediction.rmse:.0f}"
    if prediction.interval is None:
        return f"{by} ({error})"
    low, high = prediction.interval
    return f"{by} ({error}; four of five answers lie between {low:.0f} and {high:.0f} %)"


def say_summary(summary: dict[str, Any]) -> None:
    """Print the means of a table."""
    print(f"{mean_in_words(summary['mean'])} over all rows")
    for by, groups in summary["means"].items():
        for name, mean in groups.items():
            print(f"  {by} {name}: {mean_in_words(mean)}")
    for one in summary["differences"]:
        verdict = f"{one['better']} is better" if one["better"] else "not distinguishable"
        print(f"  {one['a']} minus {one['b']}: {mean_in_words(one['a_less_b'])}; {verdict}")
    if "scores" in summary:
        numbers = (f"{k} {v:.3g}" for k, v in summary["scores"].items() if v is not None)
        print("  compared with the answers: " + ", ".join(numbers))


if __name__ == "__main__":
    run()
