"""Several learners put together by Spark's own stages, so that what is saved needs no code of this library.

Each member writes its own columns. A linear model with the weights 0 and 1 takes the probability of label 1
out of each member's vector, SQL turns it into log-odds, and a logistic regression makes the one probability.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import TYPE_CHECKING, Any

from pyspark.ml import PipelineModel
from pyspark.ml.classification import LogisticRegression, LogisticRegressionModel
from pyspark.ml.common import _py2java
from pyspark.ml.feature import SQLTransformer, VectorAssembler
from pyspark.ml.linalg import Vectors
from pyspark.ml.regression import LinearRegression, LinearRegressionModel
from pyspark.sql import functions as F

from featurelib.errors import ModelGateError
from featurelib.specs import EstimatorSpec
from featurelib.training.columns import quoted
from featurelib.training.estimators import LABEL
from featurelib.training.learners import Bench, fit_learner
from featurelib.training.preparation import ROW_HASH
from featurelib.training.workshop import AS_OF, Workshop

if TYPE_CHECKING:
    from pyspark.ml import Model, Transformer
    from pyspark.sql import DataFrame, SparkSession

_VECTOR = "_members"
_LEAST = 1e-15
_FOLDS = 4
_REG_PARAM = 0.001


def fit_ensemble(
    workshop: Workshop, spec: EstimatorSpec, parameters: Mapping[str, Any], rows: DataFrame, *, bench: Bench
) -> PipelineModel:
    """Fit the members on the rows, and what puts them together.

    ``average`` takes the mean of their probabilities or numbers. ``stacking`` learns weights of their
    log-odds (or numbers) from predictions of rows that lie after all the member was fitted on: the rows'
    time is cut into ``folds`` parts, and each part but the first is predicted by members fitted on the
    parts before it.

    Raises:
        ModelGateError: the rows have too few instants to be cut.
    """
    task = workshop.model.task
    stack = None
    if spec.kind == "stacking":
        ahead = _predicted_ahead(
            workshop, spec, rows, folds=int(parameters.get("folds", _FOLDS)), bench=bench
        )
        stack = _fit_stack(
            ahead, spec.members, task=task, reg_param=float(parameters.get("reg_param", _REG_PARAM))
        )
    members = _fit_members(workshop, spec.members, rows, bench=bench)
    spark = rows.sparkSession
    if task == "regression":
        return PipelineModel(stages=[*members, *_numbers_together(spec.members, stack)])
    stages: list[Transformer] = [*members, *_to_probability(spark, spec.members)]
    if stack is None:
        stages += _mean_of_probabilities(spark, spec.members)
    else:
        stages += [
            SQLTransformer(statement=_selecting(map(_log_odds, spec.members))),
            _assembler(spec.members),
            stack,
        ]
    return PipelineModel(stages=stages)


def _fit_members(workshop: Workshop, members: Sequence[str], rows: DataFrame, *, bench: Bench) -> list[Model]:
    return [
        fit_learner(
            workshop,
            name,
            bench.parameters_of(name),
            rows,
            bench=bench,
            suffix=_suffix(name),
        ).model
        for name in members
    ]


def _predicted_ahead(
    workshop: Workshop, spec: EstimatorSpec, rows: DataFrame, *, folds: int, bench: Bench
) -> DataFrame:
    """Return what members made of rows after those they learnt from; the first part has none."""
    instant = F.unix_micros(AS_OF)
    shares = [part / folds for part in range(1, folds)]
    (found,) = rows.select(F.percentile(instant, F.array(*map(F.lit, shares))).alias("edges")).collect()
    edges = sorted(set(found["edges"]))
    parts = []
    for place, edge in enumerate(edges):
        later = edges[place + 1] if place + 1 < len(edges) else None
        before = rows.where(instant <= edge)
        after = rows.where(instant > edge)
        after = after if later is None else after.where(instant <= later)
        if before.isEmpty() or after.isEmpty():
            continue
        predicted = after
        for member in _fit_members(workshop, spec.members, before, bench=bench):
            predicted = member.transform(predicted)
        if workshop.model.task == "binary":
            for stage in _to_probability(rows.sparkSession, spec.members):
                predicted = stage.transform(predicted)
        kept = [LABEL, ROW_HASH]
        parts.append(
            predicted.select(
                *kept, *(F.col(quoted(_single(name, workshop.model.task))) for name in spec.members)
            )
        )
    if not parts:
        raise ModelGateError(
            "stacking: the rows' time cannot be cut into parts",
            "rows of several instants, so that members can be tried on rows after those they learnt from",
            "load more days, or average the members",
        )
    return reduce(lambda left, right: left.unionByName(right), parts)


def _fit_stack(ahead: DataFrame, members: Sequence[str], *, task: str, reg_param: float) -> Model:
    if task == "regression":
        assembled = _number_assembler(members).transform(ahead)
        linear: Model = LinearRegression(featuresCol=_VECTOR, labelCol=LABEL, regParam=reg_param).fit(
            assembled
        )
        return linear
    rows = SQLTransformer(statement=_selecting(map(_log_odds, members))).transform(ahead)
    learner = LogisticRegression(featuresCol=_VECTOR, labelCol=LABEL, regParam=reg_param)
    assembled = _assembler(members).transform(rows).repartition(1).sortWithinPartitions(ROW_HASH)
    fitted: Model = learner.fit(assembled)
    return fitted


def _to_probability(spark: SparkSession, members: Sequence[str]) -> list[Transformer]:
    """Return the stages that take the probability of label 1 out of each member's vector."""
    return [
        _linear(spark, [0.0, 1.0])
        .setFeaturesCol(f"probability{_suffix(name)}")
        .setPredictionCol(_single(name, "binary"))
        for name in members
    ]


