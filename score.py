"""Score your own hearing aid: two recordings, an audiogram, a percentage of words.

    python score.py processed=ha.wav reference=clean.wav audiogram=moderate \\
        text="the boat is late" model=demo/exp
    python score.py table=signals.csv output=scores.csv model=/data/exp

model       an experiment folder in which evaluate.py ran, a bundle (evaluate.py bundle=FOLDER), or
            the hub id of a bundle, with model_revision
processed   the hearing aid's output, WAV or FLAC, mono or stereo, 8 kHz or more
reference   the clean speech. The delay between the two is found and removed (unless align=false);
            the sentence is found in the reference (start=2.0: drop two seconds, as in CPC1)
audiogram   none, mild, moderate, moderately severe, N1 to N7, S1 to S3 (Bisgaard et al., 2010); or
            250:20,500:25,... (left=...;right=...); or a Clarity listeners file with listener=L0239
text        the sentence; without it the recogniser's transcript of the reference is used
table       CSV with the columns processed and reference and, each optional, text, listener,
            audiogram, system, name, correctness; its paths are relative to its own folder
output      CSV; beside it the same as .json with a summary, and .jsonl, the journal
report      true: also a page, output with .html, to listen to report_rows of the recordings

`speech_level=65` sets the reference's speech to 65 dB SPL; `full_scale_db_spl` is the level of
0 dB FS (default: as in the data of the model). `ear=left` listens with one ear. `by=enc` predicts
by another measure. A table is checked before work; a bad row stops the run, unless skip_bad=true
leaves it out. A run that was stopped continues where it was.
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
from intelligibility.prediction.alignment import find_sentence
from intelligibility.prediction.model import open_model
from intelligibility.prediction.page import mean_in_words, write_page
from intelligibility.prediction.predictor import (
    Conditions,
    Prediction,
    Predictor,
    predictor_of_process,
)
from intelligibility.prediction.recording import read_recording
from intelligibility.prediction.rows import Row, check_row, made_by, read_rows
from intelligibility.prediction.summary import as_frame, summarise
from intelligibility.runs import (
    RecipeError,
    listed,
    pick_device,
    sole_run,
    write_result,
    write_text,
)
from intelligibility.work import Piece, Work

logger = logging.getLogger(__name__)

PLAIN = ("processed", "reference", "audiogram", "listener", "text", "table", "output", "model")
OPTIONS = ("align", "start", "full_scale_db_spl", "speech_level", "ear")
READS = (
    *(*PLAIN, *OPTIONS, "model_revision", "by", "report", "report_rows"),
    *("skip_bad", "n_jobs", "device"),
)


@hydra.main(config_path=".", config_name="config", version_base="1.3")
@reports_errors(reads=READS, plain=PLAIN, own="score.yaml", settings=ScoreSettings)
def run(cfg: DictConfig) -> None:
    """Score one pair of recordings, or a table of them."""
    if cfg.model is None:
        raise RecipeError(
            "model: give an experiment folder, a bundle or the hub id of one: model=demo/exp"
        )
    conditions = Conditions(**{name: cfg[name] for name in OPTIONS})
    rows = rows_to_score(cfg)
    model = str(cfg.model), cfg.model_revision
    device = pick_device(cfg.device)
    load = partial(predictor_of_process, *model, str(device), cfg.by)
    if cfg.output is None:
        say(score(load(), rows[0], conditions))
        return
    output = output_of(cfg, rows)
    with sole_run(output.parent, output.stem):
        work = Work(
            output.with_suffix(".jsonl"),
            [Piece(row.name, row) for row in rows],
            partial(made_by, conditions=conditions, model=open_model(*model).made_by, by=cfg.by),
            "rows",
        )
        n_jobs = cfg.n_jobs if device.type == "cpu" else 1
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
    say_summary(content["summary"])


def score(predictor: Predictor, row: Row, conditions: Conditions) -> Prediction:
    """Predict the percentage of words correct for one row: the method, step by step."""
    # Two recordings of one sentence: by how much one is late, and where the speech lies.
    processed, reference = read_recording(row.processed), read_recording(row.reference)
    sentence = find_sentence(processed, reference, conditions.align, conditions.start)
    # What the ears receive: the processed recording goes through the hearing-loss simulation.
    heard = predictor.hear(processed, reference, sentence, row.listener, conditions)
    # What the recogniser makes of both.
    recognised = predictor.recognise(heard, row.text)
    # How similar that is, mapped to percent words correct.
    return predictor.compare(heard, *recognised)


def score_row(row: Row, load: Callable[[], Predictor], conditions: Conditions) -> dict[str, Any]:
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
    rows, problems = read_rows(table, cfg.audiogram, cfg.listener)
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
    """Print one prediction."""
    spread = (
        "" if prediction.rmse is None else f" (RMSE of a single sentence {prediction.rmse:.0f})"
    )
    print(f"{prediction.percent:.0f} % of the words correct, by {NAMES[prediction.by]}{spread}")
    for name, similarity in prediction.similarities.items():
        ears = ", ".join(f"{ear} {one[name]:.3f}" for ear, one in prediction.by_ear.items())
        percent = prediction.percents.get(name)
        so = "" if percent is None else f" -> {percent:.0f} %"
        print(f"  {NAMES[name]}: {similarity:.3f} ({ears}){so}")
    source = "given" if prediction.text_given else "the recogniser's transcript of the reference"
    print(f"  sentence ({source}): {prediction.text}")
    for ear, words in prediction.words.items():
        if words is not None:
            print(f"  recognised, {ear} ear: {words}")
    heard = prediction.heard
    print(f"  delay {1000 * heard.delay:.1f} ms; speech at {heard.level:.0f} dB SPL")
    for warning in heard.warnings:
        print(f"  warning: {warning}")


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
