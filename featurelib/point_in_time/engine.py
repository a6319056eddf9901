"""``features_as_of`` is the one function behind training sets, feature tables and scoring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from featurelib.errors import FrameError, nearest
from featurelib.point_in_time.buckets import AS_OF, EVENT_TS, KNOWN_TS
from featurelib.point_in_time.columnar import columnar_features
from featurelib.point_in_time.outputs import output_type
from featurelib.specs import FeatureView


def features_as_of(
    spine: DataFrame,
    views: Sequence[FeatureView],
    sources: Mapping[str, DataFrame],
    *,
    tie_breakers: Mapping[str, Sequence[str]] | None = None,
    between: tuple[datetime, datetime] | None = None,
    buckets: int | None = None,
) -> DataFrame:
    """Return the spine with the features of every view, each as it could be known at the row's moment.

    An event counts at ``as_of_ts = t`` when ``event_ts < t`` and ``known_ts < t``; a window ``w`` holds those
    with ``event_ts >= t - w``. A window without events gives 0 for counts and null for everything else. Null
    and NaN inputs are skipped. Of equal ``event_ts`` the greater ``known_ts`` is later, then the greater
    tie breakers.

    Args:
        spine: one row a question: the entity keys of all views and ``as_of_ts`` (timestamp). Rows with a null
            among them keep their place with null features.
        views: what to compute; each is prefixed with its own name.
        sources: by name, frames with the entity keys, ``event_ts`` and, where it differs, ``known_ts``.
            Events with a null key or instant are left out.
        tie_breakers: by source, columns that order events equal in both instants; absent, all inputs do.
        between: ``[first, last)`` of the spine's moments where the caller knows them, to read less of the
            sources; rows outside would miss events.
        buckets: number of buckets of the shuffle; absent, ``spark.sql.shuffle.partitions``.

    Returns:
        Grain: the spine's, rows and duplicates kept, with its columns first and then the features in the
        order of the views. Sums of doubles are exact but for one rounding.

    Raises:
        FrameError: a column is missing, has the wrong type, or a name is taken twice.
    """
    _check_spine(spine, views)
    prepared: dict[str, DataFrame] = {}
    for name in dict.fromkeys(view.source for view in views):
        if name not in sources:
            raise FrameError(
                f"no frame for source {name!r}",
                f"one of each source: got {sorted(sources)}",
                "add it to sources",
            )
        members = [view for view in views if view.source == name]
        prepared[name] = _checked_source(sources[name], name, members, spine.schema)
    return columnar_features(
        spine,
        views,
        prepared,
        tie_breakers=tie_breakers or {},
        between=between,
        buckets=buckets or int(spine.sparkSession.conf.get("spark.sql.shuffle.partitions") or 8),
    )


def _check_spine(spine: DataFrame, views: Sequence[FeatureView]) -> None:
    if not views:
        raise FrameError("no views", "at least one feature view", "give the views to compute")
    _require_instant(spine.schema, AS_OF, "spine")
    for view in views:
        for key in view.entity_key:
            _require_column(spine.schema, key, f"spine, key of view {view.name!r}")
    taken = list(spine.columns)
    for view in views:
        for feature in view.feature_names:
            if feature in taken:
                raise FrameError(f"column {feature!r} exists already", "each name once", "rename the view")
            taken.append(feature)


def _checked_source(
    source: DataFrame, name: str, views: Sequence[FeatureView], spine: T.StructType
) -> DataFrame:
    """Return the source with both instants, after checking every column that the views use."""
    where = f"source {name!r}"
    _require_instant(source.schema, EVENT_TS, where)
    framed = source
    if KNOWN_TS in source.columns:
        _require_instant(source.schema, KNOWN_TS, where)
    else:
        framed = source.withColumn(KNOWN_TS, F.col(EVENT_TS))
    for view in views:
        for key in view.entity_key:
            _require_column(source.schema, key, f"{where}, key of view {view.name!r}")
            here, there = source.schema[key].dataType, spine[key].dataType
            if here != there:
                raise FrameError(
                    f"key {key!r} is {here.simpleString()} in {where}, {there.simpleString()} in the spine",
                    "one type on both sides",
                    "cast it on one side",
                )
        for _, column, op, _ in view.features():
            if column is not None:
                _require_column(source.schema, column, f"{where}, input of view {view.name!r}")
            output_type(source.schema, column, op)
    return framed


def _require_column(schema: T.StructType, column: str, where: str) -> None:
    if column not in schema.names:
        raise FrameError(
            f"no column {column!r} in {where}",
            f"one of {', '.join(schema.names)}.{nearest(column, schema.names)}",
            "add the column or correct the name",
        )


def _require_instant(schema: T.StructType, column: str, where: str) -> None:
    _require_column(schema, column, where)
    kind = schema[column].dataType
    if not isinstance(kind, T.TimestampType):
        raise FrameError(
            f"column {column!r} of {where} is {kind.simpleString()}",
            "timestamp (an instant in UTC)",
            "convert it: to_timestamp for text, timestamp_micros or timestamp_seconds for numbers",
        )
