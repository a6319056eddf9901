"""Which feature rows a change of the data touches, and which training rows and predictions came from them.

The engine answers it itself: a changed event touches the rows that could count it in their longest window.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date, datetime
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from featurelib.pipeline.builds import Stale
from featurelib.pipeline.changes import CHANGE, changed_events, changed_spine, newest_moment
from featurelib.pipeline.context import Context
from featurelib.pipeline.days import in_partitions
from featurelib.point_in_time import features_as_of
from featurelib.point_in_time.features import AS_OF, EVENT_TS
from featurelib.point_in_time.reach import longest_of_views
from featurelib.specs import Aggregation, FeatureView, Project
from featurelib.tables import Run
from featurelib.timeline import LIFETIME, from_micros

KEY = "_key"
"""The key columns of a spine row as one JSON text."""
IDENTITY = (KEY, AS_OF, "_day")
_REASONS = "reasons"
_LATE, _CORRECTED = "late", "corrected"
_FEW = 500_000

SCHEMA = T.StructType(
    [
        T.StructField("_run_id", T.StringType()),
        T.StructField(KEY, T.StringType()),
        T.StructField(AS_OF, T.TimestampType()),
        T.StructField("_day", T.DateType()),
        T.StructField(_REASONS, T.ArrayType(T.StringType())),
        T.StructField("in_training", T.BooleanType()),
        T.StructField("_prediction_runs", T.ArrayType(T.StringType())),
    ]
)


@dataclass(frozen=True)
class Touched:
    """What a change of the data touches.

    Attributes:
        rows: spine rows, by :data:`IDENTITY`.
        days: the days that hold them.
        number: of the rows; those that are gone from the spine count.
        between: the half-open interval that holds their moments.
        training: how many of them stand in the training set.
        predictions: how many of them were predicted.
        reasons: inputs and what happened to them, as ``weather: late``.
    """

    rows: DataFrame
    days: tuple[date, ...]
    number: int
    between: tuple[datetime, datetime]
    training: int
    predictions: int
    reasons: tuple[str, ...]

    @property
    def to_join(self) -> DataFrame:
        """The rows, sent to every task where they are few: the other side of a join is then not moved."""
        return F.broadcast(self.rows) if self.number <= _FEW else self.rows


def touched_rows(context: Context, run: Run, stale: Sequence[Stale], caches: ExitStack) -> Touched | None:
    """Write the touched rows of stale days to a table of this run and return them; None for none.

    Grain of the table: one row a (run, spine key, ``as_of_ts``, ``_day``).

    Args:
        context: the run's surroundings.
        run: the run.
        stale: groups of days, with what they have seen.
        caches: what keeps the rows at hand until it is closed.

    Raises:
        OldVersionGone: what changed can no longer be said.
    """
    parts = [part for group in stale for part in _touched_parts(context, run, group, caches)]
    if not parts:
        return None
    found = reduce(DataFrame.unionByName, parts).groupBy(*IDENTITY)
    reasons = F.array_sort(F.array_distinct(F.flatten(F.collect_list(_REASONS)))).alias(_REASONS)
    rows = _cached(_with_uses(context, run, _cached(found.agg(reasons), caches)), caches)
    run.create(context.names.touched, SCHEMA, description="Feature rows built again for changed data.")
    run.append(rows, context.names.touched)
    return _summary(rows)


def with_key(rows: DataFrame, project: Project) -> DataFrame:
    """Add the key columns of a spine row as one JSON text."""
    return rows.withColumn(KEY, F.to_json(F.struct(*project.spine.key)))


def join_identity(rows: DataFrame, touched: DataFrame, project: Project, *, how: str) -> DataFrame:
    """Keep the rows that are among the touched (``left_semi``), or that are not (``left_anti``)."""
    return _joined(with_key(rows, project), touched.select(*IDENTITY), IDENTITY, how=how).drop(KEY)


# --- finding them ---------------------------------------------------------------------------------------


def _cached(frame: DataFrame, caches: ExitStack) -> DataFrame:
    """Keep the rows of a frame until the caches are closed; what is read twice is computed once."""
    caches.callback(frame.unpersist)
    return frame.cache()


def _touched_parts(context: Context, run: Run, stale: Stale, caches: ExitStack) -> list[DataFrame]:
    """Return touched rows with their reasons, a frame for each way in which rows are touched."""
    project = context.project
    tables = {
        name: context.names.silver(project.sources[name].table)
        for name in dict.fromkeys(view.source for view in project.views)
    }
    versions = {name: stale.seen[table] for name, table in tables.items() if table in stale.seen}
    features = context.names.features
    newest = newest_moment(context, run.versions.get(features, run.base[features]))
    found = {
        name: changed_events(context, run, name, since=version, newest=newest)
        for name, version in versions.items()
        if version != run.base[tables[name]]
    }
    events = {name: _cached(frame, caches) for name, frame in found.items() if frame is not None}
    seeing = _seeing(context, run, stale.days, events)
    parts = [] if seeing is None else [seeing]
    table = context.names.silver(project.spine.table)
    if table in stale.seen and stale.seen[table] != run.base[table]:
        spine = changed_spine(context, run, stale.days, since=stale.seen[table])
        if spine is not None:
            parts.append(_of_spine(project, spine))
    return parts


def _seeing(
    context: Context, run: Run, days: Sequence[date], changed: Mapping[str, DataFrame]
) -> DataFrame | None:
    """Return the rows of some days that can see a changed event, None where no event has changed."""
    project = context.project
    micros = F.unix_micros(EVENT_TS)
    events, lowest, highest = {}, [], []
    for name, frame in changed.items():
        first, last = frame.agg(F.min(micros), F.max(micros)).collect()[0]
        if first is None:
            continue
        events[name] = frame
        reach = longest_of_views([view for view in project.views if view.source == name])
        lowest.append(first)
        highest.append(None if reach is None else last + reach)
    if not events:
        return None
    views = [view for name in events for view in _flags(project, name)]
    keys = [key for view in views for key in view.entity_key]
    rows = run.read(context.names.features).where(in_partitions(days)).where(_within(lowest, highest))
    asked = rows.select(*dict.fromkeys([*keys, *project.spine.key, AS_OF, "_day"]))
    reasons = F.array_compact(F.array(*(_reason(views, name) for name in events)))
    said = features_as_of(asked, views, events).withColumn(_REASONS, reasons)
    return with_key(said.where(F.size(_REASONS) > 0), project).select(*IDENTITY, _REASONS)


def _within(lowest: Sequence[int], highest: Sequence[int | None]) -> Column:
    """Return whether a row's moment lies where some changed event can be seen, so that files are left out."""
    since = F.col(AS_OF) >= F.timestamp_micros(F.lit(min(lowest)))
    ends = [end for end in highest if end is not None]
    if len(ends) < len(highest):
        return since
    return since & (F.col(AS_OF) <= F.timestamp_micros(F.lit(max(ends))))


