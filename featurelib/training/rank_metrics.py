"""How well scores put the rows of a group in order, as the flights of a day."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F
from pyspark.sql.window import Window

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

DAY = "day"
"""Groups by this name are UTC days of ``as_of_ts``."""


def group_of(by: str, *, as_of: str) -> Column:
    """Return the group of a row as text; null is the group ``null``."""
    value = F.to_date(F.col(as_of)) if by == DAY else F.col(f"`{by}`")
    return F.coalesce(value.cast("string"), F.lit("null"))


def rank_metrics(
    scored: DataFrame, *, label: str, score: str, group: Column, at: Sequence[int]
) -> dict[str, Any]:
    """Return the mean over groups of precision, recall and NDCG at each k, as plain JSON values.

    Rows of one score share the places they take, so that no order of equal rows is assumed. Of a group with
    fewer than k rows all are looked at. Precision at k is the share of positives among the rows looked at,
    recall their part of the group's positives, NDCG the gain of label 1 discounted by ``1 / log2(place + 1)``
    over that of the best order (Järvelin and Kekäläinen, "Cumulated gain-based evaluation of IR techniques",
    2002), as scikit-learn's ``ndcg_score``. A group without positives has a precision of 0 and neither recall
    nor NDCG.

    Args:
        scored: one row an example.
        label: 0 or 1.
        score: greater is earlier.
        group: of each row.
        at: the numbers of rows looked at.

    Returns:
        ``groups``, ``without_positives`` and ``at``: ``k``, ``precision`` (mean over all groups), ``recall``
        and ``ndcg`` (over those with positives; None where there are none).
    """
    counted = (
        scored.select(
            group.alias("group"), F.col(f"`{score}`").alias("score"), F.col(f"`{label}`").alias("label")
        )
        .groupBy("group", "score")
        .agg(F.count(F.lit(1)).alias("rows"), F.sum("label").alias("positives"))
    )
    falling = Window.partitionBy("group").orderBy(F.desc("score"))
    before = falling.rowsBetween(Window.unboundedPreceding, Window.currentRow)
    placed = counted.withColumn("last", F.sum("rows").over(before)).withColumn(
        "first", F.col("last") - F.col("rows")
    )
    sums = [found for k in at for found in _sums(k)]
    grouped = placed.groupBy("group").agg(
        F.sum("rows").alias("rows"), F.sum("positives").alias("positives"), *sums
    )
    has_any = F.col("positives") > 0
    means = [mean for k in at for mean in _means(k, has_any)]
    found = grouped.agg(
        F.count(F.lit(1)).alias("groups"), F.count_if(~has_any).alias("without_positives"), *means
    ).first()
    assert found is not None  # an aggregation of all rows has one row
    return {
        "groups": found["groups"],
        "without_positives": found["without_positives"],
        "at": [
            {"k": k, **{name: found[f"{name}_{k}"] for name in ("precision", "recall", "ndcg")}} for k in at
        ],
    }


def _sums(k: int) -> list[Column]:
    """Return, of a group, the positives among its first k rows and their discounted gain."""
    share = F.col("positives") / F.col("rows")
    inside = F.greatest(F.least(F.col("last"), F.lit(k)) - F.col("first"), F.lit(0))
    gain = _discounts(F.col("first"), F.least(F.col("last"), F.lit(k)))
    return [F.sum(share * inside).alias(f"hits_{k}"), F.sum(share * gain).alias(f"gain_{k}")]


def _means(k: int, has_any: Column) -> list[Column]:
    hits, gain = F.col(f"hits_{k}"), F.col(f"gain_{k}")
    best = _discounts(F.lit(0).cast("long"), F.least(F.col("positives").cast("long"), F.lit(k)))
    return [
        F.avg(hits / F.least(F.col("rows"), F.lit(k))).alias(f"precision_{k}"),
        F.avg(F.when(has_any, hits / F.col("positives"))).alias(f"recall_{k}"),
        F.avg(F.when(has_any, gain / best)).alias(f"ndcg_{k}"),
    ]


def _discounts(first: Column, last: Column) -> Column:
    """Return the sum of ``1 / log2(place + 1)`` over the places after ``first`` up to ``last``."""
    places = F.sequence(first + 1, last.cast("long"))
    summed = F.aggregate(places, F.lit(0.0), lambda total, place: total + 1 / F.log2(place + 1))
    return F.when(last > first, summed).otherwise(0.0)
