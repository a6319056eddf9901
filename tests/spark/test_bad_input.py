"""What does not fit is refused before anything runs, naming what was given, expected and to do."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet as pq

from featurelib.errors import FrameError
from featurelib.point_in_time import Limits, SnapshotFile, SnapshotScan, features_as_of
from featurelib.specs import Aggregation, FeatureView

SPINE = "k string, as_of_ts timestamp"
SOURCE = "k string, event_ts timestamp, x double"
T0 = datetime(2020, 1, 1, tzinfo=UTC)


def a_view(*keys: str, **aggregation: Any) -> FeatureView:
    """One aggregation over a day; a count unless it says otherwise."""
    wanted = Aggregation.model_validate({"ops": ("count",), "windows": ("1d",), **aggregation})
    return FeatureView(name="v", entity_key=keys or ("k",), source="s", aggregations=(wanted,))


def as_snapshot(frame: Any) -> SnapshotScan:
    """The same rows as an input whose (no) files tasks would read."""
    return SnapshotScan(frame, ())


@pytest.mark.parametrize("given", [lambda frame: frame, as_snapshot], ids=["frames", "snapshots"])
@pytest.mark.parametrize(
    ("spine", "source", "message"),
    [
        ("k string", SOURCE, "no column 'as_of_ts' in spine"),
        ("j string, as_of_ts timestamp", SOURCE, "no column 'k' in spine"),
        (SPINE, "k string, event_ts timestamp", "no column 'x' in source 's'"),
        (SPINE, "k string, happened timestamp, x double", "no column 'event_ts' in source 's'"),
        ("k string, as_of_ts string", SOURCE, r"(?s)is string.*say its zone"),
        ("k string, as_of_ts bigint", SOURCE, r"(?s)is bigint.*no unit"),
        ("k string, as_of_ts date", SOURCE, r"(?s)is date.*which moment of the day"),
        ("k string, as_of_ts timestamp_ntz", SOURCE, r"(?s)is timestamp_ntz.*to_utc_timestamp"),
        (SPINE, "k string, event_ts timestamp_ntz, x double", "'event_ts' of source 's' is timestamp_ntz"),
        (SPINE, f"{SOURCE}, known_ts string", "'known_ts' of source 's' is string"),
        ("k int, as_of_ts timestamp", SOURCE.replace("k string", "k long"), "'k' is bigint .* int in the"),
        (
            "k decimal(10,2), as_of_ts timestamp",
            SOURCE.replace("k string", "k decimal(10,3)"),
            r"decimal\(10,3\) in source 's', decimal\(10,2\) in the spine",
        ),
        ("k double, as_of_ts timestamp", SOURCE.replace("k string", "k double"), "key 'k' is double"),
        ("k array<int>, as_of_ts timestamp", SOURCE.replace("k string", "k array<int>"), "key 'k' is array"),
        (f"{SPINE}, a int, A int", SOURCE, "columns 'a' and 'A' of spine"),
        (f"{SPINE}, V__X_COUNT_1d int", SOURCE, "'v__x_count_1d' exists already: 'V__X_COUNT_1d' of the spine"),
        (SPINE, f"{SOURCE}, X int", "columns 'x' and 'X' of source 's'"),
    ],
)  # fmt: skip
def test_frames_and_snapshots_that_do_not_fit(
    frame: Any, given: Any, spine: str, source: str, message: str
) -> None:
    """Missing columns, types that are no instant or no key, and names that Spark takes as one."""
    with pytest.raises(FrameError, match=message):
        features_as_of(given(frame([], spine)), [a_view(input="x")], {"s": given(frame([], source))})


def test_two_views_with_one_feature_are_refused(frame: Any) -> None:
    """Views of one name would give one column twice."""
    views = [a_view(input="x"), a_view(input="x")]
    with pytest.raises(FrameError, match="'v__x_count_1d' exists already: 'v__x_count_1d' of view 'v'"):
        features_as_of(frame([], SPINE), views, {"s": frame([], SOURCE)})


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"tie_breakers": {"s": ["y"]}}, "no column 'y' in source 's', its tie breakers"),
        ({"between": (datetime(2020, 1, 1), datetime(2020, 1, 2))}, "no time zone"),  # noqa: DTZ001 - the fault
        ({"between": (T0, T0)}, "between"),
        ({"limits": Limits(buckets=0)}, "buckets=0"),
    ],
)
def test_arguments_that_do_not_fit(frame: Any, more: dict[str, Any], message: str) -> None:
    """Unknown tie breakers, bounds without a zone or the wrong way round, no bucket."""
    with pytest.raises(FrameError, match=message):
        features_as_of(frame([], SPINE), [a_view(input="x", ops=("last",))], {"s": frame([], SOURCE)}, **more)


def test_what_is_no_frame_of_stored_rows_is_refused(spark: Any, frame: Any) -> None:
    """A pandas frame has to be made a Spark frame first; a stream has no end."""
    source = frame([], SOURCE)
    with pytest.raises(FrameError, match=r"(?s)spine is a pandas.*createDataFrame"):
        features_as_of(frame([], SPINE).toPandas(), [a_view()], {"s": source})
    stream = spark.readStream.format("rate").load().selectExpr("'a' AS k", "timestamp AS event_ts")
    with pytest.raises(FrameError, match="source 's' is a stream"):
        features_as_of(frame([], SPINE), [a_view()], {"s": stream})


def test_texts_that_compare_by_a_collation_are_refused(frame: Any) -> None:
    """The engine compares texts by their bytes: 'a' and 'A' would not meet as they do in Spark."""
    spine = frame([], SPINE).selectExpr("collate(k, 'UTF8_LCASE') AS k", "as_of_ts")
    source = frame([], SOURCE).selectExpr("collate(k, 'UTF8_LCASE') AS k", "event_ts", "x")
    with pytest.raises(FrameError, match="UTF8_LCASE"):
        features_as_of(spine, [a_view()], {"s": source})


def test_names_of_the_engine_s_own_columns_are_refused(frame: Any) -> None:
    """A column of the source named as a condition's would be taken for it."""
    source = frame([], f"{SOURCE}, __where_0 int")
    view = a_view(input="__where_0", ops=("sum",), where="x > 1", name="big")
    with pytest.raises(FrameError, match="'__where_0' of source 's'"):
        features_as_of(frame([], SPINE), [view], {"s": source})


