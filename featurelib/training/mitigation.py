"""What can be done about differences between groups: weights before a fit, thresholds after it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from featurelib.training.metrics import CALL_NONE, Tally, confusion

Rate = Literal["selection_rate", "true_positive_rate"]


def reweighing(counts: Mapping[tuple[str, float], int]) -> dict[tuple[str, float], float]:
    """Return a weight for each group and label, under which label and group are independent.

    ``rows(group) * rows(label) / (rows * rows(group, label))``, after Kamiran and Calders (2012); the weights
    of all rows sum to their number, and neither the size of a group nor the share of a label changes.
    """
    total = sum(counts.values())
    groups: dict[str, int] = {}
    labels: dict[float, int] = {}
    for (group, label), rows in counts.items():
        groups[group] = groups.get(group, 0) + rows
        labels[label] = labels.get(label, 0) + rows
    return {
        (group, label): groups[group] * labels[label] / (total * rows)
        for (group, label), rows in counts.items()
        if rows
    }


def group_thresholds(
    whole: Tally, groups: Mapping[str, Tally], *, threshold: float, rate: Rate, min_rows: int = 20
) -> dict[str, float]:
    """Return for each group the threshold at which its rate is nearest to that of all rows at ``threshold``.

    Of two thresholds equally near, the higher. Groups with fewer rows, or without positives where the rate
    is of these, have none and keep the threshold of all.

    Args:
        whole: all validation rows.
        groups: those of each group.
        threshold: of all rows.
        rate: what shall be about equal.
        min_rows: rows a group needs.
    """
    found = confusion(whole, threshold)
    positives = found.true_positives + found.false_negatives
    if rate == "selection_rate":
        target = (found.true_positives + found.false_positives) / found.rows
    else:
        target = found.true_positives / positives if positives else 0.0
    chosen = {}
    for value, tally in groups.items():
        counted = tally.rows if rate == "selection_rate" else tally.positives
        if tally.rows.sum() < min_rows or not counted.sum():
            continue
        reached = np.concatenate([[0.0], np.cumsum(counted) / counted.sum()])
        place = int(np.argmin(np.abs(reached - target)))
        chosen[value] = CALL_NONE if place == 0 else float(tally.score[place - 1])
    return chosen
