"""A look at features without a JVM: the newest spine rows of the published tables, and their features."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime

import polars as pl

from featurelib.derived import derived_columns
from featurelib.errors import FeaturelibError
from featurelib.expressions.language import columns_of
from featurelib.pipeline.encrypted import opened_polars, readable_rows
from featurelib.pipeline.polars_frames import spine_columns, spine_of
from featurelib.pipeline.silver import SilverRows
from featurelib.pipeline.subjects import ROW
from featurelib.pipeline.without_spark import features_without_spark, with_derived
from featurelib.point_in_time.features import AS_OF
from featurelib.specs import FeatureView, Project
from featurelib.tables import DataFile, Store, published_version, read_arrow, snapshot
from featurelib.timeline import format_instant


def preview(
    project: Project,
    views: Sequence[FeatureView],
    store: Store,
    *,
    rows: int,
    before: datetime | None = None,
) -> pl.DataFrame:
    """Return spine rows with the features of some views: key, entity keys, moment and features.

    Args:
        project: the validated specs.
        views: which of its views.
        store: where the published tables are.
        rows: how many spine rows, the newest of those asked about before ``before``.
        before: a moment, None for no bound.

    Raises:
        FeaturelibError: no spine row lies before the moment.
        ConfigError: an expression needs Spark; the message says what.
    """
    spine = newest_spine(project, store, rows=rows, before=before)
    keys = dict.fromkeys([*project.spine.key, *(key for view in views for key in view.entity_key)])
    silver: SilverRows = readable_rows(project, store)
    features = features_without_spark(project, views, spine, silver)
    windowed = [name for view in views for name in view.feature_names]
    names = _made_of(project, {*spine.columns, *windowed})
    features = with_derived(features, project, names).select(*keys, AS_OF, *windowed, *names)
    return features.sort(AS_OF, *project.spine.key, descending=True)


def _made_of(project: Project, columns: set[str]) -> list[str]:
    """Return the derived features that are made of these columns alone."""
    found = list(columns)
    made: list[str] = []
    for name, column in derived_columns(project.derived).items():
        if set(columns_of(column.expression)) <= set(found):
            made.append(name)
            found.append(name)
    return made


def newest_spine(project: Project, store: Store, *, rows: int, before: datetime | None) -> pl.DataFrame:
    """Return spine rows with the greatest moments before a bound, reading the newest files only.

    Files are taken from the newest landed day before the bound on, until they hold enough rows.

    Raises:
        FeaturelibError: there is none.
    """
    table = f"silver.{project.spine.table}"
    found = snapshot(store, table, published_version(store, table))
    files = [file for file in found.files if before is None or _first_day(file) <= before.date()]
    parts: list[pl.DataFrame] = []
    for day in sorted({_last_day(file) for file in files}, reverse=True):
        same_day = frozenset(file.path for file in files if _last_day(file) == day)
        read = read_arrow(found, columns={*spine_columns(project), *ROW}, paths=same_day)
        part = spine_of(project, opened_polars(project, store, table, pl.DataFrame(pl.from_arrow(read))))
        parts.append(part if before is None else part.filter(pl.col(AS_OF) < before))
        if sum(part.height for part in parts) >= rows:
            break
    if not any(part.height for part in parts):
        bound = "" if before is None else f" before {format_instant(before)}"
        raise FeaturelibError(
            f"no row of {table} is asked about{bound}", "spine rows", "give a later --as-of, or run ingest"
        )
    return pl.concat(parts).top_k(rows, by=AS_OF)


def _first_day(file: DataFile) -> date:
    """Return the first landed day of a file's rows; files that do not say hold any day."""
    day: date = file.minimum.get("_day", date.min)
    return day


def _last_day(file: DataFile) -> date:
    day: date = file.maximum.get("_day", date.max)
    return day
