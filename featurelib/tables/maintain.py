"""Upkeep of tables: fewer and larger files, and no files that no kept version needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from delta.tables import DeltaTable as SparkDeltaTable
from pyarrow import fs

from featurelib.tables.runs import begin_run
from featurelib.tables.snapshots import snapshot
from featurelib.tables.store import Store, published_version

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@dataclass(frozen=True)
class Compaction:
    """What OPTIMIZE did: files and bytes that a reader of the published version opens."""

    table: str
    version: int
    files_before: int
    files_after: int
    bytes_before: int
    bytes_after: int


@dataclass(frozen=True)
class Vacuuming:
    """What VACUUM did: data files and bytes below the table's folder, of all kept versions together."""

    table: str
    files_before: int
    files_after: int
    bytes_before: int
    bytes_after: int


def compact(spark: SparkSession, store: Store, table: str, *, pipeline: str, run_id: str) -> Compaction:
    """Merge a published table's small files and publish the new version, as a run of its pipeline.

    Raises:
        LeaseHeld: the pipeline is at work.
        FeaturelibError: the table was never published.
    """
    with begin_run(spark, store, pipeline=pipeline, run_id=run_id) as run:
        before = snapshot(store, table, published_version(store, table))
        after = snapshot(store, table, run.optimize(table))
        run.publish(note={"step": "compact", "table": table})
    return Compaction(
        table=table,
        version=after.version,
        files_before=len(before.files),
        files_after=len(after.files),
        bytes_before=before.size_bytes,
        bytes_after=after.size_bytes,
    )


def vacuum(spark: SparkSession, store: Store, table: str) -> Vacuuming:
    """Delete files that no version within the table's own retention needs; nothing younger is touched."""
    files_before, bytes_before = _weigh(store, table)
    with store.commit_lock(table):
        SparkDeltaTable.forPath(spark, store.path(table)).vacuum()
    files_after, bytes_after = _weigh(store, table)
    return Vacuuming(table, files_before, files_after, bytes_before, bytes_after)


def _weigh(store: Store, table: str) -> tuple[int, int]:
    filesystem, folder = fs.FileSystem.from_uri(store.path(table).replace("s3a://", "s3://", 1))
    infos = filesystem.get_file_info(fs.FileSelector(folder, recursive=True))
    files = [info for info in infos if info.type == fs.FileType.File]
    sizes = [
        int(info.size) for info in files if "/_delta_log/" not in info.path and info.base_name[0] not in "._"
    ]
    return len(sizes), sum(sizes)
