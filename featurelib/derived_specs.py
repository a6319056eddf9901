"""Derived features: what is made of features after aggregation, as it is written."""

from __future__ import annotations

import math
import re
from itertools import pairwise
from typing import Self

from pydantic import model_validator

from featurelib.spec_types import ColumnType, Expression, Name, Spec

__all__ = ["Derived"]

_VALUE = re.compile(r"[A-Za-z0-9_.-][A-Za-z0-9_. -]*")


class Derived(Spec):
    """Features made of other features and spine columns, row by row, after aggregation; one form is given.

    Attributes:
        expression: an expression over spine columns, features and derived features before this one.
        type: the type of ``expression``.
        buckets: a numeric column, cut at ``edges`` into 0 (below the first) to their number; null stays null.
        edges: rising bounds; a value equal to one lies above it.
        ordinal: a column whose declared ``values`` become 0, 1, 2 ...; anything else null.
        one_hot: a column with a 0/1 feature for each of ``values``, named ``NAME__VALUE``; null gives 0.
        values: texts or whole numbers.
    """

    expression: Expression | None = None
    type: ColumnType | None = None
    buckets: Name | None = None
    edges: tuple[float, ...] = ()
    ordinal: Name | None = None
    one_hot: Name | None = None
    values: tuple[str | int, ...] = ()
    unit: str = ""
    owner: str = ""
    description: str = ""

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        forms = {name: getattr(self, name) for name in ("expression", "buckets", "ordinal", "one_hot")}
        given = [name for name, value in forms.items() if value is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of {', '.join(forms)}; got {', '.join(given) or 'none'}")
        needs = {"expression": "type", "buckets": "edges", "ordinal": "values", "one_hot": "values"}[given[0]]
        for name in ("type", "edges", "values"):
            if bool(getattr(self, name)) != (name == needs):
                raise ValueError(
                    f"{given[0]} takes {needs}, and no {name}"
                    if name != needs
                    else f"{given[0]} needs {needs}"
                )
        if any(low >= high for low, high in pairwise(self.edges)) or not all(map(math.isfinite, self.edges)):
            raise ValueError(f"edges must rise, got {list(self.edges)}")
        texts = [str(value) for value in self.values]
        odd = next((text for text in texts if not _VALUE.fullmatch(text) or texts.count(text) > 1), None)
        if odd is not None:
            raise ValueError(f"value {odd!r}: letters, digits, blanks and _ - . only, each value once")
        return self
