"""A registered model's predictions for feature rows, each with the model it came from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from pyspark.ml.functions import vector_to_array
from pyspark.sql import functions as F

from featurelib.errors import ModelGateError, nearest
from featurelib.scoring.segments import by_slices
from featurelib.training.segment_scores import SEGMENT

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from featurelib.registry.tracker import LoadedModel
    from featurelib.registry.versions import Thresholds

Arm = Literal["champion", "challenger", "canary"]
_AS_OF = "as_of_ts"
_NARROWER = {
    "tinyint": frozenset({"smallint", "int", "bigint"}),
    "smallint": frozenset({"tinyint", "int", "bigint"}),
    "int": frozenset({"tinyint", "smallint"}),
    "bigint": frozenset({"tinyint", "smallint", "int"}),
    "double": frozenset({"float"}),
}


def score(
    features: DataFrame,
    model: LoadedModel,
    *,
    keys: Sequence[str],
    run_id: str,
    lineage_id: str,
    arm: Arm = "champion",
) -> DataFrame:
    """Return one prediction for each feature row; rows, duplicates included, keep their number.

    A row's prediction depends on that row alone, so it is the same in any partitioning and any batch. Missing
    features are filled as in training; a text never seen in training counts as unknown. A model trained with
    costs or with thresholds of groups calls by these, any other at a probability of 0.5. Where the model has
    segments, a row is predicted by the model of its slice; without one, and in a slice never seen, by the
    parent.

    Args:
        features: one row a (key, ``as_of_ts``), with the model's feature columns.
        model: a checked model.
        keys: columns that identify a row, beside ``as_of_ts``.
        run_id: of the scoring run.
        lineage_id: of the heavy record in ``ops.lineage``.
        arm: in which role the model predicts.

    Returns:
        keys, ``as_of_ts``, ``prediction`` (0.0 or 1.0, or a number), ``probability`` (of label 1, null for a
        number), and ``_run_id``,
        ``_lineage_id``, ``_model_name``, ``_model_version`` (long), ``_model_sha256``, ``_features_hash``,
        ``_arm``; of a model with segments ``_segment`` as well, the slice whose model predicted (its values
        as a JSON list), null for the parent.

    Raises:
        ModelGateError: a feature or key is missing, or a feature has another type than in training.
    """
    what = f"model {model.name} version {model.version}"
    by = model.segments.by if model.segments is not None else {}
    check_features(features, {**model.feature_types, **by}, what=what)
    group = None if model.thresholds is None else model.thresholds.group
    grouped = [] if group is None else [group]
    if group is not None and group not in features.columns:
        raise ModelGateError(
            f"{what} calls each {group!r} by a threshold of its own, and the frame has no such column."
            f"{nearest(group, features.columns)}",
            f"the column {group!r} beside the features",
            "score the feature table, with its spine columns",
        )
    identity = [*keys, _AS_OF]
    if absent := [name for name in identity if name not in features.columns]:
        raise ModelGateError(
            f"the frame to score lacks the columns {', '.join(absent)}",
            "keys and as_of_ts beside the features",
            "score the feature table, with its spine columns",
        )
    # Key columns may be features as well, and keep their name and value through the pipeline.
    needed = features.select(
        *(F.col(f"`{name}`") for name in dict.fromkeys([*identity, *grouped, *model.feature_types, *by]))
    )
    scored, kept = model.pipeline.transform(needed), list(dict.fromkeys([*identity, *grouped]))
    predicted = _predicted(scored, kept) if model.segments is None else by_slices(scored, kept, model)
    if model.thresholds is not None:
        predicted = predicted.withColumn("prediction", _called(model.thresholds))
    return predicted.select(
        *(F.col(f"`{name}`") for name in identity),
        *(F.col(name) for name in ("prediction", "probability", SEGMENT) if name in predicted.columns),
        F.lit(run_id).alias("_run_id"),
        F.lit(lineage_id).alias("_lineage_id"),
        F.lit(model.name).alias("_model_name"),
        F.lit(model.version).cast("long").alias("_model_version"),
        F.lit(model.sha256).alias("_model_sha256"),
        F.lit(model.features_hash).alias("_features_hash"),
        F.lit(arm).alias("_arm"),
    )


def _predicted(scored: DataFrame, identity: Sequence[str]) -> DataFrame:
    # A model of numbers has no probability; its prediction is the number.
    probability = F.lit(None).cast("double")
    if "probability" in scored.columns:
        probability = vector_to_array(F.col("probability"))[1]
    return scored.select(
        *(F.col(f"`{name}`") for name in identity),
        F.col("prediction").cast("double").alias("prediction"),
        probability.alias("probability"),
    )


def _called(thresholds: Thresholds) -> Column:
    """Return 1.0 for a row called positive, else 0.0."""
    bound = F.lit(thresholds.threshold)
    if thresholds.group is not None and thresholds.own:
        value = F.coalesce(F.col(f"`{thresholds.group}`").cast("string"), F.lit("null"))
        pairs = [F.lit(part) for pair in sorted(thresholds.own.items()) for part in pair]
        bound = F.coalesce(F.try_element_at(F.create_map(*pairs), value), bound)
    return (F.col("probability") >= bound).cast("double")


def check_features(features: DataFrame, expected: dict[str, str], *, what: str) -> None:
    """Check that a frame has the features a model was trained on, of types that lose nothing.

    Raises:
        ModelGateError: one is missing or of another type; the error names them all.
    """
    types = {column.name: column.dataType.simpleString() for column in features.schema.fields}
    missing = [name for name in expected if name not in types]
    if missing:
        raise ModelGateError(
            f"{what} needs {len(missing)} features that the frame has not: {', '.join(missing)}."
            f"{nearest(missing[0], types)}",
            f"all {len(expected)} features it was trained on",
            "bring the features back, or train a model on today's features and promote it",
        )
    wrong = [
        f"{name} is {types[name]}, was {kind}"
        for name, kind in expected.items()
        if types[name] != kind and types[name] not in _NARROWER.get(kind, frozenset())
    ]
    if wrong:
        raise ModelGateError(
            f"{what} was trained on other types: {'; '.join(wrong)}",
            "the types of training",
            "give the features their former types, or train a model on today's and promote it",
        )
