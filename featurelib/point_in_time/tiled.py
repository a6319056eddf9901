"""Features from tiles: a window holds whole tiles, and single events where it begins and where it ends.

For a window ``w`` the moments that see all of a tile are one run of the entity's probes: from ``known_by``
on, while ``t - w`` is not later than the tile's start. An event's own run is cut by that of its tile into a
head (seen, but its tile not all known yet) and a tail (its tile partly too old). The three never overlap and
together are the event's run; so sums and counts over them are those over the events, to the bit.

Operations that look for one of the events (first, last, distinct, largest) read the events that tiles keep,
and all events of the tiles that some moment sees in part.

Runs inside Spark's Python workers: it imports pyarrow, numpy and polars only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from featurelib.point_in_time import exact_sums, moments
from featurelib.point_in_time.aggregates import divided, of_numbers
from featurelib.point_in_time.columns import Column
from featurelib.point_in_time.events import ints_of
from featurelib.point_in_time.features import EVENT_TS, KNOWN_TS, Feature
from featurelib.point_in_time.kernels import (
    Array,
    Bools,
    Events,
    Floats,
    Ints,
    Probes,
    Visible,
    WindowRuns,
    later,
    tile_of,
)
from featurelib.point_in_time.tiles import KNOWN_BY, START, State, kept_events


@dataclass(frozen=True)
class Tiling:
    """How tiles serve the features of one source.

    Attributes:
        tag: number of the tiles among the inputs.
        hop: microseconds of a tile.
        between: ``[first, last)`` of the moments asked about, in microseconds since 1970.
        reaches: delay and window of every feature that has a bounded one, in microseconds.
        delay: the longest delay of a feature.
        states: of each feature that is added up, by name; the others read kept events.
        events: the columns of the events that are read besides.
        tiles: the columns of the tiles.
    """

    tag: int
    hop: int
    between: tuple[int, int]
    reaches: tuple[tuple[int, int], ...]
    delay: int
    states: Mapping[str, State]
    events: pa.Schema
    tiles: pa.Schema

    def is_partial(self, first: Ints, last: Ints, known_by: Ints) -> Bools:
        """Whether some moment may see a part only of tiles with starts from ``first`` to ``last``."""
        asked_first, asked_last = self.between
        partial = np.maximum(later(later(last, self.hop), self.delay), known_by) > asked_first
        for delay, window in self.reaches:
            reach = min(delay + window, np.iinfo(np.int64).max)
            begins = later(first, reach) < asked_last - 1
            partial |= begins & (later(later(last, self.hop), reach) >= asked_first)
        return partial


def read_whole(table: pa.Table, tiling: Tiling) -> pa.Table:
    """Return the events of tiles that some moment sees in part."""
    event = ints_of(table.column(EVENT_TS))
    known = ints_of(table.column(KNOWN_TS)) if KNOWN_TS in table.column_names else event
    start, known_by = tile_of(event, known, tiling.hop)
    return table.filter(pa.array(tiling.is_partial(start, start, known_by)))


def kept_whole(tiles: pa.Table, tiling: Tiling, keys: Sequence[str]) -> pa.Table:
    """Return the kept events of tiles that every moment sees whole, or not at all."""
    start = ints_of(tiles.column(START))
    partial = tiling.is_partial(start, start, ints_of(tiles.column(KNOWN_BY)))
    return kept_events(tiles.filter(pa.array(~partial)), keys)


# --- sums over heads, tails and tiles -------------------------------------------------------------------


@dataclass(frozen=True)
class WeightedRuns(WindowRuns):
    """Runs that stand for several events each, or for none."""

    weight: Ints

    @cached_property
    def count(self) -> Ints:
        """Number of events each probe sees."""
        return self.total(self.weight)

    def only(self, chosen: Bools) -> WeightedRuns:
        """Return the runs of the chosen ones."""
        if chosen.all():
            return self
        return WeightedRuns(self.start[chosen], self.end[chosen], self.size, self.weight[chosen])


@dataclass(frozen=True)
class Tiles:
    """The tiles of the entities that something is asked about.

    Attributes:
        entity: number of the entity of each tile.
        start: microseconds since 1970 at which it begins.
        known_by: from then on all of it is known.
        states: the columns of its states.
    """

    entity: Ints
    start: Ints
    known_by: Ints
    states: pa.Table

    @classmethod
    def of(cls, table: pa.Table, number: Ints) -> Tiles:
        """Return the tiles of a table whose entity is not -1."""
        rows = np.flatnonzero(number >= 0)
        table = table.take(pa.array(rows))
        return cls(number[rows], ints_of(table.column(START)), ints_of(table.column(KNOWN_BY)), table)


class _Ends(NamedTuple):
    """What a window's runs follow from."""

    probes: Probes
    micros: int | None
    delay: int
    hop: int

    def whole(self, entity: Ints, start: Ints, known_by: Ints) -> tuple[Ints, Ints]:
        """Return the run of probes that see all of each tile; it may be empty."""
        before = np.maximum(later(later(start, self.hop), self.delay), known_by) - 1
        first = self.probes.first_after(entity, before)
        if self.micros is None:
            return first, self.probes.end_of(entity)
        leaves = later(later(start, self.delay), self.micros)
        return first, np.maximum(first, self.probes.first_after(entity, leaves))


