"""The types of columns, as configuration names them."""

from __future__ import annotations

import re
from typing import Final

PLAIN_TYPES: Final = ("string", "boolean", "int", "long", "double", "date", "timestamp_utc")
"""Every type but ``decimal(p,s)``."""

NUMERIC_TYPES: Final = frozenset({"int", "long", "double", "decimal"})
ORDERED_TYPES: Final = NUMERIC_TYPES | {"date", "timestamp_utc", "string"}
"""Families of types, see :func:`family`."""
KEY_TYPES: Final = frozenset({"string", "boolean", "int", "long", "date"})
"""Types whose values are equal or unequal for sure."""

_DECIMAL: Final = re.compile(r"decimal\( *([0-9]{1,2}) *, *([0-9]{1,2}) *\)")
_MOST_DIGITS: Final = 38
_WHOLE_DIGITS: Final = {"int": 10, "long": 19}


def decimal_digits(kind: str) -> tuple[int, int] | None:
    """Return all digits and those behind the point of ``decimal(p,s)``, None for any other text."""
    match = _DECIMAL.fullmatch(kind)
    if match is None:
        return None
    digits, behind = int(match[1]), int(match[2])
    return (digits, behind) if 1 <= digits <= _MOST_DIGITS and behind <= digits else None


def family(kind: str) -> str:
    """Return the type without its digits: ``decimal`` for every ``decimal(p,s)``."""
    return kind if decimal_digits(kind) is None else "decimal"


def is_wider(kind: str, *, than: str) -> bool:
    """Return whether every value of a type is one of another type too, exactly, and the types differ."""
    if kind == than:
        return False
    wide, narrow = decimal_digits(kind), decimal_digits(than)
    if wide is None:
        return than == "int" and kind in {"long", "double"}
    if narrow is None:
        return than in _WHOLE_DIGITS and wide[0] - wide[1] >= _WHOLE_DIGITS[than]
    return wide[1] >= narrow[1] and wide[0] - wide[1] >= narrow[0] - narrow[1]
