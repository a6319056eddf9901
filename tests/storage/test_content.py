"""The content hash sees every bit of the rows, and nothing but the rows."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from pyspark.sql import functions as F

from featurelib.errors import FrameError
from featurelib.tables import content_hash

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SCHEMA = "a string, b string, x double, t timestamp, l array<int>, m map<string,int>, _run_id string"
ROW: dict[str, Any] = {
    "a": "p",
    "b": "q",
    "x": 0.1,
    "t": datetime(2013, 1, 1, tzinfo=UTC),
    "l": [1, None],
    "m": {"u": 1, "v": 2},
    "_run_id": "one",
}
CHANGES: dict[str, dict[str, Any]] = {
    "one bit of a double": {"x": math.nextafter(0.1, 1)},
    "swapped columns": {"a": "q", "b": "p"},
    "null in the other column": {"a": None},
    "null in this column": {"b": None, "a": "q"},
    "empty, not null": {"a": ""},
    "zero": {"x": 0.0},
    "negative zero": {"x": -0.0},
    "not a number": {"x": math.nan},
    "no double": {"x": None},
    "a microsecond": {"t": datetime(2013, 1, 1, 0, 0, 0, 1, tzinfo=UTC)},
    "where the null stands in a list": {"l": [None, 1]},
    "an empty list": {"l": []},
    "no list": {"l": None},
    "a map's value": {"m": {"u": 1, "v": 3}},
    "an empty map": {"m": {}},
}


def test_every_difference_counts(spark: SparkSession) -> None:
    """Each change of one value gives another hash, all different from each other; so does a repeated row."""
    rows = [("original", ROW), *((name, {**ROW, **change}) for name, change in CHANGES.items())]
    hashes = {
        name: content_hash(spark.createDataFrame([row], SCHEMA).coalesce(1), exclude=["_run_id"])
        for name, row in rows
    }
    hashes["twice"] = content_hash(spark.createDataFrame([ROW, ROW], SCHEMA), exclude=["_run_id"])
    assert len(set(hashes.values())) == len(CHANGES) + 2
    assert {count for count, _ in hashes.values()} == {1, 2}


def test_order_and_identity_do_not_count(spark: SparkSession) -> None:
    """Rows and columns in any order, on any partitions, with any run id: the same hash."""
    rows = [{**ROW, "x": float(number), "_run_id": str(number)} for number in range(20)]
    frame = spark.createDataFrame(rows, SCHEMA)
    other = spark.createDataFrame([{**row, "_run_id": "two"} for row in reversed(rows)], SCHEMA)
    shuffled = other.select(*reversed(other.columns)).repartition(3, F.col("x"))
    assert content_hash(frame, exclude=["_run_id"]) == content_hash(shuffled, exclude=["_run_id"])
    assert content_hash(frame) != content_hash(shuffled)


def test_what_cannot_be_hashed_is_refused(spark: SparkSession) -> None:
    """Unknown columns to exclude, nothing left, and maps inside other values."""
    frame = spark.createDataFrame([], "a string, l array<map<string,int>>")
    with pytest.raises(FrameError, match="leave out of the hash: typo"):
        content_hash(frame, exclude=["typo"])
    with pytest.raises(FrameError, match="leave out"):
        content_hash(frame, exclude=["a", "l"])
    with pytest.raises(FrameError, match="'l' holds a map"):
        content_hash(frame)
    assert content_hash(frame, exclude=["l"])[0] == 0
