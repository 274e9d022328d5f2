"""From two recordings and a listener to percent words correct, with the code of the stages."""

import functools
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from intelligibility.evaluation.mapping import FittedMapping
from intelligibility.experiment import EARS
from intelligibility.measures import BEST_LAYER, MEASURES, METHOD
from intelligibility.prediction.alignment import (
    Sentence,
    find_sentence,
    in_time,
    level_and_warnings,
)
from intelligibility.prediction.haspi_predictor import (
    HaspiPredictor,
    builtin_predictor,
    has_pyclarity,
)
from intelligibility.prediction.prediction import (
    AS_IT_COMES,
    Conditions,
    EarSignals,
    Prediction,
    full_scale_of,
    loss_warnings,
)
from intelligibility.prediction.recording import Recording, at_rate, recordings_of
from intelligibility.runs import ASR_RATE, RecipeError, pick_device
from intelligibility.words import KNOWN, SUPPORTED, known_words, words_of
from msbg import Listener

# What needs torch is imported where it is used: HASPI's prediction runs without it.
if TYPE_CHECKING:
    from intelligibility.prediction.model import Model
    from intelligibility.recognisers.recognition import Recogniser, Recognition

    Ears = tuple[Recognition, Recognition]  # left, right

logger = logging.getLogger(__name__)

WORDS = "wcs"  # what a recogniser without a mapping predicts by


