from __future__ import annotations

import pytest
from pyspark.ml.functions import array_to_vector
from pyspark.sql import functions as F

from featurelib.errors import ModelGateError
from featurelib.registry.tracker import LoadedModel
from featurelib.registry.versions import Thresholds
from featurelib.scoring.batch import check_features, score

EXPECTED = {"amount": "int", "rate": "double"}


def test_missing_features_are_named(spark):
    """A frame that lost a feature is refused with the feature and the nearest column."""
    frame = spark.createDataFrame([(1, 0.5)], "amount int, rates double")
    with pytest.raises(ModelGateError, match=r"needs 1 features.*: rate\. Did you mean 'rates'"):
        check_features(frame, EXPECTED, what="model m version 1")


def test_changed_types_are_named(spark):
    """A feature that became text is refused; a number that fits into the former type is taken."""
    with pytest.raises(ModelGateError, match="amount is string, was int"):
        check_features(spark.createDataFrame([("1", 0.5)], "amount string, rate double"), EXPECTED, what="m")
    check_features(spark.createDataFrame([(1, 0.5)], "amount smallint, rate float"), EXPECTED, what="m")


def test_a_frame_without_its_key_is_refused(spark):
    """Predictions without key or moment could not be joined to anything."""
    model = LoadedModel("m", 1, "s", "f", EXPECTED, pipeline=None)
    frame = spark.createDataFrame([(1, 0.5)], "amount int, rate double")
    with pytest.raises(ModelGateError, match="lacks the columns key, as_of_ts"):
        score(frame, model, keys=["key"], run_id="r", lineage_id="l")


def test_a_frame_without_the_groups_is_refused(spark):
    """A model that calls each carrier by a threshold of its own cannot call rows whose carrier is not there."""
    model = LoadedModel(
        "m", 1, "s", "f", EXPECTED, pipeline=None, thresholds=Thresholds(0.4, "carrier", {"UA": 0.3})
    )
    frame = spark.createDataFrame([(1, 0.5, "UA")], "amount int, rate double, carriers string")
    with pytest.raises(ModelGateError, match=r"each 'carrier' by a threshold.*Did you mean 'carriers'"):
        score(frame, model, keys=["amount"], run_id="r", lineage_id="l")


def test_each_group_is_called_by_its_threshold(spark):
    """One probability, three groups: above its own threshold, below its own, and one that has only that of all."""

    class Fixed:
        """A model that gives every row 0.35."""

        def transform(self, rows):
            chance = array_to_vector(F.array(F.lit(0.65), F.lit(0.35)))
            return rows.withColumn("probability", chance).withColumn("prediction", F.lit(0.0))

    def called(thresholds):
        model = LoadedModel("m", 1, "s", "f", EXPECTED, pipeline=Fixed(), thresholds=thresholds)
        scored = score(frame, model, keys=["amount"], run_id="r", lineage_id="l")
        return [row["prediction"] for row in scored.orderBy("amount").collect()]

    frame = spark.createDataFrame(
        [(1, 0.5, "UA", 0), (2, 0.5, "DL", 0), (3, 0.5, None, 0), (4, 0.5, "B6", 0)],
        "amount int, rate double, carrier string, as_of_ts int",
    )
    assert called(None) == [0.0, 0.0, 0.0, 0.0]
    assert called(Thresholds(0.35)) == [1.0, 1.0, 1.0, 1.0]
    assert called(Thresholds(0.4, "carrier", {"UA": 0.3, "DL": 0.36, "null": 0.35})) == [1.0, 0.0, 1.0, 0.0]
