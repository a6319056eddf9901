"""Small sources come to the spine: every task reads their few files itself, and no row of the spine moves.

Runs inside Spark's Python workers: it imports pyarrow only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from featurelib.point_in_time.buckets import features_of
from featurelib.point_in_time.features import KeyTask
from featurelib.point_in_time.scans import FilePart, Reading, batches_of


@dataclass(frozen=True)
class SmallKey:
    """An entity key whose sources are all small: its task, and what to read of each source, by tag."""

    task: KeyTask
    reads: Mapping[int, tuple[tuple[FilePart, ...], Reading]]

    def tables(self) -> dict[int, pa.Table]:
        """Read the sources whole."""
        return {
            tag: pa.Table.from_batches(batches_of(parts, reading), schema=reading.given)
            for tag, (parts, reading) in self.reads.items()
        }


def with_small_features(spine: Iterable[pa.Table], keys: Sequence[SmallKey]) -> Iterator[pa.Table]:
    """Yield the spine's tables, their rows as they are, with the features of the keys appended."""
    sources = [key.tables() for key in keys]
    for table in spine:
        widened = table
        for key, tables in zip(keys, sources, strict=True):
            for name, column in features_of(table, tables, key.task).items():
                widened = widened.append_column(name, column)
        yield widened
