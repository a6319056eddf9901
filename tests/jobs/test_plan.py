"""What a plan says is what the run then does; a run that is stopped by its budget goes on where it stopped."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from featurelib.errors import BudgetExceeded
from featurelib.pipeline.budget import Budget
from featurelib.pipeline.context import Place
from featurelib.pipeline.estimates import past_runs
from featurelib.pipeline.plan import Plan, plan
from featurelib.pipeline.records import newest_runs
from featurelib.pipeline.steps import run_pipeline, run_step
from featurelib.registry.tracker import Tracker
from featurelib.tables import content_hash, rows_of
from tests.jobs.cafe import cafe_context, changed, edit, features, from_scratch
from tests.jobs.cafe_project import MODELS, SOURCES, land, land_day

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from featurelib.pipeline.context import Context

BUILDS = ("ingest", "build_features", "build_training_set")


def planned(context: Context, steps: tuple[str, ...] = BUILDS) -> Plan:
    """The plan as the command makes it, without a session."""
    return plan(Place(context.project, context.as_of), steps=steps)


def days_of(found: Plan, step: str) -> set[date]:
    """The days of a step's items."""
    items = [item for one in found.steps if one.step == step for item in one.items]
    return {
        date.fromordinal(day)
        for item in items
        if item.first is not None and item.end is not None
        for day in range(item.first.toordinal(), item.end.toordinal())
    }


def test_a_new_day_is_built_as_planned(cafe: Context) -> None:
    """Day 6: four rows are planned and four are built; then nothing is left, and the training set ends before."""
    assert planned(cafe).builds == []
    land_day(Path(cafe.project.settings.root), "2024-01-06")
    found = planned(cafe)
    assert days_of(found, "build_features") == {date(2024, 1, 6)}
    assert [item.rows for item in found.builds] == [4, 2, 2, 4]
    assert not days_of(found, "build_training_set")

    run_step(cafe, "ingest")
    result = run_step(cafe, "build_features")

    assert "4 rows of 1 day (new)" in result.summary
    assert planned(cafe).builds == []
    assert run_step(cafe, "build_training_set").is_idle
    learned = past_runs(cafe)
    assert [run.size for run in learned["build_features"]] == [4, 4, 16]
    assert [run.expected is None for run in learned["build_features"]] == [False, False, True]


def test_a_late_row_is_planned_before_and_after_it_is_loaded(cafe: Context) -> None:
    """A sale of day 3 in a file of day 6 is known once it is loaded: days it touches are all planned."""
    root = Path(cafe.project.settings.root)
    land(root, "sales", "2024-01-06", "x,A,cat,100,2024-01-03T10:00:00Z,2024-01-03T09:00:00Z,")
    assert not days_of(planned(cafe), "build_features")
    run_step(cafe, "ingest")
    found = planned(cafe)
    assert days_of(found, "build_features") >= touched_days(cafe, lambda: run_step(cafe, "build_features"))
    assert {item.why for item in found.builds if item.table == "features.cafe"} == {"late data: sales"}


@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("sales", changed("amount", "-0.0", "sale_id = 's2B'")),
        ("weather", changed("temp", "99.0", "_day = DATE'2024-01-04'")),
        ("visits", changed("party", "9", "visit_id = 'B2m'")),
    ],
)
def test_no_touched_day_is_missing_from_the_plan(
    cafe: Context, table: str, change: Callable[[DataFrame], DataFrame]
) -> None:
    """What the engine finds touched lies within the planned days, and the plan then has nothing left."""
    edit(cafe, table, change)
    found = planned(cafe)
    assert all(item.at_most for item in found.builds if item.table == "features.cafe")
    days = touched_days(cafe, lambda: run_step(cafe, "build_features"))
    assert days
    assert days_of(found, "build_features") >= days
    assert not days_of(planned(cafe), "build_features")


def test_a_source_whose_event_time_is_computed_is_planned_whole(cafe: Context) -> None:
    """Its files do not say when its events happened, so no day can be ruled out."""
    text = SOURCES.replace("event_ts: sold_ts", "event_ts: sold_ts + INTERVAL 0 HOUR")
    computed = cafe_context(cafe.spark, Path(cafe.project.settings.root), changed={"cafe/sources.yaml": text})
    run_step(computed, "build_features")
    edit(computed, "sales", changed("amount", "7.0", "sale_id = 's4B'"))
    assert days_of(planned(computed), "build_features") == {date(2024, 1, day) for day in range(1, 6)}


def test_a_run_stopped_by_its_budget_goes_on(cafe: Context) -> None:
    """Stopped before the features: ingest stays done, the stop is recorded, a rerun ends as if never stopped."""
    land_day(Path(cafe.project.settings.root), "2024-01-06")
    looks = iter((0.0, 0.0, 999.0))
    budget = Budget(1000, None, "./spark-submit.sh demo", clock=lambda: next(looks))
    left = "done: ingest\n  left: build features, build training set"
    with pytest.raises(BudgetExceeded, match=left) as stop:
        run_pipeline(cafe, steps=BUILDS, budget=budget)
    assert stop.value.action == "go on with ./spark-submit.sh demo"
    stopped = newest_runs(cafe)[0]
    assert (stopped["step"], stopped["state"], stopped["exit_code"]) == ("build_features", "failed", 6)
    assert {row["_day"] for row in rows_of(cafe.store, cafe.names.feature_versions)} == {
        date(2024, 1, day) for day in range(1, 6)
    }

    results = run_pipeline(cafe, steps=BUILDS)

    assert [result.is_idle for result in results] == [True, False, True]
    assert content_hash(features(cafe)) == from_scratch(cafe)


def test_a_search_stopped_by_the_runs_budget_goes_on(cafe: Context) -> None:
    """Between two trials nothing is left: exit code 6, no model, and a rerun tries the second trial alone."""
    once = MODELS.replace("    gate:", "    tuning: {trials: 2, parallelism: 1}\n    gate:")
    context = cafe_context(cafe.spark, Path(cafe.project.settings.root), changed={"cafe/models.yaml": once})
    looks = iter((0.0, 0.0, 1500.0))
    budget = Budget(1000, None, "./spark-submit.sh run", clock=lambda: next(looks))
    with pytest.raises(BudgetExceeded, match="1 of 2 ended and are kept") as stop:
        run_step(context, "train", budget=budget)
    assert (stop.value.exit_code, "go on with ./spark-submit.sh run" in stop.value.action) == (6, True)
    assert newest_runs(context)[0]["exit_code"] == 6
    assert Tracker(context.project.settings.tracking).aliases("tips") == {}
    (journal,) = (context.project.settings.work_folder / "searches" / "tips").glob("*.jsonl")
    (kept,) = [line for line in journal.read_text().splitlines() if '"number": 0' in line]
    assert '"number": 1' not in journal.read_text()

    facts = run_step(context, "train").facts["training"]

    assert [trial["number"] for trial in facts["trials"]] == [0, 1]
    assert str(facts["trials"][0]["seconds"]) in kept
    assert not journal.exists()


def touched_days(context: Context, build: Callable[[], object]) -> set[date]:
    """The days of the rows that a build finds touched."""
    build()
    return {row["_day"] for row in rows_of(context.store, context.names.touched)}
