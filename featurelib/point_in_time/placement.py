"""Which bucket a row goes to: by the hash of its key, and for hot entities by time as well.

A hot entity's moments are cut into time slices, a bucket each. An event goes to every slice with a moment
that can see it: from the one in which it is first seen to the one in which it leaves the longest window. So a
slice has all it needs, and its features are to the bit those of the whole. Where tiles stand for the events
between, it goes only to the slices that may see a part of its tile.

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

from featurelib.point_in_time.kernels import Bools, Ints, later, tile_of

_SEED: Final = 42
_NUMBER: Final = "__hot"
_EARLIEST: Final = int(np.iinfo(np.int64).min)
_LATEST: Final = int(np.iinfo(np.int64).max)


class Parts(NamedTuple):
    """An event is wanted where its tile is not whole: not all known yet, or cut by a window's beginning.

    Attributes:
        hop: microseconds of a tile.
        delay: the longest of the features' delays.
        reaches: delay and length together of each bounded window, in microseconds.
    """

    hop: int
    delay: int
    reaches: tuple[int, ...]


class Instants(NamedTuple):
    """The columns that say in which slices a row is wanted.

    Attributes:
        seen: the row is wanted from the latest of these columns on.
        reach: microseconds after ``seen[0]`` up to which it is wanted, None for ever. A row of the spine is
            wanted at its moment only, which is a reach of 0.
        parts: where tiles are in the slices too, ``seen`` being the event's instants.
    """

    seen: tuple[str, ...]
    reach: int | None
    parts: Parts | None = None


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
        until: no moment is asked about from this one on, in microseconds since 1970.
    """

    keys: tuple[str, ...]
    buckets: int
    hot: tuple[HotEntity, ...] = ()
    until: int = _LATEST

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
        at, wanted = self._wanted(table.filter(pa.array(is_hot)), number[is_hot], instants)
        return (
            np.concatenate([rows[~is_hot], rows[is_hot][at]]),
            np.concatenate([bucket[~is_hot], wanted]),
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

    def is_sliced(self, table: pa.Table) -> Bools:
        """Whether each row is of an entity with several slices."""
        several = np.array([*(entity.slices > 1 for entity in self.hot), False])
        return several[self.number(table)] if several.any() else np.zeros(table.num_rows, dtype=bool)

    def between(self, bucket: int) -> tuple[int, int] | None:
        """Return ``[first, last)`` of the moments of a slice, None for a bucket that is none of several."""
        begins = self._begins
        which = int(np.searchsorted(begins, bucket, side="right")) - 1
        if which < 0 or not self.hot[which].cuts:
            return None
        ends = (_EARLIEST, *self.hot[which].cuts, max(self.until, self.hot[which].cuts[-1]))
        slice_ = bucket - begins[which]
        return ends[slice_], ends[slice_ + 1]

    @property
    def _begins(self) -> list[int]:
        """The first bucket of each hot entity."""
        return [int(begin) for begin in np.cumsum([self.buckets, *(one.slices for one in self.hot)])[:-1]]

    def _wanted(self, table: pa.Table, number: Ints, instants: Instants) -> tuple[Ints, Ints]:
        """Return rows of hot entities and the bucket of each."""
        columns = [micros_of(table.column(name)) for name in instants.seen]
        begins = self._begins
        rows, buckets = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for which in np.unique(number).tolist():
            theirs = np.flatnonzero(number == which)
            at, slices = wanted_in(
                [column[theirs] for column in columns], self.hot[which].cuts, instants, until=self.until
            )
            rows.append(theirs[at])
            buckets.append(begins[which] + slices)
        at = np.concatenate(rows)
        order = np.argsort(at, kind="stable")
        return at[order], np.concatenate(buckets)[order]


def wanted_in(
    seen: Sequence[Ints], cuts: Sequence[int], instants: Instants, *, until: int = _LATEST
) -> tuple[Ints, Ints]:
    """Return rows and the slices in which each is wanted, every pair once.

    Args:
        seen: the columns ``instants.seen`` in microseconds since 1970.
        cuts: where the next slice begins, ascending.
        instants: what says when rows are wanted.
        until: no moment is asked about from this one on.
    """
    if instants.parts is None:
        return _expanded(*slices_of(seen, cuts, instants.reach))
    hop, delay, reaches = instants.parts
    # What is wanted after the last moment only is wanted in a slice behind the last, which does not exist.
    ends = (*cuts, max(until, cuts[-1])) if cuts else (until,)
    start, known_by = tile_of(seen[0], np.maximum.reduce(list(seen)), hop)
    first, _ = slices_of(seen, ends, 0)
    known = np.maximum(later(later(start, hop), delay), known_by)
    ranges = [(first, _slice_at(known, ends))]
    for reach in reaches:
        leaves = later(start, reach)
        ranges.append((np.maximum(first, _slice_at(leaves, ends)), _slice_at(later(leaves, hop), ends)))
    pairs = [_expanded(*each) for each in ranges]
    slices = len(ends)
    both = np.unique(np.concatenate([rows[at < slices] * slices + at[at < slices] for rows, at in pairs]))
    return both // slices, both % slices


def slices_of(seen: Sequence[Ints], cuts: Sequence[int], reach: int | None) -> tuple[Ints, Ints]:
    """Return the first and the last slice in which each row is wanted; the last may lie before the first.

    Args:
        seen: microseconds since 1970 in columns; a row is wanted from the latest of its instants on.
        cuts: where the next slice begins, ascending.
        reach: microseconds after ``seen[0]`` up to which it is wanted, None for ever.
    """
    first = _slice_at(np.maximum.reduce(list(seen)), cuts)
    return first, np.full_like(first, len(cuts)) if reach is None else _slice_at(later(seen[0], reach), cuts)


def _slice_at(moment: Ints, cuts: Sequence[int]) -> Ints:
    return _ints(np.searchsorted(np.array(cuts, np.int64), moment, side="right"))


def _expanded(first: Ints, last: Ints) -> tuple[Ints, Ints]:
    """Return every row as often as it has slices from the first to the last, and these."""
    times = np.maximum(last - first + 1, 0)
    ends = np.cumsum(times)
    offset = np.arange(int(times.sum())) - np.repeat(ends - times, times)
    return np.repeat(np.arange(len(first)), times), np.repeat(first, times) + offset


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
