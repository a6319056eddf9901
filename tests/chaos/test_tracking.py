"""MLflow's own tables are made by seconds of migrations, which cannot be gone on with when they were cut short."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from tests.chaos import work
from tests.chaos.processes import Child, preload


def test_a_death_while_mlflow_makes_its_tables(tmp_path: Path) -> None:
    """Killed before the database has its name, or half-way through its migrations: the next run makes it whole."""
    preload("tests.chaos.work", "mlflow")
    child = Child(tmp_path / "said", work.open_mlflow, str(tmp_path), fault="kill:tracking.drafted")
    assert child.exit_code() == -9
    assert child.fired("tracking.drafted")
    assert not (tmp_path / "mlflow.db").exists()

    draft = tmp_path / ".mlflow.db.draft"
    draft.unlink()
    with sqlite3.connect(draft) as half:
        half.execute("CREATE TABLE _alembic_tmp_runs (run_uuid TEXT)")  # as a kill in a migration leaves it
    half.close()

    again = Child(tmp_path / "said", work.open_mlflow, str(tmp_path))
    assert again.exit_code() == 0, again.said.read_text()
    with sqlite3.connect(tmp_path / "mlflow.db") as whole:
        assert whole.execute("SELECT count(*) FROM experiments").fetchone()[0] >= 1
    whole.close()
    assert not draft.exists()
