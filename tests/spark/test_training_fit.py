from __future__ import annotations

import json
import random

import pytest
from pyspark.sql import functions as F

from featurelib.errors import FrameError, ModelGateError
from featurelib.specs import EstimatorSpec, Gate, LiftStep, ModelSpec, SearchRange, Tuning
from featurelib.training.fit import TrainingOptions, train_model
from featurelib.training.preparation import ROW_HASH, VECTOR, fit_preparation
from featurelib.training.workshop import partitions_for, prepared

SCHEMA = "key string, as_of_ts timestamp, place string, signal double, noise double, gappy double, late int, _split string"


def rows_of(count=420):
    """Rows whose label follows ``signal`` and, a little, ``place``."""
    draw = random.Random(5)
    rows = []
    for number in range(count):
        signal, place = draw.gauss(0, 1), draw.choice("abc")
        late = int(signal + (place == "a") * 0.7 + draw.gauss(0, 0.7) > 0.5)
        split = ("train", "train", "train", "validate", "test")[number % 5]
        gap = None if number % 4 == 0 else signal * 0.1
        day = f"2013-01-{1 + number % 28:02d}"
        rows.append((f"k{number}", day, place, signal, draw.random(), gap, late, split))
    return rows


def frame_of(spark, rows):
    """The rows as a frame, spread over partitions."""
    schema = SCHEMA.replace("as_of_ts timestamp", "as_of_ts string")
    return (
        spark.createDataFrame(rows, schema).withColumn("as_of_ts", F.to_timestamp("as_of_ts")).repartition(3)
    )


def model_of(estimators, *, trials=2, parallelism=2, **more):
    """A model over the four features with these estimators."""
    return ModelSpec(
        features=("place", "signal", "noise", "gappy"),
        categorical=("place",),
        baseline=LiftStep(name="place only", features=("place",)),
        lift=(LiftStep(name="without noise", features=("*", "!noise")),),
        lift_learner=EstimatorSpec(kind="random_forest", parameters={"trees": 3, "max_depth": 3}),
        estimators=estimators,
        tuning=Tuning(trials=trials, parallelism=parallelism, sample=0.8),
        gate=Gate(minimum=0.6),
        **more,
    )


LINEAR = EstimatorSpec(
    kind="logistic_regression",
    parameters={"max_iter": 10},
    space={"reg_param": SearchRange(log_uniform=(1e-4, 1e-2))},
)
FOREST = EstimatorSpec(
    kind="random_forest",
    parameters={"max_depth": 3},
    space={"trees": SearchRange(integer=(3, 5))},
    refit={"trees": 7},
)
BROKEN = EstimatorSpec(kind="random_forest", parameters={"trees": 2, "max_depth": 99})


@pytest.fixture(scope="module")
def trained(spark):
    """One small training with a linear model, a forest and a learner that cannot be fitted."""
    told, steps = [], []
    result = train_model(
        frame_of(spark, rows_of()),
        model_of({"linear": LINEAR, "forest": FOREST, "broken": BROKEN}, trials=3),
        name="m",
        label="late",
        options=TrainingOptions(key=("key",), slices=("place",), on_trial=told.append, on_step=steps.append),
    )
    return result, told, steps


def test_a_training_finds_the_signal(trained):
    """The tuned model beats its baseline on the test rows, and names the feature that matters."""
    result, _, _ = trained

    assert result.evaluation.roc_auc > 0.8
    assert result.evaluation.roc_auc > result.baseline.roc_auc + 0.1
    assert result.importance[0][0] == "signal"
    assert result.rows == {"train": 252, "validate": 84, "test": 84}
    assert result.evaluation.rows == 84


def test_a_trial_that_cannot_be_fitted_is_recorded(trained):
    """One estimator's failure is told with its reason; the training goes on without it."""
    result, told, _ = trained

    assert len(told) == len(result.trials) == 3
    (failed,) = [trial for trial in result.trials if trial.state == "failed"]
    assert failed.estimator == "broken"
    assert "maxDepth" in failed.reason or "99" in failed.reason


def test_the_result_is_json_and_complete(trained):
    """Everything but the model goes through JSON; every step is timed."""
    result, _, steps = trained
    record = json.loads(json.dumps(result.to_dict()))

    assert ["prepare", "tune", "refit", "lift", "evaluate", "review"] == steps == list(record["seconds"])
    assert [step["name"] for step in record["lift"]] == ["without noise"]
    assert record["lift"][0]["features"] == ["place", "signal", "gappy"]
    assert {"a", "b", "c"} == {entry["value"] for entry in record["slices"]}
    assert record["roc_auc_interval"][0] < record["evaluation"]["roc_auc"] < record["roc_auc_interval"][1]


def test_the_pipeline_takes_raw_columns(spark, trained):
    """The fitted pipeline needs the feature columns only."""
    result, _, _ = trained
    raw = spark.createDataFrame(
        [("a", 2.5, 0.1, None)], "place string, signal double, noise double, gappy double"
    )

    row = result.model.transform(raw).select("prediction", "probability").collect()[0]

    assert row["prediction"] == 1.0
    assert row["probability"][1] > 0.5


