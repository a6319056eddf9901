"""A trial of a single-machine learner is one Spark task: the cluster tries many, each on one machine."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from featurelib.training.tuning import Measured, Objective, Parameter, Trial

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

Measure = Callable[[Any, Mapping[str, Parameter], float], tuple[float, float]]
"""Takes the rows, a trial's parameters and its share of rows or iterations; gives value and threshold."""


@contextmanager
def on_executors(spark: SparkSession, measure: Measure, rows: Any) -> Iterator[Objective]:  # noqa: ANN401 - whatever measure reads
    """Give an objective whose every call is a Spark job of one task, in which ``measure`` runs.

    That is what Hyperopt's ``SparkTrials`` does, but asked by our threads: a search on executors proposes
    the same each time, keeps a journal, prunes at rungs and ends by its limits, as one on the driver.

    Args:
        spark: a classic session.
        measure: fits and measures; it must not touch Spark, and runs with the packages of the executors.
        rows: what it is handed first, as an Arrow table or a path; it is sent to each executor once.
    """
    shared = spark.sparkContext.broadcast(rows)

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            asked = json.loads(batch.column(0)[0].as_py())
            try:
                value, threshold = measure(shared.value, asked["parameters"], asked["share"])
                told: dict[str, float | str] = {"value": float(value), "threshold": float(threshold)}
            except Exception as error:  # noqa: BLE001 - it is the outcome; raised here, Spark would try it again
                told = {"error": f"{type(error).__name__}: {error}"}
            yield pa.record_batch({"told": [json.dumps(told)]})

    def objective(trial: Trial) -> Measured:
        asked = json.dumps({"parameters": trial.parameters, "share": trial.share})
        frame = spark.createDataFrame([(asked,)], "asked string").coalesce(1)
        told = json.loads(frame.mapInArrow(run, "told string").collect()[0]["told"])
        if "error" in told:
            raise TrialError(told["error"])
        return Measured(told["value"], told["threshold"])

    try:
        yield objective
    finally:
        shared.destroy()


class TrialError(Exception):
    """What a trial raised on an executor, by its name and text."""
