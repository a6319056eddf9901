"""How predicted numbers lie about the labels: by tenths of the prediction, and the errors themselves."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from pyspark.sql import functions as F

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

_LOOKED_AT = 20_000
"""Rows that edges are taken from: the quantiles of so many are within a percent of those of all."""
_TENTHS = 10
_BARS = 20
_MOST = (0.01, 0.99)
_SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)

Floats = npt.NDArray[np.float64]


def shapes(predicted: DataFrame, *, label: str, prediction: str, order: str) -> dict[str, Any]:
    """Return what curves of a regression are drawn from, as plain JSON values.

    Edges are quantiles of at most 20,000 rows, those lowest in ``order``; all rows are counted between them.

    Args:
        predicted: rows with the label and a prediction, both finite.
        label: the label column.
        prediction: the predicted number.
        order: a column of hashes that tells rows apart.

    Returns:
        ``calibration``: ``[mean prediction, mean label, rows]`` of about ten equal parts by rising
        prediction, fewer where many predictions are the same. ``residuals``: ``[from, to, rows]`` of
        prediction less label, twenty equal steps from its 1% to its 99% quantile and one beyond either end,
        whose outer bound is the least or the greatest error. ``quantiles``: of the error, by share.
    """
    truth, said = F.col(f"`{label}`").cast("double"), F.col(f"`{prediction}`").cast("double")
    rows = predicted.select(truth.alias("label"), said.alias("said"), (said - truth).alias("error"), order)
    seen = rows.orderBy(order, "said", "label").limit(_LOOKED_AT).select("said", "error").collect()
    if not seen:
        return {"calibration": [], "residuals": [], "quantiles": {}}
    guesses, errors = (np.array([row[name] for row in seen], float) for name in ("said", "error"))
    tenths = np.unique(np.quantile(guesses, np.arange(1, _TENTHS) / _TENTHS))
    low, high = np.quantile(errors, _MOST)
    bars = np.linspace(low, high, _BARS + 1) if high > low else np.array([low])
    return {
        "calibration": _calibration(rows, tenths),
        "residuals": _residuals(rows, bars),
        "quantiles": {
            f"{share:g}": float(value)
            for share, value in zip(_SHARES, np.quantile(errors, _SHARES), strict=True)
        },
    }


def _calibration(rows: DataFrame, edges: Floats) -> list[list[float]]:
    found = (
        rows.groupBy(_place("said", edges).alias("place"))
        .agg(F.mean("said").alias("said"), F.mean("label").alias("seen"), F.count(F.lit(1)).alias("rows"))
        .orderBy("place")
        .collect()
    )
    return [[row["said"], row["seen"], row["rows"]] for row in found]


def _residuals(rows: DataFrame, edges: Floats) -> list[list[float]]:
    found = (
        rows.groupBy(_place("error", edges).alias("place"))
        .agg(F.min("error").alias("least"), F.max("error").alias("most"), F.count(F.lit(1)).alias("rows"))
        .collect()
    )
    counted = {int(row["place"]): row for row in found}
    if len(edges) == 1:  # every error looked at is the same
        return [[row["least"], row["most"], row["rows"]] for _, row in sorted(counted.items())]
    ends = [min(row["least"] for row in found), *map(float, edges), max(row["most"] for row in found)]
    return [
        [start, end, counted[place]["rows"] if place in counted else 0]
        for place, (start, end) in enumerate(itertools.pairwise(ends))
    ]


def _place(column: str, edges: Sequence[float] | Floats) -> Column:
    """Return how many edges a value lies above."""
    return sum((F.when(F.col(column) > float(edge), 1).otherwise(0) for edge in edges), start=F.lit(0))
