"""How far back a view can see, so that no more of a source is read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from featurelib.point_in_time.buckets import EVENT_TS
from featurelib.specs import FeatureView
from featurelib.timeline import duration_micros, window_micros


def only_reachable(
    source: DataFrame, views: Sequence[FeatureView], between: tuple[datetime, datetime] | None
) -> DataFrame:
    """Keep the events that some moment of ``[first, last)`` can see in some window."""
    if between is None:
        return source
    first, last = between
    kept = source.where(F.col(EVENT_TS) < F.lit(last))
    reach = [_reach(view) for view in views]
    if all(micros is not None for micros in reach):
        longest = timedelta(microseconds=max(micros for micros in reach if micros is not None))
        kept = kept.where(F.col(EVENT_TS) >= F.lit(first - longest))
    return kept


def _reach(view: FeatureView) -> int | None:
    """Microseconds back to the oldest event the view can see, or None for all of them."""
    reaches = [window_micros(window) for _, _, _, window in view.features() if window is not None]
    if view.latest is not None:
        reaches.append(None if view.latest.max_age is None else duration_micros(view.latest.max_age))
    return None if None in reaches else max(micros for micros in reaches if micros is not None)
