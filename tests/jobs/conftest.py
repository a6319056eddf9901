"""Small pipelines that have really run: nine days of real flights with a model; five days of a cafe."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from featurelib.pipeline.context import Context

PROJECT = Path(__file__).parents[2]

_TWO_TREES = (
    "{gbt: {kind: gradient_boosted_trees, parameters: {trees: 2}, space: {max_depth: {integer: [2, 3]}}}}"
)
_NOT_FOR_MODELS = (
    "[{input: was_late, ops: [mean], windows: [24h]}, {ops: [count], windows: [24h], by: carrier},"
    " {input: carrier, ops: [mode, last_k], k: 2, windows: [last 5]}]"
)
SMALL = (
    "split.train=['2013-01-01', '2013-01-06']",
    "split.validate=['2013-01-06', '2013-01-07']",
    "split.test=['2013-01-07', '2013-01-08']",
    "split.embargo=1h",
    "score_from='2013-01-07'",
    "models.late_arrival.features=['dep_minute_of_day', 'distance', 'origin', 'origin_departures__*']",
    "models.late_arrival.categorical=['origin']",
    "models.late_arrival.baseline.features=['dep_minute_of_day', 'distance']",
    "models.late_arrival.lift=[]",
    "models.late_arrival.tuning.trials=2",
    "models.late_arrival.gate.minimum=0.3",
    "models.late_arrival.gate.lift_over_baseline=-1.0",
    f"models.late_arrival.estimators={_TWO_TREES}",
    f"views.route_arrivals.aggregations={_NOT_FOR_MODELS}",
)
"""A pipeline of a few days and a model of two trees; one view holds texts, lists and maps."""


@pytest.fixture(scope="session")
def contexts(spark: SparkSession) -> Callable[[Path, str], Context]:
    """Return a factory of contexts: a root folder and a moment, with the small configuration."""
    from featurelib.config import load_project
    from featurelib.pipeline.context import Context
    from featurelib.pipeline.flights import land_flights
    from featurelib.pipeline.progress import Progress

    def make(root: Path, as_of: str) -> Context:
        overrides = [f"root={root}", *SMALL]
        project = load_project(PROJECT / "conf" / "flights", env="local", overrides=overrides)
        moment = datetime.fromisoformat(as_of).replace(tzinfo=UTC)
        land_flights(project.settings.landing, until=moment.date())
        return Context(project, spark, moment, Progress(quiet=True))

    return make


@pytest.fixture(scope="session")
def ran(contexts: Callable[[Path, str], Context], tmp_path_factory: pytest.TempPathFactory) -> Context:
    """The context of a pipeline whose every step has run once, as of 2013-01-09."""
    from featurelib.pipeline.steps import run_pipeline

    context = contexts(tmp_path_factory.mktemp("flights"), "2013-01-09")
    run_pipeline(context)
    return context


@pytest.fixture(scope="session")
def cafe_root(spark: SparkSession, empty_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cafe whose features were built of days 1 to 4, and then of day 5, with a training set."""
    from featurelib.pipeline.steps import run_step
    from tests.jobs.cafe import cafe_context
    from tests.jobs.cafe_project import DAYS, land_day

    root = tmp_path_factory.mktemp("cafe") / "root"
    root.mkdir()
    shutil.copy(empty_database, root / "mlflow.db")
    for days in (DAYS[:4], DAYS[4:]):
        for day in days:
            land_day(root, day)
        context = cafe_context(spark, root)
        run_step(context, "ingest")
        run_step(context, "build_features")
    run_step(context, "build_training_set")
    return root


@pytest.fixture
def cafe(spark: SparkSession, cafe_root: Path, tmp_path: Path) -> Context:
    """A copy of that cafe, to be changed."""
    from tests.jobs.cafe import cafe_context

    shutil.copytree(cafe_root, tmp_path / "root")
    return cafe_context(spark, tmp_path / "root")
