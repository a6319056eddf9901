"""Time is whole microseconds since 1970 in UTC, and every interval is half open: ``[start, end)``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from featurelib.errors import ConfigError

LIFETIME = "lifetime"

_MICROS = {
    "us": 1,
    "ms": 1_000,
    "s": 1_000_000,
    "m": 60_000_000,
    "h": 3_600_000_000,
    "d": 86_400_000_000,
    "w": 604_800_000_000,
}
_LONGEST = 3_652_500 * _MICROS["d"]  # ten thousand years: instants and windows together stay within 64 bits
_DURATION = re.compile(r"([1-9][0-9]*)(us|ms|s|m|h|d|w)")
_LAST = re.compile(r"last ([1-9][0-9]*)")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Interval = tuple[int, int]


def duration_micros(text: str) -> int:
    """Return the length of a duration such as ``90s``, ``15m``, ``6h``, ``7d`` in microseconds.

    A day is 24 hours and a week seven of them, whatever the calendar says: instants are UTC.

    The shortest is a microsecond, the resolution of instants; the longest ten thousand years.

    Raises:
        ConfigError: the text is no whole positive number followed by us, ms, s, m, h, d or w, or longer.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ConfigError(
            f"duration {text!r}",
            "a whole positive number and a unit: us, ms, s, m, h, d or w, as in 15m, 6h or 30d",
            "write the duration in one unit (90m, not 1h30m)",
        )
    micros = int(match[1]) * _MICROS[match[2]]
    if micros > _LONGEST:
        raise ConfigError(
            f"duration {text!r}",
            "at most 3652500d, ten thousand years",
            "shorten it; a window without bound is lifetime",
        )
    return micros


class Window(NamedTuple):
    """How far back events count: at most ``micros`` before the moment, at most the ``rows`` newest.

    None means without bound; a lifetime has neither.
    """

    micros: int | None = None
    rows: int | None = None

    @classmethod
    def parse(cls, text: str) -> Window:
        """Return the window that a text means: a duration, ``lifetime`` or ``last 10``.

        Raises:
            ConfigError: the text is none of them.
        """
        if text == LIFETIME:
            return cls()
        newest = _LAST.fullmatch(text)
        if newest is not None:
            return cls(rows=int(newest[1]))
        try:
            return cls(micros=duration_micros(text))
        except ConfigError as error:
            expected = f"{error.expected}; or lifetime; or last 10 for the ten newest events"
            raise ConfigError(f"window {text!r}", expected, error.action) from None


def to_micros(moment: datetime) -> int:
    """Return microseconds since 1970 of an aware datetime, exactly."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def from_micros(micros: int) -> datetime:
    """Return the aware UTC datetime of microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=micros)


def parse_instant(text: str) -> datetime:
    """Return the UTC instant of ``2013-12-31`` (its midnight) or ``2013-12-31T06:00:00Z``.

    Raises:
        ConfigError: the text is no ISO date or instant, or carries an offset other than UTC.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(
            f"instant {text!r}",
            "an ISO date or UTC instant, as 2013-12-31 or 2013-12-31T06:00:00Z",
            "give --as-of in that form",
        ) from None
    if moment.tzinfo is None:
        if len(text) > len("2013-12-31"):
            raise ConfigError(
                f"instant {text!r} has no time zone", "a UTC instant", f"write {text}Z if it is UTC"
            )
        return moment.replace(tzinfo=UTC)
    if moment.utcoffset() != timedelta(0):
        raise ConfigError(
            f"instant {text!r} is not UTC",
            "a UTC instant",
            f"write {moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
        )
    return moment.astimezone(UTC)


def parse_day(text: str) -> date:
    """Return the day that ``2013-12-31`` means.

    Raises:
        ConfigError: the text is no ISO date.
    """
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"day {text!r}", "an ISO date, as 2013-12-31", "give --from and --to so") from None


def format_instant(moment: datetime) -> str:
    """Return a UTC instant as ISO text ending in ``Z``, without needless fractions."""
    text = moment.astimezone(UTC).replace(tzinfo=None).isoformat()
    return f"{text}Z"


def merge_intervals(intervals: Iterable[Interval]) -> list[Interval]:
    """Return the same instants as sorted intervals that neither overlap nor touch."""
    merged: list[Interval] = []
    for start, end in sorted(pair for pair in intervals if pair[0] < pair[1]):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def missing_intervals(wanted: Interval, present: Iterable[Interval]) -> list[Interval]:
    """Return the parts of ``wanted`` that no interval of ``present`` covers, in order."""
    missing: list[Interval] = []
    start, end = wanted
    for covered_start, covered_end in merge_intervals(present):
        if covered_start >= end:
            break
        if covered_start > start:
            missing.append((start, covered_start))
        start = max(start, covered_end)
    if start < end:
        missing.append((start, end))
    return missing


def days_between(first: date, last: date) -> list[date]:
    """Return every date of ``[first, last)``."""
    return [first + timedelta(days=offset) for offset in range((last - first).days)]
