"""The text functions of the expression language: positions count characters, from 1."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import polars as pl

from featurelib.expressions.tree import Constant
from featurelib.expressions.values import (
    Function,
    NeedsSpark,
    Value,
    cast,
    computed,
    constant_value,
    literal,
    over,
    over_two,
    widened,
)

_EMPTY: Final = constant_value(Constant("", "string"))


def as_text(value: Value) -> Value:
    """Return the value as the text Spark makes of it."""
    return cast(value, "string")


def joined(arguments: Sequence[Value]) -> Value:
    """``concat`` and ``||``: null where any part is."""
    texts = [as_text(value) for value in arguments]
    return computed(pl.concat_str([text.expr for text in texts]), "string", texts)


def _joined_with(arguments: Sequence[Value]) -> Value:
    separator = literal(arguments[0], "a separator")
    texts = [as_text(value) for value in arguments[1:]]
    parts = [text.expr for text in texts]
    expr = pl.concat_str(parts, separator=str(separator), ignore_nulls=True)
    return computed(expr.fill_null(""), "string", texts)


def matches(arguments: Sequence[Value], *, ignores_case: bool) -> Value:
    """``LIKE`` with a literal pattern: ``%`` for any text, ``_`` for one character."""
    text, pattern = widened(arguments[0], "string", "LIKE"), str(literal(arguments[1], "a pattern"))
    pieces = {"%": ".*", "_": "."}
    shown = pattern.lower() if ignores_case else pattern
    regex = "".join(pieces.get(sign) or pl.escape_regex(sign) for sign in shown)
    expr = text.expr.str.to_lowercase() if ignores_case else text.expr
    return computed(expr.str.contains(rf"(?s)\A{regex}\z"), "boolean", [text])


def _substring(arguments: Sequence[Value]) -> Value:
    text = widened(arguments[0], "string", "substring")
    numbers = [widened(value, "int", "substring") for value in arguments[1:]]
    size = text.expr.str.len_chars().cast(pl.Int64)
    at = numbers[0].expr.cast(pl.Int64)
    start = pl.when(at > 0).then(at - 1).when(at < 0).then(size + at).otherwise(0)
    end = start + numbers[1].expr if len(numbers) == 2 else size
    return _sliced([text, *numbers], start, end)


def _sliced(arguments: Sequence[Value], start: pl.Expr, end: pl.Expr) -> Value:
    text = arguments[0].expr
    offset = pl.max_horizontal(start, 0)
    length = pl.max_horizontal(end - offset, 0)
    given = pl.all_horizontal([value.expr.is_not_null() for value in arguments])
    return computed(pl.when(given).then(text.str.slice(offset, length)), "string", arguments)


def _end(*, left: bool) -> Function:
    def function(arguments: Sequence[Value]) -> Value:
        text, count = widened(arguments[0], "string", "left"), widened(arguments[1], "int", "left")
        size, wanted = text.expr.str.len_chars().cast(pl.Int64), count.expr.cast(pl.Int64)
        if left:
            return _sliced([text, count], pl.lit(0), wanted)
        return _sliced([text, count], pl.when(wanted > 0).then(size - wanted).otherwise(size), size)

    return function


def _replaced(arguments: Sequence[Value]) -> Value:
    text = widened(arguments[0], "string", "replace")
    old, new = (str(literal(value, "a replacement")) for value in (*arguments[1:], _EMPTY)[:2])
    expr = text.expr.str.replace_all(old, new, literal=True) if old else text.expr
    return computed(expr, "string", [text])


def _translated(arguments: Sequence[Value]) -> Value:
    text = widened(arguments[0], "string", "translate")
    old, new = (str(literal(value, "characters")) for value in arguments[1:])
    pairs = {sign: new[at : at + 1] for at, sign in reversed(list(enumerate(old)))}
    return computed(text.expr.str.replace_many(pairs) if pairs else text.expr, "string", [text])


def _split_part(arguments: Sequence[Value]) -> Value:
    text = widened(arguments[0], "string", "split_part")
    separator, part = str(literal(arguments[1], "a separator")), int(literal(arguments[2], "a part"))
    if not separator or part == 0:
        raise NeedsSpark("split_part by an empty text, or its part 0")
    found = text.expr.str.split(separator).list.get(part - 1 if part > 0 else part, null_on_oob=True)
    return computed(pl.when(text.expr.is_not_null()).then(found.fill_null("")), "string", [text])


def _text_search(build: Callable[[pl.Expr, pl.Expr], pl.Expr]) -> Function:
    return over_two("string", "boolean", build)


TEXTS: Final[dict[str, Function]] = {
    "char_length": over("string", "int", lambda s: s.str.len_chars()),
    "length": over("string", "int", lambda s: s.str.len_chars()),
    "concat": joined,
    "concat_ws": _joined_with,
    "contains": _text_search(lambda s, t: s.str.contains(t, literal=True)),
    "startswith": _text_search(lambda s, t: s.str.starts_with(t)),
    "endswith": _text_search(lambda s, t: s.str.ends_with(t)),
    "lower": over("string", "string", lambda s: s.str.to_lowercase()),
    "upper": over("string", "string", lambda s: s.str.to_uppercase()),
    "trim": over("string", "string", lambda s: s.str.strip_chars(" ")),
    "ltrim": over("string", "string", lambda s: s.str.strip_chars_start(" ")),
    "rtrim": over("string", "string", lambda s: s.str.strip_chars_end(" ")),
    "left": _end(left=True),
    "right": _end(left=False),
    "substr": _substring,
    "substring": _substring,
    "replace": _replaced,
    "translate": _translated,
    "split_part": _split_part,
}
