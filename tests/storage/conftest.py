"""A store in a fresh folder, and the smallest pipeline that has something to lose."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pyspark.sql.types import LongType, StringType, StructField, StructType

from featurelib.tables import Store, begin_run, published, read_rows, snapshot
from featurelib.tables.faults import VARIABLE

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

PROJECT = Path(__file__).parents[2]
SCHEMA = StructType([StructField("day", StringType()), StructField("n", LongType())])
DAYS = "silver.days"
TOTALS = "features.totals"

Rows = list[tuple[str, int]]
Pipeline = Callable[..., dict[str, int]]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    return Store(str(tmp_path / "store"))


@pytest.fixture
def pipeline(spark: SparkSession, store: Store) -> Pipeline:
    """Return a function that runs the two-table pipeline and gives the published versions."""

    def run(run_id: str, rows: Rows) -> dict[str, int]:
        return two_tables(spark, store, run_id, rows)

    return run


def two_tables(spark: SparkSession, store: Store, run_id: str, rows: Rows) -> dict[str, int]:
    """Replace the days of ``rows`` in one table and append their sum to another; publish both."""
    days = ", ".join(f"'{day}'" for day in sorted({day for day, _ in rows}))
    with begin_run(spark, store, pipeline="pipe", run_id=run_id) as run:
        run.create(DAYS, SCHEMA, partition_by=("day",))
        run.create(TOTALS, SCHEMA)
        run.write(spark.createDataFrame(rows, SCHEMA).coalesce(1), DAYS, replace=f"day in ({days})")
        total = [(run_id.split("/", maxsplit=1)[0], sum(n for _, n in rows))]
        run.append(spark.createDataFrame(total, SCHEMA).coalesce(1), TOTALS)
        run.publish()
    return published(store)


def content(store: Store, table: str, version: int | None = None) -> list[tuple[object, ...]]:
    """Return the sorted rows of a table as published, read without Spark."""
    pinned = published(store)[table] if version is None else version
    rows = [row for file in snapshot(store, table, pinned).files for row in read_rows(file)]
    columns = [field["name"] for field in json.loads(snapshot(store, table, pinned).schema_json)["fields"]]
    return sorted(tuple(row.get(name) for name in columns) for row in rows)


def killed_child(spark: SparkSession, store: Store, *, fault: str, run_id: str, rows: Rows) -> str:
    """Run the pipeline in a process of its own that shares this one's JVM; return what it said on stderr.

    The child attaches to the JVM, as a notebook does, so that a test pays no second JVM.
    """
    gateway = spark.sparkContext._gateway.gateway_parameters
    child = subprocess.run(
        [sys.executable, "-m", "tests.storage.child", store.root, run_id, repr(rows)],
        cwd=PROJECT,
        env={
            **os.environ,
            "PYSPARK_GATEWAY_PORT": str(gateway.port),
            "PYSPARK_GATEWAY_SECRET": gateway.auth_token,
            VARIABLE: fault,
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert child.returncode == -9, child.stderr
    return child.stderr
