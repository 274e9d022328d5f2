"""From two recordings and a listener to percent words correct, with the code of the stages."""

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from intelligibility.ears import ASR_RATE, ear_signals
from intelligibility.evaluation.mapping import FittedMapping
from intelligibility.experiment import EARS
from intelligibility.measures import METHOD
from intelligibility.onset import lasting, speech_span
from intelligibility.prediction.alignment import bulk_delay, without_delay
from intelligibility.prediction.model import open_model
from intelligibility.prediction.sound import (
    Sound,
    active_level,
    at_rate,
    n_clipped,
    sound_of,
)
from intelligibility.recognisers.recognition import Recogniser, Recognition
from intelligibility.runs import RecipeError, is_number
from intelligibility.similarity import similarities_of, similarity_by_frame
from intelligibility.words import words_of
from msbg import Listener

logger = logging.getLogger(__name__)

LATEST_START = 60.0  # s
QUIET, LOUD = 40.0, 100.0  # dB SPL, between which speech is listened to
# s that are kept before and after the speech, silent where there is less. As in CPC1, whose scenes
# are cut where the target begins and end a second after it: recognisers learn that.
LEAD, TAIL = 0.0, 1.0
NEARBY = (0.02, 0.1)  # s before and after the onset, where the first sample is looked for
AUDIBLE = 0.02  # of the peak there


