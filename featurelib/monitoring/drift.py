"""The population stability index of numeric columns, on bins frozen from the reference rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from featurelib.monitoring.bins import COUNTED, counted

BINS = 10


def reference_edges(reference: DataFrame, columns: Sequence[str]) -> dict[str, list[float]]:
    """Return the inner bin edges of each column: its deciles in the reference, each once."""
    quantiles = [part / BINS for part in range(1, BINS)]
    row = reference.select(
        *[
            F.percentile_approx(F.col(column).cast("double"), quantiles, 10_000).alias(column)
            for column in columns
        ]
    ).collect()[0]
    return {
        column: sorted({float(edge) for edge in row[column] or () if not math.isnan(edge)})
        for column in columns
    }


def bin_shares(rows: DataFrame, edges: Mapping[str, Sequence[float]]) -> dict[str, dict[int, float]]:
    """Return, for each column, the share of rows in each bin; bin -1 holds nulls and NaN."""
    # Ten bins of fifty columns are too much for one Spark expression; numpy counts them in one pass.
    counts = rows.select(*edges).mapInArrow(partial(counted, edges=dict(edges)), COUNTED)
    found: dict[str, dict[int, int]] = {column: {} for column in edges}
    for row in counts.groupBy("column", "bin").agg(F.sum("rows").alias("rows")).collect():
        found[row["column"]][row["bin"]] = row["rows"]
    return {
        column: {index: count / max(sum(bins.values()), 1) for index, count in bins.items()}
        for column, bins in found.items()
    }


def stability_index(reference: Mapping[int, float], current: Mapping[int, float], *, rows: int) -> float:
    """Return the population stability index: the sum over bins of ``(q - p) * ln(q / p)``.

    A bin that is empty on one side counts as half a row of ``rows``, so the index is finite. Below 0.1 is
    usually called stable, above 0.25 shifted (Siddiqi, "Credit Risk Scorecards", 2006).
    """
    least = 0.5 / max(rows, 1)
    pairs = [
        (max(reference.get(index, 0.0), least), max(current.get(index, 0.0), least))
        for index in reference.keys() | current.keys()
    ]
    return sum((now - then) * math.log(now / then) for then, now in pairs)