# --- time zones -----------------------------------------------------------------------------------------


@pytest.fixture
def in_new_york(spark: Any) -> Iterator[None]:
    """A session whose clock is not UTC."""
    spark.conf.set("spark.sql.session.timeZone", "America/New_York")
    yield
    spark.conf.set("spark.sql.session.timeZone", "UTC")


def micros(minutes: int) -> int:
    """Microseconds since 1970, some minutes before the question."""
    return int((T0 - timedelta(minutes=minutes)).timestamp()) * 1_000_000


@pytest.fixture
def zoned(spark: Any, tmp_path: Path) -> SnapshotScan:
    """One source in four files: instants of UTC, of another zone, without zone, and as INT96."""
    kinds = [pa.timestamp("us", "UTC"), pa.timestamp("ms", "Asia/Tokyo"), pa.timestamp("us")]
    paths = []
    for number, kind in enumerate([*kinds, kinds[0]]):
        path = tmp_path / f"{number}.parquet"
        values = [micros(10 * number), micros(10 * number + 1)]
        column = pa.array(values, pa.int64()).cast(pa.timestamp("us")).cast(kind)
        instants = {"event_ts": column, "when": column}
        table = pa.table({"k": ["a"] * 2, **instants, "x": [1.0 * number] * 2})
        pq.write_table(table, path, use_deprecated_int96_timestamps=number == 3)
        paths.append(path)
    frame = spark.read.schema(f"{SOURCE}, when timestamp").parquet(str(tmp_path))
    return SnapshotScan(frame, tuple(SnapshotFile(str(path), path.stat().st_size) for path in paths))


def answers(frame: Any) -> list[Any]:
    """The features of the one question."""
    (row,) = frame.selectExpr("*", "unix_micros(v__when_max_1d) AS latest").drop("v__when_max_1d").collect()
    return list(row)[2:]


WHEN = FeatureView(
    name="v",
    entity_key=("k",),
    source="s",
    aggregations=(
        Aggregation(input="x", ops=("last_k", "sum"), k=8, windows=("15m", "1d")),
        Aggregation(ops=("time_since_first",), windows=("1d",)),
        Aggregation(input="when", ops=("max",), windows=("1d",)),
    ),
)


def scanned_every_way(spine: Any, view: FeatureView, source: SnapshotScan) -> list[list[Any]]:
    """The answers with the source read by Spark, by shuffling tasks, and whole by every task."""
    small, shuffled = Limits(), Limits(broadcast_bytes=0)
    ways = [(source.frame, small), (source, shuffled), (source, small)]
    return [
        answers(features_as_of(spine, [view], {"s": way}, limits=limits, between=(T0, T0 + timedelta(1))))
        for way, limits in ways
    ]


