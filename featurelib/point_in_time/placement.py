"""Which bucket a row goes to: by the hash of its key, and for hot entities by time as well.

A hot entity's moments are cut into time slices, a bucket each. An event goes to every slice with a moment
that can see it: from the one in which it is first seen to the one in which it leaves the longest window. So a
slice has all it needs, and its features are to the bit those of the whole.

The buckets of a row follow from its content alone, never from its place among others: where Spark repeats a
task, its rows may come in another order, and no row may then be found in two buckets or in none.

Runs inside Spark's Python workers: it imports pyarrow, numpy and polars only.
"""

from __future__ import annotations

from collections.abc import Sequence
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
class HotEntity:
    """An entity with buckets of its own.

    Attributes:
        entity: a value for every column of the key.
        cuts: microseconds since 1970 at which its next time slice begins, ascending; none for one slice.
    """

    entity: tuple[Any, ...]
    cuts: tuple[int, ...] = ()

    @property
    def slices(self) -> int:
        """Number of its buckets."""
        return len(self.cuts) + 1


@dataclass(frozen=True)
class Placement:
    """The buckets of one entity key.

    Attributes:
        keys: the columns of the key.
        buckets: number of buckets that keys are hashed to.
        hot: the entities that are not hashed, each with its time slices.
    """

    keys: tuple[str, ...]
    buckets: int
    hot: tuple[HotEntity, ...] = ()

    @property
    def count(self) -> int:
        """Number of all buckets: those of the hash, then the slices of each hot entity."""
        return self.buckets + sum(entity.slices for entity in self.hot)

    def of(self, table: pa.Table, instants: Instants) -> tuple[Ints, Ints]:
        """Return rows of the table and the bucket of each; an event of a hot entity may have several."""
        keys = pl.DataFrame(pl.from_arrow(table.select(list(self.keys))))
        bucket = _hashed(keys, table, self.buckets)
        rows = np.arange(table.num_rows)
        if not self.hot:
            return rows, bucket
        number = self.number(table)
        is_hot = number >= 0
        if not is_hot.any():
            return rows, bucket
        first, last = self._buckets_of(table.filter(pa.array(is_hot)), number[is_hot], instants)
        times = np.maximum(last - first + 1, 0)
        ends = np.cumsum(times)
        offset = np.arange(ends[-1]) - np.repeat(ends - times, times)
        return (
            np.concatenate([rows[~is_hot], np.repeat(rows[is_hot], times)]),
            np.concatenate([bucket[~is_hot], np.repeat(first, times) + offset]),
        )

    def number(self, table: pa.Table) -> Ints:
        """Return which hot entity each row is of, -1 for none."""
        keys = pl.DataFrame(pl.from_arrow(table.select(list(self.keys))))
        columns = {
            name: pa.array([hot.entity[at] for hot in self.hot], table.schema.field(name).type)
            for at, name in enumerate(self.keys)
        }
        hot = pl.DataFrame(pl.from_arrow(pa.table(columns))).with_row_index(_NUMBER)
        found = keys.join(hot, on=list(self.keys), how="left", maintain_order="left")
        return found[_NUMBER].cast(pl.Int64).fill_null(-1).to_numpy()

    def _buckets_of(self, table: pa.Table, number: Ints, instants: Instants) -> tuple[Ints, Ints]:
        """Return the first and the last bucket of each row of a hot entity."""
        columns = [micros_of(table.column(name)) for name in instants.seen]
        begins = np.cumsum([self.buckets, *(entity.slices for entity in self.hot)])
        first, last = np.empty_like(number), np.empty_like(number)
        for which in np.unique(number).tolist():
            theirs = np.flatnonzero(number == which)
            slices = slices_of([column[theirs] for column in columns], self.hot[which].cuts, instants.reach)
            first[theirs], last[theirs] = (begins[which] + slice_ for slice_ in slices)
        return first, last


def slices_of(seen: Sequence[Ints], cuts: Sequence[int], reach: int | None) -> tuple[Ints, Ints]:
    """Return the first and the last slice in which each row is wanted; the last may lie before the first.

    Args:
        seen: microseconds since 1970 in columns; a row is wanted from the latest of its instants on.
        cuts: where the next slice begins, ascending.
        reach: microseconds after ``seen[0]`` up to which it is wanted, None for ever.
    """
    places = np.array(cuts, np.int64)
    shown: Ints = np.maximum.reduce(list(seen))
    first = _ints(np.searchsorted(places, shown, side="right"))
    if reach is None:
        return first, np.full_like(first, len(places))
    until = np.where(seen[0] > _LATEST - reach, _LATEST, seen[0] + reach)
    return first, _ints(np.searchsorted(places, until, side="right"))


def even_cuts(first: int, last: int, slices: int) -> tuple[int, ...]:
    """Return the cuts of ``[first, last)`` into that many slices of one length."""
    return tuple(first + (last - first) * number // slices for number in range(1, slices))


def micros_of(column: pa.ChunkedArray) -> Ints:
    """Return instants as microseconds since 1970, null as 0."""
    return _ints(pc.fill_null(column.cast(pa.int64()), 0).to_numpy())


def _hashed(keys: pl.DataFrame, table: pa.Table, buckets: int) -> Ints:
    """Return a bucket by the hash of the key, the same for every scan and worker.

    Rows with a null in their key match nothing; they are spread by the hash of the whole row, so that they
    flood no bucket.
    """
    hashed = _hash(keys)
    has_null = keys.select(pl.any_horizontal(pl.all().is_null())).to_series().to_numpy()
    if has_null.any():
        plain = [field.name for field in table.schema if not pa.types.is_nested(field.type)]
        hashed[has_null] = _hash(pl.DataFrame(pl.from_arrow(table.select(plain).filter(pa.array(has_null)))))
    return (hashed % np.uint64(buckets)).astype(np.int64)


def _hash(rows: pl.DataFrame) -> npt.NDArray[np.uint64]:
    return np.array(rows.hash_rows(seed=_SEED).to_numpy(), np.uint64)


def _ints(numbers: npt.NDArray[np.integer[Any]]) -> Ints:
    return numbers.astype(np.int64, copy=False)
