"""What changed data touches is built again, and nothing else; the table always equals one built in one go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pyarrow import parquet as pq
from pyspark.sql import functions as F

from featurelib.pipeline import rebuilds
from featurelib.pipeline.build_features import build_features
from featurelib.pipeline.steps import run_step
from featurelib.tables import (
    InjectedFault,
    Stamp,
    begin_run,
    compact,
    content_hash,
    published,
    rows_of,
    snapshot,
)
from featurelib.tables.commits import stamped_session
from tests.jobs.cafe import cafe_context, changed, edit, features, files_of, from_scratch, touched
from tests.jobs.cafe_project import SOURCES, land, land_day

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from featurelib.pipeline.context import Context

BOB_FROM_DAY_2 = {f"{shop}{day}e" for shop in "AB" for day in (2, 3, 4, 5)}
ANN_FROM_DAY_2 = {f"{shop}{day}m" for shop in "AB" for day in (2, 3, 4, 5)}


def sale(text: str) -> Callable[[DataFrame], DataFrame]:
    """Return an edit that adds sales, a line each: ``x, A, cat, 5.0, sold, booked``."""
    rows = [[part.strip() for part in line.split(",")] for line in text.strip().splitlines()]
    as_sql = [
        f"SELECT '{sale}' AS sale_id, '{shop}' AS shop, '{who}' AS customer, {amount}D AS amount,"
        f" TIMESTAMP '{sold}Z' AS sold_ts, TIMESTAMP '{booked}Z' AS booked_ts, DATE '2024-01-06' AS _day,"
        " '2024-01' AS _month"
        for sale, shop, who, amount, sold, booked in rows
    ]
    return lambda sales: sales.unionByName(
        sales.sparkSession.sql(" UNION ALL ".join(as_sql)), allowMissingColumns=True
    )


def visit(visit_id: str, shop: str, moment: str) -> Callable[[DataFrame], DataFrame]:
    """Return an edit that adds a visit to the file of its own day."""
    day = moment[:10]
    row = (
        f"SELECT '{visit_id}' AS visit_id, '{shop}' AS shop, 'eve' AS customer, 3 AS party,"
        f" TIMESTAMP '{moment}Z' AS visited_ts, DATE '{day}' AS _day, '{day[:7]}' AS _month"
    )
    return lambda visits: visits.unionByName(visits.sparkSession.sql(row), allowMissingColumns=True)


def test_a_day_of_another_input_lands_late(cafe: Context) -> None:
    """A sale of day 3 that lands on day 6 touches the shop's visits of two days, the last bound included.

    It was known early, and sold at 10:00: the visit at 10:00 of that day does not see it, that of day 5 does.
    """
    root = Path(cafe.project.settings.root)
    land(root, "sales", "2024-01-06", "x,A,cat,100,2024-01-03T10:00:00Z,2024-01-03T09:00:00Z,")
    run_step(cafe, "ingest")

    result = run_step(cafe, "build_features")

    assert touched(cafe) == {key: ["sales: late"] for key in ("A3e", "A4m", "A4e", "A5m")}
    assert result.summary == (
        "10 features of 4 views for 4 of 12 rows of 3 days (sales: late), no shuffle, "
        "4 training rows and 0 predictions affected"
    )
    assert result.facts["touched"] == {"rows": 4, "training_rows": 4, "predictions": 0}
    assert content_hash(features(cafe)) == from_scratch(cafe)
    assert run_step(cafe, "build_features").is_idle


def test_a_late_row_has_files_of_its_days_written_again_alone(
    cafe: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files hold few rows in order of time: those of days that a late sale does not touch stay as they are."""
    monkeypatch.setattr(rebuilds, "_FILE_ROWS", 2)
    build_features(cafe, rebuild=True)
    version = published(cafe.store)[cafe.names.features]
    before = snapshot(cafe.store, cafe.names.features, version).files
    moments = {file.path: pq.read_table(file.path)["as_of_ts"].to_pylist() for file in before}
    assert max(map(len, moments.values())) == 2
    assert all(found == sorted(found) for found in moments.values())
    root = Path(cafe.project.settings.root)
    land(root, "sales", "2024-01-06", "x,A,cat,100,2024-01-03T10:00:00Z,2024-01-03T09:00:00Z,")
    run_step(cafe, "ingest")

    run_step(cafe, "build_features")

    assert touched(cafe).keys() == {"A3e", "A4m", "A4e", "A5m"}
    early = {path for path, found in moments.items() if max(found).day < 3}
    assert early
    assert moments.keys() & files_of(cafe, cafe.names.features) == early
    assert content_hash(features(cafe)) == from_scratch(cafe)


