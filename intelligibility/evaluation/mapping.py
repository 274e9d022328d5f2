"""The mapping from similarity to percent words correct, with what it was fitted on.

`calibration.json` holds one, and `calibration=` in the configuration takes one from another run:

    {"checkpoint_sha256": ..., "mean_correctness": 61.2,
     "measures": {"dec": {"x0": 81.4, "k": 0.21, "n_signals": 1454, "RMSE": 22.9}}}
"""

import logging
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from intelligibility.corpora import CORPORA
from intelligibility.evaluation.intervals import Range, mean_residuals
from intelligibility.evaluation.leaks import Seen
from intelligibility.evaluation.scoring import Logistic, fit_logistic, score
from intelligibility.evaluation.tables import NAMES
from intelligibility.runs import RecipeError, is_number, read_json, write_json

logger = logging.getLogger(__name__)

METHOD = ("enc", "dec")  # the published method; the others are there to compare


@dataclass(frozen=True)
class Fit:
    """One measure's logistic, and how it went on dev.

    Attributes
    ----------
    logistic : Logistic
        From similarity to percent words correct.
    n_signals : int or None
        Dev signals that it was fitted on; None where that is not recorded.
    rmse : float or None
        On those signals, percent words correct.
    range : Range or None
        What to expect of one sentence around its prediction; None where that was not fitted.
    range_of_means : Range or None
        The same of the mean of twenty; None where dev has too few signals for it.
    """

    logistic: Logistic
    n_signals: int | None = None
    rmse: float | None = None
    range: Range | None = None
    range_of_means: Range | None = None


@dataclass(frozen=True)
class Mapping:
    """The logistics of all measures, fitted on the same dev signals.

    Attributes
    ----------
    fits : dict of str to Fit
        By measure.
    mean_correctness : float
        Of the dev signals, percent: what the constant prior predicts.
    checkpoint_sha256 : str or None
        The recogniser's that gave the similarities; None when it is not known.
    seen : Seen or None
        The signals, listeners and so on that it was fitted on; None when it is not known.
    by_set : dict of str to Mapping
        The mapping of each set of a challenge that has several (CPC2); empty elsewhere.
    """

    fits: dict[str, Fit]
    mean_correctness: float
    checkpoint_sha256: str | None = None
    seen: Seen | None = None
    by_set: dict[str, "Mapping"] = field(default_factory=dict)

    @classmethod
    def fitted_on(cls, dev: pd.DataFrame, checkpoint_sha256: str | None) -> "Mapping":
        """Fit the logistic of every measure on the dev signals with a response.

        Parameters
        ----------
        dev : DataFrame
            From `read_signals`.
        checkpoint_sha256 : str or None
            The recogniser's.

        Raises
        ------
        RecipeError
            No logistic is determined for a measure of the method; others are left out.
        """
        fits = {}
        for measure in NAMES:
            if f"{measure}_similarity" in dev:
                try:
                    fits[measure] = _fit(dev, measure)
                except RecipeError as error:
                    if measure in METHOD:
                        raise
                    logger.warning("%s is left out: %s", NAMES[measure], error)
        return cls(fits, float(dev["correctness"].mean()), checkpoint_sha256)

    @classmethod
    def read(cls, path: str | Path) -> "Mapping":
        """Read a mapping that evaluate.py wrote, here or elsewhere.

        Raises
        ------
        RecipeError
            The file is missing, or holds something else.
        """
        content = read_json(Path(path).expanduser(), dict)
        try:
            return cls._of(content)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise RecipeError(
                f"{path}: not a calibration of this recipe ({error!r}); expected "
                "checkpoint_sha256, mean_correctness and measures with x0 and k, as evaluate.py "
                "writes them"
            ) from None

    @classmethod
    def _of(cls, content: dict[str, Any]) -> "Mapping":
        numbers = dict(content["measures"])
        fits = {measure: _read_fit(numbers[measure]) for measure in NAMES if measure in numbers}
        mean = _finite(content["mean_correctness"], 0, 100)
        seen = None if content.get("seen") is None else Seen.from_json(content["seen"])
        by_set = {name: cls._of(one) for name, one in dict(content.get("sets") or {}).items()}
        sha256 = checked_sha256(content.get("checkpoint_sha256"))
        return cls(fits, mean, sha256, seen, by_set)

    def write(self, path: Path) -> None:
        """Write it as `calibration.json`, with what it was fitted on."""
        write_json(path, self._whole())

    def _whole(self) -> dict[str, Any]:
        content = self.as_json()
        if self.by_set:
            content["sets"] = {name: one._whole() for name, one in self.by_set.items()}
        return content | ({"seen": self.seen.as_json()} if self.seen is not None else {})

    def of_set(self, name: str) -> "Mapping":
        """Return the mapping for a set of the challenge: its own where each has one (CPC2).

        Raises
        ------
        RecipeError
            The other sets have one, this has not.
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

    def as_json(self) -> dict[str, Any]:
        """Return its numbers, and those of the sets."""
        numbers = {
            "checkpoint_sha256": self.checkpoint_sha256,
            "mean_correctness": self.mean_correctness,
            "measures": {measure: _numbers(fit) for measure, fit in self.fits.items()},
        }
        sets = {name: one.as_json() for name, one in self.by_set.items()}
        return numbers | ({"sets": sets} if sets else {})

    def predict(self, measure: str, similarity: np.ndarray) -> np.ndarray:
        """Return percent words correct, 0..100, for similarities, 0..1, by one measure."""
        return self.fits[measure].logistic.predict(similarity)

    def warn_unless_made_with(self, checkpoint_sha256: str | None, name: str) -> None:
        """Say that the mapping `name` may not hold for similarities by another recogniser."""
        ours, theirs = checkpoint_sha256, self.checkpoint_sha256
        if ours is None or ours != theirs:
            logger.warning(
                "%s was made with checkpoint %s, these similarities with %s: it may not hold here",
                *(name, (theirs or "unknown")[:12], (ours or "unknown")[:12]),
            )


def _fit(dev: pd.DataFrame, measure: str) -> Fit:
    """Fit one measure's logistic on the dev signals that have both numbers."""
    rows = dev.dropna(subset=["correctness", f"{measure}_similarity"])
    similarity = rows[f"{measure}_similarity"].to_numpy()
    correctness = rows["correctness"].to_numpy()
    logistic = fit_logistic(similarity, correctness)
    logger.info("%s: x0 = %.2f %%, k = %.4f per %%", NAMES[measure], logistic.x0, logistic.k)
    if logistic.k < 0:
        logger.warning("%s: more similar means less intelligible on dev", NAMES[measure])
    predicted = logistic.predict(similarity)
    means = mean_residuals(predicted, correctness, rows["system"].to_numpy())
    return Fit(
        logistic,
        len(rows),
        score(predicted, correctness)["RMSE"],
        Range.of_residuals(predicted, correctness),
        None if means is None else Range.of_all(means),
    )


