"""What one run may do, and what it refuses."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from deltalake import DeltaTable
from pyspark.sql.types import DoubleType, StringType, StructField, StructType

from featurelib.errors import ConfigError, FeaturelibError, FrameError, LeaseHeld, PublishError
from featurelib.tables import (
    ALL,
    Stamp,
    Store,
    begin_run,
    current_version,
    log,
    manifests,
    published,
    read,
    rows_of,
)
from featurelib.tables.commits import txn_options
from featurelib.tables.small import arrow_rows, commit_rows
from tests.storage.conftest import DAYS, SCHEMA, TOTALS, content

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def test_version_0_is_empty_and_has_every_property(spark: SparkSession, store: Store) -> None:
    """A table's first commit holds no rows, both retentions, its partitions and the run's stamp."""
    with begin_run(spark, store, pipeline="pipe", run_id="one", plan_hash="abc") as run:
        run.create(DAYS, SCHEMA, partition_by=("day",), description="days")
        run.create(DAYS, SCHEMA, partition_by=("day",))
        assert run.versions == {DAYS: 0}
    first = DeltaTable(store.path(DAYS), version=0)
    assert first.file_uris() == []
    assert first.metadata().partition_columns == ["day"]
    configuration = first.metadata().configuration
    assert configuration["delta.logRetentionDuration"] == "interval 400 days"
    assert configuration["delta.deletedFileRetentionDuration"] == "interval 400 days"
    assert log.commits_after(store.path(DAYS), -1)[0].stamp == Stamp("one", "pipe", 1, "abc", "create")


def test_a_half_made_folder_is_taken_over(spark: SparkSession, store: Store) -> None:
    """Stray files and an uncommitted log, as a kill during the first commit leaves them, do no harm."""
    stray = Path(store.path(DAYS))
    (stray / "_delta_log").mkdir(parents=True)
    (stray / "_delta_log" / ".00000000000000000000.json.draft.tmp").write_text("{")
    (stray / "part-0.parquet").write_text("no parquet")
    with begin_run(spark, store, pipeline="pipe", run_id="one") as run:
        run.create(DAYS, SCHEMA)
        assert run.write(spark.createDataFrame([("d1", 1)], SCHEMA), DAYS, replace=ALL) == 1
        run.publish()
    assert content(store, DAYS) == [("d1", 1)]


def test_two_writes_of_one_table_in_one_run(spark: SparkSession, store: Store) -> None:
    """Each write of a run is a commit of its own, none is taken for a repetition; the run reads its own."""
    with begin_run(spark, store, pipeline="pipe", run_id="one") as run:
        run.create(TOTALS, SCHEMA)
        frame = spark.createDataFrame([("d1", 1)], SCHEMA).coalesce(1)
        assert [run.append(frame, TOTALS), run.append(frame, TOTALS)] == [1, 2]
        assert run.read(TOTALS).count() == 2
        with pytest.raises(FeaturelibError, match="was never published"):
            read(spark, store, TOTALS)
        run.publish(note={"rows": 2}, published_at=datetime(2014, 1, 1, tzinfo=UTC))
    newest = manifests.latest(store.path("ops.manifests"))
    assert newest is not None
    assert newest.published_at == datetime(2014, 1, 1, tzinfo=UTC)
    assert (newest.sequence, newest.tables, newest.note) == (1, {TOTALS: 2}, {"rows": 2})
    text = Path(store.path(TOTALS), "_delta_log", f"{2:020}.json").read_text()
    assert '"appId":"pipe/features.totals/2","version":1' in text
    assert ".zstd.parquet" in text


def test_rows_are_written_without_a_query(spark: SparkSession, store: Store) -> None:
    """A handful of rows is added or put in the place of all, in commits like those of frames."""
    with begin_run(spark, store, pipeline="pipe", run_id="one") as run:
        run.create(TOTALS, SCHEMA)
        assert run.append_rows([{"day": "d1", "n": 1}], TOTALS) == 1
        assert run.append_rows([{"day": "d2"}], TOTALS) == 2
        assert run.append(spark.createDataFrame([("d3", 3)], SCHEMA).coalesce(1), TOTALS) == 3
        with pytest.raises(FrameError, match="hold m"):
            run.append_rows([{"m": 1}], TOTALS)
        run.publish()
    assert content(store, TOTALS) == [("d1", 1), ("d2", None), ("d3", 3)]
    with begin_run(spark, store, pipeline="pipe", run_id="two") as run:
        run.replace_rows([{"day": "d9", "n": 9}], TOTALS)
        assert len(rows_of(store, TOTALS)) == 3
        run.publish()
    assert rows_of(store, TOTALS) == [{"day": "d9", "n": 9}]
    assert read(spark, store, TOTALS).collect() == [("d9", 9)]


def test_rows_of_a_stale_run_are_fenced(spark: SparkSession, store: Store) -> None:
    """A step that a newer token has written is not written again by an older one."""
    with begin_run(spark, store, pipeline="pipe", run_id="one") as run:
        run.create(TOTALS, SCHEMA)
        path, stamp = store.path(TOTALS), Stamp("one", "pipe", run.token, step="1 append")
        rows = arrow_rows(TOTALS, [{"day": "d1", "n": 1}], SCHEMA)
        commit_rows(path, rows, mode="append", stamp=stamp, transaction=("pipe/features.totals/1", 7))
        with pytest.raises(LeaseHeld, match="was fenced"):
            run.append_rows([{"day": "d2", "n": 2}], TOTALS)


def test_rerun_of_a_published_run_changes_nothing(spark: SparkSession, store: Store) -> None:
    """A run id publishes once: its rerun ends with the same manifest, versions and rows."""
    for _ in range(2):
        with begin_run(spark, store, pipeline="pipe", run_id="one") as run:
            run.create(TOTALS, SCHEMA)
            run.append(spark.createDataFrame([("d1", 1)], SCHEMA).coalesce(1), TOTALS)
            run.publish()
            assert run.versions == {TOTALS: 1}
            with pytest.raises(PublishError, match="has published already"):
                run.publish()
    assert content(store, TOTALS) == [("d1", 1)]
    newest = manifests.latest(store.path("ops.manifests"))
    assert newest is not None
    assert newest.sequence == 1


def test_columns_must_be_the_tables(spark: SparkSession, store: Store) -> None:
    """A missing, unknown or differently typed column is refused by name, before anything is written."""
    odd = StructType([StructField("n", DoubleType()), StructField("m", StringType())])
    with begin_run(spark, store, pipeline="pipe", run_id="one") as run:
        run.create(DAYS, SCHEMA, partition_by=("day",))
        with pytest.raises(
            FrameError, match=r"day \(string\) is missing; m \(string\) is not .*; n is double"
        ):
            run.append(spark.createDataFrame([(1.0, "x")], odd), DAYS)
        with pytest.raises(FrameError, match="exists and differs"):
            run.create(DAYS, SCHEMA)
        with pytest.raises(FeaturelibError, match="call create"):
            run.append(spark.createDataFrame([("d1", 1)], SCHEMA), TOTALS)
        with pytest.raises(ConfigError, match="append_ops"):
            run.create("ops.runs", SCHEMA)
    assert current_version(store, DAYS) == 0


def test_rows_outside_the_predicate_are_refused(spark: SparkSession, store: Store) -> None:
    """A stray row cannot slip into, or wipe, a partition the write did not name."""
    with begin_run(spark, store, pipeline="pipe", run_id="one") as run:
        run.create(DAYS, SCHEMA, partition_by=("day",))
        with pytest.raises(FrameError, match="outside its predicate"):
            run.write(spark.createDataFrame([("d2", 1)], SCHEMA), DAYS, replace="day = 'd1'")
    assert current_version(store, DAYS) == 0


def test_widen_adds_columns_only_when_told(spark: SparkSession, store: Store) -> None:
    """New columns come by widen, null for old rows; a column that goes or changes type is refused."""
    wide = StructType([*SCHEMA.fields, StructField("x", DoubleType())])
    with begin_run(spark, store, pipeline="pipe", run_id="one") as run:
        run.create(TOTALS, SCHEMA)
        run.append(spark.createDataFrame([("d1", 1)], SCHEMA).coalesce(1), TOTALS)
        assert run.widen(TOTALS, wide) == 2
        assert run.widen(TOTALS, wide) == 2
        with pytest.raises(FrameError, match=r"day \(string\) is missing"):
            run.widen(TOTALS, StructType(wide.fields[1:]))
        run.publish()
    assert content(store, TOTALS) == [("d1", 1, None)]


def test_a_stale_run_is_fenced(spark: SparkSession, store: Store) -> None:
    """A run that lost its lease can neither write nor publish, and its transaction id is refused by Delta."""
    frame = spark.createDataFrame([("d1", 1)], SCHEMA).coalesce(1)
    with begin_run(spark, store, pipeline="pipe", run_id="old", ttl_seconds=0.3) as old:
        old.create(TOTALS, SCHEMA)
        old._lease._stop.set()  # its heart stops, as under SIGSTOP
        time.sleep(0.5)
        with begin_run(spark, store, pipeline="pipe", run_id="new") as new:
            new.append(frame, TOTALS)
            new.publish()
        for act in (lambda: old.append(frame, TOTALS), old.publish):
            with pytest.raises(LeaseHeld, match=r"run old lost the lease .*token 1.*: run new has token 2"):
                act()
    stale = txn_options(Stamp("old", "pipe", 1, step="1 append"), TOTALS)
    frame.write.format("delta").mode("append").options(**stale).save(store.path(TOTALS))
    assert (published(store)[TOTALS], current_version(store, TOTALS)) == (1, 1)


def test_a_writer_beside_the_run_stops_the_publish(spark: SparkSession, store: Store) -> None:
    """Versions are published only if all commits since the run began are its own, up to the newest."""
    frame = spark.createDataFrame([("d1", 1)], SCHEMA).coalesce(1)
    with begin_run(spark, store, pipeline="pipe", run_id="one") as run:
        run.create(TOTALS, SCHEMA)
        frame.write.format("delta").mode("append").save(store.path(TOTALS))
        run.append(frame, TOTALS)
        with pytest.raises(PublishError, match=r"wrote version 2, but version 1 \(WRITE\) is not its own"):
            run.publish()
    assert published(store) == {}


def test_foreign_commits_are_refused(spark: SparkSession, store: Store) -> None:
    """A change by another program stops the next run until it is undone; readers never see it."""
    frame = spark.createDataFrame([("d1", 1)], SCHEMA).coalesce(1)
    with begin_run(spark, store, pipeline="pipe", run_id="one") as run:
        run.create(DAYS, SCHEMA)
        run.append(frame, DAYS)
        run.publish()
    DeltaTable(store.path(DAYS)).delete()
    assert content(store, DAYS) == [("d1", 1)]
    refused = pytest.raises(PublishError, match=r"silver.days.* version 2 \(DELETE\) was not written")
    with refused as caught, begin_run(spark, store, pipeline="pipe", run_id="two"):
        pass
    spark.sql(caught.value.action.split(", which")[0].removeprefix("run "))
    with begin_run(spark, store, pipeline="pipe", run_id="two") as run:
        run.append(frame, DAYS)
        run.publish()
    assert content(store, DAYS) == [("d1", 1)] * 2


def test_a_table_that_no_run_made_is_refused(spark: SparkSession, store: Store) -> None:
    """A foreign table below the store's root is named, not restored and not overwritten."""
    DeltaTable.create(store.path(DAYS), schema=log.delta_schema(SCHEMA))
    refused = pytest.raises(PublishError, match=r"silver.days.*belongs to no run")
    with refused, begin_run(spark, store, pipeline="pipe", run_id="one"):
        pass


