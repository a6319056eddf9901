"""Metrics of a binary score, from one aggregation in Spark and arithmetic on the driver.

Scores are told apart to 1e-5 of their log-odds, which bounds what reaches the driver whatever the number of
rows; counts, log loss, Brier score and mean predictions are summed from the exact scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from pyspark.ml.functions import vector_to_array
from pyspark.sql import functions as F

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import Column, DataFrame

Floats = npt.NDArray[np.float64]

ALL_ROWS = ""
BLOCK = "_block"
SCORE = "_score"
_LOG_ODDS_STEP = 1e-5
_EPSILON = 1e-15
_CURVE_POINTS = 200
_CALIBRATION_BINS = 15
_RESAMPLES = 200


@dataclass(frozen=True)
class Evaluation:
    """How well a score tells positives from negatives.

    Attributes:
        rows: rows measured.
        positives: those with label 1.
        roc_auc: chance that a positive scores above a negative, ties counting half; None if one is missing.
        pr_auc: average precision (the step-wise area, as scikit-learn has it); None without positives.
        log_loss: mean negative log likelihood, in nats.
        brier: mean squared error of the probability.
        threshold: a score at or above it is called positive.
        accuracy: share called rightly; precision, recall and f1 are of the positives, 0 where undefined.
        roc: points [false positive rate, true positive rate], rising.
        precision_recall: points [recall, precision], by rising recall.
        calibration: [mean predicted, observed share, rows] of bins with about equally many rows.
    """

    rows: int
    positives: int
    roc_auc: float | None
    pr_auc: float | None
    log_loss: float
    brier: float
    threshold: float
    accuracy: float
    precision: float
    recall: float
    f1: float
    roc: list[list[float]]
    precision_recall: list[list[float]]
    calibration: list[list[float]]

    def to_dict(self) -> dict[str, Any]:
        """Return the evaluation as plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Tally:
    """Rows counted by score, scores falling: enough for every metric here."""

    score: Floats
    rows: Floats
    positives: Floats
    log_loss: float
    brier: float


def with_score(predictions: DataFrame) -> DataFrame:
    """Add ``_score``, the probability of label 1; one row a prediction stays one row."""
    return predictions.withColumn(SCORE, vector_to_array(F.col("probability"))[1])


def tallies(
    scored: DataFrame, *, label: str, slices: Sequence[str] = (), block: Column | None = None
) -> dict[tuple[str, str], Tally]:
    """Count rows by score, for all rows and for each value of each slice column, in one pass.

    Args:
        scored: rows with ``_score`` and the label.
        label: the label column, 0 or 1.
        slices: columns whose values are measured apart; null is the value ``null``.
        block: rows of one block belong together when the uncertainty is estimated, as those of a day.

    Returns:
        A tally for ``("", "")``, all rows, and for each ``(column, value)``; blocks stand under ``BLOCK``.
    """
    named = {name: F.col(f"`{name}`") for name in slices}
    if block is not None:
        named[BLOCK] = block
    groups = [_group(ALL_ROWS, F.lit(ALL_ROWS))]
    groups += [
        _group(name, F.coalesce(column.cast("string"), F.lit("null"))) for name, column in named.items()
    ]
    clipped = F.greatest(F.least(F.col(SCORE), F.lit(1 - _EPSILON)), F.lit(_EPSILON))
    rows = scored.select(
        F.explode(F.array(*groups)).alias("group"),
        F.round(F.log(clipped / (1 - clipped)) / _LOG_ODDS_STEP).cast("long").alias("step"),
        F.col(SCORE).alias("score"),
        F.col(f"`{label}`").cast("double").alias("label"),
        (-F.log(F.when(F.col(f"`{label}`") > 0, clipped).otherwise(1 - clipped))).alias("loss"),
    )
    counted = (
        rows.groupBy("group.name", "group.value", "step")
        .agg(
            F.sum("score").alias("score"),
            F.count(F.lit(1)).alias("rows"),
            F.sum("label").alias("positives"),
            F.sum("loss").alias("loss"),
            F.sum(F.pow(F.col("score") - F.col("label"), 2)).alias("square"),
        )
        .toPandas()
        .sort_values(["name", "value", "step"], ascending=[True, True, False])
    )
    return {
        (str(name), str(value)): _tally(part)
        for (name, value), part in counted.groupby(["name", "value"], sort=True)
    }


def _group(name: str, value: Column) -> Column:
    return F.struct(F.lit(name).alias("name"), value.alias("value"))


def _tally(counted: pd.DataFrame) -> Tally:
    rows = counted["rows"].to_numpy(dtype=np.float64)
    total = rows.sum()
    return Tally(
        score=counted["score"].to_numpy(dtype=np.float64) / rows,
        rows=rows,
        positives=counted["positives"].to_numpy(dtype=np.float64),
        log_loss=float(counted["loss"].sum() / total),
        brier=float(counted["square"].sum() / total),
    )


def together(tallies: Sequence[Tally]) -> Tally:
    """Return the tally of all rows of several, scores falling."""
    if len(tallies) == 1:
        return tallies[0]
    score = np.concatenate([tally.score for tally in tallies])
    falling = np.argsort(-score, kind="stable")
    counts = np.array([tally.rows.sum() for tally in tallies])
    return Tally(
        score=score[falling],
        rows=np.concatenate([tally.rows for tally in tallies])[falling],
        positives=np.concatenate([tally.positives for tally in tallies])[falling],
        log_loss=float(np.average([tally.log_loss for tally in tallies], weights=counts)),
        brier=float(np.average([tally.brier for tally in tallies], weights=counts)),
    )


