"""Hot entities are found in the files of snapshots, and slicing them changes no bit of an answer."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet as pq
from pyspark.sql import functions as F

from featurelib.point_in_time import Hot, Limits, SnapshotFile, SnapshotScan, explain, features_as_of
from featurelib.point_in_time.inputs import Scan
from featurelib.point_in_time.samples import sample_of
from featurelib.specs import Aggregation, FeatureView, Latest

T0 = datetime(2013, 3, 10, tzinfo=UTC)
INSTANT = pa.timestamp("us", tz="UTC")
VIEWS = (
    FeatureView(
        name="windows",
        entity_key=("k",),
        source="events",
        aggregations=(
            Aggregation(input="x", ops=("sum", "mean", "min", "last"), windows=("3h", "lifetime")),
            Aggregation(
                name="big", input="n", ops=("count_distinct", "mode"), windows=("1d",), where="n > 2"
            ),
            Aggregation(input="n", ops=("last_k",), k=3, windows=("last 5",)),
        ),
    ),
    FeatureView(
        name="newest", entity_key=("k",), source="facts", latest=Latest(inputs=("n",), max_age="20h")
    ),
)
LIMITS = Limits(buckets=4, broadcast_bytes=0, bucket_bytes=8_000)


def scanned(spark: Any, folder: Path, table: pa.Table, *, files: int = 3) -> SnapshotScan:
    """The rows as files with three row groups each."""
    folder.mkdir()
    share = -(-table.num_rows // files)
    found = []
    for number in range(files):
        path, part = folder / f"{number}.parquet", table.slice(number * share, share)
        pq.write_table(part, path, row_group_size=-(-part.num_rows // 3))
        found.append(SnapshotFile(str(path), path.stat().st_size, part.num_rows))
    return SnapshotScan(spark.read.parquet(f"file://{folder}"), tuple(found))


@pytest.fixture(scope="module")
def inputs(spark: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, SnapshotScan]:
    """Two thirds of all rows are of two of fifty keys; most of one lie in the last of four days."""
    root, dice = tmp_path_factory.mktemp("hot"), random.Random(7)

    def key() -> str | None:
        drawn = dice.random()
        return "jfk" if drawn < 0.4 else "lga" if drawn < 0.66 else dice.choice([*map(str, range(50)), None])

    def moment(of: str | None) -> datetime:
        hours = dice.uniform(72, 96) if of == "jfk" and dice.random() < 0.8 else dice.uniform(0, 96)
        return T0 + timedelta(minutes=round(hours * 60) // 5 * 5)

    def rows(number: int) -> pa.Table:
        keys = [key() for _ in range(number)]
        instants = [moment(of) for of in keys]
        late = [at + timedelta(hours=dice.choice([0, 0, 1, 30])) for at in instants]
        return pa.table(
            {
                "k": keys,
                "event_ts": pa.array(instants, INSTANT),
                "known_ts": pa.array(late, INSTANT),
                "x": [dice.choice([None, 1e15, dice.uniform(-1, 1)]) for _ in keys],
                "n": pa.array([dice.randrange(9) for _ in keys], pa.int32()),
            }
        )

    asked = [key() for _ in range(600)]
    spine = pa.table(
        {"k": asked, "as_of_ts": pa.array([moment(of) for of in asked], INSTANT), "id": range(600)}
    )
    return {
        "spine": scanned(spark, root / "spine", spine),
        "events": scanned(spark, root / "events", rows(900)),
        "facts": scanned(spark, root / "facts", rows(300)),
    }


def rows_of(frame: Any) -> list[str]:
    """Rows to the bit, order taken away."""
    return sorted(map(repr, frame.collect()))


def test_found_entities_are_sliced_and_the_answer_is_the_same_to_the_bit(
    inputs: dict[str, SnapshotScan],
) -> None:
    """Known late, in short windows, in lifetimes and among the newest: by one bucket, by four, and in slices."""
    spine, sources = inputs["spine"], {name: inputs[name] for name in ("events", "facts")}
    whole = Limits(buckets=1, broadcast_bytes=0, find_hot=False)

    wanted = rows_of(features_as_of(spine, VIEWS, sources, limits=whole))
    hot = explain(spine, VIEWS, sources, limits=LIMITS).keys[0].hot

    assert len(wanted) == 600
    assert [(one.entity, one.slices > 1) for one in hot] == [({"k": "jfk"}, True), ({"k": "lga"}, True)]
    for limits in (LIMITS, replace(LIMITS, find_hot=False), replace(LIMITS, buckets=16)):
        assert rows_of(features_as_of(spine, VIEWS, sources, limits=limits)) == wanted


def test_lifetimes_in_slices_are_those_of_one_bucket(inputs: dict[str, SnapshotScan]) -> None:
    """Tiles stand for what is old; the answer is that of one bucket."""
    ops = ("count", "sum", "stddev", "max", "last", "time_since_first")
    view = FeatureView(
        name="ever",
        entity_key=("k",),
        source="events",
        aggregations=(Aggregation(input="x", ops=ops, windows=("lifetime", "30h")),),
    )
    hot = Hot(("k",), (("jfk",), ("lga",)), slices=8)
    fine = Limits(buckets=4, broadcast_bytes=0, hot=(hot,))
    spine, sources = inputs["spine"], {"events": inputs["events"]}

    (key,) = explain(spine, [view], sources, limits=fine).keys
    wanted = rows_of(
        features_as_of(spine, [view], sources, limits=Limits(buckets=1, broadcast_bytes=0, find_hot=False))
    )

    assert [one.slices for one in key.hot] == [8, 8]
    assert list(key.reduced) == ["events"]
    assert rows_of(features_as_of(spine, [view], sources, limits=fine)) == wanted


def test_slices_and_hashed_buckets_meet_at_the_next_key(inputs: dict[str, SnapshotScan]) -> None:
    """The rows of both go on to another shuffle, whatever the order in which each computed its features."""
    ops = Aggregation(input="x", ops=("last", "sum"), windows=("lifetime",))
    ranked = Aggregation(input="x", ops=("median",), windows=("1h",))
    by_key = FeatureView(name="ever", entity_key=("k",), source="events", aggregations=(ranked, ops))
    by_id = FeatureView(name="other", entity_key=("id",), source="ids", aggregations=(ops,))
    rows = inputs["events"].frame.withColumn("id", F.col("n").cast("long"))
    sources = {"events": inputs["events"], "ids": rows}
    hot = Hot(("k",), (("jfk",),), slices=4)
    sliced = Limits(buckets=3, broadcast_bytes=0, hot=(hot,))

    for views in ((by_key, by_id), (by_id, by_key)):
        (first,) = [
            key for key in explain(inputs["spine"], views, sources, limits=sliced).keys if key.keys == ("k",)
        ]
        found = rows_of(features_as_of(inputs["spine"], views, sources, limits=sliced))
        whole = Limits(buckets=1, broadcast_bytes=0, find_hot=False)

        assert list(first.reduced) == ["events"]
        assert found == rows_of(features_as_of(inputs["spine"], views, sources, limits=whole))


def test_explain_says_how_hot_entities_were_found(inputs: dict[str, SnapshotScan]) -> None:
    """Entity, estimated share, rows of the sample, slices, and what slicing costs."""
    spine, sources = inputs["spine"], {name: inputs[name] for name in ("events", "facts")}

    text = str(explain(spine, VIEWS, sources, limits=LIMITS))

    lines = [line for line in text.splitlines() if "hot entity" in line or "slices get" in line]
    found = "of all bytes in a sample of 1,793 rows"
    assert lines == [
        f"  hot entity k = 'jfk', about 41% {found}: 3 time slices, a bucket each; an event goes to 1.4 of them",
        f"  hot entity k = 'lga', about 27% {found}: 2 time slices, a bucket each; an event goes to 1.1 of them",
        "  of events their slices get tiles of 1:13:45, and events where a window begins",
    ]


def test_an_entity_of_the_source_alone_is_found_where_the_spine_is_a_frame(
    inputs: dict[str, SnapshotScan],
) -> None:
    """The frame is not run for it, and nothing is read where the caller says so."""
    spine, sources = inputs["spine"].frame, {name: inputs[name] for name in ("events", "facts")}

    found = explain(spine, VIEWS, sources, limits=LIMITS).keys[0].hot
    none = explain(spine, VIEWS, sources, limits=replace(LIMITS, find_hot=False)).keys[0].hot

    assert {one.entity["k"] for one in found} == {"jfk", "lga"}
    assert none == ()


def test_a_small_shuffle_is_not_sampled(inputs: dict[str, SnapshotScan]) -> None:
    """With buckets of 256 MiB no entity of these rows could keep a worker busy."""
    limits = Limits(broadcast_bytes=0)

    explained = explain(inputs["spine"], VIEWS[:1], {"events": inputs["events"]}, limits=limits)

    assert explained.keys[0].shuffled
    assert explained.keys[0].hot == ()


def test_a_sample_takes_rows_from_all_files_and_is_the_same_each_time(
    inputs: dict[str, SnapshotScan],
) -> None:
    """Some rows of each row group of each file, bounded; none with a null key."""
    scan = Scan(inputs["events"], ("k", "event_ts"))

    sample = sample_of(scan, ("k", "event_ts"), rows=160)

    assert sample is not None
    assert 80 <= sample.num_rows <= 160
    assert sample["k"].null_count == 0
    assert sample.equals(sample_of(scan, ("k", "event_ts"), rows=160))
    whole = sample_of(scan, ("k",), rows=1_000_000)
    assert whole is not None
    assert whole.num_rows == inputs["events"].frame.where("k IS NOT NULL").count()
