"""Words correct by HASPI and a built-in mapping: no recogniser, no training data, no network.

The mapping was fitted on what people with hearing loss answered in the third Clarity Prediction
Challenge (benchmarks/builtin_mapping.py makes it). It knows HASPI as that challenge computed it:
version 2, the better ear, 100 dB SPL for an RMS of full scale, and a reference as loud as the
target in the mixture. HASPI depends on the level of the reference, so it is brought to that level.
"""

from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from intelligibility.evaluation.mapping import FittedMapping
from intelligibility.evaluation.responses import who_grade
from intelligibility.experiment import EARS
from intelligibility.prediction.alignment import (
    Sentence,
    find_sentence,
    level_and_warnings,
    without_delay,
)
from intelligibility.prediction.prediction import (
    AS_IT_COMES,
    Conditions,
    EarSignals,
    Prediction,
    full_scale_of,
    loss_warnings,
)
from intelligibility.prediction.recording import (
    Recording,
    active_level,
    recordings_of,
    resampled,
)
from intelligibility.runs import ASR_RATE, RECIPE, RecipeError, sha256_of
from msbg import Listener

if TYPE_CHECKING:
    from intelligibility.baselines.haspi import EarIndex

BUILTIN = Path(__file__).with_name("builtin") / "haspi_cpc3.json"
NAME = "haspi"
FULL_SCALE = 100.0  # dB SPL of an RMS of full scale, in the mapping's data
# dB SPL of the speech in the reference: where the indices of seven signals are closest to
# those of the challenge (docs/own_recordings.md has the table).
REFERENCE_LEVEL = 64.0
FITTED_GRADES = ("mild", "moderate", "moderately severe")
SEED_NAME = "recording"  # seeds HASPI's noise: equal recordings have equal predictions
BETTER = (
    "a mapping fitted on your own listening test (evaluate.py), or what a recogniser understands "
    "beside it (model=openai/whisper-base.en)"
)