def _numbers(fit: Fit) -> dict[str, Any]:
    optional = {
        "n_signals": fit.n_signals,
        "RMSE": fit.rmse,
        "range": fit.range and fit.range.as_json(),
        "range_of_means": fit.range_of_means and fit.range_of_means.as_json(),
    }
    return asdict(fit.logistic) | {name: one for name, one in optional.items() if one is not None}


def _read_fit(content: dict[str, Any]) -> Fit:
    """Read one measure's logistic; files that say less of its dev signals are older."""
    ranges = [
        None if content.get(name) is None else Range.from_json(content[name])
        for name in ("range", "range_of_means")
    ]
    logistic = Logistic(*(_finite(content[name]) for name in ("x0", "k")))
    rmse = None if content.get("RMSE") is None else _finite(content["RMSE"], 0)
    n_signals = None if content.get("n_signals") is None else int(_finite(content["n_signals"], 0))
    return Fit(logistic, n_signals, rmse, *ranges)


def _finite(value: Any, low: float = -1e300, high: float = 1e300) -> float:
    if not (is_number(value) and low <= value <= high):  # nor is NaN between them
        raise ValueError(f"{value!r:.60} where a number from {low:g} to {high:g} was expected")
    return float(value)


def checked_sha256(value: Any) -> str | None:
    """Return a checkpoint's hash as it is in a file; None stays None.

    Raises
    ------
    ValueError
        It is no hash.
    """
    if value is not None and not (isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value)):
        raise ValueError(f"checkpoint_sha256 is {value!r:.60}, expected 64 hexadecimal digits")
    return value
