"""Features from tiles are to the bit those from all events, whatever the hop, the loads and the moments."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from featurelib.point_in_time.buckets import features_of
from featurelib.point_in_time.features import Feature, KeyTask, SourceTask
from featurelib.point_in_time.tile_specs import kept_of, state_of, tile_task, tiling_of
from featurelib.point_in_time.tiled import read_whole
from featurelib.point_in_time.tiles import tiles_of
from featurelib.timeline import Window

sys.path.insert(0, str(Path(__file__).parent))
from test_kernels import LISTS, ORDER, WINDOWS, a_feature, as_tables, instants, keys, mostly, sources

KEYS = ("k", "j")
SUMS = ("count", "sum", "mean", "min", "max", "variance", "stddev")
LONG: tuple[Window, ...] = (*WINDOWS, Window(40), Window(300))

spread = st.one_of(instants, st.integers(-400, 400))


def served(features: list[Feature], source: pa.Table) -> list[Feature]:
    """The features that tiles serve."""
    return [f for f in features if state_of(f, source.schema) is not None or kept_of(f) is not None]


def from_tiles(
    source: pa.Table,
    spine: pa.Table,
    features: list[Feature],
    *,
    hop: int,
    between: tuple[int, int],
    loads: int,
    keys: tuple[str, ...] = KEYS,
    order: tuple[str, ...] = ORDER,
) -> dict[str, pa.Array]:
    """The features from tiles of several loads, and the events of those tiles only that are seen in part."""
    task = tile_task(features, source.schema, keys=keys, order=order, hop=hop)
    each = max(1, -(-source.num_rows // loads))
    tiles = pa.concat_tables(
        [tiles_of(source.slice(at, each), task) for at in range(0, max(source.num_rows, 1), each)]
    )
    tiling = tiling_of(task, features, source.schema, tag=2, between=between)
    dated = source
    for instant in {"event_ts", "known_ts"} & set(source.column_names):
        dated = dated.filter(dated[instant].is_valid())
    rows = read_whole(dated, tiling)
    return features_of(
        spine, {1: rows, 2: tiles}, KeyTask(keys, (SourceTask(1, order, tuple(features), tiling),))
    )


def assert_equal(rows: list[dict[str, Any]], asked: list[Any], features: list[Feature], draw: Any) -> None:
    """Moments in a range that is asked for give the same features from tiles as from all events."""
    spine, source = as_tables(rows, asked)
    moments = [moment for _, moment in asked if moment is not None]
    between = (min(moments, default=0), max(moments, default=0) + 1)
    features = served(features, source)

    whole = features_of(spine, {1: source}, KeyTask(KEYS, (SourceTask(1, ORDER, tuple(features)),)))
    tiled = from_tiles(
        source,
        spine,
        features,
        hop=draw(st.sampled_from([1, 2, 5, 10, 60]), label="hop"),
        between=between,
        loads=draw(st.integers(1, 3), label="loads"),
    )

    for feature in features:
        assert tiled[feature.name].type == whole[feature.name].type
        assert repr(tiled[feature.name].to_pylist()) == repr(whole[feature.name].to_pylist()), feature


checked = settings(
    max_examples=60,
    phases=[Phase.explicit, Phase.generate],
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
# Moments of one short range, as when a day is built, or anywhere.
ranges = st.one_of(
    st.integers(-300, 300).flatmap(
        lambda at: st.lists(st.tuples(keys, mostly(st.integers(at, at + 12))), max_size=8)
    ),
    st.lists(st.tuples(keys, mostly(spread)), max_size=8),
)


@checked
@given(sources(spread), ranges, st.data())
def test_sums_from_tiles_are_those_from_events(
    rows: list[dict[str, Any]], asked: list[Any], data: st.DataObject
) -> None:
    """Counts, sums, means, extremes and variances, with infinities, delays, conditions and pivots."""
    modifiers: tuple[dict[str, Any], ...] = (
        {},
        {"delay": 7},
        {"is_inclusive": True},
        {"where": "w"},
        {"by": "g", "by_value": "u"},
        {"where": "w", "delay": 3, "is_inclusive": True},
    )
    features = [
        a_feature(op, column, window, **more)
        for column in ("x", "y", "n")
        for op in SUMS
        for window in LONG
        for more in modifiers
        if window.rows is None
    ]
    features += [a_feature("count", None, window) for window in LONG]
    features += [a_feature(op, "t", window) for op in ("min", "max") for window in LONG]
    features += [a_feature(op, "x", Window(10), Window(40)) for op in ("count", "sum", "mean")]
    assert_equal(rows, asked, features, data.draw)


@checked
@given(sources(spread), ranges, st.data())
def test_kept_events_stand_for_all(rows: list[dict[str, Any]], asked: list[Any], data: st.DataObject) -> None:
    """First, last, lists, distinct values, texts' extremes and windows of n events find the same events."""
    features = [
        a_feature(op, column, window, **more)
        for column in ("x", "s", "d", "t")
        for op in ("first", "last", "latest", "min", "max", "count_distinct")
        for window in LONG
        for more in ({}, {"delay": 7, "where": "w"}, {"is_inclusive": True})
        if (op, window.rows) == ("latest", None) or op != "latest"
    ]
    features += [
        a_feature(op, column, window, parameter=(2,))
        for op in LISTS
        for column in ("x", "s")
        for window in LONG
    ]
    features += [
        a_feature(op, None, window) for op in ("time_since_first", "time_since_last") for window in LONG
    ]
    features += [a_feature(op, "n", Window(rows=3)) for op in (*SUMS, "skewness", "trend", "mode", "entropy")]
    assert_equal(rows, asked, features, data.draw)
