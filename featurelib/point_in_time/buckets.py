"""One bucket of the shuffle holds every row of its entities: open it, compute its features, pass it on.

Runs inside Spark's Python workers: it imports pyarrow, numpy and polars only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from featurelib.point_in_time.aggregates import Held, aggregate, over_map, ratio
from featurelib.point_in_time.blobs import taken, unpacked
from featurelib.point_in_time.columns import Column, is_valid, present
from featurelib.point_in_time.kernels import Bools, Events, Ints, Probes, Visible
from featurelib.point_in_time.ordering import in_order
from featurelib.point_in_time.selection import ends_among_newest
from featurelib.timeline import Window

SPINE_TAG: Final = 0
AS_OF: Final = "as_of_ts"
EVENT_TS: Final = "event_ts"
KNOWN_TS: Final = "known_ts"
_ENTITY: Final = "__entity"


class Feature(NamedTuple):
    """A column to compute.

    Attributes:
        name: the column.
        input: source column, None for operations about rows.
        op: the operation.
        windows: the window, and a second one whose value the first one's is divided by.
        type: the column's type.
        parameter: what the operation takes: ``(k,)``, ``(quantile,)`` or the edges of a histogram.
        where: boolean column, true for the events that count.
        by: column that splits the events.
        by_value: text of the one value of ``by`` that counts; None with ``by`` means a map of all.
        delay: microseconds by which windows end before the moment.
        is_inclusive: whether an event at the very moment is visible.
    """

    name: str
    input: str | None
    op: str
    windows: tuple[Window, ...]
    type: pa.DataType
    parameter: tuple[float, ...] = ()
    where: str | None = None
    by: str | None = None
    by_value: str | None = None
    delay: int = 0
    is_inclusive: bool = False


@dataclass(frozen=True)
class SourceTask:
    """The features of one source in one pass over one entity key.

    Attributes:
        tag: number of the source among the inputs of the shuffle.
        order: columns that order events equal in both instants.
        features: what to compute, in output order.
    """

    tag: int
    order: tuple[str, ...]
    features: tuple[Feature, ...]


@dataclass(frozen=True)
class KeyTask:
    """One shuffle: an entity key and the sources whose views share it."""

    keys: tuple[str, ...]
    sources: tuple[SourceTask, ...]


def with_features(batches: Iterable[pa.RecordBatch], task: KeyTask, *, most_bytes: int) -> Iterator[pa.Table]:
    """Yield the bucket's spine rows with the task's features appended; nothing for a bucket without spine.

    Raises:
        MemoryError: the bucket's rows take more than ``most_bytes``.
    """
    tables = unpacked(batches, task.keys, most_bytes)
    spine = tables.pop(SPINE_TAG, None)
    if spine is None or spine.num_rows == 0:
        return
    for name, column in features_of(spine, tables, task).items():
        spine = spine.append_column(name, column)
    yield spine


def features_of(spine: pa.Table, tables: Mapping[int, pa.Table], task: KeyTask) -> dict[str, pa.Array]:
    """Return the feature columns of a spine, in its row order.

    Args:
        spine: rows with the task's keys and ``as_of_ts``; a null in either gives null features.
        tables: events by tag, each with the keys, ``event_ts``, ``known_ts``, inputs and tie breakers.
        task: what to compute.
    """
    entities, number = _entities(spine, task.keys)
    asked = np.flatnonzero(number >= 0)
    instant = _ints(spine.column(AS_OF))[asked]
    by_time = in_order(number[asked], instant)
    probes = Probes(number[asked][by_time], instant[by_time])
    rows = asked[by_time]
    columns: dict[str, pa.Array] = {}
    for source in task.sources:
        events, values = _events(tables.get(source.tag), entities, task.keys, source)
        for name, column in _source_columns(probes, events, values, source).items():
            columns[name] = _at_rows(column, rows, spine.num_rows)
    return columns


# --- entities and events --------------------------------------------------------------------------------


def _entities(spine: pa.Table, keys: Sequence[str]) -> tuple[pl.DataFrame, Ints]:
    """Number the distinct entities that something is asked about; rows that ask nothing get -1.

    A row with a null moment, or a null in its key, asks nothing.
    """
    rows = pl.DataFrame(pl.from_arrow(spine.select(list(keys))))
    asks = pl.Series(is_valid(spine.column(AS_OF)))
    distinct = rows.filter(asks).drop_nulls().unique(maintain_order=True)
    entities = distinct.with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias(_ENTITY))
    return entities, np.where(asks.to_numpy(), _numbers_of(rows, entities, keys), -1)


def _numbers_of(rows: pl.DataFrame, entities: pl.DataFrame, keys: Sequence[str]) -> Ints:
    """Return the number of each row's entity, -1 for one that has none."""
    numbered = rows.join(entities, on=list(keys), how="left", maintain_order="left")
    return numbered[_ENTITY].fill_null(-1).to_numpy()


