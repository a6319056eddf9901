"""Columns that come, go or change their type: what the tables hold then, and what is refused."""

from __future__ import annotations

import gzip
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from featurelib.errors import ConfigError, InputError, QualityGateError
from featurelib.pipeline.steps import run_step
from featurelib.tables import content_hash, published, read
from tests.jobs.cafe import cafe_context, features, from_scratch
from tests.jobs.cafe_project import FEATURES, SOURCES, land_day

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from featurelib.pipeline.context import Context

DAY = "2024-01-06"
POLICY = "  weather:\n    landing: weather\n"


def land(root: Path, table: str, header: str, *lines: str, day: str = DAY) -> None:
    """Write a landed file with a header of its own."""
    path = root / "landing" / table / f"{day}.csv.gz"
    path.write_bytes(gzip.compress("\n".join([header, *lines, ""]).encode()))


def land_others(root: Path, *, without: str, day: str = DAY) -> None:
    """Land the day's other tables as they are."""
    land_day(root, day, without=without)


def with_sources(spark: SparkSession, cafe: Context, *changes: tuple[str, str], **files: str) -> Context:
    """The cafe with its sources declared otherwise."""
    text = SOURCES
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return cafe_context(spark, root_of(cafe), changed={"cafe/sources.yaml": text, **files})


def policy(name: str) -> tuple[str, str]:
    """A change of the sources: what becomes of new columns of the weather."""
    return POLICY, f"{POLICY}    on_new_columns: {name}\n"


def root_of(cafe: Context) -> Path:
    """The root folder of a context."""
    return Path(cafe.project.settings.root)


def rows(context: Context, table: str, *columns: str) -> list[tuple[Any, ...]]:
    """Rows of a published table, in order."""
    return sorted(tuple(row) for row in read(context.spark, context.store, table).select(*columns).collect())


def test_a_new_column_evolves(spark: SparkSession, cafe: Context) -> None:
    """It is text in bronze and silver, null in earlier rows and where a later file lacks it; features stay."""
    root = root_of(cafe)
    land(root, "weather", "shop,sky,temp,read_ts", f"A,clear,16.5,{DAY}T06:00:00Z", f"B,,hot,{DAY}T06:00:00Z")
    land_others(root, without="weather")
    strict = "quality.yaml"
    evolving = with_sources(
        spark,
        cafe,
        policy("evolve"),
        **{f"cafe/{strict}": "rules: {}\ngates: {weather: {max_quarantined: 1}}\n"},
    )
    before = content_hash(features(cafe))

    result = run_step(evolving, "ingest")

    assert "weather 2 rows of 1 file, column sky added, 1 quarantined" in result.summary
    assert rows(evolving, "silver.weather", "_day", "sky")[-2:] == [
        (date(2024, 1, 5), None),
        (date(2024, 1, 6), "clear"),
    ]
    assert {sky for _, sky in rows(evolving, "bronze.weather", "_day", "sky")} == {None, "clear", ""}
    assert rows(evolving, "silver.weather_quarantine", "temp", "sky") == [("hot", "")]
    run_step(evolving, "build_features")
    assert content_hash(features(evolving).where("_day < '2024-01-06'")) == before

    land_day(root, "2024-01-07")
    ingested = run_step(evolving, "ingest")

    assert "sky" not in ingested.summary
    assert (date(2024, 1, 7), None) in rows(evolving, "silver.weather", "_day", "sky")
    run_step(evolving, "build_features")
    assert content_hash(features(evolving)) == from_scratch(evolving)


def test_a_file_with_a_new_column_is_kept_aside(spark: SparkSession, cafe: Context) -> None:
    """All its rows are in quarantine with the reason, though the gate lets no bad row pass; others are loaded."""
    root = root_of(cafe)
    land(root, "weather", "shop,temp,read_ts,sky", f"A,1,{DAY}T06:00:00Z,x", f"B,2,{DAY}T06:00:00Z,y")
    land_others(root, without="weather", day=DAY)
    land_day(root, "2024-01-07")
    gates = {"cafe/quality.yaml": "rules: {}\ngates: {weather: {max_quarantined: 0}}\n"}
    aside = with_sources(spark, cafe, policy("quarantine"), **gates)

    result = run_step(aside, "ingest")

    assert "column sky its files are kept aside, 2 quarantined" in result.summary
    why = ["the file has new columns: sky"]
    assert rows(aside, "silver.weather_quarantine", "shop", "temp", "_reasons") == [
        ("A", "1", why),
        ("B", "2", why),
    ]
    assert {day for (day,) in rows(aside, "silver.weather", "_day")} == {
        date(2024, 1, n) for n in (1, 2, 3, 4, 5, 7)
    }


def test_a_new_column_is_ignored_and_told(spark: SparkSession, cafe: Context) -> None:
    """The rows are as they would be without it; the run's facts name the column."""
    root = root_of(cafe)
    land(root, "weather", "sky,shop,temp,read_ts", f"x,A,16.5,{DAY}T06:00:00Z", f"y,B,21.5,{DAY}T06:00:00Z")
    land_others(root, without="weather")
    ignoring = with_sources(spark, cafe, policy("ignore"))

    result = run_step(ignoring, "ingest")

    assert "column sky ignored" in result.summary
    assert [load["columns"] for load in result.facts["ingest"] if load["table"] == "weather"] == [
        {"sky": "ignored"}
    ]
    assert rows(ignoring, "silver.weather", "shop", "temp")[-1] == ("B", 21.5)
    assert "sky" not in read(spark, ignoring.store, "silver.weather").columns


