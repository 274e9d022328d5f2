"""Score one's own hearing aid: two recordings, an audiogram, a percentage of words.

    python score.py processed=ha.wav reference=clean.wav audiogram=moderate \\
        text="the boat is late" model=demo/exp
    python score.py table=signals.csv output=scores.csv model=/data/exp

model       an experiment folder in which evaluate.py ran, a bundle (evaluate.py bundle=FOLDER), or
            the hub id of one, with model_revision
processed   the hearing aid's output, WAV or FLAC, mono or stereo, 8 kHz or more; and the clean
reference   speech. Their delay is found and taken out (align=false: not), the sentence is found in
            the reference (start=2.0: both begin there, as in CPC1)
audiogram   none, mild, moderate, moderately severe, N1 to N7, S1 to S3 (Bisgaard et al., 2010); or
            250:20,500:25,... (left=...;right=...); or a Clarity listeners file with listener=L0239
text        the sentence; without it the recogniser's transcript of the reference stands in
table       CSV with the columns processed and reference and, each optional, text, listener,
            audiogram, system, name, correctness; its paths count from its own folder
output      CSV; beside it the same as .json with a summary, and .jsonl, what is done
report      true: one page, output with .html, to hear and see it (report_rows: with sound)

`speech_level=65` sets the reference's speech to 65 dB SPL; `full_scale_db_spl` says what 0 dB FS
stands for (default: as in the model's data). `ear=left` listens with one ear. `by=enc` predicts by
another measure. A table is checked before work; one bad row stops it, unless skip_bad=true leaves
it out. A run that was stopped goes on where it was.
"""

import functools
import logging
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig

from intelligibility.command_line import provenance, reports_errors
from intelligibility.evaluation.tables import NAMES
from intelligibility.journal import Journal
from intelligibility.parallel import in_processes
from intelligibility.prediction.audiograms import listener_of
from intelligibility.prediction.model import open_model
from intelligibility.prediction.page import mean_in_words, write_page
from intelligibility.prediction.predictor import Conditions, Prediction, Predictor
from intelligibility.prediction.rows import (
    Row,
    fault_of,
    made_by,
    predict,
    read_rows,
    score_row,
)
from intelligibility.prediction.summary import as_frame, summarise
from intelligibility.runs import (
    RecipeError,
    is_whole,
    listed,
    pick_device,
    progress,
    sole_run,
    write_result,
    write_text,
)

logger = logging.getLogger(__name__)

PLAIN = ("processed", "reference", "audiogram", "listener", "text", "table", "output", "model")
OPTIONS = ("align", "start", "full_scale_db_spl", "speech_level", "ear")
READS = (
    *(*PLAIN, *OPTIONS, "model_revision", "by", "report", "report_rows"),
    *("skip_bad", "n_jobs", "device"),
)


@hydra.main(config_path=".", config_name="config", version_base="1.3")
@reports_errors(reads=READS, plain=PLAIN)
def run(cfg: DictConfig) -> None:
    """Score one pair of recordings, or a table of them."""
    if cfg.model is None:
        raise RecipeError(
            "model: give an experiment folder, a bundle or the hub id of one: model=demo/exp"
        )
    conditions = Conditions(**{name: cfg[name] for name in OPTIONS})
    if not is_whole(cfg.report_rows) or cfg.report_rows < 0:
        raise RecipeError(f"report_rows={cfg.report_rows}: expected a whole number of rows")
    rows = rows_to_score(cfg)
    model = open_model(str(cfg.model), cfg.model_revision)
    if cfg.output is None:
        predictor = Predictor.load(cfg.model, cfg.model_revision, cfg.device, cfg.by)
        say(predict(predictor, rows[0], conditions))
        return
    output = output_of(cfg, rows)
    with sole_run(output.parent, output.stem):
        results = score_all(rows, conditions, model.described, output, cfg)
        write_text(output, as_frame(results).to_csv(index=False))
        content = {"rows": results, "summary": summarise(results, cfg.seed)}
        content = write_result(
            output.with_suffix(".json"), content | {"provenance": provenance(cfg)}
        )
        if cfg.report:
            predictor = Predictor.load(cfg.model, cfg.model_revision, cfg.device, cfg.by)
            page = output.with_suffix(".html")
            again = functools.partial(predict, predictor, conditions=conditions)
            write_page(page, content, rows, again, cfg.report_rows)
            logger.info("Wrote %s", page)
    logger.info("Wrote %d rows to %s, and a summary beside it", len(results), output)
    say_summary(content["summary"])


