"""The Parquet files of a table version, as the log lists them, and their rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
from deltalake import DeltaTable
from pyarrow import parquet as pq

from featurelib.addresses import located
from featurelib.tables.damage import file_explained


@dataclass(frozen=True)
class DataFile:
    """One Parquet file of a snapshot.

    Attributes:
        path: absolute path or URI, not percent-encoded.
        partition: value of each partition column, typed (date, int, ...); they are not in the file.
        num_records: rows, None when the log does not say.
        minimum: least value of each top-level column the log knows it for.
        maximum: greatest value, likewise; strings may be cut to a prefix, and then rounded up.
    """

    path: str
    partition: Mapping[str, Any]
    size_bytes: int
    num_records: int | None
    minimum: Mapping[str, Any]
    maximum: Mapping[str, Any]


def data_files(log: DeltaTable, root: str) -> list[DataFile]:
    """Return the files of a loaded table version whose folder is ``root``, in no order."""
    rows = pa.table(log.get_add_actions()).to_pylist()
    return [
        DataFile(
            path=_absolute(unquote(row["path"]), root),
            partition=row.get("partition") or {},
            size_bytes=row["size_bytes"],
            num_records=row.get("num_records"),
            minimum=_known(row.get("min")),
            maximum=_known(row.get("max")),
        )
        for row in rows
    ]


def _absolute(path: str, root: str) -> str:
    is_whole = "://" in path or path.startswith(("/", "file:"))
    return path.removeprefix("file://").removeprefix("file:") if is_whole else f"{root}/{path}"


def _known(bounds: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in (bounds or {}).items() if value is not None}


def read_rows(file: DataFile) -> list[dict[str, Any]]:
    """Return the rows of a small file with their partition values.

    Read in this thread by Arrow's own file system: datasets of ``deltalake`` read through Python from
    threads of Arrow, and one that is still at it when the interpreter ends aborts the process.

    Raises:
        FeaturelibError: the file is missing or damaged.
    """
    filesystem, path = located(file.path)
    with file_explained(file.path), filesystem.open_input_file(path) as source:
        table = pq.ParquetFile(source, pre_buffer=False).read(use_threads=False)
    return [{**file.partition, **row} for row in table.to_pylist()]
