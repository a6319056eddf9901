"""The columnar shuffle and plain Spark give one answer, and it is the oracle's."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from pyspark.sql import Row
from pyspark.sql import functions as F

from featurelib.errors import FrameError
from featurelib.expressions.language import ExpressionError
from featurelib.point_in_time import Limits, features_as_of
from featurelib.point_in_time.plain_spark import plain_spark_features
from featurelib.specs import Aggregation, FeatureView, Latest

T0 = datetime(2013, 3, 10, 6, tzinfo=UTC)


def at(minutes: float) -> datetime:
    """An instant some minutes after the first."""
    return T0 + timedelta(minutes=minutes)


DELAYS = FeatureView(
    name="delays",
    entity_key=("origin", "carrier"),
    source="arrivals",
    aggregations=(
        Aggregation(
            input="delay",
            ops=("count", "sum", "mean", "min", "max", "stddev", "last"),
            windows=("30m", "2h", "lifetime"),
        ),
        Aggregation(input="seats", ops=("sum", "last"), windows=("2h",)),
    ),
)
WEATHER = FeatureView(
    name="weather",
    entity_key=("origin",),
    source="weather",
    latest=Latest(inputs=("temp", "sky"), max_age="90m"),
)
ROUTES = FeatureView(
    name="routes",
    entity_key=("origin",),
    source="arrivals",
    aggregations=(Aggregation(ops=("count",), windows=("1h",)),),
)
VIEWS = (DELAYS, WEATHER, ROUTES)
CARRIERS = FeatureView(
    name="carriers",
    entity_key=("origin",),
    source="arrivals",
    delay="10m",
    boundary="inclusive",
    aggregations=(
        Aggregation(
            name="busy",
            input="seats",
            ops=("first", "last", "mode", "count_distinct", "median", "variance"),
            windows=("2h",),
            where="delay > 0 AND seats IS NOT NULL",
        ),
        Aggregation(input="carrier", ops=("min",), windows=("2h",)),
        Aggregation(input="price", ops=("sum", "mean", "max"), windows=("lifetime",)),
        Aggregation(input="seats", ops=("last_k", "top_k"), windows=("3h",), k=2),
        Aggregation(input="seats", ops=("histogram",), windows=("3h",), edges=(100, 200)),
        Aggregation(input="seats", ops=("sum",), windows=("2h",), by="carrier", values=("AA",)),
        Aggregation(input="seats", ops=("mean",), windows=("1h",), ratio_to="lifetime"),
        Aggregation(ops=("time_since_last",), windows=("2h",)),
    ),
)
MAPS = FeatureView(
    name="maps",
    entity_key=("origin",),
    source="arrivals",
    aggregations=(
        Aggregation(input="price", ops=("count", "sum"), windows=("lifetime", "last 3"), by="carrier"),
        Aggregation(input="seats", ops=("last_k", "entropy", "trend"), windows=("last 5",), k=2),
    ),
)


def rows_of(frame: Any) -> list[tuple[Any, ...]]:
    """Rows as comparable tuples, order taken away; floats to 12 digits."""

    def plain(value: Any) -> Any:
        return f"{value:.12g}" if isinstance(value, float) else value

    return sorted((tuple(plain(value) for value in row) for row in frame.collect()), key=repr)


@pytest.fixture
def flights(frame: Any) -> dict[str, Any]:
    """A few hundred random events and questions with ties, nulls, late knowledge and unknown entities."""
    dice = random.Random(7)
    arrivals = [
        (
            dice.choice(["JFK", "LGA", None]),
            dice.choice(["AA", "UA"]),
            at(dice.randrange(0, 300, 5)),
            at(dice.randrange(0, 500, 5)) if dice.random() < 0.9 else None,
            dice.choice([None, float("nan"), 1e12, dice.uniform(-20, 90)]),
            dice.choice([None, dice.randrange(50, 300)]),
            number,
            dice.choice([None, Decimal(dice.randrange(-9999, 9999)).scaleb(-2)]),
        )
        for number in range(300)
    ]
    weather = [(dice.choice(["JFK", "LGA"]), at(hour * 60), float(hour), f"sky {hour}") for hour in range(6)]
    spine = [
        (
            number % 40,
            dice.choice(["JFK", "LGA", "EWR", None]),
            dice.choice(["AA", "UA"]),
            at(dice.randrange(-10, 600, 5)),
        )
        for number in range(120)
    ]
    return {
        "spine": frame(
            [*spine, (1, "JFK", "AA", None)], "id int, origin string, carrier string, as_of_ts timestamp"
        ),
        "arrivals": frame(
            arrivals,
            "origin string, carrier string, event_ts timestamp, known_ts timestamp, delay double, seats int, number int, price decimal(8,2)",
        ),
        "weather": frame(weather, "origin string, event_ts timestamp, temp double, sky string"),
    }


def test_plain_spark_and_the_columnar_shuffle_agree(flights: dict[str, Any]) -> None:
    """Two physical plans compute one meaning."""
    spine, ties = flights.pop("spine"), {"arrivals": ["number"], "weather": ["temp"]}
    views = (*VIEWS, CARRIERS)

    got = features_as_of(spine, views, flights, tie_breakers=ties)
    wanted = plain_spark_features(spine, views, flights, tie_breakers=ties)

    assert rows_of(wanted) == rows_of(got)


def test_buckets_partitions_and_order_never_change_a_bit(flights: dict[str, Any]) -> None:
    """Sums of doubles included: 1, 3 or 16 buckets and other partitions give equal bytes."""
    spine = flights.pop("spine")
    views = (*VIEWS, CARRIERS, MAPS)
    first = sorted(map(repr, features_as_of(spine, views, flights, limits=Limits(buckets=1)).collect()))
    for buckets in (3, 16):
        moved = {name: frame.repartition(buckets, F.rand(1)) for name, frame in flights.items()}

        got = features_as_of(spine.repartition(5), views, moved, limits=Limits(buckets=buckets))

        assert first == sorted(map(repr, got.collect()))


def test_nothing_known_at_or_after_the_moment_is_seen(flights: dict[str, Any], frame: Any) -> None:
    """Planted events that happen or are known at the moment, or later, change no feature."""
    spine = flights.pop("spine").where("as_of_ts is not null and origin is not null")
    before = rows_of(features_as_of(spine, VIEWS, flights))
    moments = [(row.origin, row.carrier, row.as_of_ts) for row in spine.collect()]
    last = max(moment for *_, moment in moments)
    planted = [(origin, carrier, last, last, 9e9, 999, 0, Decimal(9)) for origin, carrier, _ in moments]
    planted += [
        (origin, carrier, T0 - timedelta(days=1), last, 9e9, 999, 0, Decimal(9))
        for origin, carrier, _ in moments
    ]
    flights["arrivals"] = flights["arrivals"].union(frame(planted, flights["arrivals"].schema))

    assert before == rows_of(features_as_of(spine, VIEWS, flights))


def test_reading_only_what_can_be_reached_changes_nothing(flights: dict[str, Any]) -> None:
    """Declared bounds of the spine's moments prune the sources and keep every feature."""
    views = [WEATHER, ROUTES]
    spine = flights.pop("spine").where(F.col("as_of_ts").between(at(100), at(200)))

    got = features_as_of(spine, views, flights, between=(at(100), at(201)))

    assert rows_of(features_as_of(spine, views, flights)) == rows_of(got)


