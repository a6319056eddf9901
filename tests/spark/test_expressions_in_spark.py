"""What the expression language lets through, Spark evaluates as the language promises."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
import sqlglot
from pyspark.errors import PySparkException
from pyspark.sql import functions as F

from featurelib.expressions.language import ExpressionError, check
from featurelib.expressions.words import FUNCTIONS

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

ROW = """
    SELECT 7 AS a, 2 AS b, -7 AS below, 2.5D AS x, CAST('NaN' AS double) AS nan, CAST(NULL AS int) AS nothing,
           ' Ab-c ' AS text, DATE '2013-02-28' AS day, TIMESTAMP '2013-02-28 23:59:58.5Z' AS ts,
           2013 AS year, 2 AS month, 1830 AS clock
"""

# Expression, its type, its value.
FACTS = [
    ("clock div 100 * 60 + clock % 100", "bigint", 18 * 60 + 30),
    ("below div b", "bigint", -3),
    ("below % b", "int", -1),
    ("pmod(below, b)", "int", 1),
    ("a / b", "double", 3.5),
    ("try_divide(a, 0)", "double", None),
    ("round(x)", "double", 3.0),
    ("bround(x)", "double", 2.0),
    ("floor(-2.5D)", "bigint", -3),
    ("1L + a", "bigint", 8),
    ("0.1 + 0.2", "decimal(2,1)", Decimal("0.3")),
    ("nothing = 1", "boolean", None),
    ("nothing <=> NULL", "boolean", True),
    ("nan = nan", "boolean", True),
    ("nan > 1e308", "boolean", True),
    ("coalesce(nothing, a)", "int", 7),
    ("nullif(a, 7)", "int", None),
    ("greatest(nothing, a, b)", "int", 7),
    ("if(a > 1, 'x', 'y')", "string", "x"),
    ("CASE WHEN a > 15 THEN 1 ELSE 0 END", "int", 0),
    ("CASE text WHEN 'x' THEN 1 END", "int", None),
    ("a IN (1, 7) AND a BETWEEN 7 AND 8 AND text LIKE '%b-_ '", "boolean", True),
    ("concat_ws('-', a, day, nothing, text)", "string", "7-2013-02-28- Ab-c "),
    ("lower(trim(text)) || 'x'", "string", "ab-cx"),
    ("substring(text, 2, 2)", "string", "Ab"),
    ("instr(text, '-')", "int", 4),
    ("split_part(trim(text), '-', 2)", "string", "c"),
    ("CAST(x AS int)", "int", 2),
    ("try_cast(text AS int)", "int", None),
    ("CAST(x AS decimal(10, 2))", "decimal(10,2)", Decimal("2.50")),
    ("make_date(year, month, 28)", "date", date(2013, 2, 28)),
    ("dayofweek(day)", "int", 5),
    ("weekday(day)", "int", 3),
    ("date_add(day, 1)", "date", date(2013, 3, 1)),
    ("date_sub(day, b)", "date", date(2013, 2, 26)),
    ("datediff(DATE '2013-03-01', day)", "int", 1),
    ("day + INTERVAL 1 MONTH", "date", date(2013, 3, 28)),
    ("ts + INTERVAL 90 MINUTES", "timestamp", "2013-03-01 01:29:58.5"),
    ("ts - INTERVAL '2' DAYS", "timestamp", "2013-02-26 23:59:58.5"),
    ("TIMESTAMP '2013-01-01 00:00:00Z'", "timestamp", "2013-01-01 00:00:00"),
    ("date_trunc('hour', ts)", "timestamp", "2013-02-28 23:00:00"),
    ("timestampadd(HOUR, b, ts)", "timestamp", "2013-03-01 01:59:58.5"),
    ("timestampdiff(HOUR, day, ts)", "bigint", 23),
    ("hour(ts) * 60 + minute(ts)", "int", 1439),
    ("unix_timestamp(ts)", "bigint", 1_362_095_998),
    ("unix_micros(ts)", "bigint", 1_362_095_998_500_000),
    ("to_date(ts)", "date", date(2013, 2, 28)),
    ("from_utc_timestamp(ts, 'America/New_York')", "timestamp", "2013-02-28 18:59:58.5"),
]  # fmt: skip


@pytest.fixture(scope="module")
def row(spark: SparkSession) -> DataFrame:
    """One row with a column of each kind."""
    return spark.sql(ROW)


def evaluated(row: DataFrame, texts: list[str]) -> list[tuple[str, object]]:
    """Return type and value of each expression, all in one job; instants as text in UTC."""
    frame = row.select(*(F.expr(text).alias(f"c{at}") for at, text in enumerate(texts)))
    shown = frame.select(
        *(
            F.col(name).cast("string").alias(name) if kind == "timestamp" else F.col(name)
            for name, kind in frame.dtypes
        )
    ).first()
    assert shown is not None
    return list(zip((kind for _, kind in frame.dtypes), shown, strict=True))


def test_checked_text_means_what_it_says(row: DataFrame) -> None:
    """Each checked expression has the type and value that Spark's own documentation gives it."""
    texts = [check(text, row.columns) for text, _, _ in FACTS]
    assert texts == [text for text, _, _ in FACTS]
    for text, (kind, value), (_, expected_kind, expected) in zip(
        texts, evaluated(row, texts), FACTS, strict=True
    ):
        assert (kind, value) == (expected_kind, expected), text


