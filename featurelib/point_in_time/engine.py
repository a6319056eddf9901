"""``features_as_of`` is the one function behind training sets, feature tables and scoring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from featurelib.errors import FrameError, nearest
from featurelib.expressions import language
from featurelib.point_in_time.buckets import AS_OF, EVENT_TS, KNOWN_TS
from featurelib.point_in_time.columnar import columnar_features
from featurelib.point_in_time.explanation import Explanation
from featurelib.point_in_time.inputs import Input, frame_of
from featurelib.point_in_time.outputs import output_type
from featurelib.point_in_time.plans import Limits, Plan, plan_of
from featurelib.specs import FeatureView
from featurelib.timeline import to_micros


def features_as_of(
    spine: Input,
    views: Sequence[FeatureView],
    sources: Mapping[str, Input],
    *,
    tie_breakers: Mapping[str, Sequence[str]] | None = None,
    between: tuple[datetime, datetime] | None = None,
    limits: Limits | None = None,
) -> DataFrame:
    """Return the spine with the features of every view, each as it could be known at the row's moment.

    An event counts at ``as_of_ts = t`` when ``event_ts < t`` and ``known_ts < t``; a window ``w`` holds those
    with ``event_ts >= t - w``. A view's ``delay`` and ``boundary`` move these bounds. A window without events
    gives 0 for counts, zeros for histograms, an empty map, and null for everything else. Null and NaN inputs
    are skipped. Of equal ``event_ts`` the greater ``known_ts`` is later, then the greater tie breakers.

    Args:
        spine: one row a question: the entity keys of all views and ``as_of_ts`` (timestamp). Rows with a null
            among them keep their place with null features. A frame, or a snapshot whose files tasks read.
        views: what to compute; each is prefixed with its own name.
        sources: by name, frames or snapshots with the entity keys, ``event_ts`` and, where it differs,
            ``known_ts``. Events with a null key or instant are left out.
        tie_breakers: by source, columns that order events equal in both instants; absent, all inputs do.
        between: ``[first, last)`` of the spine's moments where the caller knows them, to read less of the
            sources; rows outside would miss events. A snapshot's statistics say it for a spine.
        limits: what bounds the plan: bucket size, what counts as small.

    Returns:
        Grain: the spine's, rows and duplicates kept, with its columns first and then the features in the
        order of the views. Sums of doubles are exact but for one rounding.

    Raises:
        FrameError: a column is missing, has the wrong type, or a name is taken twice.
        ExpressionError: a ``where`` is outside the expression language or names no column of its source.
    """
    return columnar_features(
        _plan(spine, views, sources, tie_breakers=tie_breakers, between=between, limits=limits)
    )


def explain(
    spine: Input,
    views: Sequence[FeatureView],
    sources: Mapping[str, Input],
    *,
    tie_breakers: Mapping[str, Sequence[str]] | None = None,
    between: tuple[datetime, datetime] | None = None,
    limits: Limits | None = None,
) -> Explanation:
    """Return how :func:`features_as_of` would compute the same arguments, and why; runs nothing in Spark.

    Where a shuffle is large enough to have hot entities, the keys and instants of up to a million rows of
    snapshots are read here, as by :func:`features_as_of` (``Limits.find_hot``); else nothing is.

    Raises:
        FrameError: as by :func:`features_as_of`.
    """
    return Explanation.of(
        _plan(spine, views, sources, tie_breakers=tie_breakers, between=between, limits=limits)
    )


def _plan(
    spine: Input,
    views: Sequence[FeatureView],
    sources: Mapping[str, Input],
    *,
    tie_breakers: Mapping[str, Sequence[str]] | None,
    between: tuple[datetime, datetime] | None,
    limits: Limits | None,
) -> Plan:
    """Return the plan of checked inputs."""
    asked = frame_of(spine).schema
    _check_spine(asked, views)
    for name in dict.fromkeys(view.source for view in views):
        if name not in sources:
            raise FrameError(
                f"no frame for source {name!r}",
                f"one of each source: got {sorted(sources)}",
                "add it to sources",
            )
        members = [view for view in views if view.source == name]
        _check_source(frame_of(sources[name]), name, members, asked)
    moments = None if between is None else (to_micros(between[0]), to_micros(between[1]))
    return plan_of(
        spine, views, sources, tie_breakers=tie_breakers or {}, between=moments, limits=limits or Limits()
    )


def _check_spine(spine: T.StructType, views: Sequence[FeatureView]) -> None:
    if not views:
        raise FrameError("no views", "at least one feature view", "give the views to compute")
    _require_instant(spine, AS_OF, "spine")
    for view in views:
        for key in view.entity_key:
            _require_column(spine, key, f"spine, key of view {view.name!r}")
    taken = list(spine.names)
    for view in views:
        for feature in view.feature_names:
            if feature in taken:
                raise FrameError(f"column {feature!r} exists already", "each name once", "rename the view")
            taken.append(feature)


def _check_source(frame: DataFrame, name: str, views: Sequence[FeatureView], spine: T.StructType) -> None:
    """Check every column and condition that the views use of a source."""
    where, source = f"source {name!r}", frame.schema
    _require_instant(source, EVENT_TS, where)
    if KNOWN_TS in source.names:
        _require_instant(source, KNOWN_TS, where)
    for view in views:
        for key in view.entity_key:
            _require_column(source, key, f"{where}, key of view {view.name!r}")
            here, there = source[key].dataType, spine[key].dataType
            if here != there:
                raise FrameError(
                    f"key {key!r} is {here.simpleString()} in {where}, {there.simpleString()} in the spine",
                    "one type on both sides",
                    "cast it on one side",
                )
        for column in view.inputs:
            _require_column(source, column, f"{where}, input of view {view.name!r}")
        for feature in view.features():
            output_type(source, feature)
        for condition in view.conditions:
            _require_condition(frame, condition, f"where of view {view.name!r}")


def _require_condition(source: DataFrame, condition: str, where: str) -> None:
    """The expression is allowed, uses columns of the source, and is true or false."""
    kind = source.select(F.expr(language.check(condition, source.columns))).schema[0].dataType
    if not isinstance(kind, T.BooleanType):
        raise FrameError(
            f"{where}: {condition!r} is {kind.simpleString()}",
            "an expression that is true or false",
            "compare with something, as dep_delay > 15",
        )


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
