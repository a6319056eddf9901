from __future__ import annotations

import pytest

from featurelib.errors import ModelGateError
from featurelib.registry.tracker import LoadedModel
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
