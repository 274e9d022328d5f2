"""The curve from similarity to percent words correct: a logistic, fitted by least squares.

Tu, Ma & Barker (2022), Section 4.3; docs/method.md writes it out. Whatever fits, applies, stores,
draws or names the curve reads this file, so another curve takes the logistic's place here, in
`CURVE`, the fields and `predict` of `Curve`, and `fit_curve`, and nowhere else.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import least_squares
from scipy.special import expit

from intelligibility.runs import RecipeError

CURVE = "logistic"  # in messages, tables and figures
MIN_SIGNALS = 3  # fewer leave nothing to judge a fit of two parameters by


@dataclass(frozen=True)
class Curve:
    """Percent words correct as a function of similarity (Section 4.3).

    The fields are the parameters, all floats: calibration.json holds them under these names.
    """

    x0: float  # the midpoint, in percent similarity, where half of the words are correct
    k: float  # the slope, per percent of similarity

    def predict(self, similarity: ArrayLike) -> np.ndarray:
        """Return percent words correct, 0..100, for similarities, 0..1, of any shape."""
        return 100 * expit(self.k * (100 * np.asarray(similarity, dtype=float) - self.x0))

    def __str__(self) -> str:
        """Return the parameters with their units."""
        return f"x0 = {self.x0:.3f} %, k = {self.k:.4f} per %"


def fit_curve(similarity: ArrayLike, correctness: ArrayLike) -> Curve:
    """Fit the curve by least squares.

    The published fit starts at x0 = 50, k = 1, where the gradient vanishes when similarities are
    narrow and high. This one starts from the best points of a grid laid over the data, on
    standardised similarities, so it finds the same optimum wherever the published one converges,
    and the optimum elsewhere too.

    Fewer than three signals, or nothing that varies, determine no curve: RecipeError.

    Parameters
    ----------
    similarity : (n_signals,) array_like
        0..1.
    correctness : (n_signals,) array_like
        Percent words correct, 0..100.

    Examples
    --------
    >>> curve = fit_curve([0.70, 0.75, 0.80, 0.85, 0.90], [0, 20, 40, 80, 100])
    >>> round(curve.x0, 1), round(curve.k, 2)
    (80.8, 0.32)
    >>> curve.predict([0.7, 0.8]).round(1)
    array([ 3.1, 43.9])
    """
    x = 100 * np.asarray(similarity, dtype=float)
    y = np.asarray(correctness, dtype=float) / 100
    check_fit_data(x, y)
    centre, spread = x.mean(), x.std()
    z = (x - centre) / spread

    def residuals(offset_slope: np.ndarray) -> np.ndarray:
        return expit(offset_slope[0] + offset_slope[1] * z) - y

    def jacobian(offset_slope: np.ndarray) -> np.ndarray:
        p = expit(offset_slope[0] + offset_slope[1] * z)
        return (p * (1 - p))[:, None] * np.column_stack([np.ones_like(z), z])

    slopes = np.geomspace(0.1, 30, 9)
    midpoints = np.unique(np.concatenate([np.quantile(z, np.linspace(0, 1, 9)), [-9, -3, 3, 9]]))
    grid = [(-b * m, b) for b in np.concatenate([-slopes, slopes]) for m in midpoints]
    grid.sort(key=lambda start: np.sum(residuals(np.array(start)) ** 2))
    fits = [
        least_squares(residuals, start, jacobian, method="lm", ftol=1e-14, xtol=1e-14, gtol=1e-14)
        for start in grid[:4]
    ]
    offset, slope = min(fits, key=lambda fit: fit.cost).x
    slope = slope or np.finfo(float).tiny
    return Curve(x0=float(centre - spread * offset / slope), k=float(slope / spread))


def check_fit_data(x: np.ndarray, y: np.ndarray) -> None:
    """Refuse similarities (x, percent) and responses (y, shares) that determine no curve."""
    if x.shape != y.shape or x.ndim != 1:
        raise RecipeError(f"{CURVE} fit: {x.shape} similarities for {y.shape} responses")
    if x.size < MIN_SIGNALS:
        raise RecipeError(
            f"{CURVE} fit: {x.size} dev signals with a similarity and a response; it needs at "
            f"least {MIN_SIGNALS}. Use more training scenes or a larger dev_percent, or "
            "calibration=other/calibration.json of another run"
        )
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise RecipeError(f"{CURVE} fit: similarities or responses not finite; run infer.py again")
    for what, values in (("similarities", x), ("responses", 100 * y)):
        if np.ptp(values) < 1e-9:
            raise RecipeError(
                f"{CURVE} fit: all {x.size} {what} are {values[0]:.6g} %, so no {CURVE} is "
                "determined; it needs signals that differ"
            )