def evaluation_of(tally: Tally, *, threshold: float) -> Evaluation:
    """Return every metric of a tally at a threshold."""
    called = tally.score >= threshold
    rows, positives = float(tally.rows.sum()), float(tally.positives.sum())
    hits, calls = float(tally.positives[called].sum()), float(tally.rows[called].sum())
    false_calls = calls - hits
    precision = hits / calls if calls else 0.0
    recall = hits / positives if positives else 0.0
    return Evaluation(
        rows=int(rows),
        positives=int(positives),
        roc_auc=roc_auc(tally.rows, tally.positives),
        pr_auc=pr_auc(tally.rows, tally.positives),
        log_loss=tally.log_loss,
        brier=tally.brier,
        threshold=threshold,
        accuracy=(hits + (rows - positives) - false_calls) / rows,
        precision=precision,
        recall=recall,
        f1=2 * hits / (calls + positives) if calls + positives else 0.0,
        roc=_roc(tally),
        precision_recall=_precision_recall(tally),
        calibration=_calibration(tally),
    )


def roc_auc(rows: Floats, positives: Floats) -> float | None:
    """Return the area under the ROC curve of counts by falling score; None unless both labels occur."""
    negatives = rows - positives
    n_positive, n_negative = positives.sum(), negatives.sum()
    if n_positive == 0 or n_negative == 0:
        return None
    negatives_below = n_negative - np.cumsum(negatives)
    return float(np.sum(positives * (negatives_below + negatives / 2)) / (n_positive * n_negative))


def pr_auc(rows: Floats, positives: Floats) -> float | None:
    """Return the average precision of counts by falling score; None without positives."""
    n_positive = positives.sum()
    if n_positive == 0:
        return None
    precision = np.cumsum(positives) / np.cumsum(rows)
    return float(np.sum(precision * positives) / n_positive)


def metric_of(tally: Tally, metric: str) -> float:
    """Return the metric a search is steered by; NaN where it is undefined."""
    if metric == "log_loss":
        return tally.log_loss
    value = (roc_auc if metric == "roc_auc" else pr_auc)(tally.rows, tally.positives)
    return float("nan") if value is None else value


def best_f1_threshold(tally: Tally) -> float:
    """Return the highest of the scores at which calling positive gives the greatest F1."""
    hits, calls = np.cumsum(tally.positives), np.cumsum(tally.rows)
    f1 = 2 * hits / np.maximum(calls + tally.positives.sum(), 1)
    return float(tally.score[int(np.argmax(f1))])


def roc_auc_interval(blocks: Sequence[Tally], *, seed: int) -> tuple[float, float] | None:
    """Return the 2.5% and 97.5% quantile of the ROC AUC when whole blocks are drawn with replacement.

    Rows of one day share weather and congestion, so resampling rows would promise too narrow an interval
    (the block bootstrap). None with fewer than two blocks or where the AUC is undefined.
    """
    if len(blocks) < 2:
        return None
    score = np.concatenate([block.score for block in blocks])
    falling = np.argsort(-score, kind="stable")
    rows = np.concatenate([block.rows for block in blocks])[falling]
    positives = np.concatenate([block.positives for block in blocks])[falling]
    owner = np.repeat(np.arange(len(blocks)), [len(block.score) for block in blocks])[falling]
    random = np.random.default_rng(seed)
    areas = []
    for _ in range(_RESAMPLES):
        times = random.multinomial(len(blocks), [1 / len(blocks)] * len(blocks))[owner]
        area = roc_auc(rows * times, positives * times)
        if area is not None:
            areas.append(area)
    if not areas:
        return None
    low, high = np.quantile(areas, [0.025, 0.975])
    return float(low), float(high)


def _places(length: int) -> npt.NDArray[np.intp]:
    return np.unique(np.linspace(0, length - 1, min(length, _CURVE_POINTS)).round().astype(np.intp))


def _roc(tally: Tally) -> list[list[float]]:
    positives = np.concatenate([[0.0], np.cumsum(tally.positives)])
    negatives = np.concatenate([[0.0], np.cumsum(tally.rows - tally.positives)])
    points = np.column_stack([negatives / max(negatives[-1], 1.0), positives / max(positives[-1], 1.0)])
    return _rounded(points[_places(len(points))])


def _precision_recall(tally: Tally) -> list[list[float]]:
    hits, calls = np.cumsum(tally.positives), np.cumsum(tally.rows)
    points = np.column_stack([hits / max(hits[-1], 1.0), hits / calls])
    return _rounded(points[_places(len(points))])


def _calibration(tally: Tally) -> list[list[float]]:
    below = np.cumsum(tally.rows) - tally.rows
    bins = (below * _CALIBRATION_BINS / tally.rows.sum()).astype(np.int64)
    points = []
    for number in np.unique(bins)[::-1]:
        inside = bins == number
        rows = tally.rows[inside].sum()
        predicted = (tally.score[inside] * tally.rows[inside]).sum() / rows
        points.append([predicted, tally.positives[inside].sum() / rows, rows])
    return _rounded(np.array(points))


def _rounded(points: Floats) -> list[list[float]]:
    rounded: list[list[float]] = np.round(points, 6).tolist()
    return rounded
