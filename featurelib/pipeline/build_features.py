"""The feature table is filled where something it depends on is new, and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from featurelib.errors import FeaturelibError
from featurelib.pipeline.context import Context, StepResult
from featurelib.pipeline.frames import features_hash, source_frames, spine_frame, tie_breakers
from featurelib.pipeline.schemas import struct
from featurelib.point_in_time import features_as_of
from featurelib.point_in_time.buckets import AS_OF
from featurelib.tables import ALL, Run, begin_run, published, read
from featurelib.timeline import from_micros

_INPUTS = struct(table="string", day="date", features_hash="string")


@dataclass(frozen=True)
class Missing:
    """What is to be built: the spine's days from ``first`` on, why, and whether none of them is there yet."""

    first: date
    days: int
    why: str
    is_new: bool = False


def build_features(context: Context) -> StepResult:
    """Compute the features of every spine row whose day, or whose inputs, were not there last time.

    A new day of any table rebuilds the spine's rows of that day and later ones: earlier moments cannot see
    it. A changed definition rebuilds all.
    """
    definition = features_hash(context.project)
    loaded = _loaded_days(context)
    missing = _missing(context, loaded, definition)
    if missing is None:
        return StepResult("features", "nothing new to compute")
    run_id = context.new_run_id("features")
    with begin_run(
        context.spark, context.store, pipeline=context.project.name, run_id=run_id, plan_hash=definition
    ) as run:
        rows = _write_features(context, run, missing, definition)
        _write_inputs(context, run, loaded, definition)
        run.publish(published_at=context.as_of)
    features = sum(len(view.feature_names) for view in context.project.views)
    keys = len({view.entity_key for view in context.project.views})
    return StepResult(
        "features",
        f"{features} features of {len(context.project.views)} views for {rows:,} rows of {missing.days} "
        f"day{'s' * (missing.days != 1)} ({missing.why}), {keys} shuffles",
        run_id,
        facts={
            "features": features,
            "rows": rows,
            "days": missing.days,
            "why": missing.why,
            "hash": definition,
        },
        versions=run.versions,
    )


def _inputs_table(context: Context) -> str:
    return f"{context.names.features}_inputs"


def _loaded_days(context: Context) -> dict[str, set[date]]:
    """Return the loaded days of every table that spine or sources read."""
    if context.names.files not in published(context.store):
        raise FeaturelibError("nothing was ingested yet", "loaded days", "run the ingest step first")
    used = {context.project.spine.table, *(source.table for source in context.project.sources.values())}
    rows = read(context.spark, context.store, context.names.files).select("table", "day").collect()
    days: dict[str, set[date]] = {name: set() for name in used}
    for row in rows:
        if row["table"] in used:
            days[row["table"]].add(row["day"])
    return days


def _missing(context: Context, loaded: Mapping[str, set[date]], definition: str) -> Missing | None:
    spine_days = sorted(loaded[context.project.spine.table])
    if not spine_days:
        return None
    if _inputs_table(context) not in published(context.store):
        return Missing(spine_days[0], len(spine_days), "new", is_new=True)
    built: dict[str, set[date]] = {name: set() for name in loaded}
    hashes = set()
    for row in read(context.spark, context.store, _inputs_table(context)).collect():
        built.setdefault(row["table"], set()).add(row["day"])
        hashes.add(row["features_hash"])
    if hashes != {definition}:
        return Missing(spine_days[0], len(spine_days), "definition changed")
    fresh = [day for name, days in loaded.items() for day in days - built[name]]
    if not fresh:
        return None
    touched = [day for day in spine_days if day >= min(fresh)]
    if not touched:
        return None
    is_late = any(day in built[context.project.spine.table] for day in touched)
    if is_late:
        return Missing(touched[0], len(touched), f"data of {min(fresh)} came late")
    return Missing(touched[0], len(touched), "new", is_new=True)


def _write_features(context: Context, run: Run, missing: Missing, definition: str) -> int:
    """Write the features of the missing days; return the number of rows."""
    project = context.project
    days = f"_day >= DATE'{missing.first}'"
    rows = run.read(context.names.silver(project.spine.table)).where(days)
    spine = spine_frame(project, rows)
    features = features_as_of(
        spine,
        project.views,
        source_frames(project, lambda table: run.read(context.names.silver(table))),
        tie_breakers=tie_breakers(project),
        between=_moments(spine),
    ).withColumn("_features_hash", F.lit(definition))
    run.create(
        context.names.features,
        features.schema,
        partition_by=("_month",),
        description="One row a prediction: what was known at as_of_ts.",
    )
    if missing.is_new:
        run.append(features, context.names.features)
    else:
        run.write(features, context.names.features, replace=days)
    return rows.count()


def _moments(spine: DataFrame) -> tuple[datetime, datetime] | None:
    """Return the half-open interval of the spine's moments, None for an empty spine."""
    micros = F.unix_micros(AS_OF)
    first, last = spine.agg(F.min(micros), F.max(micros)).collect()[0]
    return None if first is None else (from_micros(first), from_micros(last + 1))


def _write_inputs(context: Context, run: Run, loaded: Mapping[str, set[date]], definition: str) -> None:
    rows = [(name, day, definition) for name, days in sorted(loaded.items()) for day in sorted(days)]
    table = _inputs_table(context)
    run.create(table, _INPUTS, description="The days of every input that the features were built from.")
    run.write(context.spark.createDataFrame(rows, _INPUTS).coalesce(1), table, replace=ALL)
