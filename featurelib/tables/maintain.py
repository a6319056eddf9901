"""Upkeep of tables: fewer and larger files, and no files that no kept version needs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyarrow import fs

from featurelib.tables.faults import fault_point
from featurelib.tables.keeping import LOG, Keeping, folder_of
from featurelib.tables.runs import begin_run
from featurelib.tables.snapshots import snapshot
from featurelib.tables.store import Store, published_version

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_ENTRY = re.compile(r"(\d{20})\.(json|crc|checkpoint\..*parquet|checkpoint\.parquet)")


@dataclass(frozen=True)
class Compaction:
    """What OPTIMIZE did: files and bytes that a reader of the published version opens."""

    table: str
    version: int
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


def sweep(store: Store, kept: Keeping) -> None:
    """Delete the files that no kept version needs, then the log before the oldest version that must be told.

    Delta's own VACUUM knows only time; it would take the files of pinned versions. The caller holds the lease
    of the table's pipeline, so that nobody is writing files which no commit names yet. A sweep that was
    killed is finished by the next one.
    """
    filesystem, folder = folder_of(store, kept.table)
    with store.commit_lock(kept.table):
        fault_point(f"sweep.{kept.table}.before")
        for name in kept.unneeded:
            filesystem.delete_file(f"{folder}/{name}")
        fault_point(f"sweep.{kept.table}.files")
        for name in _told_again(filesystem, folder, kept.log_from):
            filesystem.delete_file(f"{folder}/{LOG}/{name}")


def _told_again(filesystem: fs.FileSystem, folder: str, log_from: int) -> list[str]:
    """Return the entries of the log older than the newest checkpoint from which a version can be told."""
    infos = filesystem.get_file_info(fs.FileSelector(f"{folder}/{LOG}"))
    found = {info.base_name: match for info in infos if (match := _ENTRY.fullmatch(info.base_name))}
    whole = [
        int(match[1])
        for name, match in found.items()
        if name.endswith(".checkpoint.parquet") and int(match[1]) <= log_from
    ]
    first = max(whole, default=0)
    return sorted(name for name, match in found.items() if int(match[1]) < first)