def test_a_lost_folder_is_named(spark: SparkSession, store: Store) -> None:
    """A published table whose folder vanished stops readers and runs; it is not silently made anew."""
    with begin_run(spark, store, pipeline="pipe", run_id="one") as run:
        run.create(DAYS, SCHEMA)
        run.publish()
    Path(store.path(DAYS)).rename(Path(store.root, "away"))
    with pytest.raises(FeaturelibError, match="its folder holds no table"):
        read(spark, store, DAYS)
    refused = pytest.raises(PublishError, match="bring back")
    with refused, begin_run(spark, store, pipeline="pipe", run_id="two"):
        pass


def test_a_lost_lease_file_does_not_lose_writes(spark: SparkSession, store: Store) -> None:
    """Tokens go on from those found in the tables, else Delta would skip the writes in silence."""
    lease = Path(store.root, "leases", "pipe.json")
    frame = spark.createDataFrame([("d1", 1)], SCHEMA).coalesce(1)
    for run_id in ("one", "two", "three"):
        lease.unlink(missing_ok=True)
        with begin_run(spark, store, pipeline="pipe", run_id=run_id) as run:
            run.create(TOTALS, SCHEMA)
            run.append(frame, TOTALS)
            run.publish()
    assert json.loads(lease.read_text())["token"] == 3
    assert content(store, TOTALS) == [("d1", 1)] * 3


def test_pipelines_share_a_store(spark: SparkSession, store: Store) -> None:
    """A manifest holds the full mapping, and a run leaves another pipeline's unpublished work alone."""
    frame = spark.createDataFrame([("d1", 1)], SCHEMA).coalesce(1)
    with begin_run(spark, store, pipeline="left", run_id="one") as left:
        left.create("silver.left", SCHEMA)
        left.append(frame, "silver.left")
        with begin_run(spark, store, pipeline="right", run_id="two") as right:
            right.create("silver.right", SCHEMA)
            right.publish()
        assert published(store) == {"silver.right": 0}
        left.publish()
    assert published(store) == {"silver.left": 1, "silver.right": 0}
