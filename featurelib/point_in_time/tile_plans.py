"""Where tiles spare reading events, and how they are made. The answer is the same with and without."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql.pandas.types import from_arrow_schema

from featurelib.point_in_time.features import Feature, SourceTask
from featurelib.point_in_time.inputs import Input, Scan, frame_of, mapped, row_bytes, source_scan
from featurelib.point_in_time.reach import Bounds, longest_of
from featurelib.point_in_time.snapshots import SnapshotFile, SnapshotScan, TileTable
from featurelib.point_in_time.tasks import condition_columns, features_to_compute, order_of
from featurelib.point_in_time.tile_specs import kept_of, state_of, stored_states, tile_task, tiling_of
from featurelib.point_in_time.tiled import Tiling
from featurelib.point_in_time.tiles import KEPT, KNOWN_BY, START, State, TileTask, tiles_of
from featurelib.specs import FeatureView

_WORTH: Final = 0.7
"""Tiles are read where they and the events still needed are at most this share of the events' rows."""
_HOPS: Final = 4
"""Windows of fewer hops consist of parts of tiles mostly."""
_TILES: Final = 65_536


@dataclass(frozen=True)
class TiledScans:
    """What is read where tiles stand for most events.

    Attributes:
        task: the features that tiles serve.
        events: the scan of the events of tiles that are seen in part.
        tiles: the scan of the tiles.
    """

    task: SourceTask
    events: Scan
    tiles: Scan


def tiled_scans(
    whole: Scan,
    features: Sequence[Feature],
    *,
    keys: tuple[str, ...],
    order: tuple[str, ...],
    between: tuple[int, int] | None,
    tag: int,
) -> TiledScans | None:
    """Return the scans for the features that tiles serve, None where tiles spare nothing.

    Args:
        whole: the scan of the source for all these features without tiles.
        features: what is computed of it for one entity key.
        keys: columns of the entity key.
        order: columns that order events equal in both instants.
        between: ``[first, last)`` of the moments asked about in microseconds since 1970.
        tag: of the events; the next one is that of the tiles.
    """
    source = whole.source
    if not isinstance(source, SnapshotScan) or between is None or keys not in source.tiles:
        return None
    table = source.tiles[keys]
    served = served_by(table.task, features, whole.given)
    if not served or not whole.by_tasks or table.scan.blocked is not None:
        return None
    longest = longest_of(served)
    first = None if longest is None else between[0] - longest - table.task.hop
    tiles = _tile_scan(table, stored_states(table.task, served, whole.given), (first, between[1]))
    tiling = tiling_of(table.task, served, whole.given, tag=tag + 1, between=between, tiles=tiles.schema)
    needed = _seen_in_part(source, table, tiles, tiling)
    conditions = {text: column for column, text in whole.conditions.items()}
    events = source_scan(needed, served, conditions, keys=keys, order=order, bounds=(first, between[1]))
    all_rows, few_rows = (_rows(scans) for scans in ([whole], [events, tiles]))
    if all_rows is None or few_rows is None or few_rows > _WORTH * all_rows:
        return None
    return TiledScans(
        SourceTask(tag, order, tuple(served), replace(tiling, events=events.given)), events, tiles
    )


def served_by(task: TileTask, features: Sequence[Feature], source: pa.Schema) -> list[Feature]:
    """Return the features that tiles hold all for."""
    parts = {state.choice: set(state.parts) for state in task.states}
    served = []
    for feature in features:
        state = state_of(feature, source)
        if state is None:
            kept = kept_of(feature)
            if kept is not None and kept in task.kept:
                served.append(feature)
        elif set(state.parts) <= parts.get(state.choice, set()):
            served.append(feature)
    return served


def _tile_scan(table: TileTable, states: Mapping[str, State], bounds: Bounds) -> Scan:
    """Return the scan of tiles, and of their columns those that the features need."""
    parts = [state.column(part) for state in states.values() for part in state.parts]
    kept = [KEPT] if table.task.kept else []
    columns = dict.fromkeys([*table.task.keys, START, KNOWN_BY, *parts, *kept])
    return Scan(table.scan, tuple(columns), bounds, table.task.keys, instant=START)


