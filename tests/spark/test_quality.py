"""Received text becomes typed rows, or a quarantined row with every reason; no row is lost."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from featurelib.monitoring.drift import bin_counts, reference_bins, stability_index
from featurelib.quality import rules, typing
from featurelib.specs import LandedTable, QualityRule

TABLE = LandedTable(
    landing="flights",
    columns={"carrier": "string", "delay": "double", "seats": "int", "at": "timestamp_utc", "ok": "boolean"},
    nulls=("", "NA"),
    derived={"delay_hours": "delay / 60"},
    derived_types={"delay_hours": "double"},
    unique=("carrier", "at"),
)
RULES = (
    QualityRule(name="delay_plausible", check="delay BETWEEN -60 AND 600", nulls="pass"),
    QualityRule(name="carrier_given", check="carrier IS NOT NULL"),
    QualityRule(name="seats_given", check="seats IS NOT NULL", on_fail="warn"),
)
SCHEMA = (
    "carrier string, delay string, seats string, at string, ok string, "
    "_file string, _day date, _row long, _malformed string"
)
DAY = date(2013, 1, 1)


def judged(frame: Any, *rows: tuple[Any, ...]) -> dict[int, Any]:
    """Judge rows numbered from 1; return them by number."""
    numbered = [(*row, "f.csv", DAY, number, None) for number, row in enumerate(rows, start=1)]
    typed = typing.with_prepared(typing.to_typed(frame(numbered, SCHEMA), table=TABLE), table=TABLE)
    found = rules.with_judgement(typed, rules=RULES, unique=TABLE.unique)
    return {row["_row"]: row for row in found.collect()}


def test_text_becomes_values(frame: Any) -> None:
    """Spaces are trimmed, null texts are null, instants are UTC, derived columns follow."""
    row = judged(frame, (" AA ", "30", "NA", "2013-01-01T06:00:00Z", "true"))[1]

    assert (row.carrier, row.delay, row.seats, row.ok, row.delay_hours) == ("AA", 30.0, None, True, 0.5)
    assert datetime(2013, 1, 1, 6, tzinfo=UTC) == row["at"].astimezone(UTC)
    assert row["_reasons"] == []
    assert row["_warnings"] == ["seats_given"]


def test_one_subject_has_one_text(frame: Any) -> None:
    """However a whole number came, its text is that of the typed value; what is none, or null, is nobody's."""
    rows = frame([(text,) for text in ("7", " 007 ", "+7", "seven", "", "NA", None)], "seats string")
    found = rows.select("seats", typing.typed_text("seats", table=TABLE).alias("said")).collect()
    assert {row["seats"]: row["said"] for row in found} == {
        "7": "7",
        " 007 ": "7",
        "+7": "7",
        **dict.fromkeys(["seven", "", "NA", None]),
    }


def test_every_reason_is_named(frame: Any) -> None:
    """A row that fails in three ways says all three."""
    row = judged(frame, ("", "x9", "4.5e", "2013-01-01T06:00:00Z", "true"))[1]

    assert row["_reasons"] == ["delay: 'x9' is no double", "seats: '4.5e' is no int", "carrier_given"]


@pytest.mark.parametrize(
    "text",
    ["2013-01-01T06:00:00", "2013-01-01T06:00:00-05:00", "2013-01-01", "06:00", "2013-13-01T06:00:00Z"],
)
def test_an_instant_that_does_not_say_utc_is_quarantined(frame: Any, text: str) -> None:
    """A local or unzoned clock time is never guessed to be UTC."""
    row = judged(frame, ("AA", "1", "1", text, "true"))[1]

    assert [f"at: '{text}' is no UTC instant (as 2013-01-31T06:00:00Z)"] == row["_reasons"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12.30", Decimal("12.30")), ("-0.5", Decimal("-0.50")), (".25", Decimal("0.25")), ("7", Decimal("7.00")),
        ("1.500", Decimal("1.50")), ("1.005", None), ("100000", None), ("1e3", None), ("12,30", None), (".", None),
    ],
)  # fmt: skip
def test_decimals_are_never_rounded(frame: Any, text: str, value: Decimal | None) -> None:
    """More digits than ``decimal(7,2)`` holds, before or behind the point, put the row into quarantine."""
    priced = LandedTable(landing="prices", columns={"price": "decimal(7,2)"})
    rows = frame(
        [(text, "f.csv", DAY, 1, None)], "price string, _file string, _day date, _row long, _malformed string"
    )

    row = typing.to_typed(rows, table=priced).collect()[0]

    assert row.price == value
    assert row["_reasons"] == ([] if value is not None else [f"price: '{text}' is no decimal(7,2)"])


