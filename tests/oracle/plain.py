"""What a feature means, in plain Python over lists: slow, obvious, and sharing no code with the engine.

Sums are exact fractions, so the oracle itself has no rounding to argue about.
"""

from __future__ import annotations

import math
import struct
from collections import Counter
from collections.abc import Callable, Sequence
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any

Row = dict[str, Any]


def feature(events: Sequence[Row], key: tuple[Any, ...], moment: int | None, ask: Row) -> Any:
    """Return one feature of one question.

    Args:
        events: rows with ``key`` (tuple), ``event``, ``known`` (microseconds) and input columns.
        key: the question's entity key.
        moment: the question's moment in microseconds.
        ask: ``op``, ``input`` (or None), ``order``, and a window: ``window`` in microseconds or ``rows``, or
            neither for lifetime. Further ``parameter``, ``where`` and ``by`` (columns), ``by_value``,
            ``delay``, ``inclusive``, and ``ratio_to``, a second ask whose answer divides.
    """
    if moment is None or any(part is None for part in key):
        return None
    if ask.get("ratio_to"):
        above, below = (
            feature(events, key, moment, {**ask, "ratio_to": None, **part}) for part in ({}, ask["ratio_to"])
        )
        return None if above is None or not below else float(above) / float(below)
    seen = _window(_visible(events, key, moment, ask), moment, ask)
    if ask["op"] == "latest":
        return seen[-1][ask["input"]] if seen else None
    column = ask["input"]
    if column:
        seen = [event for event in seen if _is_value(event[column])]
    return _answer(seen, moment, ask) if ask.get("by") is None else _by_value(seen, moment, ask)


def _by_value(seen: list[Row], moment: int, ask: Row) -> Any:
    groups: dict[str, list[Row]] = {}
    for event in seen:
        if event[ask["by"]] is not None:
            groups.setdefault(str(event[ask["by"]]), []).append(event)
    if ask.get("by_value") is not None:
        return _answer(groups.get(ask["by_value"], []), moment, ask)
    return [(name, _answer(groups[name], moment, ask)) for name in sorted(groups)]


def _visible(events: Sequence[Row], key: tuple[Any, ...], moment: int, ask: Row) -> list[Row]:
    """The visible events that count, oldest first."""
    delay = ask.get("delay", 0)
    # An inclusive boundary at t sees what an exclusive one sees at t + 1 microsecond.
    until = moment + 1 if ask.get("inclusive") else moment
    seen = [
        event
        for event in events
        if event["key"] == key
        and event["event"] is not None
        and event["known"] is not None
        and event["event"] + delay < until
        and event["known"] < until
        and (ask.get("where") is None or event[ask["where"]] is True)
    ]
    return sorted(
        seen, key=lambda event: (event["event"], event["known"], *(_sortable(event[c]) for c in ask["order"]))
    )


def _window(seen: list[Row], moment: int, ask: Row) -> list[Row]:
    if ask.get("rows") is not None:
        return seen[-ask["rows"] :]
    if ask.get("window") is None:
        return seen
    return [event for event in seen if event["event"] >= moment - ask.get("delay", 0) - ask["window"]]


def _answer(seen: list[Row], moment: int, ask: Row) -> Any:
    op, parameter = ask["op"], ask.get("parameter", ())
    if op in {"time_since_first", "time_since_last"}:
        chosen = seen[:1] if op == "time_since_first" else seen[-1:]
        return (moment - chosen[0]["event"]) / 1_000_000 if chosen else None
    if op == "approx_quantile":
        return _quantile(_sample([(e["event"], e["known"], e[ask["input"]]) for e in seen]), parameter)
    if op == "trend":
        return _trend([(event["event"], event[ask["input"]]) for event in seen])
    values = [event[ask["input"]] if ask["input"] else 1 for event in seen]
    return _OPS[op](values, *([parameter] if parameter else []))


def _is_value(value: Any) -> bool:
    return value is not None and not (isinstance(value, float) and math.isnan(value))


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
    if values and isinstance(values[0], Decimal):
        digits = Decimal(1).scaleb(values[0].as_tuple().exponent - 4)
        return (sum(values) / len(values)).quantize(digits, rounding=ROUND_HALF_UP)
    total = _sum([float(value) for value in values])
    return None if total is None else total / len(values)


def _central(values: list[Any], power: int) -> Fraction:
    exact = [Fraction(value) for value in values]
    average = sum(exact) / len(exact)
    return sum(((value - average) ** power for value in exact), Fraction(0))


def _variance(values: list[Any]) -> Any:
    if len(values) < 2:
        return None
    if any(math.isinf(value) for value in values):
        return math.nan
    return float(_central(values, 2) / (len(values) - 1))


def _stddev(values: list[Any]) -> Any:
    variance = _variance(values)
    return None if variance is None else math.sqrt(variance)


