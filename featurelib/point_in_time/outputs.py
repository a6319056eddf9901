"""What type a feature has, given its operation and its input's type."""

from __future__ import annotations

from pyspark.sql import types as T

from featurelib.errors import FrameError

_WHOLE = (T.ByteType, T.ShortType, T.IntegerType, T.LongType)
_FLOATING = (T.FloatType, T.DoubleType)
_INSTANTS = (T.TimestampType, T.DateType)


def output_type(schema: T.StructType, column: str | None, op: str) -> T.DataType:
    """Return the type of ``op`` over a column: count long, sum long or double, mean and stddev double.

    ``min``, ``max``, ``last`` and ``latest`` keep the input's type.

    Raises:
        FrameError: the operation makes no sense for the column's type.
    """
    if op == "count" or column is None:
        return T.LongType()
    kind = schema[column].dataType
    if op in {"last", "latest"}:
        return kind
    if op in {"min", "max"}:
        _require(isinstance(kind, (*_WHOLE, *_FLOATING, *_INSTANTS)), column, kind, op)
        return kind
    _require(isinstance(kind, (*_WHOLE, *_FLOATING)), column, kind, op)
    if op == "sum" and isinstance(kind, _WHOLE):
        return T.LongType()
    return T.DoubleType()


def _require(fits: bool, column: str, kind: T.DataType, op: str) -> None:  # noqa: FBT001 - private, one call form
    if not fits:
        takes = "numbers, instants or dates" if op in {"min", "max"} else "integers or doubles"
        raise FrameError(
            f"{op} of column {column!r}, which is {kind.simpleString()}",
            f"a column of {takes}",
            "cast the column in the source, or use count or last",
        )
