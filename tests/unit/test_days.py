"""Ranges of days are half open, and what makes no sense is refused before a JVM starts."""

from __future__ import annotations

from datetime import date

import pytest

from featurelib.cli import run
from featurelib.errors import ConfigError
from featurelib.pipeline.days import DayRange, in_partitions, on_days, runs_of
from featurelib.timeline import parse_day

JAN = [date(2024, 1, day) for day in range(1, 32)]


@pytest.mark.parametrize(
    ("first", "end", "chosen"),
    [
        (None, None, [30, 31, 1]),
        (JAN[30], None, [31, 1]),
        (None, JAN[30], [30]),
        (JAN[0], JAN[30], [30]),
        (JAN[29], date(2024, 2, 1), [30, 31]),
    ],
)
def test_a_range_is_half_open(first: date | None, end: date | None, chosen: list[int]) -> None:
    """The first day is in, the last is out, and None is no bound."""
    days = [date(2024, 2, 1), JAN[30], JAN[29]]

    assert [day.day for day in DayRange(first, end).of(days)] == chosen


def test_ranges_without_days_are_refused() -> None:
    """An empty range, and one in which nothing is loaded; where nothing is loaded at all there is no fault."""
    with pytest.raises(ConfigError, match=r"from 2024-01-03 to 2024-01-03\n.*\n.*--to 2024-01-04"):
        DayRange(JAN[2], JAN[2])
    with pytest.raises(ConfigError, match=r"days from 2024-01-09: none.*\n.*2024-01-01 to 2024-01-02"):
        DayRange(JAN[8]).of(JAN[:2])
    assert DayRange(JAN[8]).of([]) == []
    assert (DayRange().is_all, DayRange(JAN[8]).is_all) == (True, False)


def test_runs_of_days_become_predicates() -> None:
    """Neighbours are one range, whatever the order; months leave out partitions; no day is false."""
    days = [JAN[30], date(2024, 2, 1), JAN[0]]

    assert runs_of(days) == [(JAN[0], JAN[0]), (JAN[30], date(2024, 2, 1))]
    assert in_partitions(days) == (
        "_month IN ('2024-01', '2024-02') AND ((_day >= DATE'2024-01-01' AND _day <= DATE'2024-01-01')"
        " OR (_day >= DATE'2024-01-31' AND _day <= DATE'2024-02-01'))"
    )
    assert on_days([]) == "false"


def test_the_command_refuses_wrong_days_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, with what to do; no session was asked for."""
    command = ["build-features", "--as-of", "2024-01-10"]

    assert run([*command, "--from", "2024-01-03", "--to", "2024-01-02"]) == 2
    assert run([*command, "--from", "2024-13-03"]) == 2
    assert "an ISO date, as 2013-12-31" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="ISO date"):
        parse_day("yesterday")
