"""Rows go to the buckets in which something can see them, and to no others."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from featurelib.point_in_time import blobs
from featurelib.point_in_time.buckets import features_of, with_features
from featurelib.point_in_time.features import Feature, KeyTask, SourceTask
from featurelib.point_in_time.placement import Instants, Placement, even_cuts
from featurelib.timeline import Window

INSTANT = pa.timestamp("us", tz="UTC")
ASKED = Instants(("as_of_ts",), 0)


def events(instants: list[int | None], key: str = "hot") -> pa.Table:
    """Events of one entity."""
    return pa.table({"k": [key] * len(instants), "event_ts": pa.array(instants, INSTANT)})


def slices_of(event: int, *, reach: int | None) -> list[int]:
    """The slices of ``[0, 40)``, ten microseconds each, that an event goes to."""
    placement = Placement(("k",), 3, (("hot",),), even_cuts(0, 40, 4))
    _, bucket = placement.of(events([event]), Instants(("event_ts",), reach))
    return (bucket - 3).tolist()


@pytest.mark.parametrize(
    ("event", "reach", "slices"),
    [
        (5, 2, [0]),
        (5, 4, [0]),
        (5, 5, [0, 1]),
        (5, None, [0, 1, 2, 3]),
        (-100, 5, [0]),
        (25, 2**63 - 2, [2, 3]),
        (50, 5, [3]),
    ],
)
def test_an_event_goes_to_the_slices_that_can_see_it(
    event: int, reach: int | None, slices: list[int]
) -> None:
    """From the slice of its own instant to that of the last moment its windows show it."""
    assert slices_of(event, reach=reach) == slices


def test_an_event_known_after_it_left_its_windows_goes_nowhere() -> None:
    """No moment sees it, so no bucket has to hold it."""
    placement = Placement(("k",), 3, (("hot",),), (10, 20))
    table = events([5]).append_column("known_ts", pa.array([25], INSTANT))

    rows, bucket = placement.of(table, Instants(("event_ts", "known_ts"), 4))

    assert (rows.tolist(), bucket.tolist()) == ([], [])


def test_only_hot_entities_are_cut() -> None:
    """Others stay where their hash puts them, nulls are spread."""
    table = pa.concat_tables([events([1, 2], "cold"), events([1, 30])])
    plain = Placement(("k",), 3).of(table, Instants(("event_ts",), 1))[1]

    rows, bucket = Placement(("k",), 3, (("hot",),), (10,)).of(table, Instants(("event_ts",), 1))

    assert rows.tolist() == [0, 1, 2, 3]
    assert bucket.tolist() == [*plain[:2], 3, 4]


def test_slices_have_the_features_of_the_whole_to_the_bit() -> None:
    """Windows, lifetimes and the newest event, with events known late, through packing and unpacking."""
    dice = np.random.default_rng(7)
    source = pa.table(
        {
            "k": dice.choice(["hot", "cold"], 200),
            "event_ts": pa.array(dice.integers(0, 1000, 200), INSTANT),
            "x": dice.normal(size=200),
        }
    )
    late = pa.array(dice.integers(0, 1200, 200), INSTANT)
    source = source.append_column("known_ts", late)
    spine = pa.table(
        {"k": dice.choice(["hot", "cold"], 80), "as_of_ts": pa.array(dice.integers(0, 1000, 80), INSTANT)}
    )
    for window in (50, None):
        features = tuple(
            Feature(op, "x", op, (Window(window),), pa.float64()) for op in ("sum", "min", "last")
        )
        task = KeyTask(("k",), (SourceTask(1, ("x",), features),))
        whole = spine
        for name, column in features_of(spine, {1: source}, task).items():
            whole = whole.append_column(name, column)

        placement = Placement(("k",), 2, (("hot",),), even_cuts(0, 1000, 5))
        packed = [
            *blobs.packed(spine, placement=placement, instants=ASKED, tag=0),
            *blobs.packed(
                source, placement=placement, instants=Instants(("event_ts", "known_ts"), window), tag=1
            ),
        ]
        table = pa.Table.from_batches(packed)
        parts = [
            part
            for number in range(placement.count)
            for part in with_features(
                table.filter(pa.array(np.array(table["bucket"]) == number)).to_batches(),
                task,
                most_bytes=1 << 30,
            )
        ]

        assert sorted(map(repr, whole.to_pylist())) == sorted(map(repr, pa.concat_tables(parts).to_pylist()))


def test_a_bucket_beyond_its_memory_is_refused_by_name() -> None:
    """The error names key, rows, the entity with most of them, and the setting to change."""
    spine = pa.table({"k": ["a", "b", "b"], "as_of_ts": pa.array([1, 2, 3], INSTANT)})
    packed = list(blobs.packed(spine, placement=Placement(("k",), 1), instants=ASKED, tag=0))

    with pytest.raises(MemoryError, match=r"of the 3 rows read of it, 2 are of k = 'b'") as refused:
        list(with_features(packed, KeyTask(("k",), ()), most_bytes=10))

    assert "Limits.hot" in str(refused.value)
    assert "Limits.buckets" in str(refused.value)
