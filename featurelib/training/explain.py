"""What a model's score depends on, in all and row by row; every score is computed by the model in Spark.

Features are permuted and set as raw columns, so the whole pipeline answers, whatever its last stage is.
Exact are the contributions of xgboost (TreeSHAP: Lundberg et al., "From local explanations to global
understanding with explainable AI for trees", 2020) and of linear models, a coefficient times the value's
distance from its mean (exact where features are independent: Štrumbelj and Kononenko, "Explaining prediction
models and individual predictions with feature contributions", 2014), and row by row those of MLlib's trees
(:mod:`featurelib.training.tree_shap`). The contributions of one feature's
places in the vector, as its categories and its indicator of missing values, are summed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.ml import PipelineModel
from pyspark.ml.functions import vector_to_array
from pyspark.ml.stat import Summarizer
from pyspark.sql import functions as F

from featurelib.errors import ModelGateError
from featurelib.specs import SPLIT
from featurelib.training.evaluation import SCORE, with_score
from featurelib.training.metrics import Floats, roc_auc, sums
from featurelib.training.tree_shap import is_tree_ensemble, tree_shap, trees_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_CONTRIBUTIONS = "_contributions"
_VARIANT = "_variant"
_REPEATS = 5
_GRID = 10
_CURVE_ROWS = 100
_LIME_ROWS = 1_000
_LIME_WIDTH = 0.75
_LIME_RIDGE = 1e-3

Score = Callable[[pa.Table], Floats]
Quality = Callable[[Floats, Floats], float | None]


@dataclass(frozen=True)
class Background:
    """What contributions are measured from.

    Attributes:
        places: the feature behind each place of the model's vector.
        means: for a linear model, the mean of each place over training rows; empty for others.
    """

    places: tuple[str, ...]
    means: tuple[float, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the background as plain JSON values."""
        return {"places": list(self.places), "means": list(self.means)}


@dataclass(frozen=True)
class Explained:
    """A row's score taken apart: base and contributions sum to the margin.

    Attributes:
        margin: what the model says of the row, in log-odds; of a random forest, its probability.
        base: what it says where nothing is known.
        contributions: of each feature, in the same unit.
        unit: ``log-odds`` or ``probability``.
    """

    margin: float
    base: float
    contributions: dict[str, float]
    unit: Literal["log-odds", "probability"] = "log-odds"

    @property
    def error(self) -> float:
        """How far the sum is from the margin, as a share of what is summed where that is above 1.

        What is summed are the absolute values: rounding follows them, and float32 has seven digits.
        """
        parts = (self.base, *self.contributions.values())
        return abs(sum(parts) - self.margin) / max(1.0, sum(map(abs, parts)))


def sampled_rows(
    training: DataFrame, *, label: str, features: Sequence[str], key: Sequence[str], rows: int, seed: int
) -> pa.Table:
    """Return raw features and label of at most ``rows`` test rows, chosen by a hash of their key."""
    identity = [F.col(f"`{name}`") for name in (key or features)]
    chosen = training.where(F.col(SPLIT) == "test").orderBy(F.xxhash64(*identity, F.lit(seed)), *identity)
    return chosen.limit(rows).select(
        *(F.col(f"`{name}`") for name in dict.fromkeys(features)),
        F.col(f"`{label}`").cast("double").alias("_label"),
    ).toArrow()  # fmt: skip


def scoring(pipeline: PipelineModel, like: DataFrame) -> Score:
    """Return what scores a table of raw features, in the order of its rows: a probability, or a number."""
    spark = like.sparkSession

    def score(rows: pa.Table) -> Floats:
        numbered = rows.append_column(_VARIANT, pa.array(np.arange(len(rows))))
        made = pipeline.transform(spark.createDataFrame(numbered))
        is_class = "probability" in made.columns
        scored = with_score(made) if is_class else made.withColumn(SCORE, F.col("prediction"))
        scored = scored.select(_VARIANT, SCORE)
        return np.asarray(scored.toArrow().sort_by(_VARIANT)[SCORE].to_numpy(), dtype=np.float64)

    return score


# --- all rows -------------------------------------------------------------------------------------------


