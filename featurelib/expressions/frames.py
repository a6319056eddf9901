"""Expressions that Polars evaluates as Spark would, with the rows for which Spark would fail.

Runs inside Spark's Python workers too: it imports polars only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import polars as pl

from featurelib.column_types import decimal_digits
from featurelib.errors import FrameError

INSTANT: Final = pl.Datetime("us", "UTC")
POLARS_TYPES: Final[dict[str, pl.DataType]] = {
    "string": pl.String(),
    "boolean": pl.Boolean(),
    "int": pl.Int32(),
    "long": pl.Int64(),
    "double": pl.Float64(),
    "date": pl.Date(),
    "timestamp_utc": INSTANT,
}
_KINDS: Final[dict[pl.DataType, str]] = {kind: name for name, kind in POLARS_TYPES.items()}


def polars_type(kind: str) -> pl.DataType:
    """Return the Polars type of a column type.

    Raises:
        KeyError: it is none.
    """
    digits = decimal_digits(kind)
    return POLARS_TYPES[kind] if digits is None else pl.Decimal(*digits)


def column_type(kind: pl.DataType) -> str | None:
    """Return the column type that a Polars type is, None for lists, maps and the like."""
    return f"decimal({kind.precision},{kind.scale})" if isinstance(kind, pl.Decimal) else _KINDS.get(kind)


@dataclass(frozen=True)
class PolarsExpression:
    """An expression of the language as Polars evaluates it.

    Attributes:
        text: as written.
        type: a column type, or ``null``.
        value: what it comes to, a value a row.
        faults: what Spark would fail with, and a condition that is true for such rows.
        is_exact: whether the value is Spark's to the bit; otherwise the last digit of a logarithm, a power or
            a sine may differ.
    """

    text: str
    type: str
    value: pl.Expr
    faults: tuple[tuple[str, pl.Expr], ...] = ()
    is_exact: bool = True

    @property
    def needs(self) -> frozenset[str]:
        """The columns it reads."""
        expressions = (self.value, *(fault for _, fault in self.faults))
        return frozenset(name for expression in expressions for name in expression.meta.root_names())


def with_expressions(frame: pl.DataFrame, columns: Mapping[str, PolarsExpression]) -> pl.DataFrame:
    """Add the columns, all over the frame's own; grain unchanged.

    Raises:
        FrameError: a row for which Spark would fail, as a division by zero or an overflow.
    """
    for expression in columns.values():
        refuse_faults(frame, expression)
    return frame.with_columns(**{name: expression.value for name, expression in columns.items()})


def only_where(frame: pl.DataFrame, condition: PolarsExpression) -> pl.DataFrame:
    """Keep the rows for which the condition is true, neither false nor null.

    Raises:
        FrameError: as :func:`with_expressions`.
    """
    refuse_faults(frame, condition)
    return frame.filter(condition.value)


def refuse_faults(frame: pl.DataFrame, expression: PolarsExpression) -> None:
    """Raise the first fault that some row has.

    Raises:
        FrameError: there is one.
    """
    for said, is_at_fault in expression.faults:
        rows = frame.with_columns(is_at_fault.alias("__fault")).get_column("__fault").sum()
        if rows:
            raise FrameError(
                f"{said} in {expression.text!r}, in {rows} rows",
                "a value for every row",
                "exclude such rows with where, or use CASE, try_divide, try_add or try_cast",
            )
