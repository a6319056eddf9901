"""Every expression that Polars is trusted with has the type and value that Spark gives it, row by row."""

from __future__ import annotations

import itertools
import math
import struct
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa
import pytest
from pyspark.errors import PySparkException
from pyspark.sql import functions as F

from featurelib.errors import FrameError
from featurelib.expressions.frames import PolarsExpression, polars_type, with_expressions
from featurelib.expressions.functions import FUNCTIONS
from featurelib.expressions.on_polars import cannot_run_without_spark, polars_expression

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

TYPES = {
    "i": "int", "j": "int", "n": "long", "m": "long", "x": "double", "y": "double", "s": "string", "t": "string",
    "p": "boolean", "q": "boolean", "d": "date", "e": "date", "u": "timestamp_utc", "v": "timestamp_utc",
    "a": "decimal(20,2)", "c": "decimal(20,2)",
}  # fmt: skip


def at(*parts: int) -> datetime:
    """An instant in UTC."""
    return datetime(*parts, tzinfo=UTC)


BIG, LEAST = 2**63 - 1, -(2**63)
ROWS: list[tuple[Any, ...]] = [
    (7, 2, 7, 2, 2.5, 0.5, " Ab-c ", "b", True, True, date(2013, 2, 28), date(2013, 3, 1), at(2013, 2, 28, 23, 59, 58, 500000), at(2013, 3, 1)),
    (-7, 2, -7, 2, -2.5, 3.0, "", "", True, False, date(2012, 2, 29), date(2012, 12, 31), at(1969, 12, 31, 23, 59, 59, 999999), at(1970, 1, 1)),
    (7, -2, 7, -2, 0.49999999999999994, -0.0, "a%b_c", "%", False, True, date(1900, 2, 28), date(1969, 12, 31), at(1900, 1, 1, 0, 0, 0, 1), at(2013, 3, 10, 7)),
    (-7, -2, -7, -2, 1.5, 1e-300, "äÖß€😀", "Ö", False, False, date(2000, 1, 31), date(2001, 1, 1), at(2100, 12, 31, 23), at(2200, 7, 4, 1, 2, 3)),
    (None, None, None, None, None, None, None, None, None, None, None, None, None, None),
    (0, 1, 0, 1, 0.0, -0.0, "İSTANBUL ΣΑΣ", "straße", None, True, date(1, 1, 1), date(9999, 12, 31), at(1, 1, 1), at(9999, 12, 31, 23, 59, 59, 999999)),
    (1, 0, 1, 0, 1.0, 0.0, "x-y-z", "-", True, None, date(2024, 2, 29), None, at(2024, 2, 29, 12), None),
    (2**31 - 1, 1, BIG, 1, math.nan, 1.0, "  12 ", "12", None, False, date(2013, 12, 30), date(2013, 12, 29), at(2013, 12, 30), at(2013, 12, 29, 23, 30)),
    (-(2**31), -1, LEAST, -1, math.inf, math.nan, "-9223372036854775808", "+5", False, None, date(2010, 1, 3), date(2009, 12, 31), at(2013, 11, 3, 5, 30), at(2013, 11, 3, 6, 30)),
    (46341, 46341, 3037000500, 3037000500, -math.inf, math.inf, "2147483648", "1.5", None, None, date(1582, 10, 4), date(1582, 10, 15), at(1582, 10, 4), at(1582, 10, 15)),
    (3, None, None, 5, 1e300, -1e300, "tab\tnew\nline", "\t", True, True, None, date(2016, 2, 29), None, at(2016, 2, 29)),
    (None, 4, 6, None, 0.1, 0.2, "x", None, False, False, date(2015, 6, 30), date(2014, 6, 30), at(2015, 6, 30, 23, 59, 59), at(2014, 6, 30)),
    (13, 31, 100, 7, 9007199254740993.0, 2.0, "aaa", "aa", True, False, date(2019, 5, 31), date(2019, 6, 30), at(2019, 5, 31, 1), at(2019, 6, 30, 1)),
    (2, 30, 2**53 + 1, 3, -0.0, 0.0, "Z", "z", False, True, date(2021, 1, 4), date(2021, 1, 3), at(2021, 1, 4), at(2021, 1, 3)),
    (100, 3, 1386, 10, 2.0**63, -(2.0**63), "now", "é", True, True, date(2008, 12, 29), date(2010, 12, 31), at(2008, 12, 29, 4, 5, 6, 123456), at(2010, 12, 31)),
    (5, 5, 5, 5, 2147483647.9, -2147483648.9, "a", "a", True, True, date(2013, 3, 10), date(2013, 3, 10), at(2013, 3, 10, 6, 59, 59), at(2013, 3, 10, 6, 59, 59)),
]  # fmt: skip

