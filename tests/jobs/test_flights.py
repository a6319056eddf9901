"""A whole run on nine days of real flights, looked at from all sides: counts, features, plan, report, notebook.

All tests that ask for that run stand in this file: whoever runs files in several processes then makes it once.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest
from pyspark.sql import functions as F

from featurelib.errors import InputError
from featurelib.notebook import run_notebook
from featurelib.pipeline.context import Place
from featurelib.pipeline.frames import source_frames, spine_frame, tie_breakers
from featurelib.pipeline.future_events import future_events
from featurelib.pipeline.order import PIPELINE
from featurelib.pipeline.plan import plan
from featurelib.pipeline.polars_frames import spine_columns, spine_of
from featurelib.pipeline.records import last_facts
from featurelib.pipeline.scans import source_inputs, spine_input
from featurelib.pipeline.silver import published_rows
from featurelib.pipeline.steps import run_pipeline, run_step
from featurelib.pipeline.without_spark import features_without_spark
from featurelib.point_in_time import explain, features_as_of
from featurelib.point_in_time.plain_spark import plain_spark_features
from featurelib.tables import Snapshot, content_hash, published, read_arrow, snapshot
from tests.jobs.flights import all_contents, table

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from featurelib.pipeline.context import Context

PROJECT = Path(__file__).parents[2]


def test_every_received_row_is_good_or_quarantined(ran: Context) -> None:
    """Bronze rows are silver rows plus quarantined rows, table by table, and the record says so."""
    loads = {load["table"]: load for load in last_facts(ran)["ingest"]["facts"]["ingest"]}
    for name in ("flights", "weather", "planes"):
        bronze = table(ran, f"bronze.{name}").count()
        silver, bad = table(ran, f"silver.{name}").count(), table(ran, f"silver.{name}_quarantine").count()
        assert bronze == silver + bad == loads[name]["rows_in"]
        assert (silver, bad) == (loads[name]["passed"], loads[name]["quarantined"])


def test_each_flight_of_the_scored_days_has_one_prediction(ran: Context) -> None:
    """Predictions carry key, moment, probability and where they come from."""
    predictions = table(ran, "predictions.flights")
    flights = table(ran, "features.flights").where("_day >= DATE'2013-01-07'")

    assert flights.count() == predictions.count() == predictions.select("flight_id").distinct().count()
    row = predictions.first()
    assert row is not None
    assert 0.0 <= row["probability"] <= 1.0
    assert (row["_model_name"], row["_model_version"], row["_arm"]) == ("late_arrival", 1, "champion")
    lineage = ran.spark.read.format("delta").load(ran.store.path("ops.lineage"))
    record = json.loads(lineage.where(F.col("lineage_id") == row["_lineage_id"]).first()["record"])  # type: ignore[index]
    assert published(ran.store)["features.flights"] == record["inputs"]["features.flights"]
    assert row["_model_sha256"] == record["model"]["sha256"]


def test_a_rerun_does_nothing(ran: Context) -> None:
    """Run again as of the same moment: no step finds work, no table changes."""
    before = all_contents(ran), published(ran.store)

    results = run_pipeline(ran)

    assert [result.step for result in results if not result.is_idle] == ["monitor"]
    assert before == (all_contents(ran), published(ran.store))


def test_texts_lists_and_maps_are_stored_and_not_monitored(ran: Context) -> None:
    """A view may hold what no model takes; drift is measured of its numbers only."""
    stored = {field.name: field.dataType.simpleString() for field in table(ran, "features.flights").schema}
    drift = last_facts(ran)["monitor"]["facts"]["drift"]

    kinds = {name: kind for name, kind in stored.items() if name.startswith("route_arrivals__")}
    assert kinds == {
        "route_arrivals__was_late_mean_24h": "double",
        "route_arrivals__count_24h_by_carrier": "map<string,bigint>",
        "route_arrivals__carrier_mode_last5": "string",
        "route_arrivals__carrier_last2_last5": "array<string>",
    }
    assert kinds.keys() & drift.keys() == {"route_arrivals__was_late_mean_24h"}


def test_the_report_stands_beside_the_tables(ran: Context) -> None:
    """The page has the figures and needs nothing from elsewhere."""
    page = (Path(ran.project.settings.root) / "reports" / "latest.html").read_text()

    assert "late_arrival" in page
    assert "<script" not in page
    assert "https://" not in page.replace("http://www.w3.org", "")


def test_features_of_real_flights_equal_the_second_opinion(ran: Context) -> None:
    """The columnar shuffle and plain Spark agree on five views of the flights of one morning."""
    project = ran.project
    silver = {name: table(ran, f"silver.{name}") for name in project.tables}
    spine = spine_frame(project, silver["flights"].where("_day = DATE'2013-01-07' AND hour < 6"))
    sources, ties = source_frames(project, lambda name: silver[name]), tie_breakers(project)

    chosen = {"origin_arrivals", "carrier_departures", "origin_weather", "plane_departures", "plane_facts"}
    views = [view for view in project.views if view.name in chosen]

    got = features_as_of(spine, views, sources, tie_breakers=ties).collect()
    wanted = plain_spark_features(spine, views, sources, tie_breakers=ties).collect()

    rounded = [
        sorted(repr([f"{v:.9g}" if isinstance(v, float) else v for v in row]) for row in rows)
        for rows in (wanted, got)
    ]
    assert rounded[0] == rounded[1]


def test_features_without_spark_equal_the_published_ones(ran: Context) -> None:
    """Polars on the published silver files gives every feature of every row to the bit, without a JVM."""
    silver = published_rows(ran.store)
    spine = spine_of(ran.project, silver("flights", spine_columns(ran.project))).sort("flight_id")

    here = features_without_spark(ran.project, ran.project.views, spine, silver)

    version = published(ran.store)["features.flights"]
    there = pl.DataFrame(pl.from_arrow(read_arrow(snapshot(ran.store, "features.flights", version))))
    assert here.equals(there.sort("flight_id").select(here.columns))


def test_events_after_the_run_s_moment_are_counted_and_told(ran: Context) -> None:
    """The flights of the last loaded day lie after ``as_of``: the step's message and facts say how many."""
    versions = published(ran.store)

    def pinned(name: str) -> tuple[Snapshot, DataFrame]:
        return snapshot(ran.store, f"silver.{name}", versions[f"silver.{name}"]), table(ran, f"silver.{name}")

    sources = source_inputs(ran.project, pinned)
    later = F.col("event_ts") >= F.lit(ran.as_of)
    wanted = {name: source.frame.where(later).count() for name, source in sources.items()}
    by_spark = {name: replace(source, blocked="for this test") for name, source in sources.items()}
    step = last_facts(ran)["build_features"]

    assert future_events(sources, ran.as_of) == {name: count for name, count in wanted.items() if count}
    assert future_events(by_spark, ran.as_of) == future_events(sources, ran.as_of)
    assert step["facts"]["future_events"] == future_events(sources, ran.as_of)
    assert (
        f"events at or after 2013-01-09T00:00:00Z: {wanted['departures']:,} of departures" in step["summary"]
    )


