"""Inputs that do not fit are refused before anything runs: what was given, what was expected, what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Final

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from featurelib.errors import FrameError, nearest
from featurelib.expressions import language
from featurelib.point_in_time.features import AS_OF, EVENT_TS, KNOWN_TS
from featurelib.point_in_time.inputs import Input, frame_of
from featurelib.point_in_time.outputs import output_type
from featurelib.point_in_time.snapshots import SnapshotScan
from featurelib.specs import FeatureView

_WHOLE: Final = (T.ByteType, T.ShortType, T.IntegerType, T.LongType)
_KEYS: Final = (
    *_WHOLE,
    *(
        T.StringType,
        T.BinaryType,
        T.BooleanType,
        T.DecimalType,
        T.DateType,
        T.TimestampType,
        T.TimestampNTZType,
    ),
)
_RESERVED: Final = ("__where_", "__entity", "__number")
"""How names begin that the engine gives to columns of its own."""
_TO_INSTANT: Final[Mapping[type[T.DataType], str]] = MappingProxyType(
    {
        T.StringType: "say its zone and convert it: to_timestamp('2013-01-31T06:00:00Z')",
        T.TimestampNTZType: "it has no zone: to_utc_timestamp(column, 'Europe/Berlin') in a session of UTC",
        T.DateType: "say which moment of the day is meant: CAST(day AS TIMESTAMP) is its midnight",
        **dict.fromkeys(
            (*_WHOLE, T.DecimalType, T.FloatType, T.DoubleType),
            "a number has no unit: timestamp_seconds, timestamp_millis or timestamp_micros give it one",
        ),
    }
)


def check_inputs(
    spine: Input,
    views: Sequence[FeatureView],
    sources: Mapping[str, Input],
    *,
    tie_breakers: Mapping[str, Sequence[str]],
    between: tuple[datetime, datetime] | None,
) -> None:
    """Check that the views can be computed of these inputs; only schemas are looked at.

    Raises:
        FrameError: a column is missing, has the wrong type, or a name is taken twice.
        ExpressionError: a ``where`` is outside the expression language or names no column of its source.
    """
    if not views:
        raise FrameError("no views", "at least one feature view", "give the views to compute")
    _require_frame(spine, "spine")
    asked = frame_of(spine).schema
    _check_spine(asked, views)
    for name in dict.fromkeys(view.source for view in views):
        if name not in sources:
            raise FrameError(
                f"no frame for source {name!r}",
                f"one of each source: got {sorted(sources)}",
                "add it to sources",
            )
        _require_frame(sources[name], f"source {name!r}")
        members = [view for view in views if view.source == name]
        _check_source(frame_of(sources[name]), name, members, asked)
        for column in tie_breakers.get(name, ()):
            _require_column(frame_of(sources[name]).schema, column, f"source {name!r}, its tie breakers")
    if between is not None:
        _check_between(*between)


def _check_between(first: datetime, last: datetime) -> None:
    for moment in (first, last):
        if moment.tzinfo is None:
            raise FrameError(
                f"between has {moment.isoformat()}, which has no time zone",
                "aware datetimes",
                "say tzinfo=datetime.UTC if it is UTC",
            )
    if first >= last:
        raise FrameError(
            f"between {first.isoformat()} and {last.isoformat()}, which holds no moment",
            "[first, last) with first before last",
            "last is the first moment that is not asked about: add a microsecond to the greatest",
        )


# --- frames ---------------------------------------------------------------------------------------------


def _require_frame(given: object, where: str) -> None:
    if not isinstance(given, DataFrame | SnapshotScan):
        kind = type(given)
        raise FrameError(
            f"{where} is a {kind.__module__}.{kind.__qualname__}",
            "a Spark DataFrame or a SnapshotScan",
            "spark.createDataFrame(...) makes one of rows or of a pandas frame",
        )
    if frame_of(given).isStreaming:
        raise FrameError(
            f"{where} is a stream",
            "stored rows, which have an end",
            "write the stream to a table and read that",
        )


def _check_spine(spine: T.StructType, views: Sequence[FeatureView]) -> None:
    _require_instant(spine, AS_OF, "spine")
    for column in spine.names:
        _require_one(spine, column, "spine")
    for view in views:
        for key in view.entity_key:
            _require_column(spine, key, f"spine, key of view {view.name!r}")
    taken = {column.lower(): f"{column!r} of the spine" for column in spine.names}
    for view in views:
        for feature in view.feature_names:
            if feature.lower() in taken:
                raise FrameError(
                    f"column {feature!r} exists already: {taken[feature.lower()]}",
                    "each name once; upper and lower case are one",
                    "rename the view, or the spine's column",
                )
            taken[feature.lower()] = f"{feature!r} of view {view.name!r}"


def _check_source(frame: DataFrame, name: str, views: Sequence[FeatureView], spine: T.StructType) -> None:
    """Check every column and condition that the views use of a source."""
    where, source = f"source {name!r}", frame.schema
    _require_instant(source, EVENT_TS, where)
    if KNOWN_TS in source.names:
        _require_instant(source, KNOWN_TS, where)
    for view in views:
        for key in view.entity_key:
            _require_column(source, key, f"{where}, key of view {view.name!r}")
            _check_key(key, source[key].dataType, spine[key].dataType, where)
        for column in view.inputs:
            _require_column(source, column, f"{where}, input of view {view.name!r}")
        for column in (*view.entity_key, *view.inputs):
            _require_one(source, column, where)
            _require_own_name(column, where)
            _require_bytes(source, column, where)
        for feature in view.features():
            output_type(source, feature)
        for condition in view.conditions:
            _require_condition(frame, condition, f"where of view {view.name!r}")


def _check_key(key: str, here: T.DataType, there: T.DataType, where: str) -> None:
    if here != there:
        raise FrameError(
            f"key {key!r} is {here.simpleString()} in {where}, {there.simpleString()} in the spine",
            "one type on both sides",
            "cast it on one side",
        )
    if not isinstance(here, _KEYS):
        raise FrameError(
            f"key {key!r} is {here.simpleString()}",
            "texts, whole numbers, decimals, booleans, dates or instants: values that are equal or not",
            "cast it on both sides, as to a decimal or a text",
        )


# --- columns --------------------------------------------------------------------------------------------


def _require_column(schema: T.StructType, column: str, where: str) -> None:
    if column not in schema.names:
        raise FrameError(
            f"no column {column!r} in {where}",
            f"one of {', '.join(schema.names)}.{nearest(column, schema.names)}",
            "add the column or correct the name",
        )


def _require_one(schema: T.StructType, column: str, where: str) -> None:
    """No other column has the name, as Spark compares names: upper and lower case are one."""
    alike = [name for name in schema.names if name.lower() == column.lower()]
    if len(alike) > 1:
        raise FrameError(
            f"columns {' and '.join(map(repr, alike))} of {where}",
            "each name once; upper and lower case are one",
            "rename or drop one of them",
        )


def _require_own_name(column: str, where: str) -> None:
    if column.startswith(_RESERVED):
        raise FrameError(
            f"column {column!r} of {where}",
            f"a name that does not begin with {', '.join(_RESERVED)}",
            "rename it",
        )


def _require_bytes(schema: T.StructType, column: str, where: str) -> None:
    """Texts are compared by their bytes; a collation would be passed over in silence."""
    kind = schema[column].dataType
    if isinstance(kind, T.StringType) and kind != T.StringType():
        raise FrameError(
            f"column {column!r} of {where} is {kind.simpleString()}",
            "texts that compare by their bytes",
            f"collate({column}, 'UTF8_BINARY'), and lower({column}) where case shall not count",
        )


def _require_instant(schema: T.StructType, column: str, where: str) -> None:
    _require_column(schema, column, where)
    _require_one(schema, column, where)
    kind = schema[column].dataType
    if not isinstance(kind, T.TimestampType):
        raise FrameError(
            f"column {column!r} of {where} is {kind.simpleString()}",
            "timestamp (an instant in UTC)",
            next((how for odd, how in _TO_INSTANT.items() if isinstance(kind, odd)), "give an instant"),
        )


def _require_condition(source: DataFrame, condition: str, where: str) -> None:
    """The expression is allowed, uses columns of the source, and is true or false."""
    kind = source.select(F.expr(language.check(condition, source.columns))).schema[0].dataType
    if not isinstance(kind, T.BooleanType):
        raise FrameError(
            f"{where}: {condition!r} is {kind.simpleString()}",
            "an expression that is true or false",
            "compare with something, as dep_delay > 15",
        )