@dataclass(frozen=True)
class _Pieces:
    """What one window of each probe holds: heads and tails of events, and whole tiles."""

    runs: WindowRuns
    event: Ints
    tile_start: Ints
    tile_end: Ints

    @classmethod
    def of(cls, visible: Visible, tiles: Tiles, micros: int | None, hop: int) -> _Pieces:
        probes = visible.probes
        ends = _Ends(probes, micros, visible.delay, hop)
        start, end = ends.whole(tiles.entity, tiles.start, tiles.known_by)
        own = tile_of(visible.events.event, visible.events.known, hop)
        whole_from, whole_to = ends.whole(visible.events.entity, *own)
        seen, gone = visible.start, visible.end(micros)
        is_cut = whole_from < whole_to
        head_end, tail_start = np.where(is_cut, whole_from, gone), np.where(is_cut, whole_to, gone)
        both = np.concatenate([np.arange(len(seen)), np.flatnonzero(is_cut)])
        first = np.concatenate([seen, tail_start[is_cut]])
        last = np.concatenate([head_end, gone[is_cut]])
        some = first < last
        return cls(WindowRuns(first[some], last[some], len(probes)), both[some], start, end)

    def weighted(self, weight: Ints, tile: Ints) -> WeightedRuns:
        """Return the runs of the pieces of events, then those of tiles, of which each counts ``weight``."""
        return WeightedRuns(
            np.concatenate([self.runs.start, self.tile_start[tile]]),
            np.concatenate([self.runs.end, self.tile_end[tile]]),
            self.runs.size,
            np.concatenate([np.ones(len(self.event), np.int64), weight]),
        )


@dataclass(frozen=True)
class Asked:
    """What is asked of events and tiles.

    Attributes:
        probes: the spine's questions.
        events: at least all events of tiles that some moment sees in part.
        values: the columns of the events.
        tiles: the tiles that some window may hold.
    """

    probes: Probes
    events: Events
    values: pa.Table
    tiles: Tiles


def added_up(asked: Asked, features: Sequence[Feature], tiling: Tiling) -> dict[str, pa.Array]:
    """Return the features whose states tiles hold, in probe order."""
    sights: dict[tuple[int, bool], Visible] = {}
    sums: dict[tuple[object, ...], _Sums] = {}
    columns = {}
    for feature in features:
        state = tiling.states[feature.name]
        sight = (feature.delay, feature.is_inclusive)
        if sight not in sights:
            sights[sight] = Visible.of(
                asked.probes, asked.events, delay=feature.delay, is_inclusive=feature.is_inclusive
            )
        for window in feature.windows:
            key = (*sight, state, window.micros)
            if key not in sums:
                sums[key] = _sums(asked, sights[sight], state, window.micros, tiling.hop)
        columns[feature.name] = _feature(
            [sums[*sight, state, window.micros] for window in feature.windows], feature
        )
    return columns