def permutation_importance(
    rows: pa.Table, features: Sequence[str], *, score: Score, seed: int, quality: Quality
) -> list[dict[str, Any]]:
    """Return how much quality is lost where one feature's values are dealt anew, greatest loss first.

    All features and repeats are scored in one pass (Breiman, "Random forests", 2001).

    Args:
        rows: raw features and the label.
        features: those that are dealt anew, one at a time.
        score: what scores raw features.
        seed: of the draws.
        quality: what scores are worth for the labels, :func:`area` or :func:`nearness`; greater is better.

    Returns:
        For each feature its mean ``loss`` over five permutations, and their standard deviation ``spread``.
        None where the rows have one label only.
    """
    draw = np.random.default_rng(seed)
    plain = rows.drop_columns(["_label"])
    variants = [plain]
    for name in features:
        for _ in range(_REPEATS):
            dealt = plain[name].take(pa.array(draw.permutation(len(rows))))
            variants.append(_with(plain, name, dealt))
    scores = score(pa.concat_tables(variants)).reshape(len(variants), len(rows))
    label = rows["_label"].to_numpy()
    worth = [quality(one, label) for one in scores]
    losses = np.array([np.nan if one is None else (worth[0] or 0.0) - one for one in worth[1:]])
    by_feature = losses.reshape(len(features), _REPEATS)
    found = [
        {"feature": name, "loss": _plain(each.mean()), "spread": _plain(each.std(ddof=1))}
        for name, each in zip(features, by_feature, strict=True)
    ]
    return sorted(found, key=lambda one: -(one["loss"] or 0.0))


def partial_dependence(
    rows: pa.Table, features: Sequence[str], *, score: Score, categorical: Sequence[str]
) -> list[dict[str, Any]]:
    """Return the mean score where all rows have one and the same value of a feature, value by value.

    Numbers are set to at most ten of their quantiles, categories to their ten most frequent values, on the
    first hundred rows (Friedman, "Greedy function approximation", 2001). Features are moved one by one: where
    they hang together, the model is asked about rows that do not occur.
    """
    plain = rows.drop_columns(["_label"])[:_CURVE_ROWS]
    grids = {name: _grid(rows[name], is_category=name in categorical) for name in features}
    variants = [
        _with(plain, name, pa.chunked_array([pa.array([value] * len(plain), plain[name].type)]))
        for name, values in grids.items()
        for value in values
    ]
    if not variants:
        return []
    means = iter(score(pa.concat_tables(variants)).reshape(len(variants), len(plain)).mean(axis=1))
    return [
        {"feature": name, "values": values, "scores": [float(next(means)) for _ in values]}
        for name, values in grids.items()
        if values
    ]


# --- row by row -----------------------------------------------------------------------------------------


def has_contributions(pipeline: PipelineModel) -> bool:
    """Return whether exact contributions of many rows are quick to have; those of MLlib's trees are not."""
    last = pipeline.stages[-1]
    return hasattr(last, "coefficients") or hasattr(last, "pred_contrib_col")


def background_of(pipeline: PipelineModel, places: Sequence[str], vectors: DataFrame) -> Background:
    """Return what the model's contributions are measured from.

    Args:
        pipeline: the model.
        places: the feature behind each place of its vector.
        vectors: prepared training rows.
    """
    last: Any = pipeline.stages[-1]
    if not hasattr(last, "coefficients"):
        return Background(tuple(places))
    mean = vectors.select(Summarizer.mean(F.col(last.getFeaturesCol()))).head()
    return Background(tuple(places), () if mean is None else tuple(float(value) for value in mean[0]))


def contributions(
    pipeline: PipelineModel, rows: DataFrame, background: Background, *, scratch: Path | None = None
) -> list[Explained]:
    """Return the contributions to each row's margin, in the order of the rows; the driver gets them all.

    Args:
        pipeline: a model whose last stage is linear, xgboost's or an ensemble of MLlib's trees.
        rows: few rows of raw features; trees of MLlib take a tenth of a second a row.
        background: what contributions are measured from, as recorded at training.
        scratch: for trees of MLlib, a folder not there yet which driver and executors share.

    Raises:
        ModelGateError: exact contributions of such a model are not known here.
    """
    last: Any = pipeline.stages[-1]
    prepared = PipelineModel(stages=list(pipeline.stages[:-1])).transform(rows)
    if hasattr(last, "coefficients"):
        return _linear(last, last.transform(prepared), background)
    if hasattr(last, "pred_contrib_col"):
        return _boosted(last, prepared, background)
    if scratch is not None and is_tree_ensemble(last):
        return _trees(last, last.transform(prepared), background, scratch)
    raise ModelGateError(
        f"a model of class {type(last).__name__}",
        "a linear model, one of xgboost or trees of MLlib, whose contributions are exact",
        "take --method lime, or see permutation importance in the model card",
    )


def mean_contributions(explained: Sequence[Explained]) -> list[dict[str, Any]]:
    """Return each feature's mean absolute contribution in log-odds, greatest first, ties by name."""
    totals: dict[str, float] = {}
    for row in explained:
        for name, value in row.contributions.items():
            totals[name] = totals.get(name, 0.0) + abs(value) / len(explained)
    return [
        {"feature": name, "contribution": value}
        for name, value in sorted(totals.items(), key=lambda pair: (-pair[1], pair[0]))
    ]


