"""Workers and executors that die half-way through a shuffle change no row of the result."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pyspark
import pytest

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture
def spark_home(tmp_path: Path) -> Path:
    """Spark's own folder as links: executors of a cluster on one machine write beside it."""
    home = tmp_path / "spark"
    home.mkdir()
    for entry in Path(pyspark.__file__).parent.iterdir():
        (home / entry.name).symlink_to(entry)
    return home


def test_a_killed_worker_and_a_lost_executor_leave_the_result_as_it_is(
    tmp_path: Path, spark_home: Path
) -> None:
    """On two executor processes: a Python worker is killed, then an executor with the map outputs it holds.

    Both when half of a bucket's rows were handed on, over inputs whose rows come in another order when a task is
    repeated, nulls in the keys and a hot entity among them. That the kills took place is part of what is asserted:
    the marker of each, and for the executor that a stage had to be run again.
    """
    child = subprocess.run(
        [sys.executable, "-m", "tests.spark.lost_workers", str(tmp_path)],
        cwd=PROJECT,
        env={**os.environ, "SPARK_HOME": str(spark_home), "SPARK_LOCAL_DIRS": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )

    assert child.returncode == 0, child.stderr[-4000:]
    assert json.loads(child.stdout.splitlines()[-1]) == {
        "rows": 2000,
        "worker": {"fired": True, "same": True, "attempts": 1},
        "executor": {"fired": True, "same": True, "attempts": 2},
    }
