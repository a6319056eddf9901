"""Tasks read of their files what is wanted and nothing else, whatever the writer did."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet as pq

from featurelib.errors import FrameError
from featurelib.expressions.on_polars import polars_expression
from featurelib.point_in_time.ordering import Line, in_order
from featurelib.point_in_time.scans import FilePart, Preparation, Reading, batches_of
from featurelib.point_in_time.snapshots import SnapshotFile, slices

INSTANT = pa.timestamp("us", tz="UTC")
SCHEMA = pa.schema([("k", pa.string()), ("event_ts", INSTANT), ("x", pa.int64())])


def reading(schema: pa.Schema = SCHEMA, **bounds: object) -> Reading:
    """All columns under their own names, rows with null key or instant left out."""
    return Reading(
        schema, {name: name for name in schema.names}, "event_ts", required=("k", "event_ts"), **bounds
    )


def rows(path: Path, read: Reading, *, number: int = 0, parts: int = 1, **partition: object) -> list[tuple]:
    """The rows that one task reads."""
    batches = batches_of([FilePart(str(path), partition, number, parts)], read)
    return [tuple(row.values()) for row in pa.Table.from_batches(batches, read.schema).to_pylist()]


def instant(micros: int) -> datetime:
    """The moment of microseconds since 1970."""
    return datetime.fromtimestamp(micros / 1e6, UTC)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """Six events in three row groups; one lacks its key, one its instant."""
    table = pa.table(
        {
            "k": pa.array(["a", None, "a", "b", "b", "b"]),
            "event_ts": pa.array([1, 2, 3, None, 5, 6], INSTANT),
            "x": pa.array([1, 2, 3, 4, None, 6]),
        }
    )
    pq.write_table(table, tmp_path / "events.parquet", row_group_size=2)
    return tmp_path / "events.parquet"


def test_rows_are_kept_and_columns_computed_in_the_task(written: Path) -> None:
    """A where over a column that is not asked for, a column made of others, one under another name."""
    types = {"k": "string", "event_ts": "timestamp_utc", "x": "long"}
    prepared = Preparation(
        where=polars_expression("x <> 3", types),
        columns={
            "double_x": polars_expression("x * 2", types),
            "unused": polars_expression("1 / x", types),
            "known_ts": polars_expression("event_ts + INTERVAL 1 SECOND", types, gives="timestamp_utc"),
        },
        stored=SCHEMA,
    )
    wanted = pa.schema([("key", pa.string()), ("known_ts", INSTANT), ("double_x", pa.int64())])
    read = Reading(wanted, {"key": "k"}, preparation=prepared.only(wanted.names))

    assert read.read.names == ["k", "event_ts", "x"]
    assert rows(written, read) == [
        ("a", instant(1_000_001), 2),
        (None, instant(1_000_002), 4),
        ("b", None, 8),
        ("b", instant(1_000_006), 12),
    ]


def test_a_row_that_spark_would_refuse_is_refused_in_the_task(written: Path) -> None:
    """A division by zero is an error, not infinity."""
    types = {"x": "long"}
    prepared = Preparation(None, {"y": polars_expression("1 / (x - 1)", types)}, SCHEMA)
    read = Reading(pa.schema([("y", pa.float64())]), {}, preparation=prepared.only(["y"]))

    with pytest.raises(FrameError, match="division by zero in"):
        rows(written, read)


def test_rows_without_key_or_instant_belong_to_nobody(written: Path) -> None:
    """Nulls in required columns drop the row; nulls elsewhere stay."""
    got = rows(written, reading())

    assert got == [
        ("a", instant(1), 1),
        ("a", instant(3), 3),
        ("b", instant(5), None),
        ("b", instant(6), 6),
    ]


@pytest.mark.parametrize(
    ("since", "until", "kept"),
    [(None, None, [1, 3, 5, 6]), (3, None, [3, 5, 6]), (3, 6, [3, 5]), (7, None, []), (None, 1, [])],
)
def test_bounds_are_half_open(written: Path, since: int | None, until: int | None, kept: list[int]) -> None:
    """``since`` is the first instant wanted, ``until`` the first that is not."""
    got = rows(written, reading(since=since, until=until))

    assert [instant(micros) for micros in kept] == [row[1] for row in got]


def test_parts_of_a_file_are_its_row_groups_each_once(written: Path) -> None:
    """Two, three or seven readers of one file together read every row once."""
    for parts in (2, 3, 7):
        got = [row for number in range(parts) for row in rows(written, reading(), number=number, parts=parts)]

        assert rows(written, reading()) == got


def test_instants_written_as_int96_are_read_to_the_microsecond(tmp_path: Path) -> None:
    """Spark's default of old, which holds the year 2500 too."""
    far = datetime(2500, 1, 1, 0, 0, 0, 7, UTC)
    table = pa.table({"k": ["a"], "event_ts": pa.array([far], INSTANT), "x": [1]})
    pq.write_table(table, tmp_path / "old.parquet", use_deprecated_int96_timestamps=True)

    assert rows(tmp_path / "old.parquet", reading(since=0)) == [("a", far, 1)]


