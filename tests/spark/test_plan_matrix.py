"""Every operation, on every plan and for keys of every type, is what the plain-Python oracle says."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet as pq
from pyspark.sql import functions as F

from featurelib.point_in_time import Hot, Limits, SnapshotFile, SnapshotScan, features_as_of
from featurelib.specs import Aggregation, FeatureView, Latest
from tests.oracle import plain
from tests.oracle.alike import ROUNDED, same

INSTANT = pa.timestamp("us", "UTC")
MINUTE = 60_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# The morning on which New York sets its clocks forward, a day before 1970, one after 2100.
ERAS = [
    (datetime(*day, tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)
    for day in ((2013, 3, 10, 6), (1925, 11, 1), (2150, 7, 1))
]
WINDOWS: dict[str, dict[str, int]] = {
    "1us": {"window": 1},
    "30m": {"window": 30 * MINUTE},
    "2h": {"window": 120 * MINUTE},
    "lifetime": {},
    "last 1": {"rows": 1},
    "last 3": {"rows": 3},
}
COLUMNS = {
    "x": pa.float64(),
    "y": pa.float64(),
    "n": pa.int64(),
    "i": pa.int32(),
    "d": pa.decimal128(20, 2),
    "s": pa.string(),
    "b": pa.bool_(),
    "t": INSTANT,
    "day": pa.date32(),
    "l": pa.list_(pa.int64()),
    "r": pa.int32(),
}
ORDER = ("x", "n", "s", "r")
WHERE = "n > 0 AND s IS NOT NULL"


def over(columns: str, ops: str, windows: str = "30m,lifetime,last 3", **more: Any) -> Iterator[Aggregation]:
    """Each operation on each column."""
    for column in columns.split():
        fields = {"input": column, "ops": ops.split(), "windows": windows.split(","), **more}
        yield Aggregation.model_validate(fields)


EXACT = "count sum mean min max first last count_distinct mode median"
AGGREGATIONS = (
    *over("x n i d", EXACT),
    *over("n y", "variance stddev skewness kurtosis trend"),
    *over("s t day", "count min max first last count_distinct mode", "1us,2h,last 1"),
    *over("b", "count first last count_distinct mode entropy"),
    *over("s n", "entropy approx_count_distinct", "2h,lifetime"),
    *over("l", "count first last", "2h"),
    *over("x s d", "first_k last_k top_k bottom_k", "2h,last 3", k=2),
    *over("l", "last_k", "lifetime", k=2),
    *over("x n d", "quantile approx_quantile", "2h,lifetime", quantiles=(0.0, 0.3, 1.0)),
    *over("x n", "histogram", "2h", edges=(-1.0, 0.0, 1.5)),
    *over("n", "time_since_first time_since_last", "2h,last 3"),
    *over("x n", "count sum mean", "30m,last 1", ratio_to="lifetime"),
)
MODIFIED = (
    *over("n x", "count sum last median", "30m,lifetime,last 3", where=WHERE, name="w"),
    *over("d", "sum mean", "2h", by="s", values=("a", "z")),
    *over("n", "sum last", "2h", by="day", values=("2013-03-10",)),
    *over("n", "count sum mean min max variance stddev", "2h,last 3", by="s"),
    *over("d", "sum", "lifetime", by="i"),
    *over("x", "first last count_distinct mode entropy median time_since_last", "30m,last 3", by="s"),
    *over("x", "last_k top_k histogram", "lifetime", by="i", k=2, edges=(0.0,)),
    *over("y", "skewness kurtosis trend", "lifetime", by="i"),
)
ROWS = Aggregation(ops=("count", "time_since_first", "time_since_last"), windows=("2h", "last 3"))


def views_of(keys: tuple[str, ...]) -> list[FeatureView]:
    """The same features with and without a time at which events were known, and with every modifier."""
    named = [one.model_copy(update={"name": f"w_{one.input}"}) if one.where else one for one in MODIFIED]
    latest = Latest(inputs=("x", "n", "s", "l"), max_age="2h")
    return [
        FeatureView(name="k", entity_key=keys, source="late", aggregations=AGGREGATIONS, latest=latest),
        FeatureView(name="e", entity_key=keys, source="known", aggregations=(*AGGREGATIONS[:4], ROWS)),
        FeatureView(
            name="m", entity_key=keys, source="late", delay="15m", aggregations=(*named, ROWS)
        ),
        FeatureView(
            name="o", entity_key=keys, source="late", boundary="inclusive", latest=Latest(inputs=("n",)),
            aggregations=(*AGGREGATIONS[:2], *named, ROWS),
        ),
    ]  # fmt: skip


# --- rows -----------------------------------------------------------------------------------------------

D = Decimal
KEYS: dict[str, tuple[dict[str, pa.DataType], list[tuple[Any, ...]]]] = {
    "text": ({"k": pa.string()}, [("a",), ("",), ("ä",), (None,)]),
    "int": ({"k": pa.int32()}, [(0,), (-1,), (2**31 - 1,), (None,)]),
    "long": ({"k": pa.int64()}, [(0,), (-(2**63),), (2**62,), (None,)]),
    "short and byte": ({"k": pa.int16(), "j": pa.int8()}, [(1, 2), (2, 1), (1, None), (-1, 2)]),
    "date": ({"k": pa.date32()}, [(date(2013, 3, 10),), (date(1925, 1, 1),), (None,)]),
    "instant": ({"k": INSTANT}, [(ERAS[0],), (ERAS[0] + 1,), (ERAS[1],), (None,)]),
    "decimal": ({"k": pa.decimal128(12, 3)}, [(D("1.250"),), (D("-1.250"),), (D("0.000"),), (None,)]),
    "boolean": ({"k": pa.bool_()}, [(True,), (False,), (None,)]),
    "binary": ({"k": pa.binary()}, [(b"a",), (b"",), (b"\xff\x00",), (None,)]),
    "four columns": (
        {"k": pa.string(), "j": pa.int32(), "h": pa.date32(), "g": pa.decimal128(38, 0)},
        [("a", 1, date(2013, 3, 10), D(10**37)), ("a", 1, date(2013, 3, 10), D(-1)), ("a", 1, None, D(1))],
    ),
}


@dataclass(frozen=True)
class Rows:
    """Events and questions of one kind of key, as the oracle takes them."""

    types: dict[str, pa.DataType]
    events: list[dict[str, Any]]
    questions: list[tuple[tuple[Any, ...], int | None]]


def an_instant(dice: random.Random, key: tuple[Any, ...]) -> int:
    """On a grid of 15 minutes or a microsecond beside it; each entity lives in one era."""
    return ERAS[len(repr(key)) % len(ERAS)] + dice.randrange(16) * 15 * MINUTE + dice.choice([-1, 0, 0, 0, 1])


def an_event(dice: random.Random, key: tuple[Any, ...]) -> dict[str, Any]:
    """Ties, nulls, NaN and infinities; known at once, later, much later, before it happened, or never."""
    event = None if dice.random() < 0.05 else an_instant(dice, key)
    late = dice.choice([0, 0, 0, 1, 15 * MINUTE, 90 * MINUTE, 1_000_000 * MINUTE, -15 * MINUTE])
    n = dice.choice([None, *range(-3, 4), 2**40])
    s = dice.choice([None, "", "a", "b", "ä"])
    nan, infinity = float("nan"), float("inf")
    return {
        "key": key,
        "event": event,
        "known": None if event is None or dice.random() < 0.05 else event + late,
        "x": dice.choice([None, nan, infinity, -infinity, 0.0, -0.0, 1e17, 0.1, 1.5, dice.uniform(-9, 9)]),
        "y": dice.choice([None, dice.randrange(-400, 400) / 7, dice.randrange(-400, 400) / 7]),
        "n": n,
        "i": dice.choice([None, 1, 2, -1]),
        "d": dice.choice([None, D(dice.randrange(-(10**17), 10**17)).scaleb(-2), D("1.10")]),
        "s": s,
        "b": dice.choice([None, True, False]),
        "t": dice.choice([None, ERAS[0], ERAS[1] + 1, dice.choice(ERAS) - 1]),
        "day": dice.choice([None, date(2013, 3, 10), date(1925, 11, 1)]),
        "l": dice.choice([None, [n, 1], []]),
        "r": dice.randrange(10**9),
        WHERE: n is not None and n > 0 and s is not None,
    }


def some_rows(kind: str) -> Rows:
    """Some events, duplicates among them, and questions; one entity has only events, one only questions."""
    types, keys = KEYS[kind]
    dice = random.Random(kind)
    events = [an_event(dice, dice.choice(keys)) for _ in range(90)]
    events += dice.choices(events, k=6)
    questions = [(key, an_instant(dice, key)) for key in dice.choices(keys, k=30)]
    questions += [*questions[:2], (keys[0], None)]
    return Rows(types, events, questions)


def key_arrays(types: dict[str, pa.DataType], keys: list[tuple[Any, ...]]) -> dict[str, pa.Array]:
    """The key columns."""
    return {name: pa.array([key[at] for key in keys], kind) for at, (name, kind) in enumerate(types.items())}


def written(folder: Path, name: str, table: pa.Table, spark: Any) -> SnapshotScan:
    """The rows as three files of small row groups, in a random order."""
    (folder / name).mkdir()
    files = []
    dealt = random.Random(7).sample(range(table.num_rows), table.num_rows)
    for number in range(3):
        path = folder / name / f"{number}.parquet"
        pq.write_table(table.take(pa.array(dealt[number::3], pa.int64())), path, row_group_size=7)
        files.append(SnapshotFile(str(path), path.stat().st_size, len(dealt[number::3])))
    return SnapshotScan(spark.read.parquet(str(folder / name)), tuple(files))


def inputs(rows: Rows, folder: Path, spark: Any) -> tuple[SnapshotScan, dict[str, SnapshotScan]]:
    """Spine and sources as files: one that says when events were known, one that does not."""
    spine = {
        "id": pa.array(range(len(rows.questions)), pa.int32()),
        **key_arrays(rows.types, [key for key, _ in rows.questions]),
        "as_of_ts": pa.array([moment for _, moment in rows.questions], INSTANT),
    }
    known = {
        **key_arrays(rows.types, [row["key"] for row in rows.events]),
        "event_ts": pa.array([row["event"] for row in rows.events], INSTANT),
        **{name: pa.array([row[name] for row in rows.events], kind) for name, kind in COLUMNS.items()},
    }
    late = {**known, "known_ts": pa.array([row["known"] for row in rows.events], INSTANT)}
    sources = {
        name: written(folder, name, pa.table(table), spark)
        for name, table in (("known", known), ("late", late))
    }
    return written(folder, "spine", pa.table(spine), spark), sources


# --- plans ----------------------------------------------------------------------------------------------

Plan = Callable[..., Any]
Sides = tuple[Any, dict[str, Any], dict[str, Any]]


def by_spark(spine: SnapshotScan, sources: dict[str, SnapshotScan], rows: Rows) -> Sides:
    """Spark scans; one bucket."""
    return spine.frame, {name: one.frame for name, one in sources.items()}, {"limits": Limits(buckets=1)}


def moved(spine: SnapshotScan, sources: dict[str, SnapshotScan], rows: Rows) -> Sides:
    """Spark scans other partitions in another order, in batches of three rows; five buckets."""
    frames = {name: one.frame.repartition(4, F.rand(1)) for name, one in sources.items()}
    return spine.frame.repartition(3, F.rand(2)), frames, {"limits": Limits(buckets=5)}


def by_tasks(spine: SnapshotScan, sources: dict[str, SnapshotScan], rows: Rows) -> Sides:
    """Tasks read, and everything is shuffled; three buckets."""
    return spine, dict(sources), {"limits": Limits(buckets=3, broadcast_bytes=0)}


def small(spine: SnapshotScan, sources: dict[str, SnapshotScan], rows: Rows) -> Sides:
    """Tasks read; no shuffle."""
    return spine, dict(sources), {}


def mixed(spine: SnapshotScan, sources: dict[str, SnapshotScan], rows: Rows) -> Sides:
    """One source by Spark, one by tasks; only moments between the first and the last are asked about."""
    late = replace(sources["late"], blocked="for this test")
    return spine, {**sources, "late": late}, {"between": moments(rows), "limits": Limits(buckets=2)}


def sliced(spine: SnapshotScan, sources: dict[str, SnapshotScan], rows: Rows) -> Sides:
    """Every entity is hot, and cut into three time slices."""
    keys = dict.fromkeys(key for key, _ in rows.questions if None not in key)
    columns = key_arrays(rows.types, list(keys))
    values = tuple(zip(*(column.to_pylist() for column in columns.values()), strict=True))
    hot = Hot(tuple(rows.types), values, slices=3)
    limits = Limits(buckets=2, broadcast_bytes=0, hot=(hot,))
    return spine.frame, dict(sources), {"between": moments(rows), "limits": limits}


def moments(rows: Rows) -> tuple[datetime, datetime]:
    """``[first, last)`` of the questions."""
    asked = [moment for _, moment in rows.questions if moment is not None] or [0]
    return EPOCH + timedelta(microseconds=min(asked)), EPOCH + timedelta(microseconds=max(asked) + 1)


PLANS: tuple[Plan, ...] = (by_spark, moved, by_tasks, small, mixed, sliced)
MATRIX = [(kind, plan) for at, kind in enumerate(KEYS) for plan in islice(cycle(PLANS), at, at + 2)]


@pytest.fixture
def in_batches_of_three(spark: Any) -> Iterator[None]:
    """What Spark hands to Python at a time."""
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", "3")
    yield
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", "65536")


def answers(rows: Rows, plan: Plan, folder: Path, spark: Any) -> dict[str, list[Any]]:
    """The features by name, a value a question, in the order of the questions; instants as microseconds."""
    spine, sources, more = plan(*inputs(rows, folder, spark), rows)
    ties = dict.fromkeys(sources, ORDER)
    views = views_of(tuple(rows.types))
    table = features_as_of(spine, views, sources, tie_breakers=ties, **more).toArrow().sort_by("id")
    assert table["id"].to_pylist() == list(range(len(rows.questions)))
    names = [name for view in views for name in view.feature_names]
    return {name: plainly(table[name]) for name in names}


def plainly(column: pa.ChunkedArray) -> list[Any]:
    """The values in the oracle's terms: instants as microseconds, maps as sorted pairs."""
    for instants, whole in ((INSTANT, pa.int64()), (pa.list_(INSTANT), pa.list_(pa.int64()))):
        column = column.cast(whole) if column.type == instants else column
    return column.to_pylist()


