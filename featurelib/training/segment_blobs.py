"""Rows of slices cross the shuffle as Arrow blobs, one a slice and chunk, and are opened slice by slice.

Runs inside Spark's Python workers, and needs no Spark.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from featurelib.point_in_time import blobs
from featurelib.training.segment_fit import SliceRows, in_one_order

BLOBS: Final = "pack int, segment string, blob binary"
"""Spark schema of packed rows: the task they go to, their slice, and the rows themselves."""

VECTOR: Final = "vector"
PARENT: Final = "parent"
_ARROW_BLOBS: Final = pa.schema([("pack", pa.int32()), ("segment", pa.string()), ("blob", pa.binary())])


def packed_by_slice(
    table: pa.Table, pack_of: Mapping[str, int], shares: Mapping[str, float] | None = None
) -> pa.RecordBatch:
    """Return a blob for each slice of the rows, with the pack that it goes to.

    Of slices in ``shares`` only that share of the rows is taken: those with the lowest hashes, so that the
    same rows are taken however they are cut into chunks, and fewer of them are among more.
    """
    if shares:
        table = table.filter(pa.array(_taken(table, shares)))
    encoded = table.column("segment").combine_chunks().dictionary_encode()
    codes, names = encoded.indices.to_numpy(), encoded.dictionary.to_pylist()
    ends = np.cumsum(np.bincount(codes, minlength=len(names)))
    ordered = blobs.taken(table.drop_columns(["segment"]), pa.array(np.argsort(codes, kind="stable")))
    starts = [0, *ends[:-1]]
    written = [_written(ordered.slice(start, end - start)) for start, end in zip(starts, ends, strict=True)]
    packs = pa.array([pack_of[name] for name in names], pa.int32())
    return pa.record_batch([packs, pa.array(names), pa.array(written, pa.binary())], schema=_ARROW_BLOBS)


def _taken(table: pa.Table, shares: Mapping[str, float]) -> npt.NDArray[np.bool_]:
    encoded = table.column("segment").combine_chunks().dictionary_encode()
    bounds = np.array([_bound(shares.get(name, 1.0)) for name in encoded.dictionary.to_pylist()], np.int64)
    kept: npt.NDArray[np.bool_] = table.column("row_hash").to_numpy() <= bounds[encoded.indices.to_numpy()]
    return kept


def _bound(share: float) -> int:
    """Return the greatest hash that belongs to a share of all signed 64-bit numbers."""
    return min(2**63 - 1, int(share * 2**64) - 2**63)


def opened(parts: Iterable[bytes]) -> SliceRows:
    """Return the rows of a slice's blobs, in one order."""
    table = pa.concat_tables([pa.ipc.open_stream(part).read_all() for part in parts]).combine_chunks()
    vectors = table.column(VECTOR).combine_chunks()
    rows = SliceRows(
        features=vectors.flatten().to_numpy(zero_copy_only=False).reshape(table.num_rows, -1),
        label=table.column("label").to_numpy().astype(np.float64),
        split=table.column("split").to_numpy().astype(np.int8),
        parent=table.column(PARENT).to_numpy().astype(np.float64),
        day=table.column("day").to_numpy().astype(np.int32),
    )
    return in_one_order(rows, table.column("row_hash").to_numpy())


def _written(rows: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
    with pa.ipc.new_stream(sink, rows.schema, options=options) as writer:
        writer.write_table(rows)
    written: bytes = sink.getvalue().to_pybytes()
    return written
