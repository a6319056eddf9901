"""The kernels agree with the plain-Python oracle on everything Hypothesis can think of, without Spark."""

from __future__ import annotations

import math
import sys
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from featurelib.point_in_time import decimals, exact_sums
from featurelib.point_in_time.buckets import features_of
from featurelib.point_in_time.features import Feature, KeyTask, SourceTask
from featurelib.timeline import Window

sys.path.insert(0, str(Path(__file__).parent))
import plain
from alike import ROUNDED, same

INSTANT = pa.timestamp("us", tz="UTC")
WHOLE, DOUBLE, TEXT = pa.int64(), pa.float64(), pa.string()
TYPES = {
    "x": DOUBLE,
    "y": DOUBLE,
    "n": WHOLE,
    "s": TEXT,
    "d": pa.decimal128(20, 2),
    "b": pa.bool_(),
    "t": INSTANT,
    "l": pa.list_(WHOLE),
}
ORDER = ("x", "n", "s")
WINDOWS: tuple[Window, ...] = (Window(1), Window(3), Window(10), Window(), Window(rows=1), Window(rows=3))
NUMBERS = ("sum", "mean", "min", "max", "variance", "stddev")
LISTS = ("first_k", "last_k", "top_k", "bottom_k")
near = st.integers(-6, 14)
instants = st.one_of(near, near, near, st.sampled_from([-(2**62), 2**62, -62_135_596_800_000_000]))
sevenths = st.integers(-400, 400).map(lambda n: n / 7)
doubles = st.one_of(
    st.sampled_from([0.0, -0.0, 1.5, -2.0, 0.1, 1e16, -1e17, 1e-9, math.nan, math.inf, -math.inf]),
    st.floats(-1e6, 1e6),
)
# Mostly one entity and mostly values, so that windows hold several events.
keys = st.sampled_from([("a", 1)] * 5 + [("b", 1), ("a", 2), (None, 1), ("a", None)])


