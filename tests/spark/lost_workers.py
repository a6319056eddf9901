"""A driver with two executor processes that computes features three times: undisturbed, and through two deaths.

    python -m tests.spark.lost_workers FOLDER

It prints one JSON object. The faults are injected into the real computation: the function that computes a bucket is
wrapped, and kills its own Python worker, or its executor, once, when part of its rows have been handed on.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyspark import TaskContext
from pyspark.sql import DataFrame, SparkSession

from featurelib.point_in_time import Hot, Limits, columnar, features_as_of
from featurelib.session import build_session
from featurelib.specs import Aggregation, FeatureView, Latest, SparkSettings

PROJECT = Path(__file__).resolve().parents[2]
T0 = datetime(2013, 3, 10, tzinfo=UTC)
BUCKETS = 4
VIEWS = (
    FeatureView(
        name="delays",
        entity_key=("origin", "carrier"),
        source="arrivals",
        aggregations=(Aggregation(input="delay", ops=("sum", "count", "last"), windows=("2h", "lifetime")),),
    ),
    FeatureView(name="seats", entity_key=("origin",), source="arrivals", latest=Latest(inputs=("seats",))),
)


def inputs(spark: SparkSession) -> tuple[DataFrame, DataFrame]:
    """A spine and events, both behind a shuffle, so that a repeated task reads its rows in another order."""
    dice = random.Random(7)

    def row(number: int) -> tuple[object, ...]:
        at, late = timedelta(minutes=dice.randrange(0, 600, 5)), timedelta(minutes=dice.choice([0, 0, 90]))
        origin = dice.choice(["JFK", "JFK", "LGA", "EWR", None])
        return origin, dice.choice(["AA", "UA", None]), T0 + at, T0 + at + late, dice.uniform(-9, 90), number

    asked = [row(number)[:3] for number in range(2_000)]
    arrivals = [row(number) for number in range(3_000)]
    spine = spark.createDataFrame(asked, "origin string, carrier string, as_of_ts timestamp")
    events = spark.createDataFrame(
        arrivals,
        "origin string, carrier string, event_ts timestamp, known_ts timestamp, delay double, seats int",
    )
    return spine.repartition(2), events.repartition(2)


def killing(marker: Path, victim: Callable[[], int]) -> Callable[..., Iterator[pa.Table]]:
    """Wrap what computes a bucket: the first task of the second half kills the victim, all others do their work."""
    whole = columnar.with_features

    def computed(
        batches: Iterable[pa.RecordBatch], *arguments: object, **options: object
    ) -> Iterator[pa.Table]:
        for table in whole(batches, *arguments, **options):
            yield table.slice(0, table.num_rows // 2)
            context = TaskContext.get()
            if context is not None and context.partitionId() >= BUCKETS // 2:
                try:
                    os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
                except FileExistsError:
                    pass
                else:
                    os.kill(victim(), signal.SIGKILL)
                    time.sleep(30)  # long enough to be killed, or to have its executor's death noticed
            yield table.slice(table.num_rows // 2)

    return computed


def executor() -> int:
    """The JVM of the executor: it started the daemon that forked this worker."""
    return int(Path(f"/proc/{os.getppid()}/stat").read_text().rpartition(")")[2].split()[1])


def attempts(spark: SparkSession) -> int:
    """The greatest number of times that a stage was begun, as Spark's status store has it."""
    store: Any = spark.sparkContext._jsc.sc().statusStore()
    quantiles = spark.sparkContext._gateway.new_array(spark.sparkContext._jvm.double, 0)
    arguments = spark.sparkContext._jvm.java.util.ArrayList()
    stages = store.stageList(arguments, False, False, quantiles, arguments)
    return max(stages.apply(number).attemptId() for number in range(stages.size())) + 1


def main(folder: Path) -> None:
    """Print what happened."""
    settings = SparkSettings(
        master="local-cluster[2,1,1024]",
        driver_memory="1g",
        shuffle_partitions=BUCKETS,
        conf={
            "spark.executorEnv.PYTHONPATH": str(PROJECT),
            "spark.executor.memory": "1g",
            "spark.shuffle.io.maxRetries": "1",  # the dead executor is asked twice, not for a quarter of a minute
            "spark.shuffle.io.retryWait": "1s",
            "spark.ui.enabled": "false",
            "spark.sql.warehouse.dir": str(folder / "warehouse"),
        },
    )
    spark = build_session(settings, app_name="featurelib lost workers")
    spine, events = inputs(spark)
    limits = Limits(hot=(Hot(("origin",), (("JFK",),), slices=2),))
    between = (T0, T0 + timedelta(hours=11))

    def rows() -> list[str]:
        found = features_as_of(spine, VIEWS, {"arrivals": events}, between=between, limits=limits)
        return sorted(map(repr, found.collect()))

    whole, undisturbed = columnar.with_features, rows()
    said: dict[str, object] = {"rows": len(undisturbed)}
    for name, victim in (("worker", os.getpid), ("executor", executor)):
        marker = folder / name
        columnar.with_features = killing(marker, victim)
        same = rows() == undisturbed
        said[name] = {"fired": marker.exists(), "same": same, "attempts": attempts(spark)}
        columnar.with_features = whole
    print(json.dumps(said))
    spark.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
