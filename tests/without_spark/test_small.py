"""Small sources come to the spine: pieces of it are as short as their features are many."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
from pyarrow import parquet as pq

from featurelib.point_in_time.features import Feature, KeyTask, SourceTask
from featurelib.point_in_time.scans import FilePart, Reading
from featurelib.point_in_time.small import SmallKey, with_small_features
from featurelib.timeline import Window

INSTANT = pa.timestamp("us", tz="UTC")


def test_pieces_are_bounded_by_their_bytes_and_keep_rows_and_order(tmp_path: Path) -> None:
    """4,000 rows of a window's count and sum: four pieces of 1,000 have the rows of one, in their order."""
    events = pa.table({"k": [1, 1, 2], "event_ts": pa.array([5, 1500, 2500], INSTANT), "x": [1.0, 2.0, 4.0]})
    pq.write_table(events, tmp_path / "events.parquet")
    reading = Reading(events.schema, {name: name for name in events.schema.names})
    features = tuple(
        Feature(op, "x", op, (Window(2000),), kind)
        for op, kind in (("count", pa.int64()), ("sum", pa.float64()))
    )
    key = SmallKey(
        KeyTask(("k",), (SourceTask(1, (), features),)),
        {1: ((FilePart(str(tmp_path / "events.parquet")),), reading)},
    )
    spine = pa.table({"k": [1, 2, 3, None] * 1000, "as_of_ts": pa.array(range(4000), INSTANT)})

    (whole,) = with_small_features([spine], [key], piece_bytes=1 << 20)
    pieces = list(with_small_features([spine], [key], piece_bytes=32_000))

    assert [piece.num_rows for piece in pieces] == [1000] * 4
    assert pa.concat_tables(pieces).to_pylist() == whole.to_pylist()
    assert whole.select(["k", "as_of_ts"]).equals(spine)
    assert whole["sum"].to_pylist()[1600:1604] == [3.0, None, None, None]
    assert whole["sum"].to_pylist()[2600:2604] == [2.0, 4.0, None, None]
