"""What must hold for every text and every set of intervals, as Hypothesis makes them up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from featurelib.expressions.language import ExpressionError, check, columns_of
from featurelib.timeline import (
    Interval,
    format_instant,
    from_micros,
    merge_intervals,
    missing_intervals,
    parse_instant,
    to_micros,
)

COLUMNS = ("a", "b", "text")
MOMENTS = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - zone follows


@given(MOMENTS)
def test_micros_and_instants_are_the_same(moment: datetime) -> None:
    """Microseconds and text both hold an instant exactly, those before 1970 included."""
    assert from_micros(to_micros(moment)) == moment
    assert parse_instant(format_instant(moment)) == moment
    assert to_micros(moment.astimezone(timezone(timedelta(hours=-5)))) == to_micros(moment)


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


@settings(deadline=None, max_examples=150)
@given(st.text(alphabet="ab1'()+-*/,.;\\ \"`[]<>=!_", max_size=25) | st.text(max_size=15))
def test_any_text_is_checked_or_refused(text: str) -> None:
    """No text makes the checker fail in another way, and what passes names declared columns only."""
    try:
        passed = check(text, COLUMNS)
    except ExpressionError:
        return
    assert set(columns_of(passed)) <= set(COLUMNS)
