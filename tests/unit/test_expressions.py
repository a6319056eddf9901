"""The expression language: what passes is unchanged, what could reach beyond one row is refused."""

from __future__ import annotations

import pytest

from featurelib.errors import ConfigError
from featurelib.expressions.language import ExpressionError, Select, check, check_select, columns_of
from featurelib.expressions.words import FUNCTIONS, REFUSED

COLUMNS = ("a", "b", "text", "ts", "day", "hour", "minute", "year", "date", "type", "count", "first")

ALLOWED = [
    ("a", ("a",)),
    ("a + b * 2 - -a", ("a", "b")),
    ("a div 100 * 60 + b % 100", ("a", "b")),
    ("pmod(a - hour * 60 - minute, 1440)", ("a", "hour", "minute")),
    ("concat_ws('-', text, make_date(year, a, b))", ("text", "year", "a", "b")),
    ("CASE WHEN a > 15 THEN 1 ELSE 0 END", ("a",)),
    ("CASE text WHEN 'x' THEN 'y' ELSE 'z' END", ("text",)),
    ("CAST(a AS decimal(10, 2))", ("a",)),
    ("try_cast(text AS int) IS NOT NULL", ("text",)),
    ("text LIKE 'a%' AND NOT (a IN (1, 2) OR b NOT BETWEEN 1 AND 2)", ("text", "a", "b")),
    ("text ILIKE '%;--/* %'", ("text",)),
    ("ts + INTERVAL 1 HOUR", ("ts",)),
    ("ts - INTERVAL '2' DAYS", ("ts",)),
    ("TIMESTAMP '2013-01-01 00:00:00Z'", ()),
    ("ts >= TIMESTAMP '2013-01-01T00:00:00.5Z'", ("ts",)),
    ("date > DATE '2013-01-01'", ("date",)),
    ("date_trunc('hour', ts)", ("ts",)),
    ("timestampdiff(MINUTE, ts, day)", ("ts", "day")),
    ("a <=> b", ("a", "b")),
    ("if(isnan(a), NULL, try_divide(a, b))", ("a", "b")),
    ("coalesce(text, 'none') || '-' || type", ("text", "type")),
    ("count + first", ("count", "first")),
    ("1.5e3 * a + 2L", ("a",)),
    ("true", ()),
    ("text = 'epoch'", ("text",)),
    ("text = 'Größe (m²)'", ("text",)),
]


@pytest.mark.parametrize(("text", "columns"), ALLOWED)
def test_allowed_text_is_returned_as_written(text: str, columns: tuple[str, ...]) -> None:
    """Nothing is rewritten, so nothing can change its meaning on the way to Spark."""
    assert check(f"  {text}\n", COLUMNS) == text
    assert columns_of(text) == columns


