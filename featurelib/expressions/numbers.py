"""Arithmetic of the expression language as Spark does it: failing where it overflows or divides by zero."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import polars as pl

from featurelib.expressions.values import (
    Function,
    NeedsSpark,
    Value,
    computed,
    faults_of,
    literal,
    over,
    over_two,
    together,
    widened,
    within,
)

ROUNDED: Final = frozenset(["cbrt", "cos", "exp", "ln", "log10", "log1p", "pow", "power", "sin", "tanh"])
"""Functions whose last digit is not Spark's: both are within two units of it, and neither is the nearest."""


def arithmetic(sign: str) -> Function:
    """``+ - *``: whole numbers fail where they overflow."""

    def function(arguments: Sequence[Value]) -> Value:
        left, right = together(arguments, sign)
        if left.kind not in {"int", "long", "double"}:
            raise NeedsSpark(f"{sign} of a {left.kind}")
        whole = left.kind != "double"
        first, second = (value.expr.cast(pl.Int128) if whole else value.expr for value in (left, right))
        expr = {"+": first + second, "-": first - second, "*": first * second}[sign]
        if not whole:
            return computed(expr, "double", [left, right])
        return within(left.kind, expr, [left, right])

    return function


def divided(arguments: Sequence[Value]) -> Value:
    """``/``: of doubles, failing where the divisor is zero."""
    left, right = (widened(value, "double", "/") for value in arguments)
    zero = ((right.expr == 0.0) & left.expr.is_not_null()).fill_null(value=False)
    return computed(left.expr / right.expr, "double", [left, right], ("a division by zero", zero))


def remainder(name: str) -> Function:
    """``%``, ``div`` and ``pmod`` of whole numbers, failing where the divisor is zero."""

    def function(arguments: Sequence[Value]) -> Value:
        left, right = together(arguments, name)
        if left.kind not in {"int", "long"}:
            raise NeedsSpark(f"{name} of a {left.kind}")
        zero = ((right.expr == 0) & left.expr.is_not_null()).fill_null(value=False)
        dividend = left.expr.cast(pl.Int128)
        divisor = pl.when(right.expr != 0).then(right.expr).cast(pl.Int128)
        quotient = (dividend.abs() // divisor.abs()) * dividend.sign() * divisor.sign()
        rest = dividend - quotient * divisor
        again = rest + divisor
        positive = pl.when(rest < 0).then(
            again - (again.abs() // divisor.abs()) * again.sign() * divisor.abs()
        )
        expr = {"div": quotient, "%": rest, "pmod": positive.otherwise(rest)}[name]
        result = within("long" if name == "div" else left.kind, expr, [left, right])
        return Value(result.expr, result.kind, (*result.faults, ("a division by zero", zero)))

    return function


def negated(arguments: Sequence[Value]) -> Value:
    """``-x``: fails for the least whole number."""
    (value,) = arguments
    if value.kind == "double":
        return computed(-value.expr, "double", [value])
    if value.kind not in {"int", "long"}:
        raise NeedsSpark(f"- of a {value.kind}")
    return within(value.kind, pl.lit(0, pl.Int128) - value.expr.cast(pl.Int128), [value])


def _absolute(arguments: Sequence[Value]) -> Value:
    (value,) = arguments
    if value.kind == "double":
        return computed(value.expr.abs(), "double", [value])
    if value.kind not in {"int", "long"}:
        raise NeedsSpark(f"abs of a {value.kind}")
    return within(value.kind, value.expr.cast(pl.Int128).abs(), [value])


def _rounded_to_long(build: Callable[[pl.Expr], pl.Expr]) -> Function:
    """``ceil`` and ``floor``: to a long, the nearest one where it does not fit, 0 for NaN."""

    def function(arguments: Sequence[Value]) -> Value:
        (value,) = arguments
        if value.kind in {"int", "long"}:
            return computed(value.expr, "long", [value])
        number = build(widened(value, "double", "ceil or floor").expr)
        whole = (
            pl.when(number.is_nan())
            .then(0)
            .when(number >= 2.0**63)
            .then(2**63 - 1)
            .when(number <= -(2.0**63))
            .then(-(2**63))
            .otherwise(pl.when(number.abs() < 2.0**63).then(number).cast(pl.Int64))
        )
        return computed(pl.when(number.is_not_null()).then(whole), "long", [value])

    return function


def _rounded(mode: str) -> Function:
    def function(arguments: Sequence[Value]) -> Value:
        if len(arguments) == 2 and (arguments[0].kind == "double" or literal(arguments[1], "digits") != 0):
            raise NeedsSpark("rounding to digits: Spark rounds the decimal text of a double")
        value = arguments[0]
        if value.kind in {"int", "long"}:
            return value
        number = widened(value, "double", "rounding").expr.round(0, mode=mode)  # type: ignore[arg-type]
        return computed(pl.when(number == 0.0).then(0.0).otherwise(number), "double", [value])

    return function


def _logarithm(build: Callable[[pl.Expr], pl.Expr], above: float) -> Function:
    """A logarithm: null where the argument is not above its bound, NaN of NaN."""
    return over("double", "double", lambda x: pl.when(x > above).then(build(x)))


def _forgiving(function: Function) -> Function:
    """``try_``: null where the function itself would fail."""

    def tried(arguments: Sequence[Value]) -> Value:
        value = function(arguments)
        inherited = faults_of(arguments)
        expr = value.expr
        for _, fault in value.faults[len(inherited) :]:
            expr = pl.when(~fault).then(expr)
        return Value(expr, value.kind, inherited)

    return tried


ARITHMETIC: Final[dict[str, Function]] = {
    "abs": _absolute,
    "negative": negated,
    "ceil": _rounded_to_long(lambda x: x.ceil()),
    "ceiling": _rounded_to_long(lambda x: x.ceil()),
    "floor": _rounded_to_long(lambda x: x.floor()),
    "round": _rounded("half_away_from_zero"),
    "bround": _rounded("half_to_even"),
    "mod": remainder("%"),
    "pmod": remainder("pmod"),
    "sign": over("double", "double", lambda x: x.sign()),
    "signum": over("double", "double", lambda x: x.sign()),
    "sqrt": over("double", "double", lambda x: x.sqrt()),
    "cbrt": over("double", "double", lambda x: x.cbrt()),
    "exp": over("double", "double", lambda x: x.exp()),
    "ln": _logarithm(lambda x: x.log(), 0.0),
    "log10": _logarithm(lambda x: x.log10(), 0.0),
    "log1p": _logarithm(lambda x: x.log1p(), -1.0),
    "pow": over_two("double", "double", lambda x, y: x.pow(y)),
    "power": over_two("double", "double", lambda x, y: x.pow(y)),
    "sin": over("double", "double", lambda x: x.sin()),
    "cos": over("double", "double", lambda x: x.cos()),
    "tanh": over("double", "double", lambda x: x.tanh()),
    "radians": over("double", "double", lambda x: x.radians()),
    "try_add": _forgiving(arithmetic("+")),
    "try_subtract": _forgiving(arithmetic("-")),
    "try_multiply": _forgiving(arithmetic("*")),
    "try_divide": _forgiving(divided),
}