def mostly(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """The values, and a null now and then."""
    return st.one_of(values, values, values, st.none())


def sources(moments: st.SearchStrategy[int]) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Events that happened at such moments, each known some time later or, for a correction, before."""
    fields = {
        "key": keys,
        "event": mostly(moments),
        "late": mostly(st.one_of(st.just(0), st.integers(-3, 12))),
        "x": mostly(doubles),
        "y": mostly(st.one_of(sevenths, sevenths, st.sampled_from([1e9, math.inf]))),
        "n": mostly(st.integers(-5, 5)),
        "s": st.sampled_from([None, "", "a", "b", "aa", "ä", "\U0001f600"]),
        "d": mostly(st.integers(-(10**17), 10**17).map(lambda n: Decimal(n).scaleb(-2))),
        "b": st.sampled_from([None, True, False]),
        "t": mostly(near),
        "w": st.sampled_from([None, True, True, False]),
        "g": st.sampled_from([None, "u", "v", "V"]),
    }
    return st.lists(st.fixed_dictionaries(fields).map(_known), min_size=1, max_size=16)


def _known(row: dict[str, Any]) -> dict[str, Any]:
    late, event = row.pop("late"), row["event"]
    known = None if late is None or event is None else max(-(2**63) + 1, min(event + late, 2**63 - 1))
    return row | {"known": known, "l": None if row["n"] is None else [row["n"], 1]}


def questions(moments: st.SearchStrategy[int]) -> st.SearchStrategy[list[Any]]:
    """Keys and moments, some of them null."""
    return st.lists(st.tuples(keys, mostly(moments)), max_size=8)


def as_tables(rows: list[dict[str, Any]], asked: list[tuple[Any, Any]]) -> tuple[pa.Table, pa.Table]:
    """Return spine and source as the engine gets them."""
    spine = pa.table(
        {
            "k": pa.array([key[0] for key, _ in asked], TEXT),
            "j": pa.array([key[1] for key, _ in asked], WHOLE),
            "as_of_ts": pa.array([moment for _, moment in asked], INSTANT),
        }
    )
    source = pa.table(
        {
            "k": pa.array([row["key"][0] for row in rows], TEXT),
            "j": pa.array([row["key"][1] for row in rows], WHOLE),
            "event_ts": pa.array([row["event"] for row in rows], INSTANT),
            "known_ts": pa.array([row["known"] for row in rows], INSTANT),
            "w": pa.array([row["w"] for row in rows], pa.bool_()),
            "g": pa.array([row["g"] for row in rows], TEXT),
            **{
                name: pa.array([row[name] for row in rows], kind, from_pandas=False)
                for name, kind in TYPES.items()
            },
        }
    )
    return spine, source


def a_feature(op: str, column: str | None, *windows: Window, **more: Any) -> Feature:
    """A feature with a name of its own and the type its operation gives."""
    kind = _type(op, TYPES[column] if column else WHOLE)
    if len(windows) > 1:
        kind = DOUBLE
    if more.get("by") and more.get("by_value") is None:
        kind = pa.map_(TEXT, kind)
    return Feature(f"{op} {column} {windows} {more}", column, op, windows, kind, **more)


def _type(op: str, kind: pa.DataType) -> pa.DataType:
    if op in {"count", "count_distinct", "approx_count_distinct"}:
        return WHOLE
    if op in {"min", "max", "first", "last", "latest", "mode"}:
        return kind
    if op in LISTS:
        return pa.list_(kind)
    if op == "histogram":
        return pa.list_(WHOLE)
    if pa.types.is_decimal(kind) and op in {"sum", "mean"}:
        return pa.decimal128(30, 2) if op == "sum" else pa.decimal128(24, 6)
    return WHOLE if op == "sum" and pa.types.is_integer(kind) else DOUBLE


def assert_equal_to_oracle(
    rows: list[dict[str, Any]], asked: list[tuple[Any, Any]], features: list[Feature]
) -> None:
    """Compute the features and the oracle's answers, and compare them one by one."""
    spine, source = as_tables(rows, asked)
    task = KeyTask(("k", "j"), (SourceTask(1, ORDER, tuple(features)),))
    got = features_of(spine, {1: source}, task)
    for feature in features:
        assert got[feature.name].type == feature.type
        ask = _ask(feature)
        wanted = [plain.feature(rows, key, moment, ask) for key, moment in asked]
        values = got[feature.name]
        for instants_as, micros in ((INSTANT, WHOLE), (pa.list_(INSTANT), pa.list_(WHOLE))):
            values = values.cast(micros) if values.type == instants_as else values
        for value, expected in zip(values.to_pylist(), wanted, strict=True):
            assert same(value, expected, rounded=feature.op in ROUNDED), (feature, value, expected)


def _ask(feature: Feature) -> dict[str, Any]:
    first, *others = feature.windows
    return {
        "op": feature.op,
        "input": feature.input,
        "window": first.micros,
        "rows": first.rows,
        "order": ORDER,
        "parameter": feature.parameter,
        "where": feature.where,
        "by": feature.by,
        "by_value": feature.by_value,
        "delay": feature.delay,
        "inclusive": feature.is_inclusive,
        "ratio_to": {"window": others[0].micros, "rows": others[0].rows} if others else None,
    }


# Without shrinking: a hundred features an example make it take minutes; the example found is small enough.
checked = settings(
    max_examples=60,
    phases=[Phase.explicit, Phase.generate],
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


@checked
@given(sources(instants), questions(instants))
def test_sums_extremes_and_order_equal_the_oracle(rows: list[dict[str, Any]], asked: list[Any]) -> None:
    """Whatever the ties, nulls, infinities and lateness, every feature is what the definition says."""
    features = [
        a_feature(op, column, window)
        for column in ("x", "n", "d")
        for op in ("count", *NUMBERS, "first", "last", "latest")
        for window in WINDOWS
        if (op, window.rows) != ("latest", 1) and not (column == "x" and op in {"variance", "stddev"})
    ]
    assert_equal_to_oracle(rows, asked, features)


@checked
@given(sources(near), questions(near))
def test_moments_and_trend_equal_the_oracle(rows: list[dict[str, Any]], asked: list[Any]) -> None:
    """Central moments and slopes to 12 digits, also after 1e9 and infinity have left the window."""
    ops = ("variance", "stddev", "skewness", "kurtosis", "trend")
    assert_equal_to_oracle(
        rows, asked, [a_feature(op, c, w) for op in ops for c in ("y", "n") for w in WINDOWS]
    )


@checked
@given(sources(instants), questions(instants))
def test_distinct_values_equal_the_oracle(rows: list[dict[str, Any]], asked: list[Any]) -> None:
    """Distinct count, mode and entropy of every type that can be told apart."""
    ops = ("count_distinct", "mode", "entropy")
    columns = ("x", "n", "s", "d", "b", "t")
    assert_equal_to_oracle(rows, asked, [a_feature(op, c, w) for op in ops for c in columns for w in WINDOWS])


@checked
@given(sources(instants), questions(instants))
def test_ranked_values_equal_the_oracle(rows: list[dict[str, Any]], asked: list[Any]) -> None:
    """K-lists by time and by value, quantiles and histograms, of every type they are for."""
    features = [
        a_feature(op, c, w, parameter=(2,)) for op in LISTS for c in ("x", "s", "d", "t") for w in WINDOWS
    ]
    features += [a_feature("last_k", c, w, parameter=(3,)) for c in ("b", "l") for w in WINDOWS]
    features += [
        a_feature("quantile", c, w, parameter=(q,))
        for q in (0.0, 0.3, 0.5, 1.0)
        for c in ("x", "n", "d")
        for w in WINDOWS
    ]
    features += [
        a_feature("histogram", c, w, parameter=(-1.0, 0.0, 1.5)) for c in ("x", "n") for w in WINDOWS
    ]
    features += [a_feature(op, c, w) for op in ("min", "max") for c in ("s", "t") for w in WINDOWS]
    features += [a_feature(op, c, w) for op in ("first", "last") for c in ("s", "b", "l") for w in WINDOWS]
    assert_equal_to_oracle(rows, asked, features)


@checked
@given(sources(instants), questions(instants))
def test_modifiers_equal_the_oracle(rows: list[dict[str, Any]], asked: list[Any]) -> None:
    """Which events count: where, by, delay, boundary, the n newest; and the ratio of two windows."""
    features = [
        a_feature(op, "n", w, where=where, delay=delay, is_inclusive=is_inclusive)
        for op in ("count", "sum", "first", "last", "mode")
        for w in WINDOWS
        for where in (None, "w")
        for delay, is_inclusive in ((0, True), (2, False), (3, True))
    ]
    features += [
        a_feature(op, None, w) for op in ("count", "time_since_first", "time_since_last") for w in WINDOWS
    ]
    features += [a_feature("time_since_last", "n", w, where="w", delay=2) for w in WINDOWS]
    features += [a_feature(op, c, w, by="g") for op in NUMBERS for c in ("n", "d") for w in WINDOWS]
    features += [a_feature("count", None, w, by="g", where="w", delay=1) for w in WINDOWS]
    features += [
        a_feature(op, c, w, by="g", parameter=(2,) if op in LISTS else (), delay=delay)
        for op in ("first", "last", "count_distinct", "mode", "entropy", *LISTS)
        for c in ("n", "s")
        for w in WINDOWS
        for delay in (0, 2)
    ]
    features += [a_feature("quantile", "n", w, by="g", parameter=(0.3,)) for w in WINDOWS]
    features += [a_feature("histogram", "n", w, by="g", parameter=(-1.0, 2.0)) for w in WINDOWS]
    features += [a_feature("time_since_first", None, w, by="g", is_inclusive=True) for w in WINDOWS]
    features += [
        a_feature(op, "n", w, by="g", by_value=v)
        for op in ("count", "sum", "last")
        for v in ("u", "V", "z")
        for w in WINDOWS
    ]
    features += [
        a_feature(op, c, w, Window())
        for op in ("count", "sum", "mean")
        for c in ("x", "n")
        for w in WINDOWS
        if w != Window()
    ]
    assert_equal_to_oracle(rows, asked, features)


@pytest.mark.parametrize("moment", [-10, -4, 0, 50, 200])
def test_maps_of_events_that_nobody_sees_are_empty(moment: int) -> None:
    """Two events known the other way round than they happened, asked about before, between and after."""
    one = {
        "key": ("a", 1),
        "x": 1.0,
        "y": 2.0,
        "n": 3,
        "s": "a",
        "d": None,
        "b": True,
        "t": 1,
        "w": True,
        "l": [1],
    }
    rows = [{**one, "event": -5, "known": 100, "g": "u"}, {**one, "event": -4, "known": -3, "g": "u"}]
    ops = ("sum", "first", "last", "mode", "count_distinct", "time_since_last", "trend", *LISTS)
    features = [
        a_feature(op, "n", window, by="g", parameter=(2,) if op in LISTS else ())
        for op in ops
        for window in WINDOWS
    ]
    assert_equal_to_oracle(rows, [(("a", 1), moment)], features)


def test_a_newer_event_known_first_drives_out_an_older_one() -> None:
    """Of ``last 1``, the first event goes when the third is known, though the second is known much later."""
    spine = pa.table({"k": ["a"] * 3, "as_of_ts": pa.array([2, 5, 10], INSTANT)})
    source = pa.table(
        {
            "k": ["a"] * 3,
            "event_ts": pa.array([1, 2, 3], INSTANT),
            "known_ts": pa.array([1, 9, 3], INSTANT),
            "n": pa.array([100, 10, 1], WHOLE),
        }
    )
    newest, two = (a_feature("sum", "n", Window(rows=rows)) for rows in (1, 2))

    got = features_of(spine, {1: source}, KeyTask(("k",), (SourceTask(1, (), (newest, two)),)))

    assert got[newest.name].to_pylist() == [100, 1, 1]
    assert got[two.name].to_pylist() == [100, 101, 11]


def test_an_infinity_spoils_no_window_that_does_not_hold_it() -> None:
    """The skewness of 1, 1, 4 is known though most values of the entity are infinite."""
    moments = [1, 2, 3, 10, 11, 12, 13]
    spine = pa.table({"k": ["a"], "as_of_ts": pa.array([4], INSTANT)})
    source = pa.table(
        {
            "k": ["a"] * len(moments),
            "event_ts": pa.array(moments, INSTANT),
            "y": pa.array([1.0, 1.0, 4.0] + [math.inf] * 4),
        }
    )
    feature = a_feature("skewness", "y", Window())

    got = features_of(spine, {1: source}, KeyTask(("k",), (SourceTask(1, (), (feature,)),)))

    assert got[feature.name].to_pylist() == [pytest.approx(math.sqrt(0.5), rel=1e-12)]


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


@example(scale=2, values=[-77621545, None])
@given(
    st.integers(0, 30),
    st.lists(st.one_of(st.none(), st.integers(-(10**38) + 1, 10**38 - 1), st.integers(-(2**54), 2**54))),
)
def test_a_decimal_becomes_the_nearest_double(scale: int, values: list[Any]) -> None:
    """Python's own conversion of a decimal rounds once; so does ours, whatever the digits."""
    with localcontext(prec=40):
        exact = [None if value is None else Decimal(value).scaleb(-scale) for value in values]

    got = decimals.as_doubles(pa.array(exact, pa.decimal128(38, scale)))

    assert got.to_pylist() == [None if value is None else float(value) for value in exact]


def test_an_integer_sum_beyond_64_bits_is_refused() -> None:
    """A sum that does not fit is an error, never a wrapped number."""
    from featurelib.point_in_time import kernels, moments

    values = np.array([2**62, 2**62], dtype=np.int64)
    runs = kernels.WindowRuns(np.zeros(2, np.int64), np.ones(2, np.int64), 1)
    try:
        moments.integer_sum(runs, values)
    except OverflowError as error:
        assert "exceeds 64 bits" in str(error)  # noqa: PT017 - the message is the fact
    else:
        raise AssertionError("no error")
