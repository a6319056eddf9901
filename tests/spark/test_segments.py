"""Models of slices on Spark: trained beside their parent, registered with it, and asked in its place."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
from pyspark.ml.functions import vector_to_array
from pyspark.sql import functions as F

from featurelib.errors import FrameError, ModelGateError
from featurelib.registry.outbox import Submission, write_outbox
from featurelib.registry.tracker import Tracker
from featurelib.scoring.batch import score
from featurelib.scoring.contributions import segment_contributions
from featurelib.specs import (
    EstimatorSpec,
    Gate,
    LiftStep,
    ModelSpec,
    SearchRange,
    Segments,
    TrackingSettings,
    Tuning,
)
from featurelib.training.fit import TrainingOptions, train_model

SCHEMA = "key string, as_of_ts string, shop string, signal double, gappy double, late int, _split string"
FOREST = EstimatorSpec(kind="random_forest", parameters={"trees": 2, "max_depth": 2})
LEARNER = EstimatorSpec(
    kind="xgboost",
    parameters={"trees": 6, "learning_rate": 0.3},
    space={"max_depth": SearchRange(integer=(1, 2))},
)
MODEL = ModelSpec(
    features=("signal", "gappy"),
    baseline=LiftStep(name="gappy", features=("gappy",)),
    lift_learner=FOREST,
    estimators={"linear": EstimatorSpec(kind="logistic_regression", parameters={"max_iter": 5})},
    tuning=Tuning(trials=1, parallelism=1),
    gate=Gate(minimum=0.0),
    segments=Segments(by=("shop",), min_rows=60, learner=LEARNER, trials=2, confidence=None, max_rows=280),
)
SIZES = {"up": 300, "down": 260, None: 200, "calm": 150, "small": 30, "one": 1}


def frame_of(spark):
    """Shops whose labels follow the signal in opposite ways, so that no one model serves them all."""
    draw = random.Random(5)
    rows = []
    for shop, count in SIZES.items():
        for number in range(count):
            signal = draw.gauss(0, 1)
            way = -1 if shop == "down" else 1
            late = 0 if shop == "calm" else int(way * signal + draw.gauss(0, 0.5) > 0)
            split = ("train", "train", "train", "validate", "test")[number % 5]
            gap = None if number % 4 == 0 else draw.random()
            rows.append(
                (f"{shop}-{number}", f"2013-01-{1 + number % 28:02d}", shop, signal, gap, late, split)
            )
    frame = spark.createDataFrame(rows, SCHEMA)
    return frame.withColumn("as_of_ts", F.to_timestamp("as_of_ts")).repartition(3)


@pytest.fixture(scope="module")
def frame(spark):
    """The rows, kept."""
    kept = frame_of(spark).cache()
    yield kept
    kept.unpersist()


@pytest.fixture(scope="module")
def result(frame):
    """The model and its slices."""
    return train_model(
        frame, MODEL, name="m", label="late", options=TrainingOptions(key=("key",), slices=("shop",))
    )


@pytest.fixture(scope="module")
def model(frame, result, tmp_path_factory):
    """The model as it is registered and loaded."""
    folder = tmp_path_factory.mktemp("registry")
    settings = TrackingSettings(
        tracking_uri=f"sqlite:///{folder}/mlflow.db",
        artifact_root=str(folder / "artifacts"),
        experiment="tests",
    )
    submission = Submission(
        outbox_id="run-1", name="m", feature_types=result.feature_types, result=result.to_dict(), comment="x"
    )
    outbox = write_outbox(
        folder / "outbox", model=result.model, submission=submission, segments=result.segments.models
    )
    tracker = Tracker(settings)
    return tracker, tracker.register(outbox)


def test_every_slice_has_its_outcome(result):
    """Good slices have models; the small, the one of one class and the one of one row keep the parent, with reasons."""
    found = {json.loads(one.segment)[0]: one for one in result.segments.outcomes}
    assert {shop: one.state for shop, one in found.items()} == {
        "up": "own", "down": "own", None: "own", "calm": "parent", "small": "parent", "one": "parent",
    }  # fmt: skip
    assert found["small"].reason == "24 train and validation rows, fewer than min_rows 60"
    assert found["one"].reason == "1 train and validation rows, fewer than min_rows 60"
    assert found["calm"].reason == "one class only: 90 rows, all of label 0 in train"
    assert found["down"].rows == (156, 52, 52)
    assert found["down"].test["roc_auc"] > 0.8 > found["down"].parent_test["roc_auc"]
    assert set(result.segments.models.boosters) == {'["up"]', '["down"]', "[null]"}


def test_of_a_large_slice_a_sample_is_fitted(frame, result):
    """The one slice above max_rows says how many rows were taken: those whose hash lies in the lowest 280 of 300 parts."""
    found = {json.loads(one.segment)[0]: one for one in result.segments.outcomes}
    place = "(CAST(xxhash64(key, 7) AS decimal(38,0)) + 9223372036854775808) / 18446744073709551616"
    taken = frame.where(f"shop = 'up' AND {place} <= 280D / 300D").count()
    assert 240 < taken < 300
    assert found["up"].reason == f"by {taken} of its 300 rows (max_rows 280)"
    assert found["up"].rows == (180, 60, 60)
    assert found["down"].reason == ""


def test_training_is_repeatable(spark, frame, result):
    """Other partitions of the rows and another number of tasks give the same boosters, byte for byte."""
    again = train_model(
        frame_of(spark).repartition(7, "signal"),
        MODEL,
        name="m",
        label="late",
        options=TrainingOptions(key=("key",)),
    )
    assert again.segments.models.boosters == result.segments.models.boosters


def test_scores_are_those_of_the_slices_models(frame, result, model):
    """Registered and loaded: each row has the probability that xgboost gives its vector, or its parent's."""
    tracker, registered = model
    loaded = tracker.load_version(registered)
    unseen = frame.limit(3).select("key", "as_of_ts", F.lit("new").alias("shop"), "signal", "gappy")
    rows = frame.select(*unseen.columns).unionByName(unseen)
    scored = score(rows, loaded, keys=["key", "shop"], run_id="r", lineage_id="l")
    found = scored.collect()
    vectors = loaded.pipeline.transform(rows).select(
        "key",
        "shop",
        vector_to_array("_tree_vector", "float32").alias("v"),
        vector_to_array("probability")[1].alias("p"),
    )
    expected = {(row["key"], row["shop"]): by_hand(row, result) for row in vectors.collect()}
    assert len(found) == sum(SIZES.values()) + 3
    assert {(row["key"], row["shop"]): (row["_segment"], row["probability"]) for row in found} == expected
    assert all(row["prediction"] == float(row["probability"] > 0.5) for row in found)
    assert {row["_segment"] for row in found if row["shop"] in {"new", "small", "calm", "one"}} == {None}
    other = score(rows.repartition(5, "gappy"), loaded, keys=["key", "shop"], run_id="r", lineage_id="l")
    assert sorted(other.collect(), key=str) == sorted(found, key=str)


