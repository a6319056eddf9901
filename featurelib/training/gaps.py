"""Which values are missing in the training rows, and in which rows together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from featurelib.training.columns import missing, quoted

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

_WORD = 62
_SAMPLE_VALUES = 3_000


@dataclass(frozen=True)
class Gaps:
    """Which values are missing: rows in all, and for each feature its missing rows and their patterns."""

    rows: int
    missing: dict[str, int]
    patterns: dict[str, tuple[int, ...]]

    def never_given(self, features: Sequence[str]) -> tuple[str, ...]:
        """Return the features without a value in any row."""
        return tuple(name for name in features if self.missing[name] == self.rows)

    def indicated(self, numbers: Sequence[str]) -> list[str]:
        """Return the first feature of each distinct pattern of missing values."""
        firsts: dict[tuple[int, ...], str] = {}
        for name in numbers:
            if self.missing[name]:
                firsts.setdefault(self.patterns[name], name)
        return list(firsts.values())

    def sample_share(self, numbers: Sequence[str]) -> float:
        """Return the share of rows that is enough for medians and scales: all where values are rare."""
        fewest = min((self.rows - self.missing[name] for name in numbers), default=0)
        return min(1.0, _SAMPLE_VALUES / max(fewest, 1))


def gaps_of(rows: DataFrame, *, numbers: Sequence[str], categories: Sequence[str]) -> Gaps:
    """Count rows by their missing flags, packed into longs.

    That is one cheap grouping however many columns there are; an aggregate for each column would be too
    wide for Spark's code generation.
    """
    names = [*numbers, *categories]
    flags = [
        *(_is_missing(name) for name in numbers),
        *(F.col(quoted(name)).isNull() for name in categories),
    ]
    words = [
        reduce(
            add,
            [F.when(flag, F.lit(1 << bit)).otherwise(F.lit(0)).cast("long") for bit, flag in enumerate(part)],
        )
        for part in (flags[start : start + _WORD] for start in range(0, len(flags), _WORD))
    ]
    counted = rows.select(F.array(*words).alias("words")).groupBy("words").count().orderBy("words").collect()
    lacking = dict.fromkeys(names, 0)
    patterns: dict[str, list[int]] = {name: [] for name in names}
    for pattern, row in enumerate(counted):
        for place, name in enumerate(names):
            if row["words"][place // _WORD] >> (place % _WORD) & 1:
                lacking[name] += row["count"]
                patterns[name].append(pattern)
    total = sum(row["count"] for row in counted)
    return Gaps(total, lacking, {name: tuple(found) for name, found in patterns.items()})


def _is_missing(name: str) -> Column:
    value = F.col(quoted(name)).cast("double")
    return value.isNull() | F.isnan(value)


def missing_sql(name: str) -> str:
    """Return the SQL of the column that says where a number is missing."""
    value = f"CAST({quoted(name)} AS DOUBLE)"
    return f"CAST({value} IS NULL OR isnan({value}) AS DOUBLE) AS {quoted(missing(name))}"