def wanted(rows: Rows) -> Iterator[tuple[str, str, list[Any]]]:
    """Each feature's name and operation, and the oracle's answers."""
    at_once = [{**row, "known": row["event"]} for row in rows.events]
    for view in views_of(tuple(rows.types)):
        events = rows.events if view.source == "late" else at_once
        delay = 15 * MINUTE if view.delay else 0
        for feature in view.features():
            op, parameter = {"median": ("quantile", (0.5,))}.get(feature.op, (feature.op, feature.parameter))
            max_age = {"window": 120 * MINUTE - delay} if view.latest and view.latest.max_age else {}
            ask = {
                "op": op,
                "input": feature.input,
                "order": ORDER,
                "parameter": parameter,
                "where": feature.where,
                "by": feature.by,
                "by_value": feature.by_value,
                "delay": delay,
                "inclusive": view.boundary == "inclusive",
                "ratio_to": feature.ratio_to and {"window": None, "rows": None, **WINDOWS[feature.ratio_to]},
                **(max_age if feature.op == "latest" else WINDOWS[feature.window or ""]),
            }
            yield feature.name, op, [plain.feature(events, *question, ask) for question in rows.questions]


def assert_every_feature_is_the_oracle_s(rows: Rows, got: dict[str, list[Any]]) -> None:
    """All of them are there, and each has the oracle's value for each question."""
    expected = list(wanted(rows))
    assert [name for name, *_ in expected] == list(got)
    for name, op, values in expected:
        for question, value, answer in zip(rows.questions, values, got[name], strict=True):
            assert same(answer, value, rounded=op in ROUNDED), (name, question, answer, value)


