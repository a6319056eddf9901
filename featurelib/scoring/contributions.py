"""What made each row's log-odds, for rows that the model of their slice predicts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from featurelib.registry.segment_files import segments_of
from featurelib.scoring.batch import check_features
from featurelib.training.preparation import VECTOR
from featurelib.training.segment_scores import SEGMENT, segment_of, with_contributions

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from featurelib.registry.tracker import LoadedModel


def segment_contributions(features: DataFrame, model: LoadedModel, *, keys: Sequence[str]) -> DataFrame:
    """Return the exact SHAP values of each row whose slice has a model of its own; other rows are left out.

    They are path-dependent TreeSHAP as xgboost computes it, in log-odds; a feature's includes that of its
    missing indicator.

    Args:
        features: one row a prediction, with the model's feature columns and those that slices are made by.
        model: a checked model with segments.
        keys: columns to keep, as the spine's key and ``as_of_ts``.

    Returns:
        keys, ``_segment``, ``log_odds``, ``begin`` (what every row of the slice begins with) and
        ``contributions`` (feature to SHAP value): ``begin`` and these add up to ``log_odds``, within float32.

    Raises:
        ModelGateError: the model has no segments, or a feature is missing or of another type.
    """
    segments = segments_of(model)
    what = f"model {model.name} version {model.version}"
    check_features(features, {**model.feature_types, **segments.by}, what=what)
    wanted = dict.fromkeys([*keys, *model.feature_types, *segments.by])
    prepared = model.pipeline.transform(features.select(*(F.col(f"`{name}`") for name in wanted)))
    vector = VECTOR["tree"]
    rows = prepared.select(
        *(F.col(f"`{name}`") for name in keys), segment_of(list(segments.by)).alias(SEGMENT), F.col(vector)
    )
    return with_contributions(rows, segments, vector=vector)
