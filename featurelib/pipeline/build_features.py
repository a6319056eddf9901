"""The feature table is filled where something it depends on is new, and nowhere else."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import date

from featurelib.derived import feature_names
from featurelib.errors import ConfigError, FeaturelibError
from featurelib.pipeline.builds import Built, Stale, built, input_tables, write_built
from featurelib.pipeline.changes import OldVersionGone
from featurelib.pipeline.context import Context, StepResult
from featurelib.pipeline.days import ALL_DAYS, DayRange
from featurelib.pipeline.definitions import SPINE, changed_views, definitions, features_hash
from featurelib.pipeline.encrypted import require_keys
from featurelib.pipeline.future_events import future_events, in_words
from featurelib.pipeline.ledger import loaded_days
from featurelib.pipeline.rebuilds import Part, build_columns, build_days, build_touched, counted, pinned
from featurelib.pipeline.scans import source_inputs
from featurelib.pipeline.tiles import update_tiles
from featurelib.pipeline.touched import Touched, touched_rows
from featurelib.tables import Run, begin_run, published


@dataclass
class Work:
    """What a run has done so far.

    Attributes:
        parts: what was computed, in order.
        touched: rows that changed data touches, None for none.
    """

    parts: list[Part] = field(default_factory=list)
    touched: Touched | None = None


def build_features(context: Context, *, days: DayRange = ALL_DAYS, rebuild: bool = False) -> StepResult:
    """Compute what is missing of the features of some days, and what has changed since they were built.

    Days of the spine without features are added. Of days that have them, those rows are computed again that
    a late, corrected or removed row of an input touches; the table ``features.PIPELINE_touched`` lists them.
    A changed definition of a view computes that view's columns alone, for all rows; a changed spine
    everything.

    Args:
        context: the run's surroundings.
        days: days of the spine to look at; others stay as they are.
        rebuild: whether to compute the days from scratch, whatever has changed.

    Raises:
        ConfigError: the range holds no loaded day, or a definition has changed and the range is not all days.
        FeaturelibError: nothing was ingested yet.
    """
    wanted = _wanted_days(context, days)
    now, before = definitions(context.project), built(context)
    has_table = context.names.features in published(context.store)
    check_range(before, now, days, has_table=has_table)
    if not wanted or (not rebuild and _is_current(context, before, wanted, now)):
        return StepResult("features", "nothing new to compute")
    run_id = context.new_run_id("features")
    with begin_run(
        context.spark,
        context.store,
        pipeline=context.project.name,
        run_id=run_id,
        plan_hash=features_hash(context.project),
    ) as run:
        _require_inputs(context, run)
        require_keys(context)
        before, work = built(context), Work()
        update_tiles(context, run, pinned(context, run))
        if context.names.features not in run.base:
            work.parts.append(build_days(context, run, wanted, why="new", how="rewrite"))
        elif before.definitions.get(SPINE) != now[SPINE] or (rebuild and days.is_all):
            why = "asked for" if before.definitions == now else "definition changed"
            why = why if before.definitions else "nothing says what it was built from"
            work.parts.append(build_days(context, run, wanted, why=why, how="rewrite"))
        else:
            _build_what_changed(context, run, before, wanted, work, rebuild=rebuild)
        write_built(context, run, before, wanted, now)
        late = future_events(source_inputs(context.project, pinned(context, run)), context.as_of)
        run.publish(published_at=context.as_of)
    return _result(context, run, work, late)


def check_range(before: Built, now: Mapping[str, str], days: DayRange, *, has_table: bool) -> None:
    """Refuse a range of days where a definition has changed: a table has one meaning.

    Raises:
        ConfigError: so it is.
    """
    if has_table and before.definitions != now and not days.is_all:
        raise ConfigError(
            f"the features of {days}, whose definition has changed since the table was built",
            "one definition in all rows of the feature table",
            "run build-features once without --from and --to",
        )


def _wanted_days(context: Context, days: DayRange) -> list[date]:
    """Return the loaded days of the spine in a range.

    Raises:
        FeaturelibError: nothing was ingested yet.
    """
    spine = context.project.spine.table
    loaded = loaded_days(context, {spine, *(source.table for source in context.project.sources.values())})
    if not any(loaded.values()):
        raise FeaturelibError("nothing was ingested yet", "loaded days", "run the ingest step first")
    return days.of(loaded[spine])


def _is_current(context: Context, before: Built, wanted: Collection[date], now: Mapping[str, str]) -> bool:
    """Return whether these days have seen the newest version of every input, under today's definition."""
    known = published(context.store)
    if before.definitions != now or not before.days.keys() >= set(wanted):
        return False
    versions = {name: known[name] for name in input_tables(context) if name in known}
    return not before.stale(wanted, versions)


