"""Received text becomes typed columns; what cannot is named, never lost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from featurelib.column_types import decimal_digits
from featurelib.specs import ColumnType, LandedTable

REASONS: Final = "_reasons"
"""Array of texts: why a row is in quarantine; empty for a good row."""

_SPARK_TYPES: Final[dict[str, T.DataType]] = {
    "string": T.StringType(),
    "boolean": T.BooleanType(),
    "int": T.IntegerType(),
    "long": T.LongType(),
    "double": T.DoubleType(),
    "date": T.DateType(),
    "timestamp_utc": T.TimestampType(),
}

_WORDS: Final = {kind: name for name, kind in _SPARK_TYPES.items()}

_SAYS_UTC = r"^\s*\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?(Z|\+00:?00)\s*$"
_SHOWN = 40
_OTHERS = "_others"
_BETWEEN = "\x1f"


def spark_type(kind: ColumnType) -> T.DataType:
    """Return the Spark type of a column type."""
    digits = decimal_digits(kind)
    return _SPARK_TYPES[kind] if digits is None else T.DecimalType(*digits)


def type_name(kind: T.DataType) -> str:
    """Return the column type that a Spark type is, and Spark's own word where it is none."""
    return _WORDS.get(kind, kind.simpleString())


def to_typed(received: DataFrame, *, table: LandedTable) -> DataFrame:
    """Return the rows with typed columns, their other columns and ``_reasons``.

    Grain: one row a received row. The table's null texts become null; a text that is no value of its column's
    type becomes null and is named in ``_reasons``; a row that could not be split into fields is named too.

    Texts, values and faults are three steps: Spark keeps steps apart whose results are used more than once,
    so that each text is trimmed and cast once.
    """
    columns = table.columns
    others = [name for name in received.columns if name not in columns]
    texts = received.select(
        *[_text(name, nulls=table.nulls).alias(_texted(name)) for name in columns], *others
    )
    values = texts.select(
        "*", *[_cast(F.col(_texted(name)), kind).alias(name) for name, kind in columns.items()]
    )
    unreadable = F.when(
        F.col("_malformed").isNotNull(), F.lit("has another number of fields than its header")
    )
    faults = [_fault(name, kind, shown=name not in table.encrypted) for name, kind in columns.items()]
    return values.select(*columns, *others, texts_of([unreadable, *faults]).alias(REASONS))


def typed_text(name: str, *, table: LandedTable) -> Column:
    """Return a received column as the text of its typed value; null where it has none."""
    return _cast(_text(name, nulls=table.nulls), table.columns[name]).cast("string")


def texts_of(columns: Sequence[Column]) -> Column:
    """Return the array of the texts that are not null; unlike array_compact this is compiled."""
    joined = F.concat_ws(_BETWEEN, *columns)
    return F.when(joined == "", F.expr("cast(array() as array<string>)")).otherwise(F.split(joined, _BETWEEN))


def transformed(
    typed: DataFrame, function: Callable[[DataFrame], DataFrame], *, table: LandedTable
) -> DataFrame:
    """Apply the table's transform; where it says what it reads, it is given nothing else.

    All other columns go round it in one, so that a declaration that is wrong shows at once.
    """
    reads = {name for names in table.transform_reads.values() for name in names}
    if not reads:
        return typed.transform(function)
    others = [name for name in typed.columns if name not in reads]
    packed = typed.select(
        *(name for name in typed.columns if name in reads), F.struct(*others).alias(_OTHERS)
    )
    added = packed.transform(function)
    unpacked = [
        F.col(f"{_OTHERS}.{name}").alias(name) if name in others else F.col(name) for name in typed.columns
    ]
    return added.select(*unpacked, *table.transform_adds)


def with_prepared(typed: DataFrame, *, table: LandedTable) -> DataFrame:
    """Add the table's derived columns, one after another, cast to their declared types."""
    prepared = typed
    for name, expression in table.derived.items():
        kind = spark_type(table.derived_types[name])
        prepared = prepared.withColumn(name, F.expr(expression).cast(kind))
    return prepared


def silver_schema(table: LandedTable) -> T.StructType:
    """Return the schema of the table's silver rows, without identity columns."""
    return T.StructType([T.StructField(name, spark_type(kind)) for name, kind in table.silver_types.items()])


def _texted(name: str) -> str:
    return f"_text_{name}"


def _text(name: str, *, nulls: Sequence[str]) -> Column:
    trimmed = F.trim(F.col(name))
    return F.when(~trimmed.isin(list(nulls)), trimmed) if nulls else trimmed


def _cast(text: Column, kind: ColumnType) -> Column:
    typed = text.try_cast(spark_type(kind))
    if kind == "timestamp_utc":
        return F.when(text.rlike(_SAYS_UTC), typed)
    digits = decimal_digits(kind)
    if digits is not None:  # Spark would round what has more digits behind the point
        return F.when(text.rlike(rf"^[+-]?[0-9]*(\.[0-9]{{0,{digits[1]}}}0*)?$"), typed)
    return typed


def _fault(name: str, kind: ColumnType, *, shown: bool) -> Column:
    """Return what is wrong with a text; it is quoted but where it is of an encrypted column."""
    text = F.col(_texted(name))
    says = "no UTC instant (as 2013-01-31T06:00:00Z)" if kind == "timestamp_utc" else f"no {kind}"
    quoted = F.translate(F.substring(text, 1, _SHOWN), _BETWEEN, " ") if shown else F.lit("(encrypted)")
    return F.when(
        text.isNotNull() & F.col(name).isNull(), F.concat(F.lit(f"{name}: '"), quoted, F.lit(f"' is {says}"))
    )
