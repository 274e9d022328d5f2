"""Stage 1: turn the CPC1 release into what a listener with hearing loss would hear, ear by ear.

    python prepare_data.py path.root=/data/cpc1                    # closed track
    python prepare_data.py path.root=/data/cpc1 cpc1_track=open
    python prepare_data.py corpus=table path.table=test.csv        # your own listening test

Reads   the release, and only reads it: metadata/, clarity_data/HA_outputs/ and clarity_data/scenes/
Writes  exp_folder/data_split/scene_{train,dev}_list{track}.json   the split of the training scenes
        exp_folder/presentations{track}.json                       the signals used, with responses
        exp_folder/{corpus}_asr_data{track}/                       `$data_root` in the tables:
            {train,test}/{left,right}_{msbg,ref}/*.wav             16 kHz ear signals, float32
            {left,right,binaural}_{train,dev,test}_{msbg,ref}.csv  tables for SpeechBrain
            prepared.jsonl                                         what is done, and from what

Each ear of a hearing-aid output goes alone through the MSBG hearing-loss simulation with that ear's
audiogram. It is then resampled to 16 kHz, and loses what precedes the speech: two seconds in CPC1.
The clean reference is only resampled and cut. With `hearing_loss=none` so are the hearing-aid
outputs: these ear signals go to exp_folder/no_hearing_loss, with the same dev scenes, and show what
the simulation contributes.

All metadata and headers are checked first. `check_only=true` stops there and names each fault with
the stage that it would stop; `skip_bad=true` goes on without the signals that cannot be used and
lists them in exp_folder/left_out{track}.json. An archive whose path is null is not read:
path.cpc1_train_data=null prepares test signals alone, for which evaluate.py needs `calibration=`.
A run that was stopped goes on where it was, and only what changed is made again.
`shard=3 n_shards=32` does one part of 32; a last run without them writes the tables.
"""

import logging
from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import scipy.io.wavfile
from omegaconf import DictConfig

from intelligibility.command_line import provenance, reports_errors
from intelligibility.corpora import CORPORA, read_archives
from intelligibility.corpora.presentation import left_out, write_presentations
from intelligibility.ears import ear_signals
from intelligibility.experiment import Experiment
from intelligibility.onset import SETTINGS as ONSET_SETTINGS
from intelligibility.onset import lasting, lead_in_of
from intelligibility.prediction.alignment import SETTINGS as ALIGNMENT_SETTINGS
from intelligibility.prediction.recording import oddities, read_audio
from intelligibility.preparation.check import (
    Source,
    check_before_work,
    check_msbg_settings,
    gate,
    problems_of_failed,
    refuse_other_corpora,
    usable,
)
from intelligibility.preparation.recordings import Cut, cut_own, log_delays
from intelligibility.preparation.split import choose_split, write_split
from intelligibility.preparation.tables import (
    ear_wavs,
    list_left_out,
    remove_tables,
    with_digests,
    write_tables,
)
from intelligibility.runs import (
    ASR_RATE,
    KAISER_BEST,
    RecipeError,
    atomic_path,
    listed,
    remove_partial_files,
    sole_run,
)
from intelligibility.work import Piece, Result, Stamp, Work

logger = logging.getLogger(__name__)

READS = (
    "hearing_loss",
    *("dev_percent", "n_jobs", "check_only", "skip_bad", "shard", "n_shards", "MSBGEar"),
    *("pretrained", "from_scratch", "calibration"),  # to see what the later stages will lack
    "recogniser",  # one from the hub needs no training scenes
    *(key for corpus in CORPORA.values() for key in corpus.keys),
)


@hydra.main(config_path=".", config_name="config", version_base="1.3")
@reports_errors(reads=READS)
def run(cfg: DictConfig) -> None:
    """Prepare one track of the release."""
    experiment = Experiment.from_config(cfg)
    refuse_other_corpora(experiment)
    msbg_settings = check_msbg_settings(cfg)

    # What there is, what is wrong with it, and what the later stages will lack
    archives = read_archives(cfg, experiment.track)
    split_of, hand_made = choose_split(experiment, archives, cfg)
    sources, used, problems = check_before_work(cfg, experiment, archives, split_of)
    gate(problems, cfg)
    if cfg.check_only:
        return

    # The ear signals, and last the tables, without which no later stage begins
    with sole_run(experiment.data_folder, "prepare_data", cfg.shard, cfg.n_shards):
        if cfg.n_shards == 1:
            remove_partial_files(experiment.data_folder, "**/.*")
        if write_split(experiment, split_of, cfg, hand_made):
            remove_tables(experiment)  # they hold the previous split
        work = make_all_ear_signals(experiment, sources, msbg_settings, cfg)
        if cfg.n_shards > 1:
            return
        problems += problems_of_failed(used, sources, work.failed)
        used = usable(archives, left_out(problems))
        write_tables(experiment, used, split_of, work.results)
        used = with_digests(used, work.results, work.made_by)
        write_presentations(experiment.presentations, used, provenance(cfg))
        list_left_out(experiment, left_out(problems))
    logger.info(
        "Wrote %d ear signals and their tables to %s",
        *(2 * len(work.results), experiment.data_folder),
    )


# The ear signals


