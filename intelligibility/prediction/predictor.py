"""From two recordings and a listener to percent words correct, with the code of the stages."""

import functools
import logging
import math
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from intelligibility.ears import ear_signals
from intelligibility.evaluation.mapping import FittedMapping
from intelligibility.experiment import EARS
from intelligibility.measures import METHOD
from intelligibility.prediction.alignment import Sentence, find_sentence, in_time
from intelligibility.prediction.model import open_model
from intelligibility.prediction.recording import (
    LOUD,
    QUIET,
    Recording,
    active_level,
    at_rate,
    quality_warnings,
    recording_of,
)
from intelligibility.recognisers import load_recogniser
from intelligibility.recognisers.recognition import Recogniser, Recognition
from intelligibility.runs import ASR_RATE, RecipeError, is_number, pick_device
from intelligibility.similarity import similarities_of, similarity_by_frame
from intelligibility.words import words_of
from msbg import Listener

logger = logging.getLogger(__name__)

Ears = tuple[Recognition, Recognition]  # left, right
LATEST_START = 60.0  # s


@dataclass(frozen=True)
class Conditions:
    """How the recordings were made, and how they are prepared.

    Attributes
    ----------
    align : bool
        Whether the delay of the processed recording is found and removed.
    start : float or None
        Seconds to drop at the start of both, 2.0 in CPC1, and none at the end. None: the sentence
        is found in the reference.
    full_scale_db_spl : float or None
        The level of 0 dB FS; None: as in the data of the model.
    speech_level : float or None
        The level of the reference's speech in dB SPL, instead.
    ear : str
        Which ears listen: "both", "left" or "right".
    """

    align: bool = True
    start: float | None = None
    full_scale_db_spl: float | None = None
    speech_level: float | None = None
    ear: str = "both"

    def __post_init__(self) -> None:
        """Refuse values that are not valid, alone or together."""
        if self.ear not in ("both", *EARS):
            raise RecipeError(f"ear={self.ear}: expected both, left or right")
        if not isinstance(self.align, bool):
            raise RecipeError(f"align={self.align}: expected true or false")
        for name in ("start", "full_scale_db_spl", "speech_level"):
            value = getattr(self, name)
            if value is not None and not (is_number(value) and math.isfinite(value)):
                raise RecipeError(f"{name}={value}: expected a number")
        if self.full_scale_db_spl is not None and self.speech_level is not None:
            raise RecipeError("full_scale_db_spl and speech_level: give one of the two")
        if self.start is not None and not 0 <= self.start < LATEST_START:
            raise RecipeError(f"start={self.start}: expected seconds, 0 to {LATEST_START:g}")


AS_IT_COMES = Conditions()


@dataclass(frozen=True)
class EarSignals:
    """What the recogniser receives, and how it was made.

    Attributes
    ----------
    processed, reference : ndarray, (n, 2), float32
        At 16 kHz, left and right; `processed` after the hearing loss.
    delay : float
        Seconds by which the processed recording was late.
    level : float
        Of the reference's speech, dB SPL.
    warnings : list of str
        What may make the prediction worse.
    """

    processed: np.ndarray
    reference: np.ndarray
    delay: float
    level: float
    warnings: list[str]


@dataclass(frozen=True)
class Prediction:
    """The predicted intelligibility of one sentence in two recordings.

    Attributes
    ----------
    percent : float
        Predicted words correct, 0..100, by the measure `by`.
    by : str
        The measure that was chosen.
    rmse : float or None
        Of the mapping on the signals that it was fitted on, in percent words correct.
    percents : dict of str to float
        The prediction by every measure.
    similarities : dict of str to float
        Every measure, 0..1, of the better ear as published.
    by_ear : dict of str to dict
        The same of the left and of the right ear alone.
    words : dict of str to str or None
        What was recognised at the left and at the right ear; None from a recogniser without words.
    text : str
        The sentence.
    text_given : bool
        False where the recogniser's transcript of the reference is used as the sentence.
    heard : EarSignals
        Signals, delay, level and warnings.
    course : ndarray, (frames,)
        Similarity of the encoder's frames over time: 25 per second, 50 with recognisers from the
        hub.
    """

    percent: float
    by: str
    rmse: float | None
    percents: dict[str, float]
    similarities: dict[str, float]
    by_ear: dict[str, dict[str, float]]
    words: dict[str, str | None]
    text: str
    text_given: bool
    heard: EarSignals = field(repr=False)
    course: np.ndarray = field(repr=False)

    def as_json(self) -> dict[str, Any]:
        """Return the numbers and texts, without the signals and the course."""
        shown = [one.name for one in fields(self) if one.repr]
        more = ("delay", "level", "warnings")
        return {name: getattr(self, name) for name in shown} | {
            name: getattr(self.heard, name) for name in more
        }