def test_tasks_prepare_sources_as_spark_does(ran: Context) -> None:
    """Read by the tasks or by Spark, spine and sources of the flights give the same features, to the bit."""
    project = ran.project
    versions = published(ran.store)

    def pinned(name: str) -> tuple[Snapshot, DataFrame]:
        return snapshot(ran.store, f"silver.{name}", versions[f"silver.{name}"]), table(ran, f"silver.{name}")

    spine, sources = (
        spine_input(project, pinned, days=[date(2013, 1, 7), date(2013, 1, 8)]),
        source_inputs(project, pinned),
    )
    ties = tie_breakers(project)
    by_tasks = features_as_of(spine, project.views, sources, tie_breakers=ties)
    by_spark = features_as_of(
        spine.frame, project.views, {name: scan.frame for name, scan in sources.items()}, tie_breakers=ties
    )

    assert "scanned by Spark" not in str(explain(spine, project.views, sources, tie_breakers=ties))
    assert content_hash(by_tasks) == content_hash(by_spark)

    hard = project.sources["weather"].model_copy(update={"known_ts": "from_utc_timestamp(time_hour, 'EST')"})
    changed = project.model_copy(update={"sources": {**project.sources, "weather": hard}})
    assert source_inputs(changed, pinned)["weather"].blocked == (
        "\"from_utc_timestamp(time_hour, 'EST')\" needs Spark: the function from_utc_timestamp"
    )


