"""The mapping from similarity to percent words correct, with what it was fitted on.

`calibration.json` holds one, and `calibration=` in the configuration takes one from another run:

    {"checkpoint_sha256": ..., "mean_correctness": 61.2,
     "measures": {"dec": {"x0": 81.4, "k": 0.21, "n_signals": 1454, "RMSE": 22.9}}}
"""

import logging
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from intelligibility.corpora import CORPORA
from intelligibility.corpora.presentation import Presentation
from intelligibility.evaluation.curve import CURVE, Curve, fit_curve
from intelligibility.evaluation.intervals import PredictionInterval, mean_residuals
from intelligibility.evaluation.leaks import Seen
from intelligibility.evaluation.scoring import score
from intelligibility.evaluation.tables import NAMES
from intelligibility.measures import BEST_LAYER, METHOD
from intelligibility.runs import RecipeError, is_number, read_json, write_json

logger = logging.getLogger(__name__)

# What makes a curve degenerate: the share of dev signals of one similarity, or of those predicted
# to have so few % of the words right or wrong; and over how few % its predictions reach.
MOST_ALIKE, MOST_SATURATED, NONE_OR_ALL, FLATTEST = 0.7, 0.5, 0.5, 5.0
PARAMETERS = [one.name for one in fields(Curve)]


@dataclass(frozen=True)
class Fit:
    """The curve of one measure, and how well it fits the dev signals; None where not recorded."""

    curve: Curve
    n_signals: int | None = None  # of dev that it was fitted on
    rmse: float | None = None  # on those signals, percent words correct
    prediction_interval: PredictionInterval | None = None  # for one sentence
    interval_of_means: PredictionInterval | None = None  # for the mean of twenty
    layer: str | None = None  # which it is, of the best layer

    def interval_around(self, percent: float) -> tuple[float, float] | None:
        """Return between which percentages four of five answers to one sentence lie."""
        if self.prediction_interval is None:
            return None
        low, high = self.prediction_interval.around(np.array(percent))
        return float(low), float(high)