@dataclass(frozen=True)
class HaspiPredictor:
    """Better-ear HASPI, mapped to percent words correct."""

    mapping: FittedMapping  # from HASPI
    # How many answers the mapping was fitted on, and of how many people.
    n_signals: int
    n_listeners: int

    def predict(
        self,
        processed: np.ndarray | Recording,
        reference: np.ndarray | Recording,
        rate: int | None,
        listener: Listener,
        text: str | None = None,
        conditions: Conditions = AS_IT_COMES,
    ) -> Prediction:
        """Predict how many words a listener gets right; the parameters are those of Predictor.

        HASPI needs no text.
        """
        processed, reference = recordings_of(processed, reference, rate)
        sentence = find_sentence(processed, reference, conditions.delay, conditions.start)
        ears = self.indices(processed, reference, sentence, listener, conditions)
        heard = self._heard(processed, reference, sentence, listener, conditions)
        index = max(ear.index for ear in ears)
        percent = float(self.mapping.predict(NAME, np.array(index)))
        return Prediction(
            percent=percent,
            by=NAME,
            rmse=self.mapping.fits[NAME].rmse,
            interval=self.mapping.fits[NAME].interval_around(percent),
            percents={NAME: percent},
            similarities={NAME: index},
            by_ear={name: {NAME: ear.index} for name, ear in zip(EARS, ears, strict=True)},
            words={},
            text=text or "",
            text_given=text is not None,
            heard=heard,
            course=None,
            modulations={name: ear.modulations for name, ear in zip(EARS, ears, strict=True)},
            fitted_on=self.fitted_on,
        )

    def indices(
        self,
        processed: Recording,
        reference: Recording,
        sentence: Sentence,
        listener: Listener,
        conditions: Conditions,
    ) -> tuple["EarIndex", "EarIndex"]:
        """Return HASPI of both ears, as the mapping knows it."""
        from intelligibility.baselines.haspi import haspi_of_ears

        full_scale = full_scale_of(reference, conditions, FULL_SCALE)
        rate = reference.rate
        noisy = without_delay(resampled(processed, rate).signal, round(sentence.delay * rate))
        noisy = noisy * 10 ** ((full_scale - FULL_SCALE) / 20)
        gain = REFERENCE_LEVEL - FULL_SCALE - active_level(reference)
        clean = reference.signal * 10 ** (gain / 20)
        # HASPI itself disregards what lies between the words of the reference. Cut to the sentence,
        # the indices of seven signals are twice as far from those of the challenge.
        if conditions.start is not None:
            first = round(conditions.start * rate)
            noisy, clean = noisy[first:], clean[first:]
        if not noisy.any():
            raise RecipeError(f"{processed.name}: is silent where the reference speaks")
        if conditions.ear != "both":
            noisy, clean = conditions.listening(noisy), conditions.listening(clean)
            ear = listener.ears[EARS.index(conditions.ear)]
            listener = Listener(ear, ear, listener.id)
        try:
            return haspi_of_ears(noisy, clean, rate, listener, SEED_NAME)
        except ValueError as error:
            raise RecipeError(f"{processed.name}: HASPI is not defined ({error})") from None

    def added_to(
        self,
        prediction: Prediction,
        ears: tuple["EarIndex", "EarIndex"],
        processed: Path,
        listener: Listener,
    ) -> Prediction:
        """Return a recogniser's prediction with HASPI's beside it."""
        index = max(ear.index for ear in ears)
        percent = float(self.mapping.predict(NAME, np.array(index)))
        by_ear = {
            name: prediction.by_ear[name] | {NAME: ear.index}
            for name, ear in zip(EARS, ears, strict=True)
        }
        prediction.heard.warnings.extend(self.warnings(processed, listener))
        return replace(
            prediction,
            percents=prediction.percents | {NAME: percent},
            similarities=prediction.similarities | {NAME: index},
            by_ear=by_ear,
            modulations={name: ear.modulations for name, ear in zip(EARS, ears, strict=True)},
            fitted_on=self.fitted_on,
        )

    @property
    def fitted_on(self) -> str:
        """Return what the mapping was fitted on, for people."""
        return f"{self.n_signals} answers of {self.n_listeners} people with hearing loss (CPC3)"

    def _heard(
        self,
        processed: Recording,
        reference: Recording,
        sentence: Sentence,
        listener: Listener,
        conditions: Conditions,
    ) -> EarSignals:
        """Return the recordings as they are played: HASPI has a hearing loss of its own."""
        full_scale = full_scale_of(reference, conditions, FULL_SCALE)
        level, warnings = level_and_warnings(processed, reference, sentence, full_scale)
        warnings += loss_warnings(listener) + self.warnings(Path(processed.name), listener)
        played, clean = (
            resampled(one, ASR_RATE).signal.astype(np.float32) for one in (processed, reference)
        )
        played = without_delay(played, round(sentence.delay * ASR_RATE))
        return EarSignals(played, clean, sentence.delay, level, warnings)

    def warnings(self, processed: Path, listener: Listener) -> list[str]:
        """Return what the mapping does not know, or knows too well."""
        found = []
        if (grade := who_grade(listener)) not in FITTED_GRADES:
            found.append(
                f"a hearing loss of the WHO's grade {grade}: the mapping from HASPI was fitted on "
                f"{FITTED_GRADES[0]} to {FITTED_GRADES[-1]} losses only"
            )
        if self.mapping.seen is not None and self.mapping.seen.has_recording(processed):
            found.append(
                f"{processed.name}: a signal whose answer the mapping from HASPI was fitted on; "
                "its error says nothing"
            )
        return found

    @property
    def made_by(self) -> dict[str, Any]:
        """Return everything that determines its predictions, for journals."""
        return {
            "mapping": sha256_of([BUILTIN]),
            "pyclarity": version("pyclarity"),
            "reference_level": REFERENCE_LEVEL,
        }


@cache
def builtin_predictor() -> HaspiPredictor:
    """Return the predictor with the built-in mapping.

    Without pyclarity: RecipeError, with the one command that installs it.
    """
    refuse_missing_pyclarity()
    mapping = FittedMapping.read(BUILTIN)
    assert mapping.seen is not None
    n_listeners = len(mapping.seen.by_kind["listeners"])
    return HaspiPredictor(mapping, mapping.fits[NAME].n_signals or 0, n_listeners)


def has_pyclarity() -> bool:
    """Say whether HASPI can be computed."""
    try:
        return bool(version("pyclarity"))
    except PackageNotFoundError:
        return False


def refuse_missing_pyclarity() -> None:
    """Raise a RecipeError with the command that installs pyclarity where it is missing."""
    if has_pyclarity():
        return
    packages = RECIPE / "requirements-baselines.txt"
    what = f"-r {packages.name}" if packages.is_file() else "pyclarity==0.9.0"
    raise RecipeError(
        "without model=, words correct are predicted by HASPI, for which pyclarity is not "
        f"installed: pip install --no-deps {what}"
    )
