"""``features_as_of`` is the one function behind training sets, feature tables and scoring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from pyspark.sql import DataFrame

from featurelib.errors import FrameError
from featurelib.point_in_time.checks import check_inputs
from featurelib.point_in_time.columnar import columnar_features
from featurelib.point_in_time.explanation import Explanation
from featurelib.point_in_time.inputs import Input
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


def explained_features_as_of(
    spine: Input,
    views: Sequence[FeatureView],
    sources: Mapping[str, Input],
    *,
    tie_breakers: Mapping[str, Sequence[str]] | None = None,
    between: tuple[datetime, datetime] | None = None,
    limits: Limits | None = None,
) -> tuple[DataFrame, Explanation]:
    """Return what :func:`features_as_of` and :func:`explain` do, by one plan and one sample of the inputs.

    Raises:
        FrameError: as by :func:`features_as_of`.
    """
    plan = _plan(spine, views, sources, tie_breakers=tie_breakers, between=between, limits=limits)
    return columnar_features(plan), Explanation.of(plan)


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
    bounds = limits or Limits()
    if bounds.buckets is not None and bounds.buckets < 1:
        raise FrameError(
            f"buckets={bounds.buckets}", "a whole number from 1 on", "leave it out to have it chosen"
        )
    check_inputs(spine, views, sources, tie_breakers=tie_breakers or {}, between=between)
    moments = None if between is None else (to_micros(between[0]), to_micros(between[1]))
    return plan_of(spine, views, sources, tie_breakers=tie_breakers or {}, between=moments, limits=bounds)
