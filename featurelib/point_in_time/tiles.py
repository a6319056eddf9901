"""Tiles: what is kept of an entity's events of one hop of time, so that windows need not read them again.

A tile holds the events of an entity that happened in one hop ``[start, start + hop)`` and were all known
by ``known_by``, the end of the hop in which the last of their two instants lies. So every event is in exactly
one tile, an event that comes late is in a tile of its own, and a question asked at ``known_by`` or later sees
all of a tile or nothing of it, but for the one hop in which its window begins.

Of a tile are kept: exact states of counts, sums and squares (doubles that add up to the exact sum), extremes,
those few events that can be the first, last, largest or a distinct one of the tile, and samples.

Runs inside Spark's Python workers: it imports pyarrow, numpy and polars only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from featurelib.point_in_time import exact_sums, moments, sampling
from featurelib.point_in_time.blobs import taken
from featurelib.point_in_time.columns import Column, is_valid, present
from featurelib.point_in_time.events import events_of, ints_of
from featurelib.point_in_time.features import EVENT_TS, KNOWN_TS
from featurelib.point_in_time.kernels import Array, Bools, Events, Floats, Ints, WindowRuns, tile_of

START: Final = "_tile_start"
KNOWN_BY: Final = "_tile_known_by"
KEPT: Final = "_tile_kept"
_GROUP: Final = "__tile"
INSTANT: Final = pa.timestamp("us", tz="UTC")


class Choice(NamedTuple):
    """Which events count.

    Attributes:
        input: column whose nulls and NaN do not count, None for whole rows.
        where: boolean column, true for the events that count.
        by: column that splits the events.
        by_value: text of the one value of ``by`` that counts.
    """

    input: str | None
    where: str | None = None
    by: str | None = None
    by_value: str | None = None

    def of(self, values: pa.Table) -> Bools:
        """Return which rows count."""
        chosen = np.ones(values.num_rows, dtype=bool)
        if self.where is not None:
            chosen &= bools(values.column(self.where))
        if self.input is not None:
            chosen &= present(values.column(self.input))
        if self.by is not None:
            chosen &= bools(pc.equal(values.column(self.by).cast(pa.string()), self.by_value))
        return chosen


class State(NamedTuple):
    """What is added up over the events of a tile.

    Attributes:
        name: how the names of its columns begin.
        choice: the events that count.
        parts: of ``count``, ``whole`` (sum of integers), ``sum``, ``squares``, ``min``, ``max``.
    """

    name: str
    choice: Choice
    parts: tuple[str, ...]

    def column(self, part: str) -> str:
        """Return the column of a part."""
        return f"{self.name}__{part}"


class Kept(NamedTuple):
    """Events of a tile that are kept as they are.

    Attributes:
        choice: the events that count.
        end: which of them: ``first``, ``last`` by time, ``top``, ``bottom`` by value, ``distinct`` values, or
            a sample of these (``some_distinct``) or of the events (``some``).
        k: how many; of a sample, how many it has at least.
    """

    choice: Choice
    end: str
    k: int = 1


@dataclass(frozen=True)
class TileTask:
    """What to keep of the events of one source for one entity key.

    Attributes:
        keys: the columns of the key.
        hop: microseconds of a tile.
        order: columns that order events equal in both instants.
        states: what is added up.
        kept: the events that are kept.
        columns: of kept events, instants apart.
    """

    keys: tuple[str, ...]
    hop: int
    order: tuple[str, ...]
    states: tuple[State, ...]
    kept: tuple[Kept, ...]
    columns: tuple[str, ...]

    @property
    def needed(self) -> tuple[str, ...]:
        """The columns of events that it looks at, instants apart."""
        choices = [*(state.choice for state in self.states), *(kept.choice for kept in self.kept)]
        chosen = (name for choice in choices for name in (choice.input, choice.where, choice.by) if name)
        return tuple(dict.fromkeys([*chosen, *self.columns]))

    def schema(self, source: pa.Schema) -> pa.Schema:
        """Return the columns of tiles over a source of that schema."""
        kinds = {"count": pa.int64(), "whole": pa.int64(), "sum": _DOUBLES, "squares": _DOUBLES}
        fields = [
            *(source.field(key) for key in self.keys),
            pa.field(START, INSTANT),
            pa.field(KNOWN_BY, INSTANT),
        ]
        for state in self.states:
            for part in state.parts:
                kind = kinds.get(part) or _extreme_type(source.field(state.choice.input or "").type)
                fields.append(pa.field(state.column(part), kind))
        if self.kept:
            instants = [name for name in (EVENT_TS, KNOWN_TS) if name in source.names]
            struct = pa.struct([source.field(name) for name in (*instants, *self.columns)])
            fields.append(pa.field(KEPT, pa.list_(struct)))
        return pa.schema(fields)


_DOUBLES: Final = pa.list_(pa.float64())


def tiles_of(table: pa.Table, task: TileTask) -> pa.Table:
    """Return the tiles of events: grain one row an entity, hop and ``known_by``.

    Args:
        table: the keys, ``event_ts``, ``known_ts`` where it differs, and what the task needs. Rows with
            a null among keys and instants are left out.
        task: what to keep.
    """
    instants = [name for name in (EVENT_TS, KNOWN_TS) if name in table.column_names]
    whole = np.logical_and.reduce([is_valid(table.column(name)) for name in (*task.keys, *instants)])
    table = table.filter(pa.array(whole))
    event, *others = (ints_of(table.column(name)) for name in instants)
    start, known_by = tile_of(event, others[0] if others else event, task.hop)
    rows = pl.DataFrame(pl.from_arrow(table.select(list(task.keys)))).with_columns(
        pl.Series(START, start, pl.Int64), pl.Series(KNOWN_BY, known_by, pl.Int64)
    )
    tiles = rows.unique(maintain_order=True).with_row_index(_GROUP)
    number = rows.join(tiles, on=rows.columns, how="left", maintain_order="left")[_GROUP].cast(pl.Int64)
    events, order = events_of(table, number.to_numpy(), apart=task.keys, order=task.order)
    values = taken(table.select([*instants, *task.needed]), pa.array(order))
    columns = tiles.drop(_GROUP).to_arrow()
    schema = task.schema(table.schema)
    arrays = [columns.column(name).cast(schema.field(name).type) for name in columns.column_names]
    for state in task.states:
        arrays += _states(values, events, state, tiles.height, schema)
    if task.kept:
        arrays.append(_kept(values, events, task.kept, tiles.height, schema.field(KEPT).type))
    return pa.table(arrays, schema=schema)


def kept_events(tiles: pa.Table, keys: Sequence[str]) -> pa.Table:
    """Return the kept events of tiles as a table of events, with their keys."""
    kept = tiles.column(KEPT).combine_chunks()
    lengths = pc.list_value_length(kept).fill_null(0).to_numpy()
    owner = pa.array(np.repeat(np.arange(tiles.num_rows), lengths))
    flat = pa.Table.from_struct_array(kept.flatten())
    for key in keys:
        flat = flat.append_column(key, tiles.column(key).combine_chunks().take(owner))
    return flat


# --- states ---------------------------------------------------------------------------------------------


def _states(values: pa.Table, events: Events, state: State, size: int, schema: pa.Schema) -> list[pa.Array]:
    """Return the columns of a state, a value for each tile."""
    chosen = state.choice.of(values)
    tile = events.entity[chosen]
    runs = WindowRuns(tile, tile + 1, size)
    name = state.choice.input
    numbers = None if name is None else _numbers(values, name, events, chosen)
    columns = []
    for part in state.parts:
        kind = schema.field(state.column(part)).type
        if part == "count":
            columns.append(pa.array(runs.count, kind))
        elif numbers is None:
            raise RuntimeError(f"{part} was planned without an input column")
        elif part in {"sum", "squares"}:
            doubles = numbers.astype(np.float64)
            columns.append(
                _sums(doubles, tile, size) if part == "sum" else _sums(*_squares(doubles, tile), size)
            )
        else:
            of_tile = (
                moments.integer_sum(runs, numbers)
                if part == "whole"
                else runs.extreme(numbers, smallest=part == "min")
            )
            columns.append(pa.array(of_tile, mask=runs.count == 0).cast(kind))
    return columns


def _numbers(values: pa.Table, name: str, events: Events, chosen: Bools) -> Array:
    column = values.column(name).filter(pa.array(chosen)).combine_chunks()
    return Column(events.only(chosen), column).numbers


def _squares(values: Floats, tile: Ints) -> tuple[Floats, Ints]:
    """Return doubles that add up to the squares of the finite values, and the tile of each."""
    finite = np.isfinite(values)
    high, low = exact_sums.squares(values[finite])
    return np.concatenate([high, low]), np.concatenate([tile[finite], tile[finite]])


def _sums(values: Floats, tile: Ints, size: int) -> pa.Array:
    """Return, for each tile, doubles whose sum is exactly that of its values; infinities stand by themselves.

    A tile with a finite value has a finite part, 0.0 if need be; one without values has an empty list.
    """
    finite = np.isfinite(values)
    owner, part = exact_sums.parts(values[finite], tile[finite], size)
    held = np.bincount(tile[finite], minlength=size) > 0
    empty = np.flatnonzero(held & (np.bincount(owner, minlength=size) == 0))
    owners = np.concatenate([owner, empty, tile[~finite]])
    parts = np.concatenate([part, np.zeros(len(empty)), values[~finite]])
    order = np.argsort(owners, kind="stable")
    offsets = np.concatenate([[0], np.cumsum(np.bincount(owners, minlength=size))])
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(parts[order]))


def _extreme_type(kind: pa.DataType) -> pa.DataType:
    return pa.float64() if pa.types.is_floating(kind) else pa.int64()


# --- kept events ----------------------------------------------------------------------------------------


def _kept(values: pa.Table, events: Events, kept: Iterable[Kept], size: int, kind: pa.DataType) -> pa.Array:
    """Return the events that one of ``kept`` asks for, in total order, as a list for each tile."""
    wanted = np.zeros(len(events), dtype=bool)
    for one in kept:
        wanted[_wanted(values, events, one)] = True
    rows = np.flatnonzero(wanted)
    structs = values.select([field.name for field in kind.value_type]).take(pa.array(rows)).to_struct_array()
    structs = structs.combine_chunks() if isinstance(structs, pa.ChunkedArray) else structs
    offsets = np.searchsorted(events.entity[rows], np.arange(size + 1))
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), structs.cast(kind.value_type), type=kind)


def _wanted(values: pa.Table, events: Events, kept: Kept) -> Ints:
    chosen = np.flatnonzero(kept.choice.of(values))
    if kept.end in {"first", "last"}:
        return _at_end(chosen, events.entity, kept.k, is_last=kept.end == "last")
    if kept.choice.input is None:
        raise RuntimeError(f"{kept.end} was planned without an input column")
    column = Column(
        events.only(np.isin(np.arange(len(events)), chosen)),
        values.column(kept.choice.input).take(pa.array(chosen)).combine_chunks(),
    )
    if kept.end == "some":
        return chosen[_sampled(column)]
    if kept.end in {"distinct", "some_distinct"}:
        distinct = _distinct(column)
        if kept.end == "some_distinct":
            hashes = column.hashes[column.codes[distinct]]
            distinct = distinct[np.lexsort((hashes, column.events.entity[distinct]))]
            distinct = _at_end(distinct, column.events.entity, kept.k + 1, is_last=False)
        return chosen[distinct]
    return _at_end(chosen[column.by_value], events.entity, kept.k, is_last=kept.end == "top")


def _distinct(column: Column) -> Ints:
    """Return one event for each distinct value of a tile."""
    tile, codes = column.events.entity, column.codes
    order = np.lexsort((codes, tile))
    new = (np.diff(tile[order], prepend=-1) != 0) | (np.diff(codes[order], prepend=-1) != 0)
    distinct: Ints = order[new]
    return distinct


def _sampled(column: Column) -> Ints:
    """Return the events of each tile's own level, and with them those of all higher ones."""
    events = column.events
    hashes = sampling.event_hashes(events.event, events.known, column.numbers.astype(np.float64))
    size = int(events.entity.max(initial=-1)) + 1
    level = sampling.levels(hashes, lambda chosen: np.bincount(events.entity[chosen], minlength=size))
    wanted = np.zeros(len(events), dtype=bool)
    for number in np.unique(level).tolist():
        wanted |= sampling.is_at(hashes, number) & (level[events.entity] == number)
    return np.flatnonzero(wanted)


def _at_end(ordered: Ints, tile: Ints, k: int, *, is_last: bool) -> Ints:
    """Return the first or last k of each tile, of events that are ordered tile by tile."""
    owner = tile[ordered]
    rank = np.arange(len(owner)) - np.searchsorted(owner, owner)
    if is_last:
        rank = np.searchsorted(owner, owner, side="right") - 1 - np.arange(len(owner))
    ends: Ints = ordered[rank < k]
    return ends


def bools(column: pa.ChunkedArray) -> Bools:
    """Return a condition's answers; null is no."""
    return np.asarray(pc.fill_null(column, False).to_numpy(), dtype=bool)  # noqa: FBT003 - a value, no flag