ATTACKS = [
    # out of the row, the process, the machine
    ("reflect('java.lang.System', 'exit', 0)", "into Java"),
    ("REFLECT ('java.lang.System', 'exit', 0)", "into Java"),
    ("java_method('java.lang.Runtime', 'getRuntime')", "into Java"),
    ("try_reflect('java.lang.System', 'nanoTime')", "into Java"),
    ("my_udf(a)", "function 'my_udf' at character 1"),
    ("input_file_name()", "function 'input_file_name'"),
    ("raise_error('x')", "function 'raise_error'"),
    ("assert_true(a > 1)", "function 'assert_true'"),
    ("current_user()", "function 'current_user'"),
    ("version()", "function 'version'"),
    ("schema_of_json(text)", "function 'schema_of_json'"),
    ("(SELECT 1)", "without a subquery"),
    ("a IN (SELECT 1)", "without a subquery"),
    ("EXISTS (SELECT 1)", "no subquery"),
    ("a; DROP TABLE orders", "';' at character 2"),
    ("a -- b", "no comment"),
    ("a /* hidden */ + b", "no comment"),
    ("a /*+ BROADCAST(x) */", "no comment"),
    ("${secret:env/X}", "no variables"),
    ("@a", "no variables"),
    ("?", "no parameters"),
    ("t.a", "without a table"),
    ("a.b.c", "without a table"),
    ("`a`", "without quotes"),
    ('"a"', "in single quotes"),
    ("text['x']", "no arrays or maps"),
    ("a::int", r"CAST\(x AS type\)"),
    ("transform(a, x -> x + 1)", "no lambda"),
    ("round(a, scale => 2)", "arguments by position"),
    ("'a\\' || reflect(1) || \\''", "without a backslash"),
    ("'it''s'", "join texts with concat"),
    ("'open", "closed by '"),
    ("r'x'", "not part of the language"),
    ("x'ff'", "not part of the language"),
    ("text 'x'", "a declared column or a word of the language"),
    ("a b", "without AS"),
    ("a AS b", "without AS"),
    ("*", "columns by name"),
    ("count(*)", "aggregation of a feature view"),
    ("text COLLATE UNICODE", "not part of the language"),
    ("text RLIKE '(a+)+'", "not part of the language"),
    ("extract(year FROM ts)", "function 'extract'"),
    ("\uff41 > 1", "at character 1"),
    ("a\u00a0> 1", "at character 2"),
    ("a > 1\x00", "at character 6"),
    # another row
    ("sum(a)", "aggregation of a feature view"),
    ("max(a) > 1", "aggregation of a feature view"),
    ("lag(a) OVER (ORDER BY ts)", "aggregation of a feature view"),
    ("explode(a)", "function 'explode'"),
    # the clock, by every door
    ("current_timestamp", "no clock"),
    ("current_timestamp()", "no clock"),
    ("current_date", "no clock"),
    ("now()", "no clock"),
    ("unix_timestamp()", "1 to 2 arguments, not 0"),
    ("TIMESTAMP 'now'", "YYYY-MM-DD"),
    ("DATE 'today'", "YYYY-MM-DD"),
    ("CAST('now' AS TIMESTAMP)", "take for the clock"),
    ("ts < ' Yesterday UTC '", "take for the clock"),
    ("ts BETWEEN 'today' AND 'tomorrow'", "take for the clock"),
    ("CASE WHEN a > 1 THEN 'now' ELSE ts END", "take for the clock"),
    ("ts < concat('no', 'w')", "constants only"),
    ("CAST('no' || 'w' AS DATE)", "constants only"),
    ("to_date(replace('nxow', 'x', ''))", "constants only"),
    ("ts < concat(CAST('no' AS string), CAST('w' AS string))", "constants only"),
    ("ts < CASE WHEN true THEN 'no' || 'w' END", "constants only"),
    # chance
    ("rand()", "no chance"),
    ("uuid()", "no chance"),
    ("monotonically_increasing_id()", "no chance"),
    # too much
    ("(" * 41 + "a" + ")" * 41, "40 levels"),
    ("NOT " * 480 + "a", "nested too deeply"),
    ("a" + " + a" * 300, "at most 500"),
    ("a" * 4_001, "at most 4000"),
]


@pytest.mark.parametrize(("text", "message"), ATTACKS)
def test_attack_is_refused(text: str, message: str) -> None:
    """Nothing leaves the row: no code, no file, no clock, no chance, no other row, no endless text."""
    with pytest.raises(ExpressionError, match=message) as caught:
        check(text, COLUMNS)
    assert caught.value.exit_code == 2


MISTAKES = [
    ("", "an empty expression"),
    ("a +", "no valid expression at character 3"),
    ("(a", "no valid expression"),
    ("a IN ()", "at least one value"),
    ("aa > 1", "unknown column 'aa' at character 1"),
    ("b + txt", "unknown column 'txt' at character 5 of 'b \\+ txt'. Did you mean 'text'?"),
    ("A > 1", "unknown column 'A' at character 1 of 'A > 1'. Did you mean 'a'?"),
    ("concatws('-', a)", "Did you mean 'concat_ws'?"),
    ("round(a, 1, 2)", "1 to 2 arguments, not 3"),
    ("if(a > 1, 2)", "3 arguments, not 2"),
    ("coalesce(a)", "2 or more arguments, not 1"),
    ("CAST(a AS text)", "type 'text' at character 11"),
    ("CAST(a AS array<int>)", "type 'array'"),
    ("CAST(a)", "AS and one of"),
    ("date_trunc('fortnight', ts)", "a unit: day, hour"),
    ("INTERVAL a HOUR", "INTERVAL 1 HOUR"),
    ("ts + INTERVAL 1 FORTNIGHT", "INTERVAL 1 HOUR|no valid"),
    ("TIMESTAMP '2013-02-30 00:00:00Z'", "an existing UTC instant"),
    ("TIMESTAMP '2013-01-01 06:00:00'", "an existing UTC instant"),
    ("TIMESTAMP '2013-01-01 06:00:00+02:00'", "YYYY-MM-DD"),
    ("DATE '2013-1-1'", "YYYY-MM-DD"),
    ("a IS DISTINCT FROM b", "not part of the language"),
    ("ts - INTERVAL 1 DAY 2 HOUR", "'2' at character 21 .*\n.*one unit"),
    ("a!", "NOT, or !="),
    ("int '5'", r"CAST\('5' AS int\)"),
]


