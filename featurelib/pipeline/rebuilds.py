"""The three ways in which rows of the feature table are computed: by days, by columns, by touched rows."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from featurelib.derived import feature_names
from featurelib.pipeline.context import Context
from featurelib.pipeline.days import in_partitions
from featurelib.pipeline.definitions import features_hash
from featurelib.pipeline.encrypted import read_in_clear
from featurelib.pipeline.frames import declared, spine_frame, tie_breakers, with_derived
from featurelib.pipeline.scans import Pinned, snapshot_scan, source_inputs, spine_input
from featurelib.pipeline.tiles import engine_limits, with_tiles
from featurelib.pipeline.touched import Touched, join_identity
from featurelib.point_in_time import Explanation, SnapshotScan, explained_features_as_of
from featurelib.point_in_time.features import AS_OF
from featurelib.specs import FeatureView, Project
from featurelib.tables import Run, Snapshot, snapshot
from featurelib.timeline import from_micros

_DESCRIPTION = "One row a prediction: what was known at as_of_ts."
_PARTITIONS = ("_month",)
_FILE_ROWS = 12_500
"""A file holds few days, so that a late event has few rows written again. Delta replaces whole files."""
_FILES = 4_000
"""About so many files are not too many for a log; those of more rows hold more, until they are maintained."""


@dataclass(frozen=True)
class Part:
    """What one commit to the feature table computed.

    Attributes:
        features: number of features.
        views: the views that were computed; none where columns only went or are derived.
        rows: rows that were computed; touched ones that are gone count.
        of: rows of the days together, where not all of them were computed.
        days: days that were written.
        why: the reason, for people.
        plan: how; None where no view was computed.
    """

    features: int
    views: tuple[str, ...]
    rows: int
    days: int
    why: str
    plan: Explanation | None = None
    of: int | None = None

    def __str__(self) -> str:
        rows = "" if self.of is None else f"{self.rows:,} of "
        return (
            f"{counted(self.features, 'feature')} of {counted(len(self.views), 'view')} "
            f"for {rows}{counted(self.rows if self.of is None else self.of, 'row')} "
            f"of {counted(self.days, 'day')} ({self.why})"
        )


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: ``1 row``, ``2,000 rows``."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def build_days(
    context: Context,
    run: Run,
    days: Sequence[date],
    *,
    why: str,
    how: Literal["append", "replace", "rewrite"],
) -> Part:
    """Compute all rows of some days and add them, put them in the place of these days, or of everything."""
    spine = spine_input(context.project, pinned(context, run), days=days)
    size, between = _extent(spine.frame)
    features, plan = _features(context, run, spine, context.project.views, between=between)
    table = context.names.features
    if how == "rewrite":
        _rewrite(run, features, table, size)
    elif how == "append":
        run.append(_by_time(features), table, file_rows=_file_rows(size))
    else:
        run.write(_by_time(features), table, replace=in_partitions(days), file_rows=_file_rows(size))
    names = tuple(view.name for view in context.project.views)
    return Part(len(feature_names(context.project)), names, size, len(days), why, plan)


def build_touched(context: Context, run: Run, touched: Touched) -> Part:
    """Compute the touched rows and copy the others of their days; plainly all, where most are touched."""
    project, table = context.project, context.names.features
    wanted = in_partitions(touched.days)
    present = run.read(table).where(wanted)
    of, why = present.count(), ", ".join(touched.reasons)
    if touched.number * 2 > of:
        return build_days(context, run, touched.days, why=why, how="replace")
    kept = join_identity(present, touched.to_join, project, how="left_anti")
    rows = read_in_clear(context, run, context.names.silver(project.spine.table)).where(wanted)
    spine = join_identity(spine_frame(project, rows), touched.to_join, project, how="left_semi")
    features, plan = _features(context, run, spine, project.views, between=touched.between)
    run.write(_by_time(kept.unionByName(features)), table, replace=wanted, file_rows=_file_rows(of))
    names = tuple(view.name for view in project.views)
    return Part(len(feature_names(project)), names, touched.number, len(touched.days), why, plan, of=of)


def build_columns(context: Context, run: Run, changed: Collection[str]) -> Part:
    """Compute some views for all rows of the table; the columns of the others stay, those of none go.

    Derived features are computed again from the rows: they read nothing else.
    """
    project, table = context.project, context.names.features
    version = run.versions.get(table, run.base[table])
    views = [view for view in project.views if view.name in changed]
    stays = [name for view in project.views if view.name not in changed for name in view.feature_names]
    rows = run.read(table).select(*project.spine.columns, AS_OF, "_day", "_month", *stays)
    found = snapshot(context.store, table, version)
    size, days = found.num_records or rows.count(), rows.select("_day").distinct().count()
    if views:
        features, plan = _features(context, run, snapshot_scan(found, rows), views, between=None)
    else:
        features, plan = _finished(context, rows), None
    _rewrite(run, features, table, size)
    names = tuple(view.name for view in views)
    number = sum(len(view.feature_names) for view in views)
    why = f"definition changed: {', '.join(names) or 'no view'}"
    return Part(number, names, size, days, why, plan)


def _rewrite(run: Run, features: DataFrame, table: str, size: int) -> None:
    run.rewrite(
        _by_time(features),
        table,
        partition_by=_PARTITIONS,
        description=_DESCRIPTION,
        file_rows=_file_rows(size),
    )


def _file_rows(size: int) -> int:
    """Return the most rows of a file where so many are written."""
    return max(_FILE_ROWS, size // _FILES)


def _by_time(features: DataFrame) -> DataFrame:
    """Put the rows of each task, and so of its files, in order of time.

    Spark sorts by partition before it writes anyway; that sort takes a second column.
    """
    return features.sortWithinPartitions(*_PARTITIONS, AS_OF)


def _features(
    context: Context,
    run: Run,
    spine: DataFrame | SnapshotScan,
    views: Sequence[FeatureView],
    *,
    between: tuple[datetime, datetime] | None,
) -> tuple[DataFrame, Explanation]:
    """Return complete rows of the feature table, and how the views are computed."""
    project = context.project
    used = project.model_copy(update={"views": tuple(views)})
    sources = with_tiles(context, run, source_inputs(used, pinned(context, run)))
    ties = tie_breakers(project)
    features, plan = explained_features_as_of(
        spine, views, sources, tie_breakers=ties, between=between, limits=engine_limits(project)
    )
    return _finished(context, features), plan


def _finished(context: Context, rows: DataFrame) -> DataFrame:
    """Add what is derived from the other columns, and the identity of the definition."""
    project: Project = context.project
    return with_derived(rows, project).withColumn("_features_hash", F.lit(features_hash(project)))


def pinned(context: Context, run: Run) -> Pinned:
    """Return what gives silver tables at the versions that were published when the run began."""

    def at_base(table: str) -> tuple[Snapshot, DataFrame]:
        name = context.names.silver(table)
        rows = declared(read_in_clear(context, run, name), context.project, table)
        return snapshot(context.store, name, run.base[name]), rows

    return at_base


def _extent(spine: DataFrame) -> tuple[int, tuple[datetime, datetime] | None]:
    """Return the spine's rows, and the half-open interval of its moments, None for an empty spine."""
    micros = F.unix_micros(AS_OF)
    size, first, last = spine.agg(F.count(F.lit(1)), F.min(micros), F.max(micros)).collect()[0]
    return size, None if first is None else (from_micros(first), from_micros(last + 1))