def _require_inputs(context: Context, run: Run) -> None:
    absent = [name for name in input_tables(context) if name not in run.base]
    if absent:
        raise FeaturelibError(
            f"no rows were ingested for {', '.join(absent)}",
            "every table that the spine and the views are read from",
            "land a file of each and run the ingest step",
        )


def _build_what_changed(
    context: Context, run: Run, before: Built, wanted: Sequence[date], work: Work, *, rebuild: bool
) -> None:
    """Bring the wanted days up to date: changed columns, then touched rows, then days that are not there."""
    now = definitions(context.project)
    if before.definitions != now:
        work.parts.append(build_columns(context, run, changed_views(before.definitions, now)))
    present = [day for day in wanted if day in before.days]
    versions = {name: run.base[name] for name in input_tables(context)}
    if rebuild and present:
        work.parts.append(build_days(context, run, present, why="asked for", how="replace"))
    elif stale := before.stale(present, versions):
        _build_stale(context, run, stale, work)
    missing = [day for day in wanted if day not in before.days]
    if missing:
        work.parts.append(build_days(context, run, missing, why="new", how="append"))


def _build_stale(context: Context, run: Run, stale: Sequence[Stale], work: Work) -> None:
    """Compute the rows that changed data touches, or all of the stale days where nobody can say which."""
    with ExitStack() as caches:
        try:
            work.touched = touched_rows(context, run, stale, caches)
        except OldVersionGone as gone:
            days = sorted(day for group in stale for day in group.days)
            why = f"version {gone.version} of {gone.table}, which they were built from, is gone"
            work.parts.append(build_days(context, run, days, why=why, how="replace"))
        if work.touched is not None:
            work.parts.append(build_touched(context, run, work.touched))


def _result(context: Context, run: Run, work: Work, late: Mapping[str, int]) -> StepResult:
    """Return what was done in a line and in figures; idle where nothing that changed touches a row."""
    if not work.parts:
        return StepResult("features", "nothing new to compute: what has changed touches no row")
    plans = [part.plan for part in work.parts if part.plan is not None]
    shuffles = sum(plan.shuffles for plan in plans)
    said = [
        "; ".join(map(str, work.parts)),
        "no shuffle" if not shuffles else counted(shuffles, "shuffle"),
    ]
    touched = work.touched
    if touched is not None:
        training = counted(touched.training, "training row")
        said.append(f"{training} and {counted(touched.predictions, 'prediction')} affected")
    return StepResult(
        "features",
        ", ".join(said) + in_words(late, context.as_of),
        run.run_id,
        facts={
            "features": len(feature_names(context.project)),
            "rows": sum(part.rows for part in work.parts),
            "days": sum(part.days for part in work.parts),
            "why": "; ".join(part.why for part in work.parts),
            "views": sorted({view for part in work.parts for view in part.views}),
            "touched": {
                "rows": touched.number if touched else 0,
                "training_rows": touched.training if touched else 0,
                "predictions": touched.predictions if touched else 0,
            },
            "hash": features_hash(context.project),
            "plan": "\n".join(map(str, plans)),
            "future_events": dict(late),
        },
        versions=run.versions,
    )
