"""The rows of a table version as one Arrow table, read in this process and this thread."""

from __future__ import annotations

from collections.abc import Collection

import pyarrow as pa
from pyarrow import parquet as pq

from featurelib.addresses import located
from featurelib.errors import FrameError
from featurelib.tables.damage import file_explained
from featurelib.tables.files import DataFile
from featurelib.tables.snapshots import Snapshot


def read_arrow(
    snapshot: Snapshot,
    *,
    columns: Collection[str] | None = None,
    paths: Collection[str] | None = None,
) -> pa.Table:
    """Return the rows of a snapshot, in the order of its files' names; no session is needed.

    Instants are UTC microseconds. Partition columns of text come from the log.

    Args:
        snapshot: the table version.
        columns: the columns to read, None for all; those a file lacks are left out.
        paths: the files to read, None for all.

    Raises:
        FrameError: only Spark can read it: rows are deleted but still in its files, or columns renamed.
    """
    if not snapshot.is_plain:
        raise FrameError(
            f"table {snapshot.table!r} version {snapshot.version} has deletion vectors or renamed columns",
            "a table whose Parquet files alone say what it holds",
            "read it with Spark, or rewrite it (REORG TABLE ... APPLY (PURGE))",
        )
    parts = [_rows(file, columns) for file in snapshot.files if paths is None or file.path in paths]
    if not parts:
        raise FrameError(
            f"table {snapshot.table!r} version {snapshot.version} holds no row that is wanted",
            "rows of the time asked about",
            "ask about an earlier or later moment",
        )
    return pa.concat_tables(parts, promote_options="permissive")


def _rows(file: DataFile, columns: Collection[str] | None) -> pa.Table:
    filesystem, path = located(file.path)
    with file_explained(file.path), filesystem.open_input_file(path) as source:
        # Of the time units INT96 could be read as, only microseconds hold every instant of Spark's.
        parquet = pq.ParquetFile(source, pre_buffer=False, coerce_int96_timestamp_unit="us")
        held = parquet.schema_arrow.names
        chosen = [name for name in held if columns is None or name in columns]
        table = parquet.read(columns=chosen, use_threads=False)
    for name, value in file.partition.items():
        if name not in held and (columns is None or name in columns):
            table = table.append_column(name, pa.repeat(pa.scalar(value, pa.string()), table.num_rows))
    return pa.table([_utc(column) for column in table.columns], names=table.column_names)


def _utc(column: pa.ChunkedArray) -> pa.ChunkedArray:
    is_instant = pa.types.is_timestamp(column.type)
    return column.cast(pa.timestamp("us", tz="UTC")) if is_instant else column
