"""The vectors of ALS are tables that Spark reads when it predicts: here they are held instead.

A fitted model would carry all its turns into every task, and a loaded one would look for its files when they
are gone: models are loaded from a folder that is deleted thereafter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark.ml import PipelineModel
    from pyspark.ml.recommendation import ALSModel
    from pyspark.sql import DataFrame


def hold_vectors(pipeline: PipelineModel) -> None:
    """Put models that hold their vectors in the place of every ALS model inside; the driver gets them all."""
    from pyspark.ml import PipelineModel  # noqa: PLC0415 - without it, a registry can be read without Spark
    from pyspark.ml.recommendation import ALSModel  # noqa: PLC0415

    for place, stage in enumerate(pipeline.stages):
        if isinstance(stage, PipelineModel):
            hold_vectors(stage)
        elif isinstance(stage, ALSModel):
            pipeline.stages[place] = with_vectors_held(stage)


def with_vectors_held(model: ALSModel) -> ALSModel:
    """Return the same model over the rows of its vectors, in the order of their places."""
    from pyspark.ml.recommendation import ALSModel  # noqa: PLC0415

    sides = [_held(factors)._jdf for factors in (model.userFactors, model.itemFactors)]
    ml: Any = model.userFactors.sparkSession.sparkContext._jvm.org.apache.spark.ml  # type: ignore[union-attr]
    held: ALSModel = ALSModel(ml.recommendation.ALSModel(model.uid, model.rank, *sides))
    for param in model.params:
        if model.isSet(param):
            held._set(**{param.name: model.getOrDefault(param)})
    return held


def _held(factors: DataFrame) -> DataFrame:
    return factors.sparkSession.createDataFrame(factors.toArrow().sort_by("id"), schema=factors.schema)
