"""The operations a feature can be, what each takes and what it gives: plain tables, no behaviour."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final, Literal

AggregationOp = Literal[
    "count",
    "sum",
    "mean",
    "min",
    "max",
    "variance",
    "stddev",
    "skewness",
    "kurtosis",
    "trend",
    "first",
    "last",
    "first_k",
    "last_k",
    "top_k",
    "bottom_k",
    "count_distinct",
    "approx_count_distinct",
    "mode",
    "entropy",
    "median",
    "quantile",
    "approx_quantile",
    "histogram",
    "time_since_first",
    "time_since_last",
]

OF_NUMBERS: Final = frozenset({"sum", "mean", "variance", "stddev", "skewness", "kurtosis", "trend"}) | {
    "median",
    "quantile",
    "approx_quantile",
    "histogram",
}
"""Operations that compute with values."""

OF_ORDERED: Final = frozenset({"min", "max", "top_k", "bottom_k"})
"""Operations that compare values: numbers, texts, dates, instants."""

OF_DISTINCT: Final = frozenset({"count_distinct", "approx_count_distinct", "mode", "entropy"})
"""Operations that tell equal values from different ones: anything but lists, maps and structures."""

WITHOUT_INPUT: Final = frozenset({"count", "time_since_first", "time_since_last"})
"""Operations that are about rows and need no column."""

OF_K: Final = frozenset({"first_k", "last_k", "top_k", "bottom_k"})
OF_QUANTILES: Final = frozenset({"quantile", "approx_quantile"})
IN_RATIOS: Final = frozenset({"count", "sum", "mean"})

SAMPLED: Final = MappingProxyType(
    {
        "approx_count_distinct": "4096 smallest hashes",
        "approx_quantile": "the highest level of 4096 hashes",
    }
)
"""Approximate operations, and what they are computed from: a part of their meaning."""

BY_ORDER: Final = frozenset({"first", "last", "latest", "first_k", "last_k"})
"""Operations whose answer depends on the order of events that are equal in both instants."""

GIVES_LONG: Final = frozenset({"count", "count_distinct", "approx_count_distinct"})
GIVES_LIST: Final = OF_K | {"histogram"}
GIVES_INPUT: Final = frozenset({"min", "max", "first", "last", "latest", "mode"})
"""Operations whose answer is one of the input's values; those in no ``GIVES_`` table give a double."""
