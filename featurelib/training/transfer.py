"""A trained xgboost model goes on learning from further rows: newer ones, or those of another slice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyspark.ml import PipelineModel
from pyspark.sql import functions as F

from featurelib.errors import FrameError, ModelGateError
from featurelib.model_specs import Task
from featurelib.specs import SPLIT, EstimatorSpec
from featurelib.training.estimators import LABEL, Surroundings, build_estimator
from featurelib.training.learners import continued
from featurelib.training.look import ROW_HASH
from featurelib.training.measures import measures_of, whole
from featurelib.training.stages import VECTOR
from featurelib.training.workshop import AS_OF

if TYPE_CHECKING:
    from pyspark.ml import Transformer
    from pyspark.sql import DataFrame


@dataclass(frozen=True)
class Transferred:
    """A model that learnt on, and what that changed on the slice's test rows.

    Attributes:
        model: takes the same raw features as the one it came from.
        before: evaluation of that one.
        after: evaluation of the model.
        trees: trees before and after.
    """

    model: PipelineModel
    before: Any
    after: Any
    trees: tuple[int, int]


def learn_on(
    pipeline: PipelineModel,
    training: DataFrame,
    *,
    label: str,
    task: Task = "binary",
    parameters: Mapping[str, Any] | None = None,
) -> Transferred:
    """Add trees to a trained xgboost model, fitted on other rows; the old trees stay as they are.

    Medians, categories and scales stay those of the first training, so that a feature goes on meaning what
    the old trees took it for: a category that the first training did not know counts as unknown. The
    threshold of both evaluations is 0.5.

    Args:
        pipeline: a model of this library whose learner is xgboost, as ``TrainingResult.model``.
        training: the slice: raw features, label, ``as_of_ts`` and ``_split``; ``train`` rows are learnt
            from, ``test`` rows measured.
        label: the label column.
        task: that of the model.
        parameters: of the added trees: ``trees``, ``max_depth``, ``learning_rate``, ... as for xgboost.

    Raises:
        ModelGateError: the model's learner is not xgboost.
        FrameError: there are no rows to learn from or to measure on.
    """
    learnt = pipeline.stages[-1]
    if not hasattr(learnt, "get_booster"):
        raise ModelGateError(
            f"a model whose learner is {type(learnt).__name__} cannot learn on",
            "an xgboost model: Spark's own learners give no way to begin with a fitted one",
            "train a new model on the slice",
        )
    rows = PipelineModel(stages=pipeline.stages[:-1]).transform(
        training.withColumn(LABEL, F.col(f"`{label}`").cast("double"))
    )
    rows = rows.withColumn(ROW_HASH, F.xxhash64(AS_OF, F.col(VECTOR["tree"]).cast("string")))
    rows = rows.select(SPLIT, LABEL, ROW_HASH, VECTOR["tree"])
    fit_on, tested = rows.where(F.col(SPLIT) == "train"), rows.where(F.col(SPLIT) == "test")
    if fit_on.isEmpty() or tested.isEmpty():
        raise FrameError("a slice without train or without test rows", "both", "move the dates of its split")
    spec = EstimatorSpec(kind="xgboost", parameters=dict(parameters or {"trees": 20}))
    surroundings = Surroundings(seed=7, max_bins=0, cores=1, task=task)
    learner = build_estimator(spec, spec.parameters, surroundings=surroundings)
    ordered = fit_on.repartition(1).sortWithinPartitions(ROW_HASH)
    model = continued(learner, learnt.get_booster(), ordered)
    return Transferred(
        model=PipelineModel(stages=[*pipeline.stages[:-1], model]),
        before=_evaluated(learnt, tested, task),
        after=_evaluated(model, tested, task),
        trees=(learnt.get_booster().num_boosted_rounds(), model.get_booster().num_boosted_rounds()),  # type: ignore[attr-defined]
    )


def _evaluated(model: Transformer, rows: DataFrame, task: Task) -> Any:  # noqa: ANN401 - each task has its own
    measures = measures_of(task)
    return measures.evaluation_of(whole(measures.tallies(model.transform(rows))), threshold=0.5)
