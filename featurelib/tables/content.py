"""Two frames with the same rows have the same content hash, however they are ordered or stored."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, DataType, DoubleType, FloatType, MapType, StructType

from featurelib.errors import FrameError

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame
    from pyspark.sql.types import StructField

_SECOND_SEED = 0x9E3779B9
_JSON = {
    "timeZone": "UTC",
    "timestampFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSSXXX",
    "timestampNTZFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSS",
}


def content_hash(frame: DataFrame, *, exclude: Sequence[str] = ()) -> tuple[int, str]:
    """Return the number of rows and a hash of all columns but the excluded, in one aggregation.

    The order of rows, of columns and of a map's entries does not count; names, types and how often a row
    occurs do. Floating-point values count by their bits (0.0 is not -0.0), null is not empty.

    Raises:
        FrameError: an excluded column is absent, none is left, or a map lies inside another value.
    """
    unknown = sorted(set(exclude) - set(frame.columns))
    fields = sorted(
        (field for field in frame.schema if field.name not in exclude), key=lambda field: field.name
    )
    if unknown or not fields:
        raise FrameError(
            f"columns to leave out of the hash: {', '.join(exclude)}",
            f"some, not all, of {', '.join(frame.columns)}",
            "correct exclude=",
        )
    parts = [part for field in fields for part in _parts(field)]
    first, second = F.xxhash64(*parts), F.xxhash64(F.lit(_SECOND_SEED), *parts)
    rows = frame.select(first.alias("first"), second.alias("second"))
    total = rows.agg(
        F.count(F.lit(1)).alias("rows"),
        F.sum(F.col("first").cast("decimal(20,0)")).alias("total"),
        F.sum(F.col("second").cast("decimal(20,0)")).alias("again"),
        F.bit_xor(F.col("second")).alias("parity"),
    ).first()
    if total is None:
        raise FrameError("the aggregation gave no row", "one row", "report this as a fault of the library")
    names = [(field.name, field.dataType.simpleString()) for field in fields]
    text = repr((names, total["rows"], str(total["total"]), str(total["again"]), total["parity"]))
    return int(total["rows"]), hashlib.sha256(text.encode()).hexdigest()


def _parts(field: StructField) -> list[Column]:
    """Return what is hashed of a column: xxhash64 skips nulls, so whether it is null comes first."""
    column = F.col(f"`{field.name}`")
    present = column.isNotNull()
    if isinstance(field.dataType, DoubleType | FloatType):
        return [present, column, F.when(column == 0, column.cast("string"))]
    if isinstance(field.dataType, MapType):
        _refuse_maps(field.name, field.dataType.valueType)
        return [present, F.to_json(F.array_sort(F.map_entries(column)), _JSON)]
    if isinstance(field.dataType, ArrayType | StructType):
        _refuse_maps(field.name, field.dataType)
        return [present, F.to_json(column, _JSON)]
    return [present, column]


def _refuse_maps(name: str, kind: DataType) -> None:
    if "map<" in kind.simpleString():
        raise FrameError(
            f"column {name!r} holds a map inside another value ({kind.simpleString()})",
            "maps only as columns of their own, their order can be settled there",
            "leave the column out with exclude=, or take the map apart first",
        )
