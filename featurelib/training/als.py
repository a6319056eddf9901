"""Alternating least squares (ALS): the number a user gives an item, from those given before.

Every user and every item has a vector of ``factors`` numbers, and a prediction is their product. The vectors
of one side solve a ridge regression on those of the other, in turns (Zhou et al., "Large-scale parallel
collaborative filtering for the Netflix prize", 2008): a row weighs its vector's penalty, so ``reg_param``
means the same for users of few and of many rows. All stages are Spark's own, so what is saved needs no code
of this library:

    SQLTransformer      user and item to text
    StringIndexer       texts to places, of the rows of this fit; null and unseen ones share a last place
    ALSModel            no number for a place that no row of this fit has
    SQLTransformer      the mean label of the rows of this fit where there is no number
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pyspark.ml import PipelineModel
from pyspark.ml.feature import SQLTransformer, StringIndexer
from pyspark.ml.recommendation import ALS
from pyspark.sql import functions as F
from pyspark.sql import types as T

from featurelib.errors import FrameError, PreconditionError, nearest
from featurelib.registry.vectors import with_vectors_held
from featurelib.specs import EstimatorSpec, ModelSpec
from featurelib.training.columns import double, quoted
from featurelib.training.estimators import LABEL
from featurelib.training.look import ROW_HASH
from featurelib.training.tuning import Parameter

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_ROWS_A_BLOCK = 2_000_000
_TURNS = 10
_TURNS_A_MIB = 5
_STACK = re.compile(r"-Xss(\d+)([kKmMgG]?)")
_MIB = {"": 2.0**-20, "k": 2.0**-10, "m": 1.0, "g": 2.0**10}
_PARAMETERS: dict[str, tuple[str, type]] = {
    "factors": ("rank", int),
    "reg_param": ("regParam", float),
    "max_iter": ("maxIter", int),
    "non_negative": ("nonnegative", bool),
}


def check_als(training: DataFrame, model: ModelSpec, *, name: str, label: str) -> None:
    """Check that the columns of users and items are there, and are texts or whole numbers.

    Raises:
        FrameError: one is not, or is the label.
        PreconditionError: Spark's threads have no stack for so many turns, and no folder for checkpoints.
    """
    _check_turns(training, model, name=name)
    types = {column.name: column.dataType for column in training.schema.fields}
    for column in model.identities:
        if column not in types or column == label:
            raise FrameError(
                f"model {name}: {column!r} stands for a user or an item, and is "
                f"{'the label' if column == label else f'no column.{nearest(column, types)}'}",
                f"another column of the training set: {', '.join(types)}",
                "correct user and item of the estimator of kind als, or add the column to the training set",
            )
        if not isinstance(types[column], T.StringType | T.IntegralType):
            raise FrameError(
                f"model {name}: {column!r} stands for a user or an item, and is of type "
                f"{types[column].simpleString()}",
                "a text or a whole number, equal or unequal for sure",
                "name the column of an identity, or derive a text from it",
            )


def _check_turns(training: DataFrame, model: ModelSpec, *, name: str) -> None:
    """Refuse turns that would end the process.

    Spark hands each task the way back to the first turn. Of nine or ten turns it outgrows a stack of 1 MiB,
    the usual one, and executor or driver die without a word; half of that is taken for safe.
    """
    learners = [spec for spec in model.estimators.values() if spec.kind == "als"]
    given = [value for spec in learners for parameter, value in spec.values() if parameter == "max_iter"]
    turns = max([int(float(value)) for value in given] or [_TURNS]) if learners else 0
    spark = training.sparkSession
    stack = _stack_mib(spark) if turns > _TURNS_A_MIB else math.inf
    if turns <= stack * _TURNS_A_MIB or spark.sparkContext.getCheckpointDir():
        return
    raise PreconditionError(
        f"model {name}: als of up to {turns} turns (max_iter), and threads have a stack of {stack:g} MiB",
        f"{math.ceil(turns / _TURNS_A_MIB)} MiB, or a folder for checkpoints",
        "start Spark with -Xss8m in spark.driver.extraJavaOptions and in spark.executor.extraJavaOptions, or "
        "with spark.checkpoint.dir, a folder that driver and executors share; or lower max_iter",
    )


def _stack_mib(spark: SparkSession) -> float:
    """Return the stack of a thread of driver or executors, the smaller one; 1 MiB where nothing is said."""
    context: Any = spark.sparkContext
    beans = context._jvm.java.lang.management.ManagementFactory
    said = [" ".join(beans.getRuntimeMXBean().getInputArguments())]
    if not re.fullmatch(r"local(\[.*\])?", context.master):
        given = (f"spark.executor.{which}JavaOptions" for which in ("default", "extra"))
        said.append(" ".join(context.getConf().get(key, "") for key in given))
    found = (_STACK.findall(options) or [("1", "m")] for options in said)
    return min(int(last[-1][0]) * _MIB[last[-1][1].lower()] for last in found)


def fit_als(
    rows: DataFrame, spec: EstimatorSpec, parameters: Mapping[str, Parameter], *, seed: int, suffix: str = ""
) -> PipelineModel:
    """Fit users and items of these rows; the model reads the two columns and writes ``prediction``.

    Where the user or the item is null or has no row here, the prediction is the mean label of these rows.
    Labels and predictions pass Spark's ALS in single precision, of seven digits.

    Up to two million rows are fitted by one task, in the order of their hash, so that the same rows give the
    same model to the bit on any partitioning and cluster; more are cut into blocks, as many for the same
    rows, whose sums a cluster may add up in another order.

    Args:
        rows: with the two columns, ``LABEL`` and ``ROW_HASH``.
        spec: names the columns.
        parameters: fixed and proposed.
        seed: of the first vectors.
        suffix: of the column it writes.

    Raises:
        FrameError: no row has a user and an item.
    """
    sides = {"user": spec.user or "", "item": spec.item or ""}
    named = {side: f"_als_{side}{suffix}" for side in sides}
    placed = {side: f"_als_{side}_place{suffix}" for side in sides}
    texts = [f"CAST({quoted(column)} AS STRING) AS {quoted(named[side])}" for side, column in sides.items()]
    typing = SQLTransformer(statement=_selecting(texts))
    ordered, blocks = _ordered(typing.transform(rows).select(*named.values(), LABEL, ROW_HASH))
    is_rated = " AND ".join(f"{quoted(name)} IS NOT NULL" for name in named.values())
    mean, rated_rows = _mean_label(ordered, is_rated)
    if not rated_rows:
        raise FrameError(
            f"als: none of the rows has both {spec.user} and {spec.item}",
            "rows that say who gave the number, and to what",
            "see why the columns are null in the training set, or take the estimator out",
        )
    rated = ordered.where(is_rated)
    indexer = StringIndexer(
        inputCols=[*named.values()],
        outputCols=[*placed.values()],
        handleInvalid="keep",
        stringOrderType="alphabetAsc",
    ).fit(rated)
    given: dict[str, Any] = {"maxIter": _TURNS} | {
        _PARAMETERS[name][0]: _PARAMETERS[name][1](value) for name, value in parameters.items()
    }
    learner = ALS(
        userCol=placed["user"],
        itemCol=placed["item"],
        ratingCol=LABEL,
        numUserBlocks=blocks,
        numItemBlocks=blocks,
        coldStartStrategy="nan",
        checkpointInterval=_TURNS_A_MIB,
        seed=seed,
        **given,
    )
    fitted = with_vectors_held(learner.fit(indexer.transform(rated)))
    product = f"_als_product{suffix}"
    known = f"CAST(nanvl({quoted(product)}, NULL) AS DOUBLE)"
    prediction = f"coalesce({known}, {double(mean)}) AS {quoted(f'prediction{suffix}')}"
    return PipelineModel(
        stages=[
            typing,
            indexer,
            fitted.setPredictionCol(product),
            SQLTransformer(statement=_selecting([prediction])),
        ]
    )


def _ordered(rows: DataFrame) -> tuple[DataFrame, int]:
    """Return the rows in the one order that all cuts and clusters have, and the number of their blocks."""
    blocks = max(1, math.ceil(rows.count() / _ROWS_A_BLOCK))
    others = [name for name in rows.columns if name != ROW_HASH]
    return rows.repartition(blocks, ROW_HASH).sortWithinPartitions(ROW_HASH, *others), blocks


def _mean_label(ordered: DataFrame, is_rated: str) -> tuple[float, int]:
    """Return the mean label and the number of rows with user and item.

    Each block is summed in its order, and their sums without rounding: the same rows have the same mean.
    """
    parts = ordered.groupBy(F.spark_partition_id()).agg(
        F.sum(LABEL).alias("total"),
        F.count(LABEL).alias("rows"),
        F.count_if(F.expr(is_rated)).alias("rated"),
    )
    found = parts.collect()
    rows = sum(int(part["rows"]) for part in found)
    mean = math.fsum(part["total"] for part in found) / rows if rows else math.nan
    return mean, sum(int(part["rated"]) for part in found)


def _selecting(added: list[str]) -> str:
    return f"SELECT {', '.join(['*', *added])} FROM __THIS__"  # noqa: S608 - columns, quoted
