"""What of the expression language runs without Spark, and how it says what does not."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import polars as pl
import pytest

from featurelib.errors import ConfigError, FrameError
from featurelib.expressions.frames import only_where, with_expressions
from featurelib.expressions.functions import FUNCTIONS
from featurelib.expressions.numbers import ROUNDED
from featurelib.expressions.on_polars import cannot_run_without_spark, polars_expression
from featurelib.expressions.words import FUNCTIONS as LANGUAGE

TYPES = {"a": "int", "b": "int", "x": "double", "s": "string", "ts": "timestamp_utc", "day": "date"}
DOCS = Path(__file__).parents[2] / "docs" / "configuration.md"


def test_precedence_is_that_of_spark() -> None:
    """NOT binds less than a comparison, AND less than NOT, and signs as in arithmetic."""
    rows = pl.DataFrame({"a": [7, -7], "b": [2, 2]}, schema={"a": pl.Int32, "b": pl.Int32})
    texts = ["a + b * 2", "NOT a > b AND b = 2", "-a - -b", "a = 7 OR b = 3 AND a = 0", "a % 4 * 2"]
    found = [with_expressions(rows, {"v": polars_expression(text, TYPES)})["v"].to_list() for text in texts]
    assert found == [[11, -3], [False, True], [-5, 9], [True, False], [6, -6]]


def test_a_branch_not_taken_cannot_fail() -> None:
    """CASE, AND and coalesce guard what they do not evaluate; without a guard the row is refused."""
    rows = pl.DataFrame({"a": [4, 1], "b": [2, 0]}, schema={"a": pl.Int32, "b": pl.Int32})
    guarded = polars_expression("CASE WHEN b <> 0 AND a / b > 1 THEN a / b END", TYPES)
    assert with_expressions(rows, {"v": guarded})["v"].to_list() == [2.0, None]
    with pytest.raises(FrameError, match="a division by zero in 'a / b', in 1 rows"):
        with_expressions(rows, {"v": polars_expression("a / b", TYPES)})


def test_where_keeps_what_is_true() -> None:
    """A row whose condition is null is not kept."""
    rows = pl.DataFrame({"x": [1.0, None, -1.0]})
    assert only_where(rows, polars_expression("x > 0", TYPES))["x"].to_list() == [1.0]


REASONS = [
    ("initcap(s)", "the function initcap"),
    ("a * 0.5", "decimal arithmetic: write 0.5D"),
    ("round(x, 2)", "rounding to digits"),
    ("CAST(x AS string)", "a cast from double to string"),
    ("CAST(a AS decimal(10, 2))", "a cast to decimal"),
    ("s > 5", "a comparison of a string and an int"),
    ("s LIKE s", "a pattern that is no literal"),
    ("from_utc_timestamp(ts, 'America/New_York')", "the function from_utc_timestamp"),
    ("ln(x) + pow(x, 2)", "the last digit of ln, pow"),
    ("to_date(s)", "reading a text"),
]


@pytest.mark.parametrize(("text", "reason"), REASONS)
def test_what_needs_spark_says_so(text: str, reason: str) -> None:
    """The reason names what of the expression only Spark evaluates."""
    assert (cannot_run_without_spark(text, TYPES) or "").startswith(reason)


def test_what_needs_spark_is_refused() -> None:
    """Compiling it is an error of the configuration, with the reason."""
    with pytest.raises(ConfigError, match=r"'initcap\(s\)' cannot run without Spark: the function initcap"):
        polars_expression("initcap(s)", TYPES)


def test_a_rounded_function_runs_but_is_not_exact() -> None:
    """Logarithms run without Spark, and say that the last digit may differ."""
    assert not polars_expression("ln(x)", TYPES).is_exact
    assert polars_expression("x * 2", TYPES).is_exact
    assert cannot_run_without_spark("x * 2", TYPES) is None


def test_expression_travels() -> None:
    """A compiled expression pickles, so that tasks can evaluate it."""
    again = pickle.loads(pickle.dumps(polars_expression("a + 1", TYPES)))
    assert with_expressions(pl.DataFrame({"a": pl.Series([1], dtype=pl.Int32)}), {"v": again})["v"][0] == 2


def test_documents_list_what_needs_spark() -> None:
    """The configuration's document names exactly the functions that Polars does not compute, or rounds."""
    section = DOCS.read_text(encoding="utf-8").partition("### Without Spark")[2].partition("\n## ")[0]
    lists = [set(re.findall(r"[a-z_0-9]+", found)) for found in re.findall(r": `([^`]+)`", section)]
    assert lists == [LANGUAGE.keys() - FUNCTIONS.keys(), set(ROUNDED)]
