"""How far back features can see, so that no more of a source is read."""

from __future__ import annotations

from collections.abc import Iterable

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from featurelib.point_in_time.features import EVENT_TS, Feature
from featurelib.specs import FeatureView
from featurelib.timeline import duration_micros

Bounds = tuple[int | None, int | None]
"""``[since, until)`` in microseconds since 1970; None on a side is no bound."""


def reach_of(features: Iterable[Feature], between: tuple[int, int] | None) -> Bounds:
    """Return the bounds of ``event_ts`` that some moment of ``[first, last)`` can see in some window."""
    return _bounds(longest_of(features), between)


def reach_of_views(views: Iterable[FeatureView], between: tuple[int, int] | None) -> Bounds:
    """Return :func:`reach_of` the features of views."""
    return _bounds(longest_of_views(views), between)


def longest_of(features: Iterable[Feature]) -> int | None:
    """Return the microseconds from an event to the last moment that some window shows it, None for ever."""
    longest = 0
    for feature in features:
        for window in feature.windows:
            if window.micros is None:
                return None
            longest = max(longest, window.micros + feature.delay)
    return longest


def longest_of_views(views: Iterable[FeatureView]) -> int | None:
    """Return :func:`longest_of` the features of views."""
    reaches = [_reach(view) for view in views]
    return None if None in reaches else max(micros for micros in reaches if micros is not None)


def only_reachable(source: DataFrame, bounds: Bounds) -> DataFrame:
    """Keep the events within the bounds."""
    since, until = bounds
    kept = source
    if until is not None:
        kept = kept.where(F.col(EVENT_TS) < F.timestamp_micros(F.lit(until)))
    if since is not None:
        kept = kept.where(F.col(EVENT_TS) >= F.timestamp_micros(F.lit(since)))
    return kept


def _bounds(longest: int | None, between: tuple[int, int] | None) -> Bounds:
    if between is None:
        return None, None
    first, last = between
    return (None if longest is None else first - longest), last


def _reach(view: FeatureView) -> int | None:
    """Microseconds back to the oldest event the view can see, or None for all of them."""
    windows = (window for feature in view.features() for window in feature.windows)
    reaches = [None if window.micros is None else window.micros + view.delay_micros for window in windows]
    if view.latest is not None:
        reaches.append(None if view.latest.max_age is None else duration_micros(view.latest.max_age))
    return None if None in reaches else max(micros for micros in reaches if micros is not None)
