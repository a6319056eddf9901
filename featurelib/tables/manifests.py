"""A manifest is one row that names the published version of every table; the newest row is the truth."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import pyarrow as pa
from deltalake import CommitProperties, Transaction, WriterProperties, write_deltalake
from pyspark.sql.types import LongType, MapType, StringType, StructField, StructType, TimestampType

from featurelib.errors import PublishError
from featurelib.tables import log
from featurelib.tables.files import DataFile, data_files, read_rows
from featurelib.tables.log import Stamp

CODEC: Literal["ZSTD"] = "ZSTD"

SCHEMA = StructType(
    [
        StructField("sequence", LongType()),
        StructField("run_id", StringType()),
        StructField("pipeline", StringType()),
        StructField("token", LongType()),
        StructField("published_at", TimestampType()),
        StructField("tables", MapType(StringType(), LongType())),
        StructField("note", StringType()),
    ]
)


@dataclass(frozen=True)
class Manifest:
    """The full mapping of table to published version, and the run that made it so."""

    sequence: int
    run_id: str
    pipeline: str
    token: int
    published_at: datetime
    tables: Mapping[str, int]
    note: Mapping[str, Any] = field(default_factory=dict)


def latest(path: str) -> Manifest | None:
    """Return the manifest with the greatest sequence, None before the first publish.

    Only the file that holds it is read: the log's statistics say which one that is.
    """
    files = _files(path)
    if not files:
        return None
    newest = max(files, key=lambda file: int(file.maximum["sequence"]))
    return _manifest(max(read_rows(newest), key=_sequence))


def of_run(path: str, run_id: str) -> Manifest | None:
    """Return the manifest a run has published, None when it has published none."""
    rows = [
        row
        for file in _files(path)
        if _may_hold(file, run_id)
        for row in read_rows(file)
        if row["run_id"] == run_id
    ]
    return _manifest(max(rows, key=_sequence)) if rows else None


def every(path: str) -> list[Manifest]:
    """Return all manifests, the oldest first."""
    rows = [row for file in _files(path) for row in read_rows(file)]
    return [_manifest(row) for row in sorted(rows, key=_sequence)]


def append(path: str, manifest: Manifest, *, stamp: Stamp) -> None:
    """Append one manifest in one commit: the only step that publishes. The caller holds the lock.

    The sequence is also the transaction version, so the log itself orders the publishers.

    Raises:
        PublishError: the sequence is not the next one.
    """
    before = latest(path)
    if manifest.sequence != (1 if before is None else before.sequence + 1):
        raise PublishError(
            f"manifest {manifest.sequence} of run {manifest.run_id}",
            f"a manifest that follows {'none' if before is None else before.sequence}",
            "run again: another run published in between",
        )
    row = {**manifest.__dict__, "tables": dict(manifest.tables), "note": json.dumps(manifest.note)}
    write_deltalake(
        path,
        pa.Table.from_pylist([row], schema=arrow_schema(SCHEMA)),
        mode="append",
        writer_properties=WriterProperties(compression=CODEC),
        commit_properties=CommitProperties(
            custom_metadata={"userMetadata": stamp.to_json()},
            app_transactions=[Transaction("ops.manifests", manifest.sequence)],
        ),
    )


def arrow_schema(schema: StructType) -> pa.Schema:
    """Return a Spark schema as Arrow, with instants in UTC microseconds."""
    return pa.schema(log.delta_schema(schema).to_arrow())


def _files(path: str) -> list[DataFile]:
    log_of_table = log.open_log(path)
    return [] if log_of_table is None else data_files(log_of_table, path)


def _may_hold(file: DataFile, run_id: str) -> bool:
    """Return whether a file's bounds admit the run; a long greatest value may be cut to its beginning."""
    least, greatest = str(file.minimum.get("run_id", "")), str(file.maximum.get("run_id", ""))
    return least <= run_id and (run_id <= greatest or run_id.startswith(greatest))


def _sequence(row: Mapping[str, Any]) -> int:
    return int(row["sequence"])


def _manifest(row: Mapping[str, Any]) -> Manifest:
    return Manifest(**{**row, "tables": dict(row["tables"]), "note": json.loads(row["note"] or "{}")})
