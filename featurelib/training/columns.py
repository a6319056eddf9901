"""Names of the columns between raw features and vectors, and literals for the SQL that makes them."""

from __future__ import annotations

import json
from collections.abc import Mapping


def quoted(name: str) -> str:
    """Return the name of a column as SQL takes it."""
    return f"`{name.replace('`', '``')}`"


def number(name: str) -> str:
    """Return the column of a number as a double."""
    return f"_number_{name}"


def text(name: str) -> str:
    """Return the column of a category as text."""
    return f"_text_{name}"


def index(name: str) -> str:
    """Return the column of a category's index."""
    return f"_index_{name}"


def hot(name: str) -> str:
    """Return the column of a category's one-hot vector."""
    return f"_hot_{name}"


def missing(name: str) -> str:
    """Return the column that says where a number was missing."""
    return f"_missing_{name}"


def scaled(name: str) -> str:
    """Return the column of a number as linear learners see it, where its scale is not the vector's."""
    return f"_scaled_{name}"


def double(value: float) -> str:
    """Return the literal of exactly this finite double."""
    return f"double('{float(value)!r}')"


def mapped(key: str, values: Mapping[str, float], *, otherwise: float) -> str:
    """Return the SQL of the double that a text stands for; null and unknown texts give ``otherwise``.

    The map is one JSON literal, parsed once a query. What SQL or Spark's ``SQLTransformer`` would read in
    it (quotes, ``$``, ``__THIS__``) is written as JSON escapes.
    """
    written = json.dumps({name: float(value) for name, value in values.items()}, allow_nan=False)
    for letter in "'$_":
        written = written.replace(letter, f"\\u{ord(letter):04x}")
    return (
        f"coalesce(try_element_at(from_json(r'{written}', 'map<string,double>'), {key}), {double(otherwise)})"
    )
