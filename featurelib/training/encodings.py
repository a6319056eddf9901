"""Categories as one number each: their alphabetical place, or the mean label of their training rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from pyspark.sql import functions as F

from featurelib.errors import FrameError
from featurelib.preparation_specs import TargetEncoding
from featurelib.training.columns import mapped, number, quoted

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_MOST_VALUES = 50_000


@dataclass(frozen=True)
class Counts:
    """Rows and the sum of labels of each value of each category in each part of the training time.

    Attributes:
        parts: by part, from 0: category to value to (rows, sum of labels); the value None is missing.
        totals: by part: (rows, sum of labels).
        edges: the last microsecond of each part but the last.
    """

    parts: tuple[Mapping[str, Mapping[str, tuple[int, float]]], ...]
    totals: tuple[tuple[int, float], ...]
    edges: tuple[int, ...]

    def values_of(self, name: str) -> list[str]:
        """Return the values of a category, in alphabetical order."""
        return sorted({value for part in self.parts for value in part.get(name, {})})

    def means(
        self, name: str, *, smoothing: float, before: int | None = None
    ) -> tuple[dict[str, float], float]:
        """Return the encoding of each value, and that of any other: the mean label of all.

        The encoding is ``(sum of labels + smoothing * mean of all) / (rows + smoothing)``.

        Args:
            name: the category.
            smoothing: how many rows the mean of all counts for.
            before: only parts before this one; None for all. With no rows before, the mean is of all.
        """
        parts = range(len(self.parts) if before is None else before)
        rows = sum(self.totals[part][0] for part in parts)
        if not rows:
            return {}, self.means(name, smoothing=smoothing)[1]
        prior = sum(self.totals[part][1] for part in parts) / rows
        counted: dict[str, tuple[int, float]] = {}
        for part in parts:
            for value, (more, label) in self.parts[part].get(name, {}).items():
                seen = counted.get(value, (0, 0.0))
                counted[value] = (seen[0] + more, seen[1] + label)
        encoded = {
            value: (label + smoothing * prior) / (seen + smoothing)
            for value, (seen, label) in sorted(counted.items())
        }
        return encoded, prior


def edges_of(instants: Sequence[int], folds: int) -> tuple[int, ...]:
    """Return the last instant of each part but the last, so that parts hold about equally many rows.

    Rows of one instant stay together, so there may be fewer parts than asked for.
    """
    if not len(instants):
        return ()
    cuts = np.quantile(np.asarray(instants), [part / folds for part in range(1, folds)], method="lower")
    last = max(instants)
    return tuple(sorted({int(cut) for cut in cuts if cut < last}))


def count_values(
    rows: DataFrame, *, categories: Sequence[str], label: str, as_of: str, edges: Sequence[int]
) -> Counts:
    """Count the training rows by part, category and value, in one pass.

    Raises:
        FrameError: a category has more than 50,000 values.
    """
    instant = F.unix_micros(F.col(quoted(as_of)).cast("timestamp")) if as_of else F.lit(0)
    part = F.lit(0)
    for edge in edges:
        part = part + (instant > edge).cast("int")
    pairs = [
        F.struct(F.lit(name).alias("name"), F.col(quoted(name)).cast("string").alias("value"))
        for name in categories
    ]
    total = F.struct(F.lit("").alias("name"), F.lit(None).cast("string").alias("value"))
    value = F.col(quoted(label)).cast("double") if label else F.lit(0.0)
    found = (
        rows.select(part.alias("part"), value.alias("label"), F.explode(F.array(total, *pairs)).alias("pair"))
        .groupBy("part", "pair.name", "pair.value")
        .agg(F.count(F.lit(1)).alias("rows"), F.sum("label").alias("label"))
        .collect()
    )
    parts: list[dict[str, dict[str, tuple[int, float]]]] = [{} for _ in range(len(edges) + 1)]
    totals = [(0, 0.0)] * len(parts)
    for row in found:
        if row["name"] == "":
            totals[row["part"]] = (row["rows"], row["label"])
        elif row["value"] is not None:
            parts[row["part"]].setdefault(row["name"], {})[row["value"]] = (row["rows"], row["label"])
    counts = Counts(tuple(parts), tuple(totals), tuple(edges))
    for name in categories:
        if len(counts.values_of(name)) > _MOST_VALUES:
            raise FrameError(
                f"category {name!r} has {len(counts.values_of(name)):,} values in the training rows",
                f"at most {_MOST_VALUES:,} to encode as a number",
                "encode it one_hot, or group its rare values by a derived feature",
            )
    return counts


def ordinal_sql(name: str, counts: Counts) -> str:
    """Return the SQL of the alphabetical place of a category from 0; null and unseen ones come last."""
    places = {value: float(place) for place, value in enumerate(counts.values_of(name))}
    found = mapped(_text(name), places, otherwise=float(len(places)))
    return f"{found} AS {quoted(number(name))}"


def target_sql(name: str, counts: Counts, encoding: TargetEncoding) -> str:
    """Return the SQL of a category's encoding by all training rows."""
    means, prior = counts.means(name, smoothing=encoding.smoothing)
    return f"{mapped(_text(name), means, otherwise=prior)} AS {quoted(number(name))}"


def target_sql_in_training(
    name: str, counts: Counts, encoding: TargetEncoding, *, as_of: str, is_train: str
) -> str:
    """Return the same for rows of a training: training rows are encoded by earlier parts alone.

    Args:
        name: the category.
        counts: by part.
        encoding: its smoothing.
        as_of: the column of the instant.
        is_train: SQL that is true in training rows.
    """
    instant = f"unix_micros(CAST({quoted(as_of)} AS TIMESTAMP))"
    cases = []
    for part in range(len(counts.parts)):
        means, prior = counts.means(name, smoothing=encoding.smoothing, before=part)
        condition = f"WHEN {instant} <= {counts.edges[part]} THEN" if part < len(counts.edges) else "ELSE"
        cases.append(f"{condition} {mapped(_text(name), means, otherwise=prior)}")
    by_part = f"CASE {' '.join(cases)} END" if counts.edges else cases[0].removeprefix("ELSE ")
    means, prior = counts.means(name, smoothing=encoding.smoothing)
    whole = mapped(_text(name), means, otherwise=prior)
    return f"CASE WHEN {is_train} THEN {by_part} ELSE {whole} END AS {quoted(number(name))}"


def _text(name: str) -> str:
    return f"CAST({quoted(name)} AS STRING)"
