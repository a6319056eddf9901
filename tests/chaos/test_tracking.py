"""MLflow's own tables are made by seconds of migrations, which cannot be gone on with when they were cut short."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from featurelib.tables import InjectedFault
from featurelib.tables.faults import VARIABLE
from tests.chaos import work
from tests.chaos.processes import Child, preload


def test_a_death_while_mlflow_makes_its_tables(tmp_path: Path) -> None:
    """Killed before the database has its name, or half-way through its migrations: the next run makes it whole."""
    preload("tests.chaos.work", "mlflow")
    child = Child(tmp_path / "said", work.open_mlflow, str(tmp_path), fault="kill:tracking.drafted")
    assert child.exit_code() == -9
    assert child.fired("tracking.drafted")
    assert not (tmp_path / "mlflow.db").exists()

    (draft,) = tmp_path.glob(".mlflow.db.*draft")
    draft.unlink()
    with sqlite3.connect(draft) as half:
        half.execute("CREATE TABLE _alembic_tmp_runs (run_uuid TEXT)")  # as a kill in a migration leaves it
    half.close()

    again = Child(tmp_path / "said", work.open_mlflow, str(tmp_path))
    assert again.exit_code() == 0, again.said.read_text()
    with sqlite3.connect(tmp_path / "mlflow.db") as whole:
        assert whole.execute("SELECT count(*) FROM experiments").fetchone()[0] >= 1
    whole.close()
    assert not list(tmp_path.glob(".mlflow.db.*"))


def test_an_exception_while_mlflow_makes_its_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that lives on, as a notebook does, makes the database when it opens MLflow again.

    MLflow remembers what it has made, and would not make a file of the same name again.
    """
    monkeypatch.setenv(VARIABLE, "raise:tracking.drafted")
    with pytest.raises(InjectedFault):
        work.open_mlflow(str(tmp_path))
    monkeypatch.delenv(VARIABLE)

    work.open_mlflow(str(tmp_path))

    with sqlite3.connect(tmp_path / "mlflow.db") as whole:
        assert whole.execute("SELECT count(*) FROM experiments").fetchone()[0] >= 1
    whole.close()
    assert not list(tmp_path.glob(".mlflow.db.*"))
