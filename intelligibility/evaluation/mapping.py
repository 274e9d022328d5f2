"""The mapping from similarity to percent words correct, with what it was fitted on.

`calibration.json` holds one, and `calibration=` in the configuration takes one from another run:

    {"checkpoint_sha256": ..., "mean_correctness": 61.2,
     "measures": {"dec": {"x0": 81.4, "k": 0.21, "n_signals": 1454, "RMSE": 22.9}}}
"""

import logging
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from intelligibility.evaluation.scoring import Logistic, fit_logistic, score
from intelligibility.evaluation.tables import NAMES
from intelligibility.runs import RecipeError, read_json, write_json

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
        Dev signals that it was fitted on; None where it was fitted elsewhere.
    rmse : float or None
        On those signals, percent words correct.
    """

    logistic: Logistic
    n_signals: int | None = None
    rmse: float | None = None


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
    """

    fits: dict[str, Fit]
    mean_correctness: float
    checkpoint_sha256: str | None = None

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
            numbers = dict(content["measures"])
            fits = {
                measure: Fit(Logistic(*(_finite(numbers[measure][name]) for name in ("x0", "k"))))
                for measure in NAMES
                if measure in numbers
            }
            mean = _finite(content["mean_correctness"], 0, 100)
            return cls(fits, mean, checked_sha256(content.get("checkpoint_sha256")))
        except (KeyError, TypeError, ValueError) as error:
            raise RecipeError(
                f"{path}: not a calibration of this recipe ({error!r}); expected "
                "checkpoint_sha256, mean_correctness and measures with x0 and k, as evaluate.py "
                "writes them"
            ) from None

    def write(self, path: Path) -> None:
        """Write it as `calibration.json`."""
        write_json(path, self.as_json())

    def as_json(self) -> dict[str, Any]:
        """Return what the file holds."""
        return {
            "checkpoint_sha256": self.checkpoint_sha256,
            "mean_correctness": self.mean_correctness,
            "measures": {measure: _numbers(fit) for measure, fit in self.fits.items()},
        }

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
    return Fit(logistic, len(rows), score(logistic.predict(similarity), correctness)["RMSE"])


def _numbers(fit: Fit) -> dict[str, float]:
    on_dev = {"n_signals": fit.n_signals, "RMSE": fit.rmse}
    return asdict(fit.logistic) | {name: one for name, one in on_dev.items() if one is not None}


def _finite(value: Any, low: float = -1e300, high: float = 1e300) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (number and low <= value <= high):  # nor is NaN between them
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