def local_surrogate(row: pa.Table, background: pa.Table, *, score: Score, seed: int) -> dict[str, float]:
    """Return the weights of a linear model of the score around one row (LIME), greatest first.

    A thousand neighbours keep each feature of the row or take that of a background row, by the toss of a
    coin; a ridge regression on which were kept, weighted by how many were, tells what keeping each is worth
    (Ribeiro, Singh and Guestrin, "Why should I trust you?", 2016). Always the same for a seed.

    Args:
        row: one row of raw features.
        background: rows to take other values from.
        score: what scores raw features.
        seed: of the tosses.
    """
    from sklearn.linear_model import Ridge  # noqa: PLC0415 - only this needs scikit-learn

    draw = np.random.default_rng(seed)
    names = row.column_names
    kept = draw.random((_LIME_ROWS, len(names))) < 0.5
    kept[0] = True
    others = background.select(names).take(pa.array(draw.integers(0, len(background), _LIME_ROWS)))
    mixed = {
        name: pc.if_else(pa.array(kept[:, place]), row[name][0], others[name].combine_chunks())
        for place, name in enumerate(names)
    }
    distance = 1 - kept.mean(axis=1)
    weights = np.exp(-((distance / _LIME_WIDTH) ** 2))
    fitted = Ridge(alpha=_LIME_RIDGE).fit(kept.astype(float), score(pa.table(mixed)), sample_weight=weights)
    found = dict(zip(names, map(float, fitted.coef_), strict=True))
    return dict(sorted(found.items(), key=lambda pair: -abs(pair[1])))


def _linear(last: Any, scored: DataFrame, background: Background) -> list[Explained]:  # noqa: ANN401 - untyped pyspark
    coefficients, means = last.coefficients.toArray(), np.array(background.means)
    base = float(last.intercept + coefficients @ means)
    found = scored.select(
        vector_to_array(F.col(last.getFeaturesCol())).alias("vector"),
        vector_to_array(F.col(last.getRawPredictionCol()))[1].alias("margin"),
    ).collect()
    return [
        Explained(row["margin"], base, _summed(background, coefficients * (np.array(row["vector"]) - means)))
        for row in found
    ]


def _boosted(last: Any, prepared: DataFrame, background: Background) -> list[Explained]:  # noqa: ANN401 - untyped xgboost
    explaining = last.copy({last.pred_contrib_col: _CONTRIBUTIONS})
    found = explaining.transform(prepared).select(
        F.col(_CONTRIBUTIONS)[0].alias("given"),
        vector_to_array(F.col(last.getRawPredictionCol()))[1].alias("margin"),
    )
    return [
        Explained(row["margin"], row["given"][-1], _summed(background, np.array(row["given"][:-1])))
        for row in found.collect()
    ]


def _trees(last: Any, scored: DataFrame, background: Background, scratch: Path) -> list[Explained]:  # noqa: ANN401 - untyped pyspark
    trees = trees_of(last, scored.sparkSession, scratch=scratch)
    is_forest = not hasattr(last, "evaluateEachIteration")
    margin = F.col(last.getProbabilityCol()) if is_forest else F.col(last.getRawPredictionCol())
    found = scored.select(
        vector_to_array(F.col(last.getFeaturesCol())).alias("vector"),
        (vector_to_array(margin)[1] * (1 if is_forest else 2)).alias("margin"),
    ).collect()
    explained = []
    for row in found:
        base, values = tree_shap(trees, np.array(row["vector"]))
        unit: Literal["log-odds", "probability"] = "probability" if is_forest else "log-odds"
        explained.append(Explained(row["margin"], base, _summed(background, values), unit))
    return explained


def _summed(background: Background, values: Floats) -> dict[str, float]:
    summed = dict.fromkeys(background.places, 0.0)
    for name, value in zip(background.places, values, strict=True):
        summed[name] += float(value)
    return summed


def _with(table: pa.Table, name: str, column: pa.ChunkedArray) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, column)


def _grid(column: pa.ChunkedArray, *, is_category: bool) -> list[Any]:
    given = column.drop_null()
    if is_category or not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        counted: Mapping[Any, int] = {
            one["values"]: one["counts"] for one in pc.value_counts(given).to_pylist()
        }
        return sorted(sorted(counted, key=lambda value: (-counted[value], str(value)))[:_GRID], key=str)
    values = given.to_numpy()
    values = values[~np.isnan(values)]
    if not len(values):
        return []
    parts = np.linspace(0.05, 0.95, _GRID)
    return [value.item() for value in np.unique(np.quantile(values, parts, method="inverted_cdf"))]


def nearness(scores: Floats, label: Floats) -> float | None:
    """Return the root of the mean squared error, negative: what numbers are worth."""
    return None if not len(label) else -float(np.sqrt(np.mean((scores - label) ** 2)))


def area(scores: Floats, label: Floats) -> float | None:
    """Return the ROC AUC, None where there is one label only: what the scores of classes are worth."""
    _, place = np.unique(-scores, return_inverse=True)
    return roc_auc(sums(place, np.ones(len(label))), sums(place, label))


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
