"""An input of the engine is scanned by Spark or by the tasks themselves; both give the same Arrow tables."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T
from pyspark.sql.pandas.types import to_arrow_schema

from featurelib.errors import FrameError
from featurelib.expressions.frames import PolarsExpression
from featurelib.expressions.language import columns_of
from featurelib.expressions.on_polars import cannot_run_without_spark, polars_expression
from featurelib.point_in_time import blobs
from featurelib.point_in_time.features import EVENT_TS, KNOWN_TS, Feature
from featurelib.point_in_time.reach import Bounds, only_reachable
from featurelib.point_in_time.scans import FilePart, Reading, batches_of
from featurelib.point_in_time.snapshots import SnapshotFile, SnapshotScan, slices

_TEXT_BYTES: Final = 24

Input: TypeAlias = DataFrame | SnapshotScan
"""Rows to read: a frame, or a snapshot whose files tasks read."""

Mapped: TypeAlias = Callable[[Iterable[pa.Table]], Iterator[pa.RecordBatch]]
"""What a task makes of the tables it read; it runs on executors."""


_SAYS_UTC: Final = frozenset({"UTC", "Etc/UTC", "GMT", "Z", "+00:00"})
_CLOCK: Final = re.compile(
    r"timestamp|date_trunc|unix_|hour|minute|second|interval|months_between", re.IGNORECASE
)
"""What reads or makes clock times; more is taken for it than does so."""


def frame_of(source: Input) -> DataFrame:
    """Return the rows as Spark reads them; its schema and session are the input's."""
    return source.frame if isinstance(source, SnapshotScan) else source


@dataclass(frozen=True)
class Scan:
    """The columns and rows that are read of an input, and by whom.

    Attributes:
        source: the input.
        columns: the columns to read.
        bounds: the instants of ``event_ts`` to read; no bounds for a spine.
        required: columns whose nulls drop the row.
        conditions: further, boolean columns, each an expression over the input's columns.
        instant: the column that ``bounds`` speak of.
    """

    source: Input
    columns: tuple[str, ...]
    bounds: Bounds = (None, None)
    required: tuple[str, ...] = ()
    conditions: Mapping[str, str] = field(default_factory=dict)
    instant: str = EVENT_TS

    @property
    def by_tasks(self) -> bool:
        """Whether tasks read the files themselves."""
        return self._spark_because is None

    @property
    def scanner(self) -> str:
        """Who scans the input, and why."""
        because = self._spark_because
        return (
            "read by the tasks from its Parquet files" if because is None else f"scanned by Spark: {because}"
        )

    @property
    def _spark_because(self) -> str | None:
        if not isinstance(self.source, SnapshotScan):
            return "a frame"
        if self.source.blocked is not None:
            return self.source.blocked
        for text in self.conditions.values():
            reason = cannot_run_without_spark(text, _language_types(self.source.frame.schema))
            if reason is not None:
                return f"{text!r} needs Spark: {reason}"
        return None

    @property
    def schema(self) -> pa.Schema:
        """The columns as Arrow types them, conditions apart."""
        return self._arrow(self.columns)

    @property
    def given(self) -> pa.Schema:
        """The columns as Arrow types them, then the conditions."""
        return pa.schema([*self.schema, *(pa.field(name, pa.bool_()) for name in self.conditions)])

    @property
    def reading(self) -> Reading:
        """What tasks read of every file."""
        conditions: dict[str, PolarsExpression] = {}
        if self.by_tasks:
            types = _language_types(frame_of(self.source).schema)
            conditions = {name: polars_expression(text, types) for name, text in self.conditions.items()}
        needed = {column for condition in conditions.values() for column in condition.needs}
        besides = sorted(needed - set(self.columns))
        renamed: Mapping[str, str] = {}
        preparation = None
        if isinstance(self.source, SnapshotScan):
            renamed, prepares = self.source.renamed, self.source.preparation
            preparation = None if prepares is None else prepares.only([*self.columns, *besides])
        computed = () if preparation is None else preparation.columns
        since, until = self.bounds
        return Reading(
            schema=self.schema,
            stored={
                name: renamed.get(name, name) for name in (*self.columns, *besides) if name not in computed
            },
            instant=self.instant if (since, until) != (None, None) else None,
            since=since,
            until=until,
            required=self.required,
            preparation=preparation,
            conditions=conditions,
            besides=self._arrow(besides),
        )

    def _arrow(self, columns: Iterable[str]) -> pa.Schema:
        held = frame_of(self.source).schema
        return to_arrow_schema(T.StructType([held[name] for name in columns]), timezone="UTC")

    @property
    def files(self) -> tuple[SnapshotFile, ...] | None:
        """The files that can hold a wanted row, None when only Spark knows them."""
        return self.source.reachable(self.reading) if isinstance(self.source, SnapshotScan) else None

    @property
    def parts(self) -> tuple[FilePart, ...]:
        """The files as shares of one reader: all of them."""
        return tuple(FilePart(file.path, dict(file.partition)) for file in self.files or ())


