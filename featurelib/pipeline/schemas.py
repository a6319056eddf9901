"""Table schemas written as words; no session is needed to read them."""

from __future__ import annotations

from pyspark.sql import types as T

_KINDS: dict[str, T.DataType] = {
    "string": T.StringType(),
    "int": T.IntegerType(),
    "long": T.LongType(),
    "double": T.DoubleType(),
    "binary": T.BinaryType(),
    "date": T.DateType(),
    "timestamp": T.TimestampType(),
}


def struct(**columns: str) -> T.StructType:
    """Return the schema with these columns, as ``struct(name="string", day="date")``."""
    return T.StructType([T.StructField(name, _KINDS[kind]) for name, kind in columns.items()])