def _flags(project: Project, name: str) -> list[FeatureView]:
    """Return views that count changed events in the longest window of each kind of view of a source."""
    alike: dict[tuple[object, ...], list[FeatureView]] = {}
    for view in project.views:
        if view.source == name:
            alike.setdefault((view.entity_key, view.delay_micros, view.boundary), []).append(view)
    flags = []
    for number, views in enumerate(alike.values()):
        reach = longest_of_views(views)
        window = LIFETIME if reach is None else f"{reach - views[0].delay_micros}us"
        counts = tuple(
            Aggregation(name=kind, ops=("count",), windows=(window,), where=f"{CHANGE} {sign} 0")
            for kind, sign in ((_LATE, ">"), (_CORRECTED, "<"))
        )
        same = {"source": name, "delay": views[0].delay, "boundary": views[0].boundary}
        key = views[0].entity_key
        flags.append(FeatureView(name=f"__{name}_{number}", entity_key=key, aggregations=counts, **same))
    return flags


def _reason(views: Sequence[FeatureView], name: str) -> Column:
    """Return what touches a row by a source, null for nothing."""

    def sees(kind: str) -> Column:
        columns = [column for view in views if view.source == name for column in view.feature_names]
        counts = [F.col(column) > 0 for column in columns if f"__{kind}_count_" in column]
        return reduce(Column.__or__, counts)

    corrected, late = F.lit(f"{name}: {_CORRECTED}"), F.lit(f"{name}: {_LATE}")
    return F.when(sees(_CORRECTED), corrected).when(sees(_LATE), late)


