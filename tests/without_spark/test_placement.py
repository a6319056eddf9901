"""Rows go to the buckets in which something can see them, and to no others."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from featurelib.point_in_time import blobs
from featurelib.point_in_time.buckets import features_of, with_features
from featurelib.point_in_time.features import Feature, KeyTask, SourceTask
from featurelib.point_in_time.placement import HotEntity, Instants, Placement, even_cuts
from featurelib.timeline import Window

INSTANT = pa.timestamp("us", tz="UTC")
ASKED = Instants(("as_of_ts",), 0)


def events(instants: list[int | None], key: str = "hot") -> pa.Table:
    """Events of one entity."""
    return pa.table({"k": [key] * len(instants), "event_ts": pa.array(instants, INSTANT)})


def slices_of(event: int, *, reach: int | None) -> list[int]:
    """The slices of ``[0, 40)``, ten microseconds each, that an event goes to."""
    placement = Placement(("k",), 3, (HotEntity(("hot",), even_cuts(0, 40, 4)),))
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
    placement = Placement(("k",), 3, (HotEntity(("hot",), (10, 20)),))
    table = events([5]).append_column("known_ts", pa.array([25], INSTANT))

    rows, bucket = placement.of(table, Instants(("event_ts", "known_ts"), 4))

    assert (rows.tolist(), bucket.tolist()) == ([], [])


def test_only_hot_entities_are_cut() -> None:
    """Others stay where their hash puts them, nulls are spread."""
    table = pa.concat_tables([events([1, 2], "cold"), events([1, 30])])
    plain = Placement(("k",), 3).of(table, Instants(("event_ts",), 1))[1]

    rows, bucket = Placement(("k",), 3, (HotEntity(("hot",), (10,)),)).of(table, Instants(("event_ts",), 1))

    assert rows.tolist() == [0, 1, 2, 3]
    assert bucket.tolist() == [*plain[:2], 3, 4]


def test_each_hot_entity_has_cuts_of_its_own() -> None:
    """The buckets of one follow those of the other; an entity without cuts has one bucket to itself."""
    table = pa.concat_tables([events([5, 15, 25], key) for key in ("a", "b", "c")])
    hot = HotEntity(("b",), (10,)), HotEntity(("c",)), HotEntity(("a",), (12, 20))

    placement = Placement(("k",), 4, hot)
    _, bucket = placement.of(table, Instants(("event_ts",), 0))

    assert bucket.tolist() == [7, 8, 9, 4, 5, 5, 6, 6, 6]
    assert placement.count == 10


def test_the_bucket_of_a_row_does_not_depend_on_its_place() -> None:
    """A repeated task may read rows in another order: nulls in the key too go by the row's content alone."""
    table = pa.table(
        {
            "k": pa.array(["a", None, None, None, None, "b"]),
            "as_of_ts": pa.array([1, 2, 3, 4, None, 6], INSTANT),
            "list": pa.array([[1], None, [], [2], [3], [4]]),
        }
    )
    order = [4, 0, 3, 5, 1, 2]
    placement = Placement(("k",), 1000)

    _, first = placement.of(table, ASKED)
    _, again = placement.of(table.take(order), ASKED)

    assert again.tolist() == first[order].tolist()
    assert len(set(first.tolist())) == 6


def test_copies_do_not_make_a_batch_larger_than_its_table() -> None:
    """A lifetime's events go to many slices; they are written piece by piece, each row once in each bucket."""
    table = events(list(range(40)))
    placement = Placement(("k",), 1, (HotEntity(("hot",), even_cuts(0, 40, 8)),))

    batches = list(blobs.packed(table, placement=placement, instants=Instants(("event_ts",), None), tag=1))

    opened = [
        (bucket, blobs.unpacked([batch.slice(at, 1)], ["k"], 1 << 20)[1].num_rows)
        for batch in batches
        for at, bucket in enumerate(batch.column("bucket").to_pylist())
    ]
    assert opened == [(1 + slice_, 5 * (slice_ + 1)) for slice_ in range(8)]
    assert len(batches) == 6


def test_slices_have_the_features_of_the_whole_to_the_bit() -> None:
    """Windows, lifetimes and the newest event, with events known late, through packing and unpacking."""
    dice = np.random.default_rng(7)
    source = pa.table(
        {
            "k": dice.choice(["hot", "cold", "warm", "one"], 200),
            "event_ts": pa.array(dice.integers(0, 1000, 200), INSTANT),
            "x": dice.normal(size=200),
        }
    )
    late = pa.array(dice.integers(0, 1200, 200), INSTANT)
    source = source.append_column("known_ts", late)
    spine = pa.table(
        {
            "k": dice.choice(["hot", "cold", "warm", "one"], 80),
            "as_of_ts": pa.array(dice.integers(0, 1000, 80), INSTANT),
        }
    )
    for window in (50, None):
        features = tuple(
            Feature(op, "x", op, (Window(window),), pa.float64()) for op in ("sum", "min", "last")
        )
        task = KeyTask(("k",), (SourceTask(1, ("x",), features),))
        whole = spine
        for name, column in features_of(spine, {1: source}, task).items():
            whole = whole.append_column(name, column)

        hot = HotEntity(("hot",), even_cuts(0, 1000, 5)), HotEntity(("warm",), (300,)), HotEntity(("one",))
        placement = Placement(("k",), 2, hot)
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

        assert sorted(map(repr, whole.to_pylist())) == sorted(
            map(repr, pa.concat_tables(parts).select(whole.column_names).to_pylist())
        )


def test_a_bucket_beyond_its_memory_is_refused_by_name() -> None:
    """The error names key, rows, the entity with most of them, and the setting to change."""
    spine = pa.table({"k": ["a", "b", "b"], "as_of_ts": pa.array([1, 2, 3], INSTANT)})
    packed = list(blobs.packed(spine, placement=Placement(("k",), 1), instants=ASKED, tag=0))

    with pytest.raises(MemoryError, match=r"of the 3 rows read of it, 2 are of k = 'b'") as refused:
        list(with_features(packed, KeyTask(("k",), ()), most_bytes=10))

    assert "Limits.hot" in str(refused.value)
    assert "Limits.buckets" in str(refused.value)