def _mean_of_probabilities(spark: SparkSession, members: Sequence[str]) -> list[Transformer]:
    mean = f"({' + '.join(quoted(_single(name, 'binary')) for name in members)}) / {len(members)}"
    odds = SQLTransformer(statement=_selecting([f"{_clipped_log_odds(mean)} AS {quoted(_odds('mean'))}"]))
    return [odds, *from_log_odds(spark, _odds("mean"))]


def from_log_odds(spark: SparkSession, column: str) -> list[Transformer]:
    """Return the stages that make probability and prediction of a column of log-odds."""
    java = spark.sparkContext._jvm.org.apache.spark.ml.classification.LogisticRegressionModel(  # type: ignore[union-attr]
        f"odds_{uuid.uuid4().hex[:12]}", _vector(spark, [1.0]), 0.0
    )
    model = LogisticRegressionModel(java).setFeaturesCol(_VECTOR)
    return [VectorAssembler(inputCols=[column], outputCol=_VECTOR), model]


def log_odds_of(spark: SparkSession, probability: str, *, column: str) -> list[Transformer]:
    """Return the stages that make a column of log-odds of a vector of probabilities."""
    single = f"{column}_single"
    taken = _linear(spark, [0.0, 1.0]).setFeaturesCol(probability).setPredictionCol(single)
    odds = f"{_clipped_log_odds(quoted(single))} AS {quoted(column)}"
    return [taken, SQLTransformer(statement=_selecting([odds]))]


def _numbers_together(members: Sequence[str], stack: Model | None) -> list[Transformer]:
    if stack is not None:
        return [_number_assembler(members), stack]
    mean = f"({' + '.join(quoted(_single(name, 'regression')) for name in members)}) / {len(members)}"
    return [SQLTransformer(statement=_selecting([f"{mean} AS prediction"]))]


def _linear(spark: SparkSession, coefficients: Sequence[float]) -> LinearRegressionModel:
    """Return a linear model of exactly these weights; pyspark itself can only fit one."""
    java = spark.sparkContext._jvm.org.apache.spark.ml.regression.LinearRegressionModel(  # type: ignore[union-attr]
        f"take_{uuid.uuid4().hex[:12]}", _vector(spark, coefficients), 0.0
    )
    return LinearRegressionModel(java)


def _vector(spark: SparkSession, values: Sequence[float]) -> Any:  # noqa: ANN401 - a Java object
    return _py2java(spark.sparkContext, Vectors.dense(list(values)))


def _assembler(members: Sequence[str]) -> VectorAssembler:
    return VectorAssembler(inputCols=[_odds(name) for name in members], outputCol=_VECTOR)


def _number_assembler(members: Sequence[str]) -> VectorAssembler:
    return VectorAssembler(inputCols=[_single(name, "regression") for name in members], outputCol=_VECTOR)


def _log_odds(member: str) -> str:
    return f"{_clipped_log_odds(quoted(_single(member, 'binary')))} AS {quoted(_odds(member))}"


def _clipped_log_odds(probability: str) -> str:
    clipped = f"greatest(least({probability}, {1 - _LEAST!r}D), {_LEAST!r}D)"
    return f"ln({clipped} / (1D - {clipped}))"


def _selecting(added: Any) -> str:  # noqa: ANN401
    return f"SELECT {', '.join(['*', *added])} FROM __THIS__"  # noqa: S608 - columns, quoted


def _suffix(name: str) -> str:
    return f"_{name}"


def _single(name: str, task: str) -> str:
    return f"_p_{name}" if task == "binary" else f"prediction{_suffix(name)}"


def _odds(name: str) -> str:
    return f"_log_odds_{name}"