def regenerated(text: str) -> str:
    """Return the text as sqlglot prints what it read."""
    return sqlglot.parse_one(text, dialect="spark").sql(dialect="spark")


def test_parser_and_spark_read_the_same(row: DataFrame) -> None:
    """What sqlglot makes of an allowed text has Spark's type and value: the checked tree is the one that runs."""
    texts = [text for text, *_ in FACTS]
    assert evaluated(row, [regenerated(text) for text in texts]) == evaluated(row, texts)


def test_text_that_the_parser_reads_otherwise_is_refused(row: DataFrame) -> None:
    """An interval of two units, taken away, loses its parentheses in sqlglot: the language has one unit."""
    text = "ts - INTERVAL 1 DAY 2 HOUR"
    assert evaluated(row, [regenerated(text)]) != evaluated(row, [text])
    with pytest.raises(ExpressionError, match="one unit"):
        check(text, row.columns)


CALLS = {
    "bround": ["x", "1"],
    "round": ["x", "1"],
    "date_trunc": ["'hour'", "ts"],
    "from_utc_timestamp": ["ts", "'UTC'"],
    "make_date": ["year", "1", "2"],
    "make_timestamp": ["year", "1", "2", "3", "4", "5.5", "'UTC'"],
    "months_between": ["day", "day", "true"],
    "split_part": ["text", "'-'", "1"],
    "timestampadd": ["HOUR", "1", "ts"],
    "timestampdiff": ["HOUR", "ts", "ts"],
    "to_date": ["ts", "'yyyy'"],
    "to_timestamp": ["ts", "'yyyy'"],
    "to_utc_timestamp": ["ts", "'UTC'"],
    "unix_timestamp": ["ts", "'yyyy'"],
    "if": ["a > 1", "a", "b"],
    "translate": ["text", "'a'", "'b'"],
    "replace": ["text", "'a'", "'b'"],
    "substr": ["text", "1", "2"],
    "substring": ["text", "1", "2"],
}
OVER_DATES = {"add_months", "date_add", "date_diff", "date_sub", "datediff", "last_day", "unix_date"}
OVER_DATES |= {
    "day",
    "dayofmonth",
    "dayofweek",
    "dayofyear",
    "month",
    "quarter",
    "weekday",
    "weekofyear",
    "year",
}
OVER_INSTANTS = {"hour", "minute", "second", "unix_micros", "unix_millis", "unix_seconds"}
OVER_TEXT = {
    "char_length",
    "concat_ws",
    "contains",
    "endswith",
    "initcap",
    "instr",
    "left",
    "length",
    "lower",
}
OVER_TEXT |= {"ltrim", "right", "rtrim", "startswith", "trim", "upper"}


def arguments(name: str, count: int) -> list[str]:
    """Return fitting arguments for a function of the language."""
    if name in CALLS:
        return CALLS[name][:count]
    if name in OVER_DATES:
        return ["day", *(["day"] if name in {"date_diff", "datediff"} else ["1"])][:count]
    if name in OVER_INSTANTS:
        return ["ts"]
    if name in OVER_TEXT:
        return ["text", *(["2"] if name in {"left", "right"} else ["text"] * count)][:count]
    return ["a", "b", "a"][:count]


def test_every_function_exists_with_its_numbers_of_arguments(row: DataFrame) -> None:
    """Spark knows each allowed function with the fewest and the most arguments that the language allows."""
    calls = [
        f"{name}({', '.join(arguments(name, count))})"
        for name, (fewest, most) in sorted(FUNCTIONS.items())
        for count in sorted({fewest, fewest + 1 if most is None else most})
    ]
    unknown = []
    for call in calls:
        try:
            row.select(F.expr(check(call, row.columns)))
        except PySparkException as error:
            unknown.append(f"{call}: {error.getCondition()}")
    assert unknown == []


@pytest.mark.parametrize(
    "text",
    [
        "TIMESTAMP 'now'",
        "CAST('now' AS TIMESTAMP)",
        "to_date(replace('nxow', 'x', ''))",
        "CAST('no' || 'w' AS DATE)",
    ],
)
def test_texts_that_spark_reads_as_the_clock_are_refused(row: DataFrame, text: str) -> None:
    """These do ask the clock in Spark, constant folding included, and the language refuses each."""
    ((_, value),) = evaluated(row, [text])
    assert str(value)[:4] > "2013"
    with pytest.raises(ExpressionError):
        check(text, row.columns)


def test_reflection_would_run(row: DataFrame) -> None:
    """Spark itself runs static Java methods from SQL text: only the language stands before it."""
    text = "reflect('java.lang.Integer', 'parseInt', '42')"
    assert evaluated(row, [text]) == [("string", "42")]
    with pytest.raises(ExpressionError, match="no call into Java"):
        check(text, row.columns)
