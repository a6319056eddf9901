"""Metrics of a predicted number, from one aggregation in Spark and arithmetic on the driver."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from featurelib.training.evaluation import ALL_ROWS

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, Row


BLOCK = "_block"


@dataclass(frozen=True)
class RegressionEvaluation:
    """How near predictions come to a numeric label; errors are prediction less label, in its unit.

    Attributes:
        rows: rows measured.
        mse: mean squared error.
        rmse: its root.
        mae: mean absolute error.
        r2: share of the label's variance that is explained; None where the label does not vary.
        mape: mean of ``|error / label|`` over rows whose label is not 0; None without such rows.
        bias: mean error.
    """

    rows: int
    mse: float
    rmse: float
    mae: float
    r2: float | None
    mape: float | None
    bias: float

    def to_dict(self) -> dict[str, Any]:
        """Return the evaluation as plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class ErrorTally:
    """Sums over rows, enough for every metric here.

    ``spread`` is the label's sum of squares about its mean; ``relative`` is summed over ``relative_rows``.
    """

    rows: int
    error: float
    squared: float
    absolute: float
    relative: float
    relative_rows: int
    spread: float


def error_tallies(
    predicted: DataFrame,
    *,
    label: str,
    prediction: str,
    slices: Sequence[str] = (),
    block: Column | None = None,
) -> dict[tuple[str, str], ErrorTally]:
    """Sum errors for all rows and for each value of each slice column, in one pass.

    Args:
        predicted: rows with the label and a prediction.
        label: the label column, a finite double.
        prediction: the column of the predicted number.
        slices: columns whose values are measured apart; null is the value ``null``.
        block: rows of one block belong together when the uncertainty is estimated, as those of a day.

    Returns:
        A tally for ``("", "")``, all rows, and for each ``(column, value)``; blocks stand under ``BLOCK``.
    """
    named = {name: F.col(f"`{name}`") for name in slices}
    if block is not None:
        named[BLOCK] = block
    groups = [F.struct(F.lit(ALL_ROWS).alias("name"), F.lit(ALL_ROWS).alias("value"))]
    groups += [
        F.struct(F.lit(name).alias("name"), F.coalesce(column.cast("string"), F.lit("null")).alias("value"))
        for name, column in named.items()
    ]
    truth = F.col(f"`{label}`").cast("double")
    rows = predicted.select(
        F.explode(F.array(*groups)).alias("group"),
        truth.alias("label"),
        (F.col(f"`{prediction}`").cast("double") - truth).alias("error"),
    )
    found = (
        rows.groupBy("group.name", "group.value")
        .agg(
            F.count(F.lit(1)).alias("rows"),
            F.sum("error").alias("error"),
            F.sum(F.col("error") * F.col("error")).alias("squared"),
            F.sum(F.abs("error")).alias("absolute"),
            F.sum(F.abs(F.try_divide("error", "label"))).alias("relative"),
            F.count_if(F.col("label") != 0).alias("relative_rows"),
            # Central moments are summed stably; squares less the square of the mean are not.
            (F.var_pop("label") * F.count(F.lit(1))).alias("spread"),
        )
        .collect()
    )
    return {(row["name"], row["value"]): _tally(row) for row in found}


def _tally(row: Row) -> ErrorTally:
    return ErrorTally(
        rows=row["rows"],
        error=row["error"],
        squared=row["squared"],
        absolute=row["absolute"],
        relative=row["relative"] or 0.0,
        relative_rows=row["relative_rows"],
        spread=row["spread"],
    )


def regression_of(tally: ErrorTally) -> RegressionEvaluation:
    """Return every metric of a tally."""
    mse = tally.squared / tally.rows
    return RegressionEvaluation(
        rows=tally.rows,
        mse=mse,
        rmse=math.sqrt(mse),
        mae=tally.absolute / tally.rows,
        r2=1 - tally.squared / tally.spread if tally.spread > 0 else None,
        mape=tally.relative / tally.relative_rows if tally.relative_rows else None,
        bias=tally.error / tally.rows,
    )
