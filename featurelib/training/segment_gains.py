"""Whether a slice's model beats its parent by more than the days it was chosen on give by chance.

Runs inside Spark's Python workers, and needs no Spark.
"""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from featurelib.training.metrics import pr_auc, roc_auc
from featurelib.training.segment_metrics import gain_over, losses

Floats = npt.NDArray[np.float64]

_RESAMPLES = 200
"""A standard error wants 50 to 200 draws (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993)."""


def gain_error(
    metric: str, scores: Floats, parent: Floats, labels: Floats, days: npt.NDArray[np.int32], *, seed: int
) -> float | None:
    """Return the standard error of the gain of scores over the parent's, on the same rows.

    Each draw takes whole days with replacement, the same ones for both (the paired block bootstrap: Künsch,
    "The jackknife and the bootstrap for general stationary observations", 1989), since rows of one day share
    what made them late. The variance is that of an unbiased estimate: times days / (days - 1).

    Returns:
        None with fewer than two days, or where most draws leave the metric undefined.
    """
    names, day = np.unique(days, return_inverse=True)
    count = len(names)
    if count < 2:
        return None
    ours, theirs = (_weighted(metric, scores_of, labels) for scores_of in (scores, parent))
    draws = np.random.default_rng(seed).multinomial(count, [1 / count] * count, size=_RESAMPLES)
    gains = np.array([gain_over(metric, ours(drawn[day]), theirs(drawn[day])) for drawn in draws])
    defined = gains[np.isfinite(gains)]
    if len(defined) <= _RESAMPLES / 2:
        return None
    return float(np.std(defined, ddof=1) * sqrt(count / (count - 1)))


def least_gain(gain: float, error: float, *, confidence: float, tried: int) -> float:
    """Return what a gain is at least, as sure as ``confidence`` although it is the best of so many trials.

    One-sided, by the normal distribution. The best of several trials looks better than it is, even where none
    is: each is therefore given only its part of the chance to be wrong (Bonferroni's inequality; Dunn,
    "Multiple comparisons among means", 1961).
    """
    return gain - NormalDist().inv_cdf(1 - (1 - confidence) / tried) * error


def _weighted(metric: str, scores: Floats, labels: Floats) -> Callable[[npt.NDArray[np.int64]], float]:
    """Return the metric as a function of how often each row is taken; NaN where it is undefined."""
    if metric == "log_loss":
        lost = losses(scores, labels)
        return lambda times: float((lost * times).sum() / times.sum()) if times.any() else float("nan")
    falling, place = np.unique(-scores, return_inverse=True)
    area = roc_auc if metric == "roc_auc" else pr_auc

    def measured(times: npt.NDArray[np.int64]) -> float:
        rows = np.bincount(place, weights=times, minlength=len(falling)).astype(np.float64)
        positives = np.bincount(place, weights=times * labels, minlength=len(falling)).astype(np.float64)
        value = area(rows, positives)
        return float("nan") if value is None else value

    return measured
