"""The functions of dates and instants of the expression language; every instant is UTC."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import polars as pl

from featurelib.expressions.values import (
    Function,
    NeedsSpark,
    Value,
    cast,
    computed,
    literal,
    over,
    over_two,
    widened,
    within,
)

_FIXED: Final = {
    "microsecond": 1,
    "millisecond": 1_000,
    "second": 1_000_000,
    "minute": 60_000_000,
    "hour": 3_600_000_000,
    "day": 86_400_000_000,
    "week": 604_800_000_000,
}
_MONTHS: Final = {"month": 1, "quarter": 3, "year": 12}
_TRUNCATED: Final = {
    "microsecond": "1us",
    "millisecond": "1ms",
    "second": "1s",
    "minute": "1m",
    "hour": "1h",
    "day": "1d",
    "week": "1w",
    "month": "1mo",
    "quarter": "1q",
    "year": "1y",
}


def _made_date(arguments: Sequence[Value]) -> Value:
    """``make_date``: the days since 1970 of a proleptic Gregorian date, at fault where there is none."""
    values = [widened(value, "int", "make_date") for value in arguments]
    year, month, day = (value.expr.cast(pl.Int64) for value in values)
    shifted = pl.when(month <= 2).then(year - 1).otherwise(year)
    era, month_from_march = shifted // 400, (month + 9) % 12
    in_era = shifted - era * 400
    in_year = (153 * month_from_march + 2) // 5 + day - 1
    days = era * 146_097 + in_era * 365 + in_era // 4 - in_era // 100 + in_year - 719_468
    plausible = month.is_between(1, 12) & day.is_between(1, 31) & year.is_between(-99_999, 99_999)
    found = pl.when(plausible).then(days).cast(pl.Int32).cast(pl.Date)
    exists = plausible & (found.dt.day() == day)
    given = pl.all_horizontal([value.expr.is_not_null() for value in values])
    missing = given & ~exists.fill_null(value=False)
    return computed(pl.when(exists).then(found), "date", values, ("a date that does not exist", missing))


def _days_added(direction: int) -> Function:
    def function(arguments: Sequence[Value]) -> Value:
        day, count = widened(arguments[0], "date", "date_add"), widened(arguments[1], "int", "date_add")
        total = within("int", day.expr.cast(pl.Int32).cast(pl.Int128) + count.expr * direction, [day, count])
        return computed(total.expr, "date", [total])

    return function


def plus_months(value: Value, months: pl.Expr, arguments: Sequence[Value]) -> Value:
    """Add months; a day that the month does not have becomes its last."""
    moved = value.expr.dt.offset_by(pl.concat_str([months.cast(pl.String), pl.lit("mo")]))
    return computed(moved, value.kind, arguments)


def _add_months(arguments: Sequence[Value]) -> Value:
    day, count = widened(arguments[0], "date", "add_months"), widened(arguments[1], "int", "add_months")
    return plus_months(day, count.expr, [day, count])


def plus_micros(value: Value, micros: pl.Expr, arguments: Sequence[Value]) -> Value:
    """Add microseconds to an instant."""
    instant = widened(value, "timestamp_utc", "an interval")
    total = within("long", instant.expr.cast(pl.Int64).cast(pl.Int128) + micros.cast(pl.Int128), arguments)
    return computed(total.expr, "timestamp_utc", [total])


def with_interval(value: Value, count: int, unit: str) -> Value:
    """Add so many units; a date stays a date when whole days are added."""
    if value.kind not in {"date", "timestamp_utc"}:
        raise NeedsSpark(f"an interval and a {value.kind}")
    if unit in _MONTHS:
        return plus_months(value, pl.lit(count * _MONTHS[unit]), [value])
    moved = plus_micros(value, pl.lit(count * _FIXED[unit], pl.Int64), [value])
    return cast(moved, "date") if value.kind == "date" and unit in {"day", "week"} else moved


def _instant_added(arguments: Sequence[Value]) -> Value:
    unit = str(literal(arguments[0], "a unit")).lower()
    count = widened(arguments[1], "long", "timestampadd")
    instant = widened(arguments[2], "timestamp_utc", "timestampadd")
    if unit in _MONTHS:
        return plus_months(instant, count.expr * _MONTHS[unit], [count, instant])
    return plus_micros(instant, count.expr.cast(pl.Int128) * _FIXED[unit], [count, instant])


def _instant_difference(arguments: Sequence[Value]) -> Value:
    unit = str(literal(arguments[0], "a unit")).lower()
    if unit in _MONTHS:
        raise NeedsSpark(f"timestampdiff in {unit}s")
    start, end = (widened(value, "timestamp_utc", "timestampdiff") for value in arguments[1:])
    micros = end.expr.cast(pl.Int64).cast(pl.Int128) - start.expr.cast(pl.Int64).cast(pl.Int128)
    return within("long", (micros.abs() // _FIXED[unit]) * micros.sign(), [start, end])


def _truncated(arguments: Sequence[Value]) -> Value:
    every = _TRUNCATED[str(literal(arguments[0], "a unit")).lower()]
    instant = widened(arguments[1], "timestamp_utc", "date_trunc")
    return computed(instant.expr.dt.truncate(every), "timestamp_utc", [instant])


def _from_epoch(micros: int) -> Function:
    def function(arguments: Sequence[Value]) -> Value:
        value = widened(arguments[0], "long", "an instant from a number")
        total = within("long", value.expr.cast(pl.Int128) * micros, [value])
        return computed(total.expr, "timestamp_utc", [total])

    return function


def _since_epoch(micros: int) -> Function:
    return over("timestamp_utc", "long", lambda instant: instant.cast(pl.Int64) // micros)


def _unix_timestamp(arguments: Sequence[Value]) -> Value:
    """Seconds since 1970, rounded towards 1970, unlike ``unix_seconds``."""
    if len(arguments) > 1 or arguments[0].kind == "string":
        raise NeedsSpark("reading a text as an instant")
    instant = widened(arguments[0], "timestamp_utc", "unix_timestamp")
    micros = instant.expr.cast(pl.Int64)
    return computed((micros.abs() // 1_000_000) * micros.sign(), "long", [instant])


def _to(kind: str) -> Function:
    def function(arguments: Sequence[Value]) -> Value:
        if len(arguments) > 1 or arguments[0].kind not in {"date", "timestamp_utc", "null"}:
            raise NeedsSpark("reading a text as a date or an instant")
        return cast(arguments[0], kind)

    return function


def _date_part(build: Callable[[pl.Expr], pl.Expr]) -> Function:
    return over("date", "int", build)


def _clock_part(build: Callable[[pl.Expr], pl.Expr]) -> Function:
    return over("timestamp_utc", "int", build)


TIMES: Final[dict[str, Function]] = {
    "make_date": _made_date,
    "date_add": _days_added(1),
    "date_sub": _days_added(-1),
    "add_months": _add_months,
    "last_day": over("date", "date", lambda d: d.dt.month_end()),
    **dict.fromkeys(
        ("datediff", "date_diff"), over_two("date", "int", lambda a, b: a.cast(pl.Int32) - b.cast(pl.Int32))
    ),
    **dict.fromkeys(("day", "dayofmonth"), _date_part(lambda d: d.dt.day())),
    "dayofweek": _date_part(lambda d: d.dt.weekday() % 7 + 1),
    "weekday": _date_part(lambda d: d.dt.weekday() - 1),
    "dayofyear": _date_part(lambda d: d.dt.ordinal_day()),
    "weekofyear": _date_part(lambda d: d.dt.week()),
    "month": _date_part(lambda d: d.dt.month()),
    "quarter": _date_part(lambda d: d.dt.quarter()),
    "year": _date_part(lambda d: d.dt.year()),
    "hour": _clock_part(lambda t: t.dt.hour()),
    "minute": _clock_part(lambda t: t.dt.minute()),
    "second": _clock_part(lambda t: t.dt.second()),
    "date_trunc": _truncated,
    "timestampadd": _instant_added,
    "timestampdiff": _instant_difference,
    "timestamp_seconds": _from_epoch(1_000_000),
    "timestamp_millis": _from_epoch(1_000),
    "timestamp_micros": _from_epoch(1),
    "to_date": _to("date"),
    "to_timestamp": _to("timestamp_utc"),
    "unix_date": over("date", "int", lambda d: d.cast(pl.Int32)),
    "unix_micros": _since_epoch(1),
    "unix_millis": _since_epoch(1_000),
    "unix_seconds": _since_epoch(1_000_000),
    "unix_timestamp": _unix_timestamp,
}
