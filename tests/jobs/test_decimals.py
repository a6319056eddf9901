"""Decimal columns go from a landed file to features without a digit lost, in Spark and without it."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from featurelib.config import load_project
from featurelib.pipeline.build_features import build_features
from featurelib.pipeline.context import Context
from featurelib.pipeline.flights import land_flights
from featurelib.pipeline.ingest import ingest
from featurelib.pipeline.polars_frames import spine_columns, spine_of
from featurelib.pipeline.progress import Progress
from featurelib.pipeline.silver import published_rows
from featurelib.pipeline.without_spark import features_without_spark
from featurelib.tables import published, read_arrow, snapshot

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

PROJECT = Path(__file__).parents[2]
_ROUTES = (
    "[{input: distance, ops: [sum, mean, max, last, count_distinct], windows: [24h]},"
    " {input: was_late, ops: [mean], windows: [24h, 30d]}]"
)
MILES = (
    "tables.flights.columns.distance=decimal(7,2)",
    "spine.column_types.distance=decimal(7,2)",
    f"views.route_arrivals.aggregations={_ROUTES}",
    "models.late_arrival.features=['dep_minute_of_day', 'distance', 'origin_departures__*', 'origin_weather__*']",
    "models.late_arrival.categorical=[]",
    "models.late_arrival.baseline.features=['distance']",
    "models.late_arrival.lift=[]",
)


def test_decimals_from_file_to_feature(spark: SparkSession, tmp_path: Path) -> None:
    """Miles of two digits behind the point: typed, read by tasks, summed exactly, the same without Spark."""
    project = load_project(PROJECT / "conf" / "flights", overrides=[f"root={tmp_path}", *MILES], environ={})
    moment = datetime(2013, 1, 2, tzinfo=UTC)
    land_flights(project.settings.landing, until=moment.date())
    context = Context(project, spark, moment, Progress(quiet=True))
    ingest(context)
    build_features(context)
    views = [view for view in project.views if view.name == "route_arrivals"]

    silver = published_rows(context.store)
    spine = spine_of(project, silver("flights", spine_columns(project))).sort("flight_id")
    here = features_without_spark(project, views, spine, silver)
    version = published(context.store)["features.flights"]
    there = pl.DataFrame(pl.from_arrow(read_arrow(snapshot(context.store, "features.flights", version))))

    assert here.equals(there.sort("flight_id").select(here.columns))
    types = [here.schema[name] for name in views[0].feature_names[:4]]
    assert types == [pl.Decimal(17, 2), pl.Decimal(11, 6), pl.Decimal(7, 2), pl.Decimal(7, 2)]
    flown = here.filter(pl.col("route_arrivals__distance_sum_24h") > 0).row(-1, named=True)
    flights = flown["route_arrivals__distance_sum_24h"] / flown["distance"]
    assert flights == flights.to_integral_value() > 0
    assert flown["route_arrivals__distance_mean_24h"] == flown["distance"] != Decimal(0)