def _seen_in_part(source: SnapshotScan, table: TileTable, tiles: Scan, tiling: Tiling) -> SnapshotScan:
    """Return the source with the files only that hold events of tiles that some moment sees in part."""
    loads = [_days(file, table.day) for file in tiles.files or () if _is_partial(file, tiling)]
    files = [file for file in source.files if _meets(_days(file, table.day), loads)]
    return replace(source, files=tuple(files))


def _is_partial(file: SnapshotFile, tiling: Tiling) -> bool:
    first, last = file.bounds(START)
    known_by = file.bounds(KNOWN_BY)[1]
    if first is None or last is None or known_by is None:
        return True
    return bool(tiling.is_partial(*(np.array([micros]) for micros in (first, last, known_by)))[0])


def _days(file: SnapshotFile, column: str) -> tuple[date, date] | None:
    """Return the first and last load of a file's rows, None where they are not known."""
    first = file.partition.get(column, file.minimum.get(column))
    last = file.partition.get(column, file.maximum.get(column))
    return (first, last) if isinstance(first, date) and isinstance(last, date) else None


def _meets(days: tuple[date, date] | None, loads: Sequence[tuple[date, date] | None]) -> bool:
    if days is None or None in loads:
        return True
    return any(load is not None and days[0] <= load[1] and load[0] <= days[1] for load in loads)


def _rows(scans: Sequence[Scan]) -> int | None:
    """Return the rows of the files to read, None where a file does not say."""
    counts = [file.num_records for scan in scans for file in scan.files or ()]
    return None if None in counts else sum(count for count in counts if count is not None)


# --- making tiles ---------------------------------------------------------------------------------------


def tile_definition(
    source: Input,
    views: Sequence[FeatureView],
    *,
    declared_order: Sequence[str] | None,
    hop: int,
    least_bytes: int = 0,
    keeps_events: bool = True,
) -> TileTask | None:
    """Return what tiles keep for views of one source and entity key, None where they would spare nothing.

    They do where some feature that they can serve reaches back more than a few hops, and where what the views
    read of the source takes more than ``least_bytes`` in memory. For ``keeps_events`` see :func:`tile_task`.
    """
    schema = frame_of(source).schema
    order = order_of(views, schema, declared_order)
    features = features_to_compute(views, schema)
    keys = views[0].entity_key
    scan = _whole_scan(source, features, views, keys, order)
    task = tile_task(features, scan.given, keys=keys, order=order, hop=hop, keeps_events=keeps_events)
    longest = longest_of(served_by(task, features, scan.given))
    rows = source.num_records if isinstance(source, SnapshotScan) else None
    is_small = rows is not None and rows * row_bytes(scan.schema) <= least_bytes
    if not scan.by_tasks or is_small or (longest is not None and longest < _HOPS * hop):
        return None
    return task


def tiles_frame(
    source: SnapshotScan,
    task: TileTask,
    views: Sequence[FeatureView],
    *,
    day: str,
    days: Collection[date] | None,
    parallelism: int,
) -> DataFrame:
    """Return the tiles of a source's events; runs no action. Grain: one row a tile and load, or several.

    Args:
        source: the events, with the column ``day``.
        task: what to keep.
        views: of the source and the task's entity key.
        day: column that tells one load from another; tiles have it too.
        days: the loads to read, None for all.
        parallelism: number of tasks to aim at.
    """
    loads = None if days is None else [(one, one) for one in sorted(days)]
    files = source.files if loads is None else [f for f in source.files if _meets(_days(f, day), loads)]
    wanted = None if days is None else pa.array(sorted(days), pa.date32())
    features = features_to_compute(views, source.frame.schema)
    of_load = replace(task, keys=(*task.keys, day))
    scan = _whole_scan(replace(source, files=tuple(files)), features, views, of_load.keys, task.order)
    given = of_load.schema(scan.given)

    def made(tables: Iterable[pa.Table]) -> Iterator[pa.RecordBatch]:
        for table in tables:
            chosen = table if wanted is None else table.filter(pc.is_in(table.column(day), wanted))
            yield from tiles_of(chosen, of_load).to_batches(max_chunksize=_TILES)

    return mapped(scan, made, from_arrow_schema(given), parallelism=parallelism)


def _whole_scan(
    source: Input,
    features: Sequence[Feature],
    views: Sequence[FeatureView],
    keys: Sequence[str],
    order: Sequence[str],
) -> Scan:
    return source_scan(
        source, features, condition_columns(views), keys=keys, order=order, bounds=(None, None)
    )
