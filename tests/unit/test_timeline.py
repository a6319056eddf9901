"""Durations, instants and half-open intervals, as tables of facts and against sets of single instants."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurelib.errors import ConfigError
from featurelib.timeline import (
    Interval,
    days_between,
    duration_micros,
    format_instant,
    from_micros,
    merge_intervals,
    missing_intervals,
    parse_instant,
    to_micros,
    window_micros,
)


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("1us", 1),
        ("1ms", 1_000),
        ("90s", 90_000_000),
        ("15m", 900_000_000),
        ("6h", 21_600_000_000),
        ("1d", 86_400_000_000),
        ("2w", 1_209_600_000_000),
    ],
)
def test_durations(text: str, micros: int) -> None:
    """A duration is a whole number of one unit; a day has 24 hours."""
    assert duration_micros(text) == micros == window_micros(text)


@pytest.mark.parametrize(
    "text", ["", "0d", "-1d", "01d", "1", "d", "1.5h", "1h30m", "1 d", "1D", "1y", "1d\n", "١d"]
)
def test_other_durations_are_refused(text: str) -> None:
    """Anything else says what a duration looks like."""
    with pytest.raises(ConfigError, match="15m, 6h or 30d"):
        duration_micros(text)


def test_lifetime_has_no_length() -> None:
    """The window that reaches back for ever has no number."""
    assert window_micros("lifetime") is None


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2013-12-31", datetime(2013, 12, 31, tzinfo=UTC)),
        ("2013-12-31T06:00:00Z", datetime(2013, 12, 31, 6, tzinfo=UTC)),
        ("2013-12-31 06:00:00+00:00", datetime(2013, 12, 31, 6, tzinfo=UTC)),
        ("2013-12-31T06:00:00.000001Z", datetime(2013, 12, 31, 6, 0, 0, 1, tzinfo=UTC)),
    ],
)
def test_instants(text: str, moment: datetime) -> None:
    """A date is its midnight, and an instant says that it is UTC."""
    assert parse_instant(text) == moment


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("yesterday", "an ISO date"),
        ("2013-13-01", "an ISO date"),
        ("2013-02-29", "an ISO date"),
        ("2013-12-31T06:00:00", "has no time zone"),
        ("2013-12-31T06:00:00+01:00", "write 2013-12-31T05:00:00Z"),
        ("2013-12-31T06:00:00-05:00", "write 2013-12-31T11:00:00Z"),
    ],
)
def test_other_instants_are_refused(text: str, message: str) -> None:
    """A moment that is not plainly UTC is refused, with what to write."""
    with pytest.raises(ConfigError, match=message):
        parse_instant(text)


MOMENTS = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - zone follows


@given(MOMENTS)
def test_micros_and_instants_are_the_same(moment: datetime) -> None:
    """Microseconds and text both hold an instant exactly, those before 1970 included."""
    assert from_micros(to_micros(moment)) == moment
    assert parse_instant(format_instant(moment)) == moment
    assert to_micros(moment.astimezone(timezone(timedelta(hours=-5)))) == to_micros(moment)


@pytest.mark.parametrize(
    ("intervals", "merged"),
    [
        ([], []),
        ([(1, 1)], []),
        ([(2, 1)], []),
        ([(1, 2), (2, 3)], [(1, 3)]),
        ([(1, 2), (3, 4)], [(1, 2), (3, 4)]),
        ([(3, 4), (1, 9), (5, 6)], [(1, 9)]),
    ],
)
def test_merge_intervals(intervals: list[Interval], merged: list[Interval]) -> None:
    """Touching intervals become one, empty ones vanish, order does not count."""
    assert merge_intervals(intervals) == merged


@pytest.mark.parametrize(
    ("wanted", "present", "missing"),
    [
        ((0, 10), [], [(0, 10)]),
        ((0, 10), [(0, 10)], []),
        ((0, 10), [(-5, 20)], []),
        ((0, 10), [(3, 5)], [(0, 3), (5, 10)]),
        ((0, 10), [(-5, 3), (7, 20)], [(3, 7)]),
        ((0, 10), [(10, 20)], [(0, 10)]),
        ((0, 10), [(-9, 0)], [(0, 10)]),
        ((5, 5), [], []),
    ],
)
def test_missing_intervals(wanted: Interval, present: list[Interval], missing: list[Interval]) -> None:
    """What no interval covers is missing, and nothing outside what is wanted."""
    assert missing_intervals(wanted, present) == missing


BOUND = st.integers(-20, 20)
INTERVALS = st.lists(st.tuples(BOUND, BOUND), max_size=8)


def instants(intervals: list[Interval]) -> set[int]:
    """The oracle: every single instant of the intervals."""
    return {instant for start, end in intervals for instant in range(start, end)}


@settings(deadline=None)
@given(INTERVALS)
def test_merging_keeps_every_instant(intervals: list[Interval]) -> None:
    """Merged intervals hold the same instants, sorted, apart and none empty."""
    merged = merge_intervals(intervals)
    assert instants(merged) == instants(intervals)
    assert all(start < end for start, end in merged)
    assert all(before[1] < after[0] for before, after in pairwise(merged))


@settings(deadline=None)
@given(st.tuples(BOUND, BOUND), INTERVALS)
def test_missing_is_the_difference_of_instants(wanted: Interval, present: list[Interval]) -> None:
    """The missing intervals are the wanted instants without the present ones, in order and apart."""
    missing = missing_intervals(wanted, present)
    assert instants(missing) == instants([wanted]) - instants(present)
    assert missing == merge_intervals(missing)


def test_days_are_half_open() -> None:
    """The last day is not among them, and a leap day is."""
    assert days_between(date(2024, 2, 28), date(2024, 3, 1)) == [date(2024, 2, 28), date(2024, 2, 29)]
    assert days_between(date(2024, 3, 1), date(2024, 3, 1)) == []
    assert days_between(date(2024, 3, 2), date(2024, 3, 1)) == []
