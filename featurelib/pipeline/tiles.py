"""Tiles of large sources stand beside the feature table and follow every change of silver."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Final

from featurelib.pipeline.context import Context
from featurelib.pipeline.days import on_days
from featurelib.pipeline.definitions import tiles_definition
from featurelib.pipeline.scans import Pinned, snapshot_scan, source_inputs
from featurelib.pipeline.schemas import struct
from featurelib.point_in_time import Limits, SnapshotScan, TileTable
from featurelib.point_in_time.tile_plans import tile_definition, tiles_frame
from featurelib.point_in_time.tiles import TileTask
from featurelib.specs import FeatureView, Project
from featurelib.tables import DataFile, Run, changed_files, rows_of, snapshot

HOP: Final = 86_400_000_000
_DAY: Final = "_day"
_RECORD: Final = struct(tiles="string", table="string", _version="long", definition="string")


@dataclass(frozen=True)
class _Wanted:
    """Tiles of one source for one entity key: their table, what they keep, and the views they serve."""

    source: str
    table: str
    task: TileTask
    views: tuple[FeatureView, ...]


def update_tiles(context: Context, run: Run, pinned: Pinned) -> None:
    """Bring the tiles of every source that keeps some to the version of silver that the run reads.

    Only loads whose rows have changed are made again; all of them where the definition has changed, or where
    the version that tiles were made from can no longer be read.
    """
    record = _records(context, run)
    now: dict[str, Mapping[str, object]] = {}
    for name, source in source_inputs(context.project, pinned).items():
        for wanted in _wanted(context.project, context.names.features, name, source):
            silver = context.names.silver(context.project.sources[name].table)
            row = {
                "tiles": wanted.table,
                "table": silver,
                "_version": run.base[silver],
                "definition": tiles_definition(context.project, name, wanted.task),
            }
            now[wanted.table] = row
            if record.get(wanted.table) != row:
                by_load = source_inputs(context.project, pinned, besides=(_DAY,))[name]
                _make(context, run, by_load, wanted, record.get(wanted.table), row)
    if now and list(now.values()) != list(record.values()):
        run.create(_record_table(context), _RECORD, description="What tiles were made from.")
        run.replace_rows(list(now.values()), _record_table(context))


def with_tiles(context: Context, run: Run, sources: Mapping[str, SnapshotScan]) -> dict[str, SnapshotScan]:
    """Return the sources with their tiles, as :func:`update_tiles` has left them in this run."""
    tiled = dict(sources)
    for name, source in sources.items():
        tables = {}
        for wanted in _wanted(context.project, context.names.features, name, source):
            version = run.versions.get(wanted.table, run.base.get(wanted.table))
            if version is not None:
                found = snapshot(context.store, wanted.table, version)
                scan = snapshot_scan(found, run.read(wanted.table))
                tables[wanted.task.keys] = TileTable(scan, wanted.task, _DAY)
        if tables:
            tiled[name] = replace(source, tiles=tables)
    return tiled


def _wanted(project: Project, features: str, name: str, source: SnapshotScan) -> Iterator[_Wanted]:
    """Yield the tiles to keep of a source, one for each entity key of the project's views."""
    spec = project.sources[name]
    if spec.tiles is False or source.blocked is not None:
        return
    least = 0 if spec.tiles else engine_limits(project).broadcast_bytes
    groups: dict[tuple[str, ...], list[FeatureView]] = {}
    for view in project.views:
        if view.source == name:
            groups.setdefault(view.entity_key, []).append(view)
    for key, views in groups.items():
        task = tile_definition(
            source,
            views,
            declared_order=spec.tie_breaker or None,
            hop=HOP,
            least_bytes=least,
            keeps_events=bool(spec.tiles),
        )
        if task is not None:
            yield _Wanted(name, f"{features}_tiles_{name}_by_{'_'.join(key)}", task, tuple(views))


def engine_limits(project: Project) -> Limits:
    """Return what bounds the plans of the feature step."""
    engine = project.settings.engine
    return Limits(bucket_bytes=engine.bucket_mib << 20, broadcast_bytes=engine.broadcast_mib << 20)


def _make(
    context: Context,
    run: Run,
    source: SnapshotScan,
    wanted: _Wanted,
    before: Mapping[str, object] | None,
    now: Mapping[str, object],
) -> None:
    """Make the tiles whose events have changed."""
    days = None if before is None else _changed_days(context, before, now)
    if days == set():
        return
    frame = tiles_frame(
        source,
        wanted.task,
        wanted.views,
        day=_DAY,
        days=days,
        parallelism=int(context.spark.conf.get("spark.sql.shuffle.partitions") or 8),
    )
    if days is None:
        description = f"What {wanted.source} amounts to, a day and {', '.join(wanted.task.keys)}."
        run.rewrite(frame, wanted.table, partition_by=(_DAY,), description=description)
    else:
        run.write(frame, wanted.table, replace=on_days(days))


def _changed_days(
    context: Context, before: Mapping[str, object], now: Mapping[str, object]
) -> set[date] | None:
    """Return the loads whose rows have changed since tiles were made, None where all must be made."""
    if before["definition"] != now["definition"]:
        return None
    since, until = before["_version"], now["_version"]
    if not isinstance(since, int) or not isinstance(until, int):
        return None
    changes = changed_files(context.store, str(now["table"]), since=since, until=until)
    if changes is None or not changes.is_plain:
        return None
    days: set[date] = set()
    for file in (*changes.added, *changes.removed):
        found = _days_of(file)
        if found is None:
            return None
        days |= found
    return days


def _days_of(file: DataFile) -> set[date] | None:
    """Return the days that rows of a file may be of."""
    first, last = file.minimum.get(_DAY), file.maximum.get(_DAY)
    if not isinstance(first, date) or not isinstance(last, date):
        return None
    return {first + timedelta(days=number) for number in range((last - first).days + 1)}


def _record_table(context: Context) -> str:
    return f"{context.names.features}_tiles"


def _records(context: Context, run: Run) -> dict[str, Mapping[str, object]]:
    table = _record_table(context)
    rows = rows_of(context.store, table) if table in run.base else []
    return {row["tiles"]: row for row in rows if row["tiles"] in run.base}
