"""The expression language on Polars: what Polars computes as Spark does, and by name what it does not.

A text compiles to a ``pl.Expr`` beside the conditions under which Spark, in ANSI mode, would fail: Polars
would give infinity or wrap around where Spark raises, so those rows are looked for and refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

import polars as pl

from featurelib.column_types import decimal_digits
from featurelib.errors import ConfigError
from featurelib.expressions.choice import chosen
from featurelib.expressions.frames import POLARS_TYPES, PolarsExpression
from featurelib.expressions.functions import FUNCTIONS
from featurelib.expressions.numbers import ROUNDED, arithmetic, divided, remainder
from featurelib.expressions.texts import joined, matches
from featurelib.expressions.times import with_interval
from featurelib.expressions.tree import Call, Case, Cast, Column, Constant, Interval, Node, parsed
from featurelib.expressions.values import (
    Function,
    NeedsSpark,
    Value,
    cast,
    computed,
    constant_value,
    forgiving,
    together,
    widened,
)

__all__ = ["cannot_run_without_spark", "polars_expression"]

_ALIASES = {"integer": "int", "bigint": "long", "timestamp": "timestamp_utc"}


def polars_expression(text: str, types: Mapping[str, str], *, gives: str | None = None) -> PolarsExpression:
    """Return an expression as Polars evaluates it.

    Args:
        text: an expression of the language.
        types: column type of each column it may use.
        gives: the column type to cast the result to, as Spark's path casts it.

    Raises:
        ExpressionError: the text is outside the language.
        ConfigError: only Spark evaluates it; the message says what of it.
    """
    try:
        return _compiled(text, types, gives)
    except NeedsSpark as reason:
        raise ConfigError(
            f"{text!r} cannot run without Spark: {reason}",
            "the part of the language that docs/configuration.md lists under Polars",
            "say it otherwise, or run the Spark command",
        ) from None


def cannot_run_without_spark(text: str, types: Mapping[str, str], *, gives: str | None = None) -> str | None:
    """Return what of the expression only Spark evaluates to the bit, None when Polars does it all.

    Raises:
        ExpressionError: the text is outside the language.
    """
    try:
        compiled = _compiled(text, types, gives)
    except NeedsSpark as reason:
        return str(reason)
    if not compiled.is_exact:
        return f"the last digit of {', '.join(sorted(_called(parsed(text, list(types))) & ROUNDED))}"
    return None


def _compiled(text: str, types: Mapping[str, str], gives: str | None) -> PolarsExpression:
    tree = parsed(text, list(types))
    value = _value(tree, types)
    if gives is not None:
        value = cast(value, gives)
    is_exact = not _called(tree) & ROUNDED
    return PolarsExpression(text, value.kind, value.expr, value.faults, is_exact)


def _called(node: Node) -> set[str]:
    """Return the functions and operators that a tree uses."""
    match node:
        case Call(name, arguments):
            return {name}.union(*map(_called, arguments))
        case Cast(operand, _, _):
            return _called(operand)
        case Case(branches, otherwise):
            return _called(otherwise).union(*(_called(part) for branch in branches for part in branch))
    return set()


def _value(node: Node, types: Mapping[str, str]) -> Value:
    match node:
        case Constant():
            return constant_value(node)
        case Column(name):
            if types[name] not in POLARS_TYPES and decimal_digits(types[name]) is None:
                raise NeedsSpark(f"column {name}, of type {types[name]}")
            return Value(pl.col(name), types[name])
        case Cast(operand, kind, is_forgiving):
            return _cast(_value(operand, types), kind, is_forgiving=is_forgiving)
        case Case(branches, otherwise):
            pairs = [(_value(condition, types), _value(value, types)) for condition, value in branches]
            return chosen(pairs, _value(otherwise, types))
        case Interval():
            raise NeedsSpark("an interval on its own")
        case Call(name, arguments):
            return _call(name, arguments, types)


def _cast(operand: Value, kind: str, *, is_forgiving: bool) -> Value:
    wanted = _ALIASES.get(kind, kind)
    if wanted not in POLARS_TYPES:
        raise NeedsSpark(f"a cast to {kind}")
    result = cast(operand, wanted)
    return forgiving(result, operand) if is_forgiving else result


def _call(name: str, arguments: tuple[Node, ...], types: Mapping[str, str]) -> Value:
    if name in {"+", "-"} and isinstance(arguments[1], Interval):
        span = arguments[1]
        return with_interval(
            _value(arguments[0], types), span.count if name == "+" else -span.count, span.unit
        )
    values = [_value(argument, types) for argument in arguments]
    if name not in _OF_DECIMALS and any(decimal_digits(value.kind) for value in values):
        raise NeedsSpark(f"{name} of decimals")
    if name in _OPERATORS:
        return _OPERATORS[name](values)
    if name not in FUNCTIONS:
        raise NeedsSpark(f"the function {name}")
    return FUNCTIONS[name](values)


# --- operators ------------------------------------------------------------------------------------------


def _and(values: Sequence[Value]) -> Value:
    """The right side is evaluated only where the left is not false."""
    left, right = (widened(value, "boolean", "AND") for value in values)
    needed = left.expr.fill_null(value=True)
    return computed(left.expr & right.expr, "boolean", [left, right.guarded(needed)])


def _or(values: Sequence[Value]) -> Value:
    """The right side is evaluated only where the left is not true."""
    left, right = (widened(value, "boolean", "OR") for value in values)
    needed = ~left.expr.fill_null(value=False)
    return computed(left.expr | right.expr, "boolean", [left, right.guarded(needed)])


def _not(values: Sequence[Value]) -> Value:
    value = widened(values[0], "boolean", "NOT")
    return computed(~value.expr, "boolean", [value])


def _compared(compare: Callable[[pl.Expr, pl.Expr], pl.Expr]) -> Function:
    """NaN equals itself and is greater than any number, in Spark and in Polars."""

    def function(values: Sequence[Value]) -> Value:
        left, right = together(values, "a comparison")
        if left.kind == "null":
            raise NeedsSpark("a comparison of nulls only")
        return computed(compare(left.expr, right.expr), "boolean", [left, right])

    return function


def _in(values: Sequence[Value]) -> Value:
    subject, *members = together(values, "IN")
    expr = subject.expr == members[0].expr
    for member in members[1:]:
        expr = expr | (subject.expr == member.expr)
    return computed(expr, "boolean", [subject, *members])


def _is(*, truth: bool) -> Function:
    def function(values: Sequence[Value]) -> Value:
        value = widened(values[0], "boolean", "IS")
        return computed(value.expr.eq_missing(pl.lit(truth)), "boolean", [value])

    return function


_OF_DECIMALS: Final = frozenset(
    {"=", "!=", "<", "<=", ">", ">=", "<=>", "in", "is null", "isnull", "isnotnull", "nullif"}
    | {"coalesce", "ifnull", "nvl", "nvl2", "if", "greatest", "least"}
)
"""What compares or chooses decimals of one type; Spark gives other digits to what computes with them."""

_OPERATORS: Final[dict[str, Function]] = {
    "and": _and,
    "or": _or,
    "not": _not,
    "in": _in,
    "is null": FUNCTIONS["isnull"],
    "is true": _is(truth=True),
    "is false": _is(truth=False),
    "like": partial(matches, ignores_case=False),
    "ilike": partial(matches, ignores_case=True),
    "=": _compared(lambda left, right: left == right),
    "!=": _compared(lambda left, right: left != right),
    "<": _compared(lambda left, right: left < right),
    "<=": _compared(lambda left, right: left <= right),
    ">": _compared(lambda left, right: left > right),
    ">=": _compared(lambda left, right: left >= right),
    "<=>": _compared(lambda left, right: left.eq_missing(right)),
    "||": joined,
    "+": arithmetic("+"),
    "-": arithmetic("-"),
    "*": arithmetic("*"),
    "/": divided,
    "%": remainder("%"),
    "div": remainder("div"),
}
