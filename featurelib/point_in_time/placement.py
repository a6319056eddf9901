"""Which bucket a row goes to: by the hash of its key, and for hot entities by time as well.

A hot entity's moments are cut into time slices, a bucket each. An event goes to every slice with a moment
that can see it: from the one in which it is first seen to the one in which it leaves the longest window. So a
slice has all it needs, and its features are to the bit those of the whole.

Runs inside Spark's Python workers: it imports pyarrow, numpy and polars only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

Ints = npt.NDArray[np.int64]

_SEED: Final = 42
_NUMBER: Final = "__hot"
_LATEST: Final = np.iinfo(np.int64).max


class Instants(NamedTuple):
    """The columns that say in which slices a row is wanted.

    Attributes:
        seen: the row is wanted from the latest of these columns on.
        reach: microseconds after ``seen[0]`` up to which it is wanted, None for ever. A row of the spine is
            wanted at its moment only, which is a reach of 0.
    """

    seen: tuple[str, ...]
    reach: int | None


@dataclass(frozen=True)
class Placement:
    """The buckets of one entity key.

    Attributes:
        keys: the columns of the key.
        buckets: number of buckets that keys are hashed to.
        hot: the hot entities, each a value for every column of the key.
        cuts: microseconds since 1970 at which the next slice begins, ascending.
    """

    keys: tuple[str, ...]
    buckets: int
    hot: tuple[tuple[Any, ...], ...] = ()
    cuts: tuple[int, ...] = ()

    @property
    def count(self) -> int:
        """Number of all buckets: those of the hash, then the slices of each hot entity."""
        return self.buckets + len(self.hot) * (len(self.cuts) + 1)

    def of(self, table: pa.Table, instants: Instants) -> tuple[Ints, Ints]:
        """Return rows of the table and the bucket of each; a hot entity's event may stand there twice."""
        keys = pl.DataFrame(pl.from_arrow(table.select(list(self.keys))))
        bucket = _hashed(keys, self.buckets)
        rows = np.arange(table.num_rows)
        if not self.hot:
            return rows, bucket
        number = self._number(keys, table.schema)
        is_hot = number >= 0
        if not is_hot.any():
            return rows, bucket
        first, last = self._slices(table.filter(pa.array(is_hot)), instants)
        times = np.maximum(last - first + 1, 0)
        ends = np.cumsum(times)
        offset = np.arange(ends[-1]) - np.repeat(ends - times, times)
        sliced = np.repeat(number[is_hot] * (len(self.cuts) + 1) + first, times) + offset
        return (
            np.concatenate([rows[~is_hot], np.repeat(rows[is_hot], times)]),
            np.concatenate([bucket[~is_hot], self.buckets + sliced]),
        )

    def _number(self, keys: pl.DataFrame, schema: pa.Schema) -> Ints:
        """Return which hot entity each row is of, -1 for none."""
        columns = {
            name: pa.array([entity[at] for entity in self.hot], schema.field(name).type)
            for at, name in enumerate(self.keys)
        }
        hot = pl.DataFrame(pl.from_arrow(pa.table(columns))).with_row_index(_NUMBER)
        found = keys.join(hot, on=list(self.keys), how="left", maintain_order="left")
        return found[_NUMBER].cast(pl.Int64).fill_null(-1).to_numpy()

    def _slices(self, table: pa.Table, instants: Instants) -> tuple[Ints, Ints]:
        """Return the first and the last slice in which each row is wanted; one without an instant in one."""
        columns = [_micros(table.column(name)) for name in instants.seen]
        cuts = np.array(self.cuts, np.int64)
        seen: Ints = np.maximum.reduce(columns)
        first = _ints(np.searchsorted(cuts, seen, side="right"))
        if instants.reach is None:
            return first, np.full_like(first, len(cuts))
        start = columns[0]
        until = np.where(start > _LATEST - instants.reach, _LATEST, start + instants.reach)
        return first, _ints(np.searchsorted(cuts, until, side="right"))


def even_cuts(first: int, last: int, slices: int) -> tuple[int, ...]:
    """Return the cuts of ``[first, last)`` into that many slices of one length."""
    return tuple(first + (last - first) * number // slices for number in range(1, slices))


def _hashed(keys: pl.DataFrame, buckets: int) -> Ints:
    """Return a bucket by the hash of the key, the same for every scan and worker.

    Rows with a null in their key match nothing; they are dealt out evenly so that they flood no bucket.
    """
    hashed = (keys.hash_rows(seed=_SEED).to_numpy() % np.uint64(buckets)).astype(np.int64)
    has_null = keys.select(pl.any_horizontal(pl.all().is_null())).to_series().to_numpy()
    if has_null.any():
        hashed[has_null] = np.arange(has_null.sum()) % buckets
    return hashed


def _micros(column: pa.ChunkedArray) -> Ints:
    return _ints(pc.fill_null(column.cast(pa.int64()), 0).to_numpy())


def _ints(numbers: npt.NDArray[np.integer[Any]]) -> Ints:
    return numbers.astype(np.int64, copy=False)
