"""Values of the expression language in Polars: typed, and with the rows for which Spark would fail."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import polars as pl

from featurelib.expressions.frames import INSTANT, polars_type
from featurelib.expressions.tree import Constant

NUMBERS: Final = ("int", "long", "double")
_BOUNDS: Final = {"int": (-(2**31), 2**31 - 1), "long": (-(2**63), 2**63 - 1)}
_BLANKS: Final = "".join(map(chr, range(0x21)))


class NeedsSpark(Exception):  # noqa: N818 - a state that is asked about, not a fault
    """Spark alone evaluates this; the text says what and why."""


@dataclass(frozen=True)
class Value:
    """A typed expression.

    Attributes:
        expr: what Polars computes.
        kind: a column type, ``null``, or ``decimal`` and ``interval`` for constants.
        faults: a message and the condition under which Spark would fail with it.
        constant: the literal, None for what is computed.
    """

    expr: pl.Expr
    kind: str
    faults: tuple[tuple[str, pl.Expr], ...] = ()
    constant: Constant | None = None

    def guarded(self, condition: pl.Expr) -> Value:
        """Return the value as evaluated for the rows of a condition only."""
        faults = tuple((said, condition & fault) for said, fault in self.faults)
        return replace(self, faults=faults)


def computed(expr: pl.Expr, kind: str, arguments: Sequence[Value], *faults: tuple[str, pl.Expr]) -> Value:
    """Return a value with the faults of what it is computed from, and its own."""
    return Value(expr.cast(polars_type(kind)), kind, (*faults_of(arguments), *faults))


def constant_value(constant: Constant) -> Value:
    """Return a literal."""
    value, kind = constant.value, constant.kind
    if kind in {"date", "timestamp_utc"}:
        instant = pl.lit(value, pl.Int64).cast(INSTANT)
        return Value(instant.cast(polars_type(kind)), kind, constant=constant)
    if kind == "null":
        return Value(pl.lit(None), kind, constant=constant)
    if kind == "decimal":
        return Value(pl.lit(None), kind, constant=constant)
    return Value(pl.lit(value, polars_type(kind)), kind, constant=constant)


def literal(value: Value, what: str) -> str | int:
    """Return the text or whole number of a literal.

    Raises:
        NeedsSpark: the value is computed.
    """
    if value.constant is None or not isinstance(value.constant.value, str | int):
        raise NeedsSpark(f"{what} that is no literal")
    return value.constant.value


def faults_of(values: Sequence[Value]) -> tuple[tuple[str, pl.Expr], ...]:
    """Return the faults of all values, in order."""
    return tuple(fault for value in values for fault in value.faults)


def over(kind: str, gives: str, build: Callable[[pl.Expr], pl.Expr]) -> Function:
    """Return a function of one argument of a type."""

    def function(arguments: Sequence[Value]) -> Value:
        if len(arguments) != 1:
            raise NeedsSpark("a function with further arguments")
        value = widened(arguments[0], kind, "a function")
        return computed(build(value.expr), gives, [value])

    return function


def over_two(kind: str, gives: str, build: Callable[[pl.Expr, pl.Expr], pl.Expr]) -> Function:
    """Return a function of two arguments of a type."""

    def function(arguments: Sequence[Value]) -> Value:
        left, right = (widened(value, kind, "a function") for value in arguments)
        return computed(build(left.expr, right.expr), gives, [left, right])

    return function


# --- implicit conversions -------------------------------------------------------------------------------


def widened(value: Value, kind: str, what: str) -> Value:
    """Return the value as a wider type, as Spark converts operands without being asked.

    Raises:
        NeedsSpark: there is no such conversion, or it is not among those shown to be equal.
    """
    if value.kind == kind:
        return value
    if value.kind == "null":
        return replace(value, expr=value.expr.cast(polars_type(kind)), kind=kind)
    if value.kind == "decimal" and kind == "double" and value.constant is not None:
        return constant_value(Constant(float(str(value.constant.value)), "double"))
    is_wider = value.kind in NUMBERS and kind in NUMBERS and NUMBERS.index(value.kind) < NUMBERS.index(kind)
    if is_wider or (value.kind, kind) in {("date", "timestamp_utc"), ("timestamp_utc", "date")}:
        return Value(value.expr.cast(polars_type(kind)), kind, value.faults)
    raise NeedsSpark(f"{what} of {_a(value.kind)} where {_a(kind)} is taken")


def together(values: Sequence[Value], what: str) -> list[Value]:
    """Return the values in the one type that Spark brings them to.

    Raises:
        NeedsSpark: they have none, or a decimal meets whole numbers only.
    """
    kinds = {value.kind for value in values} - {"null"}
    if "decimal" in kinds and "double" not in kinds:
        raise NeedsSpark("decimal arithmetic: write 0.5D for a double")
    if not kinds:
        return list(values)
    if kinds <= {*NUMBERS, "decimal"}:
        kind = "double" if "double" in kinds else max(kinds, key=NUMBERS.index)
    elif kinds == {"date", "timestamp_utc"}:
        kind = "timestamp_utc"
    elif len(kinds) == 1:
        (kind,) = kinds
    else:
        raise NeedsSpark(f"{what} of {' and '.join(sorted(map(_a, kinds)))}")
    return [widened(value, kind, what) for value in values]


def _a(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"


def within(kind: str, wide: pl.Expr, arguments: Sequence[Value]) -> Value:
    """Return a whole number computed in 128 bits as ``kind``, at fault where it does not fit."""
    low, high = _BOUNDS[kind]
    outside = ((wide < low) | (wide > high)).fill_null(value=False)
    fitting = pl.when(~outside).then(wide)
    return computed(fitting, kind, arguments, (f"a number beyond {kind}", outside))


# --- casts ----------------------------------------------------------------------------------------------


def cast(value: Value, kind: str) -> Value:
    """Return ``CAST(value AS kind)`` under ANSI rules.

    Raises:
        NeedsSpark: the cast is not among those shown to be equal.
    """
    if value.kind in {kind, "null"} or (value.kind == "decimal" and kind == "double"):
        return widened(value, kind, "a cast")
    change = _CASTS.get((value.kind, kind))
    if change is None:
        raise NeedsSpark(f"a cast from {value.kind} to {kind}")
    return change(value)


def forgiving(value: Value, operand: Value) -> Value:
    """Return the value with null where it alone is at fault; faults of its operand stay."""
    own = value.faults[len(operand.faults) :]
    expr = value.expr
    for _, fault in own:
        expr = pl.when(~fault.fill_null(value=False)).then(expr)
    return replace(value, expr=expr, faults=operand.faults)


def _as(kind: str) -> Callable[[Value], Value]:
    return lambda value: computed(value.expr, kind, [value])


def _whole(kind: str) -> Callable[[Value], Value]:
    return lambda value: within(kind, value.expr.cast(pl.Int128), [value])


def _from_double(kind: str) -> Callable[[Value], Value]:
    low, high = _BOUNDS[kind]

    def change(value: Value) -> Value:
        number = value.expr
        fits = (
            (number > float(low) - 1) & (number < float(high) + 1)
            if kind == "int"
            else ((number >= float(low)) & (number < float(2**63)))
        )
        outside = (~fits & number.is_not_null()).fill_null(value=False)
        return computed(
            pl.when(fits).then(number).cast(polars_type(kind)),
            kind,
            [value],
            (f"a number beyond {kind}", outside),
        )

    return change


def _from_text(kind: str) -> Callable[[Value], Value]:
    def change(value: Value) -> Value:
        trimmed = value.expr.str.strip_chars(_BLANKS)
        number = pl.when(trimmed.str.contains(r"\A[+-]?[0-9]{1,30}\z")).then(trimmed)
        whole = number.str.strip_prefix("+").cast(pl.Int128, strict=False)
        low, high = _BOUNDS[kind]
        fits = whole.is_between(low, high).fill_null(value=False)
        unreadable = value.expr.is_not_null() & ~fits
        return computed(pl.when(fits).then(whole), kind, [value], (f"a text that is no {kind}", unreadable))

    return change


def _instant_text(value: Value) -> Value:
    shown = value.expr.dt.replace_time_zone(None).dt.to_string("%Y-%m-%d %H:%M:%S%.6f")
    return computed(shown.str.replace(r"\.?0+\z", ""), "string", [value])


def _epoch_seconds(value: Value) -> Value:
    return computed(value.expr.cast(pl.Int64) // 1_000_000, "long", [value])


_CASTS: Final[dict[tuple[str, str], Callable[[Value], Value]]] = {
    ("int", "long"): _as("long"),
    ("int", "double"): _as("double"),
    ("long", "double"): _as("double"),
    ("long", "int"): _whole("int"),
    ("double", "int"): _from_double("int"),
    ("double", "long"): _from_double("long"),
    ("boolean", "int"): _as("int"),
    ("boolean", "long"): _as("long"),
    ("boolean", "double"): _as("double"),
    ("string", "int"): _from_text("int"),
    ("string", "long"): _from_text("long"),
    ("int", "string"): _as("string"),
    ("long", "string"): _as("string"),
    ("boolean", "string"): _as("string"),
    ("date", "string"): lambda value: computed(value.expr.dt.to_string("%Y-%m-%d"), "string", [value]),
    ("timestamp_utc", "string"): _instant_text,
    ("timestamp_utc", "date"): _as("date"),
    ("date", "timestamp_utc"): _as("timestamp_utc"),
    ("timestamp_utc", "long"): _epoch_seconds,
}

Function = Callable[[Sequence[Value]], Value]