def _events(
    table: pa.Table | None, entities: pl.DataFrame, keys: Sequence[str], source: SourceTask
) -> tuple[Events, pa.Table]:
    """Return the events of the entities in total order, with their columns in the same order.

    Events without a key or an instant belong to nobody and are left out. Without ``known_ts`` an event is
    known as soon as it happened.
    """
    if table is None or table.num_rows == 0:
        empty = np.zeros(0, dtype=np.int64)
        return Events(empty, empty, empty), pa.table({})
    number = _numbers_of(pl.DataFrame(pl.from_arrow(table.select(list(keys)))), entities, keys)
    dated = [column for column in (EVENT_TS, KNOWN_TS) if column in table.column_names]
    theirs = number >= 0
    for column in dated:
        theirs &= is_valid(table.column(column))
    rows = np.flatnonzero(theirs)
    instants = [_ints(table.column(column))[rows] for column in dated]
    tied = [
        column for column in dict.fromkeys([*dated[1:], *source.order]) if column not in {*keys, EVENT_TS}
    ]

    def ties(chosen: Ints) -> pl.DataFrame:
        return pl.DataFrame(pl.from_arrow(table.select(tied).take(pa.array(rows[chosen]))))

    order = in_order(number[rows], instants[0], ties if tied else None)
    event = instants[0][order]
    known = event if len(dated) == 1 else instants[1][order]
    used = (
        column
        for feature in source.features
        for column in (feature.input, feature.where, feature.by)
        if column
    )
    columns = table.select(list(dict.fromkeys(used)))
    return Events(number[rows][order], event, known), taken(columns, pa.array(rows[order]))


# --- features -------------------------------------------------------------------------------------------


def _source_columns(
    probes: Probes, events: Events, values: pa.Table, source: SourceTask
) -> dict[str, pa.Array]:
    """Return the features of one source in probe order."""
    if len(events) == 0 or len(probes) == 0:
        return {feature.name: _nothing_seen(feature, len(probes)) for feature in source.features}
    columns: dict[str, pa.Array] = {}
    for (delay, is_inclusive), sighted in _grouped(source.features, "delay", "is_inclusive"):
        visible = Visible.of(probes, events, delay=delay, is_inclusive=is_inclusive)
        for (where,), features in _grouped(sighted, "where"):
            counting = _Counting(visible, values) if where is None else _Counting.only(visible, values, where)
            columns.update(counting.features(features))
    return {feature.name: columns[feature.name] for feature in source.features}


def _grouped(features: Iterable[Feature], *fields: str) -> list[tuple[tuple[Any, ...], list[Feature]]]:
    """Return the features that agree in some fields, by these."""
    grouped: dict[tuple[Any, ...], list[Feature]] = {}
    for feature in features:
        grouped.setdefault(tuple(getattr(feature, field) for field in fields), []).append(feature)
    return list(grouped.items())


