"""A training that goes on from an xgboost model: old trees stay, new ones are added, nothing learnt is measured on."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from pyspark.ml import PipelineModel
from pyspark.sql import functions as F

from featurelib.errors import FrameError, ModelGateError
from featurelib.specs import EstimatorSpec, Gate, LiftStep, ModelSpec, Tuning
from featurelib.training.fit import TrainingOptions, train_model
from featurelib.training.warm import warm_start

SCHEMA = "key string, as_of_ts string, place string, signal double, gappy double, late int, month int"
BOOSTED = EstimatorSpec(kind="xgboost", parameters={"trees": 5, "max_depth": 2, "learning_rate": 0.5})
MODEL = ModelSpec(
    features=("place", "signal", "gappy"),
    categorical=("place",),
    baseline=LiftStep(name="gappy", features=("gappy",)),
    lift_learner=EstimatorSpec(kind="decision_tree", parameters={"max_depth": 2}),
    estimators={"boosted": BOOSTED},
    tuning=Tuning(trials=1, parallelism=1),
    gate=Gate(minimum=0.0),
)


@pytest.fixture(scope="module")
def rows(spark):
    """Six months; from April on the signal means the opposite, and the commonest place is another."""
    draw = random.Random(4)
    found = []
    for number in range(900):
        month = 1 + number % 6
        signal = draw.gauss(0, 1)
        way = 1 if month < 4 else -1
        place = draw.choice("aab" if month < 4 else "bbac")
        gap = None if number // 6 % 3 == 0 else draw.random()
        moment = f"2013-{month:02d}-{1 + number % 28:02d}"
        late = int(way * signal + draw.gauss(0, 0.3) > 0)
        found.append((f"k{number}", moment, place, signal, gap, late, month))
    frame = spark.createDataFrame(found, SCHEMA)
    return frame.withColumn("as_of_ts", F.to_timestamp("as_of_ts")).repartition(3)


def split(rows, train, validate, test):
    """The rows of these months, in these parts."""
    parts = {month: part for part, months in (("train", train), ("validate", [validate]), ("test", [test]))
             for month in months}  # fmt: skip
    part = F.create_map(*(F.lit(one) for pair in parts.items() for one in pair))[F.col("month")]
    return rows.withColumn("_split", part).where("_split IS NOT NULL").drop("month")


@pytest.fixture(scope="module")
def first(rows):
    """A model of January to March."""
    options = TrainingOptions(key=("key",))
    return train_model(split(rows, [1], 2, 3), MODEL, name="m", label="late", options=options)


def start_of(result):
    """What goes on from a training."""
    until = result.review["periods"]["validate"]["to"]
    return warm_start(result.model, features=result.features, version=7, sha256="ab", learnt_until=until)


def test_old_trees_stay_and_new_ones_learn_what_changed(rows, first):
    """The first trees are the champion's to the letter, its places keep their meaning, and a new feature is left out."""
    later = split(rows, [4], 5, 6).withColumn("new", F.rand(3))
    model = MODEL.model_copy(
        update={
            "features": (*MODEL.features, "new"),
            "estimators": {"boosted": BOOSTED.model_copy(update={"refit": {"trees": 40}})},
        }
    )
    options = TrainingOptions(key=("key",), warm=start_of(first))
    found = train_model(later, model, name="m", label="late", options=options)

    old, new = (result.model.stages[-1].get_booster().get_dump() for result in (first, found))
    assert (len(old), len(new), new[:5]) == (5, 45, old)
    assert found.continued_from == {"version": 7, "sha256": "ab", "trees": 5}
    assert found.to_dict()["continued_from"]["version"] == 7
    assert found.features == ("place", "signal", "gappy")
    assert found.dropped_because == {"new": "version 7, which is gone on from, does not know it"}
    assert not found.model.stages[-1].isSet(found.model.stages[-1].xgb_model)
    assert {name for name, _ in found.importance} == set(found.features)
    (indexer,) = [stage for stage in found.model.stages if hasattr(stage, "labelsArray")]
    assert [list(labels) for labels in indexer.labelsArray] == [["a", "b"]]
    assert found.evaluation.roc_auc > 0.7


def test_what_was_learnt_is_not_measured_on(rows, first):
    """Validation rows no later than the last one the champion knows are refused, with both moments."""
    until = first.review["periods"]["validate"]["to"]
    options = TrainingOptions(key=("key",), warm=start_of(first))
    with pytest.raises(FrameError, match=f"begin at 2013-02-0.*has learnt from rows up to {until}"):
        train_model(split(rows, [1], 2, 3), MODEL, name="m", label="late", options=options)


def test_what_cannot_be_gone_on_from_is_refused(rows, first):
    """A model that is no xgboost's, and one that reads what is no feature any more."""
    with pytest.raises(ModelGateError, match="whose learner is VectorAssembler, cannot be gone on from"):
        start_of(replace(first, model=PipelineModel(stages=first.model.stages[:-1])))
    fewer = MODEL.model_copy(update={"features": ("signal", "gappy"), "categorical": ()})
    options = TrainingOptions(key=("key",), warm=start_of(first))
    with pytest.raises(ModelGateError, match="version 7, which is gone on from, reads place"):
        train_model(split(rows, [4], 5, 6), fewer, name="m", label="late", options=options)