def test_test_rows_change_nothing_but_their_own_figures(spark, trained):
    """A planted value in the test rows leaves features, stages, trials and parameters as they were."""
    result, _, _ = trained
    planted = [
        (*row[:2], "planted", 1e6, 1e6, 1e6, row[6], row[7]) if row[7] == "test" and n % 2 else row
        for n, row in enumerate(rows_of())
    ]
    model = model_of({"linear": LINEAR, "forest": FOREST, "broken": BROKEN}, trials=3)
    again = train_model(
        frame_of(spark, planted), model, name="m", label="late", options=TrainingOptions(key=("key",))
    )
    fresh = spark.createDataFrame(
        [("a", 0.3, 0.2, None), ("c", None, 0.9, -0.1)],
        "place string, signal double, noise double, gappy double",
    )

    assert [trial.value for trial in result.trials] == pytest.approx(
        [trial.value for trial in again.trials], abs=1e-6, nan_ok=True
    )
    assert result.parameters == again.parameters
    before, after = (
        [list(row["probability"]) for row in r.model.transform(fresh).select("probability").collect()]
        for r in (result, again)
    )
    assert [p for row in before for p in row] == pytest.approx([p for row in after for p in row], abs=1e-6)


def test_xgboost_runs_beside_mllib_and_both_are_reported(spark):
    """Barrier stages of xgboost beside an MLlib fit end, and the test figures of both stand in the result."""
    pytest.importorskip("xgboost")
    boosted = EstimatorSpec(
        kind="xgboost",
        parameters={"workers": 2, "max_depth": 3},
        space={"trees": SearchRange(integer=(5, 9))},
    )

    result = train_model(
        frame_of(spark, rows_of()),
        model_of({"boosted": boosted, "forest": FOREST}, trials=3),
        name="m",
        label="late",
        options=TrainingOptions(key=("key",)),
    )

    assert {"boosted", "forest"} == {entry.estimator for entry in result.by_estimator}
    assert all(entry.roc_auc > 0.7 for entry in result.by_estimator)
    assert all(trial.state == "done" for trial in result.trials), result.trials
    forest = next(entry for entry in result.by_estimator if entry.estimator == "forest")
    assert forest.parameters["trees"] == 7


def test_a_split_with_one_label_is_refused(spark):
    """A split without positives cannot be learnt from or measured."""
    rows = [(*row[:6], 0 if row[7] == "validate" else row[6], row[7]) for row in rows_of(100)]
    with pytest.raises(ModelGateError, match="'validate' has 0 positives"):
        train_model(frame_of(spark, rows), model_of({"forest": FOREST}), name="m", label="late")


def test_a_label_other_than_0_and_1_is_refused(spark):
    """A label that is neither 0 nor 1 is an error before anything is fitted."""
    rows = [(*row[:6], 2 if n == 3 else row[6], row[7]) for n, row in enumerate(rows_of(100))]
    with pytest.raises(FrameError, match="other than 0 and 1"):
        train_model(frame_of(spark, rows), model_of({"forest": FOREST}), name="m", label="late")


def test_a_missing_label_column_names_the_nearest(spark):
    """A misspelt label is refused with the column that was meant."""
    with pytest.raises(FrameError, match="Did you mean 'late'"):
        train_model(frame_of(spark, rows_of(10)), model_of({"forest": FOREST}), name="m", label="lat")


def test_medians_scales_and_categories_come_from_training_rows_alone(spark):
    """Whatever validation and test rows hold, what is learnt of the training rows stays the same to the bit."""

    def learnt(rows):
        model = model_of({"linear": LINEAR})
        features = ("place", "signal", "noise", "gappy")
        workshop = prepared(frame_of(spark, rows), model, features=features, label="late", key=("key",))
        workshop.rows.unpersist()
        stages = {type(stage).__name__: stage for stage in workshop.preparation.common}
        scaler = workshop.preparation.forms["linear"][-1]
        return (
            stages["StringIndexerModel"].labelsArray,
            stages["ImputerModel"].surrogateDF.collect(),
            list(scaler.std.toArray()),
        )

    rows = rows_of()
    elsewhere = [
        row if row[-1] == "train" else (*row[:2], "z", row[3] * 1e6, 7.0, 1e9, *row[6:]) for row in rows
    ]
    all_of_it = [
        (*row[:-1], "train" if row[-1] == "validate" and number % 2 else row[-1])
        for number, row in enumerate(elsewhere)
    ]

    assert learnt(rows) == learnt(elsewhere)
    assert learnt(rows) != learnt(all_of_it)


def test_rows_are_cut_so_that_a_partition_can_be_cached():
    """Every core has as many partitions as the next, and none is above 200,000 rows on average."""
    sizes = (1, 400_000, 400_001, 5_000_000)
    assert [partitions_for(rows, cores=2) for rows in sizes] == [2, 2, 4, 26]
    assert [partitions_for(rows, cores=1) for rows in sizes] == [1, 2, 3, 25]


def test_a_test_row_is_scaled_by_the_training_rows(spark):
    """Of 2, 4, 6 in training the deviation is 2: they become 1, 2, 3, 100 on a later day becomes 50, null the median."""
    rows = spark.createDataFrame([(1, 2.0), (2, 4.0), (3, 6.0)], "id long, amount double")
    hashed = rows.withColumn(ROW_HASH, F.xxhash64("id"))
    preparation = fit_preparation(hashed, features=("amount",), categorical=(), forms=("linear",))
    later = spark.createDataFrame(
        [(1, 2.0), (2, 4.0), (3, 6.0), (4, 100.0), (5, None)], "id long, amount double"
    )

    scaled = preparation.transform(later).orderBy("id").select(VECTOR["linear"]).collect()

    assert [row[0].toArray().tolist() for row in scaled] == [[1.0], [2.0], [3.0], [50.0], [2.0]]