COMPARED = ("=", "!=", "<", "<=", ">", ">=", "<=>")
PAIRS = ("ac", "ij", "nm", "xy", "st", "pq", "de", "uv", "in", "ix", "nx", "du")
EXPRESSIONS = [
    *(f"{a} {sign} {b}" for a, b in PAIRS for sign in COMPARED),
    *(f"{a} {sign} {b}" for a, b in ("ij", "nm", "xy", "im", "ny") for sign in ("+", "-", "*", "/")),
    *(f"{a} {sign} {b}" for a, b in ("ij", "nm", "im") for sign in ("%", "div")),
    *(f"pmod({a}, {b})" for a, b in ("ij", "nm")),
    "mod(i, j)", "-i", "-n", "-x", "negative(n)", "+i", "i * 60 + j", "n - 1L", "x + 0.1", "x > 0.1", "i = 7 AND x / j > 1",
    "p AND q", "p OR q", "NOT p", "p AND i / j > 0", "NOT p OR i / j > 0", "p IS TRUE", "p IS NOT FALSE", "q IS NULL", "q IS NOT NULL",
    "a IS NULL", "isnotnull(c)", "coalesce(a, c)", "nullif(a, c)", "greatest(a, c)", "least(a, c)", "CASE WHEN a > c THEN a WHEN p THEN c END", "a IN (c)", "a BETWEEN c AND a", "CAST(NULL AS double)",
    "i IN (1, 7, NULL)", "s IN ('a', 'x')", "i NOT IN (7, 2)", "x IN (0.5D, 1)", "i BETWEEN 0 AND j", "x NOT BETWEEN y AND 2.5", "d BETWEEN DATE '2013-01-01' AND e",
    "s LIKE 'a%'", "s LIKE '%b\u005fc'", "s LIKE '_'", "s LIKE '%'", "s LIKE 'a.*'", "s NOT LIKE '%-%'", "s ILIKE ' ab%'", "s LIKE '%line'", "s LIKE '%😀'", "s LIKE '____€_'",
    "CASE WHEN j <> 0 THEN i / j ELSE 0D END", "CASE WHEN i > 5 THEN 'big' WHEN i > 0 THEN 'small' END", "CASE i WHEN 7 THEN 1 WHEN NULL THEN 2 ELSE 3 END",
    "CASE WHEN p THEN i ELSE n END", "CASE WHEN p THEN d ELSE u END",
    "if(p, i, j)", "if(x > y, x, 1)", "ifnull(i, j)", "nvl(i, n)", "nvl2(i, j, n)", "nullif(i, j)", "nullif(x, y)", "nullif(i, n)", "nullif(x, 0)",
    "coalesce(i, j, 0)", "coalesce(d, e)", "coalesce(nullif(j, 0), i div j)", "nanvl(x, y)", "isnan(x)", "isnull(s)", "isnotnull(s)",
    "greatest(i, j)", "least(i, j)", "greatest(x, y)", "least(x, y)", "greatest(x, y, i)", "least(s, t)", "greatest(d, e)", "greatest(u, v)",
    "abs(i)", "abs(n)", "abs(x)", "ceil(x)", "ceiling(y)", "floor(x)", "floor(i)", "ceil(n)", "round(x)", "round(y)", "bround(x)", "bround(y)", "round(i)", "round(n, 0)",
    "sign(x)", "signum(y)", "sign(i)", "sqrt(x)", "sqrt(i)", "radians(x)", *(f"{name}({v})" for name in ("cbrt","exp","ln","log10","log1p","sin","cos","tanh") for v in ("i","n","x","y")), "pow(x, y)", "pow(x, 2)", "power(i, j)",
    "try_add(i, j)", "try_add(n, m)", "try_subtract(n, m)", "try_multiply(i, j)", "try_multiply(n, m)", "try_divide(x, y)", "try_divide(i, j)", "try_add(x, y)",
    "CAST(i AS bigint)", "CAST(i AS double)", "CAST(i AS string)", "CAST(n AS int)", "CAST(n AS string)", "CAST(n AS double)", "CAST(x AS int)", "CAST(y AS int)",
    "CAST(x AS bigint)", "CAST(y AS bigint)", "CAST(p AS int)", "CAST(p AS bigint)", "CAST(p AS double)", "CAST(p AS string)", "CAST(s AS int)", "CAST(s AS bigint)", "CAST(t AS int)",
    "CAST(d AS string)", "CAST(u AS string)", "CAST(v AS string)", "CAST(u AS date)", "CAST(d AS timestamp)", "CAST(u AS bigint)", "CAST(s AS string)", "CAST(NULL AS int)", "CAST(0.1 AS double)",
    "TRY_CAST(s AS int)", "TRY_CAST(s AS bigint)", "TRY_CAST(t AS int)", "TRY_CAST(x AS int)", "TRY_CAST(n AS int)", "TRY_CAST(y AS bigint)",
    "concat(s, t)", "concat(s, i, d, p, u)", "s || '-' || n", "concat_ws('-', s, t)", "concat_ws('', t)", "concat_ws('-', i, d, t)", "contains(s, t)", "startswith(s, t)", "endswith(s, t)", "contains(s, '')",
    "length(s)", "char_length(s)", "lower(s)", "upper(s)", "upper(t)", "trim(s)", "ltrim(s)", "rtrim(s)", "left(s, 2)", "left(s, i)", "right(s, 2)", "right(s, j)", "substring(s, 2, 2)",
    "substring(s, -2)", "substr(s, 0, 2)", "substring(s, -9, 5)", "substring(s, i, j)", "substring(s, 3)", "replace(s, 'a', 'bb')", "replace(s, '-')", "translate(s, 'abA', 'xy')", "translate(s, 'aa', 'bc')",
    "split_part(s, '-', 2)", "split_part(s, '-', -1)", "split_part(s, 'a', 1)", "split_part(s, '-', 9)",
    "make_date(i, j, 1)", "make_date(2013, i, j)", "make_date(2012, 2, j)", "make_date(year(d), month(e), 28)", "date_add(d, i)", "date_add(e, 1)", "date_sub(d, j)", "add_months(d, j)", "add_months(d, -1)", "add_months(e, 12)",
    "last_day(d)", "datediff(d, e)", "date_diff(e, d)", "day(d)", "dayofmonth(u)", "dayofweek(d)", "weekday(d)", "dayofyear(d)", "weekofyear(d)", "weekofyear(e)", "month(d)", "quarter(d)", "year(d)", "year(u)", "dayofweek(u)",
    "hour(u)", "minute(u)", "second(u)", "hour(d)", *(f"date_trunc('{unit}', u)" for unit in ("microsecond", "millisecond", "second", "minute", "hour", "day", "week", "month", "quarter", "year")), "date_trunc('MONTH', d)",
    *(f"timestampdiff({unit}, u, v)" for unit in ("MICROSECOND", "SECOND", "HOUR", "DAY", "WEEK")), *(f"timestampadd({unit}, j, u)" for unit in ("SECOND", "HOUR", "DAY", "MONTH", "QUARTER", "YEAR")),
    "u + INTERVAL 90 MINUTES", "u - INTERVAL 1 HOUR", "u - INTERVAL '2' DAYS", "u + INTERVAL 1 MONTH", "v - INTERVAL 1 YEAR", "d + INTERVAL 1 DAY", "d + INTERVAL 1 WEEK", "d - INTERVAL 1 MONTH", "d + INTERVAL 1 HOUR", "e + INTERVAL 1 YEAR",
    "u >= TIMESTAMP '2013-01-01 00:00:00Z'", "d < DATE '2013-03-01'", "u > DATE '2013-03-01'", "timestamp_seconds(i)", "timestamp_millis(n)", "timestamp_micros(n)", "timestamp_seconds(n)",
    "to_date(u)", "to_timestamp(d)", "unix_date(d)", "unix_micros(u)", "unix_millis(u)", "unix_seconds(u)", "unix_timestamp(u)", "unix_timestamp(v)",
]  # fmt: skip


