"""Groups of rows compared by what the model calls them, from counts by group; no row leaves Spark for it.

The words are fairlearn's, and so are the figures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from featurelib.specs import Fairness
from featurelib.training.metrics import Tally, confusion, roc_auc

Tallies = Mapping[tuple[str, str], Tally]

FOUR_FIFTHS = 0.8
"""The least ratio of selection rates that US guidelines (29 CFR 1607.4 D, 1978) take as no impact."""


def fairness(
    tallies: Tallies, spec: Fairness, *, threshold: float, thresholds: Mapping[str, Mapping[str, float]]
) -> dict[str, Any]:
    """Return, for each column of groups, the rates of every group and how far they are apart.

    Args:
        tallies: counts by score, see :func:`featurelib.training.evaluation.tallies`.
        spec: the columns, and the rows a group needs to be compared.
        threshold: a score at or above it is called positive.
        thresholds: by column and group, those of groups that have one of their own.
    """
    return {
        column: _of_column(
            {value: tally for (name, value), tally in sorted(tallies.items()) if name == column},
            min_rows=spec.min_rows,
            threshold=threshold,
            own=thresholds.get(column, {}),
        )
        for column in spec.groups
    }


def rates(tally: Tally, threshold: float) -> dict[str, Any]:
    """Return the rates of one group at a threshold; a rate without rows to be taken of is None."""
    found = confusion(tally, threshold)
    positives = found.true_positives + found.false_negatives
    negatives = found.false_positives + found.true_negatives
    predicted = float((tally.score * tally.rows).sum()) / found.rows
    return {
        "rows": int(found.rows),
        "positives": int(positives),
        "threshold": threshold,
        "selection_rate": (found.true_positives + found.false_positives) / found.rows,
        "true_positive_rate": _ratio(found.true_positives, positives),
        "false_positive_rate": _ratio(found.false_positives, negatives),
        "false_negative_rate": _ratio(found.false_negatives, positives),
        "accuracy": (found.true_positives + found.true_negatives) / found.rows,
        "mean_predicted": predicted,
        "observed": positives / found.rows,
        "calibration_gap": predicted - positives / found.rows,
        "roc_auc": roc_auc(tally.rows, tally.positives),
    }


def differences(groups: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """Return how far groups are apart; None where fewer than two groups have the rate."""
    selected = _given(groups, "selection_rate")
    true, false = _given(groups, "true_positive_rate"), _given(groups, "false_positive_rate")
    gaps = [abs(gap) for gap in _given(groups, "calibration_gap")]
    return {
        "demographic_parity_difference": _spread(selected),
        "disparate_impact": _least_ratio(selected),
        "equal_opportunity_difference": _spread(true),
        "equalized_odds_difference": _both(max, _spread(true), _spread(false)),
        "equalized_odds_ratio": _both(min, _least_ratio(true), _least_ratio(false)),
        "calibration_difference": max(gaps, default=None),
    }


def _of_column(
    tallies: Mapping[str, Tally], *, min_rows: int, threshold: float, own: Mapping[str, float]
) -> dict[str, Any]:
    groups = {value: rates(tally, own.get(value, threshold)) for value, tally in tallies.items()}
    compared = {value: rate for value, rate in groups.items() if rate["rows"] >= min_rows}
    found = differences(list(compared.values()))
    impact = found["disparate_impact"]
    return {
        "groups": groups,
        "not_compared": [value for value in groups if value not in compared],
        "min_rows": min_rows,
        **found,
        "four_fifths": None if impact is None else impact >= FOUR_FIFTHS,
    }


def _given(groups: Sequence[Mapping[str, Any]], rate: str) -> list[float]:
    return [group[rate] for group in groups if group[rate] is not None]


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _spread(values: Sequence[float]) -> float | None:
    return max(values) - min(values) if len(values) > 1 else None


def _least_ratio(values: Sequence[float]) -> float | None:
    """Return least by greatest; 1 where all are 0 and so equal."""
    if len(values) < 2:
        return None
    return min(values) / max(values) if max(values) > 0 else 1.0


def _both(choose: Any, one: float | None, other: float | None) -> float | None:  # noqa: ANN401 - min or max
    found = [value for value in (one, other) if value is not None]
    return float(choose(found)) if found else None
