"""The rows of spine and sources that came, went or were corrected since a version, as frames.

A change is a row with ``row_change``: how often it stands in the new version more than in the old one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from featurelib.pipeline.context import Context, Surroundings
from featurelib.pipeline.days import on_days, runs_of
from featurelib.pipeline.encrypted import readable
from featurelib.pipeline.frames import declared, spine_frame, to_events
from featurelib.pipeline.scans import may_hold
from featurelib.pipeline.silver import snapshot_file, types_of
from featurelib.point_in_time.features import AS_OF, EVENT_TS, KNOWN_TS
from featurelib.point_in_time.tasks import condition_columns
from featurelib.specs import FeatureView, Project, Source
from featurelib.tables import DataFile, FileChanges, Run, changed_files, is_readable, read, snapshot

CHANGE = "row_change"
_ZERO = "__zero_"
_GLOB = re.compile(r"([\[\]{}*?\\])")


class OldVersionGone(Exception):  # noqa: N818 - a state that has its own way on, not a fault
    """The version that features were built from can no longer be read."""

    def __init__(self, table: str, version: int) -> None:
        self.table = table
        self.version = version
        super().__init__(table, version)


def changed_events(
    context: Context, run: Run, name: str, *, since: int, newest: int | None
) -> DataFrame | None:
    """Return the changed events of a source, None where the log alone says that no moment can see one.

    Grain: one row a changed event, with the columns that the project's views use of it.

    Args:
        context: the run's surroundings.
        run: says which version is the new one.
        name: of the source.
        since: the version that features were built from.
        newest: no moment asked about is later, in microseconds since 1970; None if unknown.

    Raises:
        OldVersionGone: it can no longer be read.
    """
    project = context.project
    source = project.sources[name]
    views = [view for view in project.views if view.source == name]
    table = context.names.silver(source.table)
    changes = _changes(context, run, table, since)
    if newest is not None and changes.is_plain and source.transform is None:
        changes = without_later(changes, project, source, views, newest)
    if changes.is_plain and not (changes.added or changes.removed):
        return None
    # A transform may look at more than one row, so all rows of both versions are compared.
    old, new = _both(context, run, table, changes, since=since, whole=source.transform is not None)
    before, after = to_events(old, project, source), to_events(new, project, source)
    columns = _used(after, source, views)
    return _difference(before.select(*columns), after.select(*columns))


def changed_spine(context: Context, run: Run, days: Sequence[date], *, since: int) -> DataFrame | None:
    """Return the changed spine rows of some days, None where the log alone says that there are none.

    Raises:
        OldVersionGone: it can no longer be read.
    """
    table = context.names.silver(context.project.spine.table)
    changes, runs = _changes(context, run, table, since), runs_of(days)
    if changes.is_plain and not any(may_hold(file, runs) for file in (*changes.added, *changes.removed)):
        return None
    old, new = _both(context, run, table, changes, since=since, whole=False)
    wanted = on_days(days)
    return _difference(*(spine_frame(context.project, rows.where(wanted)) for rows in (old, new)))


def newest_moment(context: Surroundings, version: int) -> int | None:
    """Return a bound of the moments of a version of the feature table in microseconds, from its log."""
    files = snapshot(context.store, context.names.features, version).files
    greatest = [snapshot_file(file).bounds(AS_OF)[1] for file in files]
    known = [bound for bound in greatest if bound is not None]
    return max(known) if known and len(known) == len(greatest) else None


# --- which files and rows -------------------------------------------------------------------------------


def _changes(context: Context, run: Run, table: str, since: int) -> FileChanges:
    found = changed_files(context.store, table, since=since, until=run.base[table])
    if found is None:
        raise OldVersionGone(table, since)
    return found


def without_later(
    changes: FileChanges, project: Project, source: Source, views: Sequence[FeatureView], newest: int
) -> FileChanges:
    """Leave out the files whose events are all visible after the newest moment only, by their bounds."""
    delays = {EVENT_TS: min(view.delay_micros for view in views), KNOWN_TS: 0}
    texts = {EVENT_TS: source.event_ts, KNOWN_TS: source.known_ts or source.event_ts}
    stored = types_of(project, source.table)
    bounds = {
        text: delays[instant]
        for instant, text in texts.items()
        if source.sql is None and text in stored and text not in source.columns
    }

    def is_later(file: DataFile) -> bool:
        least = {text: snapshot_file(file).bounds(text)[0] for text in bounds}
        return any(low is not None and low + bounds[text] > newest for text, low in least.items())

    added, removed = (
        tuple(file for file in files if not is_later(file)) for files in (changes.added, changes.removed)
    )
    return FileChanges(added, removed, changes.is_plain)


def _both(
    context: Context, run: Run, table: str, changes: FileChanges, *, since: int, whole: bool
) -> tuple[DataFrame, DataFrame]:
    """Return old and new rows between which all changes lie: of the changed files, or of the whole table."""
    new = declared(run.read(table), context.project, table)
    if changes.is_plain and not whole:
        path = context.store.path(table)
        old, new = (_rows(new, files, path) for files in (changes.removed, changes.added))
        return readable(context, old, table), readable(context, new, table)
    if not is_readable(context.store, table, since):
        raise OldVersionGone(table, since)
    old = read(context.spark, context.store, table, version=since)
    return readable(context, like(old, new.schema), table), readable(context, new, table)


def like(old: DataFrame, schema: T.StructType) -> DataFrame:
    """Return rows of an older version with the columns and types of a newer one; what came since is null."""
    columns = [
        (F.col(f"`{held.name}`") if held.name in old.columns else F.lit(None)).cast(held.dataType)
        for held in schema
    ]
    return old.select(*[column.alias(held.name) for column, held in zip(columns, schema, strict=True)])


def _rows(table: DataFrame, files: Sequence[DataFile], root: str) -> DataFrame:
    """Return the rows of some Parquet files of a table, read by Spark."""
    spark, schema = table.sparkSession, table.schema
    if not files:
        return spark.createDataFrame([], schema)
    paths = [_GLOB.sub(r"\\\1", file.path) for file in files]
    return spark.read.schema(schema).option("basePath", root).parquet(*paths)


# --- what differs ---------------------------------------------------------------------------------------


def _used(events: DataFrame, source: Source, views: Sequence[FeatureView]) -> list[Column]:
    """Return the columns by which a change of an event can change a feature.

    All of them where events equal in both instants are ordered by every column.
    """
    is_ordered = any(feature.needs_order for view in views for feature in view.features())
    conditions = [F.expr(text).alias(name) for text, name in condition_columns(views).items()]
    if is_ordered and not source.tie_breaker:
        return [*(F.col(f"`{name}`") for name in events.columns), *conditions]
    names = [EVENT_TS, KNOWN_TS, *source.tie_breaker]
    names += [column for view in views for column in (*view.entity_key, *view.inputs)]
    return [*(F.col(name) for name in dict.fromkeys(names)), *conditions]


def _difference(old: DataFrame, new: DataFrame) -> DataFrame:
    """Return the rows that do not stand equally often in both, with ``row_change``.

    Numbers count by their bits: grouping takes 0.0 and -0.0 for one value, so zeros bring their sign along.
    """
    numbers = [field.name for field in new.schema if isinstance(field.dataType, T.DoubleType | T.FloatType)]
    signs = [F.when(F.col(name) == 0, F.col(name).cast("string")).alias(f"{_ZERO}{name}") for name in numbers]
    both = new.withColumn(CHANGE, F.lit(1)).unionByName(old.withColumn(CHANGE, F.lit(-1)))
    grouped = both.select("*", *signs).groupBy(*new.columns, *(f"{_ZERO}{name}" for name in numbers))
    return grouped.agg(F.sum(CHANGE).alias(CHANGE)).where(F.col(CHANGE) != 0).select(*new.columns, CHANGE)