@pytest.mark.parametrize(
    ("table", "change", "rows", "reason"),
    [
        pytest.param(
            "sales",
            changed("amount", "-0.0", "sale_id = 's2B'"),
            BOB_FROM_DAY_2 | {"B3m", "B4m"},
            "sales: corrected",
            id="a corrected event: its shop for two days, its customer for ever",
        ),
        pytest.param(
            "sales",
            lambda sales: sales.where("sale_id <> 's1A'"),
            ANN_FROM_DAY_2 | {"A1m", "A1e", "A2e"},
            "sales: corrected",
            id="an event that is gone; the inclusive view saw it at the moment it became known",
        ),
        pytest.param(
            "sales",
            sale(
                "x, A, cat, 5.0, 2024-01-04 11:00:00, 2024-01-04 20:00:00\n"
                "y, B, dan, 6.0, 2024-01-02 20:00:00, 2024-01-02 20:00:00"
            ),
            {"A4e", "A5m", "A5e", "B3m", "B3e", "B4m", "B4e"},
            "sales: late",
            id="two late events of different shops",
        ),
    ],
)
def test_changed_rows_touch_what_sees_them(
    cafe: Context, table: str, change: Callable[[DataFrame], DataFrame], rows: set[str], reason: str
) -> None:
    """Exactly the rows that can see a changed row are built again, and the table equals one built in one go."""
    edit(cafe, table, change)

    run_step(cafe, "build_features")

    assert touched(cafe) == {key: [reason] for key in rows}
    assert content_hash(features(cafe)) == from_scratch(cafe)


def test_spine_rows_that_came_late_went_or_were_corrected(cafe: Context) -> None:
    """A new, a changed and a removed row of the spine's table touch themselves alone."""
    add = visit("new", "A", "2024-01-03 15:00:00")
    edit(
        cafe,
        "visits",
        lambda visits: add(changed("party", "9", "visit_id = 'B2m'")(visits.where("visit_id <> 'A4e'"))),
    )

    run_step(cafe, "build_features")

    assert touched(cafe) == {
        "new": ["spine: late"],
        "B2m": ["spine: corrected"],
        "A4e": ["spine: corrected"],
    }
    assert content_hash(features(cafe)) == from_scratch(cafe)


def test_only_files_of_touched_days_are_written(cafe: Context) -> None:
    """A thermometer that is corrected on day 5 leaves the files of days 1 to 4 as they are."""
    before, old = (
        files_of(cafe, cafe.names.features),
        content_hash(features(cafe).where("_day < DATE'2024-01-05'")),
    )
    edit(cafe, "weather", changed("temp", "99.0", "read_ts = TIMESTAMP '2024-01-05 06:00:00Z'"))

    result = run_step(cafe, "build_features")

    assert touched(cafe).keys() == {"A5m", "B5m"}
    assert result.facts["days"] == 1
    kept = before & files_of(cafe, cafe.names.features)
    held = features(cafe).withColumn("_file", F.col("_metadata.file_path"))
    days = {row["_day"].day for row in held.collect() if any(row["_file"].endswith(f[-60:]) for f in kept)}
    assert days == {1, 2, 3, 4}
    assert content_hash(features(cafe).where("_day < DATE'2024-01-05'")) == old
    assert content_hash(features(cafe)) == from_scratch(cafe)


def test_changes_that_no_feature_sees_build_nothing(cafe: Context) -> None:
    """Merged files and a column that no view reads change no row; the next run has nothing to look at."""
    table = cafe.names.features
    before = published(cafe.store)[table]
    compact(cafe.spark, cafe.store, "silver.sales", pipeline="cafe", run_id="compact-1")
    merged = run_step(cafe, "build_features")
    edit(cafe, "sales", changed("note", "'paid cash'", "true"))
    noted = run_step(cafe, "build_features")

    assert merged.is_idle
    assert noted.is_idle
    assert "touches no row" in noted.summary
    assert published(cafe.store)[table] == before
    assert run_step(cafe, "build_features").summary == "nothing new to compute"


