"""Specs become Polars frames: the same sources and the same spine as in Spark, in one process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from featurelib.errors import ConfigError
from featurelib.expressions.frames import only_where, with_expressions
from featurelib.expressions.language import check_select, columns_of
from featurelib.expressions.on_polars import polars_expression
from featurelib.pipeline.silver import SilverRows, Span, types_of
from featurelib.point_in_time.features import AS_OF, EVENT_TS, KNOWN_TS
from featurelib.point_in_time.reach import Bounds, reach_of_views
from featurelib.point_in_time.tasks import condition_columns
from featurelib.quality.rules import WARNINGS
from featurelib.specs import FeatureView, Project, Source


def events_of(
    project: Project,
    name: str,
    views: Sequence[FeatureView],
    silver: SilverRows,
    *,
    between: tuple[int, int] | None,
) -> pl.DataFrame:
    """Return a source with its two instants, and every column that the views use of it.

    Grain: one row an event that some moment of ``between``, ``[first, last)`` in microseconds, can reach.

    Raises:
        ConfigError: something of the source only Spark evaluates; the message says what.
    """
    source = project.sources[name]
    span = span_of(project, source, reach_of_views(views, between))
    rows = silver(source.table, used_columns(source, views), span)
    return to_events(rows, project, source, conditions=condition_columns(views))


def span_of(project: Project, source: Source, bounds: Bounds) -> Span | None:
    """Return the rows of a source's table that can be events within the bounds, None for all.

    They are all wanted where ``event_ts`` is computed: no file says what it comes to.
    """
    types = types_of(project, source.table)
    column = source.event_ts
    if source.sql is not None:
        column = check_select(source.sql, source.table, list(types)).columns.get(column, "")
    return Span(column, *bounds) if types.get(column) == "timestamp_utc" and bounds != (None, None) else None


def used_columns(source: Source, views: Sequence[FeatureView]) -> frozenset[str] | None:
    """Return the columns of the source's table that the views need, None for all of them.

    All are needed where events equal in both instants are ordered by every column.
    """
    is_ordered = any(feature.needs_order for view in views for feature in view.features())
    if source.sql is not None or (is_ordered and not source.tie_breaker):
        return None
    wanted = {column for view in views for column in (*view.entity_key, *view.inputs)}
    wanted |= {column for view in views for text in view.conditions for column in columns_of(text)}
    wanted |= set(source.tie_breaker)
    texts = [source.event_ts, source.known_ts, source.where]
    texts += [text for column, text in source.columns.items() if column in wanted]
    used = {column for text in texts if text is not None for column in columns_of(text)}
    return frozenset((wanted - source.columns.keys()) | used)


def read_columns(source: Source, views: Sequence[FeatureView]) -> frozenset[str] | None:
    """Return the columns that the views need, and those that the source computes its own of; None for all."""
    used = used_columns(source, views)
    texts = source.columns.values()
    return None if used is None else used | {column for text in texts for column in columns_of(text)}


def to_events(
    rows: pl.DataFrame,
    project: Project,
    source: Source,
    *,
    conditions: Mapping[str, str],
    filtered_out: bool = False,
) -> pl.DataFrame:
    """Prepare a source's rows: its SELECT or columns and where, its two instants, and the views' conditions.

    ``conditions`` gives the boolean column that each ``where`` of a view becomes. With ``filtered_out``
    these are the rows that ``where`` takes away instead of those it keeps.

    Raises:
        ConfigError: something of it only Spark evaluates; the message says what.
    """
    if source.transform is not None:
        raise ConfigError(
            f"source of table {source.table!r} has the transform {source.transform!r}",
            "expressions only: a transform takes a Spark DataFrame",
            "run the Spark command, or say it in expressions",
        )
    types: dict[str, str] = types_of(project, source.table)
    events = rows.drop(*(name for name in rows.columns if name not in types and name != WARNINGS))
    if source.sql is not None:
        chosen = check_select(source.sql, source.table, [name for name in types if name in rows.columns])
        events = _where(events, chosen.where, types, negated=filtered_out)
        compiled = {name: polars_expression(text, types) for name, text in chosen.columns.items()}
        events = with_expressions(events, compiled).select(*compiled)
        types = {name: expression.type for name, expression in compiled.items()}
    else:
        events = _where(events, source.where, types, negated=filtered_out)
        wanted = [
            name for name in source.columns if set(columns_of(source.columns[name])) <= set(rows.columns)
        ]
        events = _with_columns(
            events, {name: source.columns[name] for name in wanted}, types, source.column_types
        )
        types = {**types, **source.column_types}
    known = source.event_ts if source.known_ts is None else source.known_ts
    instants = {EVENT_TS: source.event_ts, KNOWN_TS: known}
    flags = {column: text for text, column in conditions.items()}
    gives = {**dict.fromkeys(instants, "timestamp_utc"), **dict.fromkeys(flags, "boolean")}
    return _with_columns(events, {**instants, **flags}, types, gives)


def spine_columns(project: Project) -> frozenset[str]:
    """Return the columns of the spine's table that the spine is made from."""
    spine = project.spine
    texts = [spine.as_of_ts, spine.where, *spine.columns.values()]
    return frozenset(column for text in texts if text is not None for column in columns_of(text))


def spine_of(project: Project, rows: pl.DataFrame) -> pl.DataFrame:
    """Return the spine: its columns and ``as_of_ts``. Grain: one row a prediction."""
    spine = project.spine
    types = types_of(project, spine.table)
    kept = _where(rows, spine.where, types)
    moment = polars_expression(spine.as_of_ts, types, gives="timestamp_utc")
    columns = {
        name: polars_expression(text, types, gives=spine.column_types[name])
        for name, text in spine.columns.items()
    }
    return with_expressions(kept, {**columns, AS_OF: moment}).select(*columns, AS_OF)


def _where(
    rows: pl.DataFrame, condition: str | None, types: Mapping[str, str], *, negated: bool = False
) -> pl.DataFrame:
    """Keep the rows for which the condition is true or, negated, false or null; without one, all or none."""
    if condition is None:
        return rows.clear() if negated else rows
    text = f"NOT coalesce(({condition}), false)" if negated else condition
    return only_where(rows, polars_expression(text, types))


def _with_columns(
    rows: pl.DataFrame, texts: Mapping[str, str], types: Mapping[str, str], gives: Mapping[str, str]
) -> pl.DataFrame:
    compiled = {name: polars_expression(text, types, gives=gives[name]) for name, text in texts.items()}
    return with_expressions(rows, compiled)