def output_of(cfg: DictConfig, rows: list[Row]) -> Path:
    """Return where the results go: beside the CSV .json, .jsonl and .html, and over no input."""
    output = Path(str(cfg.output)).expanduser().absolute()
    if output.suffix != ".csv" or output.is_dir():
        raise RecipeError(f"output={cfg.output}: expected a file that ends in .csv")
    inputs = [path for row in rows for path in (row.processed, row.reference)]
    inputs += [Path(str(cfg[key])).expanduser() for key in ("table", "audiogram") if cfg[key]]
    read = {path.resolve() for path in inputs}
    written = [output.with_suffix(suffix) for suffix in (".csv", ".json", ".jsonl", ".html")]
    if clash := [path for path in written if path.resolve() in read]:
        raise RecipeError(f"output={cfg.output}: {clash[0]} is read; give another name")
    return output


# What is to be scored


def rows_to_score(cfg: DictConfig) -> list[Row]:
    """Return the rows, checked as far as headers tell."""
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
    if fault := fault_of(row):
        raise RecipeError(fault)
    return [row]


def rows_of_table(cfg: DictConfig) -> list[Row]:
    """Return the rows of a table that can be scored; stop at others, or leave them out."""
    single = [name for name in ("processed", "reference", "text") if cfg[name] is not None]
    if single or cfg.output is None:
        wrong = (
            f"{single[0]}= goes without table=" if single else "table=: give output=FILE.csv too"
        )
        raise RecipeError(wrong)
    table = Path(str(cfg.table)).expanduser().absolute()
    rows, faults = read_rows(table, cfg.audiogram, cfg.listener)
    faults |= {row.line: fault for row in rows if (fault := fault_of(row))}
    if faults:
        words = [f"line {line}: {fault}" for line, fault in sorted(faults.items())]
        if not cfg.skip_bad:
            raise RecipeError(
                f"{table} cannot be scored, {listed(words)}; mend that, or leave it out with "
                "skip_bad=true"
            )
        logger.warning("%s: %d rows are left out: %s", table, len(faults), listed(words, 20))
    rows = [row for row in rows if row.line not in faults]
    if not rows:
        raise RecipeError(f"{table}: no row is left")
    return rows


# Scoring


def score_all(
    rows: list[Row],
    conditions: Conditions,
    model: dict[str, Any],
    output: Path,
    cfg: DictConfig,
) -> list[dict[str, Any]]:
    """Score the rows that are not in the journal yet, or were made from something else."""
    decisive = model | {"by": cfg.by}
    made = {row.name: made_by(row, conditions, decisive) for row in rows}
    with Journal(output.with_suffix(".jsonl")) as journal:
        done = {row.name: journal.result(row.name, made[row.name]) for row in rows}
        todo = [row for row in rows if done[row.name] is None]
        logger.info("%d of %d rows are done already", len(rows) - len(todo), len(rows))
        device = pick_device(cfg.device)
        n_jobs = cfg.n_jobs if device.type == "cpu" else 1
        key = (str(cfg.model), cfg.model_revision, str(device), cfg.by)
        calls = [(key, row, conditions) for row in todo]
        for row, result in progress(
            in_processes(score_row, calls, n_jobs), "rows", len(todo), "row"
        ):
            done[row.name] = result
            if "fault" not in result:
                journal.add(row.name, made[row.name], result)
    failed = [done[row.name]["fault"] for row in rows if "fault" in done[row.name]]
    if failed and not cfg.skip_bad:
        raise RecipeError(
            f"{len(failed)} of {len(rows)} rows failed, the others are done: {listed(failed)}; "
            "mend them and run again, or leave them out with skip_bad=true"
        )
    if failed:
        logger.warning("%d rows are left out: %s", len(failed), listed(failed, 20))
    if len(failed) == len(rows):
        raise RecipeError("no row is left")
    return [about(row) | done[row.name] for row in rows if "fault" not in done[row.name]]


def about(row: Row) -> dict[str, Any]:
    """Return what the table says of a row."""
    return {
        "name": row.name,
        "line": row.line,
        "listener": row.person,
        "system": row.system,
        "correctness": row.correctness,
        "processed": str(row.processed),
        "reference": str(row.reference),
        "pair": f"{row.person}/{row.reference.name}",
    }


# What is said


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
        if words is not None:  # from a recogniser that has some
            print(f"  recognised, {ear} ear: {words}")
    heard = prediction.heard
    print(f"  delay {1000 * heard.delay:.1f} ms; speech at {heard.level:.0f} dB SPL")
    for warning in heard.warnings:
        print(f"  beware: {warning}")


def say_summary(summary: dict[str, Any]) -> None:
    """Print the means of a table."""
    print(f"{mean_in_words(summary['mean'])} over all rows")
    for by, groups in summary["means"].items():
        for name, mean in groups.items():
            print(f"  {by} {name}: {mean_in_words(mean)}")
    for one in summary["differences"]:
        verdict = f"{one['better']} is better" if one["better"] else "not distinguishable"
        print(f"  {one['a']} less {one['b']}: {mean_in_words(one['a_less_b'])}; {verdict}")
    if "scores" in summary:
        numbers = (f"{k} {v:.3g}" for k, v in summary["scores"].items() if v is not None)
        print("  against the answers: " + ", ".join(numbers))


if __name__ == "__main__":
    run()
