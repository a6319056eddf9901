"""A snapshot is a table version as plain values: files, partitions, schema; no session and no table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from featurelib.errors import FeaturelibError
from featurelib.tables.store import Store


@dataclass(frozen=True)
class DataFile:
    """One Parquet file of a snapshot.

    Attributes:
        path: absolute path or URI, not percent-encoded.
        partition: value of each partition column, typed (date, int, ...); they are not in the file.
        num_records: rows, None when the log does not say.
        minimum: least value of each top-level column the log knows it for.
        maximum: greatest value, likewise; strings may be cut to a prefix, and then rounded up.
    """

    path: str
    partition: Mapping[str, Any]
    size_bytes: int
    num_records: int | None
    minimum: Mapping[str, Any]
    maximum: Mapping[str, Any]


@dataclass(frozen=True)
class Snapshot:
    """A pinned table version that any process can read without a log: pickles, compares by value.

    Attributes:
        schema_json: the Delta schema, which is Spark's schema JSON.
        deletion_vectors: some file has rows that are deleted but still in it; do not read it directly.
        column_mapping: columns have other names in the files; do not read it directly.
    """

    table: str
    version: int
    files: tuple[DataFile, ...]
    schema_json: str
    partition_columns: tuple[str, ...]
    deletion_vectors: bool
    column_mapping: bool

    @property
    def size_bytes(self) -> int:
        """Bytes of all files."""
        return sum(file.size_bytes for file in self.files)

    @property
    def num_records(self) -> int | None:
        """Rows of all files, None when the log does not say for one of them."""
        counts = [file.num_records for file in self.files]
        return None if None in counts else sum(count for count in counts if count is not None)

    @property
    def is_plain(self) -> bool:
        """Whether the Parquet files alone say what the table holds."""
        return not (self.deletion_vectors or self.column_mapping)


def snapshot(store: Store, table: str, version: int) -> Snapshot:
    """Return a table version as plain values, from the log alone.

    Raises:
        FeaturelibError: the log does not hold that version.
    """
    path = store.path(table)
    try:
        log = DeltaTable(path, version=version)
    except (TableNotFoundError, DeltaError) as error:
        raise FeaturelibError(
            f"table {table!r} version {version}: {error}",
            f"a version that the log still holds (kept for {store.retention})",
            "choose a newer version, or run the pipeline that writes the table",
        ) from error
    metadata = log.metadata()
    return Snapshot(
        table=table,
        version=version,
        files=tuple(sorted(_files(log, path), key=lambda file: file.path)),
        schema_json=log.schema().to_json(),
        partition_columns=tuple(metadata.partition_columns),
        deletion_vectors=_has_deletion_vectors(log),
        column_mapping=metadata.configuration.get("delta.columnMapping.mode", "none") != "none",
    )


def _files(log: DeltaTable, root: str) -> list[DataFile]:
    rows = pa.table(log.get_add_actions()).to_pylist()
    return [
        DataFile(
            path=_absolute(unquote(row["path"]), root),
            partition=row.get("partition") or {},
            size_bytes=row["size_bytes"],
            num_records=row.get("num_records"),
            minimum=_known(row.get("min")),
            maximum=_known(row.get("max")),
        )
        for row in rows
    ]


def _absolute(path: str, root: str) -> str:
    is_whole = "://" in path or path.startswith(("/", "file:"))
    return path.removeprefix("file://").removeprefix("file:") if is_whole else f"{root}/{path}"


def _known(bounds: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in (bounds or {}).items() if value is not None}


def _has_deletion_vectors(log: DeltaTable) -> bool:
    if "deletionVectors" not in (log.protocol().reader_features or ()):
        return False
    return any(batch.num_rows for batch in log.deletion_vectors())
