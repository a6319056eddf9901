"""Features without Spark: the same kernels as in its tasks, over Polars frames in one process."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import polars as pl
import pyarrow as pa
from pyspark.sql import types as T
from pyspark.sql.pandas.types import from_arrow_schema

from featurelib.derived import derived_columns
from featurelib.errors import ConfigError, FrameError, nearest
from featurelib.expressions.frames import column_type, with_expressions
from featurelib.expressions.language import columns_of
from featurelib.expressions.on_polars import polars_expression
from featurelib.pipeline.polars_frames import events_of
from featurelib.pipeline.silver import SilverRows
from featurelib.point_in_time.buckets import SPINE_TAG, features_of
from featurelib.point_in_time.features import AS_OF, KeyTask
from featurelib.point_in_time.tasks import CONDITION, order_of, source_task
from featurelib.specs import FeatureView, Project


def features_without_spark(
    project: Project, views: Sequence[FeatureView], spine: pl.DataFrame, silver: SilverRows
) -> pl.DataFrame:
    """Return spine rows with the features of some views, equal to what Spark's path gives them.

    Meant for samples, tests and single questions: this process reads of every source what the spine's moments
    can reach.

    Args:
        project: the validated specs.
        views: which of its views, see :func:`chosen_views`.
        spine: rows with the views' entity keys and ``as_of_ts``; kept in number and order.
        silver: gives the rows of landed tables.

    Raises:
        ConfigError: a source's expressions need Spark; the message says what.
    """
    between = _moments(spine)
    sources = {
        name: events_of(
            project, name, [view for view in views if view.source == name], silver, between=between
        )
        for name in dict.fromkeys(view.source for view in views)
    }
    return features_over(project, views, spine, sources)


def _moments(spine: pl.DataFrame) -> tuple[int, int] | None:
    """Return ``[first, last)`` of the moments asked about in microseconds, None for none."""
    asked = spine[AS_OF].drop_nulls().cast(pl.Datetime("us", "UTC")).to_physical()
    first, last = asked.min(), asked.max()
    return (first, last + 1) if isinstance(first, int) and isinstance(last, int) else None


def with_derived(features: pl.DataFrame, project: Project, names: Collection[str]) -> pl.DataFrame:
    """Add derived features by name, and those they are made of; grain unchanged.

    Raises:
        ConfigError: one needs Spark, or is made of a feature that is not there.
    """
    derived = features
    columns = derived_columns(project.derived)
    for name in needed_derived(project, names):
        types = {column: kind for column, held in derived.schema.items() if (kind := column_type(held))}
        compiled = polars_expression(columns[name].expression, types, gives=columns[name].type)
        derived = with_expressions(derived, {name: compiled})
    return derived


def needed_derived(project: Project, names: Collection[str]) -> list[str]:
    """Return derived features by name with the derived features they are made of, in order."""
    columns = derived_columns(project.derived)
    needed = set(names) & columns.keys()
    for name in reversed(columns):
        if name in needed:
            needed |= set(columns_of(columns[name].expression)) & columns.keys()
    return [name for name in columns if name in needed]


def needed_views(project: Project, names: Collection[str]) -> list[FeatureView]:
    """Return the views that compute the named features, or what the named derived ones are made of."""
    columns = derived_columns(project.derived)
    used = {
        column for name in needed_derived(project, names) for column in columns_of(columns[name].expression)
    }
    return [view for view in project.views if {*names, *used} & set(view.feature_names)]


def features_over(
    project: Project,
    views: Sequence[FeatureView],
    spine: pl.DataFrame,
    sources: Mapping[str, pl.DataFrame],
) -> pl.DataFrame:
    """Return spine rows with the features of some views over prepared sources, in the views' order.

    Raises:
        FrameError: a key has another type in a source than in the spine.
    """
    asked = arrow(spine)
    columns: dict[str, pa.Array] = {}
    for key in dict.fromkeys(view.entity_key for view in views):
        members = [view for view in views if view.entity_key == key]
        task, tables = _task(project, members, sources)
        _check_keys(asked, tables, key)
        columns.update(features_of(asked, tables, task))
    return spine.with_columns(
        [pl.Series(name, columns[name]) for view in views for name in view.feature_names]
    )


def chosen_views(project: Project, names: Sequence[str]) -> list[FeatureView]:
    """Return the views of those names, all of them for no name.

    Raises:
        ConfigError: there is no such view.
    """
    known = {view.name: view for view in project.views}
    for name in names:
        if name not in known:
            raise ConfigError(
                f"unknown view {name!r}.{nearest(name, known)}", f"one of {', '.join(known)}", "give --view"
            )
    return [known[name] for name in names] if names else list(project.views)


def arrow(frame: pl.DataFrame) -> pa.Table:
    """Return a frame as Arrow with the types that Spark's own frames have in its tasks."""
    table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    fields = [field.with_type(_small(field.type)) for field in table.schema]
    return table.cast(pa.schema(fields))


def source_schema(events: pa.Table) -> T.StructType:
    """Return the columns of a source as Spark types, without those that conditions became."""
    own = [name for name in events.column_names if not name.startswith(CONDITION)]
    return from_arrow_schema(events.select(own).schema)


def _small(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_large_string(kind):
        return pa.string()
    return pa.list_(_small(kind.value_type)) if pa.types.is_large_list(kind) else kind


def _task(
    project: Project,
    views: Sequence[FeatureView],
    sources: Mapping[str, pl.DataFrame],
) -> tuple[KeyTask, dict[int, pa.Table]]:
    """Return what to compute for the views of one entity key, and the events by tag."""
    tasks, tables = [], {}
    for tag, name in enumerate(dict.fromkeys(view.source for view in views), start=SPINE_TAG + 1):
        members = [view for view in views if view.source == name]
        tables[tag] = arrow(sources[name])
        schema = source_schema(tables[tag])
        order = order_of(members, schema, project.sources[name].tie_breaker or None)
        tasks.append(source_task(tag, members, schema, order))
    return KeyTask(views[0].entity_key, tuple(tasks)), tables


def _check_keys(spine: pa.Table, tables: Mapping[int, pa.Table], keys: Sequence[str]) -> None:
    for table in tables.values():
        for key in keys:
            here, there = table.schema.field(key).type, spine.schema.field(key).type
            if here != there:
                raise FrameError(
                    f"key {key!r} is {here} in a source and {there} in the spine", "one type", "cast it"
                )