def frame() -> pl.DataFrame:
    """The rows, with a number each."""
    schema = {name: polars_type(kind) for name, kind in TYPES.items()}
    decimals = itertools.cycle([Decimal("1.10"), None, Decimal("-1.10"), Decimal(10**17), Decimal("0.00")])
    rows = [(*row, *itertools.islice(decimals, 2)) for row in ROWS]
    return pl.DataFrame(rows, schema=schema, orient="row").with_row_index("row")


def without_faults(rows: pl.DataFrame, expression: PolarsExpression) -> list[int]:
    """The numbers of the rows for which Spark is not expected to fail."""
    bad: set[int] = set()
    for _, fault in expression.faults:
        flags = rows.with_columns(fault.alias("__fault"))
        bad |= set(flags.filter("__fault")["row"].to_list())
    return [number for number in rows["row"].to_list() if number not in bad]


def shown(values: pa.Array) -> list[Any]:
    """Values that compare by type and bits; NaN is one value."""
    if pa.types.is_floating(values.type):
        return [
            None if v is None else "NaN" if math.isnan(v) else struct.pack("<d", v)
            for v in values.to_pylist()
        ]
    if pa.types.is_temporal(values.type):
        wide = values.cast(pa.int64()) if pa.types.is_timestamp(values.type) else values.cast(pa.int32())
        return wide.to_pylist()
    return values.to_pylist()


