"""A table forgets its history: the newest version alone can be read, and no file tells of others."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from deltalake import DeltaTable
from pyarrow import fs

from featurelib.errors import PublishError
from featurelib.tables import log
from featurelib.tables.faults import fault_point
from featurelib.tables.keeping import LOG, files_of, folder_of
from featurelib.tables.snapshots import ERASED
from featurelib.tables.store import Store


@dataclass(frozen=True)
class Erased:
    """An erasure that a table has seen: versions before ``before`` are gone, on a request, at an instant."""

    before: int
    request: str
    at: str


def erasures_of(store: Store, table: str) -> list[Erased]:
    """Return the erasures that a table has seen, oldest first; none where there is no table."""
    return _told(log.properties(store.path(table)))


def erased_by(store: Store, table: str, version: int) -> Erased | None:
    """Return the erasure that took a version away, None if none did."""
    return next((one for one in erasures_of(store, table) if version < one.before), None)


def erasure_mark(store: Store, table: str, *, request: str, at: str) -> dict[str, str]:
    """Return the property that says of a table that all its versions so far were erased."""
    before = (log.newest_version(store.path(table)) or 0) + 1
    told = [*erasures_of(store, table), Erased(before, request, at)]
    return {ERASED: json.dumps([asdict(one) for one in told])}


def purge(store: Store, table: str) -> list[str]:
    """Delete every file below the table's folder but those of its newest version, and the log before it.

    The newest commit must be one of ``deltalake``, which writes no statistics of files that it takes away.
    The caller holds the lease. Killed on the way, it is done again: the same files stay. Return the names.

    Raises:
        PublishError: the files of the newest version cannot be told.
    """
    filesystem, folder = folder_of(store, table)
    with store.commit_lock(table):
        newest = DeltaTable(store.path(table))
        version = newest.version()
        files = files_of(store, table, version)
        if files is None:
            raise PublishError(
                f"table {table!r} version {version} cannot be read",
                "a newest version whose files the log tells",
                f"bring back {store.path(table)} from a backup",
            )
        fault_point(f"purge.{table}.before")
        newest.create_checkpoint()
        checkpoint = f"{LOG}/{version:020}.checkpoint.parquet"
        files |= {checkpoint, f"{LOG}/{version:020}.json", f"{LOG}/_last_checkpoint"}
        present = _everything(filesystem, folder)
        if checkpoint not in present:
            raise PublishError(
                f"table {table!r} has no checkpoint of version {version}", checkpoint, "erase again"
            )
        gone = [name for name in present if name not in files]
        for name in gone:
            filesystem.delete_file(f"{folder}/{name}")
        fault_point(f"purge.{table}.after")
    return gone


def _everything(filesystem: fs.FileSystem, folder: str) -> Sequence[str]:
    found = filesystem.get_file_info(fs.FileSelector(folder, recursive=True))
    return sorted(info.path.removeprefix(f"{folder}/") for info in found if info.is_file)


def _told(properties: dict[str, str]) -> list[Erased]:
    return [Erased(**one) for one in json.loads(properties.get(ERASED, "[]"))]