@dataclass(frozen=True)
class FittedMapping:
    """The curves of all measures, fitted on the same dev signals."""

    fits: dict[str, Fit]  # by measure
    mean_correctness: float  # of the dev signals, percent: what the constant prior predicts
    checkpoint_sha256: str | None = None  # of the recogniser, where it is known
    seen: Seen | None = None  # what it was fitted on, where it is known
    by_set: dict[str, "FittedMapping"] = field(default_factory=dict)  # where sets have one each

    @classmethod
    def read(cls, path: str | Path) -> "FittedMapping":
        """Read a mapping that evaluate.py wrote; RecipeError where the file holds none."""
        content = read_json(Path(path).expanduser(), dict)
        try:
            return cls._of(content)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise RecipeError(
                f"{path}: not a calibration of this recipe ({error!r}); expected "
                f"checkpoint_sha256, mean_correctness and measures with {' and '.join(PARAMETERS)}"
                ", as evaluate.py writes them"
            ) from None

    @classmethod
    def _of(cls, content: dict[str, Any]) -> "FittedMapping":
        numbers = dict(content["measures"])
        return cls(
            fits={measure: _read_fit(numbers[measure]) for measure in NAMES if measure in numbers},
            mean_correctness=_finite(content["mean_correctness"], 0, 100),
            checkpoint_sha256=checked_sha256(content.get("checkpoint_sha256")),
            seen=None if content.get("seen") is None else Seen.from_json(content["seen"]),
            by_set={name: cls._of(one) for name, one in dict(content.get("sets") or {}).items()},
        )

    def write(self, path: Path) -> None:
        """Write calibration.json, with the names of what the mapping was fitted on."""
        write_json(path, self.as_json(seen=True))

    def as_json(self, seen: bool = False) -> dict[str, Any]:
        """Return the fits, of the whole and of each set; with `seen`, what was fitted on too."""
        content: dict[str, Any] = {
            "checkpoint_sha256": self.checkpoint_sha256,
            "mean_correctness": self.mean_correctness,
            "measures": {measure: _numbers(fit) for measure, fit in self.fits.items()},
        }
        if self.by_set:
            content["sets"] = {name: one.as_json(seen) for name, one in self.by_set.items()}
        if seen and self.seen is not None:
            content["seen"] = self.seen.as_json()
        return content

    def of_set(self, name: str) -> "FittedMapping":
        """Return the mapping for a set of the challenge: its own where each set has one.

        RecipeError where the other sets have a mapping, but this set has none.
        """
        own = {k for corpus in CORPORA.values() if corpus.mapping_per_set for k in corpus.sets}
        if not self.by_set or name not in own:
            return self
        if name not in self.by_set:
            raise RecipeError(
                f"test set {name} has no mapping: there are those of {', '.join(self.by_set)}; "
                "its training list is missing, or has no dev signal that was measured"
            )
        return self.by_set[name]

    def predict(self, measure: str, similarity: np.ndarray) -> np.ndarray:
        """Return percent words correct, 0..100, for similarities, 0..1, by one measure."""
        return self.fits[measure].curve.predict(similarity)

    @property
    def layer(self) -> str | None:
        """The layer that dev chose, None where layers were not measured."""
        fit = self.fits.get(BEST_LAYER.name)
        return None if fit is None else fit.layer

    def add_layer(self, signals: pd.DataFrame) -> None:
        """Add the similarity of the best layer to signals, where it was measured."""
        sets = signals["set"] if "set" in signals else pd.Series("", signals.index)
        for name in sorted(set(sets)):
            column = f"{self.of_set(name).layer}_similarity"
            if column in signals:
                rows = sets == name
                signals.loc[rows, f"{BEST_LAYER.name}_similarity"] = signals.loc[rows, column]

    def warn_unless_made_with(self, checkpoint_sha256: str | None, name: str) -> None:
        """Warn where the mapping read from `name` was fitted with another recogniser."""
        ours, theirs = checkpoint_sha256, self.checkpoint_sha256
        if ours is None or ours != theirs:
            logger.warning(
                "%s was made with checkpoint %s, these similarities with %s: it may not hold here",
                *(name, (theirs or "unknown")[:12], (ours or "unknown")[:12]),
            )


def fit_mapping(
    dev: pd.DataFrame,
    train: Iterable[Presentation],
    checkpoint_sha256: str | None = None,
    per_set: bool = False,
) -> FittedMapping:
    """Fit the mapping on the dev signals that have a response.

    `dev` is from `read_signals`, and `train` the training archive, which holds the dev signals.
    With `per_set` one more is fitted for each set, on the dev signals of that set's training.
    RecipeError where no curve is determined for a measure of the published method; others are left
    out.
    """
    known = {one.name: one for one in train}
    whole = _fit_all(dev, known, checkpoint_sha256)
    if not per_set:
        return whole
    fitted = {}
    for name in sorted({k for one in known.values() for k in one.sets}):
        rows = dev[[name in known[signal].sets for signal in dev["signal"]]]
        try:
            fitted[name] = _fit_all(rows, known, checkpoint_sha256)
        except RecipeError as error:
            raise RecipeError(f"training {name}: {error}") from None
    return replace(whole, by_set=fitted)


def _fit_all(
    dev: pd.DataFrame, known: dict[str, Presentation], checkpoint_sha256: str | None
) -> FittedMapping:
    """Fit the curve of every measure on the same dev signals, and of the layer that they choose."""
    # Only fitting needs it, and it needs matplotlib, which predicting does without.
    from intelligibility.evaluation.layers import choose_layer, layers_of

    layer = choose_layer(dev)
    if layer is not None:
        logger.info("Of %d layers %s is the best on dev", len(layers_of(dev)), layer)
        dev = dev.assign(**{f"{BEST_LAYER.name}_similarity": dev[f"{layer}_similarity"]})
    fits = {}
    for measure in NAMES:
        if f"{measure}_similarity" in dev:
            try:
                fit = _fit(dev, measure)
                fits[measure] = replace(fit, layer=layer) if measure == BEST_LAYER.name else fit
            except RecipeError as error:
                if measure in METHOD:
                    raise
                logger.warning("%s is left out: %s", NAMES[measure], error)
    labelled = dev.loc[dev["correctness"].notna(), "signal"]
    seen = Seen.of(known[name] for name in labelled if name in known)
    return FittedMapping(fits, float(dev["correctness"].mean()), checkpoint_sha256, seen)


