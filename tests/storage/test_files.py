"""The files below a table: snapshots of them, and their upkeep."""

from __future__ import annotations

import json
import pickle
import time
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pyspark.sql import functions as F
from pyspark.sql.types import DateType, DoubleType, StringType, StructField, StructType

from featurelib.errors import FeaturelibError
from featurelib.tables import (
    ALL,
    Store,
    begin_run,
    compact,
    keeping,
    published,
    read,
    read_rows,
    snapshot,
    sweep,
)

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

TABLE = "silver.odd"
SCHEMA = StructType(
    [StructField("day", DateType()), StructField("name", StringType()), StructField("x", DoubleType())]
)
ROWS = [(date(2013, 1, 1), "a b%:é/x", 1.0), (date(2013, 1, 2), None, 2.0), (None, "c", 3.0)]


def test_snapshot_compact_and_sweep(spark: SparkSession, store: Store) -> None:
    """A snapshot names readable files with typed partitions; upkeep and recovery never change the rows."""
    with begin_run(spark, store, pipeline="pipe", run_id="one") as run:
        run.create(TABLE, SCHEMA, partition_by=("day", "name"))
        run.append(spark.createDataFrame(ROWS, SCHEMA), TABLE)
        run.append(spark.createDataFrame(ROWS, SCHEMA), TABLE)
        run.publish()

    pinned = snapshot(store, TABLE, 2)
    assert sorted((str(f.partition["day"]), f.partition["name"]) for f in pinned.files)[::2] == [
        ("2013-01-01", "a b%:é/x"),
        ("2013-01-02", None),
        ("None", "c"),
    ]
    assert all(Path(file.path).stat().st_size == file.size_bytes for file in pinned.files)
    assert sorted(row["x"] for file in pinned.files for row in read_rows(file)) == [
        1.0,
        1.0,
        2.0,
        2.0,
        3.0,
        3.0,
    ]
    assert {file.minimum["x"] for file in pinned.files} == {1.0, 2.0, 3.0}
    assert (pinned.num_records, pinned.is_plain, pinned.partition_columns) == (6, True, ("day", "name"))
    assert StructType.fromJson(json.loads(pinned.schema_json)) == SCHEMA
    assert pickle.loads(pickle.dumps(pinned)) == pinned == snapshot(store, TABLE, 2)
    assert snapshot(store, TABLE, 0).files == ()
    with pytest.raises(FeaturelibError, match="version 9"):
        snapshot(store, TABLE, 9)

    done = compact(spark, store, TABLE, pipeline="pipe", run_id="two")
    assert (done.version, done.files_before, done.files_after) == (3, 6, 3)
    assert published(store) == {TABLE: 3}
    spark.sql(f"VACUUM delta.`{store.path(TABLE)}`")  # an operator's, which leaves commits without a stamp
    kept = keeping(store, TABLE, published=3, pins=(), retention="400d", now=time.time())
    assert (kept.current.files, kept.history.files, dict(kept.unneeded)) == (3, 6, {})
    sweep(store, kept)
    assert read(spark, store, TABLE).count() == read(spark, store, TABLE, version=2).count() == 6

    with begin_run(spark, store, pipeline="pipe", run_id="killed") as run:
        run.widen(TABLE, StructType([*SCHEMA.fields, StructField("y", DoubleType())]))
        run.write(run.read(TABLE).withColumn("y", F.lit(0.0)).limit(0), TABLE, replace=ALL)
    with begin_run(spark, store, pipeline="pipe", run_id="three"):
        newest = spark.read.format("delta").load(store.path(TABLE))
        assert (newest.columns, newest.count()) == (SCHEMA.fieldNames(), 6)
    assert compact(spark, store, TABLE, pipeline="pipe", run_id="four").files_after == 3


def test_deletion_vectors_and_column_mapping_are_flagged(spark: SparkSession, store: Store) -> None:
    """A table whose Parquet files alone do not say what it holds is never taken for a plain one."""
    path = store.path(TABLE)
    spark.sql(
        f"CREATE TABLE delta.`{path}` (k BIGINT) USING delta TBLPROPERTIES "
        "('delta.enableDeletionVectors' = 'true', 'delta.columnMapping.mode' = 'name')"
    )
    spark.range(100).withColumnRenamed("id", "k").coalesce(1).write.format("delta").mode("append").save(path)
    assert (snapshot(store, TABLE, 1).deletion_vectors, snapshot(store, TABLE, 1).column_mapping) == (
        False,
        True,
    )
    spark.sql(f"DELETE FROM delta.`{path}` WHERE k = 5")
    assert snapshot(store, TABLE, 2).deletion_vectors
    assert not snapshot(store, TABLE, 2).is_plain