def _of_spine(project: Project, changed: DataFrame) -> DataFrame:
    """Return changed spine rows with the reason."""
    rows = with_key(changed, project).groupBy(*IDENTITY).agg(F.min(CHANGE).alias(CHANGE))
    kind = F.when(F.col(CHANGE) < 0, _CORRECTED).otherwise(_LATE)
    return rows.select(*IDENTITY, F.array(F.concat(F.lit("spine: "), kind)).alias(_REASONS))


# --- what came from them --------------------------------------------------------------------------------


def _with_uses(context: Context, run: Run, rows: DataFrame) -> DataFrame:
    """Add the run, whether a row stands in the training set, and the runs that predicted it."""
    row = (KEY, AS_OF)
    used = rows.withColumn("_run_id", F.lit(run.run_id))
    training = _hits(context, run, context.names.training, rows)
    if training is not None:
        held = training.select(*row).distinct().withColumn("_held", F.col(KEY))
        used = _joined(used, held, row, how="left")
    hits = _hits(context, run, context.names.predictions, rows)
    if hits is not None:
        runs = hits.groupBy(*row).agg(F.array_sort(F.collect_set("_run_id")).alias("_prediction_runs"))
        used = _joined(used, runs, row, how="left")
    none = {"_held": F.lit(None), "_prediction_runs": F.array().cast("array<string>")}
    used = used.withColumns({name: column for name, column in none.items() if name not in used.columns})
    runs_or_none = F.coalesce("_prediction_runs", none["_prediction_runs"])
    in_training = F.col("_held").isNotNull()
    return used.withColumns({"in_training": in_training, "_prediction_runs": runs_or_none}).select(
        *SCHEMA.names
    )


def _hits(context: Context, run: Run, table: str, rows: DataFrame) -> DataFrame | None:
    """Return the rows of a table that stand for touched ones by key and moment.

    None where the table was never published, or has rows of another key: the spine meant something else then.
    """
    if table not in run.base:
        return None
    held = run.read(table)
    if not {*context.project.spine.key, AS_OF} <= set(held.columns):
        return None
    return _joined(with_key(held, context.project), rows.select(KEY, AS_OF), (KEY, AS_OF), how="left_semi")


def _joined(left: DataFrame, right: DataFrame, on: Sequence[str], *, how: str) -> DataFrame:
    """Join on columns whose nulls are equal; the columns of the left side and new ones of the right stay."""
    other = right.select(
        *(F.col(name).alias(f"__right_{name}") if name in on else name for name in right.columns)
    )
    equal = reduce(Column.__and__, (F.col(name).eqNullSafe(F.col(f"__right_{name}")) for name in on))
    return left.join(other, on=equal, how=how).drop(*(f"__right_{name}" for name in on))


def _summary(rows: DataFrame) -> Touched | None:
    counts = rows.groupBy("_day").agg(
        F.count(F.lit(1)).alias("number"),
        F.min(F.unix_micros(AS_OF)).alias("first"),
        F.max(F.unix_micros(AS_OF)).alias("last"),
        F.count_if("in_training").alias("training"),
        F.count_if(F.size("_prediction_runs") > 0).alias("predictions"),
        F.array_distinct(F.flatten(F.collect_set(_REASONS))).alias(_REASONS),
    )
    days = counts.collect()
    if not days:
        return None
    return Touched(
        rows=rows,
        days=tuple(sorted(day["_day"] for day in days)),
        number=sum(day["number"] for day in days),
        between=(
            from_micros(min(day["first"] for day in days)),
            from_micros(max(day["last"] for day in days) + 1),
        ),
        training=sum(day["training"] for day in days),
        predictions=sum(day["predictions"] for day in days),
        reasons=tuple(sorted({reason for day in days for reason in day[_REASONS]})),
    )