@dataclass(frozen=True)
class _Counting:
    """The events that count for a ``where``, and their columns."""

    visible: Visible
    values: pa.Table

    @classmethod
    def only(cls, visible: Visible, values: pa.Table, where: str) -> _Counting:
        chosen = values.column(where).fill_null(False)  # noqa: FBT003 - a value, no flag
        return cls(visible.only(_bools(chosen)), values.filter(chosen))

    def features(self, features: Sequence[Feature]) -> dict[str, pa.Array]:
        """Return the features in probe order."""
        rows = {window.rows for feature in features for window in feature.windows if window.rows is not None}
        ends = {number: ends_among_newest(self.visible, number) for number in rows}
        columns: dict[str, pa.Array] = {}
        for (column, by, by_value, is_whole), alike in _grouped_inputs(features):
            chosen = np.ones(len(self.visible.events), dtype=bool) if is_whole else self._present(column)
            if by is not None:
                chosen &= self._present(by) if by_value is None else self._equal(by, by_value)
            visible = self.visible.only(chosen)
            values = None if column is None else self._column(column, visible, chosen)
            key = None if by is None or by_value is not None else self._text(by, visible, chosen)
            for (windows,), group in _grouped(alike, "windows"):
                held = [
                    Held(
                        visible,
                        values,
                        window.micros,
                        None if window.rows is None else ends[window.rows][chosen],
                    )
                    for window in windows
                ]
                columns.update({feature.name: _feature(held, key, feature) for feature in group})
        return columns

    def _present(self, column: str | None) -> Bools:
        if column is None:
            return np.ones(len(self.visible.events), dtype=bool)
        return present(self.values.column(column))

    def _equal(self, by: str, value: str) -> Bools:
        return _bools(pc.equal(_texts(self.values.column(by)), value).fill_null(False))  # noqa: FBT003 - a value

    def _column(self, name: str, visible: Visible, chosen: Bools) -> Column:
        values = self.values.column(name)
        return Column(visible.events, (values if chosen.all() else values.filter(chosen)).combine_chunks())

    def _text(self, by: str, visible: Visible, chosen: Bools) -> Column:
        return Column(visible.events, _texts(self.values.column(by)).filter(chosen).combine_chunks())


def _grouped_inputs(
    features: Iterable[Feature],
) -> list[tuple[tuple[str | None, str | None, str | None, bool], list[Feature]]]:
    """Group by what decides which events count; ``latest`` takes rows whole, whatever is null in them."""
    grouped: dict[tuple[str | None, str | None, str | None, bool], list[Feature]] = {}
    for feature in features:
        key = (feature.input, feature.by, feature.by_value, feature.op == "latest")
        grouped.setdefault(key, []).append(feature)
    return list(grouped.items())


def _feature(held: Sequence[Held], key: Column | None, feature: Feature) -> pa.Array:
    if key is not None:
        return over_map(held[0], key, feature.op, feature.type)
    if len(held) == 1:
        return aggregate(held[0], feature.op, feature.parameter, feature.type)
    return ratio(held[0], held[1], feature.op)


def _nothing_seen(feature: Feature, rows: int) -> pa.Array:
    """Return what a window without events gives: 0 for counts, zeros, an empty map, else null."""
    kind = feature.type
    if pa.types.is_map(kind):
        return pa.array([[]] * rows, kind)
    if feature.op == "histogram":
        return pa.array([[0] * (len(feature.parameter) + 1)] * rows, kind)
    if feature.op in {"count", "count_distinct"} and len(feature.windows) == 1:
        return pa.array(np.zeros(rows, np.int64), kind)
    return pa.nulls(rows, kind)


def _texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(pa.string())


def _bools(column: pa.ChunkedArray) -> Bools:
    return np.asarray(column.to_numpy(), dtype=bool)


def _ints(column: pa.ChunkedArray) -> Ints:
    whole = column.cast(pa.int64()).fill_null(0).to_numpy()
    return np.asarray(whole, dtype=np.int64)


def _at_rows(column: pa.Array, rows: npt.NDArray[np.int64], size: int) -> pa.Array:
    """Return the column in spine order: probe ``i`` is spine row ``rows[i]``, other rows are null."""
    place = np.full(size, -1, dtype=np.int64)
    place[rows] = np.arange(len(rows))
    return column.take(pa.array(place, mask=place < 0))
