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

from featurelib.point_in_time.kernels import Ints
from featurelib.point_in_time.placement import HotEntity, Instants, Placement, micros_of, wanted_in

MOST_COPIES: Final = 3.0
"""To how many slices an event of a hot entity may go on average."""


class Stream(NamedTuple):
    """Columns of an input's rows: what says in which slices they are wanted, and their bytes in memory."""

    instants: Instants
    memory: int


class Sampled(NamedTuple):
    """Rows of one input.

    Attributes:
        rows: with the columns of the key and the instants.
        instants: what says in which slices a row is wanted.
        memory: bytes of the whole input in memory.
        reduced: the same of what goes to slices where tiles stand for most events; none where they cannot.
    """

    rows: pa.Table
    instants: Instants
    memory: int
    reduced: tuple[Stream, ...] = ()

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
        length: microseconds of one of its slices, the middle one by length; None where not known.
    """

    hot: HotEntity
    share: float | None = None
    copies: float | None = None
    sampled: int | None = None
    length: int | None = None


class Found(NamedTuple):
    """Hot entities, and which of the sources, by number, are to be reduced to tiles for their slices."""

    entities: tuple[Sliced, ...] = ()
    reduced: frozenset[int] = frozenset()


def found_in(
    spine: Sampled | None, sources: Sequence[Sampled], keys: Sequence[str], *, bucket: int, least: int
) -> Found:
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
    whole = list(_rows_of(entities, spine, sources, keys))
    target = max(bucket, least)
    lengths = [rows.length(rows.quantiles(math.ceil(rows.memory / target))) for rows in whole]
    reduced = frozenset(
        at
        for at, source in enumerate(sources)
        if any(is_worth_reducing(source.instants.reach, source.reduced, length) for length in lengths)
    )
    streams = [
        stream
        for at, source in enumerate(sources)
        for stream in (_streams(source) if at in reduced else [source])
    ]
    found = []
    for entity, rows, all_rows in zip(entities, _rows_of(entities, spine, streams, keys), whole, strict=True):
        cuts = rows.cuts(target)
        share = all_rows.memory / memory
        found.append(Sliced(HotEntity(entity, cuts), share, rows.copies(cuts), sampled, rows.length(cuts)))
    return Found(tuple(found), reduced)


def is_worth_reducing(reach: int | None, streams: Sequence[Stream], length: int | None) -> bool:
    """Whether events would go to more than one further slice, and those that cannot be reduced would not."""
    if not streams or length is None:
        return False
    rest = [stream.instants.reach for stream in streams if stream.instants.parts is None]
    return _is_long(reach, length) and not any(_is_long(one, length) for one in rest)


def _is_long(reach: int | None, length: int) -> bool:
    return reach is None or reach >= length


def _streams(source: Sampled) -> list[Sampled]:
    return [Sampled(source.rows, *stream) for stream in source.reduced]


def cut_evenly(
    entities: Sequence[tuple[Any, ...]], spine: Sampled, keys: Sequence[str], *, slices: int
) -> tuple[Sliced, ...]:
    """Return the entities, each cut into slices with about as many sampled rows of the spine."""
    found = []
    for entity, rows in zip(entities, _rows_of(entities, spine, (), keys), strict=True):
        cuts = rows.quantiles(slices)
        found.append(Sliced(HotEntity(entity, cuts), length=rows.length(cuts)))
    return tuple(found)


class _Events(NamedTuple):
    """Sampled events of one entity: instants, what says where they are wanted, bytes that each stands for."""

    seen: tuple[Ints, ...]
    instants: Instants
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
        while slices < needed and self._unbounded(self.quantiles(needed)) <= MOST_COPIES:
            slices = needed
            copied = self.event_memory * (self.copies(self.quantiles(slices)) - 1.0)
            needed = math.ceil((self.memory + copied) / bucket)
        while self._unbounded(self.quantiles(needed)) > MOST_COPIES:
            needed -= max(1, needed // 8)
        return self.quantiles(needed)

    def copies(self, cuts: tuple[int, ...]) -> float:
        """Return to how many slices an event goes on average."""
        return _copies(self.events, cuts)

    def _unbounded(self, cuts: tuple[int, ...]) -> float:
        """Return the same of the events that go to ever more slices, the finer these are."""
        return _copies([events for events in self.events if events.instants.parts is None], cuts)

    def length(self, cuts: tuple[int, ...]) -> int | None:
        """Return how long a slice is, the middle one by length; None for one slice."""
        if not cuts:
            return None
        ends = (int(self.moments.min()), *cuts, int(self.moments.max())) if len(self.moments) else cuts
        return int(np.median(np.diff(ends))) if len(ends) > 1 else None

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


def _copies(events: Sequence[_Events], cuts: tuple[int, ...]) -> float:
    memory = sum(len(one.seen[0]) * one.row_memory for one in events)
    copied = sum(len(wanted_in(one.seen, cuts, one.instants)[0]) * one.row_memory for one in events)
    return copied / memory if memory else 1.0


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
                _Events(instants, one.instants, one.row_memory)
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