def _language_types(schema: T.StructType) -> dict[str, str]:
    """Return the type of each column as the expression language names it."""
    names = {"bigint": "long", "timestamp": "timestamp_utc"}
    found = {field.name: field.dataType.simpleString() for field in schema}
    return {column: names.get(kind, kind) for column, kind in found.items()}


def source_scan(
    source: Input,
    features: Sequence[Feature],
    conditions: Mapping[str, str],
    *,
    keys: Sequence[str],
    order: Sequence[str],
    bounds: Bounds,
) -> Scan:
    """Return the scan of a source: keys, instants, tie breakers, inputs and conditions of some features.

    Args:
        source: the input.
        features: what is computed of it.
        conditions: column that each ``where`` of the features becomes, by its text.
        keys: columns of the entity key.
        order: columns that order events equal in both instants.
        bounds: the instants of ``event_ts`` to read.
    """
    used = [column for feature in features for column in (feature.input, feature.by) if column]
    asked = {feature.where for feature in features}
    wanted = {column: text for text, column in conditions.items() if column in asked}
    instants = [EVENT_TS, KNOWN_TS] if KNOWN_TS in frame_of(source).columns else [EVENT_TS]
    columns = tuple(dict.fromkeys([*keys, *instants, *order, *used]))
    scan = Scan(source, columns, bounds, (*keys, *instants), wanted)
    if not scan.by_tasks:
        for text in wanted.values():
            _refuse_clock_times(text, frame_of(source))
    return scan


def _refuse_clock_times(text: str, frame: DataFrame) -> None:
    """Refuse a condition that Spark would read in the session's time zone, where that is not UTC.

    Raises:
        FrameError: it has to do with instants, and the session is not in UTC.
    """
    zone = _zone(frame)
    instants = {field.name for field in frame.schema if isinstance(field.dataType, T.TimestampType)}
    if zone not in _SAYS_UTC and (_CLOCK.search(text) or instants.intersection(columns_of(text))):
        raise FrameError(
            f"where {text!r} has to do with clock times, which Spark would read in {zone}",
            "a session in UTC: one that is not would give other features",
            "spark.conf.set('spark.sql.session.timeZone', 'UTC')",
        )


def _zone(frame: DataFrame) -> str:
    return str(frame.sparkSession.conf.get("spark.sql.session.timeZone"))


def mapped(
    scan: Scan,
    make: Mapped,
    schema: T.StructType | str,
    *,
    parallelism: int,
    makes: int | None = None,
) -> DataFrame:
    """Return what tasks make of the tables of a scan, about a million rows each. No Spark action runs.

    Args:
        scan: what to read.
        make: from the tables of one task to batches of ``schema``.
        schema: of the result.
        parallelism: number of tasks to aim at where a scan by tasks is small.
        makes: bytes that tasks make of it in memory, where that says more of their work than files do.
    """
    if not scan.by_tasks:
        rows = only_reachable(frame_of(scan.source), scan.bounds).select(
            *scan.columns, *[F.expr(text).alias(column) for column, text in scan.conditions.items()]
        )
        given = None if _zone(rows) == "UTC" else scan.given

        def from_rows(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            # Spark's instants carry the zone of its session; those that tasks read carry UTC, as all shall.
            yield from make(blobs.chunks(batches if given is None else (one.cast(given) for one in batches)))

        # Packing needs a column of many rows at once: Spark has no operator that sees one.
        return rows.mapInArrow(from_rows, schema)
    reading = scan.reading
    shares = slices(scan.files or (), parallelism, makes=makes)

    def from_files(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        parts = [
            part for batch in batches for share in batch.column("id").to_pylist() for part in shares[share]
        ]
        yield from make(blobs.chunks(batches_of(parts, reading)))

    # One row a task says which files are its own; they are read in the task, past the JVM.
    tasks = frame_of(scan.source).sparkSession.range(0, len(shares), 1, max(1, len(shares)))
    return tasks.mapInArrow(from_files, schema)


def row_bytes(schema: pa.Schema) -> int:
    """Return about how many bytes a row takes in Arrow; texts and nested values are taken as 24."""
    return sum(
        math.ceil(kind.bit_width / 8) if pa.types.is_primitive(kind) else _TEXT_BYTES for kind in schema.types
    )
