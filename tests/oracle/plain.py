"""What a feature means, in plain Python over lists: slow, obvious, and sharing no code with the engine.

Sums are exact fractions, so the oracle itself has no rounding to argue about.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

Row = dict[str, Any]


def feature(events: Sequence[Row], key: tuple[Any, ...], moment: int | None, ask: Row) -> Any:
    """Return one feature of one question.

    Args:
        events: rows with ``key`` (tuple), ``event``, ``known`` (microseconds) and input columns.
        key: the question's entity key.
        moment: the question's moment in microseconds.
        ask: ``op``, ``input`` (or None), ``window`` in microseconds (or None for lifetime), ``order``.
    """
    if moment is None or any(part is None for part in key):
        return None
    window = ask["window"]
    seen = [
        event
        for event in events
        if event["key"] == key
        and event["event"] is not None
        and event["known"] is not None
        and event["event"] < moment
        and event["known"] < moment
        and (window is None or event["event"] >= moment - window)
    ]
    seen.sort(
        key=lambda event: (event["event"], event["known"], *(_sortable(event[c]) for c in ask["order"]))
    )
    if ask["op"] == "latest":
        return seen[-1][ask["input"]] if seen else None
    column = ask["input"]
    values = [event[column] if column else 1 for event in seen]
    values = [
        value
        for value in values
        if value is not None and not (isinstance(value, float) and math.isnan(value))
    ]
    return _OPS[ask["op"]](values)


def _sortable(value: Any) -> tuple[int, Any]:
    if value is None:
        return (0, 0)
    return (2, 0) if isinstance(value, float) and math.isnan(value) else (1, value)


def _sum(values: list[Any]) -> Any:
    if not values:
        return None
    if not all(isinstance(value, float) for value in values):
        return sum(values)
    infinite = [value for value in values if math.isinf(value)]
    if infinite:
        return infinite[0] if len(set(infinite)) == 1 else math.nan
    return float(sum((Fraction(value) for value in values), Fraction(0)))


def _mean(values: list[Any]) -> Any:
    total = _sum([float(value) for value in values])
    return None if total is None else total / len(values)


def _stddev(values: list[Any]) -> Any:
    if len(values) < 2:
        return None
    if any(math.isinf(value) for value in values):
        return math.nan
    exact = [Fraction(value) for value in values]
    average = sum(exact) / len(exact)
    return math.sqrt(sum((value - average) ** 2 for value in exact) / (len(exact) - 1))


_OPS = {
    "count": len,
    "sum": _sum,
    "mean": _mean,
    "min": lambda values: min(values, default=None),
    "max": lambda values: max(values, default=None),
    "stddev": _stddev,
    "last": lambda values: values[-1] if values else None,
}
