"""Tiles spare reading events, through real tables and every plan, and never change an answer."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from featurelib.pipeline.scans import snapshot_scan
from featurelib.point_in_time import Hot, Limits, SnapshotScan, TileTable, explain, features_as_of
from featurelib.point_in_time.tile_plans import tile_definition, tiles_frame
from featurelib.specs import Aggregation, FeatureView, Latest
from featurelib.tables import Store, snapshot

T0 = datetime(2013, 1, 1, tzinfo=UTC)
DAY = 86_400_000_000
KEY = ("origin", "carrier")
VIEWS = (
    FeatureView(
        name="delays",
        entity_key=KEY,
        source="arrivals",
        aggregations=(
            Aggregation(
                input="delay", ops=("count", "sum", "mean", "max", "stddev"), windows=("2h", "9d", "lifetime")
            ),
            Aggregation(input="seats", ops=("sum", "last", "count_distinct"), windows=("9d", "30d")),
            Aggregation(input="delay", ops=("last_k", "top_k"), windows=("9d",), k=2),
            Aggregation(name="late", ops=("count",), windows=("9d",), where="delay > 15"),
            Aggregation(input="delay", ops=("mean",), windows=("last 3",)),
            Aggregation(
                input="delay",
                ops=("approx_quantile", "approx_count_distinct"),
                windows=("9d", "lifetime"),
                quantiles=(0.9,),
            ),
        ),
        delay="10m",
    ),
    FeatureView(
        name="now", entity_key=KEY, source="arrivals", latest=Latest(inputs=("seats",), max_age="20d")
    ),
    FeatureView(
        name="ranked",
        entity_key=KEY,
        source="arrivals",
        aggregations=(Aggregation(input="delay", ops=("median",), windows=("9d",)),),
    ),
)
SHUFFLED = Limits(buckets=3, broadcast_bytes=0)


@pytest.fixture(scope="module")
def tiled(spark: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[SnapshotScan, SnapshotScan]:
    """Sixty days of events, one load a day, some known days later; the same with tiles; nothing merged."""
    dice = random.Random(11)
    rows = []
    for number in range(4_000):
        landed = T0 + timedelta(minutes=dice.randrange(60 * 24 * 60))
        late = timedelta(minutes=dice.choice([0, 30, 30, 200, 60 * 24 * 3]))
        rows.append(
            (
                dice.choice(["JFK", "LGA", "EWR", None]),
                dice.choice(["AA", "UA"]),
                landed,
                landed + late if dice.random() < 0.95 else None,
                dice.choice([None, float("nan"), 1e12, dice.uniform(-20, 90)]),
                number % 90,
                (landed + late).date(),
            )
        )
    schema = "origin string, carrier string, event_ts timestamp, known_ts timestamp, delay double, seats int, _day date"
    store = Store(str(tmp_path_factory.mktemp("tiles")))
    frame = spark.createDataFrame(rows, schema)
    frame.repartition("_day").write.format("delta").partitionBy("_day").save(store.path("silver.arrivals"))
    read = spark.read.format("delta").load(store.path("silver.arrivals"))
    plain = snapshot_scan(snapshot(store, "silver.arrivals", 0), read)

    task = tile_definition(plain, VIEWS, declared_order=None, hop=DAY)
    assert task is not None
    made = tiles_frame(plain, task, VIEWS, day="_day", days=None, parallelism=2)
    made.write.format("delta").partitionBy("_day").save(store.path("features.tiles"))
    tiles = snapshot_scan(
        snapshot(store, "features.tiles", 0), spark.read.format("delta").load(store.path("features.tiles"))
    )
    return plain, replace(plain, tiles={KEY: TileTable(tiles, task, "_day")})


@pytest.fixture(scope="module")
def spine(spark: Any) -> Any:
    """Questions of two days near the end."""
    dice = random.Random(5)
    rows = [
        (
            n,
            dice.choice(["JFK", "LGA", "XXX", None]),
            dice.choice(["AA", "UA"]),
            T0 + timedelta(days=57, minutes=m),
        )
        for n, m in enumerate(range(0, 2 * 24 * 60, 7))
    ]
    return spark.createDataFrame(rows, "id int, origin string, carrier string, as_of_ts timestamp")


BETWEEN = (T0 + timedelta(days=57), T0 + timedelta(days=59))


def test_tiles_give_the_same_bits_by_every_plan(tiled: Any, spine: Any) -> None:
    """Sums, extremes, lists, rows and medians (which tiles do not serve) are equal, shuffled, sliced or small."""
    plain, with_tiles = tiled
    wanted = sorted(map(repr, features_as_of(spine, VIEWS, {"arrivals": plain.frame}).collect()))
    sliced = replace(SHUFFLED, hot=(Hot(KEY, (("JFK", "AA"), ("LGA", "UA")), slices=3),))

    assert len(wanted) == 412
    for limits in (SHUFFLED, sliced, Limits()):
        got = features_as_of(spine, VIEWS, {"arrivals": with_tiles}, between=BETWEEN, limits=limits)
        assert sorted(map(repr, got.collect())) == wanted


def test_the_plan_says_what_tiles_spare(tiled: Any, spine: Any) -> None:
    """Tiles stand beside the days that windows begin and end in; medians read their window whole."""
    told = str(explain(spine, VIEWS[:2], {"arrivals": tiled[1]}, between=BETWEEN))
    whole = str(explain(spine, VIEWS, {"arrivals": tiled[1]}, between=BETWEEN))

    assert "arrivals (tiles): read by the tasks" in told
    assert "arrivals (parts of tiles): read by the tasks" in told
    assert "arrivals: read by the tasks" not in told
    assert "arrivals: read by the tasks" in whole


def test_a_range_as_long_as_the_windows_reads_events(tiled: Any, spine: Any) -> None:
    """Over sixty days every tile is seen in part by some moment, so tiles would spare nothing."""
    told = str(explain(spine, VIEWS[:2], {"arrivals": tiled[1]}, between=(T0, T0 + timedelta(days=60))))

    assert "tiles" not in told