def test_one_shuffle_for_each_entity_key(flights: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """Three views over two entity keys cost two exchanges, no join and no sort."""
    spine = flights.pop("spine")
    bare = {name: frame.where("true") for name, frame in flights.items()}

    features_as_of(spine, VIEWS, bare).explain()

    plan = capsys.readouterr().out
    inputs = plan.count("Exchange RoundRobin")
    assert plan.count("Exchange") - inputs == 2
    assert "Join" not in plan
    assert "Sort" not in plan


def test_the_spine_keeps_its_rows_and_columns(frame: Any) -> None:
    """Duplicates, rows with nulls and columns of any type come back as they were."""
    spine = frame(
        [("JFK", at(0), [1, 2], {"a": 1}), ("JFK", at(0), [1, 2], {"a": 1}), (None, at(0), None, None)],
        "origin string, as_of_ts timestamp, list array<int>, map map<string,int>",
    )
    weather = frame([("JFK", at(-1), 1.0, "x")], "origin string, event_ts timestamp, temp double, sky string")

    got = features_as_of(spine, [WEATHER], {"weather": weather})

    row = Row(origin="JFK", as_of_ts=at(0), list=[1, 2], map={"a": 1}, temp=1.0, sky="x")
    null = Row(origin=None, as_of_ts=at(0), list=None, map=None, temp=None, sky=None)
    naive = lambda row: repr([*row][0:1] + [*row][2:])  # noqa: E731 - local and short
    assert sorted(map(naive, [row, row, null])) == sorted(map(naive, got.collect()))


def test_lists_and_maps_reach_spark_as_such(frame: Any) -> None:
    """A list is an array, a map a map of texts, and decimals keep their digits; without events a map is empty."""
    spine = frame([("JFK", at(0)), ("LGA", at(0))], "origin string, as_of_ts timestamp")
    rows = [
        ("JFK", carrier, at(minute), Decimal(price), seats)
        for carrier, minute, price, seats in (
            ("AA", -4, "1.10", 3),
            ("UA", -3, "2.20", 4),
            ("AA", -2, "3.30", 5),
            (None, -1, "9", 9),
        )
    ]
    arrivals = frame(rows, "origin string, carrier string, event_ts timestamp, price decimal(8,2), seats int")

    got = features_as_of(spine, [MAPS], {"arrivals": arrivals})

    assert (
        got.schema["maps__price_sum_lifetime_by_carrier"].dataType.simpleString()
        == "map<string,decimal(18,2)>"
    )
    seen = {row.origin: row.asDict() for row in got.collect()}
    assert seen["JFK"]["maps__price_sum_lifetime_by_carrier"] == {
        "AA": Decimal("4.40"),
        "UA": Decimal("2.20"),
    }
    assert seen["JFK"]["maps__price_count_last3_by_carrier"] == {"AA": 1, "UA": 1}
    assert seen["JFK"]["maps__seats_last2_last5"] == [9, 5]
    assert seen["LGA"]["maps__price_sum_lifetime_by_carrier"] == {}
    assert seen["LGA"]["maps__seats_last2_last5"] is None


def test_a_source_without_events_gives_zero_counts_and_nulls(frame: Any) -> None:
    """Empty windows are 0 for counts and null for all else."""
    spine = frame([("JFK", "AA", at(0))], "origin string, carrier string, as_of_ts timestamp")
    none = frame([], "origin string, carrier string, event_ts timestamp, delay double, seats int")

    got = features_as_of(spine, [DELAYS], {"arrivals": none}).first().asDict()

    assert {0} == {value for name, value in got.items() if "_count_" in name}
    assert {None} == {v for name, v in got.items() if name.startswith("delays__") and "_count_" not in name}


@pytest.mark.parametrize(
    ("spine_schema", "source_schema", "message"),
    [
        (
            "origin string, as_of_ts string",
            "origin string, event_ts timestamp, temp double, sky string",
            "is string",
        ),
        (
            "origin string",
            "origin string, event_ts timestamp, temp double, sky string",
            "no column 'as_of_ts' in spine",
        ),
        (
            "orign string, as_of_ts timestamp",
            "origin string, event_ts timestamp, temp double, sky string",
            "mean 'orign'",
        ),
        (
            "origin int, as_of_ts timestamp",
            "origin string, event_ts timestamp, temp double, sky string",
            "string in source",
        ),
        (
            "origin string, as_of_ts timestamp",
            "origin string, event_ts long, temp double, sky string",
            "is bigint",
        ),
        (
            "origin string, as_of_ts timestamp",
            "origin string, event_ts timestamp, temp double",
            "no column 'sky'",
        ),
        (
            "origin string, as_of_ts timestamp, weather__sky_latest int",
            "origin string, event_ts timestamp, temp double, sky string",
            "exists already",
        ),
    ],
)
def test_a_frame_that_does_not_fit_is_refused(
    frame: Any, spine_schema: str, source_schema: str, message: str
) -> None:
    """Missing columns, wrong types and taken names are named before anything runs."""
    with pytest.raises(FrameError, match=message):
        features_as_of(frame([], spine_schema), [WEATHER], {"weather": frame([], source_schema)})


@pytest.mark.parametrize(
    ("aggregation", "error", "message"),
    [
        ({"input": "x", "ops": ("sum",)}, FrameError, "sum of column 'x', which is string"),
        ({"input": "b", "ops": ("max",)}, FrameError, "max of column 'b', which is boolean"),
        ({"input": "l", "ops": ("mode",)}, FrameError, "mode of column 'l', which is array<int>"),
        ({"ops": ("count",), "by": "f"}, FrameError, "by column 'f', which is double"),
        ({"ops": ("count",), "by": "y"}, FrameError, "no column 'y' in source 's'"),
        ({"ops": ("count",), "where": "f + 1", "name": "w"}, FrameError, "is double"),
        ({"ops": ("count",), "where": "g > 1", "name": "w"}, ExpressionError, "unknown column 'g'"),
        ({"ops": ("count",), "where": "reflect('a') > 1", "name": "w"}, ExpressionError, "no call into Java"),
    ],
)
def test_what_does_not_fit_the_source_is_refused(
    frame: Any, aggregation: dict[str, Any], error: type[Exception], message: str
) -> None:
    """An operation on the wrong type and a condition that is none fail when the plan is built."""
    view = FeatureView(
        name="v",
        entity_key=("k",),
        source="s",
        aggregations=(Aggregation.model_validate({"windows": ("1d",), **aggregation}),),
    )
    source = "k int, event_ts timestamp, x string, b boolean, l array<int>, f double"
    with pytest.raises(error, match=message):
        features_as_of(frame([], "k int, as_of_ts timestamp"), [view], {"s": frame([], source)})
