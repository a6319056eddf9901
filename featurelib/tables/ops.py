"""The ``ops`` layer is a diary: rows are appended one commit at a time, outside runs and manifests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deltalake import DeltaTable, WriterProperties

from featurelib.errors import ConfigError, FrameError
from featurelib.tables import log, schemas
from featurelib.tables.creation import create_empty
from featurelib.tables.damage import room_explained
from featurelib.tables.faults import fault_point
from featurelib.tables.layouts import Layout
from featurelib.tables.log import Stamp
from featurelib.tables.manifests import CODEC
from featurelib.tables.small import Rows, arrow_rows, commit_rows
from featurelib.tables.snapshots import snapshot
from featurelib.tables.store import MANIFESTS, OPS, Store
from featurelib.tables.upkeep import marked
from featurelib.timeline import duration_micros

if TYPE_CHECKING:
    from pyspark.sql.types import StructType

_HOUR = duration_micros("1h")


def rewrite_ops(store: Store, table: str, rows: Rows, *, stamp: Stamp) -> None:
    """Put rows in the place of all of a table of the ``ops`` layer; the old ones stay until a purge."""
    batch = arrow_rows(table, rows, log.table_schema(store.path(table)))
    with store.commit_lock(table):
        commit_rows(store.path(table), batch, mode="overwrite", stamp=stamp)


def compact_ops(store: Store, table: str, *, layout: Layout, retention: str, stamp: Stamp) -> bool:
    """Merge a diary's small files, which come one a run; return whether there were enough of them.

    No row changes, and no session is needed. Files whose place was taken longer than ``retention`` ago, a
    duration of :mod:`featurelib.timeline`, are removed.
    """
    path = store.path(table)
    with store.commit_lock(table):
        diary = DeltaTable(path)
        is_crowded = bool(layout.crowded(snapshot(store, table, diary.version()).files))
        if is_crowded:
            diary.optimize.compact(
                target_size=layout.file_mib << 20,
                writer_properties=WriterProperties(compression=CODEC),
                commit_properties=marked(stamp),
            )
        hours = int(duration_micros(retention) // _HOUR)
        if diary.vacuum(hours, enforce_retention_duration=False):
            diary.vacuum(hours, dry_run=False, enforce_retention_duration=False)
    return is_crowded


def diaries(store: Store) -> list[str]:
    """Return the tables of the ``ops`` layer that rows are appended to: all but the manifests."""
    return [name for name in store.tables() if name.startswith(f"{OPS}.") and name != MANIFESTS]


def append_ops(store: Store, table: str, rows: Rows, *, schema: StructType, stamp: Stamp) -> int:
    """Append rows to a table of the ``ops`` layer, creating it first; return the version.

    No session is needed, so a run that failed to start can be noted too. Columns absent from a row
    are null. Readers see the rows at once.

    Args:
        store: where the table lives.
        table: a name of the layer ``ops``.
        rows: one mapping a row; instants are aware datetimes, maps are mappings.
        schema: the table's columns.
        stamp: who writes, kept in the commit.

    Raises:
        ConfigError: the table is not in the layer ``ops``, or is the manifest.
        FrameError: the table has other columns, or a row holds one that ``schema`` lacks.
        PreconditionError: the disk is full.
    """
    path = store.path(table)
    if not table.startswith(f"{OPS}.") or table == MANIFESTS:
        raise ConfigError(
            f"table {table!r}", f"a table of the layer {OPS} other than {MANIFESTS}", "write it inside a run"
        )
    batch = arrow_rows(table, rows, schema)
    with room_explained(store.root), store.commit_lock(table):
        create_empty(store, table, schema, stamp=stamp)
        has = log.table_schema(path)
        if odd := schemas.differences(schema, has):
            raise FrameError(
                f"rows for table {table!r}: {'; '.join(odd)}",
                ", ".join(f"{field.name} {field.dataType.simpleString()}" for field in has),
                "write to a table of another name when the columns change",
            )
        fault_point(f"{table}.before")
        commit_rows(path, batch.select(has.fieldNames()), mode="append", stamp=stamp)
        fault_point(f"{table}.after")
        return DeltaTable(path).version()