def by_hand(row, result):
    """A row's slice and probability, by xgboost alone."""
    import xgboost

    name = json.dumps([row["shop"]])
    if name not in result.segments.models.boosters:
        return None, row["p"]
    booster = xgboost.Booster()
    booster.load_model(bytearray(result.segments.models.boosters[name].content))
    return name, float(booster.predict(xgboost.DMatrix(np.array([row["v"]], np.float32)))[0])


def test_the_whole_is_measured_as_it_predicts(frame, result, model):
    """The test ROC AUC is scikit-learn's of the scores with slices; the parent's own stands beside it, and is worse."""
    from sklearn.metrics import roc_auc_score

    tracker, registered = model
    test = frame.where("_split = 'test'")
    rows = score(test, tracker.load_version(registered), keys=["late"], run_id="r", lineage_id="l").collect()
    expected = roc_auc_score([row["late"] for row in rows], [row["probability"] for row in rows])
    assert result.evaluation.roc_auc == pytest.approx(expected, abs=1e-4)
    assert result.by_estimator[0].roc_auc < result.evaluation.roc_auc - 0.1


def test_contributions_of_rows_add_up(frame, result, model):
    """Rows with a slice's model are explained by feature: beginning and contributions are the log-odds."""
    tracker, registered = model
    loaded = tracker.load_version(registered)
    rows = segment_contributions(frame.where("_split = 'test'"), loaded, keys=["key"]).collect()
    assert {row["_segment"] for row in rows} == set(result.segments.models.boosters)
    assert all(set(row["contributions"]) == {"signal", "gappy"} for row in rows)
    assert (
        max(abs(row["begin"] + sum(row["contributions"].values()) - row["log_odds"]) for row in rows) <= 1e-6
    )
    down = [abs(row["contributions"]["signal"]) for row in rows if row["_segment"] == '["down"]']
    outcome = next(one for one in result.segments.outcomes if one.segment == '["down"]')
    assert np.mean(down) == pytest.approx(outcome.contributions["signal"], abs=1e-6)


def test_the_registry_keeps_one_table_of_slices(model):
    """MLflow has one artifact with a row a slice, and no run for each; a changed booster is not loaded."""
    import mlflow

    tracker, registered = model
    server = mlflow.MlflowClient(tracking_uri=tracker.settings.tracking_uri)
    experiment = server.get_experiment_by_name("tests")
    runs = server.search_runs([experiment.experiment_id])
    assert sorted(run.info.run_name for run in runs) == ["run-1", "trial-00-linear"]
    assert "segments.json" in {file.path for file in server.list_artifacts(registered.run_id)}
    (kept,) = (run for run in runs if run.info.run_id == registered.run_id)
    folder = Path(kept.info.artifact_uri.removeprefix("file://"))
    boosters = folder / "model/sparkml/segments/boosters.parquet"
    boosters.write_bytes(boosters.read_bytes() + b" ")
    with pytest.raises(ModelGateError, match="its files have sha256"):
        tracker.load_version(registered)


def test_columns_that_make_no_slices_are_refused(frame):
    """A column that is missing, and one of doubles, are named before anything is trained."""
    for by, said in (
        ("shops", "no such column. Did you mean 'shop'"),
        ("signal", "'signal', which is a double"),
    ):
        wrong = MODEL.model_copy(update={"segments": Segments(by=(by,), learner=LEARNER)})
        with pytest.raises(FrameError, match=said):
            train_model(frame, wrong, name="m", label="late")
