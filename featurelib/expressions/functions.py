"""The functions of the expression language that Polars computes as Spark does.

A function that is missing here is evaluated by Spark alone. What is here is compared with Spark, value by
value, by ``tests/spark/test_expressions_on_polars.py``.
"""

from __future__ import annotations

from typing import Final

from featurelib.expressions.choice import CHOICE
from featurelib.expressions.numbers import ARITHMETIC
from featurelib.expressions.texts import TEXTS
from featurelib.expressions.times import TIMES
from featurelib.expressions.values import Function

FUNCTIONS: Final[dict[str, Function]] = {**CHOICE, **ARITHMETIC, **TEXTS, **TIMES}