def test_a_late_event_among_merged_files(cafe: Context) -> None:
    """Files that are merged before and after a late event do not hide it."""
    for run_id in ("compact-1", "compact-2"):
        compact(cafe.spark, cafe.store, "silver.sales", pipeline="cafe", run_id=run_id)
        edit(cafe, "sales", sale(f"{run_id}, B, cat, 5.0, 2024-01-04 21:00:00, 2024-01-04 22:00:00"))
    compact(cafe.spark, cafe.store, "silver.sales", pipeline="cafe", run_id="compact-3")

    run_step(cafe, "build_features")

    assert touched(cafe).keys() == {"B5m", "B5e"}
    assert content_hash(features(cafe)) == from_scratch(cafe)


def test_a_late_event_and_a_new_day_at_once(cafe: Context) -> None:
    """The new day is added, and the late event in its file touches earlier days."""
    root = Path(cafe.project.settings.root)
    land_day(root, "2024-01-06", without="sales")
    land(root, "sales", "2024-01-06", "x,B,cat,100,2024-01-05T11:00:00Z,2024-01-05T12:00:00Z,")
    run_step(cafe, "ingest")

    result = run_step(cafe, "build_features")

    assert touched(cafe).keys() == {"B5e"}
    assert (
        "1 of 4 rows of 1 day (sales: late); 10 features of 4 views for 4 rows of 1 day (new)"
        in result.summary
    )
    assert content_hash(features(cafe)) == from_scratch(cafe)


def test_training_rows_and_predictions_of_touched_rows_are_listed(cafe: Context) -> None:
    """The list says which touched rows a model was trained on, and which runs predicted them."""
    with begin_run(cafe.spark, cafe.store, pipeline="cafe", run_id="scored") as run:
        scored = features(cafe).where("visit_id IN ('A5m', 'A5e')")
        scored = scored.select("visit_id", "as_of_ts", F.lit("score-1").alias("_run_id"))
        run.create(cafe.names.predictions, scored.schema)
        run.append(scored.unionAll(scored.withColumn("_run_id", F.lit("score-2"))), cafe.names.predictions)
        training = run.read(cafe.names.training)
        run.rewrite(training.where("visit_id <> 'A4m'"), cafe.names.training)
        run.publish()
    edit(cafe, "sales", sale("x, A, cat, 100.0, 2024-01-03 10:00:00, 2024-01-03 09:00:00"))

    result = run_step(cafe, "build_features")

    rows = rows_of(cafe.store, cafe.names.touched)
    listed = {row["_key"].split('"')[3]: (row["in_training"], row["_prediction_runs"]) for row in rows}
    assert listed == {
        "A3e": (True, []),
        "A4m": (False, []),
        "A4e": (True, []),
        "A5m": (True, ["score-1", "score-2"]),
    }
    assert result.summary.endswith("3 training rows and 1 prediction affected")


def test_most_rows_touched_are_built_plainly(cafe: Context) -> None:
    """When more than half of the rows of the touched days are touched, all of these days are computed."""
    edit(cafe, "weather", changed("temp", "temp + 1", "true"))

    result = run_step(cafe, "build_features")

    assert len(touched(cafe)) == 10
    edit(cafe, "sales", changed("amount", "amount + 1", "true"))
    result = run_step(cafe, "build_features")
    assert "for 20 rows of 5 days (sales: corrected)" in result.summary
    assert content_hash(features(cafe)) == from_scratch(cafe)


def test_what_changed_can_no_longer_be_said(cafe: Context) -> None:
    """After the old files are gone the days are built again whole, and the message says so."""
    version = published(cafe.store)["silver.sales"]
    edit(cafe, "sales", changed("amount", "amount + 1", "sale_id = 's5A'"))
    for path in Path(cafe.store.path("silver.sales")).rglob("*.parquet"):
        if str(path) not in files_of(cafe, "silver.sales"):
            path.unlink()

    result = run_step(cafe, "build_features")

    assert (
        f"20 rows of 5 days (version {version} of silver.sales, which they were built from, is gone)"
        in result.summary
    )
    assert content_hash(features(cafe)) == from_scratch(cafe)


