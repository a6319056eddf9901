"""Metrics of the few rows of a slice, from the scores themselves; they equal scikit-learn's."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from featurelib.training.evaluation import pr_auc, roc_auc

Floats = npt.NDArray[np.float64]

_EPSILON = float(np.finfo(np.float64).eps)


def binary_metrics(scores: Floats, labels: Floats) -> dict[str, float | None]:
    """Return ROC AUC, PR AUC, log loss and Brier score of probabilities of label 1.

    An area is None where a label that it needs does not occur; all are None without rows.
    """
    if not len(labels):
        return dict.fromkeys(("roc_auc", "pr_auc", "log_loss", "brier"))
    falling, place = np.unique(-scores, return_inverse=True)
    rows = np.bincount(place, minlength=len(falling)).astype(np.float64)
    positives = np.bincount(place, weights=labels, minlength=len(falling)).astype(np.float64)
    return {
        "roc_auc": roc_auc(rows, positives),
        "pr_auc": pr_auc(rows, positives),
        "log_loss": float(np.mean(losses(scores, labels))),
        "brier": float(np.mean((scores - labels) ** 2)),
    }


def losses(scores: Floats, labels: Floats) -> Floats:
    """Return the log loss of each row, clipped as scikit-learn does."""
    clipped = np.clip(scores, _EPSILON, 1 - _EPSILON)
    found: Floats = -(labels * np.log(clipped) + (1 - labels) * np.log1p(-clipped))
    return found


def gain_over(metric: str, value: float, other: float) -> float:
    """Return by how much a value is better than another of the same metric; negative where it is worse."""
    return other - value if metric == "log_loss" else value - other


def mean_contributions(
    contributions: npt.NDArray[np.floating[Any]], places: tuple[str, ...]
) -> dict[str, float]:
    """Return the mean absolute contribution of each feature, greatest first, ties by name.

    Contributions of the places of one feature (its values, and that one is missing) are added up in each row
    first, as a feature has one effect on a row.
    """
    means = {
        name: float(np.mean(np.abs(column))) for name, column in by_feature(contributions, places).items()
    }
    return dict(sorted(means.items(), key=lambda pair: (-pair[1], pair[0])))


def by_feature(contributions: npt.NDArray[np.floating[Any]], places: tuple[str, ...]) -> dict[str, Any]:
    """Return each feature's contribution to each row, the sum of those of its places."""
    summed: dict[str, Any] = {}
    for place, name in enumerate(places):
        column = contributions[:, place].astype(np.float64)
        summed[name] = summed[name] + column if name in summed else column
    return summed
