"""One bucket of the shuffle holds every row of its entities: open it, compute its features, pass it on.

Runs inside Spark's Python workers: it imports pyarrow, numpy and polars only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from featurelib.point_in_time.blobs import taken, unpacked
from featurelib.point_in_time.counting import source_columns
from featurelib.point_in_time.events import entities_of, events_of, ints_of, numbers_of
from featurelib.point_in_time.features import AS_OF, KeyTask, SourceTask
from featurelib.point_in_time.kernels import Events, Probes
from featurelib.point_in_time.ordering import in_order
from featurelib.point_in_time.tiled import Asked, Tiles, Tiling, added_up, kept_whole, read_whole

SPINE_TAG: Final = 0


def with_features(batches: Iterable[pa.RecordBatch], task: KeyTask, *, most_bytes: int) -> Iterator[pa.Table]:
    """Yield the bucket's spine rows with the task's features appended; nothing for a bucket without spine.

    Raises:
        MemoryError: the bucket's rows take more than ``most_bytes``.
    """
    tables = unpacked(batches, task.keys, most_bytes)
    spine = tables.pop(SPINE_TAG, None)
    if spine is None or spine.num_rows == 0:
        return
    # By name: a slice computes its features in another order, and all buckets meet again at the next key.
    for name, column in sorted(features_of(spine, tables, task).items()):
        spine = spine.append_column(name, column)
    yield spine


def features_of(spine: pa.Table, tables: Mapping[int, pa.Table], task: KeyTask) -> dict[str, pa.Array]:
    """Return the feature columns of a spine, in its row order.

    Args:
        spine: rows with the task's keys and ``as_of_ts``; a null in either gives null features.
        tables: events by tag, each with the keys, ``event_ts``, ``known_ts``, inputs and tie breakers.
        task: what to compute.
    """
    entities, number = entities_of(spine, task.keys)
    asked = np.flatnonzero(number >= 0)
    instant = ints_of(spine.column(AS_OF))[asked]
    by_time = in_order(number[asked], instant)
    probes = Probes(number[asked][by_time], instant[by_time])
    rows = asked[by_time]
    columns: dict[str, pa.Array] = {}
    for source in task.sources:
        if source.tiling is None:
            events, values = _events(tables.get(source.tag), entities, task.keys, source)
            found = source_columns(probes, events, values, source.features)
        else:
            found = _from_tiles(probes, tables, entities, task.keys, source, source.tiling)
        for name, column in found.items():
            columns[name] = _at_rows(column, rows, spine.num_rows)
    return columns


def _from_tiles(
    probes: Probes,
    tables: Mapping[int, pa.Table],
    entities: pl.DataFrame,
    keys: Sequence[str],
    source: SourceTask,
    tiling: Tiling,
) -> dict[str, pa.Array]:
    """Return the features of a source with tiles, in probe order."""
    rows = read_whole(tables.get(source.tag, tiling.events.empty_table()), tiling)
    tiles = tables.get(tiling.tag, tiling.tiles.empty_table())
    summed = [feature for feature in source.features if feature.name in tiling.states]
    kept = [feature for feature in source.features if feature.name not in tiling.states]
    columns: dict[str, pa.Array] = {}
    if summed and len(probes):
        events, values = _events(rows, entities, keys, replace(source, features=tuple(summed), order=()))
        asked = Asked(probes, events, values, Tiles.of(tiles, numbers_of(tiles, entities, keys)))
        columns |= added_up(asked, summed, tiling)
    if kept and len(probes):
        few = kept_whole(tiles, tiling, keys)
        both = pa.concat_tables([rows.select(few.column_names), few])
        events, values = _events(both, entities, keys, replace(source, features=tuple(kept)))
        columns |= source_columns(probes, events, values, kept)
    return columns or source_columns(probes, *_events(None, entities, keys, source), source.features)


def _events(
    table: pa.Table | None, entities: pl.DataFrame, keys: Sequence[str], source: SourceTask
) -> tuple[Events, pa.Table]:
    """Return the events of the entities in total order, and what the features need of them."""
    if table is None or table.num_rows == 0:
        empty = np.zeros(0, dtype=np.int64)
        return Events(empty, empty, empty), pa.table({}) if table is None else table
    events, rows = events_of(table, numbers_of(table, entities, keys), apart=keys, order=source.order)
    used = (column for feature in source.features for column in feature.columns)
    return events, taken(table.select(list(dict.fromkeys(used))), pa.array(rows))


def _at_rows(column: pa.Array, rows: npt.NDArray[np.int64], size: int) -> pa.Array:
    """Return the column in spine order: probe ``i`` is spine row ``rows[i]``, other rows are null."""
    place = np.full(size, -1, dtype=np.int64)
    place[rows] = np.arange(len(rows))
    return column.take(pa.array(place, mask=place < 0))
