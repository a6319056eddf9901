"""Entities with too many rows for a bucket are found in samples, and cut so that each slice has as much to do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from featurelib.point_in_time import hot as hot_entities
from featurelib.point_in_time.hot import MOST_COPIES, Sampled, Sliced, cut_evenly
from featurelib.point_in_time.placement import HotEntity, Instants, slices_of

INSTANT = pa.timestamp("us", tz="UTC")
ASKED = Instants(("as_of_ts",), 0)


def found_in(*inputs: Any, bucket: int, least: int) -> tuple[Sliced, ...]:
    """The hot entities alone."""
    return hot_entities.found_in(*inputs, bucket=bucket, least=least).entities


def asked(keys: list[str | int], moments: list[int], *, memory: int) -> Sampled:
    """Rows of a spine."""
    return Sampled(pa.table({"k": keys, "as_of_ts": pa.array(moments, INSTANT)}), ASKED, memory)


def seen(keys: list[str], instants: list[int], *, memory: int, reach: int | None = 10) -> Sampled:
    """Events of a source."""
    table = pa.table({"k": keys, "event_ts": pa.array(instants, INSTANT)})
    return Sampled(table, Instants(("event_ts",), reach), memory)


def test_the_share_of_an_entity_is_of_the_bytes_of_all_inputs() -> None:
    """A third of a spine of 900 bytes and all of a source of 100 make 40%; others are below half a bucket."""
    spine = asked(["a", "b", "c"] * 10, list(range(30)), memory=900)
    events = seen(["a"] * 4, [1, 2, 3, 4], memory=100)

    (found,) = found_in(spine, [events], ["k"], bucket=700, least=0)

    assert found.hot.entity == ("a",)
    assert found.share == pytest.approx(0.4)
    assert found.sampled == 34


def test_only_more_than_half_of_an_even_bucket_is_hot() -> None:
    """Half is not; and nothing below the least is, whatever the bucket."""
    spine = asked(["a"] * 3 + ["b"] * 2 + ["c"] * 5, list(range(10)), memory=1000)

    def hot(bucket: int, least: int = 0) -> list[str]:
        return [one.hot.entity[0] for one in found_in(spine, [], ["k"], bucket=bucket, least=least)]

    assert hot(1000) == []
    assert hot(998) == ["c"]
    assert hot(400) == ["c", "a"]
    assert hot(100) == ["c", "a", "b"]
    assert hot(100, least=300) == ["c"]


def test_an_entity_that_fits_a_bucket_has_one_of_its_own() -> None:
    """One slice copies nothing."""
    spine = asked(["a"] * 6 + ["b"] * 4, list(range(10)), memory=1000)

    slices = [one.hot.slices for one in found_in(spine, [], ["k"], bucket=600, least=0)]

    assert slices == [1, 1]


def test_cuts_follow_the_moments_of_the_entity() -> None:
    """Nine in ten of its moments are in the last tenth of the time, and so are the cuts; equal ones stay whole."""
    moments = [*range(0, 900, 90), *range(910, 1000)]

    a, b = cut_evenly(
        [("a",), ("b",)], asked(["a"] * 100 + ["b"] * 2, [*moments, 5, 5], memory=1), ["k"], slices=4
    )

    counts = np.bincount(slices_of([np.array(moments)], a.hot.cuts, 0)[0])
    assert len(a.hot.cuts) == 3
    assert counts.max() - counts.min() <= 2
    assert b.hot == HotEntity(("b",))


def test_a_lifetime_is_not_copied_without_bound() -> None:
    """Every later slice needs an event: there are no more slices than let it be copied three times on average."""
    moments = list(range(1000))
    spine, events = (
        asked(["a"] * 1000, moments, memory=100),
        seen(["a"] * 1000, moments, memory=900, reach=None),
    )

    (found,) = found_in(spine, [events], ["k"], bucket=20, least=0)

    assert found.copies is not None
    assert 2 < found.copies <= MOST_COPIES
    assert found.hot.slices == 5


def test_short_windows_are_cut_into_as_many_slices_as_fit_their_buckets() -> None:
    """Copies at the cuts take room too: a slice with its copies fits a bucket."""
    moments = list(range(1000))
    spine, events = (
        asked(["a"] * 1000, moments, memory=100),
        seen(["a"] * 1000, moments, memory=900, reach=50),
    )

    (found,) = found_in(spine, [events], ["k"], bucket=100, least=0)

    first, last = slices_of([np.array(moments)], found.hot.cuts, 50)
    rows = [((first <= slice_) & (slice_ <= last)).sum() for slice_ in range(found.hot.slices)]
    assert 16 < found.hot.slices < 20
    assert max(rows) * 0.9 + 100 / found.hot.slices <= 103


def test_events_alone_tell_hot_entities_where_the_spine_is_a_frame() -> None:
    """Cuts are then quantiles of the events."""
    (found,) = found_in(
        None, [seen(["a"] * 100, list(range(100)), memory=100, reach=1)], ["k"], bucket=50, least=0
    )

    assert found.hot.cuts[0] in range(30, 53)


def test_keys_of_several_columns_and_types_are_told_apart() -> None:
    """A value keeps its type on the way from the sample to the buckets."""
    rows = pa.table(
        {
            "k": pa.array([2**60, 2**60, 2**60 + 1] * 4),
            "day": pa.array([1, 2, 1] * 4, pa.date32()),
            "as_of_ts": pa.array(range(12), INSTANT),
        }
    )

    found = found_in(Sampled(rows, ASKED, 120), [], ["k", "day"], bucket=40, least=0)

    assert [(one.hot.entity[0], one.hot.entity[1].day, one.share) for one in found] == [
        (2**60, 2, pytest.approx(1 / 3)),
        (2**60, 3, pytest.approx(1 / 3)),
        (2**60 + 1, 2, pytest.approx(1 / 3)),
    ]
