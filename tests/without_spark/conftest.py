"""A registry in the test's own folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from featurelib.registry.tracker import Tracker
from tests.without_spark.registered import tracker_in


@pytest.fixture
def tracker(empty_database: Path, tmp_path: Path) -> Tracker:
    """An empty registry in the test's own folder."""
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    return tracker_in(tmp_path)