def make_all_ear_signals(
    experiment: Experiment, sources: list[Source], msbg_settings: dict[str, Any], cfg: DictConfig
) -> Work[Source]:
    """Make the ear signals that are not there yet, or were made from something else."""
    work = Work(
        experiment.prepared_journal,
        [Piece(source.key, source, source.duration) for source in sources],
        partial(ear_signals_made_by, msbg_settings),
        *("files", cfg.shard, cfg.n_shards),
        is_whole=partial(are_there, experiment),
    )
    if work.outdated:
        remove_tables(experiment)  # no later stage may take a mixture of old and new
    work.do(partial(make_ear_signals, experiment, msbg_settings), cfg.n_jobs)
    log_resampled([piece.item for piece in work.todo], msbg_settings["sample_rate"])
    log_odd(work.results)
    log_delays(
        work.results[one.key]["delay"]
        for one in sources
        if one.own and one.kind == "msbg" and one.key in work.results
    )
    if not cfg.skip_bad:
        work.refuse_failed("fix them and run again, or leave them out with skip_bad=true")
    return work


def make_ear_signals(
    experiment: Experiment, msbg_settings: dict[str, Any], source: Source
) -> Result:
    """Read one stereo file, simulate the hearing loss of its listener, write both ears at 16 kHz.

    ValueError where the sound cannot be used.

    Returns
    -------
    dict
        "duration" in s, "bytes" of each file, "odd", what is strange about the sound or None,
        "lead_in", the s that were cut off, and "delay", the s by which it was late.
    """
    cut = (cut_own if source.own else cut_released)(source, msbg_settings)
    speech = ear_signals(cut.signal, cut.rate, source.listener, msbg_settings, cut.lead_in)
    if not len(speech):
        raise ValueError(f"no longer than the {cut.lead_in:g} s before the speech")
    wavs = ear_wavs(experiment, source)
    for channel, wav in zip(speech.T, wavs, strict=True):
        write_wav(wav, channel)
    return {
        "duration": len(speech) / ASR_RATE,
        "bytes": [wav.stat().st_size for wav in wavs],
        "odd": cut.odd,
        "lead_in": cut.lead_in,
        "delay": cut.delay,
    }


def cut_released(source: Source, _: dict[str, Any]) -> Cut:
    """Read a file of a release, and find where to cut it where the release does not say so."""
    signal = read_stereo(source)
    lead_in = source.lead_in or 0.0
    if source.cut_by is not None:
        reference, rate = read_audio(source.cut_by)
        lead_in = lead_in_of(reference, rate)
        signal = lasting(signal, round(len(reference) / rate * source.rate))
    return Cut(signal, source.rate, lead_in, odd="; ".join(oddities(signal)) or None)


def read_stereo(source: Source) -> np.ndarray:
    """Read a stereo file: (n_samples, 2), float64, -1 to 1."""
    signal, rate = read_audio(source.path)
    if (len(signal), rate) != (source.frames, source.rate):
        raise ValueError(
            f"{len(signal)} samples at {rate} Hz where the header promised {source.frames} at "
            f"{source.rate} Hz: the file changed while the run went on"
        )
    return signal


def write_wav(path: Path, signal: np.ndarray) -> None:
    """Write one ear, (n_samples,) float32: PCM 16 would clip the peaks that MSBG makes.

    scipy writes it, because libsndfile stamps a float file with the time: no two runs would agree.
    """
    try:
        with atomic_path(path) as part:
            scipy.io.wavfile.write(part, ASR_RATE, signal)
    except OSError as error:
        raise RecipeError(
            f"{path}: cannot be written ({error}); make room and run again: what is done is kept"
        ) from None


# What determines an ear signal, and whether it is there


def ear_signals_made_by(
    msbg_settings: dict[str, Any], source: Source, stamp: Stamp
) -> dict[str, Any]:
    """Return everything that determines the ear signals of a file."""
    made_by: dict[str, Any] = {
        "source": stamp(source.path),
        "resampling": KAISER_BEST,
        "lead_in": source.lead_in,
    }
    if source.cut_by is not None:
        made_by["cut_by"] = [stamp(source.cut_by), ONSET_SETTINGS]
    if source.own:
        made_by["own"] = [source.delay, ALIGNMENT_SETTINGS]
    if source.listener is not None:
        made_by["MSBGEar"] = msbg_settings
        made_by["audiograms"] = source.listener.thresholds
    return made_by


def are_there(experiment: Experiment, source: Source, result: Result) -> bool:
    """Tell whether both ear signals are there, in the size that was written."""
    return all(
        wav.is_file() and wav.stat().st_size == n_bytes
        for wav, n_bytes in zip(ear_wavs(experiment, source), result["bytes"], strict=True)
    )


def log_resampled(sources: list[Source], msbg_rate: int) -> None:
    """Count the hearing-aid outputs that came at another rate than MSBG's."""
    rates = Counter(source.rate for source in sources if source.kind == "msbg")
    for rate, count in sorted(rates.items()):
        how = "as it is" if rate == msbg_rate else f"resampled to {msbg_rate} Hz"
        logger.info("%d hearing-aid outputs at %d Hz went into MSBG %s", count, rate, how)


def log_odd(results: Mapping[str, dict[str, Any]]) -> None:
    """Name the files whose sound is strange; they are used as they are."""
    odd = [f"{key}: {result['odd']}" for key, result in results.items() if result.get("odd")]
    if odd:
        logger.warning("%d files are used, but strange: %s", len(odd), listed(odd))


if __name__ == "__main__":
    run()
