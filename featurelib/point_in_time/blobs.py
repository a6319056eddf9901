"""Rows cross the shuffle as compressed Arrow blobs, one for each bucket and chunk.

Runs inside Spark's Python workers: it imports pyarrow, numpy and polars only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import numpy as np
import polars as pl
import pyarrow as pa

from featurelib.point_in_time.kernels import Ints
from featurelib.point_in_time.placement import Instants, Placement

BLOB_SCHEMA: Final = "bucket int, tag int, blob binary"
"""Spark schema of packed rows: where they go, which input they are from, and the rows themselves."""

_ARROW_SCHEMA: Final = pa.schema([("bucket", pa.int32()), ("tag", pa.int32()), ("blob", pa.binary())])
_CHUNK_ROWS: Final = 1_000_000
_CHUNK_BYTES: Final = 128 << 20
_RADIX_SORTED: Final = 1 << 16  # numpy sorts 16-bit integers in linear time
_HASHED_BY: Final = b"featurelib.hash"
_HASH_VERSION: Final = f"polars {pl.__version__}".encode()


def chunks(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Yield the rows of the batches as tables of about a million rows, or of 128 MiB where rows are wide."""
    pending: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in batches:
        if batch.num_rows == 0:
            continue
        pending.append(batch)
        rows += batch.num_rows
        size += batch.nbytes
        if rows >= _CHUNK_ROWS or size >= _CHUNK_BYTES:
            yield pa.Table.from_batches(pending)
            pending, rows, size = [], 0, 0
    if pending:
        yield pa.Table.from_batches(pending)


def packed(
    table: pa.Table, *, placement: Placement, instants: Instants, tag: int
) -> Iterator[pa.RecordBatch]:
    """Yield batches of blobs for a table: its rows grouped by bucket, each group written once.

    However many buckets a row goes to, no batch holds more rows than the table.
    """
    rows, bucket = placement.of(table, instants)
    narrow = bucket.astype(np.uint16) if placement.count <= _RADIX_SORTED else bucket
    rows = rows[np.argsort(narrow, kind="stable")]
    ends = np.cumsum(np.bincount(bucket, minlength=placement.count))
    present = np.flatnonzero(np.diff(ends, prepend=0))
    while len(present):
        start = ends[present[0] - 1] if present[0] else 0
        fitting = max(1, int(np.searchsorted(ends[present], start + table.num_rows, side="right")))
        yield _packed(
            taken(table, pa.array(rows[start : ends[present[fitting - 1]]])),
            present[:fitting],
            ends[present[:fitting]] - start,
            tag,
        )
        present = present[fitting:]


def _packed(grouped: pa.Table, buckets: Ints, ends: Ints, tag: int) -> pa.RecordBatch:
    """Return a blob for each bucket, whose rows end at ``ends`` in the table."""
    starts = np.concatenate([[0], ends[:-1]])
    blobs = [_written(grouped.slice(start, end - start)) for start, end in zip(starts, ends, strict=True)]
    return pa.record_batch(
        [
            pa.array(buckets, pa.int32()),
            pa.array(np.full(len(buckets), tag, np.int32)),
            pa.array(blobs, pa.binary()),
        ],
        schema=_ARROW_SCHEMA,
    )


def taken(table: pa.Table, order: pa.Array) -> pa.Table:
    """Return the rows in the given order, in one chunk; column by column, which Arrow does far faster."""
    columns = [column.combine_chunks().take(order) for column in table.columns]
    return pa.table(columns, schema=table.schema)


def unpacked(batches: Iterable[pa.RecordBatch], keys: Sequence[str], most_bytes: int) -> dict[int, pa.Table]:
    """Return the rows of each tag.

    Raises:
        RuntimeError: a blob was grouped by another version of the hash than this worker would use.
        MemoryError: the rows take more than ``most_bytes``; it names the entity with most of them.
    """
    opened: dict[int, list[pa.Table]] = {}
    size = 0
    for batch in batches:
        for tag, blob in zip(batch.column("tag").to_pylist(), batch.column("blob"), strict=True):
            table = _opened(blob.as_buffer())
            opened.setdefault(tag, []).append(table)
            size += table.nbytes
            if size > most_bytes:
                raise MemoryError(
                    _too_large([one for tables in opened.values() for one in tables], keys, most_bytes)
                )
    return {tag: pa.concat_tables(tables) for tag, tables in opened.items()}


def _too_large(tables: Sequence[pa.Table], keys: Sequence[str], most_bytes: int) -> str:
    rows = pa.concat_tables([table.select(list(keys)) for table in tables])
    counted = (
        rows.append_column("rows", pa.repeat(1, rows.num_rows))
        .group_by(list(keys))
        .aggregate([("rows", "sum")])
    )
    largest = counted.sort_by([("rows_sum", "descending")]).slice(0, 1).to_pylist()[0]
    count = largest.pop("rows_sum")
    entity = ", ".join(f"{key} = {value!r}" for key, value in largest.items())
    return (
        f"a bucket of key {', '.join(keys)} takes more than {most_bytes:,} bytes; "
        f"of the {rows.num_rows:,} rows read of it, {count:,} are of {entity}\n"
        "  expected: at most 8 times Limits.bucket_bytes\n"
        "  to do: name that entity in Limits.hot if most rows are its own, else raise Limits.buckets; "
        "where it is sliced, bound the lifetimes of its quantiles, distinct values and maps, as the last "
        "slice holds all their events; with more memory for each worker, raise Limits.bucket_bytes (a "
        "pipeline's engine.bucket_mib)"
    )


def _written(rows: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    schema = rows.schema.with_metadata({_HASHED_BY: _HASH_VERSION})
    options = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
    with pa.ipc.new_stream(sink, schema, options=options) as writer:
        writer.write_table(rows.replace_schema_metadata(schema.metadata))
    written: bytes = sink.getvalue().to_pybytes()
    return written


def _opened(blob: pa.Buffer) -> pa.Table:
    table = pa.ipc.open_stream(blob).read_all()
    written_by = (table.schema.metadata or {}).get(_HASHED_BY)
    if written_by != _HASH_VERSION:
        message = (
            f"rows were grouped on another worker by {written_by!r}, this one would use {_HASH_VERSION!r}; "
            "install the same lock file on every worker"
        )
        raise RuntimeError(message)
    return table.replace_schema_metadata(None)
