"""The words of the expression language: what may be called, cast to and written, as plain tables."""

from __future__ import annotations

from typing import Final


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Function to its fewest and most arguments; None means any number.
FUNCTIONS: Final[dict[str, tuple[int, int | None]]] = {
    # choice
    "coalesce": (2, None),
    "if": (3, 3),
    "ifnull": (2, 2),
    "isnan": (1, 1),
    "isnotnull": (1, 1),
    "isnull": (1, 1),
    "nanvl": (2, 2),
    "nullif": (2, 2),
    "nvl": (2, 2),
    "nvl2": (3, 3),
    "greatest": (2, None),
    "least": (2, None),
    # numbers
    "abs": (1, 1),
    "bround": (1, 2),
    "cbrt": (1, 1),
    "ceil": (1, 1),
    "ceiling": (1, 1),
    "cos": (1, 1),
    "exp": (1, 1),
    "expm1": (1, 1),
    "floor": (1, 1),
    "ln": (1, 1),
    "log": (1, 2),
    "log10": (1, 1),
    "log1p": (1, 1),
    "log2": (1, 1),
    "mod": (2, 2),
    "negative": (1, 1),
    "pi": (0, 0),
    "pmod": (2, 2),
    "pow": (2, 2),
    "power": (2, 2),
    "radians": (1, 1),
    "round": (1, 2),
    "sign": (1, 1),
    "signum": (1, 1),
    "sin": (1, 1),
    "sqrt": (1, 1),
    "tanh": (1, 1),
    "try_add": (2, 2),
    "try_divide": (2, 2),
    "try_multiply": (2, 2),
    "try_subtract": (2, 2),
    # text
    "char_length": (1, 1),
    "concat": (1, None),
    "concat_ws": (2, None),
    "contains": (2, 2),
    "endswith": (2, 2),
    "initcap": (1, 1),
    "instr": (2, 2),
    "left": (2, 2),
    "length": (1, 1),
    "lower": (1, 1),
    "ltrim": (1, 1),
    "replace": (2, 3),
    "right": (2, 2),
    "rtrim": (1, 1),
    "split_part": (3, 3),
    "startswith": (2, 2),
    "substr": (2, 3),
    "substring": (2, 3),
    "translate": (3, 3),
    "trim": (1, 1),
    "upper": (1, 1),
    # dates and instants
    "add_months": (2, 2),
    "date_add": (2, 2),
    "date_diff": (2, 2),
    "date_sub": (2, 2),
    "date_trunc": (2, 2),
    "datediff": (2, 2),
    "day": (1, 1),
    "dayofmonth": (1, 1),
    "dayofweek": (1, 1),
    "dayofyear": (1, 1),
    "from_utc_timestamp": (2, 2),
    "hour": (1, 1),
    "last_day": (1, 1),
    "make_date": (3, 3),
    "make_timestamp": (6, 7),
    "minute": (1, 1),
    "month": (1, 1),
    "months_between": (2, 3),
    "quarter": (1, 1),
    "second": (1, 1),
    "timestamp_micros": (1, 1),
    "timestamp_millis": (1, 1),
    "timestamp_seconds": (1, 1),
    "timestampadd": (3, 3),
    "timestampdiff": (3, 3),
    "to_date": (1, 2),
    "to_timestamp": (1, 2),
    "to_utc_timestamp": (2, 2),
    "unix_date": (1, 1),
    "unix_micros": (1, 1),
    "unix_millis": (1, 1),
    "unix_seconds": (1, 1),
    "unix_timestamp": (1, 2),
    "weekday": (1, 1),
    "weekofyear": (1, 1),
    "year": (1, 1),
}

TYPES: Final = _words(
    "bigint boolean date decimal double float int integer long smallint string timestamp tinyint"
)

UNITS: Final = _words("microsecond millisecond second minute hour day week month quarter year")
INTERVAL_UNITS: Final = UNITS - {"quarter"} | {f"{unit}s" for unit in UNITS - {"quarter"}}

KEYWORDS: Final = (
    _words("and or not case when then else end is null in between like ilike interval as div true false")
    | _words("cast try_cast")
    | TYPES
    | UNITS
    | INTERVAL_UNITS
)

# Signs of SQL that could hide, rename or reach something.
REFUSED_SIGNS: Final[dict[str, str]] = {
    "--": "no comment in an expression; YAML has # for them",
    "/*": "no comment in an expression; YAML has # for them",
    "->": "no lambda and no path into a document",
    "=>": "arguments by position",
    ";": "one expression",
    "\\": "no backslash: texts stand for themselves",
    '"': "'text' in single quotes; column names without quotes",
    "`": "column names without quotes",
    ".": "columns by their own name, without a table",
    ":": "CAST(x AS type)",
    "[": "no arrays or maps; a transform can take them apart",
    "{": "no braces; references such as ${root} belong to settings",
    "$": "no variables",
    "@": "no variables",
    "?": "no parameters",
    "!": "NOT, or != for inequality",
    "'": "a text closed by ' on the same line, without a backslash",
}

_CLOCK = "no clock: every job is given its moment by --as-of, and a rerun must give the same rows"
_CHANCE = "no chance: a rerun must give the same rows"
_JVM = "no call into Java, of a script or of a user-defined function"
_AGGREGATE = "an aggregation of a feature view: expressions see one row"

# Words whose refusal deserves its reason.
REFUSED: Final[dict[str, str]] = {
    word: reason
    for reason, words in (
        (_CLOCK, "current_date current_timestamp now curdate localtimestamp current_time current_timezone"),
        (_CHANCE, "rand random randn uuid shuffle monotonically_increasing_id randstr uniform"),
        (_JVM, "reflect java_method try_reflect transform udf ai_query"),
        (_AGGREGATE, "sum avg mean count min max first last stddev variance any_value collect_list"),
        (_AGGREGATE, "over row_number rank dense_rank lag lead ntile partition"),
        ("no subquery", "select from where exists join union with table lateral"),
    )
    for word in words.split()
}

# Node classes of sqlglot that allowed text parses to: first what is no call, then what calls become.
NODES: Final = _words(
    """
    Column Identifier Literal Boolean Null Paren And Or Not EQ NEQ GT GTE LT LTE NullSafeEQ Add Sub Mul Div
    IntDiv Mod Neg Is In Between Like ILike Case If Cast TryCast DataType DataTypeParam Interval Var DPipe

    Abs AddMonths Anonymous AtTimeZone Cbrt Ceil Coalesce Concat ConcatWs Contains Cos DateDiff Day
    DayOfMonth DayOfWeek DayOfYear EndsWith Exp Floor FromTimeZone Greatest Hour Initcap IsNan LastDay
    Least Left Length Ln Log Lower Minute Month MonthsBetween Nanvl Negative Nullif Nvl2 Pi Pow Quarter
    Radians Replace Right Round SafeAdd SafeDivide SafeMultiply SafeSubtract Second Sign Sin SplitPart
    Sqrt StartsWith StrPosition StrToTime StrToUnix Substring Tanh TimestampAdd TimestampDiff
    TimestampFromParts TimestampTrunc Translate Trim TsOrDsAdd TsOrDsToDate UnixDate UnixMicros
    UnixMillis UnixSeconds Upper WeekOfYear Year
    """
)
