"""A sample of an input's keys and instants, read from its Parquet files where the plan is made.

Which rows are taken follows from the files alone: the same files give the same sample. It is meant for
statistics that choose a plan, never for an answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Final

import pyarrow as pa
from pyarrow import parquet as pq

from featurelib.point_in_time.inputs import Scan
from featurelib.point_in_time.scans import FilePart, batches_of, opened
from featurelib.point_in_time.snapshots import SnapshotFile

_PLACES: Final = 16
"""Row groups that are read of an input, evenly spread over its bytes; only the first rows of each."""


def sample_of(scan: Scan, columns: Sequence[str], *, rows: int) -> pa.Table | None:
    """Return up to about so many rows of a scan, with no null among the columns.

    Args:
        scan: what would be read; its bounds and preparation are kept, not its conditions.
        columns: columns of the scan.
        rows: how many to read at most.

    Returns:
        The rows, None where the input has no files that may be read without Spark.
    """
    narrow = replace(scan, columns=tuple(columns), required=tuple(columns), conditions={})
    files = narrow.files if narrow.by_tasks else None
    if not files:
        return None
    reading = narrow.reading
    parts = list(_parts(files))
    share = max(1, rows // max(1, len(parts)))
    batches = [
        batch.slice(0, share)
        for part in parts
        for batch in islice(batches_of([part], reading, batch_rows=share), 1)
    ]
    return pa.Table.from_batches(batches, reading.given)


def _parts(files: Sequence[SnapshotFile]) -> Iterator[FilePart]:
    """Yield single row groups at even distances through the bytes of all files, each once."""
    total = sum(file.size_bytes for file in files)
    ends, end = [], 0
    for file in files:
        end += file.size_bytes
        ends.append(end)
    taken: set[tuple[str, int]] = set()
    groups: dict[str, int] = {}
    for place in range(_PLACES):
        wanted = total * (2 * place + 1) // (2 * _PLACES)
        number = next(at for at, end in enumerate(ends) if end > wanted or at == len(ends) - 1)
        file = files[number]
        if file.path not in groups:
            with opened(file.path) as source:
                groups[file.path] = pq.read_metadata(source).num_row_groups
        inside = wanted - (ends[number] - file.size_bytes)
        group = min(groups[file.path] * inside // max(file.size_bytes, 1), groups[file.path] - 1)
        if group >= 0 and (file.path, group) not in taken:
            taken.add((file.path, group))
            yield FilePart(file.path, dict(file.partition), group, groups[file.path])
