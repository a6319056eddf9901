"""Hot entities: those with so many rows that one bucket would be too large, or work long after the others.

They are found in samples of the keys, and their moments are cut where the sample says that each slice has as
much to do. This chooses buckets, never an answer.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, repeat
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from featurelib.point_in_time.placement import HotEntity, Instants, Ints, Placement, micros_of, slices_of

MOST_COPIES: Final = 3.0
"""To how many slices an event of a hot entity may go on average."""


class Sampled(NamedTuple):
    """Rows of one input.

    Attributes:
        rows: with the columns of the key and the instants.
        instants: what says in which slices a row is wanted.
        memory: bytes of the whole input in memory.
    """

    rows: pa.Table
    instants: Instants
    memory: int

    @property
    def row_memory(self) -> float:
        """Bytes that each row stands for."""
        return self.memory / max(int(self.rows.num_rows), 1)


@dataclass(frozen=True)
class Sliced:
    """A hot entity and its slices.

    Attributes:
        hot: the entity and where its moments are cut.
        share: of the memory of all rows of the shuffle, None where not known.
        copies: to how many of its slices an event goes on average, None where not known.
        sampled: rows in which it was found, None where it was named by the caller.
    """

    hot: HotEntity
    share: float | None = None
    copies: float | None = None
    sampled: int | None = None


def found_in(
    spine: Sampled | None, sources: Sequence[Sampled], keys: Sequence[str], *, bucket: int, least: int
) -> tuple[Sliced, ...]:
    """Return the entities with more than half of an even bucket, those with most rows first.

    Args:
        spine: of the rows that ask, None where there is no sample.
        sources: of the events.
        keys: the columns of the key.
        bucket: bytes of an even bucket.
        least: bytes below which an entity is never hot.
    """
    inputs = [*([spine] if spine else []), *sources]
    memory = sum(one.memory for one in inputs)
    counted = pl.concat(
        [
            pl.DataFrame(pl.from_arrow(one.rows.select(list(keys))))
            .group_by(keys)
            .agg((pl.len() * one.row_memory).alias("__memory"))
            for one in inputs
        ]
    )
    heavy = (
        counted.group_by(keys)
        .agg(pl.col("__memory").sum())
        .filter(pl.col("__memory") > max(bucket / 2, least))
        .sort("__memory", *keys, descending=[True, *[False] * len(keys)])
    )
    sampled = sum(one.rows.num_rows for one in inputs)
    entities = [tuple(row.values()) for row in heavy.select(list(keys)).to_arrow().to_pylist()]
    found = []
    for entity, rows in zip(entities, _rows_of(entities, spine, sources, keys), strict=True):
        cuts = rows.cuts(max(bucket, least))
        found.append(Sliced(HotEntity(entity, cuts), rows.memory / memory, rows.copies(cuts), sampled))
    return tuple(found)


def cut_evenly(
    entities: Sequence[tuple[Any, ...]], spine: Sampled, keys: Sequence[str], *, slices: int
) -> tuple[HotEntity, ...]:
    """Return the entities, each cut into slices with about as many sampled rows of the spine."""
    rows = _rows_of(entities, spine, (), keys)
    return tuple(HotEntity(entity, its.quantiles(slices)) for entity, its in zip(entities, rows, strict=True))


class _Events(NamedTuple):
    """Sampled events of one entity: their instants, how long they are wanted, bytes each stands for."""

    seen: tuple[Ints, ...]
    reach: int | None
    row_memory: float


@dataclass(frozen=True)
class _Rows:
    """What the samples hold of one entity: the moments asked about, bytes each stands for, and events."""

    moments: Ints
    moment_memory: float
    events: tuple[_Events, ...]

    @property
    def event_memory(self) -> float:
        return sum(len(events.seen[0]) * events.row_memory for events in self.events)

    @property
    def memory(self) -> float:
        return len(self.moments) * self.moment_memory + self.event_memory

    def cuts(self, bucket: int) -> tuple[int, ...]:
        """Return cuts by which a slice fits a bucket, or the most that copy events no more than allowed."""
        slices, needed = 0, math.ceil(self.memory / bucket)
        while slices < needed and self.copies(self.quantiles(needed)) <= MOST_COPIES:
            slices = needed
            copied = self.event_memory * (self.copies(self.quantiles(slices)) - 1.0)
            needed = math.ceil((self.memory + copied) / bucket)
        while self.copies(self.quantiles(needed)) > MOST_COPIES:
            needed -= max(1, needed // 8)
        return self.quantiles(needed)

    def copies(self, cuts: tuple[int, ...]) -> float:
        """Return to how many slices an event goes on average."""
        memory = self.event_memory
        return sum(self._copied(cuts)) / memory if memory else 1.0

    def _copied(self, cuts: tuple[int, ...]) -> Iterator[float]:
        for events in self.events:
            first, last = slices_of(events.seen, cuts, events.reach)
            yield float(np.maximum(last - first + 1, 0).sum()) * events.row_memory

    def quantiles(self, slices: int) -> tuple[int, ...]:
        """Return cuts that give every slice about as many bytes of moments, and of events between these."""
        instants, weights = [self.moments], [np.full(len(self.moments), self.moment_memory)]
        for events in self.events:
            seen = events.seen[0]
            if len(self.moments):
                seen = seen[(seen > self.moments.min()) & (seen < self.moments.max())]
            instants.append(seen)
            weights.append(np.full(len(seen), events.row_memory))
        return _weighted_quantiles(np.concatenate(instants), np.concatenate(weights), slices)


def _weighted_quantiles(instants: Ints, weights: npt.NDArray[np.float64], slices: int) -> tuple[int, ...]:
    """Return the instants that cut the weight into equal parts; fewer where many instants are equal."""
    if len(instants) == 0:
        return ()
    order = np.argsort(instants, kind="stable")
    upto = np.cumsum(weights[order])
    places = np.searchsorted(upto, upto[-1] * np.arange(1, slices) / slices, side="left")
    cuts = np.unique(instants[order][np.minimum(places, len(order) - 1)])
    return tuple(cuts[cuts > instants.min()].tolist())


def _rows_of(
    entities: Sequence[tuple[Any, ...]],
    spine: Sampled | None,
    sources: Sequence[Sampled],
    keys: Sequence[str],
) -> Iterator[_Rows]:
    """Yield the rows of each entity."""
    placement = Placement(tuple(keys), 1, tuple(map(HotEntity, entities)))
    asked = _instants_of(spine, placement) if spine else repeat((np.zeros(0, np.int64),), len(entities))
    seen = [_instants_of(one, placement) for one in sources]
    for moments, *events in zip(asked, *seen, strict=True):
        yield _Rows(
            moments[0],
            spine.row_memory if spine else 0.0,
            tuple(
                _Events(instants, one.instants.reach, one.row_memory)
                for instants, one in zip(events, sources, strict=True)
            ),
        )


def _instants_of(sampled: Sampled, placement: Placement) -> Iterator[tuple[Ints, ...]]:
    """Yield the instants of each hot entity's rows, column by column."""
    number = placement.number(sampled.rows)
    order = np.argsort(number, kind="stable")
    columns = [micros_of(sampled.rows.column(name))[order] for name in sampled.instants.seen]
    ends = np.searchsorted(number[order], np.arange(-1, len(placement.hot)), side="right")
    for start, end in pairwise(ends):
        yield tuple(column[start:end] for column in columns)
