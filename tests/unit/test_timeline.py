"""Durations, instants and half-open intervals, as tables of facts and against sets of single instants."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from featurelib.errors import ConfigError
from featurelib.timeline import (
    Interval,
    Window,
    days_between,
    duration_micros,
    merge_intervals,
    missing_intervals,
    parse_instant,
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
    assert duration_micros(text) == micros
    assert Window.parse(text) == Window(micros=micros)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0d",
        "-1d",
        "01d",
        "1",
        "d",
        "1.5h",
        "1h30m",
        "1 d",
        "1D",
        "1y",
        "1d\n",
        "١d",
        "500ns",
        "0us",
        "0.5us",
    ],
)
def test_other_durations_are_refused(text: str) -> None:
    """Anything else says what a duration looks like."""
    with pytest.raises(ConfigError, match="15m, 6h or 30d"):
        duration_micros(text)


@pytest.mark.parametrize("text", ["3652501d", "99999999999999999999us"])
def test_durations_beyond_any_calendar_are_refused(text: str) -> None:
    """What 64 bits of microseconds could not hold beside an instant is a lifetime."""
    assert duration_micros("3652500d") == 315_576_000_000_000_000
    with pytest.raises(ConfigError, match="without bound is lifetime"):
        duration_micros(text)


@pytest.mark.parametrize(
    ("text", "window"), [("lifetime", Window()), ("last 10", Window(rows=10)), ("6h", Window(21_600_000_000))]
)
def test_windows(text: str, window: Window) -> None:
    """A window reaches back for ever, to the n-th newest event or for a duration."""
    assert Window.parse(text) == window


@pytest.mark.parametrize("text", ["last", "last 0", "last -1", "last  10", "last10", "10", "forever"])
def test_other_windows_are_refused(text: str) -> None:
    """Anything else says what a window looks like."""
    with pytest.raises(ConfigError, match="or lifetime; or last 10"):
        Window.parse(text)


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


def test_days_are_half_open() -> None:
    """The last day is not among them, and a leap day is."""
    assert days_between(date(2024, 2, 28), date(2024, 3, 1)) == [date(2024, 2, 28), date(2024, 2, 29)]
    assert days_between(date(2024, 3, 1), date(2024, 3, 1)) == []
    assert days_between(date(2024, 3, 2), date(2024, 3, 1)) == []
