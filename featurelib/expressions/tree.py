"""A checked expression is read into a tree with Spark's precedence, every name as its author wrote it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from featurelib.expressions.language import ExpressionError, Token, check, lexed
from featurelib.expressions.words import INTERVAL_UNITS, UNITS
from featurelib.timeline import parse_instant, to_micros

__all__ = ["Call", "Case", "Cast", "Column", "Constant", "Interval", "Node", "parsed"]

_COMPARISONS = frozenset({"=", "==", "!=", "<>", "<", "<=", ">", ">=", "<=>"})
_SAME = {"==": "=", "<>": "!="}
_INT, _LONG = 2**31, 2**63


@dataclass(frozen=True, slots=True)
class Constant:
    """A literal: ``kind`` is a column type, ``null`` or ``decimal``; instants are microseconds."""

    value: bool | int | float | str | Decimal | None
    kind: str


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the row."""

    name: str


@dataclass(frozen=True, slots=True)
class Call:
    """A function or an operator over its operands; operators go by their sign or word, as ``<=``, ``and``."""

    name: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Cast:
    """``CAST`` or, when forgiving, ``TRY_CAST``; ``kind`` as written, in lower case."""

    operand: Node
    kind: str
    is_forgiving: bool


@dataclass(frozen=True, slots=True)
class Case:
    """``CASE``: pairs of condition and value, and what holds otherwise."""

    branches: tuple[tuple[Node, Node], ...]
    otherwise: Node


@dataclass(frozen=True, slots=True)
class Interval:
    """``INTERVAL 90 MINUTES``: a whole number and its unit in the singular."""

    count: int
    unit: str


Node = Constant | Column | Call | Cast | Case | Interval


def parsed(text: str, columns: Sequence[str]) -> Node:
    """Return the tree of an expression of the language over ``columns``.

    Raises:
        ExpressionError: the text is outside the language, or names another column.
    """
    tokens = lexed(check(text, columns))
    reader = _Reader(text, tokens, frozenset(columns))
    tree = reader.expression()
    reader.end()
    return tree


