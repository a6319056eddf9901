"""Landed CSV files are read inside tasks, one after another, as text exactly as received.

Runs inside Spark's Python workers: it imports pyarrow, numpy and the standard library only.
"""

from __future__ import annotations

import codecs
import hashlib
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow import csv

from featurelib.addresses import located

IDENTITY: Final = ("_file", "_day", "_row", "_malformed")
"""Columns that every received row carries: file, day, number in the file (from 1), text if unreadable."""

INSPECTED: Final = (
    "name string, day date, bytes long, sha256 string, rows long, fault string, "
    "missing array<string>, new array<string>"
)
"""Spark schema of what an inspection says of a file; ``fault`` is null for one that can be read."""

_READ_BYTES: Final = 1 << 20


class Inspection(NamedTuple):
    """What is known of a file after reading it through once.

    Attributes:
        bytes: its size.
        sha256: of its bytes.
        rows: data rows, 0 for a file with a fault.
        fault: why it cannot be read; None for a file that can.
        missing: declared columns that its header lacks.
        new: columns of its header that are not declared.
    """

    bytes: int
    sha256: str
    rows: int
    fault: str | None
    missing: tuple[str, ...] = ()
    new: tuple[str, ...] = ()


def inspected(batches: Iterable[pa.RecordBatch], columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Yield one row for each file of the batches, which have ``name``, ``day`` and ``uri``."""
    for batch in batches:
        looks = [inspect(uri.as_py(), columns) for uri in batch.column("uri")]
        yield pa.record_batch(
            [
                batch.column("name"),
                batch.column("day"),
                pa.array([look.bytes for look in looks], pa.int64()),
                pa.array([look.sha256 for look in looks], pa.string()),
                pa.array([look.rows for look in looks], pa.int64()),
                pa.array([look.fault for look in looks], pa.string()),
                pa.array([look.missing for look in looks], pa.list_(pa.string())),
                pa.array([look.new for look in looks], pa.list_(pa.string())),
            ],
            names=["name", "day", *Inspection._fields],
        )


def inspect(uri: str, columns: Sequence[str]) -> Inspection:
    """Read a file through: is it whole and UTF-8, what does its header say, how many rows has it."""
    raw = _Counted(uri)
    try:
        fault, header = _read_through(raw.decoded())
        found = [] if fault else _names(header)
        fault = fault or _header_fault(found, columns)
        rows = 0 if fault else sum(batch.num_rows for batch in _batches(uri, columns))
    except pa.ArrowInvalid as error:
        return Inspection(raw.size, raw.digest, 0, f"is no CSV: {error}")
    except (EOFError, OSError, zlib.error) as error:
        return Inspection(raw.size, raw.digest, 0, f"is cut short or damaged: {error}")
    missing, new = _differences(found, columns) if fault is None else ((), ())
    return Inspection(raw.size, raw.digest, rows, fault, missing, new)


def received(batches: Iterable[pa.RecordBatch], columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Yield the rows of every file as text, with their identity columns; a column it lacks is null."""
    for batch in batches:
        for name, day, uri in zip(*(batch.column(part) for part in ("name", "day", "uri")), strict=True):
            for rows in _batches(uri.as_py(), columns):
                size = rows.num_rows
                identity = {"_file": pa.repeat(name, size), "_day": pa.repeat(day, size)}
                taken = [rows.column(column) for column in columns]
                yield pa.record_batch(
                    [*taken, *identity.values(), rows.column("_row"), rows.column("_malformed")],
                    names=[*columns, *IDENTITY],
                )


def texts_of(uri: str, columns: Sequence[str]) -> list[tuple[int, tuple[str | None, ...]]]:
    """Return the number and texts of every row of a file, in order; a malformed row has one text."""
    rows = [row for batch in _batches(uri, columns) for row in batch.to_pylist()]
    texts = [
        (
            row["_row"],
            tuple(row[name] for name in columns) if row["_malformed"] is None else (row["_malformed"],),
        )
        for row in rows
    ]
    return sorted(texts)


def _batches(uri: str, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Yield rows as text; a row with too few or too many fields keeps its text in ``_malformed``."""
    malformed = _Malformed()
    reader = csv.open_csv(
        _stream(uri),
        read_options=csv.ReadOptions(use_threads=False),
        parse_options=csv.ParseOptions(invalid_row_handler=malformed.take, newlines_in_values=True),
        convert_options=csv.ConvertOptions(
            column_types=dict.fromkeys(columns, pa.string()),
            strings_can_be_null=False,
            include_columns=list(columns),
            include_missing_columns=True,
        ),
    )
    seen = 0
    for batch in reader:
        bad = malformed.given()
        numbers = _numbers(seen, batch.num_rows, [number for number, _ in bad])
        seen += batch.num_rows + len(bad)
        yield _with(batch, columns, numbers, None)
        if bad:
            yield _only_malformed(columns, bad)
    if left := malformed.given():
        yield _only_malformed(columns, left)


def _numbers(seen: int, rows: int, bad: Sequence[int]) -> pa.Array:
    """Return the numbers of the good rows: those after ``seen`` that no bad row has."""
    numbers = np.arange(seen + 1, seen + rows + len(bad) + 1, dtype=np.int64)
    return pa.array(numbers[~np.isin(numbers, list(bad))] if bad else numbers)  # a generator imports pandas


def _with(
    batch: pa.RecordBatch, columns: Sequence[str], numbers: pa.Array, texts: pa.Array | None
) -> pa.RecordBatch:
    texts = pa.nulls(batch.num_rows, pa.string()) if texts is None else texts
    arrays = [batch.column(column) for column in columns]
    return pa.record_batch([*arrays, numbers, texts], names=[*columns, "_row", "_malformed"])


def _only_malformed(columns: Sequence[str], bad: Sequence[tuple[int, str]]) -> pa.RecordBatch:
    empty = [pa.nulls(len(bad), pa.string()) for _ in columns]
    numbers = pa.array([number for number, _ in bad], pa.int64())
    texts = pa.array([text for _, text in bad], pa.string())
    return pa.record_batch([*empty, numbers, texts], names=[*columns, "_row", "_malformed"])


@dataclass
class _Malformed:
    """Rows that the parser could not split into the declared fields."""

    rows: list[tuple[int, str]] = field(default_factory=list)

    def take(self, row: csv.InvalidRow) -> str:
        """Keep a row's number (the header is 1 for the parser, 0 for us) and text."""
        self.rows.append((row.number - 1, row.text))
        return "skip"

    def given(self) -> list[tuple[int, str]]:
        """Return what was taken since the last call."""
        rows, self.rows = self.rows, []
        return rows


class _Counted:
    """A file's bytes, counted and hashed as they are read."""

    def __init__(self, uri: str) -> None:
        self._hash = hashlib.sha256()
        self._uri = uri
        self.size = 0

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()

    def decoded(self) -> Iterator[bytes]:
        """Yield the file's content, decompressed; a damaged or unfinished gzip raises."""
        files, path = located(self._uri)
        with files.open_input_stream(path, compression=None) as stream:
            chunks = self._chunks(stream)
            yield from _unzipped(chunks) if path.endswith(".gz") else chunks

    def take(self, chunk: bytes) -> bytes:
        self._hash.update(chunk)
        self.size += len(chunk)
        return chunk

    def _chunks(self, stream: pa.NativeFile) -> Iterator[bytes]:
        while chunk := self.take(stream.read(_READ_BYTES)):
            yield chunk


def _unzipped(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield what gzip members hold, checking each member's length and checksum."""
    member = zlib.decompressobj(wbits=31)
    for chunk in chunks:
        rest = chunk
        while rest:
            if member.eof:
                member = zlib.decompressobj(wbits=31)
            yield member.decompress(rest)
            rest = member.unused_data
    if not member.eof:
        message = "the compressed data ends early"
        raise EOFError(message)


def _stream(uri: str) -> pa.NativeFile:
    files, path = located(uri)
    return files.open_input_stream(path, compression="detect")


def _read_through(chunks: Iterator[bytes]) -> tuple[str | None, str]:
    """Return why a file cannot be read, or None, and its header; read to its end: damage anywhere shows."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    header, lines, ended, fault = "", 0, False, None
    for chunk in chunks:
        if fault is not None:
            continue
        try:
            text = decoder.decode(chunk)
        except UnicodeDecodeError as error:
            line = lines + chunk[: error.start].count(b"\n") + 1
            fault = f"is not UTF-8: byte 0x{chunk[error.start]:02x} in line {line}"
            continue
        lines += text.count("\n")
        if not ended:
            header += text
            ended = "\n" in header
    if fault is None and decoder.getstate()[0]:
        fault = "is not UTF-8: it ends within a character"
    return fault, header.split("\n", 1)[0].rstrip("\r").lstrip("\ufeff")


def _names(header: str) -> list[str]:
    """Return the columns as the parser of the rows knows them: a blank is part of a name."""
    return list(csv.read_csv(pa.BufferReader(f"{header}\n".encode())).column_names) if header.strip() else []


def _header_fault(found: Sequence[str], columns: Sequence[str]) -> str | None:
    """Return why the columns of a header cannot be told apart, None where they can."""
    if not found:
        return "is empty: not even a header line"
    twice = sorted({name for name in found if found.count(name) > 1})
    if twice:
        return f"has columns twice: {', '.join(twice)}"
    known = [name for name in found if name in columns]
    if not known:
        return f"has none of the declared columns: {', '.join(found)}"
    if known != [name for name in columns if name in known]:
        return f"has the declared columns in another order: {', '.join(found)}"
    return None


def _differences(found: Sequence[str], columns: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the declared columns that a header lacks, and its columns that are not declared."""
    missing = tuple(name for name in columns if name not in found)
    return missing, tuple(name for name in found if name not in columns)
