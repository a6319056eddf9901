"""A landed file loses some of its rows and keeps every other byte, or is refused."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

import pyarrow as pa
from pyarrow import fs

from featurelib.addresses import located
from featurelib.errors import InputError
from featurelib.landing.csv_files import Inspection, inspect, texts_of

_DRAFT: Final = ".erasing-"
_CODECS: Final = {"gz": "gzip", "zst": "zstd", "bz2": "bz2"}


def draft_of(uri: str) -> str:
    """Return where the new content of a landed file waits; a name that no load takes for a landed file."""
    folder, _, name = uri.rpartition("/")
    return f"{folder}/{_DRAFT}{name}"


def write_draft(uri: str, columns: Sequence[str], rows: Collection[int]) -> Inspection:
    """Write a landed file without some rows, numbered from 1, beside it; return what is known of the draft.

    Raises:
        InputError: reading both again shows that more or less than these rows would be gone.
    """
    files, path = located(uri)
    with files.open_input_stream(path, compression="detect") as stream:
        header, *records = _records(stream.read())
    kept, number = [header], 0
    for record in records:
        is_row = bool(record.strip(b"\r\n"))
        number += is_row
        if not (is_row and number in rows):
            kept.append(record)
    draft = draft_of(uri)
    _write(draft, b"".join(kept))
    before, after = texts_of(uri, columns), texts_of(draft, columns)
    expected = [text for at, text in before if at not in rows]
    if [text for _, text in after] != expected:
        located(draft)[0].delete_file(located(draft)[1])
        raise InputError(
            f"landed file {uri}: its rows cannot be told apart without reading it as CSV",
            f"rows {', '.join(map(str, sorted(rows)[:10]))} to be lines of their own",
            "take these rows out of it by hand, then erase again",
        )
    return inspect(draft, columns)


def draft_sha256(uri: str, columns: Sequence[str]) -> str:
    """Return the hash of the draft of a landed file."""
    return inspect(draft_of(uri), columns).sha256


def take_draft(uri: str) -> None:
    """Put the draft in the place of the landed file."""
    files, path = located(uri)
    files.move(located(draft_of(uri))[1], path)


def drop_draft(uri: str) -> None:
    """Delete the draft."""
    files, path = located(draft_of(uri))
    files.delete_file(path)


def drafts(root: str, folder: str) -> list[str]:
    """Return the landed files of a table that have a draft, by their own address."""
    files, base = located(root)
    selector = fs.FileSelector(f"{base}/{folder}", allow_not_found=True)
    names = [info.base_name for info in files.get_file_info(selector)]
    found = [name.removeprefix(_DRAFT) for name in names if name.startswith(_DRAFT)]
    return [f"{root.rstrip('/')}/{folder}/{name}" for name in sorted(found)]


def _records(content: bytes) -> list[bytes]:
    """Return the lines of a file, each with its end; a line end within quotes ends no line."""
    records: list[bytes] = []
    parts: list[bytes] = []
    quotes = 0
    for line in content.splitlines(keepends=True):
        parts.append(line)
        quotes += line.count(b'"')
        if quotes % 2 == 0:
            records.append(b"".join(parts))
            parts, quotes = [], 0
    return [*records, b"".join(parts)] if parts else records


def _write(uri: str, content: bytes) -> None:
    files, path = located(uri)
    codec = _CODECS.get(path.rpartition(".")[2])
    with files.open_output_stream(path, compression=None) as stream:
        if codec is None:
            stream.write(content)
            return
        with pa.CompressedOutputStream(stream, codec) as packed:
            packed.write(content)