class _Reader:
    """Reads tokens one after another; each method reads one level of precedence."""

    def __init__(self, text: str, tokens: Sequence[Token], columns: frozenset[str]) -> None:
        self._text, self._tokens, self._columns, self._at = text, tokens, columns, 0

    # --- tokens

    def _peek(self, ahead: int = 0) -> str:
        at = self._at + ahead
        return self._tokens[at].lower if at < len(self._tokens) else ""

    def _next(self) -> Token:
        if self._at >= len(self._tokens):
            raise ExpressionError(f"{self._text!r} ends early", "a whole expression")
        self._at += 1
        return self._tokens[self._at - 1]

    def _takes(self, *words: str) -> bool:
        """Go on behind the words if they come next."""
        if all(self._peek(ahead) == word for ahead, word in enumerate(words)):
            self._at += len(words)
            return True
        return False

    def _expect(self, word: str) -> None:
        if not self._takes(word):
            raise ExpressionError(f"{self._peek()!r} in {self._text!r}", repr(word))

    def end(self) -> None:
        """Refuse what is left."""
        if self._at < len(self._tokens):
            raise ExpressionError(f"{self._peek()!r} in {self._text!r}", "the end of the expression")

    # --- conditions

    def expression(self) -> Node:
        left = self._conjunction()
        while self._takes("or"):
            left = Call("or", (left, self._conjunction()))
        return left

    def _conjunction(self) -> Node:
        left = self._negation()
        while self._takes("and"):
            left = Call("and", (left, self._negation()))
        return left

    def _negation(self) -> Node:
        return Call("not", (self._negation(),)) if self._takes("not") else self._predicate()

    def _predicate(self) -> Node:
        value = self._comparison()
        is_negated = self._peek() == "not"
        word = self._peek(1 if is_negated else 0)
        if word == "is":
            self._next()
            is_negated = self._takes("not")
            found = Call(f"is {self._next().lower}", (value,))
        elif word in {"between", "in", "like", "ilike"}:
            self._at += 2 if is_negated else 1
            found = self._membership(word, value)
        else:
            return value
        return Call("not", (found,)) if is_negated else found

    def _membership(self, word: str, value: Node) -> Call:
        if word == "between":
            low = self._comparison()
            self._expect("and")
            return Call("and", (Call(">=", (value, low)), Call("<=", (value, self._comparison()))))
        if word == "in":
            self._expect("(")
            return Call("in", (value, *self._arguments()))
        return Call(word, (value, self._comparison()))

    # --- values

    def _comparison(self) -> Node:
        left = self._sum()
        while self._peek() in _COMPARISONS:
            sign = self._next().text
            left = Call(_SAME.get(sign, sign), (left, self._sum()))
        return left

    def _sum(self) -> Node:
        left = self._product()
        while self._peek() in {"+", "-", "||"}:
            left = Call(self._next().text, (left, self._product()))
        return left

    def _product(self) -> Node:
        left = self._signed()
        while self._peek() in {"*", "/", "%", "div"}:
            left = Call(self._next().lower, (left, self._signed()))
        return left

    def _signed(self) -> Node:
        if self._takes("+"):
            return self._signed()
        if self._takes("-"):
            if self._at < len(self._tokens) and self._tokens[self._at].kind == "number":
                return _number(f"-{self._next().text}")
            return Call("negative", (self._signed(),))
        return self._operand()

    def _operand(self) -> Node:
        token = self._next()
        if token.text == "(":
            inner = self.expression()
            self._expect(")")
            return inner
        if token.kind == "text":
            return Constant(token.text[1:-1], "string")
        if token.kind == "number":
            return _number(token.text)
        if self._peek() == "(":
            return self._call(token.lower)
        if token.lower == "case":
            return self._case()
        introduces = self._at < len(self._tokens) and self._tokens[self._at].kind in {"text", "number"}
        if token.text in self._columns and not introduces:
            return Column(token.text)
        return self._word(token)

    def _word(self, token: Token) -> Node:
        if token.lower in {"true", "false"}:
            return Constant(token.lower == "true", "boolean")
        if token.lower == "null":
            return Constant(None, "null")
        if token.lower in {"date", "timestamp"}:
            micros = to_micros(parse_instant(self._next().text[1:-1]))
            return Constant(micros, "date" if token.lower == "date" else "timestamp_utc")
        if token.lower == "interval":
            count, unit = self._next().text.strip("'"), self._next().lower
            if unit in INTERVAL_UNITS:
                return Interval(int(count), unit.removesuffix("s"))
        raise ExpressionError(f"{token.text!r} in {self._text!r}", "a value")

    def _call(self, name: str) -> Node:
        self._expect("(")
        if name in {"cast", "try_cast"}:
            operand = self.expression()
            self._expect("as")
            kind = self._next().lower
            if self._takes("("):
                self._arguments()  # the digits of a decimal
            self._expect(")")
            return Cast(operand, kind, name == "try_cast")
        if name in {"timestampadd", "timestampdiff"} and self._peek() in UNITS:
            unit = Constant(self._next().lower, "string")
            self._expect(",")
            return Call(name, (unit, *self._arguments()))
        return Call(name, self._arguments())

    def _arguments(self) -> tuple[Node, ...]:
        """Read what stands before the closing parenthesis."""
        if self._takes(")"):
            return ()
        found = [self.expression()]
        while self._takes(","):
            found.append(self.expression())
        self._expect(")")
        return tuple(found)

    def _case(self) -> Node:
        subject = None if self._peek() == "when" else self.expression()
        branches: list[tuple[Node, Node]] = []
        while self._takes("when"):
            condition = self.expression()
            self._expect("then")
            chosen = condition if subject is None else Call("=", (subject, condition))
            branches.append((chosen, self.expression()))
        otherwise = self.expression() if self._takes("else") else Constant(None, "null")
        self._expect("end")
        return Case(tuple(branches), otherwise)


def _number(text: str) -> Constant:
    """Return a number with the type that Spark gives it."""
    lower = text.lower()
    if lower.endswith("l"):
        return Constant(int(lower[:-1]), "long")
    if lower.endswith("d") or "e" in lower:
        return Constant(float(lower.removesuffix("d")), "double")
    if "." in lower or not -_LONG <= int(lower) < _LONG:
        return Constant(Decimal(lower), "decimal")
    return Constant(int(lower), "int" if -_INT <= int(lower) < _INT else "long")
