"""The functions of the expression language that choose among values, as Spark chooses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import polars as pl

from featurelib.expressions.values import (
    Function,
    Value,
    computed,
    faults_of,
    over,
    together,
    widened,
)


def first_present(arguments: Sequence[Value]) -> Value:
    """``coalesce``: a later argument is evaluated only where all before it are null."""
    values = together(arguments, "coalesce")
    needed, guarded = pl.lit(value=True), []
    for value in values:
        guarded.append(value.guarded(needed))
        needed = needed & value.expr.is_null()
    return Value(pl.coalesce([value.expr for value in values]), values[0].kind, faults_of(guarded))


def chosen(branches: Sequence[tuple[Value, Value]], otherwise: Value) -> Value:
    """``CASE``: a branch is evaluated only for the rows that reach it and meet its condition."""
    *values, last = together([*(value for _, value in branches), otherwise], "the branches of CASE")
    reached: pl.Expr = pl.lit(value=True)
    guarded: list[Value] = []
    expr = last.expr
    conditions = [widened(condition, "boolean", "a condition") for condition, _ in branches]
    for condition, value in zip(conditions, values, strict=True):
        is_met = condition.expr.fill_null(value=False)
        guarded += [condition.guarded(reached), value.guarded(reached & is_met)]
        reached = reached & ~is_met
    for condition, value in reversed(list(zip(conditions, values, strict=True))):
        expr = pl.when(condition.expr).then(value.expr).otherwise(expr)
    return Value(expr, last.kind, faults_of([*guarded, last.guarded(reached)]))


def _if(arguments: Sequence[Value]) -> Value:
    return chosen([(arguments[0], arguments[1])], arguments[2])


def _nvl2(arguments: Sequence[Value]) -> Value:
    tested = arguments[0]
    return chosen([(Value(tested.expr.is_not_null(), "boolean", tested.faults), arguments[1])], arguments[2])


def _nullif(arguments: Sequence[Value]) -> Value:
    first, second = together(arguments, "nullif")
    same = (first.expr == second.expr).fill_null(value=False)
    return Value(pl.when(~same).then(arguments[0].expr), arguments[0].kind, faults_of([first, second]))


def _nanvl(arguments: Sequence[Value]) -> Value:
    first, second = (widened(value, "double", "nanvl") for value in arguments)
    is_nan = first.expr.is_nan().fill_null(value=False)
    expr = pl.when(is_nan).then(second.expr).otherwise(first.expr)
    return Value(expr, "double", faults_of([first, second.guarded(is_nan)]))


def _extreme(*, greatest: bool) -> Function:
    """Nulls are skipped and NaN is greater than any number."""

    def function(arguments: Sequence[Value]) -> Value:
        values = together(arguments, "greatest or least")
        expr = values[0].expr
        for value in values[1:]:
            better = expr >= value.expr if greatest else expr <= value.expr
            expr = pl.when(value.expr.is_null() | better).then(expr).otherwise(value.expr)
        return Value(expr, values[0].kind, faults_of(values))

    return function


def _is_null(arguments: Sequence[Value]) -> Value:
    return computed(arguments[0].expr.is_null(), "boolean", arguments)


def _is_not_null(arguments: Sequence[Value]) -> Value:
    return computed(arguments[0].expr.is_not_null(), "boolean", arguments)


CHOICE: Final[dict[str, Function]] = {
    **dict.fromkeys(("coalesce", "ifnull", "nvl"), first_present),
    "if": _if,
    "isnan": over("double", "boolean", lambda x: x.is_nan().fill_null(value=False)),
    "isnull": _is_null,
    "isnotnull": _is_not_null,
    "nanvl": _nanvl,
    "nullif": _nullif,
    "nvl2": _nvl2,
    "greatest": _extreme(greatest=True),
    "least": _extreme(greatest=False),
}
