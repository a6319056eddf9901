"""The pipeline on real flights: everything is counted, nothing is done twice, a day more touches a day."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest
from pyspark.sql import functions as F

from featurelib.errors import FeaturelibError, InputError, QualityGateError
from featurelib.pipeline.contents import contents
from featurelib.pipeline.frames import source_frames, spine_frame, tie_breakers
from featurelib.pipeline.future_events import future_events
from featurelib.pipeline.polars_frames import spine_columns, spine_of
from featurelib.pipeline.records import last_facts
from featurelib.pipeline.scans import source_inputs, spine_input
from featurelib.pipeline.silver import published_rows
from featurelib.pipeline.steps import run_pipeline, run_step
from featurelib.pipeline.without_spark import features_without_spark
from featurelib.point_in_time import explain, features_as_of
from featurelib.point_in_time.plain_spark import plain_spark_features
from featurelib.tables import Snapshot, content_hash, published, read, read_arrow, snapshot
from featurelib.tables.faults import InjectedFault

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from featurelib.pipeline.context import Context

Contexts = Callable[[Path, str], "Context"]


def table(context: Context, name: str) -> DataFrame:
    """A published table."""
    return read(context.spark, context.store, name)


def all_contents(context: Context) -> dict[str, tuple[int, str]]:
    """Rows and content of every table."""
    return {row.table: (row.rows, row.content) for row in contents(context)}


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


def test_one_day_more_touches_one_day(contexts: Contexts, tmp_path: Path) -> None:
    """The next day adds its own rows; every earlier row of every table stays, and equals a load in one go."""
    run_step(contexts(tmp_path / "daily", "2013-01-03"), "ingest")
    run_step(contexts(tmp_path / "daily", "2013-01-03"), "build_features")
    old = content_hash(table(contexts(tmp_path / "daily", "2013-01-03"), "features.flights"))
    daily, once = contexts(tmp_path / "daily", "2013-01-04"), contexts(tmp_path / "once", "2013-01-04")
    for context in (daily, once):
        run_step(context, "ingest")
        result = run_step(context, "build_features")
        if context is daily:
            assert result.facts["days"] == 1

    earlier = table(daily, "features.flights").where("_day < DATE'2013-01-03'")
    assert old == content_hash(earlier)
    assert all_contents(once) == all_contents(daily)


def test_the_training_set_grows_as_labels_become_known(contexts: Contexts, tmp_path: Path) -> None:
    """At midnight UTC evening flights are in the air: hours later, without a new file, their labels are there."""
    midnight, noon = contexts(tmp_path, "2013-01-02"), contexts(tmp_path, "2013-01-02T12:00")
    for step in ("ingest", "build_features"):
        run_step(midnight, step)
    first, again = run_step(midnight, "build_training_set"), run_step(midnight, "build_training_set")
    later = run_step(noon, "build_training_set")

    assert (again.is_idle, later.is_idle) == (True, False)
    assert first.facts["parts"]["train"] + first.facts["left_out"] == 842
    assert first.facts["parts"]["train"] < later.facts["parts"]["train"] == 830
    assert run_step(noon, "build_training_set").is_idle


@pytest.mark.parametrize(
    ("step", "point"),
    [
        ("ingest", "publish.before"),
        ("build_features", "write.features.flights.after"),
    ],
)
def test_a_killed_step_is_mended_by_a_rerun(
    contexts: Contexts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, point: str
) -> None:
    """Broken off between any two writes, a rerun ends with the rows of a run that was never broken off."""
    context = contexts(tmp_path, "2013-01-02")
    if step != "ingest":
        run_step(context, "ingest")
    monkeypatch.setenv("FEATURELIB_FAULT", f"raise:{point}")
    with pytest.raises(InjectedFault):
        run_step(context, step)
    monkeypatch.delenv("FEATURELIB_FAULT")

    run_step(context, step)

    flights = 842
    wanted = {"bronze.flights": flights, "silver.flights": flights, "silver.flights_quarantine": 0}
    if step == "build_features":
        wanted["features.flights"] = flights
    found = {name: rows for name, (rows, _) in all_contents(context).items()}
    assert wanted == {name: found[name] for name in wanted}


def test_damaged_files_are_all_named_and_nothing_is_written(contexts: Contexts, tmp_path: Path) -> None:
    """Two bad files of a load are named together; no table exists afterwards."""
    context = contexts(tmp_path, "2013-01-03")
    landing = Path(context.project.settings.landing)
    whole = (landing / "flights" / "2013-01-01.csv.gz").read_bytes()
    (landing / "flights" / "2013-01-01.csv.gz").write_bytes(whole[:-100])
    (landing / "weather" / "2013-01-02.csv.gz").write_bytes(b"")

    with pytest.raises(
        InputError, match=r"(?s)2 landed file.*flights/2013-01-01.*damaged.*weather/2013-01-02"
    ):
        run_step(context, "ingest")

    assert published(context.store) == {}


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


def test_too_many_bad_rows_publish_nothing(contexts: Contexts, tmp_path: Path) -> None:
    """The gate names the rules that were broken; earlier days stay as they were."""
    import gzip

    context = contexts(tmp_path, "2013-01-02")
    path = Path(context.project.settings.landing) / "flights" / "2013-01-01.csv.gz"
    lines = gzip.decompress(path.read_bytes()).replace(b",JFK,", b",LAX,")
    path.write_bytes(gzip.compress(lines))

    with pytest.raises(QualityGateError, match=r"297 of 842 rows are bad \(origin_is_new_york 297\)"):
        run_step(context, "ingest")

    assert published(context.store) == {}


def test_a_step_out_of_turn_says_what_to_run(contexts: Contexts, tmp_path: Path) -> None:
    """Features without silver, scores without features: the error names the missing step."""
    context = contexts(tmp_path, "2013-01-02")

    for step, needed in (
        ("build_features", "ingest"),
        ("train", "build_training_set"),
        ("score", "build_features"),
    ):
        with pytest.raises(FeaturelibError, match=needed):
            run_step(context, step)