def _sums(asked: Asked, visible: Visible, state: State, micros: int | None, hop: int) -> _Sums:
    chosen = state.choice.of(asked.values)
    seen = visible.only(chosen)
    name = state.choice.input
    column = None
    if name is not None:
        column = Column(seen.events, asked.values.column(name).filter(pa.array(chosen)).combine_chunks())
    return _Sums(_Pieces.of(seen, asked.tiles, micros, hop), asked.tiles, state, column)


def _feature(sums: Sequence[_Sums], feature: Feature) -> pa.Array:
    if len(sums) == 1:
        return sums[0].of(feature.op, feature.type)
    is_whole = feature.op == "count" or (feature.op == "sum" and sums[0].is_whole)
    kind = pa.int64() if is_whole else pa.float64()
    return divided(*(one.of(feature.op, kind) for one in sums))


@dataclass(frozen=True)
class _Sums:
    """The answers of one window for one choice of events."""

    pieces: _Pieces
    tiles: Tiles
    state: State
    column: Column | None

    def of(self, op: str, kind: pa.DataType) -> pa.Array:
        """Return an operation, a value for each probe."""
        if op == "count":
            return pa.array(self.pieces.weighted(self._count, np.arange(len(self._count))).count, kind)
        if op in {"variance", "stddev"}:
            return self._variance(op, kind)
        if op == "mean" or (op == "sum" and not self.is_whole):
            return of_numbers(*self._sum, op, kind)
        part = "whole" if op == "sum" else op
        some = np.flatnonzero(self._count)
        runs = self.pieces.weighted(self._count[some], some)
        stored = self._state(part).take(pa.array(some)).to_numpy()
        numbers = self._numbers[self.pieces.event]
        wide = np.float64 if numbers.dtype.kind == "f" else np.int64
        return of_numbers(runs, np.concatenate([numbers.astype(wide), stored.astype(wide)]), op, kind)

    @property
    def is_whole(self) -> bool:
        """Whether the values are integers."""
        return "whole" in self.state.parts

    @property
    def _numbers(self) -> Array:
        if self.column is None:
            raise RuntimeError("an operation over values was planned without an input column")
        return self.column.numbers

    def _state(self, part: str) -> pa.ChunkedArray:
        return self.tiles.states.column(self.state.column(part))

    @cached_property
    def _count(self) -> Ints:
        return np.asarray(self._state("count").to_numpy(), dtype=np.int64)

    @cached_property
    def _sum(self) -> tuple[WeightedRuns, Floats]:
        """Runs of events and parts, and their doubles; the first finite part counts for all finite values."""
        owner, parts = self._parts("sum")
        finite = np.isfinite(parts)
        weight = np.where(finite, 0, 1)
        infinities = np.bincount(owner[~finite], minlength=len(self.tiles.entity))
        holders, first = np.unique(owner[finite], return_index=True)
        weight[np.flatnonzero(finite)[first]] = (self._count - infinities)[holders]
        doubles = self._numbers.astype(np.float64)[self.pieces.event]
        return self.pieces.weighted(weight, owner), np.concatenate([doubles, parts])

    def _parts(self, part: str) -> tuple[Ints, Floats]:
        lists = self._state(part).combine_chunks()
        lengths = pc.list_value_length(lists).fill_null(0).to_numpy()
        return np.repeat(np.arange(len(lengths)), lengths), lists.flatten().to_numpy()

    def _variance(self, op: str, kind: pa.DataType) -> pa.Array:
        runs, numbers = self._sum
        owner, parts = self._parts("squares")
        doubles = self._numbers.astype(np.float64)[self.pieces.event]
        finite = np.isfinite(doubles)
        high, low = exact_sums.squares(doubles[finite])
        start, end = self.pieces.runs.start[finite], self.pieces.runs.end[finite]
        squares = WindowRuns(
            np.concatenate([start, start, self.pieces.tile_start[owner]]),
            np.concatenate([end, end, self.pieces.tile_end[owner]]),
            runs.size,
        ).float_sum(np.concatenate([high, low, parts]))
        variance = moments.variance_of(runs, numbers, squares)
        result = np.sqrt(variance) if op == "stddev" else variance
        return pa.array(result, mask=runs.count < 2).cast(kind)