def test_nothing_known_from_one_hour_before_departure_on_changes_a_feature(ran: Context) -> None:
    """Delays that became known at or after the moment asked about are replaced by nonsense: no feature moves."""
    project = ran.project
    silver = {name: table(ran, f"silver.{name}") for name in project.tables}
    ties = tie_breakers(project)
    spine = spine_frame(project, silver["flights"].where("_day = DATE'2013-01-07' AND hour = 14")).cache()
    first = spine.agg(F.min("as_of_ts")).collect()[0][0]
    spine = spine.where(F.col("as_of_ts") == F.lit(first))
    planted = silver | {
        "flights": silver["flights"].withColumns(
            {
                "dep_delay": F.when(F.col("departure_known_ts") >= F.lit(first), 9e9).otherwise(
                    F.col("dep_delay")
                ),
                "arr_delay": F.when(F.col("arrival_known_ts") >= F.lit(first), 9e9).otherwise(
                    F.col("arr_delay")
                ),
            }
        )
    }

    def rows(tables: dict[str, DataFrame]) -> list[str]:
        sources = source_frames(project, lambda name: tables[name])
        return sorted(map(repr, features_as_of(spine, project.views, sources, tie_breakers=ties).collect()))

    assert planted["flights"].where("arr_delay = 9e9").count() > 100
    assert rows(silver) == rows(planted)


def test_a_file_that_changed_after_its_load_is_refused(ran: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """A loaded day is never loaded again in silence."""
    path = Path(ran.project.settings.landing) / "flights" / "2013-01-02.csv.gz"
    whole = path.read_bytes()
    path.write_bytes(whole + whole)
    try:
        with pytest.raises(InputError, match=r"flights/2013-01-02\.csv\.gz' has .* when it was loaded"):
            run_step(ran, "ingest")
    finally:
        path.write_bytes(whole)


def test_after_a_whole_run_nothing_is_left(ran: Context) -> None:
    """Tables, model and predictions of the flights are as the plan would have them; only monitoring looks again."""
    before = published(ran.store)
    found = plan(Place(ran.project, ran.as_of), steps=PIPELINE)
    assert found.builds == []
    assert [step.step for step in found.busy] == ["monitor"]
    assert published(ran.store) == before
    assert {step.step: bool(step.seconds) for step in found.steps}["monitor"]


@pytest.fixture
def parameters(ran: Context, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The notebook's parameters, with the environment pointing at the store."""
    monkeypatch.setenv("FEATURELIB__ROOT", ran.project.settings.root)
    return {"env": "local", "folder": str(PROJECT / "conf" / "flights")}


def test_explore_flights_runs_to_its_end(
    spark: SparkSession, parameters: dict[str, str], tmp_path: Path
) -> None:
    """Every cell of the notebook runs, shows its table and ends up in the page."""
    page = tmp_path / "explore.html"
    flight = {"flight": "UA-1714-LGA-2013-01-01"}
    result = run_notebook(
        PROJECT / "notebooks" / "01_explore_flights.py",
        spark=spark,
        parameters={**parameters, **flight},
        html=page,
    )
    tables, _, hours, features, arrivals, predictions = result.tables
    names = [row[0] for row in tables.rows]
    assert result.exit_value == f"{len(names)} tables"
    assert {"bronze.flights", "silver.flights", "silver.flights_quarantine", "features.flights"} <= set(names)
    assert hours.columns == ("hour", "flights", "mean_dep_delay", "share_late")
    assert dict(features.rows)["flight_id"] == flight["flight"]
    assert arrivals.columns[-1] == "is_visible"
    assert predictions.rows
    assert "<h2>Predictions</h2>" in page.read_text()