@pytest.mark.parametrize(("text", "message"), MISTAKES)
def test_mistake_is_explained(text: str, message: str) -> None:
    """An honest mistake is answered with its position and what would be right."""
    with pytest.raises(ExpressionError, match=message):
        check(text, COLUMNS)


def test_error_is_a_config_error_with_parts() -> None:
    """What was given and what was expected stay on the error."""
    with pytest.raises(ConfigError) as caught:
        check("lowr(text)", COLUMNS)
    assert caught.value.given == "function 'lowr' at character 1 of 'lowr(text)'"
    assert caught.value.expected.endswith("Did you mean 'lower'?")


def test_allowed_and_refused_functions_are_apart() -> None:
    """No function is both called fit and given a reason for being unfit."""
    assert not FUNCTIONS.keys() & REFUSED.keys()


def test_select_gives_its_parts() -> None:
    """Each output column has its text as written; commas, FROM and WHERE within texts are texts."""
    select = check_select("SELECT a, concat(text, ', x FROM y WHERE') AS z FROM t WHERE b > 1", "t", COLUMNS)
    assert select == Select({"a": "a", "z": "concat(text, ', x FROM y WHERE')"}, "b > 1")


def test_star_is_all_columns() -> None:
    """``*`` stands for the table's columns, in their order."""
    assert check_select("select *, a + 1 as c from t", "t", ["b", "a"]) == Select(
        {"b": "b", "a": "a", "c": "a + 1"}
    )


SELECTS = [
    ("", "SELECT expression AS name"),
    ("a", "SELECT expression AS name"),
    ("SELECT a", "FROM t"),
    ("SELECT a FROM", "FROM t"),
    ("SELECT FROM t", "an expression between the commas"),
    ("SELECT a, FROM t", "an expression between the commas"),
    ("SELECT a FROM u", "'u' at character 15"),
    ("SELECT a FROM t, u", "one table"),
    ("SELECT a FROM t x", "one table"),
    ("SELECT a FROM s.t", "without a table"),
    ("SELECT a FROM t JOIN u", "'JOIN' at character 17"),
    ("SELECT a FROM t CROSS JOIN u", "nothing else"),
    ("SELECT a FROM t, LATERAL explode(a)", "one table"),
    ("SELECT a FROM t GROUP BY a", "nothing else"),
    ("SELECT a FROM t ORDER BY a", "nothing else"),
    ("SELECT a FROM t WHERE a > 1 LIMIT 3", "nothing else"),
    ("SELECT DISTINCT a FROM t", "nothing else"),
    ("SELECT a FROM t UNION SELECT b FROM t", "nothing else"),
    ("WITH u AS (SELECT 1) SELECT a FROM t", "nothing else"),
    ("SELECT (SELECT 1) AS b FROM t", "nothing else"),
    ("SELECT a + 1 FROM t", "AS name"),
    ("SELECT a b FROM t", "AS name"),
    ("SELECT a AS B FROM t", "lower-case"),
    ("SELECT a AS a, b AS a FROM t", "each output column once"),
    ("SELECT *, a FROM t", "each output column once"),
    ("SELECT sum(a) AS b FROM t", "aggregation of a feature view"),
    ("SELECT a FROM t WHERE", "an empty expression"),
    ("SELECT a FROM t WHERE c > 1", "unknown column 'c'"),
    ("SELECT a FROM t;", "';' at character 16"),
    ("SELECT a FROM t -- x", "no comment"),
    ("SELECT /*+ REPARTITION(9) */ a FROM t", "no comment"),
    ("SELECT TRANSFORM(a) USING 'sh' AS b FROM t", "."),
    ("SELECT a FROM t WHERE a = 1 AND exists (select 1)", "nothing else"),
]


@pytest.mark.parametrize(("text", "message"), SELECTS)
def test_other_selects_are_refused(text: str, message: str) -> None:
    """One table, named expressions and a condition; nothing that joins, groups, orders or hides."""
    with pytest.raises(ExpressionError, match=message):
        check_select(text, "t", COLUMNS)
