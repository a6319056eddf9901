from __future__ import annotations

import sqlite3
import sys
from pathlib import Path

import pytest
from pyspark.ml import Pipeline
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.feature import SQLTransformer, VectorAssembler

from featurelib.errors import ModelGateError, PreconditionError
from featurelib.registry import client
from featurelib.registry.outbox import Submission, waiting, write_outbox
from featurelib.registry.tracker import Tracker, register_from_outbox
from featurelib.scoring.batch import score
from featurelib.specs import TrackingSettings

TYPES = {"amount": "int", "rate": "double"}
TRIALS = [
    {
        "number": 0,
        "estimator": "linear",
        "parameters": {"reg_param": 0.1},
        "metric": "roc_auc",
        "value": 0.7,
        "seconds": 1.0,
        "state": "done",
        "reason": "",
    },
    {
        "number": 1,
        "estimator": "linear",
        "parameters": {"reg_param": 9.9},
        "metric": "roc_auc",
        "value": None,
        "seconds": 1.0,
        "state": "failed",
        "reason": "ValueError: no",
    },
]
RESULT = {
    "estimator": "linear",
    "kind": "logistic_regression",
    "parameters": {"reg_param": 0.1},
    "evaluation": {"roc_auc": 0.75, "pr_auc": 0.5},
    "baseline": {"roc_auc": 0.6, "pr_auc": 0.4},
    "trials": TRIALS,
}


@pytest.fixture(scope="module")
def pipeline(spark):
    """A small fitted pipeline over two raw columns."""
    rows = spark.createDataFrame(
        [(1, 0.5, 0.0), (2, 0.1, 1.0), (3, 0.7, 0.0), (4, 0.2, 1.0)], "amount int, rate double, y double"
    )
    stages = [
        SQLTransformer(statement="SELECT *, coalesce(rate, 0D) AS _rate FROM __THIS__"),
        VectorAssembler(inputCols=["amount", "_rate"], outputCol="v"),
        LogisticRegression(featuresCol="v", labelCol="y", regParam=0.1),
    ]
    return Pipeline(stages=stages).fit(rows)


def _tracker(folder):
    return Tracker(
        TrackingSettings(
            tracking_uri=f"sqlite:///{folder / 'mlflow' / 'mlflow.db'}",
            artifact_root=str(folder / "artifacts"),
            experiment="tests",
        )
    )


def _submission(outbox_id):
    return Submission(
        outbox_id=outbox_id,
        name="m",
        feature_types=TYPES,
        result=RESULT,
        tags={"code_version": "abc", "features_hash": "f00", "delta_versions": {"training": 3}},
        example=({"amount": 1, "rate": 0.5}, {"amount": 2, "rate": None}),
        requirements=("pyspark==4.2.0",),
        comment="first try",
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory, pipeline):
    """A registry with two versions of one model; version 1 is champion."""
    folder = tmp_path_factory.mktemp("registry")
    tracker = _tracker(folder)
    for number in (1, 2):
        outbox = write_outbox(folder / "outbox", model=pipeline, submission=_submission(f"run-{number}"))
        tracker.register(outbox)
    tracker.set_aliases("m", {"champion": 1})
    return folder, tracker


def test_a_version_carries_its_record(home):
    """Tags, metrics and hash of a version are those submitted; the outbox is empty afterwards."""
    folder, tracker = home

    champion = tracker.champion("m")

    assert (champion.name, champion.version) == ("m", 1)
    assert champion.metrics["roc_auc"] == 0.75
    assert champion.metrics["baseline_roc_auc"] == 0.6
    assert champion.tags["delta_versions"] == '{"training": 3}'
    assert champion.tags["model_sha256"] == champion.sha256
    assert len(champion.sha256) == 64
    assert waiting(folder / "outbox") == []


def test_trials_are_nested_runs(home):
    """Each trial is a child run of the training's run, a failed one marked as such."""
    from mlflow import MlflowClient

    _, tracker = home
    server = MlflowClient(tracking_uri=tracker.settings.tracking_uri)
    experiment = server.get_experiment_by_name("tests")
    parent = tracker.champion("m").run_id

    children = server.search_runs([experiment.experiment_id], f"tags.mlflow.parentRunId = '{parent}'")

    assert {run.info.run_name: run.info.status for run in children} == {
        "trial-00-linear": "FINISHED",
        "trial-01-linear": "FAILED",
    }
    assert {0.7} == {
        run.data.metrics["validation_roc_auc"] for run in children if run.info.status == "FINISHED"
    }


def test_loaded_models_score_as_before(spark, home, pipeline):
    """A loaded model gives the very same probabilities, with the columns that name it."""
    _, tracker = home
    rows = spark.sql(
        "SELECT 'k' AS key, timestamp'2013-01-01 00:00:00' AS as_of_ts, amount, rate "
        "FROM VALUES (1, 0.5D), (7, NULL), (7, NULL) AS t(amount, rate)"
    )

    model = tracker.load("m")
    scored = score(rows, model, keys=["key"], run_id="r", lineage_id="l").collect()

    assert model.feature_types == TYPES
    expected = sorted(
        row["probability"][1] for row in pipeline.transform(rows).select("probability").collect()
    )
    assert expected == sorted(row["probability"] for row in scored)
    assert list(scored[0].asDict()) == [
        "key", "as_of_ts", "prediction", "probability", "_run_id", "_lineage_id", "_model_name", "_model_version",
        "_model_sha256", "_features_hash", "_arm",
    ]  # fmt: skip
    assert ("r", "l", "m", 1, model.sha256, "f00", "champion") == tuple(scored[0])[4:]


