"""One Spark session a process, frames whose row order is nobody's, and an MLflow database that has its tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

# A run says the same each time. `--hypothesis-profile=search` looks for what no run has seen.
settings.register_profile("steady", derandomize=True, deadline=None)
settings.register_profile("search", deadline=None)
settings.load_profile("steady")


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """A classic local session with Delta: two cores, two shuffle partitions, UTC."""
    from featurelib.session import build_session
    from featurelib.specs import SparkSettings

    warehouse = tmp_path_factory.mktemp("warehouse")
    settings = SparkSettings(
        master="local[2]",
        driver_memory="3g",
        shuffle_partitions=2,
        conf={
            "spark.default.parallelism": "2",
            "spark.ui.enabled": "false",
            "spark.sql.warehouse.dir": str(warehouse),
            "spark.databricks.delta.snapshotPartitions": "1",
        },
    )
    session = build_session(settings, app_name="featurelib tests")
    yield session
    session.stop()


@pytest.fixture
def frame(spark: SparkSession):
    """Return a factory of small literal frames, spread over partitions so that row order is nobody's."""

    def make(rows: Sequence[tuple[object, ...]], schema: str) -> DataFrame:
        return spark.createDataFrame(list(rows), schema).repartition(3)

    return make


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database file of MLflow with all tables and no rows of ours: making them takes seconds."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
    return path
