"""How does score.py depend on how a recording was made? Predicts the same signals again, changed.

    python -m benchmarks.own_recordings                       # after make demo
    python -m benchmarks.own_recordings --model /data/exp --signals 60

Predicts test signals of the experiment as they are, and again delayed, at other rates, in other
sample formats, without their lead-in, with noise at the end and at another level. Prints the mean
and the largest change of the predicted percentage for every measure, and whether start=2.0
align=false gives the numbers of infer.py and evaluate.py.
"""

import argparse
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile as sf

from intelligibility.corpora.presentation import Presentation, read_presentations
from intelligibility.evaluation.tables import markdown
from intelligibility.pages import number
from intelligibility.parallel import in_processes
from intelligibility.prediction.alignment import without_delay
from intelligibility.prediction.model import open_model
from intelligibility.prediction.prediction import Conditions
from intelligibility.prediction.predictor import predictor_of_process
from intelligibility.prediction.recording import Recording, at_rate, read_recording
from intelligibility.runs import RECIPE, progress

LEAD_IN = 1.2345  # s cut off; not a multiple of any frame
Change = Callable[[Recording], Recording]


def delayed(seconds: float) -> Change:
    """Return a change that puts silence before a sound."""
    return lambda s: replace(s, signal=without_delay(s.signal, -round(seconds * s.rate)))


def stored(subtype: str, kind: str = "WAV") -> Change:
    """Return a change that writes a sound to a file and reads it again."""

    def change(sound: Recording) -> Recording:
        stream = io.BytesIO()
        sf.write(stream, sound.signal, sound.rate, subtype=subtype, format=kind)
        stream.seek(0)
        return replace(sound, signal=sf.read(stream, dtype="float64", always_2d=True)[0])

    return change


def without_lead_in(sound: Recording) -> Recording:
    """Cut most of the lead-in off."""
    return replace(sound, signal=sound.signal[round(LEAD_IN * sound.rate) :])


def with_noise_after(sound: Recording) -> Recording:
    """Append a second of noise, as loud as the sound's last second."""
    last = sound.signal[-sound.rate :]
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((sound.rate, 2)) * np.sqrt(np.mean(last**2))
    return replace(sound, signal=np.concatenate([sound.signal, noise]))


def same(sound: Recording) -> Recording:
    return sound


# The change of the processed sound, and that of the reference.
CHANGES: dict[str, tuple[Change, Change]] = {
    "delayed by 5 ms": (delayed(0.005), same),
    "delayed by 50 ms": (delayed(0.05), same),
    "delayed by 500 ms": (delayed(0.5), same),
    "48 kHz": (lambda s: at_rate(s, 48000),) * 2,
    "32 kHz": (lambda s: at_rate(s, 32000),) * 2,
    "16 kHz": (lambda s: at_rate(s, 16000),) * 2,
    "16 bit": (stored("PCM_16"),) * 2,
    "24 bit": (stored("PCM_24"),) * 2,
    "FLAC": (stored("PCM_16", "FLAC"),) * 2,
    "lead-in cut off": (without_lead_in, without_lead_in),
    "a second of noise more": (with_noise_after, same),
    "reference 10 dB softer": (same, lambda s: replace(s, signal=s.signal * 10**-0.5)),
}


def predictions_of(one: Presentation, model: str) -> dict[str, dict[str, float]]:
    """Return the percentages of one signal by every measure, as it is and after each change."""
    predictor = predictor_of_process(model, None, None, "cpu", None)
    sounds = read_recording(one.processed), read_recording(one.reference)
    found = {}
    for name, changes in {"as it is": (same, same), **CHANGES}.items():
        processed, reference = (c(sound) for c, sound in zip(changes, sounds, strict=True))
        predicted = predictor.predict(processed, reference, None, one.listener, one.prompt)
        found[name] = predicted.percents
    stages = Conditions(align=False, start=2.0)
    found["stages"] = predictor.predict(*sounds, None, one.listener, one.prompt, stages).percents
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", type=Path, default=RECIPE / "demo/exp")
    parser.add_argument("--signals", type=int, default=60)
    parser.add_argument("--n-jobs", type=int, default=2)
    given = parser.parse_args()
    experiment = open_model(given.model).experiment
    assert experiment is not None
    tested = read_presentations(experiment.presentations)["test"]
    chosen = tested[:: max(1, len(tested) // given.signals)][: given.signals]
    calls = [(one, str(given.model)) for one in chosen]
    done = in_processes(predictions_of, calls, given.n_jobs)
    found = list(progress(done, "signals", len(calls), "signal"))
    show(found)
    predicted = pd.read_csv(experiment.predictions).set_index("signal")
    again = sorted(predictions_of(chosen[0], str(given.model))["stages"].items())
    differ = max(
        abs(value - predicted[f"{name}_prediction"][chosen[0].name]) for name, value in again
    )
    print(f"\nstart=2.0 align=false differs from predictions.csv by {differ:.1e} %")


def show(found: list[dict[str, dict[str, float]]]) -> None:
    """Print by how much each change moves the percentages."""
    rows = []
    for change in CHANGES:
        row = {"change": change}
        for measure in found[0]["as it is"]:
            moved = [abs(one[change][measure] - one["as it is"][measure]) for one in found]
            row[f"{measure}: mean, largest"] = (
                f"{number(float(np.mean(moved)), 2)}, {number(max(moved), 1)}"
            )
        rows.append(row)
    print(f"\nchange of the predicted percentage, {len(found)} signals\n")
    print(markdown(pd.DataFrame(rows)))


if __name__ == "__main__":
    main()
