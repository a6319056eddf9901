"""A column of values becomes a column of cells and back, in Arrow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

import pyarrow as pa

from featurelib.column_types import decimal_digits, family
from featurelib.encryption.cells import about_of
from featurelib.encryption.rings import Keyring
from featurelib.errors import FrameError

_TYPES: Final[Mapping[str, pa.DataType]] = {
    "string": pa.string(),
    "boolean": pa.bool_(),
    "int": pa.int32(),
    "long": pa.int64(),
    "double": pa.float64(),
    "date": pa.date32(),
    "timestamp_utc": pa.timestamp("us", tz="UTC"),
}
# A value is encrypted as its text: a column whose type is widened later keeps its cells.
_TO_TEXT: Final[Mapping[str, Callable[[Any], str]]] = {
    "string": str,
    "boolean": lambda value: "true" if value else "false",
    "int": str,
    "long": str,
    "double": repr,
    "date": date.isoformat,
    "timestamp_utc": str,
    "decimal": lambda value: format(value, "f"),
}
_FROM_TEXT: Final[Mapping[str, Callable[[str], Any]]] = {
    "string": str,
    "boolean": lambda text: text == "true",
    "int": int,
    "long": int,
    "double": float,
    "date": date.fromisoformat,
    "timestamp_utc": int,
    "decimal": Decimal,
}


def arrow_type(kind: str) -> pa.DataType:
    """Return the Arrow type of a column type."""
    digits = decimal_digits(kind)
    return _TYPES[kind] if digits is None else pa.decimal128(*digits)


def sealed_array(
    values: pa.Array,
    kind: str,
    rows: tuple[pa.Array, pa.Array],
    *,
    subjects: pa.Array,
    ring: Keyring,
    where: str,
) -> pa.Array:
    """Return the cells of a column's values; null stays null.

    Args:
        values: of the column.
        kind: the column's type.
        rows: the file and the number of the landed row that each value comes from.
        subjects: whose each row is, as text; null for nobody's.
        ring: the data keys; every subject has one.
        where: table and column, as ``silver.sales.note``.
    """
    to_text = _TO_TEXT[family(kind)]
    cells: list[bytes | None] = []
    for value, about, subject in zip(
        _plain(values, kind), _abouts(where, rows), subjects.to_pylist(), strict=True
    ):
        key = None if value is None else ring.sealing_key(subject)
        cells.append(None if key is None else key.seal(to_text(value).encode(), about))
    return pa.array(cells, pa.binary())


def opened_array(
    cells: pa.Array, kind: str, rows: tuple[pa.Array, pa.Array], *, ring: Keyring, where: str
) -> pa.Array:
    """Return the values of a column's cells, with the column's type; null where the data key was shredded.

    Args:
        cells: as :func:`sealed_array` gave them.
        kind: the column's type, or a wider one.
        rows: the file and the number of the landed row that each cell belongs to.
        ring: the data keys.
        where: table and column.

    Raises:
        CellRefused: a cell was changed or moved, or its data key is unknown.
        ConfigError: the key of the environment is not there, or not the right one.
    """
    from_text = _FROM_TEXT[family(kind)]
    if not (
        pa.types.is_binary(cells.type) or pa.types.is_large_binary(cells.type) or pa.types.is_null(cells.type)
    ):
        raise FrameError(
            f"{where} holds {cells.type}", "encrypted cells, which are binary", "load the table anew"
        )
    values: list[Any] = []
    for cell, about in zip(cells.to_pylist(), _abouts(where, rows), strict=True):
        key = None if cell is None else ring.opening_key(cell)
        values.append(None if key is None else from_text(key.open(cell, about).decode()))
    if kind == "timestamp_utc":
        return pa.array(values, pa.int64()).cast(arrow_type(kind))
    return pa.array(values, arrow_type(kind))


def _plain(values: pa.Array, kind: str) -> list[Any]:
    if kind == "timestamp_utc":  # Python's datetimes are slow to make
        return list(values.cast(pa.timestamp("us", tz="UTC")).cast(pa.int64()).to_pylist())
    return list(values.to_pylist())


def _abouts(where: str, rows: tuple[pa.Array, pa.Array]) -> list[bytes]:
    """Return what each cell is bound to: its table, column and landed row."""
    files, numbers = rows
    return [
        _file_about(where, file) + (-1 if number is None else number).to_bytes(8, "big", signed=True)
        for file, number in zip(files.to_pylist(), numbers.to_pylist(), strict=True)
    ]


@lru_cache(maxsize=4096)
def _file_about(where: str, file: str | None) -> bytes:
    return about_of("featurelib cell", where, file or "")
