"""Small tables are read and written in this process: starting a Spark query for a handful of rows costs more.

What is read comes through Arrow's own file system in this thread: datasets of ``deltalake`` read through
Python from threads of Arrow, and one that is still at it when the interpreter ends aborts the process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction, WriterProperties, write_deltalake

from featurelib.errors import FrameError
from featurelib.tables import manifests
from featurelib.tables.damage import log_explained
from featurelib.tables.files import read_rows
from featurelib.tables.log import Stamp
from featurelib.tables.snapshots import snapshot
from featurelib.tables.store import Store, published_version

if TYPE_CHECKING:
    from pyspark.sql.types import StructType

Rows = Sequence[Mapping[str, Any]]


def rows_of(store: Store, table: str, *, version: int | None = None) -> list[dict[str, Any]]:
    """Return all rows of a small table as mappings, in no order, at a version or the published one.

    Instants are aware datetimes, maps are lists of pairs. No session is needed.

    Raises:
        FeaturelibError: the table was never published, or the version is gone.
        FrameError: only Spark can read it: rows are deleted but still in its files, or columns renamed.
    """
    pinned = published_version(store, table) if version is None else version
    found = snapshot(store, table, pinned)
    if not found.is_plain:
        raise FrameError(
            f"table {table!r} version {pinned} has deletion vectors or renamed columns",
            "a table whose Parquet files alone say what it holds",
            "read it with Spark, or rewrite it (REORG TABLE ... APPLY (PURGE))",
        )
    return [row for file in found.files for row in read_rows(file)]


def commit_rows(
    path: str,
    rows: pa.Table,
    *,
    mode: Literal["append", "overwrite"],
    stamp: Stamp,
    transaction: tuple[str, int] | None = None,
) -> None:
    """Commit rows as one version, stamped; the caller holds the table's lock.

    Args:
        path: the table's folder; the table exists.
        rows: its columns, as :func:`arrow_rows` gives them.
        mode: add the rows, or put them in the place of all.
        stamp: who writes, kept in the commit.
        transaction: application id and version, as Delta keeps them: where the table has seen that version
            or a newer one, nothing is written.
    """
    if transaction is not None:
        seen = DeltaTable(path).transaction_version(transaction[0])
        if seen is not None and seen >= transaction[1]:
            return
    with log_explained(path):
        write_deltalake(
            path,
            rows,
            mode=mode,
            writer_properties=WriterProperties(compression=manifests.CODEC),
            commit_properties=CommitProperties(
                custom_metadata={"userMetadata": stamp.to_json()},
                app_transactions=[Transaction(*transaction)] if transaction else None,
            ),
        )


def arrow_rows(table: str, rows: Rows, schema: StructType) -> pa.Table:
    """Return rows as Arrow with the columns of ``schema``; a column absent from a row is null there.

    Raises:
        FrameError: a row holds a column that ``schema`` lacks.
    """
    unknown = sorted({name for row in rows for name in row} - set(schema.fieldNames()))
    if unknown:
        raise FrameError(
            f"rows for table {table!r} hold {', '.join(unknown)}",
            f"only {', '.join(schema.fieldNames())}",
            "add the columns to the schema, or leave them out",
        )
    return pa.Table.from_pylist([dict(row) for row in rows], schema=manifests.arrow_schema(schema))
