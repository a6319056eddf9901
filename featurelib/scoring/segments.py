"""Rows that the parent has scored are scored again by the models of their slices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pyspark.ml.functions import vector_to_array
from pyspark.sql import functions as F

from featurelib.registry.segment_files import segments_of
from featurelib.training.preparation import VECTOR
from featurelib.training.segment_scores import SEGMENT, segment_of, with_segment_scores

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from featurelib.registry.tracker import LoadedModel

_CALLED = 0.5


def by_slices(scored: DataFrame, identity: Sequence[str], model: LoadedModel) -> DataFrame:
    """Return predictions of the models of slices, and of the parent where a slice has none. Grain: the rows'.

    Args:
        scored: what the parent's pipeline made of the rows, with the columns that slices are made by.
        identity: columns to keep.
        model: a checked model with segments.

    Returns:
        identity, ``prediction``, ``probability`` and ``_segment``, null where the parent predicted.
    """
    segments, vector = segments_of(model), VECTOR["tree"]
    rows = scored.select(
        *(F.col(f"`{name}`") for name in identity),
        F.col("prediction").cast("double").alias("prediction"),
        vector_to_array(F.col("probability"))[1].alias("probability"),
        segment_of(list(segments.by)).alias(SEGMENT),
        F.col(vector),
    )
    probable = with_segment_scores(rows, segments, vector=vector, score="probability")
    own = F.when(F.col("probability") > _CALLED, 1.0).otherwise(0.0)
    prediction = F.when(F.col(SEGMENT).isNull(), F.col("prediction")).otherwise(own)
    return probable.select(
        *(F.col(f"`{name}`") for name in identity),
        prediction.alias("prediction"),
        F.col("probability"),
        F.col(SEGMENT),
    )