@dataclass
class Predictor:
    """A recogniser, with a mapping fitted to it or without.

    `predict` takes all steps of the method; `hear`, `recognise` and `compare` are its steps.

    Parameters
    ----------
    recogniser : Recogniser
        The recogniser.
    mapping : FittedMapping
        From similarity to percent words correct, fitted with this recogniser; without any curve,
        the share of words that the recogniser gets right is the prediction, uncalibrated.
    msbg_settings : dict
        `MSBGEar` of config.yaml, with which the mapping was fitted.
    dtw : str
        How decoder states are aligned.
    by : str, optional
        The measure to predict by. Default: dec, as published, if the mapping has it; otherwise the
        measure with the lowest RMSE on dev.
    beside : HaspiPredictor, optional
        Its prediction is shown too.

    Examples
    --------
    >>> from intelligibility.corpora.audiograms import listener_of
    >>> from intelligibility.prediction.predictor import Predictor
    >>> predictor = Predictor.builtin()                                     # doctest: +SKIP
    >>> predictor = Predictor.from_recogniser("openai/whisper-base.en")     # doctest: +SKIP
    >>> predictor = Predictor.load("demo/exp")                              # doctest: +SKIP
    >>> prediction = predictor.predict(                                     # doctest: +SKIP
    ...     processed, reference, 44100, listener_of("moderate"), "the boat is late"
    ... )
    >>> round(prediction.percent), prediction.by                            # doctest: +SKIP
    (71, 'dec')
    """

    recogniser: "Recogniser"
    mapping: FittedMapping
    msbg_settings: dict[str, Any]
    dtw: str = "fastdtw"
    by: str = ""
    beside: HaspiPredictor | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Choose the measure to predict by."""
        # Baselines have a curve too, but are not what a recogniser measures.
        fits = {
            one.name: self.mapping.fits[one.name]
            for one in (*MEASURES, BEST_LAYER)
            if one.name in self.mapping.fits
        }
        if not fits and not getattr(self.recogniser, "has_words", True):
            raise RecipeError(
                "this recogniser has no words, so without a mapping it predicts nothing; give "
                "calibration= of an experiment with it, or a recogniser with words"
            )
        if not fits:
            if self.by not in ("", WORDS):
                raise RecipeError(
                    f"by={self.by}: this recogniser has no mapping for it; give calibration= of an "
                    "experiment with this recogniser"
                )
            self.by = WORDS
            return
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

        A folder is one in which infer.py and evaluate.py ran, or what `evaluate.py bundle=` wrote;
        `revision` is of a hub id. `device` is auto, cpu or cuda; `by` is the measure to predict by.
        """
        from intelligibility.prediction.model import open_model

        return cls._loaded(open_model(model, revision), device, by)

    @staticmethod
    def builtin() -> HaspiPredictor:
        """Return the predictor that needs neither recogniser nor data: HASPI, mapped by CPC3.

        Without pyclarity: RecipeError, which says how to install it.
        """
        return builtin_predictor()

    @classmethod
    def from_recogniser(
        cls,
        source: str | Path,
        revision: str | None = None,
        device: str = "auto",
        by: str | None = None,
        calibration: str | Path | None = None,
    ) -> "Predictor":
        """Load a recogniser of the hub, or a folder of one, without an experiment.

        Without a mapping, the prediction is the share of the sentence's words that it recognises
        after the hearing loss at the level that people listen at, and is not calibrated.
        `calibration` names calibration.json of an experiment with this recogniser; `source` is the
        folder or the hub id, such as openai/whisper-base.en, and the rest as for `load`.
        """
        from intelligibility.prediction.model import open_recogniser

        beside = builtin_predictor() if has_pyclarity() else None
        opened = open_recogniser(str(source), revision, calibration)
        return cls._loaded(opened, device, by, beside)

    @classmethod
    def _loaded(
        cls, model: "Model", device: str, by: str | None, beside: HaspiPredictor | None = None
    ) -> "Predictor":
        from intelligibility.recognisers.speechbrain import keep_products_exact

        keep_products_exact()
        recogniser = model.recogniser.load(pick_device(device))
        return cls(recogniser, model.mapping, model.msbg_settings, model.dtw, by or "", beside)

    def predict(
        self,
        processed: np.ndarray | Recording,
        reference: np.ndarray | Recording,
        rate: int | None,
        listener: Listener,
        text: str | None = None,
        conditions: Conditions = AS_IT_COMES,
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
        # Two recordings of one sentence: by how much one is late, and where the speech lies.
        processed, reference = recordings_of(processed, reference, rate)
        sentence = find_sentence(processed, reference, conditions.delay, conditions.start)
        # What the ears receive: the processed recording goes through the hearing-loss simulation.
        heard = self.hear(processed, reference, sentence, listener, conditions)
        # What the recogniser makes of both; how similar that is, mapped to percent words correct.
        found = self.compare(heard, *self.recognise(heard, text))
        if self.beside is None:
            return found
        ears = self.beside.indices(processed, reference, sentence, listener, conditions)
        return self.beside.added_to(found, ears, Path(processed.name), listener)

    def hear(
        self,
        processed: Recording,
        reference: Recording,
        sentence: Sentence,
        listener: Listener,
        conditions: Conditions,
    ) -> EarSignals:
        """Remove the delay, cut to the sentence, set the level, and simulate the hearing loss."""
        from intelligibility.ears import ear_signals

        settings = self.msbg_settings
        as_fitted = float(settings["equiv_0db_spl"] + settings["ahr"])
        full_scale = full_scale_of(reference, conditions, as_fitted)
        if full_scale != as_fitted:  # the same level written in another way changes the last bits
            settings = settings | {"equiv_0db_spl": full_scale, "ahr": 0.0}
        level, warnings = level_and_warnings(processed, reference, sentence, full_scale)
        warnings += loss_warnings(listener)
        rate = settings["sample_rate"]
        signal = in_time(at_rate(processed, rate), sentence.delay, sentence.stop)
        clean = in_time(reference, 0.0, sentence.stop)
        try:
            heard = ear_signals(signal, rate, listener, settings, sentence.start)
            clean = ear_signals(clean, reference.rate, None, settings, sentence.start)
        except ValueError as error:
            raise RecipeError(f"{processed.name}: {error}") from None
        heard, clean = conditions.listening(heard), conditions.listening(clean)
        return EarSignals(heard, clean, sentence.delay, level, warnings)

    def recognise(self, heard: EarSignals, text: str | None) -> "tuple[Ears, Ears, str, bool]":
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
        # In capitals, as in the tables on which the mapping was fitted.
        processed, reference = self._recognise(heard, text and text.upper())
        if text is not None:
            return processed, reference, text, True
        sentence = max((ear.text or "" for ear in reference), key=len)
        if words_of(sentence) and reference[0].log_prob is not None:
            # This recogniser's decoder follows a text, which has to be the same for all signals.
            processed, reference = self._recognise(heard, sentence)
        return processed, reference, sentence, False

    def compare(
        self, heard: EarSignals, processed: "Ears", reference: "Ears", text: str, text_given: bool
    ) -> Prediction:
        """Compare what was recognised, and map the similarities to percent words correct."""
        from intelligibility.similarity import similarity_by_frame

        similarities = self._similarities(processed, reference, text)
        percents = self._percents(similarities)
        if self.by not in percents:
            raise RecipeError(
                f"by={self.by}: this sentence has only {', '.join(percents) or 'no words'}"
            )
        ears = dict(zip(EARS, processed, strict=True))
        left, right, clean_left, clean_right = (
            ear.layers["encoder"] for ear in (*processed, *reference)
        )
        texts = [ear.text for ear in reference] if text_given else []
        known = known_words(texts, text, self.recogniser.marked_words).get(KNOWN)
        heard.warnings.extend(_doubts(known, texts))
        if not all(ear.ended for ear in processed):
            heard.warnings.append("the recogniser repeats itself; its words count once")
        fit = self.mapping.fits.get(self.by)
        percent = percents[self.by]
        return Prediction(
            percent=percent,
            by=self.by,
            rmse=fit.rmse if fit else None,
            interval=fit.interval_around(percent) if fit else None,
            percents=percents,
            similarities=similarities,
            by_ear={
                name: self._similarities((ear, ear), reference, text) for name, ear in ears.items()
            },
            words={name: ear.text for name, ear in ears.items()},
            text=text,
            text_given=text_given,
            heard=heard,
            compared={
                name: self.recogniser.marked_words(ear.text, text)
                for name, ear in ears.items()
                if ear.text is not None and words_of(text)
            },
            course=similarity_by_frame((left, right), (clean_left, clean_right)).numpy(),
            reference_wcs=known,
        )

    def _percents(self, similarities: Mapping[str, float]) -> dict[str, float]:
        """Map similarities to percent words correct; without a mapping, words are what they are."""
        if not self.mapping.fits:
            return {WORDS: 100 * similarities[WORDS]} if WORDS in similarities else {}
        return {
            name: float(self.mapping.predict(name, np.array(value)))
            for name, value in similarities.items()
            if name in self.mapping.fits
        }

    def _recognise(self, heard: EarSignals, text: str | None) -> "tuple[Ears, Ears]":
        import torch

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

    def _similarities(self, processed: "Ears", reference: "Ears", text: str) -> dict[str, float]:
        from intelligibility.similarity import similarities_of, similarities_of_layers

        spoken = bool(words_of(text))  # False: nothing was recognised in the reference
        said, marked = text if spoken else "nothing", self.recogniser.marked_words
        found = similarities_of(processed, reference, said, self.dtw, marked)
        if (layer := self.mapping.layer) is not None and layer in processed[0].layers:
            of_layer = similarities_of_layers(processed, reference, self.dtw, [layer])
            found[BEST_LAYER.name] = of_layer[layer]
        return {name: value for name, value in found.items() if spoken or name != "wcs"}


def _doubts(known: float | None, texts: list[str | None]) -> list[str]:
    """Warn of a text that the recogniser does not find in the clean reference, as it hears it."""
    if known is None or known >= SUPPORTED:
        return []
    heard = max((text or "" for text in texts), key=len)
    return [
        f"the recogniser finds {100 * known:.0f} % of the text's words in the clean reference, "
        f"where it hears {heard!r:.100}: another sentence than was said raises or lowers the "
        "prediction"
    ]


AnyPredictor = Predictor | HaspiPredictor  # each has `predict`


@functools.cache
def predictor_of_process(
    model: str | None,
    revision: str | None,
    calibration: str | None,
    device: str,
    by: str | None,
) -> AnyPredictor:
    """Load what score.py's `model` names once per process: built in, a recogniser, or a model."""
    from intelligibility.prediction.model import is_recogniser

    if model is None:
        return Predictor.builtin()
    if is_recogniser(model, revision):
        return Predictor.from_recogniser(model, revision, device, by, calibration)
    return Predictor.load(model, revision, device, by)


def model_made_by(
    model: str | None, revision: str | None, calibration: str | None = None
) -> Mapping[str, Any]:
    """Return everything that determines the predictions of what `model` names."""
    if model is None:
        return Predictor.builtin().made_by
    from intelligibility.prediction.model import is_recogniser, open_model, open_recogniser

    if not is_recogniser(model, revision):
        return open_model(model, revision).made_by
    made_by = open_recogniser(model, revision, calibration).made_by
    return made_by | ({"haspi": Predictor.builtin().made_by} if has_pyclarity() else {})
