"""The feature table is filled where something it depends on is new, and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from featurelib.derived import feature_names
from featurelib.errors import FeaturelibError
from featurelib.pipeline.context import Context, StepResult
from featurelib.pipeline.frames import features_hash, tie_breakers, with_derived
from featurelib.pipeline.future_events import future_events, in_words
from featurelib.pipeline.ledger import loaded_days
from featurelib.pipeline.scans import source_inputs, spine_input
from featurelib.pipeline.schemas import struct
from featurelib.point_in_time import Explanation, explain, features_as_of
from featurelib.point_in_time.features import AS_OF
from featurelib.tables import Run, Snapshot, begin_run, published, rows_of, snapshot
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
        rows, plan, late = _write_features(context, run, missing, definition)
        _write_inputs(context, run, loaded, definition)
        run.publish(published_at=context.as_of)
    features = len(feature_names(context.project))
    days = f"{missing.days} day{'s' * (missing.days != 1)} ({missing.why})"
    shuffles = f"{plan.shuffles or 'no'} shuffle{'s' * (plan.shuffles > 1)}"
    return StepResult(
        "features",
        f"{features} features of {len(context.project.views)} views for {rows:,} rows of {days}, {shuffles}"
        + in_words(late, context.as_of),
        run_id,
        facts={
            "features": features,
            "rows": rows,
            "days": missing.days,
            "why": missing.why,
            "hash": definition,
            "plan": str(plan),
            "future_events": late,
        },
        versions=run.versions,
    )


def _inputs_table(context: Context) -> str:
    return f"{context.names.features}_inputs"


def _loaded_days(context: Context) -> dict[str, set[date]]:
    """Return the loaded days of every table that spine or sources read."""
    spine = context.project.spine.table
    days = loaded_days(context, {spine, *(source.table for source in context.project.sources.values())})
    if not any(days.values()):
        raise FeaturelibError("nothing was ingested yet", "loaded days", "run the ingest step first")
    return days


def _missing(context: Context, loaded: Mapping[str, set[date]], definition: str) -> Missing | None:
    spine_days = sorted(loaded[context.project.spine.table])
    if not spine_days:
        return None
    if _inputs_table(context) not in published(context.store):
        return Missing(spine_days[0], len(spine_days), "new", is_new=True)
    built: dict[str, set[date]] = {name: set() for name in loaded}
    hashes = set()
    for row in rows_of(context.store, _inputs_table(context)):
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


def _write_features(
    context: Context, run: Run, missing: Missing, definition: str
) -> tuple[int, Explanation, dict[str, int]]:
    """Write the features of the missing days; return their number of rows, the plan, and future events."""
    project = context.project
    days = f"_day >= DATE'{missing.first}'"

    def pinned(table: str) -> tuple[Snapshot, DataFrame]:
        name = context.names.silver(table)
        return snapshot(context.store, name, run.base[name]), run.read(name)

    spine, sources = spine_input(project, pinned, since=missing.first), source_inputs(project, pinned)
    size, between = _extent(spine.frame)
    plan = explain(spine, project.views, sources, tie_breakers=tie_breakers(project), between=between)
    features = features_as_of(
        spine, project.views, sources, tie_breakers=tie_breakers(project), between=between
    )
    features = with_derived(features, project).withColumn("_features_hash", F.lit(definition))
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
    return size, plan, future_events(sources, context.as_of)


def _extent(spine: DataFrame) -> tuple[int, tuple[datetime, datetime] | None]:
    """Return the spine's rows, and the half-open interval of its moments, None for an empty spine."""
    micros = F.unix_micros(AS_OF)
    size, first, last = spine.agg(F.count(F.lit(1)), F.min(micros), F.max(micros)).collect()[0]
    return size, None if first is None else (from_micros(first), from_micros(last + 1))


def _write_inputs(context: Context, run: Run, loaded: Mapping[str, set[date]], definition: str) -> None:
    table = _inputs_table(context)
    run.create(table, _INPUTS, description="The days of every input that the features were built from.")
    days = [(name, day) for name, days in sorted(loaded.items()) for day in sorted(days)]
    rows = [{"table": name, "day": day, "features_hash": definition} for name, day in days]
    run.replace_rows(rows, table)