def test_partition_values_and_new_columns_are_filled_in(written: Path) -> None:
    """A partition column is constant, a column younger than the file null, a type wider than in the file."""
    schema = pa.schema([*SCHEMA, ("day", pa.date32()), ("young", pa.string())]).set(
        2, pa.field("x", pa.float64())
    )

    got = rows(written, reading(schema, until=2), day=date(2013, 1, 1))

    assert got == [("a", instant(1), 1.0, date(2013, 1, 1), None)]


def test_a_log_that_cuts_to_milliseconds_loses_no_row() -> None:
    """The greatest instant is up to a millisecond later than the log says."""
    cut = datetime(2013, 1, 1, 0, 0, 0, 5000, UTC)
    file = SnapshotFile("f", 1, maximum={"event_ts": cut}, minimum={"event_ts": cut})
    micros = 1_356_998_400_005_000

    assert not reading(since=micros + 999).excludes(*file.bounds("event_ts"))
    assert reading(since=micros + 1001).excludes(*file.bounds("event_ts"))
    assert not reading(since=0).excludes(*file.bounds("other"))


def test_files_are_dealt_out_evenly_and_completely() -> None:
    """Large files are cut, small ones gathered; every share of every file has one reader."""
    files = [SnapshotFile("large", 200 << 20), *[SnapshotFile(f"small{n}", 1 << 20) for n in range(100)]]

    dealt = slices(files, 2)

    parts = [part for share in dealt for part in share]
    assert sorted(part.number for part in parts if part.path == "large") == [0, 1, 2]
    assert len({(part.path, part.number) for part in parts}) == len(parts) == 103
    assert 4 <= len(dealt) <= 7
    assert slices([], 4) == []


def test_small_files_of_much_work_are_dealt_out_to_all_cores() -> None:
    """A file of 1 MiB of which 500 features make 1 GiB is no small task, and of which they make 64 MiB it is."""
    files = [SnapshotFile(f"/f{number}", 1 << 20) for number in range(4)]

    assert len(slices(files, 2)) == 1
    assert len(slices(files, 2, makes=1 << 30)) == 2
    assert len(slices(files, 8, makes=1 << 30)) == 8
    assert len(slices(files, 8, makes=64 << 20)) == 1


def test_a_line_of_any_span_keeps_the_order() -> None:
    """Entities times span beyond 64 bits fall back to ranks, with the same answers."""
    import numpy as np

    entity = np.array([0, 0, 1, 1])
    for far in (10, 2**62):
        moments = np.array([-far, far, -far, far])
        line = Line(moments, 2)
        places = line.exact(entity, moments)

        assert (np.diff(places) > 0).all()
        asked = np.array([-far - 1, -far, 0, far + 1])
        first = np.searchsorted(places, line.at_or_before(np.ones(4, int), asked), side="right")
        assert first.tolist() == [2, 3, 3, 4]


def test_rows_of_one_instant_are_told_apart_nulls_first() -> None:
    """Only rows that tie are compared by further columns."""
    import numpy as np
    import polars as pl

    further = pl.DataFrame({"x": [2.0, None, float("nan"), 1.0, 0.0]})
    order = in_order(np.zeros(5, np.int64), np.array([7, 7, 7, 7, 1]), lambda rows: further[rows])

    assert order.tolist() == [4, 1, 3, 0, 2]