def test_instants_of_any_zone_and_none_are_one_instant(frame: Any, zoned: SnapshotScan) -> None:
    """Files that write instants in UTC, in another zone, as INT96, or without a zone (taken as UTC) agree."""
    spine = frame([("a", T0)], SPINE)
    last = [0.0, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0]
    wanted = [last[:3], last, 2.0, 12.0, 31 * 60.0, micros(1)]

    assert scanned_every_way(spine, WHEN, zoned) == [wanted] * 3


def test_the_session_s_time_zone_changes_nothing(
    frame: Any, zoned: SnapshotScan, spark: Any, in_new_york: None
) -> None:
    """In a session of New York every scan gives what it gives in UTC."""
    spine = frame([("a", T0)], SPINE)

    abroad = scanned_every_way(spine, WHEN, zoned)
    spark.conf.set("spark.sql.session.timeZone", "UTC")

    assert abroad == scanned_every_way(spine, WHEN, zoned)


def test_instants_as_keys_meet_in_any_session(frame: Any, zoned: SnapshotScan, in_new_york: None) -> None:
    """A key that is an instant is found whoever scans the two sides."""
    keyed = SnapshotScan(zoned.frame, zoned.files)
    spine = frame([(T0 - timedelta(minutes=20), T0)], "when timestamp, as_of_ts timestamp")
    for source, limits in ((keyed, Limits()), (keyed, Limits(broadcast_bytes=0)), (keyed.frame, Limits())):
        got = features_as_of(spine, [a_view("when", input="x", ops=("sum",))], {"s": source}, limits=limits)

        assert [row.v__x_sum_1d for row in got.collect()] == [2.0]


def test_clock_times_in_a_where_need_a_utc_session(
    frame: Any, zoned: SnapshotScan, in_new_york: None
) -> None:
    """Spark would read ``hour(event_ts)`` in New York; tasks read it in UTC, and what has no clock is free."""
    spine = frame([("a", T0)], SPINE)
    view = a_view(where="hour(event_ts) = 23", name="night")

    with pytest.raises(FrameError, match=r"(?s)hour\(event_ts\).*America/New_York.*timeZone"):
        features_as_of(spine, [view], {"s": zoned.frame})
    by_tasks = features_as_of(spine, [view], {"s": zoned}).collect()
    plain = features_as_of(spine, [a_view(where="x > 1", name="big")], {"s": zoned.frame}).collect()

    assert [by_tasks[0][2], plain[0][2]] == [7, 4]


# --- files that are not what the table says ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (pa.array(["2019-12-31T23:00:00Z"]), "'event_ts' is string in .*expected: timestamp"),
        (pa.array([micros(60)], pa.int64()), "'event_ts' is int64 in .*expected: timestamp"),
    ],
)
def test_a_file_with_another_type_than_its_table_is_refused(
    spark: Any, frame: Any, tmp_path: Path, column: pa.Array, said: str
) -> None:
    """Texts and numbers are never guessed to be instants by the tasks; Spark refuses such files too."""
    path = tmp_path / "odd.parquet"
    pq.write_table(pa.table({"k": ["a"], "event_ts": column, "x": [1.0]}), path)
    rows = spark.read.schema(SOURCE).parquet(str(path))
    source = SnapshotScan(rows, (SnapshotFile(str(path), path.stat().st_size),))
    with pytest.raises(Exception, match=rf"(?s){said}.*rewrite the file"):
        features_as_of(frame([("a", T0)], SPINE), [a_view(input="x")], {"s": source}).collect()
    with pytest.raises(Exception, match=r"(?i)cannot|convert|incompatible|unsupported"):
        rows.collect()


def test_names_in_files_are_found_as_spark_finds_them(spark: Any, frame: Any, tmp_path: Path) -> None:
    """``X`` in the file is ``x`` of the table, not a column that the file lacks."""
    path = tmp_path / "upper.parquet"
    instant = pa.array([micros(60)], pa.timestamp("us", "UTC"))
    pq.write_table(pa.table({"K": ["a"], "EVENT_TS": instant, "X": [5.0]}), path)
    rows = spark.read.schema(SOURCE).parquet(str(path))
    source = SnapshotScan(rows, (SnapshotFile(str(path), path.stat().st_size),))
    view = a_view(input="x", ops=("sum",))

    got = [
        features_as_of(frame([("a", T0)], SPINE), [view], {"s": way}).collect()[0][2]
        for way in (rows, source)
    ]

    assert got == [5.0, 5.0]
