"""Approximate operations are what their definition says, from events as from tiles, and close to the truth."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurelib.point_in_time import sampling
from featurelib.point_in_time.buckets import features_of
from featurelib.point_in_time.features import Feature, KeyTask, SourceTask
from featurelib.point_in_time.tile_specs import tile_task
from featurelib.point_in_time.tiles import tiles_of
from featurelib.timeline import Window

sys.path.insert(0, str(Path(__file__).parent))
import plain
from test_kernels import INSTANT, WINDOWS, a_feature, assert_equal_to_oracle, checked, questions, sources
from test_tiles import LONG, assert_equal, from_tiles, ranges, spread

MODIFIERS: tuple[dict[str, Any], ...] = ({}, {"delay": 2, "where": "w"}, {"is_inclusive": True})
COLUMNS = ("x", "n", "s", "d", "b", "t")


def approximate(windows: tuple[Window, ...], modifiers: tuple[dict[str, Any], ...]) -> list[Feature]:
    """Both operations, over every type that each takes."""
    return [
        a_feature(op, column, window, parameter=parameter, **more)
        for op, columns, parameter in (
            ("approx_count_distinct", COLUMNS, ()),
            ("approx_quantile", ("x", "n"), (0.3,)),
        )
        for column in columns
        for window in windows
        for more in modifiers
    ]


@contextmanager
def samples_of(size: int) -> Iterator[None]:
    """Samples so small that a handful of events is many."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampling, "SAMPLE", size)
        patch.setattr(plain, "SAMPLE", size)
        yield


@checked
@given(sources(st.integers(-3, 6)), questions(st.integers(0, 9)), st.integers(2, 3))
def test_samples_equal_the_oracle(rows: list[dict[str, Any]], asked: list[Any], size: int) -> None:
    """Both operations, of every type, with ties, copies, conditions, maps and windows of n events."""
    features = approximate(WINDOWS, (*MODIFIERS, {"by": "g"}, {"by": "g", "by_value": "u"}))
    with samples_of(size):
        assert_equal_to_oracle(rows, asked, features)


@checked
@given(sources(spread), ranges, st.integers(1, 3), st.data())
def test_samples_from_tiles_are_those_from_events(
    rows: list[dict[str, Any]], asked: list[Any], size: int, data: st.DataObject
) -> None:
    """Whatever the hop, the loads and the moments, and whatever else tiles keep."""
    features = [*approximate(LONG, MODIFIERS), *(a_feature("sum", "x", window) for window in LONG)]
    with samples_of(size):
        assert_equal(rows, asked, features, data.draw)


@pytest.mark.parametrize("size", [10_000, 100_000])
def test_the_guess_is_close(size: int) -> None:
    """Of 4,096 hashes: distinct counts and ranks lie within four standard errors of the truth."""
    events = events_of_one(np.arange(size) * 7919 % size)
    found = answers(events, features_named("approx_count_distinct", "approx_quantile"))

    assert found["approx_count_distinct"] == pytest.approx(size, rel=4 / np.sqrt(sampling.SAMPLE))
    assert found["approx_quantile"] / size == pytest.approx(0.9, abs=4 * np.sqrt(0.9 * 0.1 / sampling.SAMPLE))
    assert found["approx_count_distinct"] != size


@pytest.mark.parametrize("size", [4096, 300])
def test_few_are_answered_exactly(size: int) -> None:
    """Up to 4,096 values and events both operations are those without ``approx``."""
    found = answers(
        events_of_one(np.arange(size) * 7 % size),
        features_named("approx_count_distinct", "approx_quantile", "count_distinct", "quantile"),
    )

    assert found["approx_count_distinct"] == found["count_distinct"] == size
    assert found["approx_quantile"] == found["quantile"]


def test_a_tile_keeps_little_of_many_events() -> None:
    """Of 50,000 events with as many values a day the tiles keep a quarter at most, and answer the same."""
    source = events_of_one(np.arange(150_000) * 7919 % 150_000, day_of=50_000)
    features = features_named("approx_count_distinct", "approx_quantile")
    spine = question(5)
    kept = tiles_of(source, tile_task(features, source.schema, keys=("k",), order=(), hop=DAY))
    assert kept.num_rows == 3
    assert max(map(len, kept["_tile_kept"].to_pylist())) <= 12_500

    tiled = from_tiles(
        source, spine, features, hop=DAY, between=(5 * DAY, 5 * DAY + 1), loads=2, keys=("k",), order=()
    )

    assert {name: column.to_pylist() for name, column in tiled.items()} == {
        name: [value] for name, value in answers(source, features).items()
    }


def test_events_that_are_alike_are_drawn_together() -> None:
    """Ten thousand copies of one event are no reason to find none: the quantile is that of all."""
    source = events_of_one(np.full(10_000, 5), day_of=10**9)

    assert answers(source, features_named("approx_quantile"))["approx_quantile"] == 5.0


@pytest.mark.parametrize(
    ("values", "hashes"),
    [
        # The first is what splitmix64 gives first when seeded with 0, the second when seeded with 1.
        (pa.array([0, 1, -1]), [0xE220A8397B1DCDAF, 0x910A2DEC89025CC1, 16490336266968443936]),
        (pa.array([0.0, -0.0, 1.5]), [0xE220A8397B1DCDAF, 0xE220A8397B1DCDAF, 15481881892811333770]),
        (
            pa.array(["", "a", "nineteen characters"]),
            [0xE220A8397B1DCDAF, 6774081908283191102, 16475694382549616855],
        ),
        (pa.array([Decimal("1.50"), Decimal("-2.00")]), [9645384392556871996, 17833191937098757506]),
    ],
)
def test_hashes_never_change(values: pa.Array, hashes: list[int]) -> None:
    """Predictions are rebuilt from old records: these numbers must be the same in every version."""
    assert sampling.value_hashes(values).tolist() == hashes


DAY = 86_400_000_000


def features_named(*ops: str) -> list[Feature]:
    """A feature of all events for each operation, named by it."""
    return [
        Feature(
            op,
            "v",
            op,
            (Window(),),
            pa.float64() if "quantile" in op else pa.int64(),
            parameter=(0.9,) if "quantile" in op else (),
        )
        for op in ops
    ]


def events_of_one(values: np.ndarray, *, day_of: int = 1000) -> pa.Table:
    """Events of one entity, so many a day."""
    at = np.arange(len(values)) // day_of * DAY + np.arange(len(values)) % day_of * min(
        1, 10**9 // day_of - 1
    )
    instants = pa.array(at, pa.int64()).cast(INSTANT)
    return pa.table({"k": pa.array(np.zeros(len(values), np.int64)), "event_ts": instants, "v": values})


def question(day: int) -> pa.Table:
    """A question about the entity at the start of a day."""
    return pa.table({"k": [0], "as_of_ts": pa.array([day * DAY], pa.int64()).cast(INSTANT)})


def answers(source: pa.Table, features: list[Feature]) -> dict[str, Any]:
    """What is known when all is over."""
    task = KeyTask(("k",), (SourceTask(1, (), tuple(features)),))
    found = features_of(question(10_000), {1: source}, task)
    return {name: column[0].as_py() for name, column in found.items()}
