"""The expression language: the part of Spark SQL that is a pure function of one row's declared columns.

A text passes two gates that share nothing: its words and signs are compared with a short list (no
backslash, no comment, no quoted identifier, no unknown word), and its syntax tree may hold only known nodes.
What passes is given to Spark as it was written, never regenerated: a parser that agrees with Spark on what
a text is may still print it with another meaning.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import NoReturn

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from featurelib import timeline
from featurelib.errors import ConfigError, nearest
from featurelib.expressions.words import (
    FUNCTIONS,
    INTERVAL_UNITS,
    KEYWORDS,
    NODES,
    REFUSED,
    REFUSED_SIGNS,
    TYPES,
    UNITS,
)

__all__ = ["ExpressionError", "Select", "Token", "check", "check_select", "columns_of", "lexed"]

MAX_CHARACTERS = 4_000
MAX_TOKENS = 500
MAX_DEPTH = 40

_TOKEN = re.compile(
    r"""
    (?P<space>[ \t\r\n]+)
  | (?P<text>'[^'\\\x00-\x1f]*')
  | (?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?[lLdD]?(?![A-Za-z0-9_.]))
  | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
  | (?P<sign><=>|<=|>=|<>|!=|==|\|\||[-+*/%=<>(),])
    """,
    re.VERBOSE,
)
# Spark reads these texts as the clock wherever an instant or a date is expected.
_CLOCK_TEXT = re.compile(r"\s*(now|today|tomorrow|yesterday)\s*[a-z0-9+:/_-]*\s*", re.IGNORECASE)
_ISO_INSTANT = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|\+00:00)?)?")
_BEFORE_PAREN = frozenset(
    {"and", "or", "not", "in", "case", "when", "then", "else", "between", "like", "div"}
)
_OPERATORS = "arithmetic, comparisons, AND OR NOT, CASE, CAST, IN, BETWEEN, LIKE, IS NULL"
_FUNCTION_HINT = "the functions listed in docs/configuration.md; what they cannot say, a transform can"


class ExpressionError(ConfigError):
    """An expression is outside the allowed language, or names a column that does not exist."""


@dataclass(frozen=True, slots=True)
class Select:
    """A checked ``SELECT``: output column to expression text, in order, and the rows to keep."""

    columns: dict[str, str]
    where: str | None = None


@dataclass(frozen=True, slots=True)
class Token:
    """A word, number, text or sign of an expression, and where it starts."""

    kind: str
    text: str
    start: int

    @property
    def lower(self) -> str:
        """The text in lower case."""
        return self.text.lower()


def check(text: str, columns: Collection[str]) -> str:
    """Return the expression, trimmed, ready for ``F.expr``; it uses only ``columns`` and allowed functions.

    The text is Spark SQL as the author wrote it. It is deterministic: it reads one row, no clock, no
    random number, no file, no other row.

    Raises:
        ExpressionError: the text is no such expression; the message says where and what is allowed.
    """
    for name, start in _columns(text):
        if name not in columns:
            raise ExpressionError(
                f"unknown column {name!r} at character {start + 1} of {text.strip()!r}."
                f"{nearest(name.lower(), columns)}",
                f"one of {_listed(columns)}",
            )
    return text.strip()


def columns_of(text: str) -> tuple[str, ...]:
    """Return the columns an expression uses, each once, in order of first use.

    Raises:
        ExpressionError: the text is outside the language.
    """
    return tuple(dict.fromkeys(name for name, _ in _columns(text)))


def check_select(text: str, table: str, columns: Collection[str]) -> Select:
    """Return the parts of ``SELECT expr AS name, column, * FROM table [WHERE condition]``.

    ``*`` stands for all ``columns``. There is one table, the given one, and no join, grouping or order.

    Raises:
        ExpressionError: the statement has another shape, or one of its expressions is refused.
    """
    tokens = lexed(text)
    _refuse_clauses(text, tokens)
    if not tokens or tokens[0].lower != "select":
        _refuse(text, tokens[0] if tokens else None, "SELECT expression AS name, ... FROM table [WHERE ...]")
    from_at = _top_level(tokens, "from")
    if from_at is None or from_at + 1 >= len(tokens):
        _refuse(text, None, f"FROM {table}")
    where_at = _top_level(tokens, "where")
    named = tokens[from_at + 1 : where_at]
    if named[0].text != table:
        _refuse(text, named[0], f"FROM {table}, the source's own table{nearest(named[0].text, [table])}")
    if len(named) > 1:
        _refuse(text, named[1], f"nothing but WHERE after FROM {table}: one table, without an alias")
    selected: dict[str, str] = {}
    for item in _split(tokens[1:from_at]):
        for name, expression in _selected(text, item, columns).items():
            if name in selected:
                _refuse(text, item[-1], "each output column once")
            selected[name] = expression
    where = None if where_at is None else check(text[tokens[where_at].start + len("where") :], columns)
    return Select(selected, where)


# --- first gate: words and signs ------------------------------------------------------------------------


def lexed(text: str) -> list[Token]:
    """Return the words, numbers, texts and signs; refuse what the language has no use for."""
    if len(text) > MAX_CHARACTERS:
        raise ExpressionError(f"an expression of {len(text)} characters", f"at most {MAX_CHARACTERS}")
    tokens: list[Token] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None or text[at : at + 2] in REFUSED_SIGNS:
            _refuse_sign(text, at)
        kind = match.lastgroup or ""
        if kind != "space":
            tokens.append(Token(kind, match[0], at))
        at = match.end()
    if len(tokens) > MAX_TOKENS:
        raise ExpressionError(f"an expression of {len(tokens)} words and signs", f"at most {MAX_TOKENS}")
    return tokens


def _refuse_sign(text: str, at: int) -> NoReturn:
    sign = text[at : at + 2] if text[at : at + 2] in REFUSED_SIGNS else text[at]
    why = REFUSED_SIGNS.get(
        sign, "names, numbers, 'text' in single quotes and the signs + - * / % = < > ( ) ,"
    )
    raise ExpressionError(f"{sign!r} at character {at + 1} of {_shortened(text)}", why)


def _check_words(text: str, tokens: Sequence[Token]) -> None:
    depth = 0
    for index, token in enumerate(tokens):
        following = tokens[index + 1] if index + 1 < len(tokens) else None
        if token.text == "(":
            depth += 1
            if depth > MAX_DEPTH:
                _refuse(text, token, f"at most {MAX_DEPTH} levels of parentheses")
        elif token.text == ")":
            depth -= 1
        elif token.kind == "text":
            _check_text(text, token, following)
        elif token.kind == "word":
            _check_word(text, tokens, index)


def _check_text(text: str, token: Token, following: Token | None) -> None:
    if _CLOCK_TEXT.fullmatch(token.text[1:-1]):
        _refuse(
            text, token, "a text that Spark does not take for the clock; nothing here may ask what time it is"
        )
    if following is not None and following.kind == "text":
        _refuse(text, following, "one text; join texts with concat or ||")


def _check_word(text: str, tokens: Sequence[Token], index: int) -> None:
    token = tokens[index]
    following = tokens[index + 1] if index + 1 < len(tokens) else None
    if following is None:
        return
    if following.text == "(" and token.lower in {"cast", "try_cast"}:
        _check_cast(text, tokens, index)
    elif following.text == "(" and token.lower not in _BEFORE_PAREN and not _is_type(tokens, index):
        _check_call(text, tokens, index)
    elif following.kind == "text" and token.lower in {"timestamp", "date"}:
        _check_instant(text, token, following)
    elif following.kind in {"number", "text"} and token.lower in INTERVAL_UNITS:
        _refuse(text, following, "one unit an interval; add intervals of one unit each")
    elif following.kind == "text" and token.lower in TYPES:
        _refuse(text, token, f"CAST({following.text} AS {token.text})")


def _is_type(tokens: Sequence[Token], index: int) -> bool:
    return index > 0 and tokens[index - 1].lower == "as" and tokens[index].lower in TYPES


def _check_call(text: str, tokens: Sequence[Token], index: int) -> None:
    """The word before a parenthesis is a known function with a fitting number of arguments."""
    name = tokens[index]
    if name.lower not in FUNCTIONS:
        why = REFUSED.get(name.lower) or f"{_FUNCTION_HINT}.{nearest(name.lower, FUNCTIONS)}"
        _refuse(text, name, why, "function")
    fewest, most = FUNCTIONS[name.lower]
    arguments = _arguments(tokens, index)
    if len(arguments) < fewest or (most is not None and len(arguments) > most):
        span = f"{fewest}" if fewest == most else f"{fewest} to {most}" if most else f"{fewest} or more"
        _refuse(text, name, f"{span} arguments, not {len(arguments)}", "function")
    if name.lower in {"date_trunc", "timestampdiff", "timestampadd"}:
        unit = arguments[0]
        if len(unit) != 1 or unit[0].lower.strip("'") not in UNITS:
            _refuse(text, unit[0], f"a unit: {', '.join(sorted(UNITS))}")


def _check_cast(text: str, tokens: Sequence[Token], index: int) -> None:
    inner = [token for argument in _arguments(tokens, index) for token in argument]
    after = next((at for at in range(len(inner) - 1, -1, -1) if inner[at].lower == "as"), None)
    if after is None or after + 1 >= len(inner) or inner[after + 1].lower not in TYPES:
        shown = inner[after + 1] if after is not None and after + 1 < len(inner) else tokens[index]
        _refuse(
            text, shown, f"AS and one of {', '.join(sorted(TYPES))}.{nearest(shown.lower, TYPES)}", "type"
        )


def _check_instant(text: str, word: Token, literal: Token) -> None:
    value = literal.text[1:-1]
    form = "YYYY-MM-DD" if word.lower == "date" else "YYYY-MM-DD HH:MM:SSZ"
    if not _ISO_INSTANT.fullmatch(value):
        _refuse(text, literal, f"{word.text} '{form}'")
    try:
        if word.lower == "date":
            date.fromisoformat(value)
        else:
            timeline.parse_instant(value)
    except (ConfigError, ValueError):
        _refuse(text, literal, f"{word.text} '{form}', an existing UTC instant")


def _arguments(tokens: Sequence[Token], index: int) -> list[list[Token]]:
    """Return the argument tokens of the call whose name stands at ``index``."""
    depth = 0
    inner: list[Token] = []
    for token in tokens[index + 1 :]:
        depth += {"(": 1, ")": -1}.get(token.text, 0)
        if depth == 0:
            break
        inner.append(token)
    return _split(inner[1:]) if len(inner) > 1 else []


def _split(tokens: Sequence[Token]) -> list[list[Token]]:
    """Split at the commas that stand in no parenthesis."""
    parts: list[list[Token]] = [[]]
    depth = 0
    for token in tokens:
        depth += {"(": 1, ")": -1}.get(token.text, 0)
        if token.text == "," and depth == 0:
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


# --- second gate: the syntax tree -----------------------------------------------------------------------


@lru_cache(maxsize=4096)  # a pure function of the text, asked again for every use of an expression
def _columns(text: str) -> tuple[tuple[str, int], ...]:
    """Check the text but for its column names; return those with where they start."""
    tokens = lexed(text)
    if not tokens:
        raise ExpressionError("an empty expression", "an expression over the columns, as dep_delay > 15")
    _check_words(text, tokens)
    tree = _tree(text)
    found = [
        (node.name, int(node.this.meta.get("start", 0))) for node in tree.find_all(exp.Column, bfs=False)
    ]
    _check_known(text, tokens, {name for name, _ in found})
    return tuple(sorted(found, key=lambda column: column[1]))


def _tree(text: str) -> exp.Expr:
    """Return the syntax tree, all nodes of it allowed."""
    try:
        trees = sqlglot.parse(text, dialect="spark")
        for node in [node for tree in trees if tree is not None for node in tree.walk()]:
            _check_node(text, node)
    except SqlglotError as error:
        details = getattr(error, "errors", None) or [{}]
        at = f" at character {details[0]['col']}" if details[0].get("col") else ""
        raise ExpressionError(
            f"no valid expression{at}: {_shortened(text)}", "one Spark SQL expression, as dep_delay > 15"
        ) from None
    except RecursionError:
        raise ExpressionError(f"{_shortened(text)} is nested too deeply", "a shorter expression") from None
    if len(trees) != 1 or trees[0] is None:
        raise ExpressionError(
            f"{_shortened(text)} is not one expression", "one expression, as dep_delay > 15"
        )
    return trees[0]


def _check_node(text: str, node: exp.Expr) -> None:
    name = type(node).__name__
    if name not in NODES:
        raise ExpressionError(
            f"{_shown(text, node)} ({name}) is not part of the language", _node_hint(text, name)
        )
    if isinstance(node, exp.Column) and len(node.parts) > 1:
        raise ExpressionError(f"qualified column {_shown(text, node)}", "the column's own name")
    if isinstance(node, exp.In) and not node.expressions and node.args.get("query") is None:
        raise ExpressionError(f"{_shown(text, node)} is never true", "a list with at least one value")
    if isinstance(node, exp.Interval):
        _check_interval(text, node)
    if isinstance(node, exp.Func | exp.DPipe) and _is_constant_text(node):
        raise ExpressionError(
            f"{_shown(text, node)} computes on constants only",
            "the constant itself",
            "write what it comes to",
        )


def _check_interval(text: str, node: exp.Interval) -> None:
    unit = str(node.args.get("unit") or "").lower()
    whole = isinstance(node.this, exp.Literal) and re.fullmatch(r"[0-9]{1,9}", node.this.name)
    if unit not in INTERVAL_UNITS or not whole:
        raise ExpressionError(_shown(text, node), "INTERVAL, a whole number and one unit, as INTERVAL 1 HOUR")


def _is_constant_text(node: exp.Expr) -> bool:
    """Whether Spark could fold the node to a text, which it might then read as the clock."""
    one_literal = isinstance(node, exp.Cast) and isinstance(node.this, exp.Literal)
    branch = isinstance(node, exp.If) and isinstance(node.parent, exp.Case)
    if one_literal or branch or node.find(exp.Column) is not None:
        return False
    return any(literal.is_string and not _is_typed(literal) for literal in node.find_all(exp.Literal))


def _is_typed(literal: exp.Literal) -> bool:
    """Whether the literal is the text of a DATE, TIMESTAMP or INTERVAL, which no fold turns into words."""
    parent = literal.parent
    return isinstance(parent, exp.Interval) or (
        isinstance(parent, exp.Cast) and parent.is_type(*exp.DataType.TEMPORAL_TYPES)
    )


def _check_known(text: str, tokens: Sequence[Token], columns: set[str]) -> None:
    """Every word has a meaning this module knows of, whatever the parser made of it."""
    for index, token in enumerate(tokens):
        called = index + 1 < len(tokens) and tokens[index + 1].text == "("
        if token.kind != "word" or token.text in columns or (called and token.lower in FUNCTIONS):
            continue
        if token.lower not in KEYWORDS:
            _refuse(text, token, REFUSED.get(token.lower, "a declared column or a word of the language"))


# --- SELECT ---------------------------------------------------------------------------------------------


def _refuse_clauses(text: str, tokens: Sequence[Token]) -> None:
    for token in tokens[1:]:
        if token.lower in {
            "select",
            "join",
            "group",
            "order",
            "limit",
            "distinct",
            "union",
            "having",
            "with",
        }:
            _refuse(text, token, "SELECT expression AS name, ... FROM table [WHERE ...] and nothing else")


def _top_level(tokens: Sequence[Token], word: str) -> int | None:
    depth = 0
    for index, token in enumerate(tokens):
        depth += {"(": 1, ")": -1}.get(token.text, 0)
        if depth == 0 and token.lower == word:
            return index
    return None


def _selected(text: str, item: list[Token], columns: Collection[str]) -> dict[str, str]:
    """Return output name to expression text of one item of the list."""
    if not item:
        _refuse(text, None, "an expression between the commas")
    if len(item) == 1 and item[0].text == "*":
        return {column: column for column in columns}
    if len(item) == 1 and item[0].kind == "word":
        return {item[0].text: check(item[0].text, columns)}
    if len(item) < 3 or item[-2].lower != "as" or not re.fullmatch("[a-z_][a-z0-9_]*", item[-1].text):
        _refuse(text, item[0], "expression AS name, the name in lower-case letters, digits and _")
    return {item[-1].text: check(text[item[0].start : item[-2].start], columns)}


# --- messages -------------------------------------------------------------------------------------------


def _refuse(text: str, token: Token | None, expected: str, what: str = "") -> NoReturn:
    if token is None:
        raise ExpressionError(_shortened(text), expected)
    kind = f"{what} " if what else ""
    raise ExpressionError(
        f"{kind}{token.text!r} at character {token.start + 1} of {_shortened(text)}", expected
    )


def _node_hint(text: str, name: str) -> str:
    hints = {
        "Subquery": "an expression without a subquery",
        "Star": "columns by name",
        "Alias": "an expression without AS; its name stands before it in the file",
    }
    reasons = (REFUSED[token.lower] for token in lexed(text) if token.lower in REFUSED)
    return hints.get(name) or next(reasons, f"{_OPERATORS}, and {_FUNCTION_HINT}")


def _shown(text: str, node: exp.Expr) -> str:
    return f"{_shortened(node.sql('spark'))} in {_shortened(text)}"


def _shortened(text: str) -> str:
    trimmed = " ".join(text.split())
    return repr(trimmed if len(trimmed) <= 80 else f"{trimmed[:77]}...")


def _listed(names: Collection[str]) -> str:
    return (
        ", ".join(sorted(names)[:40]) + (", ..." if len(names) > 40 else "") if names else "no column at all"
    )
