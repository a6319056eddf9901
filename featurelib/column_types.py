"""The types of columns, as configuration names them."""

from __future__ import annotations

import re
from typing import Final

PLAIN_TYPES: Final = ("string", "boolean", "int", "long", "double", "date", "timestamp_utc")
"""Every type but ``decimal(p,s)``."""

NUMERIC_TYPES: Final = frozenset({"int", "long", "double", "decimal"})
ORDERED_TYPES: Final = NUMERIC_TYPES | {"date", "timestamp_utc", "string"}
"""Families of types, see :func:`family`."""

_DECIMAL: Final = re.compile(r"decimal\( *([0-9]{1,2}) *, *([0-9]{1,2}) *\)")
_MOST_DIGITS: Final = 38


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