@dataclass
class Predictor:
    """A trained recogniser with a fitted mapping.

    `predict` takes all steps of the method; `hear`, `recognise` and `compare` are its steps.

    Parameters
    ----------
    recogniser : Recogniser
        The recogniser.
    mapping : FittedMapping
        From similarity to percent words correct, fitted with this recogniser.
    msbg_settings : dict
        `MSBGEar` of config.yaml, with which the mapping was fitted.
    dtw : str
        How decoder states are aligned.
    by : str, optional
        The measure to predict by. Default: dec, as published, if the mapping has it; otherwise the
        measure with the lowest RMSE on dev.

    Examples
    --------
    >>> from intelligibility.corpora.audiograms import listener_of
    >>> from intelligibility.prediction.predictor import Predictor
    >>> predictor = Predictor.load("demo/exp")                              # doctest: +SKIP
    >>> prediction = predictor.predict(                                     # doctest: +SKIP
    ...     processed, reference, 44100, listener_of("moderate"), "the boat is late"
    ... )
    >>> round(prediction.percent), prediction.by                            # doctest: +SKIP
    (71, 'dec')
    """

    recogniser: Recogniser
    mapping: FittedMapping
    msbg_settings: dict[str, Any]
    dtw: str = "fastdtw"
    by: str = ""

    def __post_init__(self) -> None:
        """Choose the measure to predict by."""
        fits = self.mapping.fits
        if self.by and self.by not in fits:
            raise RecipeError(f"by={self.by}: the mapping has {', '.join(fits)}")
        if not self.by and METHOD[0] in fits:
            self.by = METHOD[0]
        elif not self.by:
            self.by = min(fits, key=lambda name: fits[name].rmse or np.inf)
            logger.info("Predicted by %s, the best on dev", self.by)

    @classmethod
    def load(
        cls,
        model: str | Path,
        revision: str | None = None,
        device: str = "auto",
        by: str | None = None,
    ) -> "Predictor":
        """Load a model: an experiment folder, a bundle, or the hub id of a bundle.

        Parameters
        ----------
        model : str or Path
            A folder in which infer.py and evaluate.py ran, or what `evaluate.py bundle=` wrote.
        revision : str, optional
            Of a hub id.
        device : str
            auto, cpu or cuda.
        by : str, optional
            The measure to predict by.
        """
        opened = open_model(model, revision)
        recogniser = load_recogniser(opened.cfg, opened.experiment, pick_device(device))
        return cls(recogniser, opened.mapping, opened.msbg_settings, opened.cfg.dtw, by or "")

    def predict(
        self,
        processed: np.ndarray | Recording,
        reference: np.ndarray | Recording,
        rate: int | None,
        listener: Listener,
        text: str | None = None,
        conditions: Conditions = Conditions(),
    ) -> Prediction:
        """Predict how many words a listener gets right.

        Parameters
        ----------
        processed, reference : ndarray, (n_samples,) or (n_samples, 2), full scale 1
            The hearing aid's output and the clean sentence; or both as `Recording`.
        rate : int or None
            Hz, of both arrays; None for recordings, which have their own.
        listener : Listener
            With the audiograms of both ears.
        text : str, optional
            The sentence. Without it the recogniser's transcript of the reference is used.
        conditions : Conditions
            How the recordings were made.
        """
        processed, reference = (
            one if isinstance(one, Recording) else recording_of(one, rate or 0, name)
            for name, one in (("processed", processed), ("reference", reference))
        )
        sentence = find_sentence(processed, reference, conditions.align, conditions.start)
        heard = self.hear(processed, reference, sentence, listener, conditions)
        return self.compare(heard, *self.recognise(heard, text))

    def hear(
        self,
        processed: Recording,
        reference: Recording,
        sentence: Sentence,
        listener: Listener,
        conditions: Conditions,
    ) -> EarSignals:
        """Remove the delay, cut to the sentence, set the level, and simulate the hearing loss."""
        warnings = quality_warnings(processed) + quality_warnings(reference) + sentence.warnings
        settings = self.msbg_settings
        as_fitted = full_scale = float(settings["equiv_0db_spl"] + settings["ahr"])
        if conditions.speech_level is not None:
            full_scale = conditions.speech_level - active_level(reference)
        elif conditions.full_scale_db_spl is not None:
            full_scale = float(conditions.full_scale_db_spl)
        if full_scale != as_fitted:  # the same level written in another way changes the last bits
            settings = settings | {"equiv_0db_spl": full_scale, "ahr": 0.0}
        level = active_level(reference) + full_scale
        if not QUIET <= level <= LOUD:
            warnings.append(
                f"speech at {level:.0f} dB SPL, expected {QUIET:g} to {LOUD:g}; set speech_level "
                "or full_scale_db_spl"
            )
        rate = settings["sample_rate"]
        signal = in_time(at_rate(processed, rate), sentence.delay, sentence.stop)
        clean = in_time(reference, 0.0, sentence.stop)
        try:
            heard = ear_signals(signal, rate, listener, settings, sentence.start)
            clean = ear_signals(clean, reference.rate, None, settings, sentence.start)
        except ValueError as error:
            raise RecipeError(f"{processed.name}: {error}") from None
        if conditions.ear != "both":
            number = EARS.index(conditions.ear)
            heard, clean = heard[:, [number, number]], clean[:, [number, number]]
        return EarSignals(heard, clean, sentence.delay, level, warnings)

    def recognise(self, heard: EarSignals, text: str | None) -> tuple[Ears, Ears, str, bool]:
        """Recognise both ears of both signals, and the sentence where it is not given.

        Returns
        -------
        processed, reference : tuple of two Recognition
            Left and right ear.
        sentence : str
            The text; without one the recogniser's transcript of the reference.
        given : bool
            Whether the text was given.
        """
        if text is not None and not words_of(text):
            raise RecipeError(f"text={text!r}: contains no word")
        processed, reference = self._recognise(heard, text)
        if text is not None:
            return processed, reference, text, True
        sentence = max((ear.text or "" for ear in reference), key=len)
        if words_of(sentence) and reference[0].log_prob is not None:
            # This recogniser's decoder follows a text, which has to be the same for all signals.
            processed, reference = self._recognise(heard, sentence)
        return processed, reference, sentence, False

    def compare(
        self, heard: EarSignals, processed: Ears, reference: Ears, text: str, text_given: bool
    ) -> Prediction:
        """Compare what was recognised, and map the similarities to percent words correct."""
        similarities = self._similarities(processed, reference, text)
        percents = {
            name: float(self.mapping.predict(name, np.array(value)))
            for name, value in similarities.items()
            if name in self.mapping.fits
        }
        if self.by not in percents:
            raise RecipeError(f"by={self.by}: this sentence has only {', '.join(percents)}")
        ears = dict(zip(EARS, processed, strict=True))
        left, right = (ear.layers["encoder"] for ear in processed)
        clean_left, clean_right = (ear.layers["encoder"] for ear in reference)
        return Prediction(
            percent=percents[self.by],
            by=self.by,
            rmse=self.mapping.fits[self.by].rmse,
            percents=percents,
            similarities=similarities,
            by_ear={
                name: self._similarities((ear, ear), reference, text) for name, ear in ears.items()
            },
            words={name: ear.text for name, ear in ears.items()},
            text=text,
            text_given=text_given,
            heard=heard,
            course=similarity_by_frame((left, right), (clean_left, clean_right)).numpy(),
        )

    def _recognise(self, heard: EarSignals, text: str | None) -> tuple[Ears, Ears]:
        signals = [ear for both in (heard.reference, heard.processed) for ear in both.T]
        shortest, longest = self.recogniser.lengths
        for signal in signals:
            if not shortest <= len(signal) <= longest:
                raise RecipeError(
                    f"{len(signal) / ASR_RATE:.2f} s of speech, the recogniser takes "
                    f"{shortest / ASR_RATE:.2f} to {longest / ASR_RATE:g} s"
                )
        tensors = (torch.from_numpy(np.ascontiguousarray(signal)) for signal in signals)
        left, right, *processed = self.recogniser.recognise(tensors, [text] * len(signals))
        return (processed[0], processed[1]), (left, right)

    def _similarities(self, processed: Ears, reference: Ears, text: str) -> dict[str, float]:
        spoken = bool(words_of(text))  # False: nothing was recognised in the reference
        said, score = text if spoken else "nothing", self.recogniser.word_correctness
        found = similarities_of(processed, reference, said, self.dtw, score)
        return {name: value for name, value in found.items() if spoken or name != "wcs"}


@functools.cache
def predictor_of_process(
    model: str, revision: str | None, device: str, by: str | None
) -> Predictor:
    """Load a model once per process; the arguments are those of `Predictor.load`."""
    return Predictor.load(model, revision, device, by)
