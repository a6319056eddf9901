"""Pinned table versions become inputs that tasks read themselves, prepared as the specs say.

Where something of a source is for Spark alone (a transform, an expression that Polars answers differently, a
file only Spark can read), the same rows come as Spark's frame, and the plan's explanation says why.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql.pandas.types import to_arrow_schema

from featurelib.expressions.language import check_select, columns_of
from featurelib.expressions.on_polars import cannot_run_without_spark, polars_expression
from featurelib.expressions.values import NeedsSpark
from featurelib.pipeline.days import on_days, runs_of
from featurelib.pipeline.frames import spine_frame, to_events
from featurelib.pipeline.polars_frames import read_columns, spine_columns
from featurelib.pipeline.silver import snapshot_files, types_of
from featurelib.point_in_time import SnapshotScan
from featurelib.point_in_time.features import AS_OF, EVENT_TS, KNOWN_TS
from featurelib.point_in_time.scans import Preparation
from featurelib.specs import Project, Source
from featurelib.tables import DataFile, Snapshot

Pinned = Callable[[str], tuple[Snapshot, DataFrame]]
"""Gives the silver table of a landed table at the version the run has pinned: its log, and its rows."""


@dataclass(frozen=True)
class _Texts:
    """What is computed of a table's columns: expressions, and the type each is cast to (None for its own)."""

    where: str | None
    columns: Mapping[str, tuple[str, str | None]]


def source_inputs(
    project: Project, pinned: Pinned, *, besides: Sequence[str] = ()
) -> dict[str, SnapshotScan]:
    """Return every source that a view uses, with stored columns besides. Grain of each: one row an event."""
    inputs = {}
    for name in dict.fromkeys(view.source for view in project.views):
        source = project.sources[name]
        snapshot, rows = pinned(source.table)
        frame = to_events(rows, project, source, besides=besides)
        try:
            views = [view for view in project.views if view.source == name]
            _refuse_cells(project, source.table, read_columns(source, views))
            prepared = _prepared(_source_texts(source, rows), types_of(project, source.table), rows)
        except NeedsSpark as reason:
            inputs[name] = replace(snapshot_scan(snapshot, frame), blocked=str(reason))
        else:
            inputs[name] = snapshot_scan(snapshot, frame, renamed=prepared[0], preparation=prepared[1])
    return inputs


def spine_input(project: Project, pinned: Pinned, *, days: Collection[date]) -> SnapshotScan:
    """Return the spine's rows of some days. Grain: one row a prediction."""
    spine = project.spine
    snapshot, rows = pinned(spine.table)
    held = tuple(file for file in snapshot.files if may_hold(file, runs_of(days)))
    wanted = on_days(days)
    frame = spine_frame(project, rows.where(wanted))
    columns = {name: (text, spine.column_types[name]) for name, text in spine.columns.items()}
    texts = _Texts(
        wanted if spine.where is None else f"({spine.where}) AND ({wanted})",
        {**columns, AS_OF: (spine.as_of_ts, "timestamp_utc")},
    )
    scan = snapshot_scan(replace(snapshot, files=held), frame)
    try:
        _refuse_cells(project, spine.table, spine_columns(project))
        renamed, preparation = _prepared(texts, types_of(project, spine.table), rows)
    except NeedsSpark as reason:
        return replace(scan, blocked=str(reason))
    return replace(scan, renamed=renamed, preparation=preparation)


def snapshot_scan(
    snapshot: Snapshot,
    frame: DataFrame,
    *,
    renamed: Mapping[str, str] | None = None,
    preparation: Preparation | None = None,
) -> SnapshotScan:
    """Return the input for a pinned version.

    Args:
        snapshot: the version, from its log.
        frame: the rows of the same version as Spark reads them, prepared and with columns renamed likewise.
        renamed: stored name of each column of ``frame`` that has another name there.
        preparation: rows to keep and columns to compute.
    """
    return SnapshotScan(frame, snapshot_files(snapshot), renamed or {}, preparation, _blocked(snapshot))


def _refuse_cells(project: Project, table: str, columns: Collection[str] | None) -> None:
    """Refuse to let tasks read what is encrypted.

    Raises:
        NeedsSpark: one of the columns is; None stands for all.
    """
    encrypted = project.tables[table].encrypted
    used = [column for column in encrypted if columns is None or column in columns]
    if used:
        raise NeedsSpark(f"{', '.join(used)} of {table} is encrypted, and decrypted in Spark's scan")


def _blocked(snapshot: Snapshot) -> str | None:
    """Return why tasks must not read the files, None when they may."""
    if snapshot.deletion_vectors:
        return "its files hold rows that are deleted (deletion vectors)"
    if snapshot.column_mapping:
        return "its columns have other names in the files (column mapping)"
    remote = sorted({file.path.partition("://")[0] for file in snapshot.files if "://" in file.path})
    if remote:
        return f"whether workers can open {remote[0]}:// by themselves is not known"
    return None


def may_hold(file: DataFile, runs: Sequence[tuple[date, date]]) -> bool:
    """Return whether a file can hold rows of some run of days, by the bounds in the log."""
    least, greatest = file.minimum.get("_day", date.min), file.maximum.get("_day", date.max)
    return any(least <= last and greatest >= first for first, last in runs)


# --- expressions ----------------------------------------------------------------------------------------


def _source_texts(source: Source, rows: DataFrame) -> _Texts:
    """Return what a source computes of its table.

    Raises:
        NeedsSpark: it is not said in expressions over the table's own columns.
    """
    if source.transform is not None:
        raise NeedsSpark(f"the transform {source.transform} takes a Spark frame")
    where = source.where
    columns: dict[str, tuple[str, str | None]] = {
        name: (text, source.column_types[name]) for name, text in source.columns.items()
    }
    if source.sql is not None:
        chosen = check_select(source.sql, source.table, rows.columns)
        where, columns = chosen.where, {name: (text, None) for name, text in chosen.columns.items()}
    known = source.event_ts if source.known_ts is None else source.known_ts
    for name, text in ((EVENT_TS, source.event_ts), (KNOWN_TS, known)):
        made = [column for column in columns_of(text) if columns.get(column, (column,))[0] != column]
        if made:
            raise NeedsSpark(f"{text!r} is over {', '.join(made)}, which the source computes")
        columns[name] = (text, "timestamp_utc")
    return _Texts(where, columns)


def _prepared(
    texts: _Texts, types: Mapping[str, str], rows: DataFrame
) -> tuple[dict[str, str], Preparation | None]:
    """Return the columns that are stored ones under another name, and what tasks compute besides.

    Raises:
        NeedsSpark: an expression is for Spark alone.
    """
    stored = {name: text for name, (text, kind) in texts.columns.items() if types.get(text, "") == kind}
    stored |= {name: text for name, (text, kind) in texts.columns.items() if kind is None and text in types}
    computed = {name: pair for name, pair in texts.columns.items() if name not in stored}
    for text, kind in [*computed.values(), *([(texts.where, None)] if texts.where else [])]:
        if (reason := cannot_run_without_spark(text, types, gives=kind)) is not None:
            raise NeedsSpark(f"{text!r} needs Spark: {reason}")
    renamed = {name: text for name, text in stored.items() if name != text}
    if texts.where is None and not computed:
        return renamed, None
    return renamed, Preparation(
        where=None if texts.where is None else polars_expression(texts.where, types),
        columns={name: polars_expression(text, types, gives=kind) for name, (text, kind) in computed.items()},
        stored=to_arrow_schema(rows.schema, timezone="UTC"),
    )
