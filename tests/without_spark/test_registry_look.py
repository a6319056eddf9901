"""The registry is asked without being made, and an unreachable one is said to be so within seconds."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from featurelib.errors import PreconditionError
from featurelib.registry.look import submitted_ids
from featurelib.specs import TrackingSettings


def settings(uri: str, folder: Path) -> TrackingSettings:
    """A tracking server or file."""
    return TrackingSettings(tracking_uri=uri, artifact_root=str(folder))


def test_no_registry_is_made(tmp_path: Path) -> None:
    """Neither where there is no file, nor where it is empty."""
    path = tmp_path / "mlflow" / "mlflow.db"
    assert submitted_ids(settings(f"sqlite:///{path}", tmp_path), "tips") == set()
    assert list(tmp_path.iterdir()) == []
    path.parent.mkdir()
    path.touch()
    assert submitted_ids(settings(f"sqlite:///{path}", tmp_path), "tips") == set()
    assert path.stat().st_size == 0


def test_a_file_that_is_no_database_is_said_to_be_none(tmp_path: Path) -> None:
    """A message with what to do, not a stack of SQLAlchemy."""
    path = tmp_path / "mlflow.db"
    path.write_text("not a database" * 100)
    with pytest.raises(PreconditionError, match="file is not a database"):
        submitted_ids(settings(f"sqlite:///{path}", tmp_path), "tips")


def test_a_server_that_is_down_is_told_at_once(tmp_path: Path) -> None:
    """Nothing listens on port 9 of this machine."""
    with pytest.raises(PreconditionError, match=r"http://127\.0\.0\.1:9 cannot be asked"):
        submitted_ids(settings("http://127.0.0.1:9", tmp_path), "tips")


def test_an_empty_registry_is_asked_by_mlflow(tmp_path: Path) -> None:
    """A file with the tables, made by MLflow, holds no version of a model that was never registered."""
    from featurelib.registry.tracker import Tracker

    path = tmp_path / "mlflow.db"
    at = settings(f"sqlite:///{path}", tmp_path)
    assert not Tracker(at).has_alias("tips", "champion")
    with sqlite3.connect(path) as database:
        assert database.execute("SELECT count(*) FROM model_versions").fetchone() == (0,)
    assert submitted_ids(at, "tips") == set()
