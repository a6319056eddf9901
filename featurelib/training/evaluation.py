"""Predictions are counted by score in Spark, in one pass for all rows and every slice of them.

Scores are told apart exactly up to a million (slice, block, score), which bounds what reaches the driver;
beyond that, all rows are told apart to 1e-5 of their log-odds and slices and blocks to 1e-2. The metrics
themselves are arithmetic on these counts, see :mod:`featurelib.training.metrics`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from pyspark.ml.functions import vector_to_array
from pyspark.sql import functions as F

from featurelib.training.metrics import (
    Blocks,
    Evaluation,
    Floats,
    Tally,
    best_f1_threshold,
    best_threshold,
    evaluation_of,
    metric_of,
    pr_auc,
    roc_auc,
    sums,
    together,
)

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import Column, DataFrame

__all__ = [
    "ALL_ROWS",
    "SCORE",
    "Evaluation",
    "Floats",
    "Tally",
    "best_f1_threshold",
    "best_threshold",
    "evaluation_of",
    "metric_of",
    "pr_auc",
    "roc_auc",
    "tallies",
    "together",
    "with_score",
]

ALL_ROWS = ""
SCORE = "_score"
_WHOLE = "_whole"
_MOST = 1_000_000
_ROUNDED_TIMES = 4
_FINE_STEP, _COARSE_STEP = 1e-5, 1e-2
_EPSILON = float(np.finfo(np.float64).eps)


def with_score(predictions: DataFrame) -> DataFrame:
    """Add ``_score``, the probability of label 1; one row a prediction stays one row."""
    return predictions.withColumn(SCORE, vector_to_array(F.col("probability"))[1])


def tallies(
    scored: DataFrame,
    *,
    label: str,
    slices: Sequence[str] = (),
    block: Column | None = None,
    most: int = _MOST,
) -> dict[tuple[str, str], Tally]:
    """Count rows by score, for all rows and for each value of each slice column, in one pass.

    Args:
        scored: rows with ``_score`` and the label.
        label: the label column, 0 or 1.
        slices: columns whose values are measured apart; null is the value ``null``.
        block: rows of one block belong together when the uncertainty is estimated, as those of a day; each
            tally then holds its rows by block too.
        most: so many counts may reach the driver; where exact scores need more they are rounded, in a
            second pass, and the tallies say so. Where rounded ones still need more than four times as many,
            there are no slices.

    Returns:
        A tally for ``("", "")``, all rows, and for each ``(column, value)``.
    """
    exact = _counted(scored, label=label, slices=slices, block=block, step=0.0).limit(most + 1).toPandas()
    if len(exact) <= most:
        return _by_group(exact, is_exact=True)
    whole = _counted(scored, label=label, slices=(), block=None, step=_FINE_STEP).toPandas()
    if block is None and not slices:
        return _by_group(whole, is_exact=False)
    coarse = _counted(scored, label=label, slices=slices, block=block, step=_COARSE_STEP)
    counted = coarse.limit(_ROUNDED_TIMES * most + 1).toPandas()
    if len(counted) > _ROUNDED_TIMES * most:  # slices with more values than anybody could look at
        counted = _counted(scored, label=label, slices=(), block=block, step=_COARSE_STEP).toPandas()
    found = _by_group(counted, is_exact=False)
    (fine,) = _by_group(whole, is_exact=False).values()
    blocks = found[ALL_ROWS, ALL_ROWS].blocks
    found[ALL_ROWS, ALL_ROWS] = Tally(
        fine.score, fine.rows, fine.positives, fine.losses, fine.squares, is_exact=False, blocks=blocks
    )
    return found


def _counted(
    scored: DataFrame, *, label: str, slices: Sequence[str], block: Column | None, step: float
) -> DataFrame:
    """Return one row a (group, block, score): rows, positives and summed errors."""
    groups = [_group(ALL_ROWS, F.lit(ALL_ROWS))]
    groups += [
        _group(name, F.coalesce(F.col(f"`{name}`").cast("string"), F.lit("null")))
        for name in dict.fromkeys(slices)
    ]
    clipped = F.greatest(F.least(F.col(SCORE), F.lit(1 - _EPSILON)), F.lit(_EPSILON))
    told_apart = F.round(F.log(clipped / (1 - clipped)) / step) if step else F.col(SCORE)
    rows = scored.select(
        F.explode(F.array(*groups)).alias("group"),
        (F.lit(_WHOLE) if block is None else F.coalesce(block.cast("string"), F.lit("null"))).alias("block"),
        told_apart.alias("key"),
        F.col(SCORE).alias("score"),
        F.col(f"`{label}`").cast("double").alias("label"),
        (-F.log(F.when(F.col(f"`{label}`") > 0, clipped).otherwise(1 - clipped))).alias("loss"),
    )
    return rows.groupBy("group.name", "group.value", "block", "key").agg(
        F.sum("score").alias("score"),
        F.count(F.lit(1)).alias("rows"),
        F.sum("label").alias("positives"),
        F.sum("loss").alias("loss"),
        F.sum(F.pow(F.col("score") - F.col("label"), 2)).alias("square"),
    )


def _group(name: str, value: Column) -> Column:
    return F.struct(F.lit(name).alias("name"), value.alias("value"))


def _by_group(counted: pd.DataFrame, *, is_exact: bool) -> dict[tuple[str, str], Tally]:
    counted = counted.sort_values(["name", "value", "key", "block"], ascending=[True, True, False, True])
    return {
        (str(name), str(value)): _tally(part, is_exact=is_exact)
        for (name, value), part in counted.groupby(["name", "value"], sort=True)
    }


def _tally(counted: pd.DataFrame, *, is_exact: bool) -> Tally:
    keys = counted["key"].to_numpy(dtype=np.float64)
    at = np.concatenate([[0], np.cumsum(keys[1:] != keys[:-1])]).astype(np.intp)
    entries = {
        name: counted[name].to_numpy(dtype=np.float64)
        for name in ("score", "rows", "positives", "loss", "square")
    }
    score, rows, positives, losses, squares = (sums(at, each) for each in entries.values())
    days, day = np.unique(counted["block"].to_numpy(dtype=str), return_inverse=True)
    blocks = Blocks(
        names=tuple(str(name) for name in days),
        block=day.astype(np.intp),
        at=at,
        score=keys if is_exact else entries["score"] / entries["rows"],
        rows=entries["rows"],
        positives=entries["positives"],
        losses=entries["loss"],
        squares=entries["square"],
    )
    return Tally(
        score=keys[np.searchsorted(at, np.arange(len(rows)))] if is_exact else score / rows,
        rows=rows,
        positives=positives,
        losses=losses,
        squares=squares,
        is_exact=is_exact,
        blocks=None if blocks.names == (_WHOLE,) else blocks,
    )