def test_of_equal_rows_the_first_stays(frame: Any) -> None:
    """A repeated key goes to quarantine once, whatever the partitioning; rows without a key are no repeats."""
    at = "2013-01-01T06:00:00Z"
    found = judged(
        frame, ("AA", "1", "1", at, "true"), ("AA", "2", "1", at, "true"), ("AA", "3", "1", "NA", "true")
    )

    assert {number: row["_reasons"] for number, row in found.items()} == {
        1: [],
        2: ["repeats carrier, at of an earlier row"],
        3: [],
    }


def test_good_and_bad_are_everything(frame: Any) -> None:
    """Each row is on exactly one side, also where a check is null."""
    rows = [(None, "1", "1", "NA", "true"), ("AA", "NA", "1", "NA", "x"), ("AA", "700", "1", "NA", "true")]
    numbered = [(*row, "f.csv", DAY, number, None) for number, row in enumerate(rows, start=1)]
    found = rules.with_judgement(
        typing.to_typed(frame(numbered, SCHEMA), table=TABLE), rules=RULES, unique=()
    )

    assert rules.only_good(found).count() + rules.only_bad(found).count() == 3
    assert rules.only_bad(found).count() == 3


def test_a_malformed_row_is_quarantined(frame: Any) -> None:
    """A row that could not be split has its text and the reason."""
    row = (None, None, None, None, None, "f.csv", DAY, 1, "JFK")
    found = typing.to_typed(frame([row], SCHEMA), table=TABLE).collect()[0]

    assert found["_reasons"] == ["has another number of fields than its header"]


def test_a_transform_is_given_what_it_says_it_reads(frame: Any) -> None:
    """Its rows have the declared columns and one more; all others are there afterwards, untouched and in order."""
    table = LandedTable(
        landing="flights",
        columns=TABLE.columns,
        transform="more:with_late",
        transform_adds={"late": "boolean"},
        transform_reads={"late": ("delay",)},
    )
    seen: list[list[str]] = []

    def with_late(rows: DataFrame) -> DataFrame:
        seen.append(rows.columns)
        return rows.select("*", (F.col("delay") > 15).alias("late"))

    typed = typing.to_typed(frame([("AA", "30", "1", "NA", "x", "f.csv", DAY, 1, None)], SCHEMA), table=TABLE)
    found = typing.transformed(typed, with_late, table=table)

    assert seen == [["delay", "_others"]]
    assert found.columns == [*typed.columns, "late"]
    assert found.collect()[0].asDict() == {**typed.collect()[0].asDict(), "late": True}


def test_stability_is_zero_for_equal_rows_and_counts_nulls(frame: Any) -> None:
    """Equal frames do not drift; a column that turned null does."""
    then = frame([(float(x), float(x)) for x in range(100)], "a double, b double")
    now = frame([(float(x), None) for x in range(100)], "a double, b double")
    before = reference_bins(then.toArrow(), ["a", "b"])
    after = bin_counts(now, {name: binned.edges for name, binned in before.items()})

    assert before["a"].edges == (9.0, 19.0, 29.0, 39.0, 49.0, 59.0, 69.0, 79.0, 89.0)
    assert after["b"] == {-1: 100}
    assert stability_index(before["a"].rows, after["a"]) == 0.0
    assert stability_index(before["b"].rows, after["b"]) > 1.0