@pytest.mark.parametrize(("kind", "plan"), MATRIX, ids=[f"{kind}-{plan.__name__}" for kind, plan in MATRIX])
def test_every_plan_is_the_oracle_s(
    spark: Any, tmp_path: Path, request: pytest.FixtureRequest, kind: str, plan: Plan
) -> None:
    """Whoever scans, whatever is shuffled, sliced or pruned: each of some 600 features for each question."""
    if plan is moved:
        request.getfixturevalue("in_batches_of_three")
    rows = some_rows(kind)

    assert_every_feature_is_the_oracle_s(rows, answers(rows, plan, tmp_path, spark))


@pytest.mark.parametrize("plan", [by_spark, by_tasks, small])
@pytest.mark.parametrize(
    ("events", "questions"), [(0, 3), (4, 0), (1, 1)], ids=["no events", "no questions", "one"]
)
def test_empty_sides_and_single_rows(
    spark: Any, tmp_path: Path, plan: Plan, events: int, questions: int
) -> None:
    """No events give zero counts and nulls, no questions no rows, and one of each is enough."""
    some = some_rows("text")
    usable = [row for row in some.events if row["event"] is not None and row["key"] == ("a",)]
    asked = [(("a",), ERAS[0] + 400 * MINUTE), (("",), ERAS[1]), (("b",), ERAS[2])]
    rows = Rows(some.types, usable[:events], asked[:questions])

    assert_every_feature_is_the_oracle_s(rows, answers(rows, plan, tmp_path, spark))
