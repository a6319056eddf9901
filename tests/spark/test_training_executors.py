"""Trials of single-machine learners as Spark tasks."""

from __future__ import annotations

import os

import pyarrow as pa

from featurelib.specs import EstimatorSpec, SearchRange, Tuning
from featurelib.training.executors import on_executors
from featurelib.training.search import TrialSearch

ESTIMATORS = {"steps": EstimatorSpec(kind="xgboost", space={"trees": SearchRange(integer=(1, 200))})}


def measure(rows, parameters, share):
    """Not a model: what the rows, the parameters and the process say."""
    import os

    if parameters["trees"] > 150:
        raise ValueError(f"too many trees\nfor {rows.num_rows} rows")
    return rows.num_rows + parameters["trees"] / 1000, float(os.getpid())


def test_trials_run_in_tasks_and_are_recorded_as_any_other(spark, tmp_path):
    """Each runs outside the driver with the shared rows; one that raises fails with its reason, tried once."""
    rows = pa.table({"x": list(range(7))})
    tuning = Tuning(trials=8, parallelism=2)
    with on_executors(spark, measure, rows) as objective:
        found = TrialSearch(tuning, spark=spark).search(ESTIMATORS, objective, on_trial=lambda _: None)

    assert {trial.state for trial in found.trials} == {"done", "failed"}
    for trial in found.trials:
        if trial.parameters["trees"] > 150:
            assert trial.reason == "TrialError: ValueError: too many trees"
        else:
            assert trial.value == 7 + trial.parameters["trees"] / 1000
            assert trial.threshold != os.getpid()
