"""One bucket of the shuffle holds every row of its entities: open it, compute its features, pass it on.

Runs inside Spark's Python workers: it imports pyarrow, numpy and polars only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from featurelib.point_in_time import kernels
from featurelib.point_in_time.blobs import unpacked
from featurelib.point_in_time.kernels import Array, Bools, Events, Ints, Probes, Visible, WindowRuns

SPINE_TAG: Final = 0
AS_OF: Final = "as_of_ts"
EVENT_TS: Final = "event_ts"
KNOWN_TS: Final = "known_ts"


class Feature(NamedTuple):
    """A column to compute: ``window`` in microseconds, None for lifetime; ``type`` as Arrow names it."""

    name: str
    input: str | None
    op: str
    window: int | None
    type: pa.DataType


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


def with_features(batches: Iterable[pa.RecordBatch], task: KeyTask) -> Iterator[pa.Table]:
    """Yield the bucket's spine rows with the task's features appended; nothing for a bucket without spine."""
    tables = unpacked(batches)
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
    entities = _entities(spine, task.keys)
    moment = spine.column(AS_OF)
    asked = np.flatnonzero(_valid(moment) & _valid(entities["number"]))
    number, instant = _ints(entities["number"])[asked], _ints(moment)[asked]
    by_time = np.lexsort((instant, number))
    probes = Probes(number[by_time], instant[by_time])
    rows = asked[by_time]
    columns: dict[str, pa.Array] = {}
    for source in task.sources:
        events, values = _events(tables.get(source.tag), entities, task.keys, source)
        for name, column in _source_columns(probes, events, values, source).items():
            columns[name] = _at_rows(column, rows, spine.num_rows)
    return columns


# --- entities and events --------------------------------------------------------------------------------


def _entities(spine: pa.Table, keys: Sequence[str]) -> dict[str, pa.Table | pa.ChunkedArray]:
    """Number the distinct entities of the spine; a key with a null in it has no number."""
    spine_keys = pl.DataFrame(pl.from_arrow(spine.select(list(keys))))
    distinct = spine_keys.drop_nulls().unique(maintain_order=True).with_row_index("__entity")
    numbered = spine_keys.join(distinct, on=list(keys), how="left", maintain_order="left")
    return {
        "distinct": distinct.with_columns(pl.col("__entity").cast(pl.Int64)).to_arrow(),
        "number": pa.chunked_array([numbered["__entity"].cast(pl.Int64).to_arrow()]),
    }


def _events(
    table: pa.Table | None,
    entities: Mapping[str, pa.Table | pa.ChunkedArray],
    keys: Sequence[str],
    source: SourceTask,
) -> tuple[Events, pa.Table]:
    """Return the events of the spine's entities in total order, with their columns in the same order.

    Events without a key or an instant belong to nobody and are left out.
    """
    if table is None or table.num_rows == 0:
        empty = np.zeros(0, dtype=np.int64)
        return Events(empty, empty, empty), pa.table({})
    frame = pl.DataFrame(pl.from_arrow(table.select(_order_columns(keys, source, table))))
    distinct = pl.DataFrame(pl.from_arrow(entities["distinct"]))
    ordered = (
        frame.with_row_index("__row")
        .drop_nulls([EVENT_TS, KNOWN_TS])
        .join(distinct, on=list(keys), how="inner")
        .sort(["__entity", EVENT_TS, KNOWN_TS, *source.order], nulls_last=False)
    )
    events = Events(
        ordered["__entity"].to_numpy(),
        ordered[EVENT_TS].to_physical().to_numpy(),
        ordered[KNOWN_TS].to_physical().to_numpy(),
    )
    inputs = list(dict.fromkeys(feature.input for feature in source.features if feature.input))
    return events, table.select(inputs).take(ordered["__row"].to_arrow())


def _order_columns(keys: Sequence[str], source: SourceTask, table: pa.Table) -> list[str]:
    wanted = dict.fromkeys([*keys, EVENT_TS, KNOWN_TS, *source.order])
    return [column for column in wanted if column in table.column_names]


# --- features -------------------------------------------------------------------------------------------


def _source_columns(
    probes: Probes, events: Events, values: pa.Table, source: SourceTask
) -> dict[str, pa.Array]:
    """Return the features of one source in probe order."""
    if len(events) == 0 or len(probes) == 0:
        return {feature.name: _nothing_seen(feature, len(probes)) for feature in source.features}
    columns: dict[str, pa.Array] = {}
    every = Visible(probes, events)
    for column in dict.fromkeys(feature.input for feature in source.features):
        present = _present(values.column(column)) if column is not None else np.ones(len(events), dtype=bool)
        visible = every if present.all() else Visible(probes, events.only(present))
        computed = _Column(every, visible, present, None if column is None else values.column(column))
        for window, features in _by_window(source.features, column).items():
            columns.update(computed.features(window, features))
    return {feature.name: columns[feature.name] for feature in source.features}


def _by_window(features: Iterable[Feature], column: str | None) -> dict[int | None, list[Feature]]:
    grouped: dict[int | None, list[Feature]] = {}
    for feature in features:
        if feature.input == column:
            grouped.setdefault(feature.window, []).append(feature)
    return grouped


@dataclass(frozen=True)
class _Column:
    """One input column: all events, those with a value, and the values."""

    every: Visible
    visible: Visible
    present: Bools
    values: pa.ChunkedArray | None

    def features(self, window: int | None, features: Sequence[Feature]) -> dict[str, pa.Array]:
        """Return the features of one window in probe order."""
        taken = {
            feature.name: self._newest(feature) for feature in features if feature.op in {"last", "latest"}
        }
        reduced = [feature for feature in features if feature.op not in {"last", "latest"}]
        if not reduced:
            return taken
        runs = WindowRuns.of(self.visible, window)
        return taken | {feature.name: self._reduced(runs, feature) for feature in reduced}

    def _newest(self, feature: Feature) -> pa.Array:
        seen_by = self.every if feature.op == "latest" else self.visible
        index = seen_by.newest_within(feature.window)
        if feature.op == "last":
            kept = np.flatnonzero(self.present)
            index = np.where(index >= 0, kept[index], -1) if len(kept) else np.full_like(index, -1)
        column = self.values if self.values is not None else pa.chunked_array([pa.nulls(0, feature.type)])
        return column.take(pa.array(index, mask=index < 0)).combine_chunks().cast(feature.type)

    def _reduced(self, runs: WindowRuns, feature: Feature) -> pa.Array:
        if feature.op == "count":
            return pa.array(runs.count, feature.type)
        values = self._physical()
        if feature.op == "sum":
            whole = values.dtype.kind != "f"
            result: Array = (
                kernels.integer_sum(runs, values) if whole else runs.float_sum(values.astype(np.float64)).high
            )
        elif feature.op == "mean":
            result = kernels.mean(runs, values)
        elif feature.op == "stddev":
            result = kernels.stddev(runs, values)
        else:
            result = runs.extreme(values, smallest=feature.op == "min")
        fewest = 2 if feature.op == "stddev" else 1
        return _as_type(result, feature.type, mask=runs.count < fewest)

    def _physical(self) -> Array:
        """The values that are present, as numpy numbers; instants and dates as integers."""
        column = self.values.combine_chunks() if self.values is not None else pa.array([], pa.int64())
        return _numbers(column)[self.present]


def _numbers(column: pa.Array) -> Array:
    kind = column.type
    if pa.types.is_timestamp(kind):
        column = column.cast(pa.int64())
    elif pa.types.is_date32(kind):
        column = column.cast(pa.int32())
    filled = column.fill_null(0) if column.null_count else column
    numbers: Array = filled.to_numpy(zero_copy_only=False)
    return numbers


def _as_type(values: Array, kind: pa.DataType, *, mask: Bools) -> pa.Array:
    if pa.types.is_timestamp(kind) or pa.types.is_date32(kind):
        width = pa.int64() if pa.types.is_timestamp(kind) else pa.int32()
        return pa.array(values, width, mask=mask).cast(kind)
    return pa.array(values, mask=mask).cast(kind)


def _nothing_seen(feature: Feature, rows: int) -> pa.Array:
    if feature.op == "count":
        return pa.array(np.zeros(rows, np.int64), feature.type)
    return pa.nulls(rows, feature.type)


def _present(column: pa.ChunkedArray) -> Bools:
    """True where there is a value; NaN is none."""
    valid = _valid(column)
    if pa.types.is_floating(column.type):
        valid &= ~np.isnan(column.fill_null(0.0).to_numpy())
    return valid


def _valid(column: pa.ChunkedArray) -> Bools:
    valid: Bools = np.array(pc.is_valid(column).to_numpy(zero_copy_only=False), dtype=bool)
    return valid


def _ints(column: pa.ChunkedArray) -> Ints:
    whole = column.cast(pa.int64()).fill_null(0).to_numpy()
    return np.asarray(whole, dtype=np.int64)


def _at_rows(column: pa.Array, rows: npt.NDArray[np.int64], size: int) -> pa.Array:
    """Return the column in spine order: probe ``i`` is spine row ``rows[i]``, other rows are null."""
    place = np.full(size, -1, dtype=np.int64)
    place[rows] = np.arange(len(rows))
    return column.take(pa.array(place, mask=place < 0))
