from __future__ import annotations

import pytest
from pyspark.sql import functions as F

from featurelib.errors import ConfigError, FrameError
from featurelib.training.preparation import ROW_HASH, VECTOR, fit_preparation, importance_by_feature

SCHEMA = "id long, place string, amount int, rate double, twin double, empty double, flag boolean"
ROWS = [
    (1, "x", 1, 0.5, 0.5, None, True),
    (2, "x", 3, None, None, None, False),
    (3, "y", 5, float("nan"), None, None, True),
    (4, "x", 7, 1.5, 1.5, None, None),
]
FEATURES = ("place", "amount", "rate", "twin", "empty", "flag")


def _fit(rows, features=FEATURES, categorical=("place",)):
    hashed = rows.withColumn(ROW_HASH, F.xxhash64("id"))
    return fit_preparation(hashed, features=features, categorical=categorical, forms=("tree", "linear"))


def _vectors(preparation, rows, form):
    out = preparation.transform(rows).select("id", VECTOR[form]).collect()
    return {row["id"]: [round(float(v), 6) for v in row[1].toArray()] for row in out}


@pytest.fixture(scope="module")
def prepared(spark):
    """A preparation fitted on the four training rows."""
    return _fit(spark.createDataFrame(ROWS, SCHEMA).repartition(3))


def test_each_place_of_the_vector_has_its_feature(prepared):
    """Indicators are shared by features missing in the same rows; a feature without values is left out."""
    assert prepared.places["tree"] == ("place", "amount", "rate", "twin", "flag", "rate", "flag")
    assert prepared.places["linear"] == ("place", "place", "amount", "rate", "twin", "flag", "rate", "flag")
    assert prepared.dropped == ("empty",)
    assert prepared.places_of(["rate", "place"], form="tree") == [0, 2, 5]


def test_missing_values_become_medians_with_an_indicator(spark, prepared):
    """Null and NaN become the training median and raise the indicator; x, the commoner place, is 0."""
    found = _vectors(prepared, spark.createDataFrame(ROWS, SCHEMA), "tree")

    assert found[1] == [0.0, 1.0, 0.5, 0.5, 1.0, 0.0, 0.0]
    assert found[3] == [1.0, 5.0, 0.5, 0.5, 1.0, 1.0, 0.0]


def test_scoring_rows_may_hold_what_training_never_saw(spark, prepared):
    """Unseen and null places share a last index, and a null in a column that was full is filled."""
    fresh = spark.createDataFrame(
        [(8, "z", None, None, 2.0, 1.0, True), (9, None, 1, 1.0, 1.0, None, True)], SCHEMA
    )

    found = _vectors(prepared, fresh, "tree")

    assert [found[8][0], found[9][0]] == [2.0, 2.0]
    assert found[8][1] == 3.0
    assert _vectors(prepared, fresh, "linear")[8][:2] == [0.0, 0.0]


def test_instants_are_refused(spark):
    """An instant as a feature would hold in its own year only."""
    rows = spark.sql("SELECT 1L AS id, timestamp'2013-01-01 00:00:00' AS at, 1 AS amount")
    with pytest.raises(FrameError, match="'at' is of type timestamp"):
        _fit(rows, features=("at", "amount"), categorical=())


def test_text_must_be_declared_categorical(spark):
    """Text that is not declared categorical, and a category that is no feature, are refused."""
    rows = spark.createDataFrame(ROWS, SCHEMA)
    with pytest.raises(ConfigError, match="'place' is text"):
        _fit(rows, categorical=())
    with pytest.raises(ConfigError, match="Did you mean 'place'"):
        _fit(rows, categorical=("plac",))


def test_importance_adds_up_by_feature(prepared):
    """The weights of one-hot places and indicators count for the feature they came from."""
    shares = dict(importance_by_feature(prepared, [1, -1, 0, 2, 0, 0, 0, 0], form="linear"))

    assert shares == {"place": 0.5, "rate": 0.5, "amount": 0.0, "twin": 0.0, "flag": 0.0}


def test_files_and_partitions_do_not_change_medians_and_scales(spark):
    """The same rows in seven partitions by value and in two by chance are prepared alike, to the bit."""
    rows = spark.range(4_000).select(
        "id",
        F.lit("x").alias("place"),
        F.when(F.col("id") % 7 > 0, F.sin(F.col("id") * 12.9898) * 43758.5453).alias("rate"),
    )

    def learnt(frame):
        preparation = _fit(frame, features=("place", "rate"))
        imputer, scaler = preparation.common[1], preparation.forms["linear"][-1]
        return imputer.surrogateDF.collect(), list(scaler.std.toArray())

    assert learnt(rows.repartitionByRange(7, "rate")) == learnt(rows.repartition(2))
