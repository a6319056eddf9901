"""A snapshot is a table version as plain values: files, partitions, schema; no session and no table."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from featurelib.errors import FeaturelibError
from featurelib.tables import log as log_of
from featurelib.tables.files import DataFile, data_files
from featurelib.tables.store import Store

ERASED = "featurelib.erased"
"""The property that lists the erasures a table has seen: request, instant, and the first version after it."""


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
    def columns(self) -> tuple[str, ...]:
        """Names of the top-level columns."""
        return tuple(field["name"] for field in json.loads(self.schema_json)["fields"])

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
        if (erased := _erased(path, version)) is not None:
            raise FeaturelibError(
                f"table {table!r} version {version} was erased at {erased['at']} on request "
                f"{erased['request']}",
                f"version {erased['before']} or a later one",
                "what was made from it stands, and cannot be replayed; choose a newer version",
            ) from error
        raise FeaturelibError(
            f"table {table!r} version {version}: {error}",
            f"a version that the log still holds (kept for {store.retention})",
            "choose a newer version, or run the pipeline that writes the table",
        ) from error
    metadata = log.metadata()
    return Snapshot(
        table=table,
        version=version,
        files=tuple(sorted(data_files(log, path), key=lambda file: file.path)),
        schema_json=log.schema().to_json(),
        partition_columns=tuple(metadata.partition_columns),
        deletion_vectors=_has_deletion_vectors(log),
        column_mapping=metadata.configuration.get("delta.columnMapping.mode", "none") != "none",
    )


def _erased(path: str, version: int) -> dict[str, Any] | None:
    """Return the erasure that took a version away, None if none did."""
    told = json.loads(log_of.properties(path).get(ERASED, "[]"))
    return next((one for one in told if version < one["before"]), None)


def _has_deletion_vectors(log: DeltaTable) -> bool:
    if "deletionVectors" not in (log.protocol().reader_features or ()):
        return False
    return any(batch.num_rows for batch in log.deletion_vectors())
