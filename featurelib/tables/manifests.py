"""A manifest is one row that names the published version of every table; the newest row is the truth."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, DeltaTable, Transaction, WriterProperties, write_deltalake
from pyspark.sql.types import LongType, MapType, StringType, StructField, StructType, TimestampType

from featurelib.errors import PublishError
from featurelib.tables import log
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
    table = _open(path)
    if table is None:
        return None
    greatest = _greatest_sequence(table)
    if greatest is None:
        return None
    rows = table.to_pyarrow_dataset().to_table(filter=pc.field("sequence") == greatest).to_pylist()
    return _manifest(rows[0])


def of_run(path: str, run_id: str) -> Manifest | None:
    """Return the manifest a run has published, None when it has published none."""
    table = _open(path)
    if table is None:
        return None
    rows = table.to_pyarrow_dataset().to_table(filter=pc.field("run_id") == run_id).to_pylist()
    return _manifest(max(rows, key=lambda row: int(row["sequence"]))) if rows else None


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


def _open(path: str) -> DeltaTable | None:
    return None if log.newest_version(path) is None else DeltaTable(path)


def _greatest_sequence(table: DeltaTable) -> int | None:
    actions = pa.table(table.get_add_actions(flatten=True))
    if actions.num_rows == 0:
        return None
    return int(pc.max(actions["max.sequence"]).as_py())


def _manifest(row: Mapping[str, Any]) -> Manifest:
    return Manifest(**{**row, "tables": dict(row["tables"]), "note": json.loads(row["note"] or "{}")})
