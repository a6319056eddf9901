"""Rows cross the shuffle as compressed Arrow blobs, one for each bucket and chunk.

Runs inside Spark's Python workers: it imports pyarrow, numpy and polars only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

BLOB_SCHEMA: Final = "bucket int, tag int, blob binary"
"""Spark schema of packed rows: where they go, which input they are from, and the rows themselves."""

_ARROW_SCHEMA: Final = pa.schema([("bucket", pa.int32()), ("tag", pa.int32()), ("blob", pa.binary())])
_CHUNK_ROWS: Final = 1_000_000
_HASHED_BY: Final = b"featurelib.hash"
_HASH_VERSION: Final = f"polars {pl.__version__}".encode()


def buckets_of(keys: pa.Table, buckets: int) -> npt.NDArray[np.int32]:
    """Return the bucket of each row: a hash of its key, the same for every scan and worker.

    Rows with a null in their key match nothing; they are dealt out evenly so that they flood no bucket.
    """
    frame = pl.DataFrame(pl.from_arrow(keys))
    hashed = (frame.hash_rows(seed=42).to_numpy() % np.uint64(buckets)).astype(np.int32)
    has_null = frame.select(pl.any_horizontal(pl.all().is_null())).to_series().to_numpy()
    if has_null.any():
        hashed[has_null] = np.arange(has_null.sum(), dtype=np.int32) % buckets
    return hashed


def chunks(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Yield the rows of the batches as tables of about a million rows."""
    pending: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        if batch.num_rows == 0:
            continue
        pending.append(batch)
        rows += batch.num_rows
        if rows >= _CHUNK_ROWS:
            yield pa.Table.from_batches(pending)
            pending, rows = [], 0
    if pending:
        yield pa.Table.from_batches(pending)


def packed(table: pa.Table, *, keys: Sequence[str], buckets: int, tag: int) -> Iterator[pa.RecordBatch]:
    """Yield one batch of blobs for a table: its rows grouped by bucket, each group written once."""
    bucket = buckets_of(table.select(list(keys)), buckets)
    order = np.argsort(bucket, kind="stable")
    grouped = table.take(pa.array(order)).combine_chunks()
    present, starts = np.unique(bucket[order], return_index=True)
    ends = np.append(starts[1:], table.num_rows)
    blobs = [_written(grouped.slice(start, end - start)) for start, end in zip(starts, ends, strict=True)]
    yield pa.record_batch(
        [
            pa.array(present, pa.int32()),
            pa.array(np.full(len(present), tag, np.int32)),
            pa.array(blobs, pa.binary()),
        ],
        schema=_ARROW_SCHEMA,
    )


def unpacked(batches: Iterable[pa.RecordBatch]) -> dict[int, pa.Table]:
    """Return the rows of each tag.

    Raises:
        RuntimeError: a blob was grouped by another version of the hash than this worker would use.
    """
    opened: dict[int, list[pa.Table]] = {}
    for batch in batches:
        for tag, blob in zip(batch.column("tag").to_pylist(), batch.column("blob"), strict=True):
            opened.setdefault(tag, []).append(_opened(blob.as_buffer()))
    return {tag: pa.concat_tables(tables) for tag, tables in opened.items()}


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
