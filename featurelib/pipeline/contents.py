"""What the published tables hold, as numbers that two runs can be compared by."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from featurelib.pipeline.context import Context
from featurelib.tables import content_hash, published, read

IDENTITIES = (
    "_run_id",
    "_lineage_id",
    "_model_version",
    "_model_sha256",
    "_made_from",
    "_version",
    "_prediction_runs",
)
"""Columns that say which run, fit, files or version a row is from: equal runs differ there alone."""


@dataclass(frozen=True)
class TableContent:
    """A published table: version, rows, and a hash of its rows in any order."""

    table: str
    version: int
    rows: int
    content: str


def contents(context: Context) -> Iterator[TableContent]:
    """Yield every published table, by name."""
    for table, version in sorted(published(context.store).items()):
        frame = read(context.spark, context.store, table, version=version)
        exclude = [name for name in IDENTITIES if name in frame.columns]
        rows, content = content_hash(frame, exclude=exclude)
        yield TableContent(table, version, rows, content)
