"""A snapshot is an input whose files are known, so that tasks can read them without Spark's scan.

It is a plain value beside the frame of the same rows: the frame gives schema and session, and is what Spark
scans where tasks may not read the files. Nothing here opens a file or a table; only the tasks do.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from pyspark.sql import DataFrame

from featurelib.point_in_time.scans import FilePart, Preparation, Reading
from featurelib.point_in_time.tiles import TileTask
from featurelib.timeline import to_micros

SLICE_BYTES: Final = 64 << 20
_LEAST_SLICE_BYTES: Final = 4 << 20
_LOG_PRECISION: Final = 1_000
"""Table logs cut instants to milliseconds; their bounds are taken this many microseconds wider."""


@dataclass(frozen=True)
class SnapshotFile:
    """One Parquet file of a table version.

    Attributes:
        path: absolute path, or URI that ``pyarrow.fs`` opens on every worker.
        size_bytes: its length.
        num_records: rows, None when not known.
        partition: value of each partition column, typed; they are not in the file.
        minimum: least value of each stored column it is known for; instants may be cut to milliseconds.
        maximum: greatest value, likewise.
    """

    path: str
    size_bytes: int
    num_records: int | None = None
    partition: Mapping[str, Any] = field(default_factory=dict)
    minimum: Mapping[str, Any] = field(default_factory=dict)
    maximum: Mapping[str, Any] = field(default_factory=dict)

    def bounds(self, column: str) -> tuple[int | None, int | None]:
        """Return inclusive bounds of an instant column in microseconds since 1970, None where unknown."""
        if column in self.partition:
            exact = _micros(self.partition[column])
            return exact, exact
        least, greatest = _micros(self.minimum.get(column)), _micros(self.maximum.get(column))
        return (
            None if least is None else least - _LOG_PRECISION,
            None if greatest is None else greatest + _LOG_PRECISION,
        )


@dataclass(frozen=True)
class TileTable:
    """Tiles of all events of a source for one entity key, at the version that fits the source's own.

    Attributes:
        scan: the tiles; every file holds those of some loads, as its value of ``day`` says.
        task: what they keep.
        day: column of tiles and of the source's files that tells one load from another.
    """

    scan: SnapshotScan
    task: TileTask
    day: str


@dataclass(frozen=True)
class SnapshotScan:
    """An input of :func:`featurelib.point_in_time.features_as_of` that tasks read from its files.

    Attributes:
        frame: the same rows as Spark reads them; every column is a stored column, possibly renamed, or one
            of the preparation.
        files: the files of that version; prepared, they hold exactly the rows of ``frame``.
        renamed: stored name of each column of ``frame`` that has another name there.
        preparation: rows to keep and columns to compute, as ``frame`` does.
        blocked: why tasks must not read the files (deleted rows in them, mapped names, a store that
            workers cannot reach); Spark scans ``frame`` then. None when they may.
        tiles: what is kept of all its events, by entity key.
    """

    frame: DataFrame
    files: tuple[SnapshotFile, ...]
    renamed: Mapping[str, str] = field(default_factory=dict)
    preparation: Preparation | None = None
    blocked: str | None = None
    tiles: Mapping[tuple[str, ...], TileTable] = field(default_factory=dict)

    def stored(self, column: str) -> str:
        """Return the name a column of the frame has in the files."""
        return self.renamed.get(column, column)

    @property
    def num_records(self) -> int | None:
        """Rows of all files, None when it is not known for one of them."""
        counts = [file.num_records for file in self.files]
        return None if None in counts else sum(count for count in counts if count is not None)

    def bounds(self, column: str) -> tuple[int, int] | None:
        """Return ``[first, last)`` around an instant column's values in microseconds, None if unknown."""
        found = [file.bounds(self.stored(column)) for file in self.files]
        least = [low for low, _ in found if low is not None]
        greatest = [high for _, high in found if high is not None]
        if not found or len(least) < len(found) or len(greatest) < len(found):
            return None
        return min(least), max(greatest) + 1

    def reachable(self, reading: Reading) -> tuple[SnapshotFile, ...]:
        """Return the files that can hold an instant that is wanted."""
        instant = reading.instant
        if instant is None:
            return self.files
        return tuple(file for file in self.files if not reading.excludes(*file.bounds(self.stored(instant))))


def slices(
    files: Sequence[SnapshotFile], parallelism: int, *, makes: int | None = None
) -> list[tuple[FilePart, ...]]:
    """Deal files out to tasks: about 64 MiB of Parquet each, less where that would leave cores idle.

    ``makes`` is how many bytes the tasks make of them in memory: a task of 64 MiB of these is no small one,
    however small the files.
    """
    total = sum(file.size_bytes for file in files)
    made = max(makes or 0, SLICE_BYTES)
    least = _LEAST_SLICE_BYTES if makes is None else min(_LEAST_SLICE_BYTES, total * SLICE_BYTES // made)
    target = min(SLICE_BYTES, max(least, 1, math.ceil(total / max(parallelism, 1))))
    dealt: list[tuple[FilePart, ...]] = []
    pending: list[FilePart] = []
    pending_bytes = 0.0
    for part, size in _parts(files, target):
        if pending and pending_bytes + size > target * 1.25:
            dealt.append(tuple(pending))
            pending, pending_bytes = [], 0.0
        pending.append(part)
        pending_bytes += size
    return [*dealt, tuple(pending)] if pending else dealt


def _parts(files: Sequence[SnapshotFile], target: int) -> Iterator[tuple[FilePart, float]]:
    for file in files:
        parts = max(1, round(file.size_bytes / target))
        for number in range(parts):
            yield FilePart(file.path, dict(file.partition), number, parts), file.size_bytes / parts


def _micros(value: object) -> int | None:
    if not isinstance(value, datetime):
        return None
    return to_micros(value if value.tzinfo else value.replace(tzinfo=UTC))
