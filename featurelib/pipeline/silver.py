"""Silver tables past Spark: their types, their files, and their rows read in this process."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NamedTuple, Protocol

import polars as pl
import pyarrow as pa
from pyspark.sql import types as T
from pyspark.sql.pandas.types import to_arrow_schema

from featurelib.point_in_time import SnapshotFile
from featurelib.point_in_time.scans import FilePart, Reading, batches_of
from featurelib.specs import Project
from featurelib.tables import DataFile, Snapshot, Store, published_version, read_arrow, snapshot

_IDENTITY = {"_file": "string", "_day": "date", "_row": "long", "_month": "string"}


class Span(NamedTuple):
    """The rows that are wanted of a table: those with an instant in ``[since, until)``, None for no bound.

    Attributes:
        column: stored column of instants.
        since: microseconds since 1970.
        until: microseconds since 1970.
    """

    column: str
    since: int | None
    until: int | None


class SilverRows(Protocol):
    """Gives the silver rows of a landed table."""

    def __call__(
        self, table: str, columns: frozenset[str] | None, span: Span | None = None, /
    ) -> pl.DataFrame:
        """Return at least the columns asked for, None for all, and at least the rows of the span."""


def published_rows(store: Store, versions: Mapping[str, int] | None = None) -> SilverRows:
    """Return a reader of the published silver tables, or of the versions given by table name.

    Files and row groups that hold no instant of the span are not opened, as in the tasks of a build.
    """

    def rows(table: str, columns: frozenset[str] | None, span: Span | None = None, /) -> pl.DataFrame:
        name = f"silver.{table}"
        version = (versions or {}).get(name)
        version = published_version(store, name) if version is None else version
        found = snapshot(store, name, version)
        if span is None or not found.is_plain:
            return pl.DataFrame(pl.from_arrow(read_arrow(found, columns=columns)))
        return pl.DataFrame(pl.from_arrow(_within(found, columns, span)))

    return rows


def _within(found: Snapshot, columns: frozenset[str] | None, span: Span) -> pa.Table:
    """Return the rows of a span, read as tasks read them."""
    held = to_arrow_schema(T.StructType.fromJson(json.loads(found.schema_json)), timezone="UTC")
    wanted = pa.schema([field for field in held if columns is None or field.name in {*columns, span.column}])
    reading = Reading(
        wanted, {name: name for name in wanted.names}, span.column, since=span.since, until=span.until
    )
    files = (file for file in snapshot_files(found) if not reading.excludes(*file.bounds(span.column)))
    parts = [FilePart(file.path, dict(file.partition)) for file in files]
    return pa.Table.from_batches(batches_of(parts, reading), schema=reading.given)


def types_of(project: Project, table: str) -> dict[str, str]:
    """Return the type of each silver column of a landed table, identity columns included."""
    return {**project.tables[table].silver_types, **_IDENTITY}


def snapshot_files(snapshot: Snapshot) -> tuple[SnapshotFile, ...]:
    """Return the files of a version as the engine knows files."""
    return tuple(map(snapshot_file, snapshot.files))


def snapshot_file(file: DataFile) -> SnapshotFile:
    """Return a file of the log as the engine knows files."""
    return SnapshotFile(
        path=file.path,
        size_bytes=file.size_bytes,
        num_records=file.num_records,
        partition=file.partition,
        minimum=file.minimum,
        maximum=file.maximum,
    )
