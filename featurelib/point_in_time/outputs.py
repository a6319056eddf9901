"""What type a feature has, given its operation and its input's type."""

from __future__ import annotations

from pyspark.sql import types as T

from featurelib.errors import FrameError
from featurelib.feature_specs import FeatureDefinition
from featurelib.operations import GIVES_INPUT, GIVES_LONG, OF_DISTINCT, OF_K, OF_NUMBERS, OF_ORDERED

_WHOLE = (T.ByteType, T.ShortType, T.IntegerType, T.LongType)
_NUMBERS = (*_WHOLE, T.FloatType, T.DoubleType, T.DecimalType)
_ORDERED = (*_NUMBERS, T.TimestampType, T.DateType, T.StringType)
_DISTINCT = (*_ORDERED, T.BooleanType)
_KEYS = (*_WHOLE, T.StringType, T.BooleanType, T.DateType)
_TAKES = (
    (OF_NUMBERS, _NUMBERS, "numbers"),
    (OF_ORDERED, _ORDERED, "numbers, texts, instants or dates"),
    (OF_DISTINCT, _DISTINCT, "single values, not lists, maps or structures"),
)


def output_type(schema: T.StructType, feature: FeatureDefinition) -> T.DataType:
    """Return the type of a feature of a source with this schema.

    Counts are long. ``sum`` is long for integers, and for decimals has ten more digits, as in Spark; ``mean``
    of decimals has four more digits before and behind the point. What takes one of the input's values keeps
    its type, lists hold it, ratios and everything else are double. ``by`` without values maps text to these.

    Raises:
        FrameError: the operation makes no sense for the column's type.
    """
    if feature.by is not None:
        kind = schema[feature.by].dataType
        _require(kind, _KEYS, f"by column {feature.by!r}", "texts, whole numbers, booleans or dates")
    kind = T.LongType() if feature.input is None else schema[feature.input].dataType
    given = _reduced_type(kind, feature)
    return T.MapType(T.StringType(), given) if feature.is_map else given


def _reduced_type(kind: T.DataType, feature: FeatureDefinition) -> T.DataType:
    op = feature.op
    for ops, fitting, takes in _TAKES:
        if op in ops:
            _require(kind, fitting, f"{op} of column {feature.input!r}", takes)
    if feature.ratio_to is not None:
        return T.DoubleType()
    if op in GIVES_LONG:
        return T.LongType()
    if op in GIVES_INPUT:
        return kind
    if op in OF_K:
        return T.ArrayType(kind)
    if op == "histogram":
        return T.ArrayType(T.LongType())
    return _arithmetic_type(kind, op)


def _arithmetic_type(kind: T.DataType, op: str) -> T.DataType:
    if op == "sum" and isinstance(kind, _WHOLE):
        return T.LongType()
    if op == "sum" and isinstance(kind, T.DecimalType):
        return T.DecimalType(min(kind.precision + 10, 38), kind.scale)
    if op == "mean" and isinstance(kind, T.DecimalType):
        return T.DecimalType(min(kind.precision + 4, 38), min(kind.scale + 4, 38))
    return T.DoubleType()


def _require(kind: T.DataType, fitting: tuple[type[T.DataType], ...], what: str, takes: str) -> None:
    if not isinstance(kind, fitting):
        raise FrameError(
            f"{what}, which is {kind.simpleString()}",
            f"a column of {takes}",
            "cast the column in the source, or use count, first or last",
        )