def test_rows_deleted_inside_a_file_that_stays(cafe: Context) -> None:
    """A deletion vector takes an event out of a file without a new file: it has gone all the same."""
    path = cafe.store.path("silver.sales")
    with begin_run(cafe.spark, cafe.store, pipeline="cafe", run_id="delete") as run:
        for statement in (
            f"ALTER TABLE delta.`{path}` SET TBLPROPERTIES ('delta.enableDeletionVectors' = 'true')",
            f"DELETE FROM delta.`{path}` WHERE sale_id = 's1A'",
        ):

            def commit(stamp: Stamp, statement: str = statement) -> None:
                with stamped_session(cafe.spark, stamp) as session:
                    session.sql(statement)

            run._commits.commit("silver.sales", "delete", commit)
        run.publish()
    assert not snapshot(cafe.store, "silver.sales", published(cafe.store)["silver.sales"]).is_plain

    run_step(cafe, "build_features")

    assert touched(cafe).keys() == ANN_FROM_DAY_2 | {"A1m", "A1e", "A2e"}
    assert content_hash(features(cafe)) == from_scratch(cafe)


def test_a_transform_that_looks_at_other_rows(cafe: Context) -> None:
    """A greater sale of the day hides another: both are changes, though one row came alone."""
    greatest = (
        "from pyspark.sql import Window, functions as F\n"
        "def greatest(sales):\n"
        "    day = Window.partitionBy('shop', F.to_date('sold_ts'))\n"
        "    most = sales.withColumn('most', F.max('amount').over(day))\n"
        "    return most.where('amount = most').drop('most')\n"
    )
    sources = SOURCES.replace(
        "    known_ts: booked_ts\n", "    known_ts: booked_ts\n    transform: prepare:greatest\n"
    )
    root = Path(cafe.project.settings.root)
    files = {"cafe/sources.yaml": sources, "cafe/prepare.py": greatest}
    cafe = cafe_context(cafe.spark, root, changed=files)
    run_step(cafe, "build_features")
    edit(cafe, "sales", sale("x, B, cat, 50.0, 2024-01-04 19:00:00, 2024-01-04 19:30:00"))

    run_step(cafe, "build_features")

    bob_and_b = {"A4e", "A5e", "B4e", "B5m", "B5e"}
    assert touched(cafe) == {key: ["sales: corrected"] for key in bob_and_b}
    assert content_hash(features(cafe)) == from_scratch(cafe)


def test_a_table_of_which_nothing_is_recorded_is_built_whole(cafe: Context) -> None:
    """A feature table that came from elsewhere, or was made by an older release, gives way."""
    old = replace(cafe, project=cafe.project.model_copy(update={"name": "old"}))
    with begin_run(cafe.spark, cafe.store, pipeline="old", run_id="old") as run:
        run.rewrite(features(cafe).select("visit_id", "_month"), old.names.features)
        run.publish()

    result = run_step(old, "build_features")

    assert "20 rows of 5 days (nothing says what it was built from)" in result.summary
    assert content_hash(features(old)) == content_hash(features(cafe))


@pytest.mark.parametrize("point", ["write.features.cafe.after", "publish.before"])
def test_a_killed_rebuild_is_mended_by_a_rerun(
    cafe: Context, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    """Broken off between any two commits, readers see the old table, and a rerun ends as if undisturbed."""
    before = content_hash(features(cafe))
    edit(cafe, "sales", sale("x, A, cat, 100.0, 2024-01-03 10:00:00, 2024-01-03 09:00:00"))
    monkeypatch.setenv("FEATURELIB_FAULT", f"raise:{point}")
    with pytest.raises(InjectedFault):
        run_step(cafe, "build_features")
    monkeypatch.delenv("FEATURELIB_FAULT")
    assert content_hash(features(cafe)) == before

    run_step(cafe, "build_features")

    assert touched(cafe).keys() == {"A3e", "A4m", "A4e", "A5m"}
    assert content_hash(features(cafe)) == from_scratch(cafe)
