"""What changed between two versions is what files say that came and went; merging files is no change."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from featurelib.tables import (
    ALL,
    FileChanges,
    InjectedFault,
    Store,
    begin_run,
    changed_files,
    compact,
    is_readable,
    published,
    read_rows,
    snapshot,
)
from featurelib.tables.faults import VARIABLE
from tests.storage.conftest import DAYS, SCHEMA, Rows, content

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def written(spark: SparkSession, store: Store, rows: Rows, *, replace: str | None = None) -> int:
    """Append rows to the table of days, or put them in the place of others; return the version."""
    with begin_run(spark, store, pipeline="pipe", run_id=f"run-{rows}-{replace}") as run:
        run.create(DAYS, SCHEMA, partition_by=("day",))
        frame = spark.createDataFrame(rows, SCHEMA).coalesce(1)
        version = run.append(frame, DAYS) if replace is None else run.write(frame, DAYS, replace=replace)
        run.publish()
    return version


def rows_in(changes: FileChanges | None) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    """The rows of added and of removed files."""
    assert changes is not None
    assert changes.is_plain
    added, removed = (
        sorted((row["day"], row["n"]) for file in files for row in read_rows(file))
        for files in (changes.added, changes.removed)
    )
    return added, removed


def test_what_came_and_went(spark: SparkSession, store: Store) -> None:
    """Appended rows are added, replaced rows removed and added; what came and went again is neither."""
    first = written(spark, store, [("d1", 1), ("d2", 2)])
    second = written(spark, store, [("d2", 3)])
    third = written(spark, store, [("d2", 20)], replace="day = 'd2'")

    assert rows_in(changed_files(store, DAYS, since=first, until=second)) == ([("d2", 3)], [])
    assert rows_in(changed_files(store, DAYS, since=first, until=third)) == ([("d2", 20)], [("d2", 2)])
    assert rows_in(changed_files(store, DAYS, since=third, until=third)) == ([], [])


def test_merged_files_have_not_changed(spark: SparkSession, store: Store) -> None:
    """Between an append before and one after OPTIMIZE the two appends are what changed."""
    first = written(spark, store, [("d1", 1)])
    written(spark, store, [("d1", 2)])
    merged = compact(spark, store, DAYS, pipeline="pipe", run_id="compact")
    assert (merged.files_before, merged.files_after) == (2, 1)
    last = written(spark, store, [("d1", 3)])

    assert rows_in(changed_files(store, DAYS, since=merged.version - 1, until=merged.version)) == ([], [])
    assert rows_in(changed_files(store, DAYS, since=first, until=last)) == ([("d1", 2), ("d1", 3)], [])


def test_what_is_gone_cannot_be_said(spark: SparkSession, store: Store) -> None:
    """After a vacuum of the old files the change to the new version is None, not a wrong list."""
    first = written(spark, store, [("d1", 1)])
    second = written(spark, store, [("d1", 2)], replace=ALL)
    assert rows_in(changed_files(store, DAYS, since=first, until=second)) == ([("d1", 2)], [("d1", 1)])
    assert is_readable(store, DAYS, first)

    for file in snapshot(store, DAYS, first).files:
        Path(file.path).unlink()

    assert changed_files(store, DAYS, since=first, until=second) is None
    assert not is_readable(store, DAYS, first)
    assert is_readable(store, DAYS, second)
    assert changed_files(store, DAYS, since=77, until=78) is None


def test_a_table_is_rewritten_with_other_columns(
    spark: SparkSession, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Columns change with the rows, partitions stay; a run that dies has changed nothing, once mended."""
    version = written(spark, store, [("d1", 1), ("d2", 2)])

    def rewrite() -> None:
        with begin_run(spark, store, pipeline="pipe", run_id="rewrite") as run:
            frame = run.read(DAYS).selectExpr("day", "n * 10 AS tens")
            run.rewrite(frame, DAYS, partition_by=("day",))
            run.publish()

    monkeypatch.setenv(VARIABLE, f"raise:write.{DAYS}.after")
    with pytest.raises(InjectedFault):
        rewrite()
    monkeypatch.delenv(VARIABLE)
    assert content(store, DAYS) == [("d1", 1), ("d2", 2)]
    restored = written(spark, store, [("d3", 3)])
    assert content(store, DAYS) == [("d1", 1), ("d2", 2), ("d3", 3)]

    rewrite()

    assert content(store, DAYS) == [("d1", 10), ("d2", 20), ("d3", 30)]
    assert snapshot(store, DAYS, published(store)[DAYS]).partition_columns == ("day",)
    assert content(store, DAYS, restored) == [("d1", 1), ("d2", 2), ("d3", 3)]
    assert published(store)[DAYS] > restored > version
