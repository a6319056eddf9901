"""A backfill publishes chunk by chunk, goes on where it was stopped, and lets a daily run go first."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from featurelib.errors import BudgetExceeded
from featurelib.pipeline.backfill import Piece, backfill, pieces_of
from featurelib.pipeline.budget import Budget
from featurelib.pipeline.days import DayRange
from featurelib.pipeline.steps import run_pipeline, run_step
from featurelib.tables import InjectedFault, content_hash, rows_of
from featurelib.tables.faults import VARIABLE
from tests.jobs.cafe import cafe_context, features, from_scratch
from tests.jobs.cafe_project import DAYS, land_day

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from featurelib.pipeline.context import Context


@pytest.fixture(scope="module")
def loaded_root(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cafe whose five days are loaded, and the first is built."""
    root = tmp_path_factory.mktemp("loaded") / "root"
    for day in DAYS:
        land_day(root, day)
    context = cafe_context(spark, root)
    run_step(context, "ingest")
    run_step(context, "build_features", days=DayRange(end=date(2024, 1, 2)))
    return root


@pytest.fixture
def loaded(spark: SparkSession, loaded_root: Path, tmp_path: Path) -> Context:
    """A copy of that cafe, to be changed."""
    shutil.copytree(loaded_root, tmp_path / "root")
    return cafe_context(spark, tmp_path / "root")


def chunks(context: Context) -> list[Piece]:
    """The features of days 2 to 5, two days at a time: the cafe's model has too few rows to be trained."""
    found = pieces_of(context, DayRange(first=date(2024, 1, 2)), chunk="2d")
    return [piece for piece in found if piece.step == "build_features"]


def built(context: Context) -> list[int]:
    """The days of the published feature table."""
    return sorted({row["_day"].day for row in rows_of(context.store, context.names.feature_versions)})


def budget(clock: Callable[[], float]) -> Budget:
    """A thousand seconds by a clock of the test's own."""
    return Budget(1000, None, "./spark-submit.sh backfill", clock=clock)


def test_a_killed_chunk_is_the_only_one_lost(loaded: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """The chunk before the kill stays published, a rerun does the rest, and another does nothing."""
    monkeypatch.setenv(VARIABLE, "raise:publish.before@2")
    with pytest.raises(InjectedFault):
        backfill(loaded, chunks(loaded))
    assert built(loaded) == [1, 2, 3]
    monkeypatch.delenv(VARIABLE)

    (second,) = backfill(loaded, chunks(loaded))

    assert "of 2 days (new)" in second.summary
    assert content_hash(features(loaded)) == from_scratch(loaded)
    assert backfill(loaded, chunks(loaded)) == []


def test_a_budget_stops_between_chunks(loaded: Context) -> None:
    """Exit code 6 names the chunks that are done and left; what is done stays, and the same command goes on."""
    looks = iter((0.0, 0.0, 999.0, 999.0))
    left = "done: build features from 2024-01-02 to 2024-01-04\n  left: build features from 2024-01-04 to 2024-01-06"
    with pytest.raises(BudgetExceeded, match=left) as stop:
        backfill(loaded, chunks(loaded), budget=budget(lambda: next(looks)))
    assert (stop.value.exit_code, stop.value.action) == (6, "go on with ./spark-submit.sh backfill")
    assert built(loaded) == [1, 2, 3]

    backfill(loaded, chunks(loaded))
    assert built(loaded) == [1, 2, 3, 4, 5]


def test_a_daily_run_that_waits_goes_first(loaded: Context) -> None:
    """It comes while the first chunk is at work, has its turn before the second, and loses nothing by that."""
    root = Path(loaded.project.settings.root)
    land_day(root, "2024-01-06")
    done: list[str] = []

    def daily() -> None:
        run_pipeline(loaded, steps=("ingest", "build_features"), wait=300)
        done.append("daily")

    thread = threading.Thread(target=daily)

    def clock() -> float:
        if any(root.glob("leases/turns/cafe.json")) and thread.ident is None:
            thread.start()
            while not any(root.glob("leases/turns/cafe.*.waiting")):
                time.sleep(0.05)
        return 0.0

    results = backfill(loaded, chunks(loaded), budget=budget(clock))
    done.append("backfill")
    thread.join()

    assert done == ["daily", "backfill"]
    assert [result.facts["days"] for result in results if not result.is_idle] == [2]
    assert built(loaded) == [1, 2, 3, 4, 5, 6]
    assert content_hash(features(loaded)) == from_scratch(loaded)
