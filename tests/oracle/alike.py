"""When an answer of the engine counts as the oracle's."""

from __future__ import annotations

import math
from typing import Any

ROUNDED = frozenset(
    {
        *("variance", "stddev", "skewness", "kurtosis", "trend", "entropy"),
        *("time_since_first", "time_since_last"),
    }
)
"""Operations whose answer is not exact in binary; all others are equal to the bit."""


def same(got: Any, wanted: Any, *, rounded: bool) -> bool:
    """Equal to the bit for what is exact; else to 1e-12, relative or of the largest value there can be."""
    if isinstance(got, list) and isinstance(wanted, list):
        return len(got) == len(wanted) and all(
            same(a, b, rounded=rounded) for a, b in zip(got, wanted, strict=True)
        )
    if isinstance(got, tuple):
        return bool(got[0] == wanted[0]) and same(got[1], wanted[1], rounded=rounded)
    if isinstance(wanted, float) and math.isnan(wanted):
        return isinstance(got, float) and math.isnan(got)
    if got is None or wanted is None or not rounded:
        return bool(got is wanted or got == wanted)
    return math.isclose(got, wanted, rel_tol=1e-12, abs_tol=1e-12)
