"""The kernels agree with the plain-Python oracle on everything Hypothesis can think of, without Spark."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from featurelib.point_in_time import exact_sums
from featurelib.point_in_time.buckets import Feature, KeyTask, SourceTask, features_of

sys.path.insert(0, str(Path(__file__).parent))
import plain

INSTANT = pa.timestamp("us", tz="UTC")
OPS = ("count", "sum", "mean", "min", "max", "stddev", "last", "latest")
WINDOWS = (1, 3, 10, None)

instants = st.one_of(st.integers(-6, 14), st.sampled_from([-(2**62), 2**62, -62_135_596_800_000_000]))
doubles = st.one_of(
    st.none(),
    st.sampled_from([0.0, 1.5, -2.0, 0.1, 1e16, -1e17, 1e-9, math.nan, math.inf, -math.inf]),
    st.floats(-1e6, 1e6),
)
keys = st.tuples(st.one_of(st.none(), st.sampled_from(["a", "b"])), st.one_of(st.none(), st.integers(1, 2)))
events = st.lists(
    st.fixed_dictionaries(
        {
            "key": keys,
            "event": st.one_of(st.none(), instants),
            "late": st.one_of(st.none(), st.integers(-3, 12)),
            "x": doubles,
            "n": st.one_of(st.none(), st.integers(-5, 5)),
        }
    ),
    max_size=14,
)
questions = st.lists(st.tuples(keys, st.one_of(st.none(), instants)), max_size=8)


def as_tables(rows: list[dict[str, Any]], asked: list[tuple[Any, Any]]) -> tuple[pa.Table, pa.Table]:
    """Return spine and source as the engine gets them."""
    spine = pa.table(
        {
            "k": pa.array([key[0] for key, _ in asked], pa.string()),
            "j": pa.array([key[1] for key, _ in asked], pa.int64()),
            "as_of_ts": pa.array([moment for _, moment in asked], INSTANT),
        }
    )
    source = pa.table(
        {
            "k": pa.array([row["key"][0] for row in rows], pa.string()),
            "j": pa.array([row["key"][1] for row in rows], pa.int64()),
            "event_ts": pa.array([row["event"] for row in rows], INSTANT),
            "known_ts": pa.array([row["known"] for row in rows], INSTANT),
            "x": pa.array([row["x"] for row in rows], pa.float64(), from_pandas=False),
            "n": pa.array([row["n"] for row in rows], pa.int64()),
        }
    )
    return spine, source


def same(got: Any, wanted: Any, scale: float) -> bool:
    """Equal to the bit for what is exact; a stddev to 1e-12 of the values it came from."""
    if isinstance(wanted, float) and math.isnan(wanted):
        return isinstance(got, float) and math.isnan(got)
    if got is None or wanted is None or scale == 0.0:
        return bool(got is wanted or got == wanted)
    return abs(got - wanted) <= scale


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(events, questions)
def test_every_operation_and_window_equals_the_oracle(
    rows: list[dict[str, Any]], asked: list[tuple[Any, Any]]
) -> None:
    """Whatever the ties, nulls, infinities and lateness, every feature is what the definition says."""
    for row in rows:
        late, event = row["late"], row["event"]
        row["known"] = (
            None if late is None or event is None else max(-(2**63) + 1, min(event + late, 2**63 - 1))
        )
    features = [
        Feature(f"{column}_{op}_{window}", column, op, window, _type(column, op))
        for column in ("x", "n")
        for op in OPS
        for window in WINDOWS
    ]
    task = KeyTask(("k", "j"), (SourceTask(1, ("x", "n"), tuple(features)),))
    spine, source = as_tables(rows, asked)

    got = features_of(spine, {1: source}, task)

    for feature in features:
        ask = {"op": feature.op, "input": feature.input, "window": feature.window, "order": ("x", "n")}
        wanted = [plain.feature(rows, key, moment, ask) for key, moment in asked]
        values = got[feature.name].to_pylist()
        scale = 1e-12 * max([abs(v) for row in rows if (v := row["x"]) and math.isfinite(v)], default=1.0)
        tolerance = scale if feature.op == "stddev" else 0.0
        for value, expected in zip(values, wanted, strict=True):
            assert same(value, expected, tolerance), (feature, value, expected)


def _type(column: str, op: str) -> pa.DataType:
    if op == "count":
        return pa.int64()
    if op in {"mean", "stddev"}:
        return pa.float64()
    return pa.float64() if column == "x" else pa.int64()


def test_a_value_that_left_the_window_leaves_no_trace() -> None:
    """After 1e17 left the window, the sum of the small values is exact."""
    values = np.array([1e17, 0.1, 0.2, 0.3])
    starts, ends = np.array([0, 1, 1, 2]), np.array([1, 3, 3, 3])

    sums = exact_sums.range_sums(values, starts, ends, 3)

    assert [1e17, 0.1 + 0.2, math.fsum([0.1, 0.2, 0.3])] == sums.high.tolist()


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False, width=64, min_value=-1e300, max_value=1e300))
)
def test_a_sum_is_the_double_nearest_to_the_true_sum(values: list[float]) -> None:
    """Exact accumulation rounds once, as math.fsum does, in any order."""
    one = np.zeros(len(values), dtype=np.int64)

    forward = exact_sums.range_sums(np.array(values), one, one + 1, 1).high[0]
    backward = exact_sums.range_sums(np.array(values[::-1]), one, one + 1, 1).high[0]

    assert math.fsum(values) == forward == backward


def test_an_integer_sum_beyond_64_bits_is_refused() -> None:
    """A sum that does not fit is an error, never a wrapped number."""
    from featurelib.point_in_time import kernels

    values = np.array([2**62, 2**62], dtype=np.int64)
    runs = kernels.WindowRuns(np.zeros(2, np.int64), np.ones(2, np.int64), 1)
    try:
        kernels.integer_sum(runs, values)
    except OverflowError as error:
        assert "exceeds 64 bits" in str(error)  # noqa: PT017 - the message is the fact
    else:
        raise AssertionError("no error")