def test_a_type_widens_where_it_is_declared(spark: SparkSession, cafe: Context) -> None:
    """The silver table is rewritten without a new file; features of the column get the wider type, others stay."""
    root = root_of(cafe)
    whole = "  sales:\n    landing: sales\n"
    parties = FEATURES.replace(
        "derived:\n",
        "  shop_parties:\n    entity: shop\n    source: visits\n    aggregations:\n"
        "      - {input: party, ops: [max], windows: [2d]}\nderived:\n",
    )
    source = (
        "sources:\n",
        "sources:\n  visits: {table: visits, event_ts: visited_ts, tie_breaker: [visit_id]}\n",
    )
    narrow = with_sources(spark, cafe, source, **{"cafe/features.yaml": parties})
    run_step(narrow, "build_features")
    before = rows(narrow, narrow.names.features, "visit_id", "shop_parties__party_max_2d")
    assert dict(features(narrow).dtypes)["shop_parties__party_max_2d"] == "int"
    wide = ("party: int, visited_ts", "party: long, visited_ts")
    refused = with_sources(spark, cafe, source, wide, **{"cafe/features.yaml": parties})

    with pytest.raises(
        ConfigError,
        match=r"(?s)party of visits is declared as long.*features shop_parties.*models tips.*widened_from",
    ):
        run_step(refused, "ingest")

    declared = ("    landing: visits\n", "    landing: visits\n    widened_from: {party: int}\n")
    widened = with_sources(spark, cafe, source, wide, declared, **{"cafe/features.yaml": parties})
    assert whole in SOURCES
    assert "visits 0 rows of 0 files, column party int to long" in run_step(widened, "ingest").summary
    assert dict(read(spark, widened.store, "silver.visits").dtypes)["party"] == "bigint"
    assert run_step(widened, "ingest").is_idle

    built = run_step(widened, "build_features")

    assert "1 feature of 1 view for 20 rows of 5 days (definition changed: shop_parties)" in built.summary
    assert rows(widened, widened.names.features, "visit_id", "shop_parties__party_max_2d") == before
    assert dict(features(widened).dtypes)["shop_parties__party_max_2d"] == "bigint"
    land_day(root, DAY)
    run_step(widened, "ingest")
    run_step(widened, "build_features")
    assert content_hash(features(widened)) == from_scratch(widened)


def test_a_column_is_declared_later_and_another_no_longer(spark: SparkSession, cafe: Context) -> None:
    """A new declared column is typed, null before; one that nothing declares any more stays, null from then on."""
    root = root_of(cafe)
    header = "sale_id,shop,customer,amount,sold_ts,booked_ts,till"
    land(root, "sales", header, f"s6A,A,ann,6.1,{DAY}T09:00:00Z,{DAY}T10:00:00Z,3")
    land_others(root, without="sales")
    tills = ("booked_ts: timestamp_utc, note: string}", "booked_ts: timestamp_utc, till: int}")
    since = ("    landing: sales\n", "    landing: sales\n    columns_since: {till: 2024-01-06}\n")
    changed = with_sources(spark, cafe, tills, since)

    run_step(changed, "ingest")

    assert rows(changed, "silver.sales", "_day", "till", "note")[-2:] == [
        (date(2024, 1, 5), None, None),
        (date(2024, 1, 6), 3, None),
    ]
    land(
        root,
        "sales",
        header.removesuffix(",till"),
        f"x,A,cat,9,2024-01-02T09:00:00Z,{DAY}T10:00:00Z",
        day="2023-12-31",
    )
    run_step(changed, "ingest")
    assert (date(2023, 12, 31), None, None) in rows(changed, "silver.sales", "_day", "till", "note")
    run_step(changed, "build_features")
    assert content_hash(features(changed)) == from_scratch(changed)


def test_values_of_another_type_stop_the_run(cafe: Context) -> None:
    """A retyped column shows in its values: the gate holds them back and names what they are needed for."""
    root = root_of(cafe)
    land(root, "weather", "shop,temp,read_ts", *[f"{shop},16C,{DAY}T06:00:00Z" for shop in "AB"])
    land_others(root, without="weather")
    before = published(cafe.store)

    message = r"(?s)temp is no double 2.*temp of weather is needed by: features shop_weather__temp_latest, is_warm; tables"
    with pytest.raises(QualityGateError, match=message):
        run_step(cafe, "ingest")

    assert published(cafe.store) == before


def test_a_column_that_is_gone_stops_the_run(cafe: Context) -> None:
    """Nothing is written; the file, the column and what needs it are named, and what can be done."""
    root = root_of(cafe)
    land(
        root,
        "sales",
        "sale_id,shop,customer,price,sold_ts,booked_ts,note",
        f"s6A,A,ann,6.1,{DAY}T09:00:00Z,,",
    )
    land_others(root, without="sales")
    before = published(cafe.store)

    with pytest.raises(InputError) as raised:
        run_step(cafe, "ingest")

    assert "sales/2024-01-06.csv.gz lacks amount and has price, not declared" in raised.value.given
    assert "amount of sales is needed by: features shop_sales__amount_sum_6h" in raised.value.given
    assert "models tips; tables bronze.sales, silver.sales, features.cafe" in raised.value.given
    assert "columns_since" in raised.value.action
    assert "on_new_columns" in raised.value.action
    assert published(cafe.store) == before


def test_a_name_that_the_tables_cannot_take_is_refused(spark: SparkSession, cafe: Context) -> None:
    """A new column named as a person would write it cannot evolve."""
    root = root_of(cafe)
    land(root, "weather", "shop,temp,read_ts,Cloud cover", f"A,1,{DAY}T06:00:00Z,x")
    land_others(root, without="weather")

    with pytest.raises(InputError, match="has 'Cloud cover', which cannot be a column of the tables"):
        run_step(with_sources(spark, cafe, policy("evolve")), "ingest")
