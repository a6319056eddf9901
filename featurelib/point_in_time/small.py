"""Small sources come to the spine: every task reads their few files itself, and no row of the spine moves.

Runs inside Spark's Python workers: it imports pyarrow only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from featurelib.point_in_time.buckets import features_of
from featurelib.point_in_time.features import KeyTask
from featurelib.point_in_time.scans import FilePart, Reading, batches_of

_VALUE_BYTES: Final = 8
_LEAST_ROWS: Final = 1_000
"""Rows of a piece at least: the sources are gone through for each."""


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


def with_small_features(
    spine: Iterable[pa.Table], keys: Sequence[SmallKey], *, piece_bytes: int
) -> Iterator[pa.Table]:
    """Yield the spine's rows, as they are and in their order, with the features of the keys appended.

    Args:
        spine: tables of any size.
        keys: what to append.
        piece_bytes: about how many bytes a table of the result may take: many features make short pieces.
    """
    sources = [key.tables() for key in keys]
    features = sum(len(source.features) for key in keys for source in key.task.sources)
    for table in spine:
        width = table.nbytes / max(table.num_rows, 1) + _VALUE_BYTES * features
        rows = max(_LEAST_ROWS, int(piece_bytes / width))
        for start in range(0, table.num_rows, rows):
            piece = table.slice(start, rows)
            widened = piece
            for key, tables in zip(keys, sources, strict=True):
                for name, column in features_of(piece, tables, key.task).items():
                    widened = widened.append_column(name, column)
            yield widened
