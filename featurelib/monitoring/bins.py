"""Values are counted by bin, a batch at a time.

Runs inside Spark's Python workers: it imports pyarrow and numpy only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import numpy as np
import pyarrow as pa

COUNTED: Final = "column string, bin int, rows long"
"""Spark schema of the counts."""

NULL_BIN: Final = -1
"""The bin of nulls and NaN."""


def counted(
    batches: Iterable[pa.RecordBatch], edges: Mapping[str, Sequence[float]]
) -> Iterator[pa.RecordBatch]:
    """Yield, for each batch and column of doubles, the rows in each bin; bin ``i`` lies above ``i`` edges."""
    for batch in batches:
        columns: list[str] = []
        bins: list[int] = []
        rows: list[int] = []
        for name, inner in edges.items():
            column = batch.column(name).cast(pa.float64()).fill_null(np.nan)
            values = column.to_numpy(zero_copy_only=False)
            above = np.searchsorted(np.asarray(inner), values, side="left")
            place = np.where(np.isnan(values), NULL_BIN, above)
            found, counts = np.unique(place, return_counts=True)
            columns += [name] * len(found)
            bins += found.tolist()
            rows += counts.tolist()
        yield pa.record_batch(
            [pa.array(columns, pa.string()), pa.array(bins, pa.int32()), pa.array(rows, pa.int64())],
            names=["column", "bin", "rows"],
        )
