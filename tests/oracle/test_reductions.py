"""Features of hot entities are to the bit those of the whole, though slices hold tiles and few events."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from featurelib.point_in_time import blobs
from featurelib.point_in_time.buckets import features_of, with_features
from featurelib.point_in_time.features import Feature, KeyTask, SourceTask
from featurelib.point_in_time.placement import HotEntity, Instants, Placement
from featurelib.point_in_time.reach import longest_of
from featurelib.point_in_time.reduction_plans import Reducible
from featurelib.point_in_time.reductions import Tasks
from featurelib.timeline import Window

sys.path.insert(0, str(Path(__file__).parent))
from test_kernels import INSTANT, LISTS, ORDER, a_feature, as_tables, checked, keys, mostly, sources
from test_tiles import LONG, SUMS, spread

KEYS = ("k", "j")
ASKED = Instants(("as_of_ts",), 0)


def in_slices(
    spine: pa.Table, chunks: list[pa.Table], features: list[Feature], placement: Placement, *, length: int
) -> tuple[pa.Table, dict[int, dict[int, int]]]:
    """The spine with its features by way of packing and slices, and the rows of each tag in each bucket."""
    task = SourceTask(1, ORDER, tuple(features))
    reducible = Reducible.of(task, chunks[0].schema, KEYS)
    assert reducible is not None
    reduction = reducible.reduction(length=length, tag=2)
    instants = Instants(("event_ts", "known_ts"), longest_of(features))
    packed = [*blobs.packed(spine, placement=placement, instants=ASKED, tag=0)]
    for chunk in chunks:
        packed += reduction.packed(chunk, placement, instants)
    table = pa.Table.from_batches(packed)
    tasks = Tasks(KeyTask(KEYS, (task,)), placement, (reduction,))
    parts, rows = [], {}
    for bucket in range(placement.count):
        batches = table.filter(pa.array(np.array(table["bucket"]) == bucket)).to_batches()
        parts += with_features(batches, tasks.of(bucket), most_bytes=1 << 30)
        opened = blobs.unpacked(batches, KEYS, 1 << 30)
        rows[bucket] = {tag: found.num_rows for tag, found in opened.items()}
    return pa.concat_tables(parts), rows


def assert_equal(
    rows: list[dict[str, Any]], asked: list[Any], features: list[Feature], data: st.DataObject
) -> None:
    """However entities are cut, chunks fall and tiles are long, nothing differs from one pass over all."""
    spine, source = as_tables(rows, asked)
    source = source.filter(pa.compute.and_(source["event_ts"].is_valid(), source["known_ts"].is_valid()))
    spine = spine.append_column("id", pa.array(range(spine.num_rows)))
    cuts = st.lists(st.integers(-20, 320), min_size=1, max_size=6, unique=True).map(sorted).map(tuple)
    placement = Placement(KEYS, 2, (HotEntity(("a", 1), data.draw(cuts, label="cuts")), HotEntity(("b", 1))))
    at = data.draw(st.integers(0, source.num_rows), label="chunk")

    whole = features_of(spine, {1: source}, KeyTask(KEYS, (SourceTask(1, ORDER, tuple(features)),)))
    found, _ = in_slices(
        spine,
        [source.slice(0, at), source.slice(at)],
        features,
        placement,
        length=data.draw(st.sampled_from([1, 16, 80, 900]), label="length"),
    )

    found = found.sort_by("id")
    assert found["id"].to_pylist() == list(range(spine.num_rows))
    for feature in features:
        assert repr(found[feature.name].to_pylist()) == repr(whole[feature.name].to_pylist()), feature


questions = st.lists(st.tuples(keys, mostly(spread)), min_size=1, max_size=8)
MODIFIERS: tuple[dict[str, Any], ...] = (
    {},
    {"delay": 7},
    {"is_inclusive": True},
    {"where": "w", "delay": 3, "is_inclusive": True},
    {"by": "g", "by_value": "u"},
)


@checked
@given(sources(spread), questions, st.data())
def test_sums_in_slices_are_those_of_the_whole(
    rows: list[dict[str, Any]], asked: list[Any], data: st.DataObject
) -> None:
    """Counts, sums, means, extremes and variances of lifetimes and windows, with quantiles beside them."""
    features = [
        a_feature(op, column, window, **more)
        for column in ("x", "n")
        for op in SUMS
        for window in LONG
        for more in MODIFIERS
        if window.rows is None
    ]
    features += [a_feature("quantile", "x", window, parameter=(0.5,)) for window in LONG]
    features += [a_feature("count", "n", window, by="g") for window in LONG]
    assert_equal(rows, asked, features, data)


@checked
@given(sources(spread), questions, st.data())
def test_kept_events_in_slices_are_those_of_the_whole(
    rows: list[dict[str, Any]], asked: list[Any], data: st.DataObject
) -> None:
    """First, last, lists, extremes of texts, windows of n events; distinct values go on as they are."""
    features = [
        a_feature(op, column, window, **more)
        for column in ("x", "s", "d")
        for op in ("first", "last", "latest", "min", "max", "count_distinct")
        for window in LONG
        for more in ({}, {"delay": 7, "where": "w"})
        if (op, window.rows) == ("latest", None) or op != "latest"
    ]
    features += [a_feature(op, "x", window, parameter=(2,)) for op in LISTS for window in LONG]
    features += [
        a_feature(op, None, window) for op in ("time_since_first", "time_since_last") for window in LONG
    ]
    features += [a_feature(op, "n", Window(rows=3)) for op in (*SUMS, "mode")]
    assert_equal(rows, asked, features, data)


def test_the_last_slice_of_a_lifetime_holds_few_events() -> None:
    """Of 20,000 events a slice of a twentieth of the time gets its own, those where a window begins, and tiles."""
    dice = np.random.default_rng(3)
    events = np.sort(dice.integers(0, 2_000_000, 20_000))
    late = events + dice.choice([0, 0, 5, 3_000], 20_000)
    source = pa.table(
        {
            "k": ["a"] * 20_000,
            "j": np.ones(20_000, np.int64),
            "event_ts": pa.array(events).cast(INSTANT),
            "known_ts": pa.array(late).cast(INSTANT),
            "x": dice.normal(size=20_000),
            "n": dice.integers(0, 9, 20_000),
            "s": pa.array(["s"] * 20_000),
        }
    )
    asked = np.sort(dice.integers(0, 2_000_000, 500))
    spine = pa.table(
        {
            "k": ["a"] * 500,
            "j": np.ones(500, np.int64),
            "as_of_ts": pa.array(asked).cast(INSTANT),
            "id": range(500),
        }
    )
    features = [
        a_feature(op, "x", w) for op in ("sum", "stddev", "last") for w in (Window(), Window(500_000))
    ]
    placement = Placement(
        KEYS, 1, (HotEntity(("a", 1), tuple(range(100_000, 2_000_000, 100_000))),), 2_000_000
    )

    found, rows = in_slices(
        spine, [source.slice(0, 9_000), source.slice(9_000)], features, placement, length=100_000
    )

    whole = features_of(spine, {1: source}, KeyTask(KEYS, (SourceTask(1, ORDER, tuple(features)),)))
    assert found.sort_by("id")[features[0].name].to_pylist() == whole[features[0].name].to_pylist()
    assert max(slice_[1] for slice_ in rows.values() if slice_) < 3_000
    assert rows[20][2] < 700