def _skewness(values: list[Any]) -> Any:
    if any(math.isinf(value) for value in values):
        return math.nan
    if len(set(values)) < 2:
        return None
    return math.sqrt(len(values)) * float(_central(values, 3)) / float(_central(values, 2)) ** 1.5


def _kurtosis(values: list[Any]) -> Any:
    if any(math.isinf(value) for value in values):
        return math.nan
    if len(set(values)) < 2:
        return None
    return float(len(values) * _central(values, 4) / _central(values, 2) ** 2) - 3


def _trend(pairs: list[tuple[int, Any]]) -> Any:
    if len({instant for instant, _ in pairs}) < 2:
        return None
    if any(math.isinf(value) for _, value in pairs):
        return math.nan
    days = [Fraction(instant, 86_400_000_000) for instant, _ in pairs]
    values = [Fraction(value) for _, value in pairs]
    day, value = sum(days) / len(days), sum(values) / len(values)
    rise = sum((d - day) * (v - value) for d, v in zip(days, values, strict=True))
    return float(rise / sum((d - day) ** 2 for d in days))


def _quantile(values: list[Any], parameter: tuple[float, ...]) -> Any:
    if not values:
        return None
    ordered = sorted(float(value) for value in values)
    position = (len(ordered) - 1) * parameter[0]
    lower, upper = ordered[math.floor(position)], ordered[math.ceil(position)]
    if lower == upper:
        return lower
    return (math.ceil(position) - position) * lower + (position - math.floor(position)) * upper


SAMPLE = 4096


def _approx_count_distinct(values: list[Any]) -> int:
    """The number of distinct values; of many, as the SAMPLE-th smallest hash lets one guess."""
    distinct = set(values)
    if len(distinct) <= SAMPLE:
        return len(distinct)
    hashes = sorted(_mixed(*_bits(value)) for value in distinct)
    return round((SAMPLE - 1) / ((float(hashes[SAMPLE - 1]) + 1.0) / 2.0**64))


def _sample(events: list[tuple[int, int, Any]]) -> list[Any]:
    """The values of the events whose hash has so many leading zeros that at least SAMPLE are left, else all."""
    hashes = [_mixed(event, known, *_bits(float(value))) for event, known, value in events]
    zeros = 0
    while zeros < 64 and sum(h < 2 ** (63 - zeros) for h in hashes) >= SAMPLE:
        zeros += 1
    return [value for (_, _, value), h in zip(events, hashes, strict=True) if h < 2 ** (64 - zeros)]


def _bits(value: Any) -> list[int]:
    if isinstance(value, float):
        return list(struct.unpack("<Q", struct.pack("<d", value + 0.0)))
    if isinstance(value, Decimal):
        digits = int(value.scaleb(2)) % 2**128
        return [digits % 2**64, digits >> 64]
    if isinstance(value, str):
        text = value.encode()
        return [len(text), *(int.from_bytes(text[at : at + 8], "little") for at in range(0, len(text), 8))]
    return [int(value)]


def _mixed(*words: int) -> int:
    """Each word is xored to what the words before it gave, and splitmix64's last step applied."""
    found = 0
    for word in words:
        z = ((found ^ word % 2**64) + 0x9E3779B97F4A7C15) % 2**64
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
        found = z ^ z >> 31
    return found


def _histogram(values: list[Any], edges: tuple[float, ...]) -> list[int]:
    bounds = [-math.inf, *edges, math.inf]
    counts = [sum(low <= value < high for value in values) for low, high in pairwise(bounds)]
    counts[-1] += sum(value == math.inf for value in values)
    return counts


def _mode(values: list[Any]) -> Any:
    counts = Counter(values)
    return min((value for value in counts if counts[value] == max(counts.values())), default=None)


def _entropy(values: list[Any]) -> Any:
    if not values:
        return None
    return -sum(n / len(values) * math.log(n / len(values)) for n in Counter(values).values())


_OPS: dict[str, Callable[..., Any]] = {
    "count": len,
    "sum": _sum,
    "mean": _mean,
    "min": lambda values: min(values, default=None),
    "max": lambda values: max(values, default=None),
    "variance": _variance,
    "stddev": _stddev,
    "skewness": _skewness,
    "kurtosis": _kurtosis,
    "quantile": _quantile,
    "histogram": _histogram,
    "count_distinct": lambda values: len(set(values)),
    "approx_count_distinct": _approx_count_distinct,
    "mode": _mode,
    "entropy": _entropy,
    "first": lambda values: values[0] if values else None,
    "last": lambda values: values[-1] if values else None,
    "first_k": lambda values, parameter: values[: int(parameter[0])] or None,
    "last_k": lambda values, parameter: values[::-1][: int(parameter[0])] or None,
    "top_k": lambda values, parameter: sorted(values, reverse=True)[: int(parameter[0])] or None,
    "bottom_k": lambda values, parameter: sorted(values)[: int(parameter[0])] or None,
}
