"""A table forgets its history and goes on; no session."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from featurelib.errors import FeaturelibError
from featurelib.tables import (
    Store,
    begin_run,
    content_hash,
    current_version,
    erased_by,
    erasure_mark,
    is_readable,
    log,
    published,
    purge,
    read,
    rows_of,
    snapshot,
)
from tests.storage.conftest import DAYS, SCHEMA

NOBODY: Any = None


def write(store: Store, run_id: str, *texts: str) -> None:
    """Publish these rows in the place of all."""
    with begin_run(NOBODY, store, pipeline="pipe", run_id=run_id) as run:
        run.create(DAYS, SCHEMA)
        run.replace_rows([{"day": text, "n": 1} for text in texts], DAYS)
        run.publish()


def erase(store: Store, *left: str, run_id: str = "erase", withdraw: bool = False) -> None:
    """Leave these rows alone, mark the table, and purge it."""
    with begin_run(NOBODY, store, pipeline="pipe", run_id=run_id) as run:
        if withdraw:
            run.withdraw(DAYS, erasure_mark(store, DAYS, request="R-1", at="2024-01-01T00:00:00Z"))
        else:
            run.replace_rows([{"day": text, "n": 1} for text in left], DAYS)
            mark = erasure_mark(store, DAYS, request="R-1", at="2024-01-01T00:00:00Z")
            run.set_properties(DAYS, mark, step="erased")
        run.publish()
        purge(store, DAYS)


def said(store: Store) -> bytes:
    """Every byte below the table's folder; its Parquet files hold short texts as they are."""
    files = (path for path in Path(store.path(DAYS)).rglob("*") if path.is_file())
    return b"".join(path.read_bytes() for path in files)


def test_nothing_older_than_the_newest_version_is_left(store: Store) -> None:
    """Files, statistics, checkpoints and strays of earlier versions are gone; the version number goes on."""
    for number in range(12):
        write(store, f"run-{number}", f"canary{number}", "stays")
    Path(store.path(DAYS), "_change_data").mkdir()
    Path(store.path(DAYS), "_change_data", "cdc.parquet").write_bytes(b"canary")
    assert b"canary" in said(store)

    erase(store, "stays")

    assert b"canary" not in said(store)
    assert (rows_of(store, DAYS), published(store)) == ([{"day": "stays", "n": 1}], {DAYS: 14})
    assert not is_readable(store, DAYS, 12)
    with pytest.raises(
        FeaturelibError, match=r"version 12 was erased at 2024-01-01T00:00:00Z on request R-1"
    ):
        snapshot(store, DAYS, 12)
    assert erased_by(store, DAYS, 13) is not None
    assert erased_by(store, DAYS, 14) is None


def test_runs_go_on_after_a_purge(store: Store) -> None:
    """The next run finds its table, undoes what a killed run left, and is not skipped as a repetition."""
    write(store, "one", "canary")
    erase(store, "stays")
    with begin_run(NOBODY, store, pipeline="pipe", run_id="killed") as run:
        run.replace_rows([], DAYS)
    write(store, "two", "stays", "new")
    assert sorted(row["day"] for row in rows_of(store, DAYS)) == ["new", "stays"]
    erase(store, "new", run_id="erase again")
    assert (rows_of(store, DAYS), b"stays" in said(store)) == ([{"day": "new", "n": 1}], False)


def test_a_withdrawn_table_begins_again_from_empty(store: Store) -> None:
    """Purged when nobody reads it, a table is empty, and stays so until a run has published it again."""
    write(store, "one", "canary")
    erase(store, withdraw=True)
    assert (published(store), b"canary" in said(store)) == ({}, False)
    with begin_run(NOBODY, store, pipeline="pipe", run_id="killed") as run:
        run.create(DAYS, SCHEMA)
        run.append_rows([{"day": "unpublished", "n": 1}], DAYS)
    write(store, "two", "new")
    assert rows_of(store, DAYS) == [{"day": "new", "n": 1}]
    assert current_version(store, DAYS) == max(
        commit.version for commit in log.commits_after(store.path(DAYS), -1)
    )


def test_spark_reads_a_purged_table(spark: Any, store: Store) -> None:
    """Spark takes the checkpoint of a purged table for its beginning, writes on, and refuses what is gone."""
    write(store, "one", "canary")
    erase(store, "stays")
    assert content_hash(read(spark, store, DAYS))[0] == 1
    with begin_run(spark, store, pipeline="pipe", run_id="two") as run:
        run.append(spark.createDataFrame([("new", 2)], SCHEMA).coalesce(1), DAYS)
        run.publish()
    assert sorted(read(spark, store, DAYS).collect()) == [("new", 2), ("stays", 1)]
