"""Statistics choose the physical plan, never the answer."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from featurelib.errors import FrameError
from featurelib.pipeline.scans import snapshot_scan
from featurelib.point_in_time import Hot, Limits, SnapshotScan, explain, features_as_of
from featurelib.specs import Aggregation, FeatureView, Latest
from featurelib.tables import DataFile, Snapshot, Store, snapshot

T0 = datetime(2013, 3, 10, 6, tzinfo=UTC)
VIEWS = (
    FeatureView(
        name="delays",
        entity_key=("origin", "carrier"),
        source="arrivals",
        aggregations=(
            Aggregation(input="delay", ops=("count", "mean", "last"), windows=("2h", "lifetime")),
            Aggregation(name="big", ops=("count",), windows=("2h",), where="seats > 100 AND day IS NOT NULL"),
        ),
    ),
    FeatureView(
        name="days",
        entity_key=("origin",),
        source="arrivals",
        latest=Latest(inputs=("day", "seats"), max_age="90m"),
    ),
)
SHUFFLED = Limits(buckets=3, broadcast_bytes=0)


def at(minutes: float) -> datetime:
    """An instant some minutes after the first."""
    return T0 + timedelta(minutes=minutes)


@pytest.fixture(scope="module")
def scans(spark: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, SnapshotScan]:
    """A spine and a partitioned source as Delta tables, with names that the views do not use."""
    dice = random.Random(7)
    arrivals = [
        (
            dice.choice(["JFK", "LGA", None]),
            dice.choice(["AA", "UA"]),
            at(dice.randrange(0, 300, 5)),
            at(dice.randrange(0, 500, 5)) if dice.random() < 0.9 else None,
            dice.choice([None, float("nan"), 1e12, dice.uniform(-20, 90)]),
            number,
            (T0 + timedelta(days=number % 3)).date(),
        )
        for number in range(300)
    ]
    spine = [
        (
            n,
            dice.choice(["JFK", "LGA", "EWR", None]),
            dice.choice(["AA", "UA"]),
            at(dice.randrange(-10, 600, 5)),
            [n],
        )
        for n in range(120)
    ]
    store = Store(str(tmp_path_factory.mktemp("plans")))
    frames = {
        "silver.arrivals": spark.createDataFrame(
            arrivals,
            "origin string, carrier string, landed timestamp, known timestamp, delay double, seats int, day date",
        ),
        "silver.spine": spark.createDataFrame(
            [*spine, (1, "JFK", "AA", None, None)],
            "id int, origin string, carrier string, as_of_ts timestamp, list array<int>",
        ),
    }
    scans = {}
    for name, frame in frames.items():
        writer = frame.repartition(2).write.format("delta")
        (writer.partitionBy("day") if "day" in frame.columns else writer).save(store.path(name))
        renamed = {"event_ts": "landed", "known_ts": "known"} if "day" in frame.columns else {}
        read = spark.read.format("delta").load(store.path(name))
        for new, old in renamed.items():
            read = read.withColumnRenamed(old, new)
        scans[name.split(".")[1]] = snapshot_scan(snapshot(store, name, 0), read, renamed=renamed)
    return scans


def rows_of(frame: Any) -> list[str]:
    """Rows to the bit, order taken away."""
    return sorted(map(repr, frame.collect()))


def plan_of(frame: Any, capsys: pytest.CaptureFixture[str]) -> str:
    """The physical plan as text."""
    frame.explain()
    return capsys.readouterr().out


def test_every_plan_gives_the_same_bits(scans: dict[str, SnapshotScan]) -> None:
    """Spark's scan, the tasks' scan, the shuffle, small sources and time slices agree, in any mixture."""
    spine, source = scans["spine"], scans["arrivals"]
    wanted = rows_of(features_as_of(spine.frame, VIEWS, {"arrivals": source.frame}, limits=SHUFFLED))

    assert len(wanted) == 121
    sliced = replace(SHUFFLED, hot=(Hot(("origin",), (("JFK",), ("LGA",)), slices=3),))
    for asked, limits in ((spine, SHUFFLED), (spine, sliced), (spine, Limits()), (spine.frame, Limits())):
        got = features_as_of(asked, VIEWS, {"arrivals": source}, limits=limits)

        assert wanted == rows_of(got)


def test_a_key_of_small_sources_costs_no_shuffle(
    scans: dict[str, SnapshotScan], capsys: pytest.CaptureFixture[str]
) -> None:
    """The number of exchanges is that of the keys that are shuffled; there is never a sort or a join."""
    spine, sources = scans["spine"], {"arrivals": scans["arrivals"]}

    none = plan_of(features_as_of(spine, VIEWS, sources), capsys)
    both = plan_of(features_as_of(spine, VIEWS, sources, limits=SHUFFLED), capsys)

    assert (none.count("Exchange"), none.count("Sort"), none.count("Join")) == (0, 0, 0)
    assert (both.count("Exchange"), both.count("Sort"), both.count("Join")) == (2, 0, 0)
    assert explain(spine, VIEWS, sources).shuffles == 0
    assert explain(spine, VIEWS, sources, limits=SHUFFLED).shuffles == 2


def test_small_sources_are_not_gone_through_again_and_again(scans: dict[str, SnapshotScan]) -> None:
    """A spine of many short pieces is shuffled: 121 rows in nine pieces would read 300 events nine times."""
    spine, sources = scans["spine"], {"arrivals": scans["arrivals"]}

    (few,) = explain(spine, VIEWS[1:], sources, limits=Limits(bucket_bytes=8_000)).keys
    (many,) = explain(spine, VIEWS[1:], sources, limits=Limits(bucket_bytes=1_500, find_hot=False)).keys

    assert not few.shuffled
    assert many.shuffled
    assert many.why == "9 pieces of the spine would each go through 300 events (features: 2)"


def test_files_that_no_window_reaches_are_not_read(scans: dict[str, SnapshotScan]) -> None:
    """The moments of a snapshot's spine are in its statistics, and prune the source's files."""
    far = {"as_of_ts": T0 + timedelta(days=400)}
    later = replace(
        scans["spine"],
        files=tuple(replace(file, minimum=far, maximum=far) for file in scans["spine"].files),
    )

    explained = explain(later, VIEWS[1:], {"arrivals": scans["arrivals"]})

    assert explained.keys[0].sources[0].files == 0


def test_explain_says_who_scans_what_and_why(scans: dict[str, SnapshotScan]) -> None:
    """Rows, bytes, buckets and the reason for each choice, in words."""
    why = "its files hold rows that are deleted (deletion vectors)"
    blocked = replace(scans["arrivals"], blocked=why)

    text = str(
        explain(
            scans["spine"], VIEWS, {"arrivals": blocked}, limits=Limits(bucket_bytes=10_000, find_hot=False)
        )
    )

    source = f"  arrivals: scanned by Spark: {why}; 6 files, 300 rows, about 23.4 KiB in memory"
    assert text.splitlines() == [
        "spine: read by the tasks from its Parquet files; 2 files, 121 rows",
        "key origin, carrier: one shuffle (arrivals scanned by Spark); views delays",
        source,
        "key origin: one shuffle (arrivals scanned by Spark); views days",
        source,
        "2 shuffles of the spine, no join, no sort",
        "5 buckets (41.9 KiB by bucket_bytes 9.8 KiB), about 8.4 KiB each",
    ]


def test_a_where_that_only_spark_evaluates_is_left_to_it(scans: dict[str, SnapshotScan]) -> None:
    """The explanation names the function; other conditions are evaluated by the tasks."""
    hard = Aggregation(name="x", ops=("count",), windows=("2h",), where="initcap(origin) = 'Jfk'")
    view = VIEWS[0].model_copy(update={"aggregations": (hard,)})

    text = str(explain(scans["spine"], [view], {"arrivals": scans["arrivals"]}))

    assert "scanned by Spark: \"initcap(origin) = 'Jfk'\" needs Spark: the function initcap" in text


def test_time_slices_need_the_moments_of_the_spine(scans: dict[str, SnapshotScan]) -> None:
    """A frame does not tell them without being run; they are printed where they are used."""
    limits = replace(SHUFFLED, hot=(Hot(("origin",), (("JFK",),), slices=3),))
    sources = {"arrivals": scans["arrivals"]}

    said = str(explain(scans["spine"], VIEWS, sources, limits=limits))
    assert "  hot entity origin = 'JFK', as given: 3 time slices, a bucket each" in said
    even = explain(scans["spine"], VIEWS, sources, limits=replace(limits, find_hot=False))
    assert [hot.slices for key in even.keys for hot in key.hot] == [3]
    with pytest.raises(FrameError, match="give between"):
        explain(scans["spine"].frame, VIEWS, sources, limits=limits)


def test_a_version_that_files_alone_do_not_tell_is_scanned_by_spark(
    scans: dict[str, SnapshotScan], capsys: pytest.CaptureFixture[str]
) -> None:
    """Deletion vectors, mapped names and stores of unknown reach leave the reading to Spark."""
    frame, files = scans["arrivals"].frame, tuple(DataFile("/f", {}, 1, 1, {}, {}) for _ in range(1))
    plain = Snapshot("t", 0, files, "", (), deletion_vectors=False, column_mapping=False)
    remote = replace(plain, files=(replace(files[0], path="s3a://bucket/f"),))
    hard = [replace(plain, deletion_vectors=True), replace(plain, column_mapping=True), remote]

    reasons = [snapshot_scan(version, frame).blocked for version in hard]
    blocked = replace(scans["arrivals"], blocked=reasons[0])
    text = plan_of(features_as_of(scans["spine"], VIEWS[1:], {"arrivals": blocked}), capsys)

    assert [reason.split("(")[-1] for reason in reasons if reason] == [
        "deletion vectors)",
        "column mapping)",
        "whether workers can open s3a:// by themselves is not known",
    ]
    assert snapshot_scan(plain, frame).blocked is None
    assert text.count("FileScan parquet") == 1
