"""The population stability index of numeric columns, on bins frozen from reference rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from featurelib.monitoring.bins import COUNTED, counted

BINS = 10

Counts = dict[int, int]
"""Rows by bin; bin ``i`` lies above ``i`` edges, bin -1 holds nulls and NaN."""


@dataclass(frozen=True)
class Binned:
    """The reference of one column: its inner bin edges, ascending, and the rows in each bin."""

    edges: tuple[float, ...]
    rows: Counts


def reference_bins(sample: pa.Table, columns: Sequence[str]) -> dict[str, Binned]:
    """Return the reference of each numeric column of a sample: bins between its deciles, each edge once."""
    doubles = sample.select(list(columns)).cast(pa.schema([(name, pa.float64()) for name in columns]))
    edges = {name: _deciles(doubles.column(name)) for name in columns}
    found = _empty(columns)
    for batch in counted(doubles.combine_chunks().to_batches(), edges):
        for name, index, rows in zip(*batch.to_pydict().values(), strict=True):
            found[name][index] = rows
    return {name: Binned(edges[name], found[name]) for name in columns}


def bin_counts(rows: DataFrame, edges: Mapping[str, Sequence[float]]) -> dict[str, Counts]:
    """Return, for each column, the rows in each bin, by one Spark query."""
    # Ten bins of fifty columns are too much for one Spark expression; numpy counts them in one pass.
    counts = rows.select(*edges).mapInArrow(partial(counted, edges=dict(edges)), COUNTED)
    found = _empty(edges)
    for row in counts.groupBy("column", "bin").agg(F.sum("rows").alias("rows")).collect():
        found[row["column"]][row["bin"]] = row["rows"]
    return found


def stability_index(reference: Counts, current: Counts) -> float:
    """Return the population stability index: the sum over bins of ``(q - p) * ln(q / p)``.

    A bin that is empty on one side counts as half a current row, so the index is finite. Below 0.1 is
    usually called stable, above 0.25 shifted (Siddiqi, "Credit Risk Scorecards", 2006).
    """
    then, now = max(sum(reference.values()), 1), max(sum(current.values()), 1)
    pairs = [
        (max(reference.get(index, 0) / then, 0.5 / now), max(current.get(index, 0) / now, 0.5 / now))
        for index in reference.keys() | current.keys()
    ]
    return sum((share - before) * math.log(share / before) for before, share in pairs)


def _deciles(column: pa.ChunkedArray) -> tuple[float, ...]:
    values = column.drop_null().to_numpy()
    values = values[~np.isnan(values)]
    if not len(values):
        return ()
    parts = np.arange(1, BINS) / BINS
    return tuple(float(edge) for edge in np.unique(np.quantile(values, parts, method="inverted_cdf")))


def _empty(columns: Sequence[str] | Mapping[str, object]) -> dict[str, Counts]:
    return {name: {} for name in columns}
