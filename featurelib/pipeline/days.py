"""Days of rows: a range that was asked for, and the predicate that holds for some days."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date, timedelta

from featurelib.errors import ConfigError

_ONE_DAY = timedelta(days=1)


@dataclass(frozen=True)
class DayRange:
    """The days ``[first, end)``; None on a side is no bound.

    Raises:
        ConfigError: the range holds no day.
    """

    first: date | None = None
    end: date | None = None

    def __post_init__(self) -> None:
        if self.first is not None and self.end is not None and self.first >= self.end:
            raise ConfigError(
                f"days from {self.first} to {self.end}",
                "a first day before the day at which to stop, which is itself left out",
                f"give --to {self.first + _ONE_DAY} for the single day {self.first}",
            )

    def __str__(self) -> str:
        ends = (("from", self.first), ("to", self.end))
        return " ".join(f"{word} {day}" for word, day in ends if day is not None) or "all days"

    @property
    def is_all(self) -> bool:
        """Whether every day is in the range."""
        return self.first is None and self.end is None

    def holds(self, day: date) -> bool:
        """Whether a day is in the range."""
        return (self.first is None or day >= self.first) and (self.end is None or day < self.end)

    def of(self, days: Iterable[date]) -> list[date]:
        """Return the days of the range, in order.

        Raises:
            ConfigError: there are days, and none of them is in the range.
        """
        known = sorted(set(days))
        chosen = [day for day in known if self.holds(day)]
        if known and not chosen:
            raise ConfigError(
                f"days {self}: none of them is loaded",
                f"loaded days, of {known[0]} to {known[-1]}",
                "ingest these days first, or correct --from and --to",
            )
        return chosen


ALL_DAYS = DayRange()


def runs_of(days: Iterable[date]) -> list[tuple[date, date]]:
    """Return runs of consecutive days as first and last day of each, in order."""
    runs: list[tuple[date, date]] = []
    for day in sorted(set(days)):
        if runs and day - runs[-1][1] == timedelta(days=1):
            runs[-1] = (runs[-1][0], day)
        else:
            runs.append((day, day))
    return runs


def on_days(days: Iterable[date]) -> str:
    """Return the predicate of ``_day``, as SQL; runs of days are written as ranges."""
    found = [f"(_day >= DATE'{first}' AND _day <= DATE'{last}')" for first, last in runs_of(days)]
    return " OR ".join(found) or "false"


def in_partitions(days: Collection[date]) -> str:
    """Return the predicate of ``_day`` for a table partitioned by ``_month``, which leaves out months."""
    months = ", ".join(f"'{month}'" for month in sorted({f"{day:%Y-%m}" for day in days}))
    return f"_month IN ({months}) AND ({on_days(days)})"
