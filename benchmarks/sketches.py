"""Why approximate operations are answered exactly: merging sketches of tiles beside the exact kernels.

``python -m benchmarks.sketches``, after ``pip install datasketches``. One entity of a year, 200 events a day
of 2,000 values, windows of 30 days. A sketch a day, those of 30 days merged for a question; against it the
kernels that answer exactly, for 10,000 questions at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import datasketches
import numpy as np
import pyarrow as pa

from featurelib.point_in_time.buckets import features_of
from featurelib.point_in_time.features import Feature, KeyTask, SourceTask
from featurelib.timeline import Window

_DAY = 86_400_000_000
_DAYS, _EVENTS, _VALUES, _SPAN, _QUESTIONS = 365, 200, 2_000, 30, 10_000
_ROUNDS = 5


def main() -> None:
    """Print microseconds a question, medians of five."""
    dice = np.random.default_rng(0)
    values = dice.integers(0, _VALUES, (_DAYS, _EVENTS))
    print("| answer | microseconds a question | bytes a day | largest error |")
    print("|---|---|---|---|")
    print(_hll(values))
    print(_kll(values))
    for op, parameter in (("count_distinct", ()), ("quantile", (0.9,))):
        print(_exact(values, dice, op, parameter))


def _hll(values: np.ndarray) -> str:
    days = []
    for day in values.tolist():
        sketch = datasketches.hll_sketch(12)
        for value in day:
            sketch.update(value)
        days.append(sketch)

    def merged(first: int) -> float:
        union = datasketches.hll_union(12)
        for sketch in days[first : first + _SPAN]:
            union.update(sketch)
        return float(union.get_result().get_estimate())

    firsts = range(_DAYS - _SPAN)
    exact = [len(np.unique(values[first : first + _SPAN])) for first in firsts]
    error = max(abs(merged(first) / truth - 1) for first, truth in zip(firsts, exact, strict=True))
    size = sum(len(sketch.serialize_compact()) for sketch in days) / _DAYS
    return f"| HyperLogLog, 2^12 registers | {_micros(merged, firsts):.1f} | {size:,.0f} | {error:.1%} |"


def _kll(values: np.ndarray) -> str:
    days = []
    for day in values.astype(np.float64):
        sketch = datasketches.kll_doubles_sketch(200)
        sketch.update(day)
        days.append(sketch)

    def merged(first: int) -> float:
        union = datasketches.kll_doubles_sketch(200)
        for sketch in days[first : first + _SPAN]:
            union.merge(sketch)
        return float(union.get_quantile(0.9))

    firsts = range(_DAYS - _SPAN)
    error = max(abs((values[first : first + _SPAN] <= merged(first)).mean() - 0.9) for first in firsts)
    size = sum(len(sketch.serialize()) for sketch in days) / _DAYS
    return f"| KLL, k = 200, quantile 0.9 | {_micros(merged, firsts):.1f} | {size:,.0f} | rank {error:.1%} |"


def _exact(values: np.ndarray, dice: np.random.Generator, op: str, parameter: tuple[float, ...]) -> str:
    instant = pa.timestamp("us", tz="UTC")
    moments = np.sort(dice.integers(0, _DAYS * _DAY, values.size))
    source = pa.table(
        {
            "k": np.zeros(values.size, np.int64),
            "event_ts": pa.array(moments).cast(instant),
            "x": values.ravel().astype(np.float64),
        }
    )
    asked = pa.array(dice.integers(0, _DAYS * _DAY, _QUESTIONS)).cast(instant)
    spine = pa.table({"k": np.zeros(_QUESTIONS, np.int64), "as_of_ts": asked})
    kind = pa.float64() if op == "quantile" else pa.int64()
    feature = Feature("f", "x", op, (Window(_SPAN * _DAY),), kind, parameter=parameter)
    task = KeyTask(("k",), (SourceTask(1, (), (feature,)),))
    micros = _micros(lambda _: features_of(spine, {1: source}, task), range(1)) / _QUESTIONS
    return f"| exact {op} | {micros:.1f} | | 0 |"


def _micros(ask: Callable[[int], object], questions: range) -> float:
    """Median microseconds of a question."""
    rounds = []
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        for question in questions:
            ask(question)
        rounds.append((time.perf_counter() - began) / len(questions) * 1e6)
    return float(np.median(rounds))


if __name__ == "__main__":
    main()