def test_mlflow_users_can_load_it(home, monkeypatch):
    """mlflow.spark and mlflow.pyfunc load what we register, and the signature and example are there."""
    # pyspark takes a program without a file, as a test's process of several is, for a doctest and ends it.
    monkeypatch.setattr(sys.modules["__main__"], "__file__", __file__, raising=False)
    import mlflow
    import pandas as pd

    _, tracker = home
    mlflow.set_tracking_uri(tracker.settings.tracking_uri)
    mlflow.set_registry_uri(tracker.settings.tracking_uri)
    try:
        stages = mlflow.spark.load_model("models:/m@champion").stages
        loaded = mlflow.pyfunc.load_model("models:/m@champion")
        predicted = loaded.predict(pd.DataFrame({"amount": pd.Series([4], dtype="int32"), "rate": [0.2]}))
    finally:
        mlflow.set_tracking_uri(None)
        mlflow.set_registry_uri(None)

    assert len(stages) == 3
    assert list(predicted) == [1.0]
    assert loaded.metadata.get_input_schema().input_names() == list(TYPES)
    assert loaded.metadata.saved_input_example_info is not None


def test_an_unknown_alias_lists_the_known(home):
    """So does an unknown model, with the one that was meant."""
    _, tracker = home
    with pytest.raises(
        ModelGateError, match=r"no alias 'challenger'.*champion \(version 1\); its versions: 1, 2"
    ):
        tracker.aliased("m", "challenger")
    with pytest.raises(ModelGateError, match=r"'mm' is not registered\. Did you mean 'm'"):
        tracker.champion("mm")


def test_a_tampered_file_is_refused(home):
    """One changed byte in the artifacts keeps a model from being loaded."""
    folder, tracker = home
    victim = tracker.version("m", 2)
    assert tracker.load_version(victim).version == 2
    (metadata,) = (folder / "artifacts" / victim.run_id).rglob("sparkml/metadata/part-00000*")
    metadata.write_text(metadata.read_text() + " ")

    with pytest.raises(ModelGateError, match=r"version 2: its files have sha256"):
        tracker.load_version(victim)


def test_a_locked_database_loses_nothing(tmp_path, pipeline, monkeypatch):
    """With MLflow locked the model stays in the outbox, the error names the command, and it works later."""
    monkeypatch.setattr(client, "_LOCK_SECONDS", 0.2)
    tracker = _tracker(tmp_path)
    database = Path(tracker.settings.tracking_uri.removeprefix("sqlite:///"))
    database.parent.mkdir()
    outbox = write_outbox(tmp_path / "outbox", model=pipeline, submission=_submission("run-9"))
    holder = sqlite3.connect(database, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(PreconditionError, match=r"locked(?s:.)*featurelib register --from-outbox .*run-9"):
        tracker.register(outbox)
    holder.execute("ROLLBACK")
    holder.close()

    (left,) = waiting(tmp_path / "outbox")
    first = register_from_outbox(left, tracker=tracker)
    again = tracker.register(
        write_outbox(tmp_path / "outbox", model=pipeline, submission=_submission("run-9"))
    )

    assert (first.version, again.version) == (1, 1)
    assert waiting(tmp_path / "outbox") == []


def test_a_changed_outbox_is_refused(tmp_path, pipeline):
    """Files changed between training and registration are found before they are registered."""
    outbox = write_outbox(tmp_path, model=pipeline, submission=_submission("run-5"))
    (outbox.native / "extra").write_text("x")
    with pytest.raises(ModelGateError, match="submission run-5: its files"):
        register_from_outbox(outbox.folder, tracker=_tracker(tmp_path))
    with pytest.raises(ModelGateError, match="holds no submission"):
        register_from_outbox(tmp_path / "nothing", tracker=_tracker(tmp_path))


def test_an_xgboost_pipeline_survives_the_registry(spark, tmp_path):
    """A pipeline with an xgboost stage passes the class check, registers, and scores as before."""
    xgboost = pytest.importorskip("xgboost.spark")
    rows = spark.createDataFrame(
        [(n, n / 7, float(n % 2)) for n in range(40)], "amount int, rate double, y double"
    )
    stages = [
        VectorAssembler(inputCols=["amount", "rate"], outputCol="v"),
        xgboost.SparkXGBClassifier(
            features_col="v", label_col="y", num_workers=1, n_estimators=3, verbose=False
        ),
    ]
    boosted = Pipeline(stages=stages).fit(rows)
    tracker = _tracker(tmp_path)

    registered = tracker.register(
        write_outbox(tmp_path / "outbox", model=boosted, submission=_submission("run-7"))
    )
    loaded = tracker.load_version(registered).pipeline

    before, after = (
        sorted(row["probability"][1] for row in model.transform(rows).select("probability").collect())
        for model in (boosted, loaded)
    )
    assert before == after