@dataclass(frozen=True)
class Conditions:
    """How the recordings were made, and what is done about it.

    Attributes
    ----------
    align : bool
        Whether the bulk delay is found and taken out.
    start : float or None
        Seconds that are dropped at the start of both, 2.0 in CPC1, and nothing at the end; None:
        the speech is found in the reference.
    full_scale_db_spl : float or None
        What 0 dB FS stands for; None: as in the model's data.
    speech_level : float or None
        dB SPL that the reference's speech is taken to have, instead.
    ear : str
        "both", or the one that listens: "left" or "right".
    """

    align: bool = True
    start: float | None = None
    full_scale_db_spl: float | None = None
    speech_level: float | None = None
    ear: str = "both"

    def __post_init__(self) -> None:
        """Refuse what contradicts itself."""
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
class Heard:
    """What reaches the recogniser, and how it came about.

    Attributes
    ----------
    processed, reference : ndarray, (n, 2), float32
        At 16 kHz, left and right, the first after the hearing loss.
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
    """What one sentence, heard once, comes to.

    Attributes
    ----------
    percent : float
        Predicted words correct, 0..100, by the measure `by`.
    by : str
        The measure that was chosen.
    rmse : float or None
        Of the mapping on the signals that it was fitted on, percent: what to expect of a sentence.
    percents : dict of str to float
        The prediction by every measure.
    similarities : dict of str to float
        Every measure, 0..1, of the better ear as published.
    by_ear : dict of str to dict
        The same of the left and of the right ear alone.
    words : dict of str to str
        What was recognised at the left and at the right ear.
    text : str
        The sentence.
    text_given : bool
        False where the recogniser's transcript of the reference stands in for it.
    heard : Heard
        Signals, delay, level and warnings.
    course : ndarray, (frames,)
        Similarity of the encoder's frames over time: 25 per second, of Whisper and its kin 50.
    """

    percent: float
    by: str
    rmse: float | None
    percents: dict[str, float]
    similarities: dict[str, float]
    by_ear: dict[str, dict[str, float]]
    words: dict[str, str]
    text: str
    text_given: bool
    heard: Heard = field(repr=False)
    course: np.ndarray = field(repr=False)


class Predictor:
    """A trained recogniser with a fitted mapping.

    Parameters
    ----------
    recogniser : Recogniser
        What listens.
    mapping : Mapping
        From similarity to percent words correct, fitted with this recogniser.
    msbg_settings : mapping
        `MSBGEar` of config.yaml, with which it was fitted.
    dtw : str
        How decoder states are aligned.
    by : str, optional
        The measure to predict by: dec, as published, where it is there; else the best on dev.

    Examples
    --------
    >>> from intelligibility.prediction.audiograms import listener_of
    >>> from intelligibility.prediction.predictor import Predictor
    >>> predictor = Predictor.load("demo/exp")                              # doctest: +SKIP
    >>> prediction = predictor.predict(                                     # doctest: +SKIP
    ...     processed, reference, 44100, listener_of("moderate"), "the boat is late"
    ... )
    >>> round(prediction.percent), prediction.by                            # doctest: +SKIP
    (71, 'dec')
    """

    def __init__(
        self,
        recogniser: Recogniser,
        mapping: FittedMapping,
        msbg_settings: Mapping[str, Any],
        dtw: str = "fastdtw",
        by: str | None = None,
    ):
        self.recogniser = recogniser
        self.mapping = mapping
        self.msbg_settings = dict(msbg_settings)
        self.dtw = dtw
        self.by = measure_to_predict_by(mapping, by)

    @classmethod
    def load(
        cls,
        model: str | Path,
        revision: str | None = None,
        device: str = "auto",
        by: str | None = None,
    ) -> "Predictor":
        """Load a model: an experiment folder, a bundle, or the hub id of one.

        Parameters
        ----------
        model : str or Path
            Where infer.py and evaluate.py ran, or what `evaluate.py bundle=` wrote.
        revision : str, optional
            Of a hub id.
        device : str
            auto, cpu or cuda.
        by : str, optional
            The measure to predict by.

        Raises
        ------
        RecipeError
            Something is missing, or the mapping is not of this recogniser.
        """
        opened = open_model(model, revision)
        return cls(
            opened.load_recogniser(device), opened.mapping, opened.msbg_settings, opened.dtw, by
        )

    def predict(
        self,
        processed: np.ndarray | Sound,
        reference: np.ndarray | Sound,
        rate: int | None,
        listener: Listener,
        text: str | None = None,
        conditions: Conditions = AS_IT_COMES,
    ) -> Prediction:
        """Predict how many words a listener gets right.

        Parameters
        ----------
        processed, reference : ndarray, (n_samples,) or (n_samples, 2), full scale 1
            What the hearing aid gave, and the clean sentence; or both as `Sound`.
        rate : int or None
            Hz, of both; None for sounds, which know theirs.
        listener : Listener
            With the audiograms of both ears.
        text : str, optional
            The sentence. Without it the recogniser's transcript of the reference stands in.
        conditions : Conditions
            How the recordings were made.
        """
        pair = [
            one if isinstance(one, Sound) else sound_of(one, rate, name)
            for name, one in (("processed", processed), ("reference", reference))
        ]
        heard = self.hear(*pair, listener, conditions)
        return self.compare(heard, text)

    def hear(
        self, processed: Sound, reference: Sound, listener: Listener, conditions: Conditions
    ) -> Heard:
        """Align the two, set their level, simulate the hearing loss, and cut to the speech."""
        warnings = [*_quality(processed), *_quality(reference)]
        delay, doubt = bulk_delay(processed, reference) if conditions.align else (0.0, None)
        warnings += [doubt] if doubt else []
        full_scale = self._full_scale(reference, conditions)
        level = active_level(reference) + full_scale
        if not QUIET <= level <= LOUD:
            warnings.append(
                f"speech at {level:.0f} dB SPL, where {QUIET:g} to {LOUD:g} are listened to; set "
                "speech_level or full_scale_db_spl"
            )
        settings = self.msbg_settings | {"equiv_0db_spl": full_scale, "ahr": 0.0}
        if full_scale == self._models_full_scale():
            settings = self.msbg_settings  # the same numbers to the last bit
        rate = settings["sample_rate"]
        processed, reference = processed_at(processed, rate), reference
        signal = without_delay(processed.signal, round(delay * rate))
        if conditions.start is None:
            start, stop = _span(reference)
            signal = lasting(signal, round(stop * rate))
            clean = lasting(reference.signal, round(stop * reference.rate))
        else:
            start, clean = conditions.start, reference.signal
        heard = [
            ear_signals(signal, rate, listener, settings, start),
            ear_signals(clean, reference.rate, None, settings, start),
        ]
        if conditions.ear != "both":
            one = EARS.index(conditions.ear)
            heard = [ear[:, [one, one]] for ear in heard]
        return Heard(*heard, delay, level, warnings)

    def compare(self, heard: Heard, text: str | None) -> Prediction:
        """Recognise both ears of both, compare, and map to percent words correct."""
        given = text is not None
        if given and not words_of(text):
            raise RecipeError(f"text={text!r}: holds no word")
        reference, processed = self._recognise(heard, text)
        sentence = text if given else max((ear.text or "" for ear in reference), key=len)
        if not given and words_of(sentence) and reference[0].log_prob is not None:
            # One that is led along a text needs the same for all.
            reference, processed = self._recognise(heard, sentence)
        similarities = self._similarities(processed, reference, sentence)
        percents = {
            name: float(self.mapping.predict(name, np.array(value)))
            for name, value in similarities.items()
            if name in self.mapping.fits
        }
        if self.by not in percents:
            raise RecipeError(
                f"by={self.by}: not among what this sentence gives: {', '.join(percents)}"
            )
        ears = dict(zip(EARS, processed, strict=True))
        layers = [tuple(ear.layers["encoder"] for ear in both) for both in (processed, reference)]
        return Prediction(
            percent=percents[self.by],
            by=self.by,
            rmse=self.mapping.fits[self.by].rmse,
            percents=percents,
            similarities=similarities,
            by_ear={
                name: self._similarities((ear, ear), reference, sentence)
                for name, ear in ears.items()
            },
            words={name: ear.text for name, ear in ears.items()},
            text=sentence,
            text_given=given,
            heard=heard,
            course=similarity_by_frame(*layers).numpy(),
        )

    def _recognise(self, heard: Heard, text: str | None) -> list[tuple[Recognition, Recognition]]:
        signals = [ear for both in (heard.reference, heard.processed) for ear in both.T]
        shortest, longest = self.recogniser.lengths
        for signal in signals:
            if not shortest <= len(signal) <= longest:
                raise RecipeError(
                    f"{len(signal) / ASR_RATE:.2f} s of speech, the recogniser takes "
                    f"{shortest / ASR_RATE:.2f} to {longest / ASR_RATE:g} s"
                )
        tensors = (torch.from_numpy(np.ascontiguousarray(signal)) for signal in signals)
        found = list(self.recogniser.recognise(tensors, [text] * len(signals)))
        return [(found[0], found[1]), (found[2], found[3])]

    def _similarities(
        self,
        processed: tuple[Recognition, Recognition],
        reference: tuple[Recognition, Recognition],
        text: str,
    ) -> dict[str, float]:
        score = self.recogniser.word_correctness
        if words_of(text):
            return similarities_of(processed, reference, text, self.dtw, score)
        # Nothing was recognised in the reference, so there are no words to count.
        found = similarities_of(processed, reference, "nothing", self.dtw, score)
        return {name: value for name, value in found.items() if name != "wcs"}

    def _models_full_scale(self) -> float:
        return float(self.msbg_settings["equiv_0db_spl"] + self.msbg_settings["ahr"])

    def _full_scale(self, reference: Sound, conditions: Conditions) -> float:
        if conditions.speech_level is not None:
            return conditions.speech_level - active_level(reference)
        if conditions.full_scale_db_spl is not None:
            return float(conditions.full_scale_db_spl)
        return self._models_full_scale()


def measure_to_predict_by(mapping: FittedMapping, by: str | None) -> str:
    """Choose the measure: the one asked for, the published one, or the best on dev."""
    if by is not None and by not in mapping.fits:
        raise RecipeError(f"by={by}: the mapping has {', '.join(mapping.fits)}")
    if by is not None or METHOD[0] in mapping.fits:
        return by or METHOD[0]
    best = min(mapping.fits, key=lambda name: mapping.fits[name].rmse or np.inf)
    logger.info("Predicted by %s, the best on dev", best)
    return best


def processed_at(sound: Sound, rate: int) -> Sound:
    """Bring the processed sound to the rate of the hearing-loss simulation."""
    return sound if sound.rate == rate else at_rate(sound, rate)


def _span(reference: Sound) -> tuple[float, float]:
    """Return where the speech starts and stops, with a margin, in s."""
    try:
        start, stop = speech_span(reference.signal, reference.rate)
    except ValueError as error:
        raise RecipeError(f"{reference.name}: {error}") from None
    return max(0.0, _first_sample(reference, start) - LEAD), stop + TAIL


def _first_sample(reference: Sound, start: float) -> float:
    """Find the start of the speech to the sample, in s.

    The recogniser's frames begin where the sound is cut: to a hundredth of a second, the same
    sentence with another lead-in would fall into other frames.
    """
    first = max(0, round((start - NEARBY[0]) * reference.rate))
    last = round((start + NEARBY[1]) * reference.rate)
    loudness = np.abs(reference.signal[first:last]).max(axis=1)
    return (first + int(np.argmax(loudness > AUDIBLE * loudness.max()))) / reference.rate


def _quality(sound: Sound) -> list[str]:
    found = []
    if clipped := n_clipped(sound):
        found.append(f"{sound.name}: {clipped} samples at full scale, probably clipped")
    if sound.rate < 44100:
        found.append(
            f"{sound.name}: {sound.rate} Hz, so nothing above {sound.rate / 2000:g} kHz is in it"
        )
    return found
