"""The events of a hot entity become tiles on their way to its time slices, where they would go to many.

A lifetime reaches from the last slice back to the first event. So that no slice need hold them all, the task
that packs a source adds up what it reads of such an entity to tiles: every slice gets the tiles that its
moments can see, and single events only of those tiles that they may see a part of. From these its features
follow to the bit (see :mod:`featurelib.point_in_time.tiled`). Features that no few numbers answer (quantiles,
distinct values) still read their events, in a stream of their own.

Runs inside Spark's Python workers: it imports pyarrow, numpy and polars only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from featurelib.point_in_time import blobs
from featurelib.point_in_time.features import KeyTask, SourceTask
from featurelib.point_in_time.placement import Instants, Placement
from featurelib.point_in_time.tiled import Tiling
from featurelib.point_in_time.tiles import KNOWN_BY, START, TileTask, tiles_of


@dataclass(frozen=True)
class Rest:
    """The features of a source that tiles do not serve, their columns, and when their events are wanted."""

    task: SourceTask
    columns: tuple[str, ...]
    instants: Instants


@dataclass(frozen=True)
class Reduction:
    """How the events of sliced entities of one source travel.

    Attributes:
        tiles: what is kept of them.
        tiling: how the tiles serve features; ``between`` is that of the slice in which they do.
        served: the features, by the tag of the source.
        parts: in which slices single events are wanted.
        rest: what needs the events besides, None for nothing.
    """

    tiles: TileTask
    tiling: Tiling
    served: SourceTask
    parts: Instants
    rest: Rest | None

    def packed(self, table: pa.Table, placement: Placement, instants: Instants) -> Iterator[pa.RecordBatch]:
        """Yield blobs of a chunk of the source: whole where entities are in one bucket, reduced elsewhere."""
        sliced = pa.array(placement.is_sliced(table))
        whole, hot = table.filter(pa.compute.invert(sliced)), table.filter(sliced)
        yield from blobs.packed(whole, placement=placement, instants=instants, tag=self.served.tag)
        if hot.num_rows == 0:
            return
        yield from blobs.packed(hot, placement=placement, instants=self.parts, tag=self.served.tag)
        until = Instants((START, KNOWN_BY), self.parts.reach)
        tiles = tiles_of(hot, self.tiles)
        yield from blobs.packed(tiles, placement=placement, instants=until, tag=self.tiling.tag)
        if self.rest is not None:
            rows = hot.select(list(self.rest.columns))
            yield from blobs.packed(
                rows, placement=placement, instants=self.rest.instants, tag=self.rest.task.tag
            )

    def tasks(self, between: tuple[int, int]) -> Iterator[SourceTask]:
        """Yield what a slice computes of the source."""
        yield replace(self.served, tiling=replace(self.tiling, between=between))
        if self.rest is not None:
            yield self.rest.task


@dataclass(frozen=True)
class Tasks:
    """What each bucket of a key computes.

    Attributes:
        whole: of a bucket to which every event came as it is.
        placement: of the key.
        reductions: of the sources whose events were reduced for slices.
    """

    whole: KeyTask
    placement: Placement
    reductions: Sequence[Reduction] = ()

    def of(self, bucket: int) -> KeyTask:
        """Return the task of a bucket."""
        between = self.placement.between(bucket) if self.reductions else None
        if between is None:
            return self.whole
        reduced = {reduction.served.tag: reduction for reduction in self.reductions}
        sources: list[SourceTask] = []
        for source in self.whole.sources:
            sources += reduced[source.tag].tasks(between) if source.tag in reduced else [source]
        return replace(self.whole, sources=tuple(sources))