def test_polars_gives_what_spark_gives(spark: SparkSession) -> None:
    """All expressions over all rows, in one query: the same types, and the same values to the bit."""
    rows = frame()
    compiled = [polars_expression(text, TYPES) for text in EXPRESSIONS]
    kept = [without_faults(rows, expression) for expression in compiled]
    given = spark.createDataFrame(rows.with_columns(pl.col("row").cast(pl.Int32)).to_arrow())
    in_spark = [
        F.expr(f"CASE WHEN row IN ({', '.join(map(str, numbers))}) THEN {text} END").alias(f"c{at}")
        for at, (text, numbers) in enumerate(zip(EXPRESSIONS, kept, strict=True))
    ]
    wanted = given.select("row", *in_spark).orderBy("row").toArrow()
    wrong = []
    for number, (expression, numbers) in enumerate(zip(compiled, kept, strict=True)):
        there = wanted.column(f"c{number}").combine_chunks()
        good = rows.filter(pl.col("row").is_in(numbers))
        values = with_expressions(good, {"value": expression}).select("row", "value")
        here = (
            rows.select("row").join(values, on="row", how="left", maintain_order="left")["value"].to_arrow()
        )
        here = (
            here.cast(pa.string())
            if pa.types.is_large_string(here.type) or here.type == pa.string_view()
            else here
        )
        if here.type != there.type:
            wrong.append(f"{expression.text}: {here.type} here, {there.type} in Spark")
        elif not expression.is_exact:
            pairs = zip(here.to_pylist(), there.to_pylist(), strict=True)
            if not all(a == b or a == pytest.approx(b, rel=1e-15, abs=0.0, nan_ok=True) for a, b in pairs):
                wrong.append(f"{expression.text}: {here.to_pylist()} here, {there.to_pylist()} in Spark")
        elif shown(here) != shown(there):
            pairs = zip(here.to_pylist(), there.to_pylist(), strict=True)
            odd = [(at, a, b) for at, (a, b) in enumerate(pairs) if shown(here)[at] != shown(there)[at]]
            wrong.append(f"{expression.text}: {odd[:3]}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "text", ["a + c", "-a", "a > 5", "a * 2", "CAST(a AS double)", "abs(a)", "concat(s, a)", "a < 1.5"]
)
def test_what_computes_with_decimals_is_left_to_spark(text: str) -> None:
    """Spark gives sums, products and mixtures digits of their own."""
    assert cannot_run_without_spark(text, TYPES) is not None


FAILING = ["1 / 0", "1 % 0", "1 div 0", "1D / 0D", "2147483647 + 1", "9223372036854775807L * 2L", "CAST(1e10D AS int)",
           "CAST(9999999999L AS int)", "make_date(2013, 2, 30)", "abs(-9223372036854775808L)",
           "timestamp_seconds(9223372036854775807L)"]  # fmt: skip


def test_what_fails_in_spark_fails_on_polars(spark: SparkSession) -> None:
    """A row for which Spark raises is refused with the reason, never given infinity or a wrapped number."""
    for text in FAILING:
        with pytest.raises(PySparkException):
            spark.range(1).select(F.expr(text)).collect()
        with pytest.raises(FrameError, match="in 1 rows"):
            with_expressions(pl.DataFrame({"a": [1]}), {"r": polars_expression(text, {"a": "int"})})


def test_every_function_of_polars_is_in_the_matrix() -> None:
    """No function is trusted that the matrix does not call."""
    assert [name for name in FUNCTIONS if not any(f"{name}(" in text for text in EXPRESSIONS)] == []
