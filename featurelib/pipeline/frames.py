"""Specs become frames: sources with their two instants, and the spine with its moment."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from featurelib.derived import derived_columns
from featurelib.expressions.language import check_select
from featurelib.pipeline.functions import pipeline_function
from featurelib.pipeline.silver import types_of
from featurelib.point_in_time.features import AS_OF, EVENT_TS, KNOWN_TS
from featurelib.quality.rules import WARNINGS
from featurelib.quality.typing import spark_type
from featurelib.specs import Project, Source

SilverReader = Callable[[str], DataFrame]
"""Gives the silver rows of a landed table at the version the run has pinned."""


def source_frames(project: Project, silver: SilverReader) -> dict[str, DataFrame]:
    """Return every source that a view uses. Grain of each: one row an event."""
    used = dict.fromkeys(view.source for view in project.views)
    return {
        name: to_events(silver(project.sources[name].table), project, project.sources[name]) for name in used
    }


def to_events(rows: DataFrame, project: Project, source: Source, *, besides: Sequence[str] = ()) -> DataFrame:
    """Prepare a source's rows: its transform, its SELECT or columns and where, then its two instants.

    Columns named in ``besides`` are kept where a SELECT does not take them.
    """
    events = rows
    if source.transform is not None:
        events = events.transform(pipeline_function(project.folder, source.transform))
    if source.sql is not None:
        chosen = check_select(source.sql, source.table, events.columns)
        if chosen.where is not None:
            events = events.where(chosen.where)
        kept = [name for name in besides if name not in chosen.columns]
        events = events.select(*[F.expr(text).alias(name) for name, text in chosen.columns.items()], *kept)
    else:
        if source.where is not None:
            events = events.where(source.where)
        events = events.withColumns(
            {
                name: F.expr(text).cast(spark_type(source.column_types[name]))
                for name, text in source.columns.items()
            }
        )
    known = source.event_ts if source.known_ts is None else source.known_ts
    return events.withColumns({EVENT_TS: F.expr(source.event_ts), KNOWN_TS: F.expr(known)})


def declared(rows: DataFrame, project: Project, table: str) -> DataFrame:
    """Leave out the columns of a silver table that are not declared, so that they decide nothing.

    Args:
        rows: rows of the table.
        project: the validated specs.
        table: name of the landed table, or of its silver table.
    """
    known = {*types_of(project, table.removeprefix("silver.")), WARNINGS}
    return rows.drop(*(name for name in rows.columns if name not in known))


def tie_breakers(project: Project) -> dict[str, tuple[str, ...]]:
    """Return the declared tie breakers by source."""
    return {name: source.tie_breaker for name, source in project.sources.items() if source.tie_breaker}


def spine_frame(project: Project, rows: DataFrame) -> DataFrame:
    """Return the spine: its columns, ``as_of_ts`` and its ``_day``. Grain: one row a prediction."""
    spine = project.spine
    kept = rows if spine.where is None else rows.where(spine.where)
    columns = [
        F.expr(text).cast(spark_type(spine.column_types[name])).alias(name)
        for name, text in spine.columns.items()
    ]
    return kept.select(*columns, F.expr(spine.as_of_ts).alias(AS_OF), "_day", "_month")


def with_derived(features: DataFrame, project: Project) -> DataFrame:
    """Add the derived features, one after another, to rows that have all others; grain unchanged."""
    derived = features
    for name, column in derived_columns(project.derived).items():
        derived = derived.withColumn(name, F.expr(column.expression).cast(spark_type(column.type)))
    return derived
