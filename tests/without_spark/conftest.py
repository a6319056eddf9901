"""An MLflow database that has its tables already: making them takes seconds."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from featurelib.registry.tracker import Tracker
from tests.without_spark.registered import tracker_in


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database file of MLflow with all tables and no rows of ours."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def tracker(empty_database: Path, tmp_path: Path) -> Tracker:
    """An empty registry in the test's own folder."""
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    return tracker_in(tmp_path)