def _fit(dev: pd.DataFrame, measure: str) -> Fit:
    """Fit the curve of one measure on the dev signals that have both numbers."""
    rows = dev.dropna(subset=["correctness", f"{measure}_similarity"])
    similarity = rows[f"{measure}_similarity"].to_numpy()
    correctness = rows["correctness"].to_numpy()
    curve = fit_curve(similarity, correctness)
    logger.info("%s: %s", NAMES[measure], curve)
    predicted = curve.predict(similarity)
    if predicted[similarity.argmax()] < predicted[similarity.argmin()]:
        logger.warning("%s: more similar means less intelligible on dev", NAMES[measure])
    if fault := _degenerate(curve, similarity):
        logger.warning("%s: %s; its predictions say little", NAMES[measure], fault)
    means = mean_residuals(predicted, correctness, rows["system"].to_numpy())
    return Fit(
        curve,
        len(rows),
        score(predicted, correctness)["RMSE"],
        PredictionInterval.of_residuals(predicted, correctness),
        None if means is None else PredictionInterval.of_all(means),
    )


def _degenerate(curve: Curve, similarity: np.ndarray) -> str | None:
    """Return why a fitted curve tells little between none and all of the words, or None."""
    values, counts = np.unique(similarity, return_counts=True)
    if counts.max() > MOST_ALIKE * len(similarity):
        most = values[counts.argmax()]
        return f"{counts.max()} of {len(similarity)} dev signals have the same similarity, {most:g}"
    percent = curve.predict(similarity)
    ends = f"{percent.min():.0f} to {percent.max():.0f} % of the words on dev"
    if np.mean(np.minimum(percent, 100 - percent) < NONE_OR_ALL) > MOST_SATURATED:
        return f"a step rather than a {CURVE}, {ends}"
    return f"nearly flat, {ends}" if np.ptp(percent) < FLATTEST else None


def _numbers(fit: Fit) -> dict[str, Any]:
    """Return one measure's numbers as calibration.json holds them."""
    one, means = fit.prediction_interval, fit.interval_of_means
    optional = {
        "n_signals": fit.n_signals,
        "RMSE": fit.rmse,
        "range": one and one.as_json(),
        "range_of_means": means and means.as_json(),
        "layer": fit.layer,
    }
    return asdict(fit.curve) | {name: one for name, one in optional.items() if one is not None}


def _read_fit(content: dict[str, Any]) -> Fit:
    """Read one measure's numbers; older files hold fewer."""

    def optional(name: str, read: Callable[[Any], Any]) -> Any:
        return None if content.get(name) is None else read(content[name])

    return Fit(
        read_curve(content),
        optional("n_signals", lambda value: int(_finite(value, 0))),
        optional("RMSE", lambda value: _finite(value, 0)),
        optional("range", PredictionInterval.from_json),
        optional("range_of_means", PredictionInterval.from_json),
        optional("layer", str),
    )


def read_curve(numbers: Mapping[str, Any]) -> Curve:
    """Return the curve whose parameters stand among the numbers of one measure."""
    return Curve(**{name: _finite(numbers[name]) for name in PARAMETERS})


def _finite(value: Any, low: float = -1e300, high: float = 1e300) -> float:
    if not (is_number(value) and low <= value <= high):  # nor is NaN between them
        raise ValueError(f"{value!r:.60} where a number from {low:g} to {high:g} was expected")
    return float(value)


def checked_sha256(value: Any) -> str | None:
    """Return a checkpoint's hash as it is in a file, or None; ValueError for anything else."""
    if value is not None and not (isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value)):
        raise ValueError(f"checkpoint_sha256 is {value!r:.60}, expected 64 hexadecimal digits")
    return value
